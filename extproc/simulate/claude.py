"""Anthropic's Messages API, at its own host and at vendors that have it too: checks, whole answers and streams.

Rule: written from Anthropic's documents alone. What they say is refused, is refused here in their words. Source:
Anthropic API reference and "Migrating to Claude 5" pages, `anthropic` 2.14.0's types, read 2026-11-30.
"""

from collections.abc import Iterator
import json
from typing import Any

from extproc.simulate import claude_checks, sse
from extproc.simulate.call import Answer, Call, Events, answer
from extproc.simulate.claude_checks import refuse
from extproc.simulate.conversation import count_tokens, last_user_text, matches, scripted, stops
from extproc.simulate.faults import without_markers
from extproc.simulate.refusal import Refusal
from extproc.simulate.script import Asked, Line, Script, deltas, perform

Json = dict[str, Any]

KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip
MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5")
SIGNED = "c2ltdWxhdGVkIHNpZ25hdHVyZQ=="
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error(refusal: Refusal, request_id: str) -> Json:
    """A refusal in Anthropic's shape: dict."""
    kind = refusal.kind or KINDS.get(refusal.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": f"req_{request_id}"}


def handle(call: Call) -> Answer:
    """Answer one request (Call) at Anthropic: Answer, or Refusal."""
    path = call.path.removeprefix("/v1/")
    if "anthropic-version" not in call.headers:
        raise refuse("anthropic-version: header is required")
    if call.method == "GET" and path.split("/")[0] == "models":
        return _models(path)
    return messages(call, path, own=True)


def elsewhere(call: Call) -> Answer:
    """Answer one request (Call) at another vendor's Messages endpoint, which has nothing of Anthropic's betas: Answer,
    or Refusal."""
    if betas := call.headers.get("anthropic-beta"):
        raise refuse(f"anthropic-beta: unexpected value(s) `{betas}`")
    if "beta" in call.query:
        raise refuse("beta: there is no such parameter")
    claude_checks.check_elsewhere(call.json(), call.vendor)
    return messages(call, call.path[call.path.rindex("/messages") + 1 :], own=False)


def _models(path: str) -> Answer:
    listed = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-06-01T00:00:00Z"} for name in MODELS
    ]
    if path == "models":
        return answer({"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
    for one in listed:
        if path == f"models/{one['id']}":
            return answer(one)
    raise Refusal(404, f"model: {path.partition('/')[2]}")


def messages(call: Call, path: str, *, own: bool) -> Answer:
    """`POST messages` and `messages/count_tokens` (Call, the path behind `/v1/`): Answer, or Refusal. `own`: at
    Anthropic itself, which knows its models."""
    if call.method != "POST" or path not in ("messages", "messages/count_tokens"):
        raise Refusal(404, "Not found")
    body = call.json()
    counting = path.endswith("count_tokens")
    if own and not str(body.get("model")).startswith("claude"):
        raise Refusal(404, f"model: {body.get('model')}")
    claude_checks.check(body, own=own, counting=counting)
    turns = read(body)
    call.heed(last_user_text(turns))
    if counting:
        return answer({"input_tokens": count_tokens(turns)})
    return speak(call, body, turns, str(body["model"]))


def speak(call: Call, body: Json, turns: list[Json], model: str) -> Answer:
    """The answer to a checked `body` (dict) whose turns are `turns`: Answer."""
    script = perform(_asked(call, body, turns))
    if body.get("stream"):
        return _events(call, body, script, model)
    line = script.lines[0]
    content: list[Json] = []
    if line.thinking:
        content.append({"type": "thinking", "thinking": line.reasoning, "signature": SIGNED})
    if line.text:
        content.append({"type": "text", "text": line.text})
    content += [
        {"type": "tool_use", "id": use.id.replace("call_", "toolu_"), "name": use.name,
         "input": json.loads(use.arguments), "caller": {"type": "direct"}}
        for use in line.calls
    ]  # fmt: skip
    reason, matched = _reason(line, body)
    return answer({**_head(call, model), "content": content, "stop_reason": reason, "stop_sequence": matched,
                   "usage": _usage(script)})  # fmt: skip


def _head(call: Call, model: str) -> Json:
    return {"id": f"msg_{call.request_id[:24]}", "type": "message", "role": "assistant", "model": model}


def _usage(script: Script) -> Json:
    return {
        "input_tokens": script.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": script.tokens,
        "service_tier": "standard",
    }


def _reason(line: Line, body: Json) -> tuple[str, str | None]:
    found = next((stop for stop in stops(body.get("stop_sequences")) if stop in str(body.get("_said"))), None)
    return ("stop_sequence", found) if found and line.finish == "stop" else (_STOPS[line.finish], None)


def read(body: Json) -> list[Json]:
    """The turns of a Messages body as chat messages, for the script: list of dict."""
    turns: list[Json] = []
    for turn in body["messages"]:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = [block for block in blocks if block["type"] == "tool_result"]
        turns += ({"role": "tool", "content": block.get("content") or ""} for block in results)
        said = [
            {"type": "image_url"} if block["type"] == "image" else block
            for block in blocks
            if block["type"] in ("text", "image")
        ]
        if said or not results:
            turns.append({"role": turn["role"], "content": said})
    return turns


def _asked(call: Call, body: Json, turns: list[Json]) -> Asked:
    choice = body.get("tool_choice") or {}
    kinds: Json = {"any": "required", "tool": {"name": choice.get("name")}}
    text = without_markers(last_user_text(turns))
    thinking = body.get("thinking") or {}
    form = (body.get("output_config") or {}).get("format") or {}
    body["_said"] = text
    said = [turn for turn in turns if turn["role"] == "tool"]
    return Asked(
        name="Claude",
        text=text,
        prompt_tokens=count_tokens(turns),
        images=sum(1 for turn in turns for part in turn["content"] if part == {"type": "image_url"}),
        tool_result=_text(said[-1]["content"]) if said and turns[-1]["role"] == "tool" else None,
        tools=tuple({**tool, "parameters": tool["input_schema"]} for tool in body.get("tools") or ()),
        tool_choice=kinds.get(str(choice.get("type"))) or choice.get("type"),
        stop=stops(body.get("stop_sequences")),
        max_tokens=body["max_tokens"],
        thinking=thinking.get("type") in ("enabled", "adaptive") or matches(body["model"], claude_checks.ALWAYS),
        schema=form.get("schema"),
        chunks=call.faults.tokens,
        big=call.faults.big,
        scripted=scripted(turns),
        said=call.character("Claude", text),
    )


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


# Streams


def _events(call: Call, body: Json, script: Script, model: str) -> Events:
    written = [sse.named(event["type"], event) for event in _spoken(call, body, script, model)]
    broken = error(Refusal(call.faults.error_frame or 529, "simulated error inside the stream"), call.request_id)
    return Events(sse.spoil(written, call.faults, sse.named("error", broken)))


def _spoken(call: Call, body: Json, script: Script, model: str) -> Iterator[Json]:
    line, usage = script.lines[0], _usage(script)
    start = {**_head(call, model), "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**start, "usage": {**usage, "output_tokens": 1}}}
    yield {"type": "ping"}
    index, open_as = -1, ""
    for step in deltas(script):
        if step.finish is not None:
            continue
        kind = "thinking" if step.thinking else "text"
        block: Json = {"type": "text", "text": ""}
        piece: Json = {"type": "text_delta", "text": step.text}
        if step.thinking:
            block = {"type": "thinking", "thinking": "", "signature": ""}
            piece = {"type": "thinking_delta", "thinking": step.thinking}
        elif step.call is not None:
            place, use, part, _ = step.call
            kind = f"call {place}"
            block = {"type": "tool_use", "id": use.id.replace("call_", "toolu_"), "name": use.name, "input": {}}
            piece = {"type": "input_json_delta", "partial_json": part}
        if kind != open_as:
            yield from _closed(index, open_as)
            index, open_as = index + 1, kind
            yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_delta", "index": index, "delta": piece}
    yield from _closed(index, open_as)
    reason, matched = _reason(line, body)
    ended = {"stop_reason": reason, "stop_sequence": matched}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def _closed(index: int, open_as: str) -> Iterator[Json]:
    if open_as == "thinking":
        signed = {"type": "signature_delta", "signature": SIGNED}
        yield {"type": "content_block_delta", "index": index, "delta": signed}
    if open_as:
        yield {"type": "content_block_stop", "index": index}
