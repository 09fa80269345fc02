"""Anthropic's Messages answers → deltas: whole and streamed.

Rule: lenient with events and blocks that are new; an error event, and a stream without a stop reason, are none.
Sources: Anthropic's API reference and the types of `anthropic` 2.14.0, 2026-11.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from extproc.providers.protocols.claude_request import ALLOWED
from extproc.providers.protocols.conversation import Names
from extproc.providers.reader import Reader
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, UpstreamError, type_of
from extproc.text import jsontext, sse
from extproc.text.jsontext import Fields, NotJson

FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUS: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def error(status: int, document: Any) -> UpstreamError | None:
    """`{"type": "error", "error": {type, message}}` as an error with our words; None for what is no such document.
    `status`: the answer's, or 200 inside of a stream, where the type says it."""
    found = document.get("error") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        return None
    kind = found["type"]
    status = status if status >= 400 else _STATUS.get(kind, 500)
    told = "insufficient_quota" if kind == "billing_error" else type_of(status)
    return UpstreamError(status, str(found.get("message") or kind), type=told, code=kind)


class ClaudeReader(Reader):
    """`fields`: the chat request, which says how tools were renamed."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._calls: dict[Any, int] = {}  # block index → ours
        self._empty: set[int] = set()  # calls that had no arguments yet
        self._usage: dict[str, Any] = {}

    @cached_property
    def _names(self) -> Names:
        return Names.of(self._fields, ALLOWED)

    def body(self, body: bytes) -> list[Delta]:
        document = self._document(body)
        delta = Delta(content="", finish=_finish(document))
        for block in document.get("content") or ():
            if not isinstance(block, dict):
                continue
            match block.get("type"):
                case "text":
                    delta.content += _text(block.get("text"))
                    delta.annotations += _citations(block.get("citations"))
                case "thinking":
                    delta.reasoning += _text(block.get("thinking"))
                case "tool_use":
                    given = block.get("input")
                    arguments = jsontext.dump(given if isinstance(given, dict) else {}).decode()
                    name = self._names.back(_text(block.get("name")))
                    delta.tools[len(delta.tools)] = Tool(_text(block.get("id")), name, arguments)
        self._end(delta, document)
        return [delta]

    def event(self, event: sse.Event) -> list[Delta]:
        if not event.data:
            return []
        document = self._document(event.data)
        match document.get("type"):
            case "message_start":
                message = document.get("message")
                if isinstance(message, dict):
                    self._note(message)
                    self._usage.pop("output_tokens", None)  # of what has not come yet
            case "content_block_start":
                return self._started(document)
            case "content_block_delta":
                return self._piece(document)
            case "content_block_stop":
                return self._stopped(document)
            case "message_delta":
                self._note(document)
                said = document.get("delta")
                said = said if isinstance(said, dict) else {}
                delta = Delta(finish=_finish(said))
                self._end(delta, said)
                return [delta] if delta.finish is not None else []
        return []

    def _started(self, document: dict[str, Any]) -> list[Delta]:
        block = document.get("content_block")
        if not isinstance(block, dict):
            return []
        match block.get("type"):
            case "tool_use":
                ours = self._calls[document.get("index")] = len(self._calls)
                self._empty.add(ours)
                tool = Tool(_text(block.get("id")), self._names.back(_text(block.get("name"))))
                if block.get("input"):  # some send it at once
                    tool.arguments = jsontext.dump(block["input"]).decode()
                    self._empty.discard(ours)
                return [Delta(tools={ours: tool})]
            case "text":
                return [Delta(content=text)] if (text := _text(block.get("text"))) else []
            case "thinking":
                return [Delta(reasoning=text)] if (text := _text(block.get("thinking"))) else []
        return []

    def _piece(self, document: dict[str, Any]) -> list[Delta]:
        piece = document.get("delta")
        if not isinstance(piece, dict):
            return []
        match piece.get("type"):
            case "text_delta":
                return [Delta(content=_text(piece.get("text")))]
            case "thinking_delta":
                return [Delta(reasoning=_text(piece.get("thinking")))]
            case "input_json_delta":
                ours = self._calls.get(document.get("index"))
                text = _text(piece.get("partial_json"))
                if ours is None or not text:
                    return []
                self._empty.discard(ours)
                return [Delta(tools={ours: Tool(arguments=text)})]
            case "citations_delta":
                return [Delta(annotations=_citations([piece.get("citation")]))]
        return []

    def _stopped(self, document: dict[str, Any]) -> list[Delta]:
        """A call without arguments is one of `{}`."""
        ours = self._calls.get(document.get("index"))
        if ours not in self._empty or ours is None:
            return []
        self._empty.discard(ours)
        return [Delta(tools={ours: Tool(arguments="{}")})]

    def _document(self, data: bytes) -> dict[str, Any]:
        try:
            document = jsontext.load(data)
        except NotJson as problem:
            raise BadUpstreamResponse(f"the vendor's answer cannot be read: {problem}") from None
        if not isinstance(document, dict):
            raise BadUpstreamResponse("the vendor's answer is not a JSON object")
        if document.get("type") == "error" or "error" in document:
            raise error(200, document) or UpstreamError(500, "the model vendor sent an error")
        if document.get("type") == "message":
            self._note(document)
        return document

    def _note(self, said: dict[str, Any]) -> None:
        if self.answer_id is None and isinstance(id := said.get("id"), str) and id:
            self.answer_id = id
        if isinstance(usage := said.get("usage"), dict):  # cumulative; later ones need not repeat what is known
            self._usage = {**self._usage, **{name: count for name, count in usage.items() if count is not None}}
            self.raw_usage = self._usage

    def _end(self, delta: Delta, said: dict[str, Any]) -> None:
        if said.get("stop_reason") == "stop_sequence" and isinstance(stop := said.get("stop_sequence"), str):
            delta.stop = stop


def _finish(said: dict[str, Any]) -> str | None:
    reason = said.get("stop_reason")
    return FINISH.get(reason, reason) if isinstance(reason, str) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _citations(found: Any) -> tuple[Any, ...]:
    """Those of web pages, in OpenAI's form; others have none."""
    return tuple(
        {
            "type": "url_citation",
            "url_citation": {"url": one["url"], "title": one.get("title") or "", "start_index": 0, "end_index": 0},
        }
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict) and isinstance(one.get("url"), str)
    )
