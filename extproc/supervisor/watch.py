"""Files that are watched: whichever way one changes (written in place, renamed onto, a link or a directory swapped).

Rule: events only say when to look; what changed is decided by looking. So nothing is missed where events do not come
(a mounted single file, a network file system), only seen later.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import suppress
import os
from pathlib import Path

import structlog
from watchfiles import awatch

log = structlog.get_logger("extproc.watch")

QUIET_MS = 50
"""A change is looked at when nothing happened for so long, ..."""
LONGEST_MS = 400
"""... at the latest after this."""
LOOK_SECONDS = 0.5
"""How often files are looked at without any event: it may have come before events were asked for."""

Signature = tuple[int, ...]


async def changes(paths: Callable[[], Collection[Path]]) -> AsyncIterator[set[Path]]:
    """The files among `paths()` that are other than before; the first time, all: they may have changed since they were
    read. `paths` is asked again after every change."""
    seen: dict[Path, Signature] = {}
    while True:
        watched = directories(paths())
        async for _ in _events(watched):
            now = {path: signature(path) for path in paths()}
            changed = {path for path, found in now.items() if found != seen.get(path)}
            seen = now
            if changed:
                yield changed
            if directories(paths()) != watched:
                break


def signature(path: Path) -> Signature:
    """Tells one state of a file from another, links followed."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def directories(paths: Collection[Path]) -> set[Path]:
    """The directories in which something happens when one of these files changes."""
    return {_existing(step.parent) for path in paths for step in _steps(path)}


def _steps(path: Path) -> Iterator[Path]:
    """The links on the way to a file, each where it really is, and the file where it really is."""
    for _ in range(40):  # as many as Linux follows
        link = next((part for part in (*reversed(path.parents), path) if part.is_symlink()), None)
        yield link or path
        if link is None:
            return
        with suppress(OSError):
            path = Path(os.path.normpath(link.parent / os.readlink(link) / path.relative_to(link)))


def _existing(directory: Path) -> Path:
    return next(d for d in (directory, *directory.parents) if d.is_dir())


async def _events(watched: Collection[Path]) -> AsyncIterator[None]:
    """Yields at once, then whenever something happens in the directories, and every few seconds."""
    yield
    try:
        async for _ in awatch(
            *watched,
            watch_filter=None,
            recursive=False,
            step=QUIET_MS,
            debounce=LONGEST_MS,
            rust_timeout=int(LOOK_SECONDS * 1000),
            yield_on_timeout=True,
        ):
            yield
    except (OSError, RuntimeError) as error:  # too many watches, or a directory that went meanwhile
        log.debug("files are looked at from time to time instead of watched", reason=str(error))
        await asyncio.sleep(LOOK_SECONDS)
        yield
