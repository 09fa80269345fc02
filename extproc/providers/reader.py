"""What reads one answer of a vendor's. Rule: the interface alone; vendors' readers remember what they need, here
nothing. A reader knows its vendor's protocol, and no front."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from extproc.terms.deltas import Delta
from extproc.terms.usage import Counted
from extproc.text import sse


class Reader(Counted, ABC):
    """Vendor bytes → deltas. One per exchange, so it may remember things.

    A failure is a raised `ProxyError`: `UpstreamError` where the vendor said no, `BadUpstreamResponse` for what cannot
    be read. That a stream was cut, and that nothing follows a finish, is judged
    by whoever asks (`fronts/converted.py`).
    """

    stream_kind: ClassVar[str] = sse.KIND
    """The media type of the vendor's streams."""

    @staticmethod
    def decoder(limit: int) -> sse.Framing:
        """Who frames the vendor's streams. `limit`: bytes of one event."""
        return sse.Decoder(limit)

    done_ends: bool = True
    """Whether nothing follows a `[DONE]`: some tell their usage behind it."""

    saw_done: bool = False
    """Whether a `[DONE]` came: told by whoever reads events."""

    answer_id: str | None = None
    """The vendor's id of the answer, as soon as it is known."""

    aside: Mapping[str, Any] = {}
    """Members of the vendor's answer that OpenAI has no place for, and clients of chat get as they are."""

    @abstractmethod
    def body(self, body: bytes) -> list[Delta]:
        """A whole answer: one delta for each choice, counted from 0."""

    @abstractmethod
    def event(self, event: sse.Event) -> list[Delta]:
        """What one event of a stream adds; one with data that adds nothing gives none."""

    def close(self) -> list[Delta]:
        """What was held back: the stream is over, or an error ends it."""
        return []

    @property
    def details(self) -> dict[str, Any]:
        """The members of OpenAI's usage beside the three counts."""
        known = self.usage
        prompt = {"cached_tokens": known.cached_tokens, "cache_write_tokens": known.cache_write_tokens}
        told = {
            "prompt_tokens_details": {name: count for name, count in prompt.items() if count is not None},
            "completion_tokens_details": {}
            if known.reasoning_tokens is None
            else {"reasoning_tokens": known.reasoning_tokens},
        }
        return {name: counts for name, counts in told.items() if counts}
