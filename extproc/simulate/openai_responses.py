"""The Responses API: whole answers, and the typed events of its stream.

Rule: same questions and scripts as chat, another form. Source: OpenAI API reference, "Responses", 2026.
"""

from collections.abc import Iterator
from typing import Any

from extproc.simulate import sse
from extproc.simulate.call import CREATED, Answer, Call, Events, answer
from extproc.simulate.dialect import Dialect
from extproc.simulate.openai_chat import ask, bad, model_of
from extproc.simulate.refusal import Refusal
from extproc.simulate.script import Script, ToolCall, perform


def _messages(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if isinstance(given, list) and given and all(isinstance(item, dict) for item in given):
        return [
            {"role": "tool", "content": item.get("output")} if item.get("type") == "function_call_output" else item
            for item in given
        ]
    raise bad("Missing required parameter: 'input'.", "input", "missing_required_parameter")


def _text_item(call: Call, text: str, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if text else []
    return {
        "id": f"msg_{call.request_id}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _call_item(tool: ToolCall, arguments: str, status: str) -> dict[str, Any]:
    return {
        "id": f"fc_{tool.id}",
        "type": "function_call",
        "call_id": tool.id,
        "name": tool.name,
        "arguments": arguments,
        "status": status,
    }


def _items(call: Call, script: Script) -> list[dict[str, Any]]:
    line = script.lines[0]
    if line.calls:
        return [_call_item(tool, tool.arguments, "completed") for tool in line.calls]
    return [_text_item(call, line.text, "completed")]


def _response(call: Call, body: dict[str, Any], status: str, script: Script | None) -> dict[str, Any]:
    counted = None
    if script is not None:
        counted = {
            "input_tokens": script.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": script.tokens,
            "output_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
            "total_tokens": script.prompt_tokens + script.tokens,
        }
    return {
        "id": f"resp_{call.request_id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": body.get("model"),
        "output": _items(call, script) if script is not None else [],
        "parallel_tool_calls": True,
        "temperature": body.get("temperature", 1.0),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "metadata": body.get("metadata", {}),
        "usage": counted,
    }


def _call_events(place: int, tool: ToolCall) -> Iterator[dict[str, Any]]:
    at = {"item_id": f"fc_{tool.id}", "output_index": place}
    item = _call_item(tool, "", "in_progress")
    yield {"type": "response.output_item.added", "output_index": place, "item": item}
    for piece in tool.pieces:
        yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
    yield {
        "type": "response.function_call_arguments.done",
        **at,
        "name": tool.name,
        "arguments": tool.arguments,
    }
    item = _call_item(tool, tool.arguments, "completed")
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _text_events(call: Call, script: Script) -> Iterator[dict[str, Any]]:
    line = script.lines[0]
    item, at = _text_item(call, line.text, "completed"), {"output_index": 0}
    inside = {**at, "item_id": item["id"], "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield {"type": "response.output_item.added", **at, "item": _text_item(call, "", "in_progress")}
    yield {"type": "response.content_part.added", **inside, "part": empty}
    for piece in line.pieces:
        yield {"type": "response.output_text.delta", **inside, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **inside, "text": line.text, "logprobs": []}
    yield {"type": "response.content_part.done", **inside, "part": {**empty, "text": line.text}}
    yield {"type": "response.output_item.done", **at, "item": item}


def _events(call: Call, body: dict[str, Any], script: Script) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": _response(call, body, "in_progress", None)}
    yield {"type": "response.in_progress", "response": _response(call, body, "in_progress", None)}
    if script.lines[0].calls:
        for place, tool in enumerate(script.lines[0].calls):
            yield from _call_events(place, tool)
    else:
        yield from _text_events(call, script)
    yield {"type": "response.completed", "response": _response(call, body, "completed", script)}


def responses(call: Call, dialect: Dialect) -> Answer:
    """`POST responses` (Call, Dialect): Answer."""
    body = call.json()
    model_of(body, dialect)
    asked = ask(
        call,
        {**body, "n": 1, "max_tokens": body.get("max_output_tokens")},
        _messages(body.get("input")),
        dialect,
    )
    script = perform(asked)
    if not body.get("stream"):
        return answer(_response(call, body, "completed", script))
    events = [
        sse.named(event["type"], {**event, "sequence_number": number})
        for number, event in enumerate(_events(call, body, script))
    ]
    refused = dialect.error(Refusal(call.faults.error_frame or 500, "simulated error"), call.request_id)
    failed = {"type": "error", **refused.get("error", {}), "sequence_number": len(events)}
    return Events(sse.spoil(events, call.faults, sse.named("error", failed)))
