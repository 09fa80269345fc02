"""stdin, stdout and stderr, which whoever starts us may have closed.

Rule: their numbers are never left free: the next socket would get one, and be written to as if it were a terminal.
"""

import os
import sys


def filled() -> list[str]:
    """Let the system's nowhere stand in for streams that are closed; which they were."""
    closed = []
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
        setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  for life
        closed.append(name)
    return closed
