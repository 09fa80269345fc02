"""One worker process: an ext_proc server that does what its supervisor says. Started as `python -m extproc.worker`.

Rule: reads no file and decides nothing. Configuration and context texts come over stdin (`channel`); the exchanges
under way keep the ones that they began with. When the supervisor is gone, so is the worker.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
import os
from pathlib import Path
import signal
import sys
import time
from typing import BinaryIO, cast
import weakref

import msgspec
import structlog

from extproc.config.config import Config, ConfigError
from extproc.config.files import Files
from extproc.config.load import StandIn, load
from extproc.exchange.exchange import Snapshot
from extproc.keys.choice import Keys, Rest
from extproc.keys.kept import keys_kept
from extproc.keys.paths import Paths, Turn
from extproc.limits.buckets import Rules
from extproc.terms.agreed import LAME_SECONDS
from extproc.worker import channel, logs, loop, server
from extproc.worker.books import Books
from extproc.worker.ends import Ends
from extproc.worker.feed import Feed
from extproc.worker.places import Tls
from extproc.worker.quotas import Quotas, shared_store

log = structlog.get_logger("extproc.worker")

FORMER_SECONDS = 5.0
"""How long Envoy may still route by the configuration before."""
COUNT_SECONDS = 1.0
"""How often the supervisor hears how many exchanges are open and how many keys rest."""
SOON_SECONDS = 0.05
"""How soon it hears of exchanges that ended: a worker that is killed takes so much with it. Less would cost more: they
are summed up meanwhile."""
GONE_SECONDS = 1.0
"""How long open exchanges may go on when the supervisor died without a word."""


class Current:
    """What new exchanges are served under, and which earlier configurations are still in use by running ones."""

    def __init__(self, report: channel.Writer, first: channel.Load) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._generation = first.generation
        self._in_use: Counter[int] = Counter()
        self._former: tuple[Config, ...] = ()
        self._coming: tuple[Config, ...] = ()
        self._expected: channel.Load | None = None
        config = self._loaded(first)
        rules = Rules(config) if config.has_limits else None
        self.snapshot = Snapshot(config, first.texts, rules=rules, paths=Paths(self._learnt))
        """What an exchange that begins now works under. Replaced as a whole: exchanges begin in another thread."""

    @property
    def config(self) -> Config:
        return self.snapshot.config

    def keep(self, keys: Keys) -> None:
        self.snapshot = replace(self.snapshot, keys=keys)

    def _learnt(self, provider: str, turn: Turn) -> None:
        """Called by the exchanges' threads."""
        self._loop.call_soon_threadsafe(self._tell_turn, provider, turn)

    def _tell_turn(self, provider: str, turn: Turn) -> None:
        channel.send(self._report, channel.Turned(turn.place, turn.model, turn.turned))
        if turn.turned:
            log.info("a model is asked on the vendor's other path from now on", provider=provider, model=turn.model)
        else:
            log.warning("a model answers on neither of the vendor's paths", provider=provider, model=turn.model)

    def expect(self, order: channel.Load) -> None:
        """Envoy may choose by this configuration before it is ours."""
        if (config := self._tried(order)) is not None:
            self._coming, self._expected = (config,), order
            self._show(self.config, {**order.texts, **self.snapshot.contexts})
            channel.send(self._report, channel.Expecting(order.generation))

    def load(self, order: channel.Load) -> None:
        """Swap the configuration. One that does not load is reported, and changes nothing."""
        if self._expected is not None and msgspec.structs.replace(self._expected, texts=order.texts) == order:
            (config,) = self._coming
        elif (tried := self._tried(order)) is not None:
            config = tried
        else:
            return
        self._expected = None
        self._former, self._coming, self._generation = (self.config,), (), order.generation
        self._show(config, order.texts)
        channel.send(self._report, channel.Active(order.generation))
        self._loop.call_later(FORMER_SECONDS, self._forget, order.generation)

    def texts(self, texts: Mapping[str, str]) -> None:
        self._show(self.config, texts)

    def _forget(self, generation: int) -> None:
        """Envoy routes by the new configuration. Where no exchange holds the former, it ends, and that is reported."""
        if generation == self._generation:
            self._former = ()
            self._show(self.config, self.snapshot.contexts)

    def _show(self, config: Config, texts: Mapping[str, str]) -> None:
        rules = self.snapshot.rules
        if config is not self.config:
            rules = Rules(config) if config.has_limits else None
        others = self._coming + self._former
        self.snapshot = replace(self.snapshot, config=config, contexts=texts, others=others, rules=rules)

    def _tried(self, order: channel.Load) -> Config | None:
        try:
            return self._loaded(order)
        except ConfigError as error:
            channel.send(self._report, channel.Failed(str(error)))
        except Exception as error:  # a fault of ours: what is served goes on
            log.exception("a configuration could not be loaded: a fault of ours")
            channel.send(self._report, channel.Failed(type(error).__name__))
        return None

    def _loaded(self, order: channel.Load) -> Config:
        config = load(
            Path(order.path) if order.path is not None else None,
            os.environ,
            stand_in=None if order.stand_in is None else StandIn(*order.stand_in),
            files=Files(order.files),
        ).config
        self._in_use[order.generation] += 1
        # Whoever serves an exchange under a configuration holds it; the last one's end is its end.
        weakref.finalize(config, self._ended, order.generation).atexit = False
        return config

    def _ended(self, generation: int) -> None:
        """Called by whichever thread let go of it last."""
        self._loop.call_soon_threadsafe(self._report_oldest, generation)

    def _report_oldest(self, generation: int) -> None:
        self._in_use[generation] -= 1
        channel.send(self._report, channel.Oldest(min(+self._in_use, default=self._generation)))


async def work(orders: asyncio.StreamReader, report: channel.Writer) -> None:
    """Serve until told to leave, by an order or SIGTERM, or until the orders end."""
    begin, first = await channel.order(orders), await channel.order(orders)
    if not isinstance(begin, channel.Begin) or not isinstance(first, channel.Load):
        return  # the supervisor changed its mind
    logs.configure(begin.log_format, begin.log_level, begin.worker, verbose=begin.verbose)
    farewell, ends, books = server.Farewell(pause=LAME_SECONDS), _ends(begin), Books()
    try:
        current = Current(report, first)
        running = asyncio.get_running_loop()
        feed = Feed(begin.console, lambda traced: running.call_soon_threadsafe(channel.send, report, traced))
        tls = None if begin.tls is None else Tls(*map(Path, begin.tls))
        quotas = Quotas(report, lambda: current.config.usage.on_failure)
        telling = asyncio.create_task(quotas.run())
        sharing = asyncio.create_task(quotas.share(lambda: shared_store(current.config)))
        await quotas.started.wait()
        async with keys_kept(lambda: current.config, lambda rest: _told(report, rest)) as keys:
            current.keep(keys)
            async with server.serving(
                begin.address,
                lambda: current.snapshot,
                farewell,
                ends,
                books,
                feed,
                quotas,
                tls=tls,
                socket_mode=begin.socket_mode,
            ) as served:
                counts = Counts(report, books, served, current, keys)
                obeying = asyncio.create_task(
                    _obey(orders, report, current, keys, quotas, served, ends, farewell, feed)
                )
                counting = asyncio.create_task(_counted(counts))
                books.first = partial(_later, running, SOON_SECONDS, counts.tell)
                running.add_signal_handler(signal.SIGTERM, obeying.cancel)
                channel.send(report, channel.Serving(served.port))
                channel.send(report, channel.Active(first.generation))
                await asyncio.wait({obeying})
                outlived = asyncio.create_task(_outlived(orders, quotas))
            counting.cancel()
            counts.tell()
        outlived.cancel()
        for task in (telling, sharing):
            task.cancel()
        await asyncio.gather(telling, sharing, return_exceptions=True)
        quotas.leave()
    except (ConfigError, OSError) as error:
        channel.send(report, channel.Failed(str(error)))


class Counts:
    """Tells the supervisor what the books hold, and what is so now."""

    def __init__(
        self, report: channel.Writer, books: Books, served: server.Served, current: Current, keys: Keys
    ) -> None:
        self._report, self._books, self._served, self._current, self._keys = report, books, served, current, keys
        self._last = channel.Counted([], 0, {})

    def tell(self) -> None:
        """Once; nothing, where there is nothing new."""
        now = time.monotonic()
        resting = {p.id: n for p in self._current.config.providers if (n := self._keys.resting(p, now))}
        counted = channel.Counted(self._books.take(), self._served.open(), resting)
        if counted != self._last:
            channel.send(self._report, counted)
        self._last = msgspec.structs.replace(counted, tallies=[])


async def _counted(counts: Counts) -> None:
    while True:
        await asyncio.sleep(COUNT_SECONDS)
        try:
            counts.tell()
        except Exception:  # a fault of ours; the next second is counted again
            log.exception("exchanges could not be counted")


def _ends(begin: channel.Begin) -> Ends:
    if not begin.hears_ends:
        return Ends()
    running = asyncio.get_running_loop()
    return Ends(lambda seconds, work: _later(running, seconds, work))


def _later(running: asyncio.AbstractEventLoop, seconds: float, work: Callable[[], None]) -> None:
    """Called by any thread."""
    with suppress(RuntimeError):  # the loop is closed: whatever waits is told at the end
        running.call_soon_threadsafe(running.call_later, seconds, work)


def _told(report: channel.Writer, rest: Rest) -> None:
    channel.send(report, channel.Rested(rest.provider, rest.fingerprint, rest.until, rest.aside))


async def _obey(
    orders: asyncio.StreamReader,
    report: channel.Writer,
    current: Current,
    keys: Keys,
    quotas: Quotas,
    served: server.Served,
    ends: Ends,
    farewell: server.Farewell,
    feed: Feed,
) -> None:
    while True:
        match await channel.order(orders):
            case None:
                farewell.pause, farewell.grace = 0.0, GONE_SECONDS
                return
            case channel.Leave(pause, grace):
                farewell.pause, farewell.grace = pause, grace
                return
            case channel.Load() as order:
                current.load(order)
            case channel.Expect(load):
                current.expect(load)
            case channel.Texts(texts):
                current.texts(texts)
            case channel.Turned(place, model, turned):
                current.snapshot.paths.keep(Turn(place, model, turned))
            case channel.Ended(request_id, attempt, how):
                ends.tell(request_id, attempt, how)
            case channel.Hold(on):
                logs.hold(on)
            case channel.Rested(provider, fingerprint, until, aside):
                keys.rest(Rest(provider, fingerprint, until, aside))
            case channel.Judged(id, verdict):
                quotas.judged(id, verdict)
            case channel.Recall(names):
                quotas.recall(names)
            case channel.Look(since, most):
                channel.send(report, feed.seen(since, most))
            case channel.Ping() if served.turns():
                channel.send(report, channel.Pong())


async def _outlived(orders: asyncio.StreamReader, quotas: Quotas) -> None:
    """The supervisor must not be gone for long while the last exchanges end. Those may still ask it."""
    while (order := await channel.order(orders)) is not None:
        match order:
            case channel.Judged(id, verdict):
                quotas.judged(id, verdict)
            case channel.Recall(names):
                quotas.recall(names)
    await asyncio.sleep(GONE_SECONDS)
    os._exit(1)


async def main() -> None:
    """Be a worker: orders from stdin, reports to stdout, which nobody else in this process sees."""
    orders = asyncio.StreamReader()
    running = asyncio.get_running_loop()
    await running.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), _taken(0, "rb"))
    report, _ = await running.connect_write_pipe(asyncio.BaseProtocol, _taken(1, "wb"))
    try:
        await work(orders, report)
    finally:
        report.close()


def _taken(number: int, mode: str) -> BinaryIO:
    """stdin or stdout for ourselves; whoever else reads has nothing, whoever else prints does so to stderr."""
    own = os.fdopen(os.dup(number), mode)
    if number:
        os.dup2(2, number)
    else:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), number)
    return cast(BinaryIO, own)


def run() -> None:
    """The whole life of the process."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        sys.exit("a worker is started by `extproc run` or `extproc serve`, with its orders on stdin")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loop.on_loop(main)
