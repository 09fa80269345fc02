"""How a stream of OpenAI's Responses API ends, well or not.

Rule: one place says it, for streams that pass and for ours.
Source: OpenAI API reference, "Streaming", 2026; what Codex 0.171.0 and openai's SDKs make of errors (run 2026-11-30).
"""

from collections.abc import Mapping
from typing import Any, Final

from extproc.terms.errors import ProxyError
from extproc.text import jsontext, sse
from extproc.text.jsontext import NULL, Fields

_LAST: Final = ("response.completed", "response.incomplete", "response.failed", "error")


class Story:
    """A stream that passes, as far as it has come. `id`, `model`, `now`: for an answer that never began."""

    def __init__(self, id: str, model: str, now: int) -> None:
        self._response: Mapping[str, Any] = {
            "id": f"resp_{id}",
            "object": "response",
            "created_at": now,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "usage": None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        self._number = 0

    def ends_with(self, event: Fields) -> bool:
        """Note an event; whether nothing needs to follow it."""
        self._number = max(self._number, (jsontext.whole(jsontext.peek(event.get("sequence_number", NULL))) or 0) + 1)
        if "response" in event and bytes(event["response"]).startswith(b"{"):
            self._response = jsontext.fields(event["response"])
        return "type" in event and jsontext.peek(event["type"]) in _LAST

    def failure(self, error: ProxyError) -> bytes:
        """The events that end the stream with an error; SDKs' helpers take none before the one that begins it."""
        if self._number:
            return failure(error, self._response, self._number)
        begun = {"response": self._response}
        begin = event("response.created", begun, 0) + event("response.in_progress", begun, 1)
        return begin + failure(error, self._response, 2)


def failure(error: ProxyError, response: Mapping[str, Any], number: int) -> bytes:
    """The `error` event, which Codex does not look at, then `response.failed`, which openai's Node SDK does not: both.
    `response`: the answer so far. `number`: of the first of them."""
    words = error_words(error)
    told = {"code": error.code or error.type, "message": words, "param": None}
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    why = {"code": code, "message": f"{error.code}: {words}" if error.code else words}
    failed = {**response, "status": "failed", "error": why}
    return event("error", told, number) + event("response.failed", {"response": failed}, number + 1)


def event(type: str, members: Mapping[str, Any], number: int) -> bytes:
    """One event."""
    return sse.encode(jsontext.dump({"type": type, **members, "sequence_number": number}), type.encode())


def error_words(error: ProxyError) -> str:
    """What an error says, also where the vendor said it in a document of its own."""
    if error.message:
        return error.message
    found = jsontext.peek(error.body(), "error", "message")
    return found if isinstance(found, str) and found else f"the model vendor answered with status {error.status}"
