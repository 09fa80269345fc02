"""`make bench`: play the scenarios by turns, and write docs/benchmarks/ and the tables made of it.

`--quick`: the short form. Names of scenarios (and `profiles`): these only. Both are written into build/bench, or where
`--out` says.
"""

import argparse
import datetime
import os
from pathlib import Path
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import grpc

from extproc.envoy import process as envoy_process
from tests.contract.processes import ROOT

from . import measure, peers, plots, profiles, report, targets
from .scenarios import SCENARIOS, SPECIAL
from .servers import Park, raise_file_limit

DOCS = ROOT / "docs"
_BY_NAME = {scenario.name: scenario for scenario in (*SCENARIOS, *SPECIAL)}
_SPECIAL = {"idle-streams": measure.idle, "soak": measure.soak, "workers": measure.workers}


def _run(effort: str, began: float) -> dict[str, Any]:
    """What the report says of the run."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "effort": effort,
        "minutes": round((time.monotonic() - began) / 60),
        "machine": f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB",
        "system": f"Linux {platform.release().split('-')[0]}",
        "load average before": f"{_LOAD[0]:.1f}",
        "versions": ", ".join(
            (
                f"Envoy {'.'.join(map(str, envoy_process.version()))} (`--concurrency 1`)",
                f"Python {platform.python_version()}",
                f"grpcio {grpc.__version__}",
                *(f"{name} {version}" for name, version in peers.VERSIONS.items()),
                *(f"{name} {_version(name, *asked)}" for name, *asked in (("node", "--version"), ("go", "version"))),
            )
        ),
    }


_LOAD = os.getloadavg()


def _version(*command: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "absent"
    return (re.search(r"\d[\d.]*", said) or [said])[0]


def _told(row: dict[str, Any]) -> str:
    """A scenario for the terminal."""
    said = []
    for arm, found in row["arms"].items():
        if "problem" in found:
            said.append(f"{arm} FAILED: {found['problem'][:200]}")
        elif "repetitions" in found:
            rates = targets.Spread.of([targets.requests_s(each) for each in found["repetitions"]])
            said.append(f"{arm} {rates.median:,.0f}/s")
        elif "kib_per_stream" in found:
            said.append(f"{arm} {found['kib_per_stream']}")
        else:
            said.append(f"{arm} {found['load']['requests']} requests, {found['resident_mib'][-1]} MiB at the end")
    return "  ".join(said)


def play(names: list[str], effort: measure.Effort, out: Path, *, profiled: bool) -> dict[str, Any]:
    """The scenarios' rows, and the profiles."""
    rows, profile = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Park(Path(name)) as park:
        for scenario in names:
            special = _SPECIAL.get(scenario)
            directory = Path(name)
            row = (
                special(park, effort, directory)
                if special
                else measure.matrix(_BY_NAME[scenario], park, effort, directory)
            )
            print(f"{scenario:<22} {_told(row)}", flush=True)
            rows.append(row)
        if profiled:
            profile = profiles.record(park, 4 * effort.seconds, Path(name), out)
    return {"rows": rows, "profiles": profile}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="scenario", help=f"of {', '.join([*_BY_NAME, 'profiles'])}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if unknown := set(given.names) - {*_BY_NAME, "profiles"}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever ends us, what we started ends too
    raise_file_limit()
    began = time.monotonic()
    whole = not given.quick and not given.names
    out = (given.out or (DOCS / "benchmarks" if whole else ROOT / "build" / "bench")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    names = [n for n, s in _BY_NAME.items() if (n in given.names if given.names else s.quick or not given.quick)]
    effort = measure.QUICK if given.quick else measure.FULL
    document = play(names, effort, out, profiled=whole or "profiles" in given.names)
    document["pictures"] = plots.draw({row["name"]: row for row in document["rows"]}, out)
    document["run"] = _run("full" if whole else "quick" if given.quick else "partial", began)
    write(document, out)
    print(f"\n{out / 'report.md'}: {report.summary(document)}")
    return 1 if any("problem" in arm for row in document["rows"] for arm in row["arms"].values()) else 0


def write(document: dict[str, Any], out: Path) -> None:
    """What was measured, and what is made of it."""
    (out / "results.json").write_text(report.written(document), encoding="utf-8")
    (out / "report.md").write_text(report.rendered(document), encoding="utf-8")
    if out == DOCS / "benchmarks":
        for name, language in (("performance.md", "english"), ("performance.zh.md", "chinese")):
            page = DOCS / name
            page.write_text(report.with_costs(page.read_text(encoding="utf-8"), document, language), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
