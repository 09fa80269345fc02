"""Bedrock's Converse answers → deltas: whole, and streamed as messages of Amazon's event stream.

Rule: messages are read by us, frames and their checksums by botocore. Unknown events and deltas are ignored; an
exception, an error and a stream without `messageStop` are none. Source: botocore 1.44.8's model of the API, 2026-11.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from extproc.providers.protocols import eventstream
from extproc.providers.protocols.bedrock_request import NAMES
from extproc.providers.protocols.conversation import Names
from extproc.providers.reader import Reader
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, UpstreamError, type_of
from extproc.text import jsontext, sse
from extproc.text.jsontext import Fields, NotJson

FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})
_STATUS: Final[Mapping[str, int]] = {
    "throttlingexception": 429,
    "serviceunavailableexception": 503,
    "internalserverexception": 500,
    "modelstreamerrorexception": 502,
    "validationexception": 400,
    "modeltimeoutexception": 408,
    "accessdeniedexception": 403,
}


def error(status: int, name: str, document: Any) -> UpstreamError:
    """An exception by the name that a header or the body gives, up to `:` or behind `#`; its words in either case."""
    found = document if isinstance(document, dict) else {}
    name = (name.partition(":")[0] or str(found.get("__type") or "")).rpartition("#")[2]
    status = status if status >= 400 else _STATUS.get(name.lower(), 500)
    words = found.get("message") or found.get("Message")
    return UpstreamError(
        status, str(words or name or "the model vendor sent an error"), type=type_of(status), code=name or None
    )


class BedrockReader(Reader):
    """`fields`: the chat request, which says how tools were renamed. A stream's messages come as events: the kind as
    its name (an exception's with `!` before it), the payload as its data."""

    stream_kind = eventstream.KIND

    @staticmethod
    def decoder(limit: int) -> sse.Framing:
        return eventstream.Decoder(limit)

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._calls: dict[Any, int] = {}
        self._empty: set[int] = set()
        self._last: Delta | None = None

    @cached_property
    def _names(self) -> Names:
        return Names.of(self._fields, NAMES)

    def body(self, body: bytes) -> list[Delta]:
        document = _document(body)
        output = document.get("output")
        message = output.get("message") if isinstance(output, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        delta = Delta()
        for block in content if isinstance(content, list) else ():
            if not isinstance(block, dict):
                continue
            if isinstance(text := block.get("text"), str):
                delta.content += text
            elif isinstance(use := block.get("toolUse"), dict):
                given = use.get("input")
                arguments = jsontext.dump(given if isinstance(given, dict) else {}).decode()
                name = self._names.back(str(use.get("name") or ""))
                delta.tools[len(delta.tools)] = Tool(str(use.get("toolUseId") or ""), name, arguments)
            elif isinstance(thought := block.get("reasoningContent"), dict):
                inner = thought.get("reasoningText")
                delta.reasoning += str(inner.get("text") or "") if isinstance(inner, dict) else ""
        delta.finish, delta.stop = _finish(document) or "stop", _matched(document)
        self._count(document)
        return [delta]

    def event(self, event: sse.Event) -> list[Delta]:
        name = event.name.decode(errors="replace")
        if name.startswith("!"):
            try:
                document = jsontext.load(event.data)
            except NotJson:
                document = None
            raise error(200, name[1:], document)
        document = _document(event.data)
        match name:
            case "contentBlockStart":
                return self._started(document)
            case "contentBlockDelta":
                return self._piece(document)
            case "contentBlockStop":
                ours = self._calls.get(document.get("contentBlockIndex"))
                if ours is not None and ours in self._empty:
                    self._empty.discard(ours)
                    return [Delta(tools={ours: Tool(arguments="{}")})]
            case "messageStop":  # the counts come behind it
                self._last = Delta(finish=_finish(document) or "stop", stop=_matched(document))
            case "metadata":
                self._count(document)
                return self.close()
        return []

    def close(self) -> list[Delta]:
        last, self._last = self._last, None
        return [] if last is None else [last]

    def _started(self, document: dict[str, Any]) -> list[Delta]:
        start = document.get("start")
        use = start.get("toolUse") if isinstance(start, dict) else None
        if not isinstance(use, dict):
            return []
        ours = self._calls[document.get("contentBlockIndex")] = len(self._calls)
        self._empty.add(ours)
        return [
            Delta(tools={ours: Tool(str(use.get("toolUseId") or ""), self._names.back(str(use.get("name") or "")))})
        ]

    def _piece(self, document: dict[str, Any]) -> list[Delta]:
        piece = document.get("delta")
        if not isinstance(piece, dict):
            return []
        if isinstance(text := piece.get("text"), str):
            return [Delta(content=text)]
        if isinstance(thought := piece.get("reasoningContent"), dict) and isinstance(text := thought.get("text"), str):
            return [Delta(reasoning=text)]
        use = piece.get("toolUse")
        ours = self._calls.get(document.get("contentBlockIndex"))
        if isinstance(use, dict) and isinstance(text := use.get("input"), str) and text and ours is not None:
            self._empty.discard(ours)
            return [Delta(tools={ours: Tool(arguments=text)})]
        return []

    def _count(self, document: dict[str, Any]) -> None:
        if isinstance(usage := document.get("usage"), dict):
            self.raw_usage = usage


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = jsontext.load(data)
    except NotJson as problem:
        raise BadUpstreamResponse(f"the vendor's answer cannot be read: {problem}") from None
    if not isinstance(document, dict):
        raise BadUpstreamResponse("the vendor's answer is not a JSON object")
    return document


def _finish(document: dict[str, Any]) -> str | None:
    """Raises `UpstreamError` for what is a failure of the model."""
    reason = document.get("stopReason")
    if reason in _BROKEN:
        raise UpstreamError(502, f"the model's answer is broken: {reason}", code=str(reason))
    return FINISH.get(reason, reason) if isinstance(reason, str) else None


def _matched(document: dict[str, Any]) -> str | None:
    more = document.get("additionalModelResponseFields")
    delta = more.get("delta") if isinstance(more, dict) else None
    found = (
        delta.get("stop_sequence")
        if isinstance(delta, dict)
        else more.get("stop_sequence")
        if isinstance(more, dict)
        else None
    )
    return found if isinstance(found, str) else None
