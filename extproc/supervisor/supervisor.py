"""The worker processes: started, told what to serve, restarted, replaced, ended.

Rule: knows processes and ports, nothing of what they serve. Workers are spawned, never forked, and this process has
no gRPC. A worker has one port for life, which its successor shares before it leaves: Envoy's endpoints never change.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
import itertools
from typing import Literal

import msgspec
import structlog

from extproc.providers.blocks import Recycle
from extproc.supervisor.books import Books
from extproc.supervisor.care import Care
from extproc.supervisor.learnt import Learnt, Word
from extproc.supervisor.quotas import Quotas
from extproc.supervisor.recycling import due, memory_of
from extproc.supervisor.spawning import WorkerFailed, started, why_ended
from extproc.supervisor.worker import Worker
from extproc.terms.agreed import LAME_SECONDS
from extproc.worker import channel
from extproc.worker.places import Door, Place

log = structlog.get_logger("extproc.supervisor")

START_SECONDS = 60.0
"""How long a new worker may take until it serves."""
LOOK_SECONDS = 2.0
"""How long the console waits for a worker that has other things to do."""
APPLY_SECONDS = 10.0
"""How long a worker may take to serve under a new configuration."""
LINGER_SECONDS = 600.0
"""How long the exchanges of a worker that was replaced may go on: nobody waits for them."""
STEADY_SECONDS = 10.0
"""A worker that lived so long did not die of its start."""
BACK_OFF = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a dead worker is started again, by how often it died soon after its start."""


@dataclass(frozen=True, slots=True)
class Logging:
    """`verbose`: lines for people have every id."""

    format: Literal["console", "json"]
    level: str
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """What the console has to do with workers. `token`: marks its own chats, empty where there is none; `on_trace`:
    hears what they were made of."""

    token: str = ""
    on_trace: Callable[[channel.Traced], None] = lambda traced: None


class Workers:
    """All worker processes, each in a place with an address for life. `books`: what all exchanges sum up to. `quotas`:
    who answers what workers want of limits. `recycle`: when one is replaced by itself. `hear_ends`: they will be told
    of `ended`. `window`: what the console has to do with them."""

    def __init__(
        self,
        logging: Logging,
        door: Door,
        books: Books | None = None,
        window: Window | None = None,
        quotas: Quotas | None = None,
        *,
        hear_ends: bool = False,
    ) -> None:
        self._books = books or Books()
        self.quotas = quotas or Quotas(None)
        self._numbers = itertools.count()
        self._logging = logging
        self._window = window or Window()
        self._door = door
        self._hear_ends = hear_ends
        self._load = channel.Load(0, None, {}, None, {})
        self._slots: dict[int, Worker] = {}
        self._lingering: set[Worker] = set()
        self._reserved: list[Place] = []
        self._care = Care()
        self._absent: dict[int, str] = {}
        self._places: list[asyncio.Lock] = []
        self._one_at_a_time = asyncio.Lock()
        self._learnt = Learnt()
        self.recycle: Recycle | None = None

    def _reported(self, origin: Worker, report: channel.Report) -> None:
        match report:
            case channel.Rested() | channel.Turned():
                self._pass_on(origin, report)
            case channel.Counted():
                self._books.count(origin.number, report)
            case channel.Traced():
                self._window.on_trace(report)
            case channel.Spent(spent):
                self.quotas.spent(origin.number, spent)
            case channel.StoreAway(reason):
                self.quotas.shared_away(origin.number, reason)
            case channel.Wanted(id, needs):
                self.quotas.wanted(
                    origin.number, needs, lambda verdict: origin.order(channel.Judged(id, verdict)), self._recall
                )

    def _ended(self, worker: Worker) -> None:
        self._books.forget(worker.number)
        self.quotas.gone(worker.number)

    def _recall(self, numbers: set[int], names: tuple[str, ...]) -> None:
        for worker in (*self._slots.values(), *self._lingering):
            if worker.number in numbers:
                worker.order(channel.Recall(names))

    def _pass_on(self, origin: Worker, word: Word) -> None:
        """What one worker learns is told to the others, and to those that come later."""
        if isinstance(word, channel.Rested) and word.until:
            self._books.rested(word.provider, aside=word.aside)
        self._learnt.add(word)
        for worker in (*self._slots.values(), *self._lingering):
            if worker is not origin:
                worker.order(word)

    @property
    def rests(self) -> tuple[channel.Rested, ...]:
        """What is known of keys that are not used now."""
        return self._learnt.rests

    @property
    def processes(self) -> tuple[dict[str, object], ...]:
        """Each process, for people."""
        alive = [*self._slots.values(), *self._lingering]
        return tuple(
            {
                "worker": worker.index,
                "pid": worker.process.pid,
                "age": round(worker.age),
                "memory": memory_of(worker.process.pid),
                "generation": worker.active,
                "leaving": worker.leaving,
                "silent": worker.unanswered > 1,
            }
            for worker in alive
            if worker.process.returncode is None
        )

    async def look(self, most: int) -> list[channel.Seen]:
        """What every worker has to tell the console: of what ended since the last look, at most so many each."""
        workers = [w for w in (*self._slots.values(), *self._lingering) if w.active >= 0]
        return [seen for seen in await asyncio.gather(*(self._seen(worker, most) for worker in workers)) if seen]

    async def _seen(self, worker: Worker, most: int) -> channel.Seen | None:
        before, worker.seen = worker.heard, None
        worker.order(channel.Look(before, most))
        await worker.until(lambda: worker.seen is not None, LOOK_SECONDS)
        seen = worker.seen
        # `ended` of all that is new: the console counts what it is not shown.
        return None if seen is None else msgspec.structs.replace(seen, ended=seen.ended - before)

    @property
    def serving(self) -> int:
        """How many workers take streams now."""
        return sum(w.port != 0 and w.process.returncode is None for w in self._slots.values())

    @property
    def trouble(self) -> dict[str, str]:
        """What is being tried again, by what it is for: workers that do not start, and faults of ours."""
        return {**{f"worker {index}": reason for index, reason in self._absent.items()}, **self._care.failing}

    @property
    def oldest(self) -> int:
        """The first generation of the configuration that some exchange may still be served under."""
        alive = (w for w in (*self._slots.values(), *self._lingering) if w.process.returncode is None)
        return min((w.oldest for w in alive), default=self._load.generation)

    async def start(self, reserved: Sequence[Place], load: channel.Load) -> None:
        """Start one worker per reserved address and wait until all serve. Raises `WorkerFailed`."""
        self._load = load
        self._reserved = list(reserved)
        self._places = [asyncio.Lock() for _ in reserved]
        starts = [asyncio.create_task(self._spawn(index)) for index in range(len(reserved))]
        try:
            await asyncio.gather(*starts)
        finally:  # one that fails, fails all
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
        for index in self._slots:
            self._care.keep(f"worker {index} is watched", partial(self._supervise, index))
        self._care.keep("workers are recycled", self._recycle)

    async def expect(self, load: channel.Load) -> None:
        """Have the workers know a configuration that Envoy is about to learn of; back when they do, or cannot."""
        await asyncio.gather(*(self._expecting(worker, load) for worker in list(self._slots.values())))

    async def _expecting(self, worker: Worker, load: channel.Load) -> None:
        worker.failure, worker.expecting = None, -1
        worker.order(channel.Expect(load))
        await worker.until(lambda: worker.expecting >= load.generation or worker.failure is not None, APPLY_SECONDS)

    async def apply(self, load: channel.Load) -> None:
        """Have new exchanges served under another configuration; back when they are."""
        self._load = load
        for worker in self._slots.values():
            worker.order(load)
        await asyncio.gather(*(self._applied(worker, load.generation) for worker in list(self._slots.values())))

    async def _applied(self, worker: Worker, generation: int) -> None:
        worker.failure = None
        if await worker.until(lambda: worker.active >= generation or worker.failure is not None, APPLY_SECONDS):
            if worker.failure is not None:
                log.error("a worker keeps the former configuration", worker=worker.index, reason=worker.failure)
        elif worker.process.returncode is None:  # its successor begins with the new one
            log.error("a worker does not take the new configuration: it is killed", worker=worker.index)
            worker.kill()

    def texts(self, texts: Mapping[str, str]) -> None:
        """Have new exchanges served with these context texts."""
        self._load = msgspec.structs.replace(self._load, texts=texts)
        for worker in self._slots.values():
            worker.order(channel.Texts(texts))

    def told_end(self, request_id: str, attempt: int | None, how: str) -> None:
        """Envoy says how an attempt ended that nobody finished; whose it was, the workers know."""
        for worker in (*self._slots.values(), *self._lingering):
            worker.order(channel.Ended(request_id, attempt, how))

    def hold_logs(self, on: bool) -> None:
        """Have the workers' log lines wait, or be written."""
        for worker in self._slots.values():
            worker.order(channel.Hold(on))

    async def roll(self) -> None:
        """Replace every worker, one at a time."""
        for index in list(self._slots):
            await self._replace(index, "rolling restart")
        log.info("all workers were replaced")

    async def stop(self, pause: float, grace: float) -> None:
        """End all: streams are refused after `pause` seconds, and those that are open get `grace` seconds."""
        await self._care.end()
        workers = [*self._slots.values(), *self._lingering]
        for worker in workers:
            worker.leave(pause, grace)
        waiting = [asyncio.create_task(worker.ended()) for worker in workers]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=pause + grace + 2.0)
            for worker in workers if late else ():
                worker.kill()
            await asyncio.gather(*waiting)

    async def _spawn(self, index: int) -> Worker:
        """A new worker in its place, serving. Raises `WorkerFailed`."""
        process = await started()
        load = self._load
        worker = Worker(index, next(self._numbers), process, load.generation, self._reported, self._ended)
        tls = self._door.tls
        files = None if tls is None else (str(tls.certificate), str(tls.key), str(tls.client_ca))
        said, place = self._logging, str(self._reserved[index])
        begin = channel.Begin(index, place, files, self._door.socket_mode, said.format, said.level, said.verbose)
        worker.order(msgspec.structs.replace(begin, console=self._window.token, hears_ends=self._hear_ends))
        worker.order(load)
        for word in self._learnt.words:
            worker.order(word)
        try:
            await worker.until(lambda: worker.active >= 0 or worker.failure is not None, START_SECONDS)
            if worker.active < 0 or process.returncode is not None:
                raise WorkerFailed(worker.failure or why_ended(process.returncode, START_SECONDS))
            if load is not self._load:
                worker.order(self._load)  # it changed meanwhile
        except BaseException:
            worker.kill()
            ending = asyncio.create_task(worker.ended())
            while not ending.done():  # also where another one's failure cancels this start meanwhile: it ends at once
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({ending})
            raise
        self._slots[index] = worker
        self._absent.pop(index, None)
        return worker

    async def _supervise(self, index: int) -> None:
        """Have a worker in a place for ever."""
        failures = 0
        while True:
            worker = self._slots[index]
            code = await worker.ended()
            async with self._places[index]:
                if self._slots[index] is worker:  # else it was replaced
                    failures = 0 if worker.age > STEADY_SECONDS else failures + 1
                    await self._restart(index, why_ended(code), failures)

    async def _restart(self, index: int, reason: str, failures: int) -> None:
        while True:
            pause = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
            write = log.warning if failures < 3 else log.error
            write("a worker ended: it is started again", worker=index, reason=reason, in_seconds=pause)
            self._absent[index] = reason
            await asyncio.sleep(pause)
            try:
                await self._spawn(index)
            except WorkerFailed as error:
                reason, failures = str(error), failures + 1
            except Exception as error:  # nothing may leave a place empty for ever
                log.exception("a worker could not be started: a fault of ours", worker=index)
                reason, failures = type(error).__name__, failures + 1
            else:
                return

    async def _replace(self, index: int, reason: str) -> None:
        """Put a successor into a place: it serves before the former one leaves."""
        async with self._one_at_a_time:
            async with self._places[index]:
                former = self._slots[index]
                try:
                    successor = await self._spawn(index)
                except WorkerFailed as error:
                    log.error("a worker is not replaced: its successor does not start", worker=index, reason=str(error))
                    return
            pids = {"former": former.process.pid, "successor": successor.process.pid}
            log.info("a worker is replaced", worker=index, reason=reason, **pids)
            self._lingering.add(former)
            former.leave(LAME_SECONDS, LINGER_SECONDS)
            self._care.keep(f"worker {index} is seen off", partial(self._see_off, former))
            await asyncio.sleep(LAME_SECONDS + 0.5)

    async def _see_off(self, former: Worker) -> None:
        await former.ended()
        self._lingering.discard(former)

    async def _recycle(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for index, worker in list(self._slots.items()):
                if reason := due(self.recycle, worker.age, memory_of(worker.process.pid)):
                    await self._replace(index, reason)
