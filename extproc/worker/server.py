"""The gRPC server: one stream per HTTP exchange. Shell only: clock, randomness, sockets.

Rule: no path through `Talk` ends a stream cleanly before Envoy does. Envoy takes a clean end for "let the
rest through" and would forward the client's raw request, or the vendor's raw bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
import os
import time
from typing import Final

import grpc
from grpc_health.v1 import health_pb2
import structlog

from extproc.exchange.exchange import Exchange, Moment, Record, Snapshot
from extproc.limits.asking import Ask
from extproc.terms.agreed import MOST_BODY_BYTES, envoy_buffer
from extproc.terms.errors import ProxyError
from extproc.terms.events import Answer, Event, Forward, Reply, RequestHeaders, ResponseBody
from extproc.worker import streams, wire
from extproc.worker.account import Clock, account
from extproc.worker.books import Books
from extproc.worker.codec import read, write
from extproc.worker.ends import Ends
from extproc.worker.feed import Feed
from extproc.worker.listening import bind
from extproc.worker.places import OWNER_ONLY, Tls
from extproc.worker.quotas import Held, Quotas
from extproc.worker.trace import Trace

log = structlog.get_logger("extproc")

_OVERHEAD = 1 << 20
"""Bytes that a message may have beside a body of the longest kind: headers and framing."""

OPTIONS = (
    # `maxBodyBytes` may change while we live; Envoy's buffers follow it, and are the real limit.
    ("grpc.max_receive_message_length", envoy_buffer(MOST_BODY_BYTES) + _OVERHEAD),
    ("grpc.max_send_message_length", -1),
    # `maxConcurrentRequests` refuses, and in our words. The core would, from a thousand on, reset some of the streams
    # that come in one moment (measured: 1,437 of 4,000).
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.so_reuseport", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""gRPC's."""


BROKEN: Final = "the answer failed"
"""Why an answer's stream ends with an error status: Envoy then breaks the client's connection, and says so in its log.
"""


_TELLING_SECONDS: Final = 0.1
"""Once for a model that a vendor has on another path than is known. Measured: 2 ms; a busy machine is slower."""


class Processor:
    """Answers ext_proc streams. `snapshot`: gives the configuration that a new exchange works under. `ends`: where
    exchanges go that are over, `books`: what they sum up to. `feed`: what the console is told of them. `quotas`: who is
    asked where their use is limited."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        ends: Ends | None = None,
        books: Books | None = None,
        feed: Feed | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._snapshot = snapshot
        self.ends = ends or Ends()
        self.books = books or Books()
        self.feed = feed or Feed()
        self.quotas = quotas
        self.open = 0

    def begin(self) -> "Talk":
        """A new stream."""
        snapshot = self._snapshot()
        if self.open >= snapshot.config.max_concurrent_requests:
            snapshot = replace(snapshot, full=True)
        self.open += 1
        talk = Talk(self, snapshot)
        self.feed.begun(talk)
        return talk


class Talk:
    """One exchange as its stream sees it: messages of Envoy's in, answers out (`streams.Talk`)."""

    __slots__ = ("_exchange", "_held", "_processor", "_snapshot", "_trace", "clock", "record")

    def __init__(self, processor: Processor, snapshot: Snapshot) -> None:
        self._processor = processor
        self._snapshot = snapshot
        started = time.monotonic()
        self._exchange = Exchange(snapshot, Moment(time.time(), int.from_bytes(os.urandom(12), "big"), started))
        self.record, self.clock = self._exchange.record, Clock(started)
        self._held: Held | None = None
        self._trace: Trace | None = None

    def answer(self, message: bytes) -> bytes | streams.Work | streams.Later:
        """Raises what must end the stream with an error: a message that is none, or of an unknown kind."""
        began = 0.0 if self.clock.over else time.monotonic()
        phase, event = read(message)
        if event is not None and self._exchange.takes_long(event):
            return partial(self._answer, event, phase, began)
        answer = self._answer(event, phase, began)
        return partial(_when_told, answer) if self._exchange.learnt and isinstance(answer, bytes) else answer

    def _answer(self, event: Event | None, phase: str, began: float) -> bytes | streams.Later:
        exchange = self._exchange
        record = self.record
        if isinstance(event, RequestHeaders):
            self._trace = self._processor.feed.trace(event)
        try:
            reply = None if event is None else exchange.handle(event)
            if exchange.ask is not None and isinstance(reply, Forward) and self._processor.quotas is not None:
                self.clock.note(event, reply, began, stream=False)
                if self._trace is not None:
                    self._trace.note(event, reply)
                return self._asked(self._processor.quotas, exchange.ask, reply, phase)
            answer = write(reply, phase)
        except Exception:
            log.exception("an exchange failed unexpectedly", phase=phase, request_id=record.request_id)
            reply = exchange.crash()
            answer = write(reply, phase)
        if record.verdict is not None or record.pause:  # a retry may follow at once, and must know
            _report_key(self._snapshot, record)
        if not self.clock.over:
            self.clock.note(event, reply, began, stream=record.stream and record.status == 200)
        if self._trace is not None:
            self._trace.note(event, reply)
        if isinstance(reply, Forward) and reply.breaks:
            # The answer to the last piece of a STREAMED body would end it well: a cut without a word is better.
            well = isinstance(event, ResponseBody) and event.end_of_stream and reply.ends is None
            self._settle()
            raise streams.Refused(grpc.StatusCode.ABORTED, BROKEN, None if well else answer)
        if self._held is not None and (
            isinstance(reply, Answer) or (isinstance(event, ResponseBody) and event.end_of_stream)
        ):
            self._settle()  # before the client sees the end: its next request shall find what this one left
        return answer

    def _asked(self, quotas: Quotas, ask: Ask, reply: Reply, phase: str) -> bytes | streams.Later:
        """What a request is answered that needs something of its limits."""
        self._exchange.ask = None
        later = streams.Later()

        def judged(outcome: Held | ProxyError) -> None:
            later.tell(partial(self._judged, outcome, reply, phase))

        outcome = quotas.reserve(ask, self._exchange.record, judged)
        return later if outcome is None else self._judged(outcome, reply, phase)

    def _judged(self, outcome: Held | ProxyError, reply: Reply, phase: str) -> bytes:
        if isinstance(outcome, Held):
            self._held = outcome
            self._exchange.allowed(outcome.headers)
        else:
            reply = self._exchange.fail(outcome)
        return write(reply, phase)

    def _settle(self) -> None:
        if self._held is not None and self._processor.quotas is not None:
            self._processor.quotas.settle(self._held)
            self._held = None

    def end(self) -> None:
        self._processor.open -= 1
        self._exchange.close()
        self._settle()
        self.clock.stop()
        self._processor.ends.over(self.record, partial(account, self.record, self.clock, self._processor.books))
        self._processor.feed.over(self)
        if self._trace is not None:
            self._processor.feed.traced(self._trace, self, self._exchange.key)


def _when_told(answer: bytes) -> bytes:
    """Envoy or the client tries again at once, perhaps by another worker, who has to know by then what was learnt."""
    time.sleep(_TELLING_SECONDS)
    return answer


def _report_key(snapshot: Snapshot, record: Record) -> None:
    """Tell of what the answer says of its key, once."""
    provider = snapshot.config.by_id.get(record.provider or "")
    status, pause = record.verdict, record.pause
    record.verdict, record.pause = None, 0.0
    if provider is None or record.token is None or record.details not in (None, "via_upstream"):
        return
    now = time.monotonic()
    if status is not None:
        snapshot.keys.report(provider, record.token, status, record.retry_after, now, time.time())
    if pause:
        snapshot.keys.pause(provider, record.token, pause, now)


class Health:
    """What this server says of itself (`grpc.health.v1`, `Check` alone: who watches is told that it may not)."""

    def __init__(self, services: Set[str]) -> None:
        self._services = services
        self.leaving = False

    def answer(self, message: bytes) -> bytes:
        """Raises `Refused` for a service that is not here."""
        if health_pb2.HealthCheckRequest.FromString(message).service not in self._services:
            raise streams.Refused(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        said = health_pb2.HealthCheckResponse
        answer = said(status=said.NOT_SERVING if self.leaving else said.SERVING)
        return bytes(answer.SerializeToString())

    def end(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Served:
    """`turns`: whether streams are answered, or those who answer them are stuck. `open`: how many exchanges are."""

    port: int
    turns: Callable[[], bool]
    open: Callable[[], int] = lambda: 0


@dataclass(slots=True)
class Farewell:
    """How a server ends: it says for `pause` seconds that it wants no more streams, then refuses them, and those that
    are open get `grace` seconds. May be changed until then."""

    pause: float = 0.0
    grace: float = 30.0


@asynccontextmanager
async def serving(
    address: str,
    snapshot: Callable[[], Snapshot],
    farewell: Farewell,
    ends: Ends,
    books: Books,
    feed: Feed | None = None,
    quotas: Quotas | None = None,
    *,
    tls: Tls | None = None,
    socket_mode: int = OWNER_ONLY,
) -> AsyncIterator[Served]:
    """Serve ext_proc and gRPC health on `address` (`host:port`, port 0 for any, or `unix:PATH`).

    The port may be shared with a server that is leaving, so it is the caller's to know that no stranger has it.
    Raises `OSError` when the address cannot be had. On leaving, `farewell` says how. `ends`: where exchanges go that
    are over. `quotas`: who is asked where their use is limited.
    """
    service, method = wire.METHOD
    served = Health({"", service})
    processor = Processor(snapshot, ends, books, feed, quotas)
    server = streams.Server(
        {
            f"/{service}/{method}": streams.Method(processor.begin),
            "/grpc.health.v1.Health/Check": streams.Method(lambda: served, unary=True),
        },
        OPTIONS,
    )
    port = bind(server, address, tls=tls, socket_mode=socket_mode)
    server.start()
    try:
        yield Served(port, server.turns, lambda: processor.open)
    finally:
        served.leaving = True
        await asyncio.sleep(farewell.pause)
        await asyncio.shield(server.stop(farewell.grace))
        ends.close()
