"""What translates one answer. Rule: the interface alone; vendors' translators remember what they need, here nothing."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from extproc.terms.call import NOT_COUNTED, Usage
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext, sse


class Translator(ABC):
    """Turns one 200 answer into what the client expects. One per exchange, so it may remember things.

    A failure is a raised `ProxyError`; whoever calls knows whether it becomes a status or an in-stream event.
    """

    id_starts_event: ClassVar[bool] = False  # see sse.Decoder
    expects_stream: bool = False  # any answer but an event stream is unreadable
    gathers: bool = False  # an event stream becomes one JSON answer

    raw_usage: Any = None
    """The last usage object that the vendor sent."""

    _read: tuple[Any, Usage] = None, NOT_COUNTED

    @property
    def usage(self) -> Usage:
        """The tokens of the exchange so far."""
        if self._read[0] is not self.raw_usage:
            self._read = self.raw_usage, read_usage(self.raw_usage)
        return self._read[1]

    @abstractmethod
    def body(self, body: bytes) -> bytes:
        """A whole answer: the vendor's JSON to the client's."""

    def gathered(self, events: Iterable[sse.Event]) -> bytes:
        """Where `gathers` is set: the vendor's whole stream to the client's JSON."""
        raise BadUpstreamResponse("the vendor answered with an event stream")

    def event(self, event: sse.Event) -> Iterable[bytes]:
        """One vendor event to none, one or several of the client's, each as it is sent."""
        raise BadUpstreamResponse("the vendor answered with an event stream")

    def release(self) -> Iterable[bytes]:
        """What was held back, to go out before an error does."""
        return ()

    def close(self) -> Iterable[bytes]:
        """The vendor's stream is over: what the client is still owed."""
        return ()


def read_usage(usage: Any) -> Usage:
    """Token counts by their chat (`prompt_tokens`) or their Responses and DashScope names (`input_tokens`)."""
    if not isinstance(usage, dict):
        return NOT_COUNTED
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = jsontext.whole(usage.get("total_tokens"))
    if total is None and (prompt is not None or completion is not None):
        total = (prompt or 0) + (completion or 0)
    return Usage(prompt, completion, total)


def _count(usage: Mapping[str, Any], name: str, other: str) -> int | None:
    known = jsontext.whole(usage.get(name))
    return known if known is not None else jsontext.whole(usage.get(other))
