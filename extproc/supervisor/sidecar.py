"""The sidecar as one thing: workers under a configuration, with context texts, following the files that say it.

Rule: parts are put together here and started in the order in which they are needed; each does its own work.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
import signal
import sys

import structlog

from extproc.envoy.process import EnvoyError
from extproc.supervisor import contexts, watch
from extproc.supervisor.books import Books
from extproc.supervisor.care import Care
from extproc.supervisor.gauges import Gauges
from extproc.supervisor.live import EnvoySide, Live, sources
from extproc.supervisor.quotas import keeping
from extproc.supervisor.recycling import cores
from extproc.supervisor.supervisor import Logging, Window, Workers
from extproc.worker import logs
from extproc.worker.places import Door, Place, places, reserved

log = structlog.get_logger("extproc.sidecar")

TIDY_SECONDS = 1.0
"""How often it is looked at whether an exchange is still served under a former configuration, and whether a change that
the disk did not take can be finished."""


@dataclass(frozen=True, slots=True)
class Options:
    """`door`: where and how the workers serve. `workers`: how many, None for what the configuration says. `grace`: how
    long open exchanges may go on after a stop was asked for, `pause`: how long new ones are taken. `window`: what the
    console has to do with the workers. `hears_ends`: Envoy's log is read here, and says how exchanges ended
    (`Sidecar.told_end`)."""

    door: Door
    workers: int | None
    logging: Logging
    pause: float
    grace: float
    window: Window = field(default_factory=Window)
    hears_ends: bool = False


class Sidecar:
    """`addresses`: where the workers serve. `workers`: their processes. `quotas`: the limits of use, and what was
    used."""

    def __init__(
        self, live: Live, texts: contexts.Contexts, workers: Workers, serving_at: Sequence[Place], gauges: Gauges
    ) -> None:
        self.addresses = serving_at
        self.quotas = workers.quotas
        self._live = live
        self._texts = texts
        self.workers = workers
        self._gauges = gauges
        self._care = Care()

    def not_ready(self) -> str | None:
        """Why requests would not be served; None if they are."""
        if self.workers.serving:
            return self._live.not_ready(self._texts.texts)
        reasons = "; ".join(f"{what}: {reason}" for what, reason in self.trouble().items())
        return f"no worker serves ({reasons})" if reasons else "no worker serves"

    def told_end(self, request_id: str, attempt: int | None, how: str) -> None:
        """Envoy's log says how an attempt ended that nobody finished."""
        self.workers.told_end(request_id, attempt, how)

    def trouble(self) -> dict[str, str]:
        """What goes wrong now and is tried again, whether or not requests are served meanwhile."""
        usage = self.quotas.failing
        return {**self.workers.trouble, **self._care.failing, **({"the usage store": usage} if usage else {})}

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Log lines of all processes wait until the end of the block."""
        for hold in (logs.hold, self.workers.hold_logs):
            hold(True)
        try:
            yield
        finally:
            for hold in (logs.hold, self.workers.hold_logs):
                hold(False)

    @asynccontextmanager
    async def following(self, envoy: EnvoySide) -> AsyncIterator[None]:
        """Follow changes of the files, and replace all workers at SIGHUP, until the end of the block."""
        self._care.keep("files are followed", lambda: self._follow(envoy))
        self._care.keep("former configurations are forgotten", lambda: self._tidy(envoy))
        if self._live.loaded.config.telemetry.otlp:
            from extproc.supervisor import otlp  # packages that only who sends has

            self._care.keep("metrics are sent", partial(otlp.send, self._gauges.books.families))

        def roll() -> None:
            self._care.keep("workers are replaced", self.workers.roll)

        if sys.stdin is None or not sys.stdin.isatty():  # else it means that the terminal is gone: then we go too
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, roll)
        try:
            yield
        finally:
            await self._care.end()

    async def _follow(self, envoy: EnvoySide) -> None:
        async for changed in watch.changes(self._live.paths):
            await self._change(changed, envoy)

    async def _change(self, changed: set[Path], envoy: EnvoySide) -> None:
        try:
            await self._live.change(changed, self._texts, self.workers, envoy)
            self._gauges.follow()
        except Exception:  # a fault of ours; what is served goes on, and the next change is followed again
            log.exception("a change could not be followed")

    async def _tidy(self, envoy: EnvoySide) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            if self._live.unfinished:
                await self._change(set(), envoy)
            try:
                await self._live.forget(self.workers, envoy)
            except (OSError, EnvoyError) as error:
                log.warning("Envoy could not be told to forget providers", reason=str(error))


@asynccontextmanager
async def sidecar(live: Live, options: Options, books: Books) -> AsyncIterator[Sidecar]:
    """The workers with their context texts, serving. `books`: what their exchanges sum up to. Raises `OSError`,
    `WorkerFailed`."""
    config = live.loaded.config
    for note in live.loaded.notes:
        log.info(note)
    count = options.workers or config.workers or cores()
    async with AsyncExitStack() as stack:
        serving_at = [stack.enter_context(reserved(place)) for place in places(options.door.first, count)]
        quotas = await stack.enter_async_context(keeping(live.usage_file, config.usage.on_failure, config.has_limits))
        books.feeds.append(quotas.add)
        workers = Workers(options.logging, options.door, books, options.window, quotas, hear_ends=options.hears_ends)
        texts = await stack.enter_async_context(contexts.keeping(workers.texts))
        await texts.follow(sources(config))
        workers.recycle = config.recycle
        stack.push_async_callback(workers.stop, options.pause, options.grace)
        await workers.start(serving_at, live.order(texts.texts))
        gauges = Gauges(live, workers, books, options.door.tls)
        books.gauges.append(gauges.families)
        yield Sidecar(live, texts, workers, serving_at, gauges)
