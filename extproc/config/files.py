"""Files as a load sees them: each is read once, and what was read is remembered.

Rule: the only reader of configuration and secret files. What it found can be given to another process, which then
loads exactly the same, whatever the disk holds by then.
"""

from collections.abc import Mapping
import errno
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 4 << 20
"""Of one file: ten thousand providers with their routes, and ten times the usual bundle of authorities."""


class Files:
    """`found`: what was read, by absolute path. `asked`: every path that was wanted, there or not.

    `given`: the only files there are, for a load that repeats another; without it the disk's.
    """

    def __init__(self, given: Mapping[str, bytes] | None = None) -> None:
        self._given = given
        self.found: dict[str, bytes] = {}
        self.asked: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """The file's content. Raises `OSError`, also for one of more than `MOST_BYTES`."""
        path = path.absolute()
        self.asked.add(path)
        key = str(path)
        if key not in self.found:
            if self._given is not None and key not in self._given:
                raise FileNotFoundError(2, "No such file or directory", key)
            self.found[key] = _bounded(path) if self._given is None else self._given[key]
        return self.found[key]

    def exists(self, path: Path) -> bool:
        """Whether it is a file that can be read."""
        try:
            self.read(path)
        except OSError:
            return False
        return True


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES >> 20} MiB")
    return content
