"""`make instructions`: what a call of every case costs, held against `instructions.json` (`--update` writes it).

Rule: instructions, not seconds: two runs differ by half a percent at most, whatever else the machine does and wherever
the files are, so a tenth more is a finding. They hold for one kind of Python and protobuf, the key in the file; the CPU
is the one that Valgrind plays.
`BENCH_REQUIRED=1`: where nothing can be counted, that is a failure. Of another kind there is nothing to compare with.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
import json
import os
from pathlib import Path
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import NoReturn

from google import protobuf
from google.protobuf.internal import api_implementation

from extproc.worker import codec

from .cases import CASES, Case

BASELINES = Path(__file__).with_suffix(".json")
TOLERANCE = 0.1
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
"""All that the cases see of the environment."""
UPDATE = "make instructions ARGS=--update"

Counts = Mapping[str, int]
"""Instructions of one call by case."""


def kind(*, native: bool) -> str:
    """What counts hold for. With profile-guided optimization the same version of Python is another interpreter, and
    with the native codec it is another sidecar."""
    built = "optimized" if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") else "plain"
    python = ".".join(platform.python_version_tuple()[:2])
    implementation = f"{protobuf.__version__} {api_implementation.Type()}"
    machine = f"{platform.python_implementation()} {python} {built}, {platform.machine()}"
    return f"{machine}, native codec" if native else f"{machine}, protobuf {implementation}"


def cases(*, native: bool) -> Sequence[Case]:
    """Those that are counted; of the native codec those that it has a part in."""
    return [case for case in CASES if case.over_the_wire or not native]


def count(valgrind: str, *, native: bool) -> dict[str, int]:
    """Run the cases under Valgrind, which begins anew at the first mark of each and writes a file at the second."""
    names = [case.name for case in cases(native=native)]
    with tempfile.TemporaryDirectory() as directory:
        options = ["--zero-before=getppid", "--dump-before=getpgrp", f"--callgrind-out-file={directory}/%p"]
        command = [
            valgrind,
            "-q",
            "--vgdb=no",
            "--tool=callgrind",
            *options,
            sys.executable,
            "-m",
            "tests.micro.counted",
            *names,
        ]
        environment = ENVIRONMENT | {"EXTPROC_NATIVE": "1" if native else "0"}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        processes = {name: pid for pid, _, name in (line.partition(" ") for line in done.stdout.splitlines())}
        return {
            case.name: _sum(Path(directory, f"{processes[case.name]}.1")) // case.rounds
            for case in cases(native=native)
        }


def _sum(file: Path) -> int:
    found = re.search(r"^summary: (\d+)$", file.read_text(), re.M)
    assert found is not None, f"{file} is not Callgrind's"
    return int(found[1])


def table(before: Counts, now: Counts) -> Iterator[str]:
    """A line for each case."""
    yield f"{'instructions of one call':<30}{'baseline':>12}{'now':>12}{'ratio':>8}"
    for name, cost in now.items():
        known = before.get(name)
        ratio = f"{'-':>12}{cost:>12,}{'-':>8}" if known is None else f"{known:>12,}{cost:>12,}{cost / known:>8.3f}"
        yield f"{name:<30}{ratio}"


def problem(before: Counts, now: Counts) -> str | None:
    """Why the counts must not stay as they are, and what to do; None if they may."""
    if before.keys() != now.keys():
        return f"cases and baselines differ: {', '.join(sorted(before.keys() ^ now.keys()))}. Write them: {UPDATE}"
    if worse := [name for name, cost in now.items() if cost > before[name] * (1 + TOLERANCE)]:
        return (
            f"more than {TOLERANCE:.0%} dearer: {', '.join(worse)}.\nWhere: "
            f'make micro ARGS="--benchmark-cprofile=tottime -k {worse[0]}", before and after the change.\n'
            f"Worth it: {UPDATE}, and say in the commit what for."
        )
    return None


def hint(before: Counts, now: Counts) -> str | None:
    """What is so much cheaper that its baseline guards nothing any more."""
    better = [name for name, cost in now.items() if cost < before.get(name, 0) * (1 - TOLERANCE)]
    return f"more than {TOLERANCE:.0%} cheaper: {', '.join(better)}. Keep it so: {UPDATE}" if better else None


def _unable(reason: str, *, required: bool = False) -> NoReturn:
    if required:
        sys.exit(reason)
    print(f"not compared: {reason}")
    sys.exit()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make instructions", description="Count the instructions of every case.")
    parser.add_argument("--update", action="store_true", help="write the counts as baselines")
    update = parser.parse_args().update
    if (valgrind := shutil.which("valgrind")) is None:
        required = os.environ.get("BENCH_REQUIRED") == "1"
        _unable("valgrind is not installed (Debian: apt-get install valgrind)", required=required)
    baselines: dict[str, dict[str, int]] = json.loads(BASELINES.read_text())
    if codec.NATIVE is None:
        print("the codec is not built natively (make native); counted in Python alone")
    failures = []
    for native in (False, True) if codec.NATIVE else (False,):
        if (key := kind(native=native)) not in baselines and not update:
            _unable(f"no baselines for {key}, but for {'; '.join(baselines)}. Write them: {UPDATE}")
        before, now = baselines.get(key, {}), count(valgrind, native=native)
        print(key, *table(before, now), sep="\n")
        baselines[key] = now
        if not update and (failure := problem(before, now)):
            failures.append(failure)
        elif not update and (better := hint(before, now)):
            print(better)
    if update:
        BASELINES.write_text(json.dumps(baselines, indent=2) + "\n")
    elif failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
