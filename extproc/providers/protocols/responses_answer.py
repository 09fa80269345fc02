"""OpenAI's Responses answers → deltas: whole and streamed.

Rule: lenient with items and events that are new. `response.failed` and `error` are none, and a stream without a last
event was cut. Source: OpenAI API reference, "Streaming", and its SDK's types (openai 3.54.0), 2026-11.
"""

from typing import Any

from extproc.providers.reader import Reader
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, UpstreamError, type_of
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson

_STATUS = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_prompt": 400,
    "invalid_image": 400,
    "context_length_exceeded": 400,
    "server_is_overloaded": 503,
}


class ResponsesReader(Reader):
    """Calls are told by their place in the output, which an event has."""

    def __init__(self) -> None:
        self._calls: dict[Any, int] = {}
        self._empty: set[int] = set()

    def body(self, body: bytes) -> list[Delta]:
        document = _document(body)
        delta = Delta()
        for item in document.get("output") or ():
            if isinstance(item, dict):
                self._item(delta, item)
        self._note(document)
        delta.finish = _finish(document, called=bool(delta.tools))
        return [delta]

    def _item(self, delta: Delta, item: dict[str, Any]) -> None:
        match item.get("type"):
            case "message":
                for part in item.get("content") or ():
                    if isinstance(part, dict) and part.get("type") == "output_text":
                        delta.content += str(part.get("text") or "")
                        delta.annotations += _annotations(part.get("annotations"))
                        delta.logprobs = _logprobs(part.get("logprobs")) or delta.logprobs
                    elif isinstance(part, dict) and part.get("type") == "refusal":
                        delta.refusal += str(part.get("refusal") or "")
            case "function_call" | "custom_tool_call":
                given = item.get("arguments") if item["type"] == "function_call" else item.get("input")
                delta.tools[len(delta.tools)] = Tool(_id(item), str(item.get("name") or ""), str(given or "{}"))
            case "reasoning":
                parts = [one for one in item.get("summary") or () if isinstance(one, dict)]
                delta.reasoning += "\n\n".join(str(one.get("text") or "") for one in parts)

    def event(self, event: sse.Event) -> list[Delta]:
        if not event.data:
            return []
        document = _document(event.data)
        piece = document.get("delta")
        text = piece if isinstance(piece, str) else ""
        match document.get("type"):
            case "response.output_text.delta":
                return [Delta(content=text, logprobs=_logprobs(document.get("logprobs")))]
            case "response.refusal.delta":
                return [Delta(refusal=text)]
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return [Delta(reasoning=text)]
            case "response.output_item.added":
                return self._started(document)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                ours = self._calls.get(document.get("output_index"))
                if ours is None or not text:
                    return []
                self._empty.discard(ours)
                return [Delta(tools={ours: Tool(arguments=text)})]
            case "response.output_item.done":
                return self._ended(document)
            case "response.output_text.annotation.added":
                return [Delta(annotations=_annotations([document.get("annotation")]))]
            case "response.created" | "response.in_progress":
                self._note(_inner(document))
            case "response.completed" | "response.incomplete" | "response.failed":
                answer = _inner(document)
                self._note(answer)
                return [Delta(finish=_finish(answer, called=bool(self._calls)))]
            case "error":
                raise _error(document)
        return []

    def _started(self, document: dict[str, Any]) -> list[Delta]:
        item = document.get("item")
        if not isinstance(item, dict) or item.get("type") not in ("function_call", "custom_tool_call"):
            return []
        ours = self._calls[document.get("output_index")] = len(self._calls)
        self._empty.add(ours)
        return [Delta(tools={ours: Tool(_id(item), str(item.get("name") or ""))})]

    def _ended(self, document: dict[str, Any]) -> list[Delta]:
        """Arguments that did not come in pieces: all at once, or none."""
        ours, item = self._calls.get(document.get("output_index")), document.get("item")
        if ours is None or ours not in self._empty or not isinstance(item, dict):
            return []
        self._empty.discard(ours)
        return [Delta(tools={ours: Tool(arguments=str(item.get("arguments") or item.get("input") or "{}"))})]

    def _note(self, answer: dict[str, Any]) -> None:
        if self.answer_id is None and isinstance(id := answer.get("id"), str) and id:
            self.answer_id = id
        if isinstance(usage := answer.get("usage"), dict):
            self.raw_usage = usage


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = jsontext.load(data)
    except NotJson as problem:
        raise BadUpstreamResponse(f"the vendor's answer cannot be read: {problem}") from None
    if not isinstance(document, dict):
        raise BadUpstreamResponse("the vendor's answer is not a JSON object")
    if isinstance(document.get("error"), dict) and "type" not in document and "output" not in document:
        raise _error(document["error"])
    return document


def _inner(document: dict[str, Any]) -> dict[str, Any]:
    answer = document.get("response")
    return answer if isinstance(answer, dict) else {}


def _id(item: dict[str, Any]) -> str:
    return str(item.get("call_id") or item.get("id") or "")


def _error(said: dict[str, Any]) -> UpstreamError:
    code = str(said.get("code") or "server_error")
    status = _STATUS.get(code, 500)
    return UpstreamError(
        status, str(said.get("message") or "the model vendor sent an error"), type=type_of(status), code=code
    )


def _finish(answer: dict[str, Any], *, called: bool) -> str:
    """Raises `UpstreamError` for an answer that failed."""
    status, why = answer.get("status"), answer.get("incomplete_details")
    if status in ("failed", "cancelled"):
        error = answer.get("error")
        raise _error(error if isinstance(error, dict) else {})
    if status == "incomplete":
        reason = why.get("reason") if isinstance(why, dict) else None
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if called else "stop"


def _annotations(found: Any) -> tuple[Any, ...]:
    """Those of web pages, as chat has them: within a member of their name."""
    names = ("url", "title", "start_index", "end_index")
    return tuple(
        {"type": "url_citation", "url_citation": {name: one.get(name) for name in names}}
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict) and one.get("type") == "url_citation"
    )


def _logprobs(found: Any) -> Any:
    return {"content": found} if isinstance(found, list) and found else None
