"""OpenAI's chat answers → deltas, as vendors write them who mean OpenAI's.

Rule: lenient. What is not there is not said, what has another type is not there; only what is no JSON object, and what
is an error, ends an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from extproc.providers.reader import Reader
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, UpstreamError
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson

_MOST_CHOICES = 1024
"""And tool calls of a choice; OpenAI takes an `n` of up to 128 (API reference, 2026)."""


@dataclass(slots=True)
class _Calls:
    """The tool calls of one choice: which of ours the vendor's index means by now."""

    ids: list[str] = field(default_factory=list)
    by_index: dict[Any, int] = field(default_factory=dict)

    def place(self, entry: dict[str, Any], id: str, *, whole: bool) -> int:
        """An index that comes again with another id is another call (lich0821/ccNexus#89, 2026). Without an index an
        id begins a call, and what has neither goes on with the last one. In a `whole` answer each entry is a call."""
        index = None if whole else jsontext.whole(entry.get("index"))
        known = self.by_index.get(index) if index is not None or not id else None
        if whole:
            known = None
        elif index is None and known is None and not id and self.ids:
            known = len(self.ids) - 1
        if known is not None and not (id and self.ids[known] and id != self.ids[known]):
            self.ids[known] = self.ids[known] or id
            return known
        if len(self.ids) >= _MOST_CHOICES:
            raise BadUpstreamResponse("the vendor's answer has too many tool calls")
        self.by_index[index] = len(self.ids)
        self.ids.append(id)
        return len(self.ids) - 1


class ChatReader(Reader):
    """`event_error`: the error that an event is in the vendor's own form, None for other events."""

    def __init__(self, event_error: Callable[[sse.Event], UpstreamError | None]) -> None:
        self._event_error = event_error
        self._calls: dict[int, _Calls] = {}

    def body(self, body: bytes) -> list[Delta]:
        document = self._document(body)
        return self._deltas(document, whole=True)

    def event(self, event: sse.Event) -> list[Delta]:
        if (error := self._event_error(event)) is not None:
            raise error
        if event.name == b"error":
            told = jsontext.peek(event.data)
            raise _refusal(event.data, told if isinstance(told, dict) else None)
        return self._deltas(self._document(event.data), whole=False) if event.data else []

    def _document(self, data: bytes) -> dict[str, Any]:
        try:
            document = jsontext.load(data)
        except NotJson as error:
            raise BadUpstreamResponse(f"the vendor's answer cannot be read: {error}") from None
        if not isinstance(document, dict):
            raise BadUpstreamResponse("the vendor's answer is not a JSON object")
        if document.get("error"):
            raise _refusal(data, document)
        if self.answer_id is None and isinstance(id := document.get("id"), str) and id:
            self.answer_id = id
        if isinstance(usage := document.get("usage"), dict):
            self.raw_usage = usage
        return document

    def _deltas(self, document: dict[str, Any], *, whole: bool) -> list[Delta]:
        choices, member = document.get("choices"), "message" if whole else "delta"
        return [
            self._delta(choice, said if isinstance(said := choice.get(member), dict) else {}, place, whole=whole)
            for place, choice in enumerate(choices if isinstance(choices, list) else ())
            if isinstance(choice, dict)
        ]

    def _delta(self, choice: dict[str, Any], said: dict[str, Any], place: int, *, whole: bool) -> Delta:
        index = None if whole else jsontext.whole(choice.get("index"))
        delta = Delta(place if index is None else index)
        content, finish = said.get("content"), choice.get("finish_reason")
        if isinstance(content, str):
            delta.content = content
        elif content:
            delta.content, delta.reasoning = _parts(content)
        if thought := said.get("reasoning_content") or said.get("reasoning"):
            delta.reasoning = thought if isinstance(thought, str) else ""
        if isinstance(finish, str) and finish not in ("", "null"):
            delta.finish = finish
        if len(said) > ("role" in said) + ("content" in said):  # beside a role and a text
            self._rest(delta, said, whole=whole)
        delta.logprobs = choice.get("logprobs")
        if isinstance(stop := choice.get("stop_reason"), str):  # vLLM tells which one matched (its API, 2026)
            delta.stop = stop
        if isinstance(usage := choice.get("usage"), dict):  # Moonshot's place for it
            self.raw_usage = usage
        return delta

    def _rest(self, delta: Delta, said: dict[str, Any], *, whole: bool) -> None:
        if isinstance(refusal := said.get("refusal"), str):
            delta.refusal = refusal
        if isinstance(annotations := said.get("annotations"), list):
            delta.annotations = tuple(annotations)
        entries = said.get("tool_calls")
        if isinstance(entries, list):
            entries = [entry for entry in entries if isinstance(entry, dict)]
        elif isinstance(call := said.get("function_call"), dict):  # the name of before tools
            entries = [{"index": 0, "function": call}]
        if not entries:
            return
        if len(self._calls) > _MOST_CHOICES:
            raise BadUpstreamResponse("the vendor's answer has too many choices")
        calls = self._calls.setdefault(delta.index, _Calls())
        for entry in entries:
            function = entry.get("function")
            function = function if isinstance(function, dict) else {}
            piece = Tool(_text(entry.get("id")), _text(function.get("name")), _arguments(function.get("arguments")))
            delta.tools.setdefault(calls.place(entry, piece.id, whole=whole), Tool()).add(piece)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: Any) -> str:
    """Text; some write the object itself (mistralai's types, 2026)."""
    return jsontext.dump(value).decode() if isinstance(value, dict) else _text(value)


def _parts(content: Any) -> tuple[str, str]:
    """The text and the thinking of content in parts (mistralai's types, 2026)."""
    text, thought = [], []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            text.append(_text(part.get("text")))
            inner = part.get("thinking")
            thought.append(_parts(inner)[0] if isinstance(inner, list) else _text(inner))
    return "".join(text), "".join(thought)


def _refusal(data: bytes, document: dict[str, Any] | None) -> UpstreamError:
    """An error inside of a 200. Its status: the one that it names, else 500."""
    told = document or {}
    if not isinstance(error := told.get("error"), dict):
        words = next((said for said in (error, told.get("message")) if isinstance(said, str) and said), None)
        return UpstreamError(500, words or "the model vendor sent an error")
    status = next(
        (
            found
            for value in (told.get("status_code"), error.get("status_code"), error.get("code"))
            if (found := jsontext.whole(value)) is not None and 400 <= found < 600
        ),
        500,
    )
    code = error.get("code")
    return UpstreamError(status, code=code if isinstance(code, str) else None, document=data)
