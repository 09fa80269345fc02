"""What the machine has for workers, and when one is replaced by itself."""

from contextlib import suppress
import math
import os
from pathlib import Path
import sys

from extproc.providers.blocks import Recycle

LEAST_AGE = 30.0
"""No worker is recycled before, whatever it holds: a limit below what one needs must not become a loop."""


def cores() -> int:
    """How many processors this process may use, by affinity and by cgroup."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no cgroup v2, or no limit ("max")
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(count, 1)


def due(recycle: Recycle | None, age: float, memory: int) -> str | None:
    """Why a worker of that age (seconds) and memory (bytes) is to be replaced."""
    if recycle is None or age < min(LEAST_AGE, recycle.max_age or LEAST_AGE):
        return None
    if recycle.max_age is not None and age >= recycle.max_age:
        return f"it is {age:.0f} s old"
    if recycle.max_memory is not None and age >= LEAST_AGE and memory > recycle.max_memory:
        return f"it holds {memory >> 20} MiB"
    return None


def memory_of(pid: int) -> int:
    """Resident bytes of a process; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
