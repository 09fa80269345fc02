"""Errors in Anthropic's form, and vendors' refusals in the words that Anthropic's clients act upon.

Rule: a status stays as it is; nothing of OpenAI's form is left. Source: Anthropic, "Errors" (platform.claude.com,
2026-11); what Claude Code reads out of a 400: run 2026-11-30 (2.1.332).
"""

from collections.abc import Mapping
import re
from typing import Any, Final

from extproc.terms.errors import ProxyError, UpstreamError
from extproc.text import jsontext

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_ARREARS: Final = ("insufficient_quota", "arrearage", "billing")


def document(error: ProxyError, request_id: str | None, asked: int = 0) -> bytes:
    """The body of an error, and the data of an `error` event. `asked`: the client's `max_tokens`."""
    message, code = _said(error)
    kind = _type(error, code)
    if code != kind:  # Anthropic's own code is its type
        message = _with_code(message, code)
    if isinstance(error, UpstreamError) and error.status == 400:
        message = _worded(message, asked)
    told = {"type": kind, "message": message}
    return jsontext.dump({"type": "error", "error": told, "request_id": request_id})


def _type(error: ProxyError, code: str | None) -> str:
    if any(word in f"{error.type} {code}".lower() for word in _ARREARS):
        return "billing_error"
    if isinstance(error, UpstreamError) and error.document is not None:  # Anthropic's own form: its type says more
        told = jsontext.peek(error.document, "type"), jsontext.peek(error.document, "error", "type")
        if told[0] == "error" and isinstance(told[1], str):
            return told[1]
    known = _TYPES.get(error.status)
    return known or ("api_error" if error.status >= 500 else "invalid_request_error")


def _said(error: ProxyError) -> tuple[str, str | None]:
    """The words and the code of an error; of a vendor's own document what it says there."""
    if not isinstance(error, UpstreamError):
        return error.message, None
    if error.document is None:
        return error.message, error.code
    inner = jsontext.peek(error.document, "error")
    if not isinstance(inner, dict):
        return error.message or f"the model vendor answered with status {error.status}", error.code
    code = inner.get("code")
    message = inner.get("message")
    return (
        message if isinstance(message, str) and message else f"the model vendor answered with status {error.status}",
        str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None,
    )


def _with_code(message: str, code: str | None) -> str:
    return message if not code or code in message else f"{message} ({code})"


_MOST_TOKENS: Final = re.compile(
    r"max(?:_completion|_output)?_tokens.{0,120}?"
    r"(?:at most|maximum[^\d]{0,60}|less than or equal to|<=|\[\s*\d+\s*,)\s*(?P<most>\d+)",
    re.I | re.S,
)
_TOO_LONG: Final = (
    re.compile(
        r"maximum context length is (?P<most>\d+) tokens.{0,60}?(?:resulted in|requested|has) (?P<count>\d+)",
        re.I | re.S,
    ),
    re.compile(r"range of input length should be \[\s*\d+\s*,\s*(?P<most>\d+)\s*\]", re.I),
    re.compile(r"exceeded model token limit:? (?P<most>\d+)(?:.{0,20}?requested:? (?P<count>\d+))?", re.I),
)

_PROMPT: Final = re.compile(
    r"(?P<count>\d+)(?: tokens)? (?:in the (?:messages|prompt)|input tokens|of text input)", re.I
)
_ROOM: Final = 4096
"""Tokens that are enough for an answer: a prompt that leaves as many is not what is too long."""
_TOO_LONG_UNCOUNTED: Final = re.compile(
    r"context_length_exceeded|exceeds? (?:the|this model's) context (?:window|length)", re.I
)

_IS_ANTHROPICS: Final = re.compile(r"\d+ > \d+, which is the maximum allowed|\d+ tokens > \d+ maximum")
_SYSTEM_TURN: Final = re.compile(
    # vLLM's and llama.cpp's templates, DashScope, Pydantic's words of those who know two roles (2026)
    r"system message must be (?:at the beginning|the first)|system role (?:is )?not supported"
    r"|(?:does not|doesn't) support (?:the )?['\"`]?system"
    r"|role['\"`]?:? ?(?:must be|should be)(?: one of)?:? \[?['\"`]?(?:user|assistant)"
    r"|\.role\b.{0,60}(?:input should be|must be|invalid|unexpected).{0,60}(?:user|system)"
    r"|roles must alternate|system needs to be the first message",
    re.I | re.S,
)


def _worded(message: str, asked: int) -> str:
    """A 400 about a limit says it as Anthropic does: clients lower `max_tokens` or shorten the conversation by it."""
    if _IS_ANTHROPICS.search(message):
        return message
    for pattern in _TOO_LONG:
        if found := pattern.search(message):
            most = int(found["most"])
            prompt = _PROMPT.search(message)
            if asked and prompt is not None and (room := most - int(prompt["count"])) >= _ROOM:
                return _too_many(asked, room, message)
            count = int(found.groupdict().get("count") or most + 1)
            return f"prompt is too long: {count} tokens > {most} maximum. {message}"
    if _SYSTEM_TURN.search(message):
        return f"role 'system' is not supported in messages. {message}"
    if found := _MOST_TOKENS.search(message):
        return _too_many(asked, int(found["most"]), message)
    if _TOO_LONG_UNCOUNTED.search(message):
        return f"prompt is too long. {message}"
    return message


def _too_many(asked: int, most: int, message: str) -> str:
    wanted = max(asked, most + 1)
    return f"max_tokens: {wanted} > {most}, which is the maximum allowed number of output tokens. {message}"


def headers(request_id: str | None) -> dict[str, Any]:
    return {"request-id": request_id} if request_id else {}
