"""A stream of chat chunks judged, and told shortly; an OpenAI error judged.

Source: OpenAI API reference, "Chat completions", "Streaming", "Error codes", 2026-11-30; what SDKs and NextChat need.
"""

from collections.abc import Iterator, Mapping
import json
from typing import Any

from .player import NOW
from .sse_reference import parse

REQUEST_ID = "4a2e7b1c-0000-9f9f-8000-123456789abc"


def check_error(document: Any, want: Mapping[str, Any]) -> None:
    assert list(document) == ["error"], document
    error = document["error"]
    assert {"message", "type", "param", "code"} <= error.keys(), error
    assert isinstance(error["message"], str), error
    assert error["message"], error
    for name, value in want.items():
        assert error.get(name) == value, f"{name}: {error.get(name)!r}, expected {value!r} in {error}"


def told(stream: bytes, model: str) -> list[Any]:
    """A `chat.completion.chunk` stream told shortly; asserts what holds for every one of them."""
    text = stream.decode()
    assert not stream or text.endswith("\n\n")
    assert all(line == "" or line.startswith("data: ") for line in text.split("\n")), f"vendor lines leak: {text}"
    out: list[Any] = []
    spoken: set[int] = set()
    finished: set[int] = set()
    calls: set[tuple[int, int]] = set()
    constant = None
    for data, _, _ in parse(stream):
        assert "DONE" not in out, "something follows [DONE]"
        assert not (out and "error" in out[-1]), "something follows the error"
        if data == b"[DONE]":
            out.append("DONE")
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            check_error(chunk, {})
            out.append({"error": {k: v for k, v in chunk["error"].items() if k in ("code", "type")}})
            continue
        assert chunk["object"] == "chat.completion.chunk"
        head = (chunk["id"], chunk["created"], chunk["model"])
        constant = constant or head
        assert head == constant, "id, created, model change within the stream"
        assert head == (f"chatcmpl-{REQUEST_ID}", NOW, model), head
        if not chunk["choices"]:
            out.append({"usage": chunk["usage"]})
            continue
        assert chunk.get("usage") is None, "usage stands in one final chunk only"
        for choice in chunk["choices"]:
            out.extend(_told(choice, spoken, finished, calls))
    return out


def _told(
    choice: Mapping[str, Any], spoken: set[int], finished: set[int], calls: set[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    index, delta = choice["index"], dict(choice["delta"])
    assert index not in finished, "a choice goes on behind its finish_reason"
    if index in spoken:
        assert "role" not in delta, "the role comes again"
    elif not spoken:
        assert delta.get("role") == "assistant", "the first chunk has no role"
    first = index not in spoken
    spoken.add(index)
    delta.pop("role", None)
    place = {"choice": index} if index else {}
    if choice["finish_reason"] is not None:
        assert delta == {}, "the finish chunk has a delta"
        finished.add(index)
        yield place | {"finish": choice["finish_reason"]}
        return
    for name in ("reasoning_content", "content"):
        value = delta.pop(name, None)
        if value:
            yield place | {name: value}
        else:
            assert first or value is None, f"an empty {name}"
    if parts := delta.pop("tool_calls", None):
        assert len(parts) == 1, "several calls in one chunk"
        key = (index, parts[0]["index"])
        if key in calls:
            assert parts[0].keys() <= {"index", "function"}, f"id or type again: {parts[0]}"
            assert "name" not in parts[0]["function"], "the name comes again"
        else:
            assert parts[0]["id"], "a call without an id"
            assert parts[0]["type"] == "function", "a call without a type"
            assert parts[0]["function"]["name"], "a call without a name"
        calls.add(key)
        yield place | {"tool_calls": parts}
    assert {k: v for k, v in delta.items() if v is not None} == {}, f"unknown in a delta: {delta}"
    extra = {k: v for k, v in choice.items() if k not in ("index", "delta", "finish_reason") and v is not None}
    if extra:
        yield place | extra


def joined(entries: list[Any]) -> list[Any]:
    """Neighbouring texts of one kind as one: where the contract does not say how they are cut."""
    out: list[Any] = []
    for entry in entries:
        kinds = [k for k in ("content", "reasoning_content") if k in entry]
        if kinds and out and isinstance(out[-1], dict) and out[-1].keys() == entry.keys():
            out[-1][kinds[0]] += entry[kinds[0]]
        else:
            out.append(entry)
    return out
