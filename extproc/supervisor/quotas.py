"""The limits of use and what was used, for all workers: one authority, one file.

Rule: what is decided is decided in memory at once, and told when the file has it, so that whoever comes after a
`kill -9` knows of all that was let through. A file that takes too long or fails is trouble, which is said once; then
nobody waits for it, and what could not be written is written later.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
import time
from typing import Final, TypeVar

import structlog

from extproc.config.config import Config
from extproc.limits import history
from extproc.limits.authority import Authority, Fill, Need, Report, Verdict
from extproc.limits.history import By, Row
from extproc.limits.windows import Now
from extproc.supervisor.care import Care
from extproc.supervisor.store import Store, StoreError
from extproc.terms.tallies import Key, Tally

log = structlog.get_logger("extproc.quotas")

WRITE_SECONDS: Final = 0.5
"""How often the file is told what was used: so much of the history may be lost when all processes are killed."""
AHEAD_SECONDS: Final = 1.0
"""How long a request waits until the file has what is reserved for it."""
RECALL_SECONDS: Final = 0.05
"""How long a request that would be refused waits for what is lent to other workers."""
AGAIN_SECONDS: Final = 5.0
"""How long after a failure the file is tried again."""
PRUNE_SECONDS: Final = 600.0
_MOST_UNWRITTEN: Final = 30_000
"""Rows that are kept in memory while they cannot be written."""

T = TypeVar("T")
FAULTS: Final = StoreError


def store_path(config: Config, source: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file in which it is kept what was used; None: nowhere. `source`: the configuration's own file."""
    if config.usage.store == "memory":
        return None
    if config.usage.store not in ("auto", "redis"):
        return Path(config.usage.store)
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:  # systemd's
        return Path(given) / "usage.db"
    home = environ.get("XDG_STATE_HOME") or (f"{environ['HOME']}/.local/state" if environ.get("HOME") else "")
    if not home.startswith("/"):
        return None
    whose = sha256(str(source and source.absolute()).encode()).hexdigest()[:12]
    return Path(home) / "ai-proxy-envoy" / f"usage-{whose}.db"


class Quotas:
    """`trouble`: why nothing can be written now, or None. `uncounted`: requests that went by
    `on_failure` because of that."""

    def __init__(self, path: Path | None, on_failure: str = "local") -> None:
        self._path = path
        self.on_failure = on_failure
        self.trouble: str | None = None
        self.uncounted = 0
        self._authority = Authority()
        self._thread = ThreadPoolExecutor(1, "usage store")
        self._ahead_thread = ThreadPoolExecutor(1, "usage store, buckets")
        self._store: Store | None = None
        self._rows: dict[tuple[int, int, history.Place], Row] = {}
        self._tried = self._pruned = -AGAIN_SECONDS
        self._told: dict[int, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._ahead = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        self._away: dict[int, str] = {}

    @property
    def failing(self) -> str | None:
        """Why something of the stores does not work now: the file, or what is shared with other machines."""
        return self.trouble or next(iter(self._away.values()), None)

    # Limits

    def shared_away(self, who: int, reason: str | None) -> None:
        """A worker cannot ask who keeps limits for several machines, or can again."""
        self._away.pop(who, None)
        if reason is not None:
            self._away[who] = reason

    def wanted(
        self,
        who: int,
        needs: Sequence[Need],
        judged: Callable[[Verdict], None],
        recall: Callable[[set[int], tuple[str, ...]], None],
    ) -> None:
        """A request of a worker's: `judged` is told now or soon. `recall`: has workers give back what is lent."""
        if self.trouble is not None and self.on_failure != "local":
            self.uncounted += 1
            judged(Verdict())
            return
        verdict = self._authority.reserve(needs, _now(), who, last=False)
        if verdict.granted:
            self._tell_steps()
            if self._waits(needs):
                self._begin(self._tell(who, needs, verdict, judged))
            else:
                judged(verdict)
            return
        self._begin(self._again(who, needs, judged, recall))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _waits(self, needs: Sequence[Need]) -> bool:
        return self._path is not None and self.trouble is None and self._authority.counts_later(needs)

    async def _tell(self, who: int, needs: Sequence[Need], verdict: Verdict, judged: Callable[[Verdict], None]) -> None:
        """Once the file has it, or cannot: then by `on_failure`."""
        try:
            async with asyncio.timeout(AHEAD_SECONDS):
                await self._written()
        except FAULTS as error:
            self._failed(error)
            if self.on_failure != "local":
                self._authority.undo(needs, verdict, _now(), who)
                self.uncounted += 1
                verdict = Verdict()
        judged(verdict)

    async def _written(self) -> None:
        """Wait for the next write that begins: it is everybody's, so none who waits can call it off. Raises one of
        `FAULTS`."""
        if self._next is None:
            self._next = asyncio.create_task(self._write_buckets())
            self._writes.add(self._next)
            self._next.add_done_callback(self._writes.discard)
        await asyncio.shield(self._next)

    async def _write_buckets(self) -> None:
        async with self._ahead:
            self._next = None
            if not await self._opened() or self._store is None:
                raise OSError(self.trouble or "the file is not open")
            buckets = self._authority.changed(_now())
            if self._path is None or not buckets:
                return
            try:
                await self._aside(partial(self._store.keep, buckets), self._ahead_thread)
            except FAULTS:
                self._authority.again(buckets)
                raise

    async def _again(
        self,
        who: int,
        needs: Sequence[Need],
        judged: Callable[[Verdict], None],
        recall: Callable[[set[int], tuple[str, ...]], None],
    ) -> None:
        """Nobody is refused what is lent to others, or what a report on its way gives back."""
        lenders = self._authority.lends(needs, who)
        if lenders:
            recall(lenders, tuple(need.bucket.name for need in needs))
            events = [self._told.setdefault(one, asyncio.Event()) for one in lenders]
            waiting = asyncio.gather(*(event.wait() for event in events))
            await asyncio.wait([asyncio.ensure_future(waiting)], timeout=RECALL_SECONDS)
            waiting.cancel()
        else:
            await asyncio.sleep(0.002)
        verdict = self._authority.reserve(needs, _now(), who)
        self._tell_steps()
        if verdict.granted and self._waits(needs):
            await self._tell(who, needs, verdict, judged)
        else:
            judged(verdict)

    def spent(self, who: int, report: Report) -> None:
        """What a worker did."""
        self._authority.report(report, _now(), who)
        if (event := self._told.pop(who, None)) is not None:
            event.set()

    def gone(self, who: int) -> None:
        """A worker is dead."""
        self._authority.gone(who, _now())
        self._away.pop(who, None)
        if (event := self._told.pop(who, None)) is not None:
            event.set()

    def _tell_steps(self) -> None:
        for step in self._authority.steps():
            known = {"limit": step.bucket.said, "used": f"{step.share:.0%}"}
            if step.share >= 1:
                log.warning("a limit is reached", **known, **({"shadow": True} if step.bucket.shadow else {}))
            else:
                log.info("little is left of a limit", **known)

    def fills(self) -> list[Fill]:
        """Every bucket of which something is used."""
        return list(self._authority.fills(_now()))

    def reset(self, client: str) -> list[str]:
        """Forget what a client used of its limits; gives the names of these."""
        return self._authority.reset(client)

    # What was used

    def add(self, deltas: Iterable[tuple[Key, Tally]]) -> None:
        """Exchanges that are over, as they were counted since the last call."""
        for row in history.rows(deltas, time.time()):
            self._keep(row)

    def _keep(self, row: Row) -> None:
        key = (row.width, row.at, row.place)
        if key not in self._rows and len(self._rows) >= _MOST_UNWRITTEN:
            row = history.bounded(row)
            key = (row.width, row.at, row.place)
        if (known := self._rows.get(key)) is not None:
            known.merge(row)
        else:
            self._rows[key] = row

    async def history(
        self, since: float, by: Sequence[By] = (), until: float | None = None, width: int | None = None
    ) -> list[Row]:
        """What was used from `since` (seconds since 1970) on, up to `until`, summed up by what is named. By `time`:
        in steps of `width`, by default the finest that are kept so long. Never raises: without a file, what is known
        here."""
        now = time.time()
        finest = history.width_for(since, now)
        width = max(width or finest, finest)
        read = next(known for known in sorted(history.KEPT, reverse=True) if known <= width)
        found: list[Row] = []
        async with self._writing:
            try:
                await self._flush(now)
                if await self._opened() and self._store is not None:
                    found = await self._aside(partial(self._store.rows, read, since))
            except FAULTS as error:
                self._failed(error)
            found += [row for (of, _, _), row in self._rows.items() if of == read and row.at + read > since]
        return history.grouped((row for row in found if until is None or row.at < until), by, width)

    # The file

    async def run(self) -> None:
        """Write what changed, for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def open(self) -> None:
        """Read what an earlier process left behind; without, go on by `onFailure`."""
        async with self._writing:
            await self._opened()

    async def write(self) -> None:
        """Bring the file up to date, as far as it can be."""
        async with self._writing:
            try:
                await self._flush(time.time())
            except FAULTS as error:
                self._failed(error)

    async def close(self) -> None:
        """Write the last things."""
        for task in list(self._tasks):
            task.cancel()
        await self.write()
        if self._store is not None:
            await self._aside(self._store.close)
        for thread in (self._thread, self._ahead_thread):
            thread.shutdown(wait=False)

    async def _opened(self) -> bool:
        async with self._opening:
            if self._store is not None:
                return True
            if time.monotonic() - self._tried < AGAIN_SECONDS:
                return False
            self._tried = time.monotonic()
            try:
                store, kept = await self._aside(self._read)
            except FAULTS as error:
                self._failed(error)
                return False
            self._authority.restore(kept, _now())
            self._store = store
            return True

    def _read(self) -> tuple[Store, dict[str, bytes]]:
        store = Store(self._path)
        try:
            return store, store.buckets()
        except BaseException:
            store.close()
            raise

    async def _flush(self, now: float) -> None:
        if not (self._rows or self._authority.dirty or self.trouble) or not await self._opened():
            return
        assert self._store is not None
        await self._written()
        rows, self._rows = self._rows, {}
        try:
            await self._aside(partial(self._store.write, rows.values()))
        except FAULTS:
            newer, self._rows = self._rows, rows
            for row in newer.values():
                self._keep(row)
            raise
        if self.trouble is not None:
            self.trouble = None
            log.info("what was used can be written down again", file=str(self._path))
        if time.monotonic() - self._pruned > PRUNE_SECONDS:
            self._pruned = time.monotonic()
            await self._aside(partial(self._store.prune, now))

    def _failed(self, error: BaseException) -> None:
        reason = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
        if self.trouble is None:
            told = {"file": str(self._path), "reason": reason, "on_failure": self.on_failure}
            log.error("what was used cannot be written down: it is tried again", **told)
        self.trouble = reason

    async def _aside(self, work: Callable[[], T], thread: ThreadPoolExecutor | None = None) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread or self._thread, work)


@asynccontextmanager
async def keeping(path: Path | None, on_failure: str, limited: bool) -> AsyncIterator[Quotas]:
    """The limits and the history of a program, until the end of the block. `limited`: somebody's use is, so that what
    an earlier process left behind counts from the first request on."""
    quotas, care = Quotas(path, on_failure), Care()
    if limited:
        await quotas.open()
    care.keep("what was used is written down", quotas.run)
    try:
        yield quotas
    finally:
        await care.end()
        await quotas.close()


def _now() -> Now:
    return Now(time.monotonic(), time.time())
