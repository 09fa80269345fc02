"""A stream of the Responses API judged and put together again, as a client would.

Source: OpenAI API reference, "Streaming", 2026-11-30, and what openai's SDKs and Codex need.
"""

import json
from typing import Any

from .sse_reference import parse

TERMINAL = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
CHANGES = ("status", "output", "usage", "error", "incomplete_details")
PREFIXES = {
    "reasoning": "rs_", "message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_",
    "local_shell_call": "lsh_", "shell_call": "sh_", "apply_patch_call": "apc_",
}  # fmt: skip
PARTS = {"response.output_text": "text", "response.refusal": "refusal", "response.reasoning_text": "text"}
ARGUMENTS = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The stream's events; asserts how each is written."""
    events = []
    for data, name, _ in parse(stream):
        if not data:
            continue
        event = json.loads(data)
        assert event["type"] == name.decode(), "`event:` is not the type"
        events.append(event)
    return events


def check(stream: bytes) -> dict[str, Any]:
    """The last event's response; asserts the rules of the stream, and that its deltas make this response."""
    events = events_of(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event["type"] for event in events if event["type"] in TERMINAL] == [events[-1]["type"]]
    response = events[-1]["response"]
    assert response["status"] == TERMINAL[events[-1]["type"]]
    body = events[2:-1]
    for event in (events[0], events[1]):
        told = event["response"]
        assert (told["status"], told["output"], told["usage"]) == ("in_progress", [], None)
        assert all(told[k] == response[k] for k in told if k not in CHANGES)
    if response["status"] == "failed":
        assert body.pop()["type"] == "error"
        made, rest = _items(body)
        assert response["output"][: len(made)] == made
        assert len(response["output"]) <= len(made) + bool(rest)
    else:
        made, rest = _items(body)
        assert not rest, "an item is not done"
        assert response["output"] == made
    return dict(response)


def _items(events: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """The items that are done, and the events of one that is not."""
    items: list[Any] = []
    while events:
        end = next((i for i, e in enumerate(events) if e["type"] == "response.output_item.done"), None)
        if end is None:
            assert events[0]["type"] == "response.output_item.added"
            return items, events
        items.append(_item(events[: end + 1], len(items)))
        events = events[end + 1 :]
    return items, []


def _item(events: list[dict[str, Any]], place: int) -> dict[str, Any]:
    first, *middle, last = events
    assert first["type"] == "response.output_item.added"
    item = dict(last["item"])
    assert first["item"]["id"] == item["id"]
    assert item["id"].startswith(PREFIXES[item["type"]])
    assert first["item"]["status"] == "in_progress"
    assert item["status"] in ("completed", "incomplete")
    assert all(event["output_index"] == place for event in events), "items overlap"
    assert all(event["item_id"] == item["id"] for event in middle)
    if not middle:
        assert item["type"] in ("local_shell_call", "shell_call", "apply_patch_call")
        return item
    kinds = {event["type"].rpartition(".")[0] for event in middle}
    if arguments := kinds & ARGUMENTS.keys():
        [kind] = arguments
        assert kinds == {kind}
        *deltas, done = middle
        member = ARGUMENTS[kind]
        assert first["item"][member] == ""
        assert all(event["type"] == f"{kind}.delta" and event["delta"] for event in deltas)
        assert done["type"] == f"{kind}.done"
        assert "".join(event["delta"] for event in deltas) == done[member] == item[member]
        return item
    assert first["item"]["content"] == []
    added, *deltas, done, over = middle
    [part] = item["content"]
    assert (added["type"], over["type"]) == ("response.content_part.added", "response.content_part.done")
    [kind] = {k for k in kinds if k in PARTS}
    member = PARTS[kind]
    assert added["part"] == {
        **part,
        member: "",
        **(
            {"annotations": [], "logprobs": []}
            if kind.endswith("text") and member in part and part["type"] == "output_text"
            else {}
        ),
    }
    notes = [event for event in deltas if event["type"] == "response.output_text.annotation.added"]
    deltas = [event for event in deltas if event not in notes]
    assert deltas, "an empty item"
    assert all(event["type"] == f"{kind}.delta" and event["delta"] for event in deltas)
    assert done["type"] == f"{kind}.done"
    assert "".join(event["delta"] for event in deltas) == done[member] == part[member] == over["part"][member]
    assert [event["annotation"] for event in notes] == part.get("annotations", [])
    assert all(event["content_index"] == 0 for event in middle)
    return item
