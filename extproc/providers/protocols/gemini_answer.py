"""Gemini's answers → deltas: whole and streamed, also those that Vertex gives.

Rule: a chunk says what it says; only a finish reason, an error or the end of the stream ends an answer. A signature of
thought goes into the id of its call: clients bring ids back. Sources: google-genai 3.6.1's types, 2026-11.
"""

from collections.abc import Mapping
from contextlib import suppress
import re
from typing import Any, Final

from extproc.providers.messages import SIGNATURE
from extproc.providers.reader import Reader
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, UpstreamError, type_of
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson

_FILTERED = frozenset(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION "
    "MODEL_ARMOR".split()
)
_BROKEN = frozenset(
    "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE "
    "MALFORMED_RESPONSE".split()
)
_CODES: Final[Mapping[str, str]] = {"RESOURCE_EXHAUSTED": "rate_limit_exceeded"}
_DELAY = re.compile(r"(\d+)(?:\.(\d+))?s", re.ASCII)


def error(status: int, document: Any) -> UpstreamError | None:
    """`{"error": {code, message, status}}`, also in a list, as an error in our words; None for no such document."""
    if isinstance(document, list) and document:
        document = document[0]
    found = document.get("error") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    told = jsontext.whole(found.get("code"))
    status = status if status >= 400 else told if told is not None and 400 <= told < 600 else 500
    kind = found.get("status")
    code = _CODES.get(kind, kind) if isinstance(kind, str) else None
    if status == 400 and "API key" in str(found.get("message")):  # what it says of a key that is none
        status = 401
    return UpstreamError(status, str(found.get("message") or kind or "an error"), type=type_of(status), code=code)


def retry_delay(document: Any) -> int | None:
    """Seconds to wait, rounded up, of an error's `RetryInfo`; None where it has none."""
    if isinstance(document, list) and document:
        document = document[0]
    found = document.get("error") if isinstance(document, dict) else None
    for detail in (found.get("details") if isinstance(found, dict) else None) or ():
        if isinstance(detail, dict) and (match := _DELAY.fullmatch(str(detail.get("retryDelay")))):
            return int(match[1]) + bool(match[2] and match[2].strip("0"))
    return None


class GeminiReader(Reader):
    """`nonce`: random bits for ids of calls that the vendor gives none."""

    def __init__(self, nonce: int) -> None:
        self._nonce = nonce
        self._calls: dict[int, int] = {}  # of each choice, so far
        self._said: set[int] = set()  # choices of which something came
        self._bare = b""  # of an error that stands in the stream without being an event

    def body(self, body: bytes) -> list[Delta]:
        found = self._deltas(body)
        for delta in found:
            delta.finish = delta.finish or "stop"
        return found

    def event(self, event: sse.Event) -> list[Delta]:
        if event.data:
            return self._deltas(event.data)
        if self._bare or event.raw.lstrip()[:1] in (b"{", b"["):
            self._bare += event.raw
            with suppress(NotJson):
                if (refusal := error(200, jsontext.load(self._bare))) is not None:
                    raise refusal
            if len(self._bare) > sse.LIMIT:
                raise BadUpstreamResponse("the vendor's stream cannot be read")
        return []

    def close(self) -> list[Delta]:
        if self._bare:
            raise BadUpstreamResponse("the vendor's stream cannot be read")
        return []

    def _deltas(self, data: bytes) -> list[Delta]:
        try:
            document = jsontext.load(data)
        except NotJson as problem:
            raise BadUpstreamResponse(f"the vendor's answer cannot be read: {problem}") from None
        if (refusal := error(200, document)) is not None:
            raise refusal
        if not isinstance(document, dict):
            raise BadUpstreamResponse("the vendor's answer is not a JSON object")
        if self.answer_id is None and isinstance(id := document.get("responseId"), str) and id:
            self.answer_id = id
        if isinstance(usage := document.get("usageMetadata"), dict):
            self.raw_usage = usage
        candidates = document.get("candidates")
        deltas = [
            self._delta(candidate, place)
            for place, candidate in enumerate(candidates if isinstance(candidates, list) else ())
            if isinstance(candidate, dict)
        ]
        feedback = document.get("promptFeedback")
        if not deltas and isinstance(feedback, dict) and feedback.get("blockReason"):
            return [Delta(finish="content_filter")]
        return deltas

    def _delta(self, candidate: dict[str, Any], place: int) -> Delta:
        index = jsontext.whole(candidate.get("index"))
        delta = Delta(place if index is None else index)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._part(delta, part)
        if delta.content or delta.reasoning or delta.tools:
            self._said.add(delta.index)
        delta.annotations = _grounding(candidate.get("groundingMetadata"))
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason:
            delta.finish = self._finish(delta, reason, candidate.get("finishMessage"))
        return delta

    def _part(self, delta: Delta, part: dict[str, Any]) -> None:
        if isinstance(call := part.get("functionCall"), dict):
            given = call.get("args")
            count = self._calls.get(delta.index, 0)
            self._calls[delta.index] = count + 1
            id = call.get("id") or f"call_{(self._nonce + (delta.index << 16) + count + 1) % (1 << 96):024x}"
            if isinstance(signature := part.get("thoughtSignature"), str) and signature:
                id = f"{id}{SIGNATURE}{signature}"
            arguments = jsontext.dump(given if isinstance(given, dict) else {}).decode()
            delta.tools[count] = Tool(str(id), str(call.get("name") or ""), arguments)
        elif isinstance(text := part.get("text"), str):
            if part.get("thought") is True:
                delta.reasoning += text
            else:
                delta.content += text
        elif isinstance(code := part.get("executableCode"), dict):
            delta.content += f"\n```{str(code.get('language') or '').lower()}\n{code.get('code') or ''}\n```\n"
        elif isinstance(result := part.get("codeExecutionResult"), dict):
            delta.content += f"\n```\n{result.get('output') or ''}\n```\n"
        elif isinstance(data := part.get("inlineData"), dict):
            delta.content += f"![image](data:{data.get('mimeType')};base64,{data.get('data')})"

    def _finish(self, delta: Delta, reason: str, words: Any) -> str:
        """Raises `UpstreamError` for what is a failure of the model, which others tell as an empty answer."""
        if reason in _BROKEN:
            raise UpstreamError(502, f"{reason}: {words}" if words else reason, code=reason)
        if reason == "MAX_TOKENS":
            return "length"
        if reason in _FILTERED:
            return "content_filter"
        if self._calls.get(delta.index):
            return "tool_calls"
        return "stop" if reason == "STOP" or delta.index in self._said else "content_filter"


def _grounding(found: Any) -> tuple[Any, ...]:
    chunks = found.get("groundingChunks") if isinstance(found, dict) else None
    webs = [chunk["web"] for chunk in chunks or () if isinstance(chunk, dict) and isinstance(chunk.get("web"), dict)]
    return tuple(
        {
            "type": "url_citation",
            "url_citation": {"url": web["uri"], "title": web.get("title") or "", "start_index": 0, "end_index": 0},
        }
        for web in webs
        if isinstance(web.get("uri"), str)
    )
