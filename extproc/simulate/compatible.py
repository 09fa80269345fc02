"""DashScope's compatible mode: OpenAI form, DashScope's demands.

Rule: only the difference from `openai.py`. Source: "OpenAI compatible" pages of Model Studio, 2026.
"""

from typing import Any

from extproc.simulate import qwen
from extproc.simulate.call import Answer, Call
from extproc.simulate.conversation import matches
from extproc.simulate.dialect import Dialect, openai_error
from extproc.simulate.openai import dispatch
from extproc.simulate.refusal import Refusal

BASE = "/compatible-mode/v1/"
SERVED = ("chat", "completions", "embeddings", "responses", "files", "batches", "models", "conversations")


def error(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """A refusal in compatible mode's shape, the request id beside the error: dict."""
    return {**openai_error(refusal, request_id), "request_id": request_id}


def _check(_call: Call, body: dict[str, Any]) -> None:
    top_p, model, thinking = body.get("top_p"), body["model"], body.get("enable_thinking")
    if top_p is not None and not 0 < top_p < 1:
        raise Refusal(
            400,
            f"<400> InternalError.Algo.InvalidParameter: Range of top_p should be (0.0, 1.0), got {top_p}",
            code="invalid_parameter_error",
        )
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
