"""A stream of Anthropic's Messages API judged and put together again, as a client would.

Source: Anthropic API reference, "Streaming Messages", 2026-11-30, and what its SDKs and Claude Code need.
"""

import json
from typing import Any

from .sse_reference import parse

COUNTS = {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
STARTS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The stream's events but pings; asserts how each is written."""
    assert not stream or stream.endswith(b"\n\n")
    events = []
    for data, name, comments in parse(stream):
        assert data, "an event without data"
        assert not comments
        event = json.loads(data)
        assert event["type"] == name.decode(), "`event:` is not the type"
        events.append(event)
    if events and events[0]["type"] == "message_start":
        assert events[1:2] == [{"type": "ping"}], "no ping behind the start"
    return [event for event in events if event["type"] != "ping"]


def check(stream: bytes) -> dict[str, Any]:
    """The message that a stream makes, with an `error` member where one ends it; asserts the rules of the stream."""
    events = events_of(stream)
    error = events.pop()["error"] if events and events[-1]["type"] == "error" else None
    if not events:
        return {"error": error}
    first, *events = events
    assert first["type"] == "message_start"
    message = first["message"]
    assert message["content"] == []
    assert message["stop_reason"] is None
    assert message["stop_sequence"] is None
    _check_usage(message["usage"])
    if error is None:
        assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
        assert events[-1] == {"type": "message_stop"}
        told = events[-2]
        message.update(told["delta"])
        message["usage"] = told["usage"]
        _check_usage(told["usage"])
        assert message["stop_reason"] is not None, "a null reason at the end"
        events = events[:-2]
    message["content"], open_block = _blocks(events)
    assert error is not None or open_block is None, "a block is not closed"
    return message if error is None else {**message, "error": error}


def _check_usage(usage: dict[str, Any]) -> None:
    assert usage.keys() - {"output_tokens_details"} == COUNTS
    assert all(type(usage[name]) is int and usage[name] >= 0 for name in COUNTS)


def _blocks(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    done: list[dict[str, Any]] = []
    block: dict[str, Any] | None = None
    pieces: list[str] = []
    for event in events:
        assert event["index"] == len(done), "indices rise by one"
        match event["type"]:
            case "content_block_start":
                assert block is None, "two blocks are open"
                block, pieces = dict(event["content_block"]), []
                if block["type"] == "tool_use":
                    assert block["input"] == {}
                    assert block["id"]
                    assert block["id"] not in [known.get("id") for known in done], "two calls have one id"
                else:
                    assert block == STARTS[block["type"]]
            case "content_block_delta":
                assert block is not None, "a delta for no block"
                kind, member = DELTAS[event["delta"]["type"]]
                assert block["type"] == kind
                assert event["delta"].keys() == {"type", member}
                assert event["delta"][member], "an empty delta"
                assert not block.get("signature"), "something follows the signature"
                if kind == "tool_use":
                    pieces.append(event["delta"][member])
                else:
                    block[member] += event["delta"][member]
            case "content_block_stop":
                assert block is not None
                assert pieces or block.get("text") or block.get("thinking"), "an empty block"
                if block["type"] == "tool_use":
                    block["input"] = _json("".join(pieces))
                if block["type"] == "thinking":
                    assert block["signature"], "thinking without a signature"
                done.append(block)
                block = None
            case other:
                raise AssertionError(other)
    return done, block


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"cut": text}
