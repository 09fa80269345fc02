"""Runs cases for Valgrind, each in its own process: `python -m tests.micro.counted NAME ...`, see `instructions.py`.

Rule: nothing here depends on the time or on what ran before. A case's process is forked when everything is imported;
Valgrind counts from `os.getppid()` to `os.getpgrp()`, two C functions that nothing else calls.
"""

import gc
import os
import sys

from .cases import CASES, Case, log_to_nowhere

WARM_UP = 10
"""Calls before those that count: by then the interpreter has specialised its bytecode (PEP 659)."""


def count(case: Case) -> None:
    """The calls of a case between the two marks."""
    run = case.make()
    for _ in range(WARM_UP):
        run()
    os.getppid()
    for _ in range(case.rounds):
        run()
    os.getpgrp()


def main() -> None:
    """As many cases at a time as there are cores. Says which process is which case's."""
    counted = [case for case in CASES if case.name in sys.argv[1:]]
    gc.disable()  # what lies around would decide which round pays
    for place, case in enumerate(counted):
        if place >= (os.cpu_count() or 1):
            ended()
        if (pid := os.fork()) == 0:
            with log_to_nowhere():
                count(case)
            os._exit(0)
        print(pid, case.name, flush=True)
    for _ in counted[-(os.cpu_count() or 1) :]:
        ended()


def ended() -> None:
    """Wait for a case."""
    pid, status = os.wait()
    if status:
        sys.exit(f"the case of process {pid} failed")


if __name__ == "__main__":
    main()
