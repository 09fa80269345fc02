"""Chat and text completions in OpenAI form: checks, whole answers and streams.

Rule: everything a vendor does differently comes from its `Dialect`. Source: OpenAI API reference, 2026.
"""

from collections.abc import Iterator
from typing import Any

from extproc.simulate import sse
from extproc.simulate.call import CREATED, Answer, Call, Events, answer
from extproc.simulate.conversation import (
    count_images,
    count_tokens,
    file_ids,
    functions,
    last_user_text,
    matches,
    mentions_json,
    schema_of,
    scripted,
    stops,
    text_of,
    tool_result,
)
from extproc.simulate.dialect import Dialect
from extproc.simulate.faults import without_markers
from extproc.simulate.refusal import Refusal
from extproc.simulate.script import Asked, Delta, Line, Script, deltas, perform

FILTERED = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2),
    "n": (1, 128), "max_tokens": (1, 1e9), "max_completion_tokens": (1, 1e9), "top_logprobs": (0, 20),
}  # fmt: skip
BOOLEANS = ("stream", "logprobs", "parallel_tool_calls", "store")


def bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A client's mistake, 400: Refusal."""
    return Refusal(400, message, param=param, code=code)


def model_of(body: dict[str, Any], dialect: Dialect) -> str:
    """The model asked for: str, or a Refusal when it is missing or another vendor's."""
    model = body.get("model", None if dialect.model_required else "deployment")
    if not isinstance(model, str) or not model:
        raise bad("you must provide a model parameter", "model")
    if matches(model, dialect.foreign):
        raise Refusal(
            404,
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    return model


def _check_scalars(body: dict[str, Any]) -> None:
    for name, (low, high) in RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise bad(f"Invalid type for '{name}': expected a number", name, "invalid_type")
        if not low <= value <= high:
            raise bad(f"Invalid '{name}': {value} is not between {low} and {high}", name)
    for name in BOOLEANS:
        if not isinstance(body.get(name, False), bool | None):
            raise bad(f"Invalid type for '{name}': expected a boolean", name, "invalid_type")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def _check_messages(messages: Any, dialect: Dialect) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise bad("'messages' is a required property and must not be empty", "messages")
    for place, message in enumerate(messages):
        at = f"messages[{place}]"
        if not isinstance(message, dict):
            raise bad(f"{at} must be an object", at)
        role, content = message.get("role"), message.get("content")
        if role not in dialect.roles:
            raise bad(f"Invalid value: {role!r}. Supported values are: {sorted(dialect.roles)}", f"{at}.role")
        if role == "tool" and not message.get("tool_call_id"):
            raise bad(f"Missing parameter 'tool_call_id' in {at}", at)
        if content is None and role == "assistant":
            continue
        if not isinstance(content, str) and not (
            isinstance(content, list)
            and content
            and all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)
        ):
            raise bad(f"Invalid type for '{at}.content': expected text or a list of typed parts", at)
    return messages


def ask(call: Call, body: dict[str, Any], messages: list[dict[str, Any]], dialect: Dialect) -> Asked:
    """`messages` and the options of `body` as a question; parses the faults into `call`: Asked."""
    text = last_user_text(messages)
    call.heed(text)
    return Asked(
        name=dialect.name,
        text=without_markers(text),
        prompt_tokens=count_tokens(messages),
        images=count_images(messages),
        files=file_ids(messages),
        tool_result=tool_result(messages),
        tools=functions(body.get("tools")),
        tool_choice=body.get("tool_choice"),
        n=body.get("n") or 1,
        stop=stops(body.get("stop")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        thinking=dialect.thinks(body),
        thinking_budget=body.get("thinking_budget"),
        search=dialect.searches(body),
        schema=schema_of(body.get("response_format")),
        chunks=call.faults.tokens,
        big=call.faults.big,
        scripted=scripted(messages),
        said=call.character(dialect.name, without_markers(text)),
    )


def chat(call: Call, dialect: Dialect) -> Answer:
    """`chat/completions` (Call, Dialect): Answer."""
    body = call.json()
    model = model_of(body, dialect)
    messages = _check_messages(body.get("messages"), dialect)
    _check_scalars(body)
    dialect.check(call, body)
    if (body.get("response_format") or {}).get("type") == "json_object" and not mentions_json(messages):
        raise bad("'messages' must contain the word 'json' in some form, to use 'response_format'", "messages")
    script = perform(ask(call, body, messages, dialect))
    if body.get("stream"):
        return _events(call, dialect.shape(list(_chunks(call, body, model, script, dialect))), dialect)
    whole = {
        "id": f"chatcmpl-{call.request_id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [_choice(place, line, body, dialect) for place, line in enumerate(script.lines)],
        "usage": usage(script),
        **({"prompt_filter_results": _prompt_filter()} if dialect.filters else {}),
    }
    return answer(dialect.shape([whole])[0])


def usage(script: Script) -> dict[str, Any]:
    """Token counts of a `script` (Script): dict."""
    return {
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.tokens,
        "total_tokens": script.prompt_tokens + script.tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
    }


def _logprobs(pieces: tuple[str, ...]) -> dict[str, Any]:
    return {
        "content": [
            {"token": piece, "bytes": list(piece.encode()), "logprob": 0.0, "top_logprobs": []} for piece in pieces
        ]
    }


def _prompt_filter() -> list[dict[str, Any]]:
    return [{"prompt_index": 0, "content_filter_results": FILTERED}]


def _choice(place: int, line: Line, body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if line.calls else line.text}
    if line.thinking:
        message["reasoning_content"] = line.reasoning
    if line.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in line.calls
        ]
    return {
        "index": place,
        "message": message,
        "logprobs": _logprobs(line.pieces) if body.get("logprobs") else None,
        "finish_reason": line.finish,
        **({"content_filter_results": FILTERED} if dialect.filters else {}),
    }


def _delta(delta: Delta) -> dict[str, Any]:
    if delta.thinking:
        return {"content": None, "reasoning_content": delta.thinking}
    if delta.call is None:
        return {"content": delta.text} if delta.finish is None else {}
    place, tool, piece, first = delta.call
    if first:
        named = {"name": tool.name, "arguments": piece}
        return {"tool_calls": [{"index": place, "id": tool.id, "type": "function", "function": named}]}
    return {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}


def _chunks(call: Call, body: dict[str, Any], model: str, script: Script, dialect: Dialect) -> Iterator[dict[str, Any]]:
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    head = {
        "id": f"chatcmpl-{call.request_id}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
    }
    no_usage = {"usage": None} if wants_usage else {}
    if dialect.filters:
        yield {"id": "", "object": "", "created": 0, "model": "", "choices": [],
               "prompt_filter_results": _prompt_filter()}  # fmt: skip
    for place in range(len(script.lines)):
        opening = {"index": place, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        yield {**head, "choices": [opening], **no_usage}
    for delta in deltas(script):
        choice: dict[str, Any] = {
            "index": delta.choice,
            "delta": _delta(delta),
            "finish_reason": delta.finish,
        }
        if body.get("logprobs") and delta.text:
            choice["logprobs"] = _logprobs((delta.text,))
        if dialect.filters:
            choice["content_filter_results"] = FILTERED if delta.text else {}
        if dialect.usage_in_choice and delta.finish:
            choice["usage"] = usage(script)
        yield {**head, "choices": [choice], **no_usage}
    if wants_usage and not dialect.usage_in_choice:
        yield {**head, "choices": [], "usage": usage(script)}


def _events(call: Call, chunks: list[dict[str, Any]], dialect: Dialect) -> Events:
    refused = Refusal(call.faults.error_frame or 500, "simulated error inside the stream")
    broken = sse.data(dialect.error(refused, call.request_id))
    return Events(sse.spoil([*map(sse.data, chunks), sse.DONE], call.faults, broken))


def completions(call: Call, dialect: Dialect) -> Answer:
    """The older `completions` (Call, Dialect): Answer."""
    body = call.json()
    model = model_of(body, dialect)
    prompt = body.get("prompt")
    if not isinstance(prompt, str | list) or not prompt:
        raise bad("you must provide a prompt parameter", "prompt")
    _check_scalars(body)
    dialect.check(call, body)
    script = perform(ask(call, body, [{"role": "user", "content": text_of(prompt)}], dialect))
    head = {"id": f"cmpl-{call.request_id}", "object": "text_completion", "created": CREATED, "model": model}
    if not body.get("stream"):
        choices = [
            {"index": place, "text": line.text, "logprobs": None, "finish_reason": line.finish}
            for place, line in enumerate(script.lines)
        ]
        return answer({**head, "choices": choices, "usage": usage(script)})
    chunks: list[dict[str, Any]] = [
        {
            **head,
            "choices": [{"index": d.choice, "text": d.text, "logprobs": None, "finish_reason": d.finish}],
        }
        for d in deltas(script)
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage(script)})
    return _events(call, chunks, dialect)
