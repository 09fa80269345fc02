"""A vendor's reader and a front's writer, glued: the translator of every answer that is converted.

Rule: what holds for all vendors and all fronts, and nothing else: nothing follows a choice's finish, a stream without
one was cut, a stream that is wanted whole is folded.
"""

from collections.abc import Iterable
import itertools
from typing import Any

from extproc.fronts.thinking import Thinking
from extproc.fronts.writer import Writer
from extproc.providers.passthrough import NO_STREAM
from extproc.providers.reader import Reader
from extproc.providers.translator import Translator
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, ProxyError, StreamTruncated
from extproc.terms.usage import Told, Usage, spoken
from extproc.text import sse


class Converted(Translator):
    """`stream`: the client wants events. `thinking`: what becomes of the vendor's, None where it is shown as it is."""

    def __init__(self, reader: Reader, writer: Writer, *, stream: bool, thinking: Thinking | None = None) -> None:
        self.stream_kind = reader.stream_kind
        self.gathers = not stream  # whether the vendor streams or not: one JSON answer is wanted
        self.expects_stream = stream
        self._reader = reader
        self._writer = writer
        self._thinking = thinking
        self._finished: set[int] = set()
        self._ended = False

    def decoder(self, limit: int) -> sse.Framing:
        return self._reader.decoder(limit)

    @property
    def usage(self) -> Usage:
        return self._reader.usage

    @property
    def told(self) -> Told:
        return self._reader.told

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` for an answer without choices, and whatever the reader does."""
        if not (choices := self._reader.body(body)):
            raise BadUpstreamResponse("the vendor's answer has no choices")
        return self._writer.whole(self._news(choices, last=True))

    def gathered(self, events: Iterable[sse.Event]) -> bytes:
        """A whole answer from the vendor's stream. Raises whatever `event` and `close` do."""
        before = itertools.takewhile(lambda event: not (event.is_done and self._reader.done_ends), events)
        deltas = [delta for event in before for delta in self._news(self._reader.event(event))]
        deltas += self._news(self._reader.close())
        self._check_finished()
        return self._writer.whole(fold(deltas))

    def event(self, event: sse.Event) -> Iterable[bytes]:
        """Raises whatever the reader does."""
        if event.is_done:
            self._reader.saw_done = True
            return self.close() if self._reader.done_ends else ()
        if self._ended:
            return ()
        if deltas := self._reader.event(event):
            return self._writer.deltas(self._news(deltas))
        if not event.data and sse.is_document(event.raw):
            raise BadUpstreamResponse(NO_STREAM)
        return self._writer.heartbeat() if event.comments and not event.data else ()

    def release(self) -> Iterable[bytes]:
        return self._writer.deltas(self._news(self._reader.close()))

    def close(self) -> Iterable[bytes]:
        """Once, and at a `[DONE]` already. Raises `StreamTruncated` when no choice ever finished."""
        yield from self.release()
        self._check_finished()
        if not self._ended:
            self._ended = True
            yield from self._writer.end()

    def failure(self, error: ProxyError) -> bytes:
        return self._writer.failure(error)

    def _check_finished(self) -> None:
        if not self._finished:
            raise StreamTruncated("the vendor's stream ended before its answer was complete")

    def _news(self, deltas: list[Delta], *, last: bool = False) -> list[Delta]:
        """Deltas as the client may have them. `last`: nothing follows, finish or not."""
        news = []
        for delta in deltas:
            if delta.index in self._finished:
                continue
            if delta.finish is not None:
                self._finished.add(delta.index)
            self.said += spoken(delta.content + delta.reasoning)
            if delta.tools:
                self.said += sum([spoken(tool.arguments) for tool in delta.tools.values()])
            if delta.refusal:
                self.said += spoken(delta.refusal)
            if self._thinking is not None:
                self._thinking.apply(delta, last=last or delta.finish is not None)
            news.append(delta)
        self._reader.said = self.said  # for writers to tell where the vendor tells nothing
        return news


def fold(deltas: Iterable[Delta]) -> list[Delta]:
    """The whole choices that a stream's deltas make, counted from 0."""
    whole: dict[int, Delta] = {}
    texts: dict[tuple[int, str, int], list[str]] = {}  # joined at the end: a sum of strings takes quadratic time
    for delta in deltas:
        choice = whole.setdefault(delta.index, Delta(delta.index))
        for name in _TEXTS:
            texts.setdefault((delta.index, name, 0), []).append(getattr(delta, name))
        choice.finish, choice.stop = delta.finish or choice.finish, delta.stop or choice.stop
        choice.logprobs = _join_logprobs(choice.logprobs, delta.logprobs)
        choice.annotations += delta.annotations
        for index, tool in delta.tools.items():
            known = choice.tools.setdefault(index, Tool())
            known.id, known.name = known.id or tool.id, known.name or tool.name
            texts.setdefault((delta.index, "arguments", index), []).append(tool.arguments)
    for (place, name, index), parts in texts.items():
        owner = whole[place].tools[index] if name == "arguments" else whole[place]
        setattr(owner, name, "".join(parts))
    choices = [choice for _, choice in sorted(whole.items())]
    for index, choice in enumerate(choices):
        choice.index = index
    return choices


_TEXTS = ("content", "reasoning", "refusal")


def _join_logprobs(known: Any, more: Any) -> Any:
    if not isinstance(known, dict) or not isinstance(more, dict):
        return known if more is None else more
    return {"content": [*(known.get("content") or []), *(more.get("content") or [])]}
