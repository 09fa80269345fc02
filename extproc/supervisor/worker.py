"""One worker process as the supervisor sees it: what it is told, and what it says.

Rule: knows one process; what is done about it is `supervisor`'s.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
import time

import structlog

from extproc.worker import channel

log = structlog.get_logger("extproc.supervisor")

PING_SECONDS = 5.0
SILENT_PINGS = 6
"""A worker that answers neither us nor Envoy is killed after so many unanswered pings."""
LAST_WORDS_SECONDS = 1.0
"""How long a worker that ended is listened to."""


class Worker:
    """One process. `number`: its own, for ever. `oldest`: the first generation that it may still serve exchanges under.
    `on_report`: hears what it says that is not about itself. `on_end`: hears of its end, once. `seen`: what it last
    told the console, `heard`: of how many exchanges that ended."""

    def __init__(
        self,
        index: int,
        number: int,
        process: asyncio.subprocess.Process,
        generation: int,
        on_report: Callable[["Worker", channel.Report], None],
        on_end: Callable[["Worker"], None],
    ) -> None:
        self._on_report = on_report
        self._on_end = on_end
        self._over = False
        self.index = index
        self.number = number
        self.process = process
        self.born = time.monotonic()
        self.oldest = generation
        self.active = -1
        self.expecting = -1
        self.port = 0
        self.failure: str | None = None
        self.leaving = False
        self.seen: channel.Seen | None = None
        self.heard = 0
        self.told = asyncio.Condition()
        self.unanswered = 0
        self._listening = asyncio.create_task(self._listen())
        self._pinging = asyncio.create_task(self._ping())

    @property
    def age(self) -> float:
        return time.monotonic() - self.born

    def order(self, message: channel.Order) -> None:
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            channel.send(self.process.stdin, message)

    def leave(self, pause: float, grace: float) -> None:
        """Ask it to end, once."""
        if not self.leaving:
            self.leaving = True
            self.order(channel.Leave(pause, grace))

    async def until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Whether the condition came true before the process ended, and in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience), self.told:
                await self.told.wait_for(lambda: condition() or self.process.returncode is not None)
        return condition()

    async def ended(self) -> int:
        """Its exit code. What it said last was heard."""
        code = await self.process.wait()
        self._pinging.cancel()
        with suppress(TimeoutError):  # unless somebody it started holds its end
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await asyncio.wait({self._listening})
        self._listening.cancel()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if not self._over:
            self._over = True
            self._on_end(self)
        await self._tell()
        return code

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def _listen(self) -> None:
        try:
            await self._hear()
        except Exception:  # a word that is none, or a fault of ours: deaf to a worker, we could not end it later
            log.exception("a worker is not understood: it is killed", worker=self.index, pid=self.process.pid)
            self.kill()
        await self.process.wait()
        await self._tell()

    async def _hear(self) -> None:
        assert self.process.stdout is not None
        while (report := await channel.report(self.process.stdout)) is not None:
            match report:
                case channel.Serving(port):
                    self.port = port
                case channel.Active(generation):
                    self.active = generation
                case channel.Expecting(generation):
                    self.expecting = generation
                case channel.Oldest(generation):
                    self.oldest = generation
                case channel.Failed(reason):
                    self.failure = reason
                case channel.Seen():
                    self.seen, self.heard = report, max(self.heard, report.ended)
                case channel.Pong():
                    self.unanswered = 0
                case _:
                    self._on_report(self, report)
                    continue
            await self._tell()

    async def _tell(self) -> None:
        async with self.told:
            self.told.notify_all()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            if self.active < 0:
                continue  # it starts, which has a limit of its own
            self.order(channel.Ping())
            self.unanswered += 1
            if self.unanswered > SILENT_PINGS and not self.leaving:
                log.error("a worker does not answer: it is killed", worker=self.index, pid=self.process.pid)
                self.kill()
