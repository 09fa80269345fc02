"""What processes cost, as the kernel counts it: CPU seconds and memory, children included."""

from collections.abc import Iterable
import contextlib
import os
from pathlib import Path
import re
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all that live below it."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far, of all their threads."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()  # a program's name may hold spaces and brackets
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kib(pids: Iterable[int]) -> int:
    return sum(_status(pid, "VmRSS") for pid in pids)


def peak_kib(pids: Iterable[int]) -> int:
    """The most that each had since it began, added up: an upper bound where there are several."""
    return sum(_status(pid, "VmHWM") for pid in pids)


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None, (pid, name)
    return int(found[1])
