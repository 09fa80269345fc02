"""Amazon's event stream: binary messages with checksums, framed by botocore, as events.

Rule: framing alone. A message becomes an event with its kind as the name, an exception's and an error's with `!` before
it. A rest at the end, or a wrong checksum, is no end: botocore itself takes a clean cut for one.
"""

from collections.abc import Iterator
from typing import Any

from extproc.terms.errors import BadUpstreamResponse, StreamTruncated
from extproc.text import jsontext, sse
from extproc.text.sse import EventTooLong

KIND = "application/vnd.amazon.eventstream"

_PRELUDE = 12
"""Bytes in front of a message's headers: its length first, big-endian (Amazon's event stream encoding)."""


class Decoder:
    """As `sse.Decoder`: bytes as they come → events as they are complete. `limit`: bytes of one message."""

    def __init__(self, limit: int) -> None:
        from botocore.eventstream import EventStreamBuffer  # nobody's who has no such vendor

        self._buffer: Any = EventStreamBuffer()
        self._limit = limit
        self._begun = b""  # of a prelude that is not complete
        self._left = 0  # bytes that the message which is under way still wants
        self._pending = 0  # bytes of it that came

    @property
    def held(self) -> int:
        """Bytes of the message that is unfinished."""
        return self._pending

    def feed(self, chunk: bytes) -> Iterator[sse.Event]:
        """Events completed by `chunk`. Raises `EventTooLong`, and `BadUpstreamResponse` for what is damaged."""
        from botocore.eventstream import ParserError

        self._measure(chunk)
        self._buffer.add_data(chunk)
        try:
            for message in self._buffer:
                yield _event(message)
        except ParserError as error:
            raise BadUpstreamResponse(f"the vendor's stream is damaged: {type(error).__name__}") from None

    def close(self) -> Iterator[sse.Event]:
        """Raises `StreamTruncated` for half a message."""
        if self._left or self._begun:
            raise StreamTruncated("the vendor's stream ended within a message")
        return iter(())

    def _measure(self, chunk: bytes) -> None:
        """Follow the lengths of messages, so that none is kept that is too long, and half of one is known."""
        at = 0
        while at < len(chunk):
            if self._left:
                step = min(self._left, len(chunk) - at)
                self._left -= step
                self._pending = self._pending + step if self._left else 0
                at += step
                continue
            step = min(_PRELUDE - len(self._begun), len(chunk) - at)
            self._begun += chunk[at : at + step]
            self._pending += step
            at += step
            if len(self._begun) == _PRELUDE:
                length = int.from_bytes(self._begun[:4], "big")
                if length > self._limit:
                    raise EventTooLong(f"a message is longer than {self._limit} bytes")
                self._left, self._begun = max(length - _PRELUDE, 0), b""


def _event(message: Any) -> sse.Event:
    headers = message.headers
    kind = headers.get(":message-type")
    if kind in ("exception", "error"):
        name = f"!{headers.get(':exception-type') or headers.get(':error-code') or kind}"
        words = headers.get(":error-message")  # an error has its words here, and no payload
        payload = message.payload if words is None else jsontext.dump({"message": str(words)})
        return sse.Event(payload, name.encode(), (), b"")
    return sse.Event(message.payload, str(headers.get(":event-type", "")).encode(), (), b"")
