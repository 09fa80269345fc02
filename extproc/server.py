"""The gRPC server: one stream per HTTP exchange. Shell only: clock, randomness, sockets.

Rule: no path through `_process` ends a stream cleanly before Envoy does. Envoy takes a clean end for "let the
rest through" and would forward the client's raw request, or the vendor's raw bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
import secrets
import time
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
import structlog

from extproc import wire
from extproc._pb import extproc_pb2 as pb
from extproc.account import Clock, account
from extproc.agreed import MOST_BODY_BYTES, envoy_buffer
from extproc.events import ResponseHeaders
from extproc.exchange import Exchange, Moment, Record, Snapshot
from extproc.listening import bind
from extproc.places import OWNER_ONLY, Tls

log = structlog.get_logger("extproc")

_OVERHEAD = 1 << 20
"""Bytes that a message may have beside a body of the longest kind: headers and framing."""


class _Read:
    """A stream whose reads come to their end, whatever becomes of those who wait for them."""

    def __init__(self, context: Any) -> None:
        self.write = context.write
        self._read = context.read

    def read(self) -> Awaitable[Any]:
        return asyncio.shield(self._read())


_LINGER = 1.0
"""Seconds until a stream that its client has ended gets a status, if it was not reset."""


class Processor:
    """Answers ext_proc streams. `snapshot`: gives the configuration that a new exchange works under."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._open = 0

    async def serve(self, requests: object, context: "grpc.aio.ServicerContext[pb.ProcessingRequest, bytes]") -> None:
        """`process` without what grpc.aio leaks (grpc/grpc#43360, 2026; measured: 200 bytes a stream): the read that is
        under way when Envoy resets the stream, and a status to a stream that is reset, as Envoy does right behind its
        end."""
        await self.process(requests, _Read(context))
        await asyncio.sleep(_LINGER)

    async def process(self, requests: object, context: Any) -> None:
        """Handle one stream until Envoy ends it. A cancelled one stays cancelled: grpc.aio leaks native memory
        when the error is swallowed (grpc/grpc#43360, 2026)."""
        snapshot = self._snapshot()
        if self._open >= snapshot.config.max_concurrent_requests:
            snapshot = replace(snapshot, full=True)
        self._open += 1
        exchange = Exchange(snapshot, Moment(time.time(), secrets.randbits(96)))
        clock = Clock()
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                phase = wire.phase_of(message)
                event = wire.decode(message, phase)
                try:
                    reply = None if event is None else exchange.handle(event)
                    answer = wire.encode(reply, phase)
                except Exception:
                    log.exception("an exchange failed unexpectedly", phase=phase, request_id=exchange.record.request_id)
                    reply = exchange.crash()
                    answer = wire.encode(reply, phase)
                if isinstance(event, ResponseHeaders):  # a retry may follow at once, and must know
                    _report_key(snapshot, exchange.record)
                clock.note(event, reply, stream=exchange.record.stream and exchange.record.status == 200)
                await context.write(answer)
        finally:
            self._open -= 1
            exchange.close()
            account(exchange.record, clock)


def _report_key(snapshot: Snapshot, record: Record) -> None:
    provider = snapshot.config.by_id.get(record.provider or "")
    if provider is not None and record.token is not None and record.details in (None, "via_upstream"):
        snapshot.keys.report(provider, record.token, record.status or 0, record.retry_after, time.time())


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
    *,
    tls: Tls | None = None,
    socket_mode: int = OWNER_ONLY,
) -> AsyncIterator[int]:
    """Serve ext_proc and gRPC health on `address` (`host:port`, port 0 for any, or `unix:PATH`); yields the port.

    The port may be shared with a server that is leaving, so it is the caller's to know that no stranger has it.
    Raises `OSError` when the address cannot be had. On leaving, `farewell` says how.
    """
    server = grpc.aio.server(
        options=[
            # `maxBodyBytes` may change while we live; Envoy's buffers follow it, and are the real limit.
            ("grpc.max_receive_message_length", envoy_buffer(MOST_BODY_BYTES) + _OVERHEAD),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    processor = Processor(snapshot)
    service, method = wire.METHOD
    handler = grpc.stream_stream_rpc_method_handler(
        processor.serve,
        request_deserializer=pb.ProcessingRequest.FromString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    port = bind(server, address, tls=tls, socket_mode=socket_mode)
    await server.start()
    for name in ("", service):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield port
    finally:
        await health_servicer.enter_graceful_shutdown()
        await asyncio.sleep(farewell.pause)
        await asyncio.shield(server.stop(farewell.grace))
