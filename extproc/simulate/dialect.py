"""The OpenAI form, and the points where vendors that speak it differ.

Rule: differences are data or one function each, here; the shared machinery (`openai_*.py`) never asks which
vendor it serves. Source: OpenAI API reference, 2026, and the vendors' own compatibility pages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from extproc.simulate.call import Call
from extproc.simulate.refusal import Refusal

KINDS = {401: "invalid_request_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}


def openai_error(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """A refusal in OpenAI's shape: dict."""
    server = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": refusal.message,
            "type": refusal.kind or KINDS.get(refusal.status, server),
            "param": refusal.param,
            "code": refusal.code or CODES.get(refusal.status),
            **refusal.extra,
        }
    }


def nothing(_call: Call, _body: dict[str, Any]) -> None:
    """No further demands."""


def never(_body: dict[str, Any]) -> bool:
    """Never thinks aloud."""
    return False


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor's way of speaking OpenAI."""

    name: str
    """How the model calls itself."""
    error: Callable[[Refusal, str], dict[str, Any]] = openai_error
    roles: frozenset[str] = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
    check: Callable[[Call, dict[str, Any]], None] = nothing
    """Further demands on a chat or completions body."""
    check_embeddings: Callable[[Call, dict[str, Any], list[Any]], None] | None = None
    thinks: Callable[[dict[str, Any]], bool] = never
    searches: Callable[[dict[str, Any]], bool] = never
    foreign: tuple[str, ...] = ()
    """Model names of other vendors: not found here."""
    models: tuple[str, ...] = ()
    model_required: bool = True
    usage_in_choice: bool = False
    """Streamed usage stands in the last choice (Moonshot) and not in a chunk of its own."""
    filters: bool = False
    """Content filter results, with a first chunk that has no choices (Azure)."""
    file_content_json: bool = False
    """`files/{id}/content` answers JSON with the extracted text (Moonshot)."""
    shape: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list
    """Its own names in a whole chat answer, or in all chunks of a stream."""
    embedding_size: Callable[[str, object], int] = lambda _model, asked: asked if isinstance(asked, int) else 1536
