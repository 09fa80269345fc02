"""What is only watched is never changed; what is translated is told by its body, whatever its content-type says."""

from collections.abc import Mapping
import gzip
import json
from typing import Any

import pytest

from tests.unit.exchanges import HEAD, JSON, LIMIT, SSE, STREAMED, VIA
from tests.unit.player import Play, config_of
from tests.unit.vectors import dump

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
RESPONSES = {"model": "m", "input": "hi", "stream": True}
OPENAI = {"type": "openai", "apiTokens": ["sk-o"]}
COUNTED = {**OPENAI, "recordUsage": True}
MAPPED = {**OPENAI, "modelMapping": {"m": "v"}}
QWEN = {"type": "qwen", "apiTokens": ["sk-q"]}
ORIGINAL = {**QWEN, "protocol": "original", "recordUsage": True}
NATIVE = "/api/v1/services/aigc/text-generation/generation"
ZSTD = {"content-encoding": "zstd"}
GZIP = {"content-encoding": "gzip"}
FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
LONG = b"data: " + b"x" * (LIMIT + 9)


def sent(provider: Mapping[str, Any], body: Mapping[str, Any], path: str = HEAD[":path"]) -> Play:
    play = Play(config_of({"maxEventBytes": LIMIT, "maxBodyBytes": LIMIT, "providers": [{"id": "p", **provider}]}))
    play.request({**HEAD, ":path": path}, dump(body), {})
    assert play.seen.upstream is not None
    return play


@pytest.mark.parametrize("provider", [COUNTED, ORIGINAL], ids=["passed", "original"])
@pytest.mark.parametrize(
    ("head", "chunks"),
    [
        pytest.param(SSE, [FRAME, LONG[:70000], LONG[70000:], b"\n\n", FRAME], id="an event too long"),
        pytest.param(SSE, [FRAME + LONG + b"\n\n" + FRAME[:9], FRAME[9:]], id="an event too long, at once"),
        pytest.param(SSE, [FRAME + LONG], id="an event too long, the last"),
        pytest.param(SSE, [FRAME, b"data: {oops\n\n", b"data: [DONE]\n\n"], id="an event that is no JSON"),
        pytest.param(SSE | ZSTD, [b"\x28\xb5\x2f\xfd", b"abc"], id="zstd stream"),
        pytest.param(JSON | ZSTD, [b"\x28\xb5\x2f\xfdabc"], id="zstd"),
        pytest.param(JSON | {"content-encoding": "br"}, [b"abc"], id="br"),
        pytest.param(SSE | GZIP, [gzip.compress(FRAME)[:-9], b"damaged"], id="damaged gzip stream"),
        pytest.param(JSON | GZIP, [b"no gzip"], id="damaged gzip"),
        pytest.param(JSON, [b"[" + b"{}," * 400_000, b"{}]"], id="many values, and long"),
        pytest.param(JSON, [b"<html>"], id="no JSON"),
        pytest.param(SSE, [b'{"usage":\n\n1}'], id="JSON as a stream"),
        pytest.param(JSON, [FRAME], id="a stream as JSON"),
    ],
)
def test_what_cannot_be_read_passes(provider: dict[str, Any], head: dict[str, str], chunks: list[bytes]) -> None:
    if provider is ORIGINAL:
        play = sent(provider, {"model": "m", "input": {"messages": []}}, NATIVE)
    else:
        play = sent(provider, STREAMED if head["content-type"] == SSE["content-type"] else CHAT)
    play.response(head, chunks, attributes=VIA)
    assert play.seen.client_body == b"".join(chunks)
    assert play.seen.status == 200
    assert play.exchange.record.error is None
    assert play.exchange.record.usage.total_tokens is None or play.exchange.record.usage.estimated


def test_what_is_cut_is_still_told() -> None:
    play = sent(COUNTED, STREAMED)
    play.response(SSE, [FRAME], attributes=VIA)
    assert play.seen.client_body.startswith(FRAME)
    assert play.exchange.record.error == "stream_truncated"


WHOLE = {"id": "c", "object": "chat.completion", "model": "v", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "你"}, "finish_reason": "stop"}
]}  # fmt: skip
NATIVE_WHOLE = {"request_id": "r", "output": {"choices": WHOLE["choices"]}}


@pytest.mark.parametrize(("provider", "answer"), [(MAPPED, WHOLE), (QWEN, NATIVE_WHOLE)], ids=["mapped", "native"])
def test_json_under_the_type_of_a_stream_is_converted(provider: dict[str, Any], answer: dict[str, Any]) -> None:
    play = sent(provider, CHAT)
    play.response(SSE, [dump(answer)], attributes=VIA)
    got = json.loads(play.seen.client_body)
    assert (got["model"], got["choices"][0]["message"]["content"]) == ("m", "你")
    assert play.seen.client["content-type"] == "application/json"


@pytest.mark.parametrize(("provider", "answer"), [(MAPPED, WHOLE), (QWEN, NATIVE_WHOLE)], ids=["mapped", "native"])
@pytest.mark.parametrize("space", ["", "\n\n", "\ufeff"], ids=["bare", "lines", "BOM"])
def test_json_where_a_stream_was_asked_is_an_error(provider: dict[str, Any], answer: Any, space: str) -> None:
    play = sent(provider, STREAMED)
    text = space.encode() + json.dumps(answer, indent=1).replace("\n", "\n\n").encode()
    play.response(SSE, [text[:30], text[30:]], attributes=VIA)
    assert b"JSON document" in play.seen.client_body
    assert b'"v"' not in play.seen.client_body
    assert b"choices" not in play.seen.client_body


def test_a_stream_under_the_type_of_json_is_gathered() -> None:
    play = sent(QWEN, CHAT)
    frame = b"id:1\nevent:result\ndata:" + dump(NATIVE_WHOLE) + b"\n\n"
    play.response(JSON, [frame], attributes=VIA)
    assert json.loads(play.seen.client_body)["choices"][0]["message"]["content"] == "你"


def event(type: str, **members: Any) -> bytes:
    return b"event: " + type.encode() + b"\ndata: " + dump({"type": type, **members}) + b"\n\n"


BEGUN = event("response.created", response={"id": "resp_1", "model": "v", "status": "in_progress"}, sequence_number=0)


@pytest.mark.parametrize("provider", [MAPPED, COUNTED], ids=["mapped", "counted"])
@pytest.mark.parametrize("last", [b"", b"data: [DONE]\n\n"], ids=["cut", "done"])
def test_responses_that_end_early_fail(provider: dict[str, Any], last: bytes) -> None:
    play = sent(provider, RESPONSES, "/v1/responses")
    delta = event("response.output_text.delta", delta="a", sequence_number=4)
    play.response(SSE, [BEGUN + delta, last], attributes=VIA)
    blocks = play.seen.client_body.split(b"\n\n")[:-1]
    error, failed = (json.loads(block.partition(b"data: ")[2]) for block in blocks[-2:])
    assert [block.split(b"\n")[0] for block in blocks[-2:]] == [b"event: error", b"event: response.failed"]
    assert (error["type"], error["code"], error["sequence_number"]) == ("error", "stream_truncated", 5)
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 6)
    assert failed["response"]["id"] == "resp_1"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] == "server_error"
    assert failed["response"]["model"] == ("m" if provider is MAPPED else "v")


@pytest.mark.parametrize("type", ["response.completed", "response.incomplete", "response.failed", "error"])
def test_responses_that_end_pass(type: str) -> None:
    play = sent(COUNTED, RESPONSES, "/v1/responses")
    chunks = [BEGUN, event(type, sequence_number=1)]
    play.response(SSE, chunks, attributes=VIA)
    assert play.seen.client_body == b"".join(chunks)
