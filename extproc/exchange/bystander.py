"""Counts the tokens of an answer that goes past us unchanged: `recordUsage` where nothing is to be put right.

Rule: it looks and never judges; from what it cannot read on, it looks no more.
"""

from collections.abc import Mapping

from extproc.terms.usage import Counted
from extproc.text import jsontext, sse, tokens
from extproc.text.compression import Decompressor, Undecodable
from extproc.text.sse import EventTooLong


class Watch(Counted):
    """Feed it an answer's bytes as they come. `headers`: the answer's. `limit`: bytes of a whole answer.
    `event_limit`: of an event.

    Raises `Undecodable` for an encoding that it cannot read.
    """

    def __init__(self, headers: Mapping[str, str], limit: int, event_limit: int) -> None:
        self._decompressor = Decompressor(headers.get("content-encoding", ""))
        self._streams = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._decoder = sse.Decoder(event_limit, id_starts_event=True)
        self._whole = bytearray()
        self._limit = limit
        self._blind = False
        self._shortest = 0

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
        if self._whole:
            self._note(whole := bytes(self._whole))
            self.said = 0 if self.raw_usage else tokens.of_json(whole)

    def _note(self, text: bytes) -> None:
        """DashScope says usage in every frame, others at the end. Anthropic's last events count anew what has changed,
        and may leave out the rest."""
        if b'"usage' not in text:
            self._say(len(text))
            return
        for path in _PLACES:
            if isinstance(found := jsontext.peek(text, *path), dict):
                if path[0] == "message":  # of an answer that has not come yet
                    found.pop("output_tokens", None)
                self.raw_usage = {**(self.raw_usage or {}), **found} if path[0] in _MERGED else found

    def _say(self, size: int) -> None:
        """A token for each event, and what it is longer than the shortest: that one is all frame."""
        if size > _LEAST:
            self._shortest = min(size, self._shortest or size)
            self.said += 1 + (size - self._shortest >> 2)


_PLACES = (("usage",), ("response", "usage"), ("message", "usage"), ("usageMetadata",))
_MERGED = ("usage", "message")
_LEAST = 32
"""Bytes of an event that says something: others are `[DONE]` and keep-alives."""
