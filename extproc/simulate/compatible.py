"""DashScope's compatible mode: OpenAI form, DashScope's demands.

Rule: only the difference from `openai.py`. Source: "OpenAI compatible" pages of Model Studio, 2026.
"""

from typing import Any

from extproc.simulate import qwen
from extproc.simulate.call import Answer, Call
from extproc.simulate.conversation import NO_JSON, matches, mentions_json, wants_json_object
from extproc.simulate.dialect import Dialect, openai_error
from extproc.simulate.openai import dispatch
from extproc.simulate.refusal import Refusal

BASE = "/compatible-mode/v1/"
SERVED = ("chat", "completions", "embeddings", "responses", "files", "batches", "models", "conversations")


def error(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """A refusal in compatible mode's shape, the request id beside the error: dict."""
    return {**openai_error(refusal, request_id), "request_id": request_id}


def invalid(message: str) -> Refusal:
    """The commonest refusal, as the model's own checks say it: Refusal."""
    return Refusal(400, f"<400> InternalError.Algo.InvalidParameter: {message}", code="invalid_parameter_error")


def _check(_call: Call, body: dict[str, Any]) -> None:
    top_p, temperature, model, thinking = (
        body.get(name) for name in ("top_p", "temperature", "model", "enable_thinking")
    )
    model = str(model)
    if top_p is not None and not 0 < top_p < 1:
        raise invalid(f"Range of top_p should be (0.0, 1.0), got {top_p}")
    if isinstance(temperature, int | float) and not 0 <= temperature < 2:
        raise invalid(f"Range of temperature should be [0.0, 2.0), got {temperature}")
    if body.get("thinking_budget") is not None and body.get("reasoning_effort") is not None:
        raise invalid("thinking_budget and reasoning_effort cannot both be set")
    messages = body.get("messages") or []
    choice = qwen.refuses_choice(model, body.get("tool_choice"), thinking=qwen.thinks(model, thinking))
    for why in (choice, qwen.refuses_arguments(messages)):
        if why is not None:
            raise invalid(why)
    if wants_json_object(body.get("response_format")) and not mentions_json(messages):
        raise invalid(NO_JSON)
    if not body.get("stream") and (reason := qwen.refuses_whole(model, thinking)):
        raise Refusal(400, reason, code="invalid_parameter_error")


def _check_embeddings(_call: Call, body: dict[str, Any], inputs: list[Any]) -> None:
    limit = qwen.embedding_limit(body["model"])
    if len(inputs) > limit or not all(isinstance(item, str) for item in inputs):
        raise Refusal(
            400,
            f"batch size is invalid, it should not be larger than {limit}.: input.contents",
            code="invalid_parameter_error",
        )


DIALECT = Dialect(
    name="通义千问",
    error=error,
    roles=frozenset({"system", "user", "assistant", "tool"}),
    check=_check,
    check_embeddings=_check_embeddings,
    thinks=lambda body: qwen.thinks(body["model"], body.get("enable_thinking")),
    searches=lambda body: bool(body.get("enable_search")),
    foreign=qwen.FOREIGN,
    models=qwen.MODELS,
    embedding_size=qwen.embedding_size,
)


def handle(call: Call) -> Answer:
    """Answer one request (Call) in compatible mode: Answer, or Refusal."""
    if matches(call.api, ("responses", "chat/completions")) and any(
        name.startswith("x-dashscope-sse") for name in call.headers
    ):
        raise Refusal(400, "X-DashScope-SSE belongs to the native API; use the stream parameter")
    return dispatch(call, DIALECT, SERVED)
