"""What writes one answer in a client's dialect. Rule: the interface alone; a writer knows its front, and no vendor."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from extproc.providers.reader import Reader
from extproc.terms.call import Call
from extproc.terms.deltas import Delta
from extproc.terms.errors import ProxyError
from extproc.terms.frozen import replace
from extproc.terms.usage import Usage, estimate


class Writer(ABC):
    """Deltas → the client's bytes. One per exchange, so it may remember things.

    `call`: the chat call that was sent. `model`: the name that the client sees. `source`: the vendor's reader, for what
    it knows beside deltas: the answer's id, and token counts, complete when the stream ends. Of a choice nothing
    follows its finish; before `end` at least one has finished.
    """

    def __init__(self, call: Call, model: str, source: Reader) -> None:
        self._call = call
        self._model = model
        self._source = source

    def _counted(self) -> Usage:
        """What was used: the vendor's counts, and where it has none those that the log has, which are estimates."""
        known = self._source.usage
        if known.prompt_tokens is not None and known.completion_tokens is not None:
            return known
        prompt = self._asked() if known.prompt_tokens is None else known.prompt_tokens
        answered = self._source.said if known.completion_tokens is None else known.completion_tokens
        return replace(
            known,
            prompt_tokens=prompt,
            completion_tokens=answered,
            total_tokens=prompt + answered,
            estimated=True,
        )

    def _asked(self) -> int:
        """The request's input tokens, about."""
        return estimate(self._call.body or {})

    @abstractmethod
    def whole(self, deltas: list[Delta]) -> bytes:
        """A whole answer: one complete delta for each choice, at least one."""

    @abstractmethod
    def deltas(self, deltas: list[Delta]) -> Iterable[bytes]:
        """What one event's news make of a stream."""

    @abstractmethod
    def end(self) -> Iterable[bytes]:
        """The stream is over and complete."""

    @abstractmethod
    def failure(self, error: ProxyError) -> bytes:
        """An error in the middle of a stream, of which nothing follows."""

    def heartbeat(self) -> Iterable[bytes]:
        """The vendor said that it still works."""
        return ()
