"""Counts the tokens of an answer that goes past us unchanged: `recordUsage` where nothing is to be put right.

Rule: it looks and never judges; from what it cannot read on, it looks no more.
"""

from collections.abc import Mapping

from extproc.terms.usage import Usage, read_usage
from extproc.text import jsontext, sse
from extproc.text.compression import Decompressor, Undecodable
from extproc.text.sse import EventTooLong


class Watch:
    """Feed it an answer's bytes as they come. `headers`: the answer's. `limit`: bytes of a whole answer.
    `event_limit`: of an event.

    Raises `Undecodable` for an encoding that it cannot read.
    """

    def __init__(self, headers: Mapping[str, str], limit: int, event_limit: int) -> None:
        self.usage = Usage()
        self._decompressor = Decompressor(headers.get("content-encoding", ""))
        self._streams = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._decoder = sse.Decoder(event_limit, id_starts_event=True)
        self._whole = bytearray()
        self._limit = limit
        self._blind = False

    @property
    def held(self) -> int:
        """Bytes that wait to be looked at."""
        return len(self._whole) + self._decoder.held

    def feed(self, chunk: bytes, *, end: bool) -> None:
        """A piece of the answer; `end`: the last one."""
        if self._blind:
            return
        try:
            for piece in self._decompressor.feed(chunk):
                self._take(piece)
            if end:
                self._finish()
        except (Undecodable, EventTooLong):
            self._blind = True

    def _take(self, piece: bytes) -> None:
        if self._streams:
            for event in self._decoder.feed(piece):
                self._note(event.data)
        elif len(self._whole) + len(piece) > self._limit:
            raise Undecodable("too long")
        else:
            self._whole += piece

    def _finish(self) -> None:
        for event in self._decoder.close():
            self._note(event.data)
        self._note(bytes(self._whole))

    def _note(self, text: bytes) -> None:
        """DashScope says usage in every frame, the Responses API inside of `response`."""
        if b'"usage"' not in text:
            return
        for path in (("usage",), ("response", "usage")):
            if isinstance(found := jsontext.peek(text, *path), dict):
                self.usage = read_usage(found)
