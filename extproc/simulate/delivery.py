"""Answers onto the wire: delays, write sizes, compression, broken connections.

Rule: the last step; it knows ASGI and the transport faults, and no vendor. Aborting means returning without
the last body message: uvicorn then closes the connection, which a client sees as a broken one.
"""

import asyncio
from collections.abc import Iterator, Mapping
import gzip
import zlib

from starlette.types import Send

from extproc.simulate import sse
from extproc.simulate.call import Answer, Events, Whole
from extproc.simulate.faults import Faults
from extproc.simulate.options import Options

BOM = b"\xef\xbb\xbf"
Headers = list[tuple[bytes, bytes]]


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _write(send: Send, data: bytes, size: int | None) -> None:
    step = size or max(1, len(data))
    for at in range(0, len(data), step):
        await send({"type": "http.response.body", "body": data[at : at + step], "more_body": True})
        if size:
            await asyncio.sleep(0)  # every piece is a write of its own


def _encode(headers: Mapping[str, str], media: str) -> Headers:
    named = {"content-type": media, **headers}
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]


async def deliver(
    answer: Answer, faults: Faults, options: Options, headers: Mapping[str, str], send: Send, released: asyncio.Event
) -> None:
    """Send `answer` (Answer) with the transport `faults` (Faults) and extra `headers`: None. What the faults hold waits
    for `released`."""
    await asyncio.sleep(options.latency if faults.delay is None else faults.delay)
    size = faults.chunk or options.chunk_size
    merged = {**headers, **answer.headers}
    if isinstance(answer, Whole):
        if faults.hold:
            await released.wait()
        await _deliver_whole(answer, faults, size, merged, send)
    else:
        interval = options.interval if faults.interval is None else faults.interval
        await _deliver_events(answer, faults, size, interval, merged, send, released)


async def _deliver_whole(
    answer: Whole, faults: Faults, size: int | None, headers: Mapping[str, str], send: Send
) -> None:
    body, encoded = answer.body, _encode(headers, answer.media)
    if answer.gzip or faults.gzip:
        body = gzip.compress(body, mtime=0)
        encoded.append((b"content-encoding", b"gzip"))
    await _start(send, answer.status, [*encoded, (b"content-length", str(len(body)).encode())])
    if faults.cut:
        await _write(send, body[: len(body) // 2], size)
        return
    await _write(send, body, size)
    await send({"type": "http.response.body", "body": b""})


def _pieces(answer: Events, faults: Faults) -> Iterator[bytes]:
    for place, event in enumerate(answer.stream.events):
        piece = sse.relined(event, faults, blank=answer.blank)
        yield BOM + piece if faults.bom and place == 0 else piece
    if answer.stream.broken is not None:
        yield answer.stream.broken


async def _deliver_events(
    answer: Events,
    faults: Faults,
    size: int | None,
    interval: float,
    headers: Mapping[str, str],
    send: Send,
    released: asyncio.Event,
) -> None:
    encoded = [*_encode(headers, answer.media), (b"cache-control", b"no-cache")]
    packer = zlib.compressobj(wbits=31) if faults.gzip else None
    if packer is not None:
        encoded.append((b"content-encoding", b"gzip"))
    await _start(send, 200, encoded)
    for place, piece in enumerate(_pieces(answer, faults)):
        if place:
            if faults.hold:
                await released.wait()
            await asyncio.sleep(interval)
        if packer is not None:
            piece = packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        await _write(send, piece, size)
    if answer.stream.broken is None:
        await send({"type": "http.response.body", "body": packer.flush() if packer is not None else b""})
