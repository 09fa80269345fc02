"""Bedrock's binary streams through the core: whole, byte by byte, cut at every place; damaged, cut off, refused."""

import json
from typing import Any
import zlib

import pytest

from tests.unit.exchanges import CHAT, HEAD, STREAMED, VIA
from tests.unit.player import CLIENT_NOISE, Play, config_of, cut
from tests.unit.vectors import dump

CONFIG = config_of({"providers": [{"id": "p", "type": "bedrock", "awsRegion": "us-east-1", "apiTokens": ["ABSK"]}]})
KIND = {":status": "200", "content-type": "application/vnd.amazon.eventstream"}
USAGE = {"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, "metrics": {"latencyMs": 1}}


def message(payload: dict[str, Any], **headers: str) -> bytes:
    """One message of the encoding: lengths, their checksum, headers of type string, payload, checksum."""
    named = b"".join(
        bytes([len(name)]) + name.encode() + b"\7" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in ((f":{name.replace('_', '-')}", value) for name, value in headers.items())
    )
    body = json.dumps(payload, ensure_ascii=False).encode()
    prelude = (16 + len(named) + len(body)).to_bytes(4, "big") + len(named).to_bytes(4, "big")
    prelude += zlib.crc32(prelude).to_bytes(4, "big")
    return prelude + named + body + zlib.crc32(prelude + named + body).to_bytes(4, "big")


def event(kind: str, payload: dict[str, Any]) -> bytes:
    return message(payload, message_type="event", event_type=kind, content_type="application/json")


BEGUN = event("messageStart", {"role": "assistant"})
TEXT = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "你好 👋"}})
ANSWER = b"".join(
    [
        BEGUN,
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "想"}}}),
        TEXT,
        event("somethingNew", {"x": 1}),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}}),
        event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"a":'}}}),
        event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "1}"}}}),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        event("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t2", "name": "g"}}}),
        event("contentBlockStop", {"contentBlockIndex": 2}),
        event("messageStop", {"stopReason": "tool_use"}),
        event("metadata", USAGE),
    ]
)


def told(chunks: list[bytes]) -> list[Any]:
    """The events that a client sees."""
    play = Play(CONFIG)
    play.request({**HEAD, **CLIENT_NOISE}, dump({**STREAMED, "stream_options": {"include_usage": True}}), {})
    play.response(KIND, chunks, attributes=VIA)
    assert play.seen.client["content-type"] == "text/event-stream"
    events = b"".join(play.seen.outputs).decode().split("\n\n")
    return [json.loads(data) if (data := one.removeprefix("data: ")) != "[DONE]" else data for one in events if one]


def test_a_stream_is_the_same_however_it_was_cut() -> None:
    whole = told([ANSWER, b""])
    assert [one["choices"][0]["delta"] for one in whole[:-2]] == [
        {"role": "assistant", "reasoning_content": "想"},
        {"content": "你好 👋"},
        {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [{"index": 1, "id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert whole[-3]["choices"][0]["finish_reason"] == "tool_calls"
    assert whole[-2]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert whole[-1] == "[DONE]"
    assert told([*(ANSWER[i : i + 1] for i in range(len(ANSWER))), b""]) == whole
    for place in range(1, len(ANSWER), 7):
        assert told([*cut(ANSWER, [place]), b""]) == whole


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (BEGUN + TEXT, "stream_truncated"),
        (BEGUN + TEXT + TEXT[:20], "stream_truncated"),
        (BEGUN + TEXT + TEXT[:5], "stream_truncated"),
        (BEGUN + TEXT + TEXT[:-1] + b"\0", "bad_upstream_response"),
        (
            BEGUN + TEXT + message({"message": "slow"}, message_type="exception", exception_type="throttlingException"),
            "throttlingException",
        ),
        (BEGUN + TEXT + message({}, message_type="error", error_code="Broken", error_message="oh"), "Broken"),
        (BEGUN + TEXT + event("messageStop", {"stopReason": "malformed_tool_use"}), "malformed_tool_use"),
    ],
    ids=["no end", "within a message", "within its lengths", "damaged", "an exception", "an error", "a broken model"],
)
def test_a_stream_that_is_not_whole_ends_with_an_error(stream: bytes, code: str) -> None:
    events = told([stream, b""])
    assert events[0]["choices"][0]["delta"]["content"] == "你好 👋"
    assert events[-1]["error"]["code"] == code


def test_an_error_has_the_words_of_its_header() -> None:
    events = told([BEGUN + message({}, message_type="error", error_code="Broken", error_message='it is "慢"'), b""])
    assert events[-1]["error"]["message"] == 'it is "慢"'


def test_counts_that_never_come_are_not_waited_for() -> None:
    events = told([BEGUN + TEXT + event("messageStop", {"stopReason": "end_turn"}), b""])
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1] == "[DONE]"


def test_a_whole_answer_is_asked_whole() -> None:
    play = Play(CONFIG)
    play.request({**HEAD, **CLIENT_NOISE}, dump(CHAT), {})
    assert play.seen.upstream is not None
    assert play.seen.upstream[":path"] == "/model/m/converse"
