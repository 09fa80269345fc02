"""The seam between messages and what is made of them, in two forms: `wire`, which is all that is needed, and the same
natively (`native/`, built by `make native`), which takes half of the instructions.

Rule: both read and write the same; what is damaged the native one may refuse where `wire` skips a field, and the stream
ends with an error. The suites run on either. `EXTPROC_NATIVE=0` keeps to `wire`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from extproc.terms.agreed import BODY, NAMESPACE
from extproc.terms.events import (
    Answer,
    BodyMode,
    Event,
    Forward,
    Reply,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from extproc.worker import form, wire

try:
    import ai_proxy_native as native
except ImportError:
    native = None  # type: ignore[assignment]


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Codec:
    """`read`: as `wire.read`, but `ValueError` for what is not a message. `write`: as `wire.encode`."""

    name: str
    read: Callable[[bytes], tuple[str, Event | None]]
    write: Callable[[Reply | None, str], bytes]


def _read(message: bytes) -> tuple[str, Event | None]:
    phase, headers, body, end, attributes = native.read(message)
    if phase is None:
        raise wire.UnknownMessage(wire.UNKNOWN)
    if headers is not None:
        made = RequestHeaders if phase == "request_headers" else ResponseHeaders
        return phase, made(headers, end, attributes)
    if body is not None:
        return phase, ResponseBody(body, end) if phase == "response_body" else RequestBody(body)
    return phase, wire.read(message)[1] if phase == "response_trailers" else None


def _write(reply: Reply | None, phase: str) -> bytes:
    if (
        phase == "response_body"
        and isinstance(reply, Forward)
        and reply.body is not None
        and not (reply.metadata or reply.set_headers or reply.remove_headers)
    ):
        piece = native.piece(reply.body, reply.ends)
        return piece if reply.counts is None else piece + wire.counted(reply.counts)
    if reply is None:
        reply = wire.GO_ON
    if isinstance(reply, Answer) or phase.endswith("trailers") or reply.response_mode is BodyMode.COUNTED:
        return wire.encode(reply, phase)
    modes = None
    if not reply.final and phase.endswith("headers"):
        modes = _NUMBERS[reply.request_mode], _NUMBERS[reply.response_mode]
    written = native.forward(
        phase,
        _plain(reply.set_headers),
        reply.remove_headers,
        reply.body,
        reply.ends,
        modes,
        reply.reroute,
        reply.replaces,
        {NAMESPACE: _plain(reply.metadata), BODY: _plain(reply.told)},
    )
    return written if reply.counts is None else written + wire.counted(reply.counts)


def _plain(values: Mapping[str, Value]) -> dict[str, Value]:
    return values if type(values) is dict else dict(values)


_NUMBERS: Final[Mapping[BodyMode | None, int]] = {
    None: wire.MODES[BodyMode.NONE],
    **{mode: int(number) for mode, number in wire.MODES.items()},
}

PYTHON: Final = Codec("python", wire.read, wire.encode)
NATIVE: Final = Codec("native", _read, _write) if native else None
"""None where it is not built."""

IN_USE: Final = NATIVE if NATIVE and PYTHON.name != form.NAME else PYTHON
read: Final = IN_USE.read
write: Final = IN_USE.write
