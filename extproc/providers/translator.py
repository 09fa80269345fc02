"""What translates one answer. Rule: the interface alone; vendors' translators remember what they need, here nothing."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from extproc.terms.errors import BadUpstreamResponse, ProxyError
from extproc.terms.usage import Counted
from extproc.text import sse


class Translator(Counted, ABC):
    """Turns one 200 answer into what the client expects. One per exchange, so it may remember things.

    A failure is a raised `ProxyError`; whoever calls knows whether it becomes a status or an in-stream event.
    """

    stream_kind: str = sse.KIND  # see `Reader`
    expects_stream: bool = False  # any answer but an event stream is unreadable
    gathers: bool = False  # an event stream becomes one JSON answer
    only_watches: bool = False  # nothing is changed: what cannot be read passes as it came

    def decoder(self, limit: int) -> sse.Framing:
        """Who frames the vendor's stream. `limit`: bytes of one event."""
        return sse.Decoder(limit)

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

    def failure(self, error: ProxyError) -> bytes | None:
        """The event that tells a client of an error in the middle of a stream; None: as its front says one."""
        return None
