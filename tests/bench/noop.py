"""A processor that does nothing: the referee, on `grpc.aio`, as whoever writes one in Python does, and the floor, on
our own server (`bare`). `python -m tests.bench.noop PORT PHASES [bare]`.

Rule: no handicap. Raw bytes in, answers serialised beforehand out, the phase read off the first byte (a message begins
with the field that says its kind); uvloop, which grpc.aio gains by; server options as in `extproc/worker/server.py`.

PHASES: which messages Envoy is asked for, beside the request's head and body: `headers` (the answer's head), `whole`
(and its body, BUFFERED), `stream` (and its body, STREAMED), `two` (nothing more), `echo` (like `headers`, and the
request's body is parsed and given back).
"""

import asyncio
from collections.abc import Awaitable, Callable
import sys
from typing import Any, Final, NamedTuple

import grpc

from extproc._pb import extproc_pb2 as pb
from extproc.worker import streams, wire
from extproc.worker.loop import on_loop

_SEND, _SKIP = pb.ProcessingMode.SEND, pb.ProcessingMode.SKIP
_BODY_MODES: Final = {"whole": pb.ProcessingMode.BUFFERED, "stream": pb.ProcessingMode.STREAMED}
PHASES: Final = ("two", "headers", "whole", "stream", "echo")
_REQUEST_BODY: Final = pb.ProcessingRequest.REQUEST_BODY_FIELD_NUMBER
_SERVING: Final = b"\x08\x01"  # HealthCheckResponse


def answers(phases: str) -> dict[int, bytes]:
    """The first byte of a message → its answer."""
    made = {}
    for name in ("request_headers", "response_headers", "request_body", "response_body"):
        response = pb.ProcessingResponse()
        getattr(response, name).response.SetInParent()
        if name.endswith("headers"):
            mode = response.mode_override
            mode.request_header_mode, mode.request_body_mode = _SEND, pb.ProcessingMode.BUFFERED
            mode.response_header_mode = _SKIP if phases == "two" else _SEND
            mode.response_body_mode = _BODY_MODES.get(phases, pb.ProcessingMode.NONE)
        field = pb.ProcessingRequest.DESCRIPTOR.fields_by_name[name].number
        made[field << 3 | 2] = response.SerializeToString()
    return made


def processor(phases: str) -> Callable[[object, Any], Awaitable[None]]:
    made = answers(phases)

    async def process(_: object, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(made[message[0]])

    async def echo(_: object, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            if message[0] == _REQUEST_BODY << 3 | 2:
                body = pb.ProcessingRequest.FromString(message).request_body.body
                response = pb.ProcessingResponse()
                response.request_body.response.body_mutation.body = body
                await context.write(response.SerializeToString())
            else:
                await context.write(made[message[0]])

    return echo if phases == "echo" else process


async def serve(port: int, phases: str) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    service, method = wire.METHOD
    process = grpc.stream_stream_rpc_method_handler(processor(phases))

    async def healthy(*_: object) -> bytes:
        return _SERVING

    health = {"Check": grpc.unary_unary_rpc_method_handler(healthy)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(service, {method: process}),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
        )
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("serving", flush=True)
    await asyncio.Event().wait()


class _Said(NamedTuple):
    answer: Callable[[bytes], bytes]

    def end(self) -> None:
        pass


async def serve_bare(port: int, phases: str) -> None:
    made, serving = answers(phases), _Said(lambda _: _SERVING)
    process = _Said(lambda message: made[message[0]])
    methods = {
        "/{}/{}".format(*wire.METHOD): streams.Method(lambda: process),
        "/grpc.health.v1.Health/Check": streams.Method(lambda: serving, unary=True),
    }
    server = streams.Server(methods, [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    server.listen(f"127.0.0.1:{port}")
    server.start()
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    chosen = serve_bare if sys.argv[3:] else serve
    on_loop(lambda: chosen(int(sys.argv[1]), sys.argv[2]))
