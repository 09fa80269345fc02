"""`make chaos`: play the scenarios, count, and write docs/reliability.md from what was counted.

`CHAOS=quick`: some scenarios, small, in one gateway; writes nothing. Arguments: names of scenarios, to play these only.
`limits`: limits of use alone, whose table is written. `CHAOS_KEEP=DIRECTORY`: keeps configurations and logs there.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
import contextlib
import json
import os
from pathlib import Path
import resource
import sys
import tempfile
import time
from typing import Any

from . import limits, report
from .client import FORBIDDEN, Client, Count, Shape
from .scenarios import SCENARIOS, Scenario
from .world import World, world

_QUICK = 0.05
Row = dict[str, Any]


async def session(scenarios: Sequence[Scenario], directory: Path, amount: float) -> list[Row]:
    """Scenarios, one after the other, in one world."""
    async with world(directory, amount, **scenarios[0].config) as here:
        rows = [await play(scenario, here) for scenario in scenarios]
    logs = here.gateway.process.errors + here.gateway.access_log.read_text(errors="replace")
    if any(secret in logs for secret in ("PLANTED", "sk-client-", "VENDOR-RAW")):
        rows[-1]["problems"].append("a key or a body is in a log")
    for row in rows:
        print(f"{'FAILED' if row['problems'] else 'ok    '} {row['name']:<22} {report.line(row)}", flush=True)
        for problem in row["problems"]:
            print(f"       {problem}", flush=True)
    return rows


async def play(scenario: Scenario, here: World) -> Row:
    """One scenario: its row. `problems`: why it failed."""
    here.count, happening, problems = Count(), scenario.happening, list[str]()
    for shape in dict.fromkeys(Shape(s.host, stream=s.stream) for s in scenario.shapes):
        await Client(here.gateway.port, Count()).ask(shape)  # everybody is warm before memory is measured
    before, envoy, began = here.memory(), here.envoy, time.monotonic()
    total = int(scenario.total * here.amount)
    sampler = asyncio.create_task(_highest(here))
    try:
        clients = min(scenario.clients, max(total, 12))
        await here.load(scenario.shapes, total, clients, None if happening is None else lambda: happening(here))
    except* (AssertionError, OSError, LookupError) as group:
        problems += [f"{type(error).__name__}: {error}" for error in _leaves(group)]
    seconds = time.monotonic() - began
    if here.gateway.process.popen.poll() is None:
        try:
            await here.until(lambda: here.first.get()["open"] == 0, "no exchange is left behind at the vendor")
        except AssertionError as error:
            problems.append(str(error))
        await asyncio.sleep(1.0 * here.amount)
        if here.envoy != envoy:
            problems.append("Envoy is not the one that it was")
    sampler.cancel()
    highest, after, verdicts, sent = await sampler, here.memory(), here.count.verdicts, here.count.sent
    problems += [f"{verdicts[each]} {each}" for each in FORBIDDEN if verdicts[each]]
    if verdicts["answered"] < scenario.answered * sent:
        problems.append(f"answered {verdicts['answered']} of {sent}, wanted {scenario.answered:.0%}")
    if sent < total or not sent:
        problems.append(f"sent {sent} of {total}")
    if problems:
        _explain(here.count)
    return {
        "name": scenario.name,
        "sent": sent,
        **{verdict: verdicts[verdict] for verdict in report.VERDICTS},
        "refused": here.count.refused,
        "longest": round(here.count.longest, 1),
        **{
            f"{who}_mib": [round(before[i]), round(max(before[i], highest[i], after[i])), round(after[i])]
            for i, who in enumerate(("workers", "envoy"))
        },
        "seconds": round(seconds, 1),
        "problems": problems,
    }


async def _highest(here: World) -> tuple[float, float]:
    """The most memory that was seen until this is cancelled."""
    workers = envoy = 0.0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            now = here.memory()
            workers, envoy = max(workers, now[0]), max(envoy, now[1])
            await asyncio.sleep(0.2)
    return workers, envoy


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [leaf for e in group.exceptions for leaf in (_leaves(e) if isinstance(e, BaseExceptionGroup) else [e])]


def _explain(count: Count) -> None:
    """What became of which kind of request, with examples."""
    shapes = Counter({f"{shape} {verdict}": number for (shape, verdict), number in count.kinds.items()})
    said = {"kinds": shapes, "examples": {k: v for k, v in count.examples.items() if k in FORBIDDEN or k == "error"}}
    print(json.dumps(said, indent=1, ensure_ascii=False), file=sys.stderr)


def main(names: Sequence[str]) -> int:
    quick = os.environ.get("CHAOS") == "quick"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the children inherit it
    if list(names) == ["limits"]:
        return _limits()
    if unknown := set(names) - {scenario.name for scenario in SCENARIOS}:
        print(f"no such scenario: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [s for s in SCENARIOS if (s.name in names if names else s.quick or not quick)]
    sessions = [chosen] if quick and not names else [[scenario] for scenario in chosen]
    rows: list[Row] = []
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        kept = os.environ.get("CHAOS_KEEP") or stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        for scenarios in sessions:
            directory = Path(tempfile.mkdtemp(prefix=f"{scenarios[0].name}-", dir=kept))
            rows += asyncio.run(session(scenarios, directory, _QUICK if quick else 1.0))
    good = not any(row["problems"] for row in rows)
    if good and not names and not quick:
        report.write(rows, time.monotonic() - began)
        return _limits()
    return 0 if good else 1


def _limits() -> int:
    """Limits of use, each in gateways of its own."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as kept:
        for name in limits.SCENARIOS:
            rows.append(row := limits.play(name, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=kept))))
            print(f"{'FAILED' if row['problems'] else 'ok    '} {name:<26} {report.line(row)}", flush=True)
            for problem in row["problems"]:
                print(f"       {problem}", flush=True)
    if any(row["problems"] for row in rows):
        return 1
    report.write_limits(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
