"""Moonshot (Kimi): OpenAI form with its own errors, one temperature, and usage inside the choice.

Rule: only the difference from `openai.py`. Source: Moonshot platform documentation, 2026.
"""

from typing import Any

from extproc.simulate.call import Answer, Call
from extproc.simulate.conversation import matches, text_of
from extproc.simulate.dialect import Dialect
from extproc.simulate.openai import dispatch
from extproc.simulate.refusal import Refusal

BASE = "/moonshot/v1/"
SERVED = ("chat", "models", "files", "embeddings")
ONE_TEMPERATURE = ("kimi-k2.5*", "kimi-k2.6*", "kimi-k3*")
THINKING = (*ONE_TEMPERATURE, "kimi-k2-thinking*", "kimi-thinking*")
KINDS = {401: "invalid_authentication_error", 403: "permission_denied_error", 404: "resource_not_found_error",
         429: "rate_limit_reached_error"}  # fmt: skip


def error(refusal: Refusal, _request_id: str) -> dict[str, Any]:
    """A refusal in Moonshot's shape, message and type: dict."""
    server = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "error": {"message": refusal.message, "type": refusal.kind or KINDS.get(refusal.status, server)},
    }


def _check(_call: Call, body: dict[str, Any]) -> None:
    temperature = body.get("temperature")
    if temperature is not None and matches(body["model"], ONE_TEMPERATURE) and temperature != 1:
        raise Refusal(400, "invalid temperature: only 1 is allowed for this model")
    if temperature is not None and temperature > 1:
        raise Refusal(400, "invalid temperature: must be between 0 and 1")
    thinks = _thinks(body)
    for message in body.get("messages", []):
        empty = not text_of(message.get("content")) and not isinstance(message.get("content"), list)
        if empty and not message.get("tool_calls") and not message.get("partial"):
            raise Refusal(400, f"message with role '{message['role']}' must not be empty")
        if thinks and message.get("tool_calls") and "reasoning_content" not in message:
            raise Refusal(400, "thinking is enabled but reasoning_content is missing in assistant tool call message")


def _thinks(body: dict[str, Any]) -> bool:
    disabled = (body.get("thinking") or {}).get("type") == "disabled"
    return matches(body["model"], THINKING) and not disabled


DIALECT = Dialect(
    name="Kimi",
    error=error,
    roles=frozenset({"system", "user", "assistant", "tool"}),
    check=_check,
    thinks=_thinks,
    foreign=("qwen*", "qwq*", "gpt-*", "claude*", "gemini*", "no-such*"),
    models=("moonshot-v1-8k", "moonshot-v1-32k", "kimi-k2.5", "kimi-k2-thinking"),
    usage_in_choice=True,
    file_content_json=True,
)


def handle(call: Call) -> Answer:
    """Answer one request (Call) at Moonshot: Answer, or Refusal."""
    return dispatch(call, DIALECT, SERVED)
