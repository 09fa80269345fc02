"""`make chaos`: run the scenarios, count, and render docs/reliability.md from what was counted.

`CHAOS=quick`: the short form, which writes nothing. Arguments: names of scenarios, to run these only.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
import contextlib
import itertools
import json
import os
from pathlib import Path
import resource
import sys
import tempfile
import time
from typing import Any

from . import report
from .client import FORBIDDEN, Client, Shape
from .scenarios import SCENARIOS, Scenario, all_left
from .world import world

_QUICK = 0.05


async def play(scenario: Scenario, directory: Path, amount: float) -> dict[str, Any]:
    """One scenario in a world of its own: its row."""
    Client._ids = itertools.count()
    started = time.monotonic()
    problems: list[str] = []
    async with world(directory, amount, **scenario.config) as here:
        for shape in dict.fromkeys(Shape(s.host, stream=s.stream) for s in scenario.shapes):  # warm, not counted
            await Client(here.gateway.port, type(here.count)()).ask(shape)
        before, envoy, began = here.memory(), here.envoy, time.monotonic()
        total = max(scenario.total and 20, int(scenario.total * amount))
        clients = min(scenario.clients, max(total, 12))
        happening = scenario.happening
        failure: BaseException | None = None
        try:
            await here.load(scenario.shapes, total, clients, None if happening is None else lambda: happening(here))
            seconds = time.monotonic() - began
            if here.gateway.process.popen.poll() is None:
                await all_left(here)
                await asyncio.sleep(1.0)
                if here.envoy != envoy:
                    problems.append("Envoy was not the same at the end")
        except* (AssertionError, OSError, LookupError) as group:
            failure, seconds = group, time.monotonic() - began
            problems += [f"{type(e).__name__}: {e}" for e in _leaves(group)]
        after = here.memory()
        count = here.count
    texts = (here.gateway.process.errors, here.gateway.access_log.read_text(errors="replace"))
    if any(secret in text for text in texts for secret in ("PLANTED", "sk-client-", "VENDOR-RAW")):
        problems.append("a key or a body is in a log")
    problems += [f"{count.verdicts[each]} {each}" for each in FORBIDDEN if count.verdicts[each]]
    if count.verdicts["answered"] < scenario.answered * count.sent:
        problems.append(f"answered {count.verdicts['answered']} of {count.sent}, wanted {scenario.answered:.0%}")
    if not count.sent or count.verdicts["left"] and not any(s.leave for s in scenario.shapes):
        problems.append("nothing was asked, or clients left that should not")
    row = {
        "name": scenario.name,
        "sent": count.sent,
        "refused": count.refused,
        **{verdict: count.verdicts[verdict] for verdict in report.VERDICTS},
        "workers_mib": [round(before[0]), round(after[0])],
        "envoy_mib": [round(before[1]), round(after[1])],
        "longest": round(count.longest, 1),
        "seconds": round(seconds, 1),
        "notes": here.notes,
        "problems": problems,
    }
    if problems or os.environ.get("CHAOS_VERBOSE"):
        shapes = Counter({f"{s.host} {s.do} {'stream' if s.stream else 'whole'} {v}": n for (s, v), n in count.wanted.items()})
        times = {f"{s.host} {s.do} {s.stream}": round(sum(t) / len(t), 2) for s, t in count.times.items()}
        print(json.dumps({"shapes": shapes, "times": times, "examples": count.examples}, indent=1, ensure_ascii=False), file=sys.stderr)
    del failure
    print(report.line(row), f"({time.monotonic() - started:.0f} s in all)", *problems, flush=True)
    return row


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for e in group.exceptions for leaf in (_leaves(e) if isinstance(e, BaseExceptionGroup) else [e])]


def main(names: Sequence[str]) -> int:
    quick = os.environ.get("CHAOS") == "quick"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the children inherit it
    chosen = [s for s in SCENARIOS if (s.name in names if names else s.quick or not quick)]
    if unknown := set(names) - {s.name for s in SCENARIOS}:
        print(f"no such scenario: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    rows = []
    with contextlib.ExitStack() as stack:
        if (kept := os.environ.get("CHAOS_KEEP")) is None:
            kept = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        for scenario in chosen:
            directory = Path(tempfile.mkdtemp(prefix=f"{scenario.name}-", dir=kept))
            rows.append(asyncio.run(play(scenario, directory, _QUICK if quick else 1.0)))
    good = not any(row["problems"] for row in rows)
    if good and not names and not quick:
        report.write(rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
