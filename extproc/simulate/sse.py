"""Server-sent events as each vendor writes them: values in, bytes out.

Rule: the only file that knows line forms; one call makes one complete event. Sources: DashScope's recorded
streams (no space after the colon, a status comment, no `[DONE]`); the OpenAI API reference, 2026.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import json
from typing import Any

from extproc.simulate.faults import Faults

DONE = b"data: [DONE]\n\n"
NATIVE_DONE = b"data:[DONE]\n\n"


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON of `value`: bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def frame(number: int, value: Any, *, event: str = "result", status: int = 200) -> bytes:
    """One native DashScope event: bytes."""
    return b"id:%d\nevent:%s\n:HTTP_STATUS/%d\ndata:%s\n\n" % (number, event.encode(), status, dump(value))


def data(value: Any) -> bytes:
    """One unnamed event, as OpenAI's chat stream has them: bytes."""
    return b"data: " + dump(value) + b"\n\n"


def named(event: str, value: Any) -> bytes:
    """One named event, as OpenAI's Responses stream has them: bytes."""
    return b"event: " + event.encode() + b"\n" + data(value)


@dataclass(frozen=True, slots=True)
class Stream:
    """Complete events in order; `broken` bytes follow them before the connection is aborted."""

    events: tuple[bytes, ...]
    broken: bytes | None = None


def spoil(events: Sequence[bytes], faults: Faults, error: bytes) -> Stream:
    """Apply the faults of order: `end`, `cut`, `error_frame` (its event is `error`), `badjson`: Stream."""
    half = max(1, len(events) // 2)
    if faults.end:
        return Stream(tuple(events[:half]))
    if faults.cut:
        rest = events[half] if half < len(events) else DONE
        return Stream(tuple(events[:half]), rest[: max(1, len(rest) * 2 // 3)])
    if faults.error_frame is not None:
        return Stream((*events[:half], error))
    if faults.badjson:
        unreadable = events[half].rstrip()[:-2] + b"\n\n"
        return Stream((*events[:half], unreadable, *events[half:]))
    return Stream(tuple(events))


def relined(event: bytes, faults: Faults, *, blank: bool = True) -> bytes:
    """`event` (bytes) with the line ends and blank lines that were asked for: bytes."""
    if not blank and event.endswith(b"\n\n"):
        event = event[:-1]
    if faults.crlf:
        return event.replace(b"\n", b"\r\n")
    return event.replace(b"\n", b"\r") if faults.cr else event
