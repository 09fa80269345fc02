"""DashScope's native chat answers → deltas. Rule: frames are read by `dashscope_frames.py`; here is what an exchange
remembers of them, and which of them are errors."""

from typing import Any

from extproc.providers import dashscope
from extproc.providers.dashscope_frames import Increments, Numbers, citations, read_choices
from extproc.providers.reader import Reader
from extproc.terms.deltas import Delta
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson


class ChatReader(Reader):
    """Raises `UpstreamError` for an error frame, `BadUpstreamResponse` for what is not DashScope's JSON."""

    @staticmethod
    def decoder(limit: int) -> sse.Framing:
        return sse.Decoder(limit, id_starts_event=True)

    def __init__(self) -> None:
        self._increments = Increments()
        self._calls: dict[int, Numbers] = {}
        self._cited: dict[int, int] = {}  # search results that each choice has told

    def body(self, body: bytes) -> list[Delta]:
        return self._frame(body, whole=True)

    def event(self, event: sse.Event) -> list[Delta]:
        if (error := dashscope.event_error(event)) is not None:
            raise error
        return self._increments.deltas(self._frame(event.data)) if event.data else []

    def close(self) -> list[Delta]:
        """A frame that was held until the next one would decide."""
        return self._increments.close()

    def _numbers(self, choice: int) -> Numbers:
        if (known := self._calls.get(choice)) is None:
            known = self._calls[choice] = Numbers()
        return known

    def _frame(self, data: bytes, *, whole: bool = False) -> list[Delta]:
        """The choices of a frame or of a whole answer, none where it has no `output`; usage and id are noted."""
        try:
            document = jsontext.load(data)
            output = document.get("output") or {}
            choices = read_choices(output, None if whole else self._numbers)
            if "search_info" in output:
                self._cite(output["search_info"], choices)
            self.answer_id = self.answer_id or document.get("request_id")
        except (NotJson, LookupError, TypeError, AttributeError) as error:
            raise BadUpstreamResponse("the vendor's answer cannot be read") from error
        if isinstance(document.get("usage"), dict):
            self.raw_usage = document["usage"]
        return choices

    def _cite(self, found: Any, choices: list[Delta]) -> None:
        """What was found in the web: each choice tells each result once, however often frames repeat it."""
        if not isinstance(found, dict) or not found:
            return
        self.aside = {"search_info": found}
        if not isinstance(results := found.get("search_results"), list):
            return
        for choice in choices:
            told = self._cited.get(choice.index, 0)
            choice.annotations = citations(results[told:])
            self._cited[choice.index] = max(told, len(results))

    @property
    def details(self) -> dict[str, Any]:
        """DashScope has OpenAI's details, one of them under another name: with all that stands in them."""
        told = {}
        for ours, theirs in _DETAILS.items():
            if isinstance(counts := self.raw_usage.get(theirs), dict):
                told[ours] = counts
        return told


_DETAILS = {"prompt_tokens_details": "prompt_tokens_details", "completion_tokens_details": "output_tokens_details"}
