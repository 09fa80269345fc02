"""The last exchanges of all workers, asked of them while somebody looks.

Rule: nobody looks, nothing is asked; where more happens than a person can see, a sample comes with the count of all.
Every viewer has one place for what is next: who is slow misses some, and nobody waits. Memory has a bound.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
import time
from typing import Any, Final

import structlog

from extproc.console.house import House
from extproc.terms.ends import CLIENT_LEFT, CUT
from extproc.worker.channel import Row

log = structlog.get_logger("extproc.console")

KEPT: Final = 500
PERIOD: Final = 0.5
MOST: Final = 60
"""Rows of each worker in one look; beyond, they are a sample."""
MOST_OPEN: Final = 100
LINGER: Final = 60.0
"""How long workers are still asked when nobody follows any more."""
RECENT: Final = 300.0

Shown = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Viewer:
    """`rows`: what it has not seen; `ended`: how many exchanges that was."""

    rows: deque[Shown] = field(default_factory=lambda: deque(maxlen=MOST * 2))
    ended: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """`rows`: the last exchanges, oldest first; `under_way`: some of those under way, `open` how many there are;
    `ended`: how many ended since somebody looked first."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._viewers: set[Viewer] = set()
        self._wanted = 0.0
        self._wake = asyncio.Event()
        self._looked = asyncio.Condition()
        self._numbers = 0
        self.rows: deque[Shown] = deque(maxlen=KEPT)
        self.under_way: Sequence[Shown] = ()
        self.open = 0
        self.ended = 0

    async def run(self) -> None:
        """Ask the workers, while it is wanted."""
        while True:
            if not self._viewers and time.monotonic() > self._wanted:
                self._wake.clear()
                await self._wake.wait()
            try:
                await self._look()
            except Exception:  # a fault of ours; the next look may do better
                log.exception("the workers could not be asked")
            async with self._looked:
                self._looked.notify_all()
            await asyncio.sleep(PERIOD)

    async def fresh(self) -> None:
        """Back when the workers have been asked, at most once per period."""
        async with self._looked:
            self._want()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._looked.wait(), PERIOD * 6)

    def _want(self) -> None:
        self._wanted = time.monotonic() + LINGER
        self._wake.set()

    async def _look(self) -> None:
        first = not self.ended
        seen = await self._house.look(KEPT if first else MOST)
        rows = sorted(
            (row for one in seen for row in one.rows), key=lambda row: row.began + (row.duration_ms or 0) / 1e3
        )
        shown = [self._shown(row) for row in rows]
        ended = sum(one.ended for one in seen)
        self.rows.extend(shown)
        self.ended += ended
        self.open = sum(one.open for one in seen)
        self.under_way = [self._shown(row) for one in seen for row in one.under_way][:MOST_OPEN]
        for viewer in self._viewers:
            viewer.rows.extend(shown)
            viewer.ended += ended
            viewer.news.set()

    def _shown(self, row: Row) -> Shown:
        values = {name: getattr(row, name) for name in row.__struct_fields__}
        if row.number:
            self._numbers += 1
            values["number"] = self._numbers
        return {name: value for name, value in values.items() if value is not None and value is not False}

    async def follow(self) -> AsyncIterator[Mapping[str, Any]]:
        """What is new, at most once per period: a sample of the rows, how many exchanges it stands for, what is under
        way."""
        viewer = Viewer()
        self._viewers.add(viewer)
        self._want()
        try:
            while True:
                await viewer.news.wait()
                viewer.news.clear()
                rows, ended = list(viewer.rows)[-MOST:], viewer.ended
                viewer.rows.clear()
                viewer.ended = 0
                yield {"rows": rows, "ended": ended, "open": self.open, "under_way": self.under_way}
        finally:
            self._viewers.discard(viewer)
            self._want()

    def recent(self) -> dict[str, dict[str, Any]]:
        """Provider → what became of its exchanges among the rows of the last minutes."""
        return recent(self.rows, time.time())

    def attempts(self, request_id: str) -> list[Shown]:
        """All attempts of one request that are still known, in their order."""
        found = [row for row in (*self.rows, *self.under_way) if row.get("request_id") == request_id]
        return sorted(found, key=lambda row: (row["attempt"], row["began"]))


def recent(rows: Iterable[Shown], now: float) -> dict[str, dict[str, Any]]:
    """The same, of these rows at that time."""
    counts: Counter[tuple[str, bool]] = Counter()
    last: dict[str, Shown] = {}
    for row in rows:
        provider = row.get("provider")
        if provider is None or row["began"] < now - RECENT:
            continue
        counts[provider, is_failure(row)] += 1
        last[provider] = row
    return {
        provider: {
            "good": counts[provider, False],
            "failed": counts[provider, True],
            "failing": is_failure(row),
            "status": row.get("status"),
            "error": row.get("error"),
            "at": row["began"],
        }
        for provider, row in last.items()
    }


def is_failure(row: Shown) -> bool:
    """Whether an exchange failed by its vendor's, or our own, doing: what the client did wrong is none."""
    status = row.get("status") or 0
    return (
        status >= 500
        or status in (401, 403, 429)
        or (status < 400 and row.get("error") not in (None, CUT, CLIENT_LEFT))
    )
