"""Hostile, broken and unlikely input: always a reply, always JSON for an error, and nothing of the vendor behind it."""

import gzip
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.terms.events import Answer, RequestBody, RequestHeaders
from tests.unit.chat_rules import check_error
from tests.unit.exchanges import CHAT, CONFIGS, FRAMES, HEAD, JSON, LIMIT, PROVIDERS, SSE, STREAMED, VIA, sent, told_by
from tests.unit.player import CLIENT_NOISE, Play, config_of, cut, exchange_of
from tests.unit.sse_reference import parse
from tests.unit.vectors import dump, frames

# Requests


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"original"}))
@pytest.mark.parametrize("depth", [1000, 100_000])
def test_absurd_nesting_is_the_clients_mistake(name: str, depth: int) -> None:
    play = Play(CONFIGS[name])
    body = b'{"model": "m", "messages": [{"role": "user", "content": "u"}], "x": ' + b"[" * depth + b"]" * depth + b"}"
    play.request(HEAD, body, {})
    if depth == 1000 and play.seen.upstream is not None:
        return  # a thousand may pass; what matters is that nothing falls over
    assert play.seen.status == 400
    check_error(json.loads(play.seen.client_body), {"type": "invalid_request_error"})


@pytest.mark.parametrize("name", ["qwen", "openai", "azure", "moonshot", "compatible"])
def test_a_body_over_the_limit_is_413(name: str) -> None:
    for length in (None, "7", "wrong"):
        play = Play(CONFIGS[name])
        body = dump({**CHAT, "pad": "x" * (1 << 20)})
        play.request({**HEAD, **({} if length is None else {"content-length": length})}, body, {})
        assert play.seen.upstream is None
        assert play.seen.status == 413
        check_error(json.loads(play.seen.client_body), {"type": "invalid_request_error"})


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = dump({**CHAT, "pad": ""})
    body = dump({**CHAT, "pad": "x" * ((1 << 20) - len(body))})
    assert len(body) == 1 << 20
    play = Play(CONFIGS["openai"])
    play.request({**HEAD, "content-length": str(len(body))}, body, {})
    assert play.seen.upstream is not None


def test_an_upload_is_not_limited() -> None:
    play = Play(CONFIGS["moonshot"])
    headers = {**HEAD, ":path": "/v1/files", "content-type": "multipart/form-data; boundary=x"}
    play.request({**headers, "content-length": str(1 << 40)}, b"--x--", {})
    assert play.seen.upstream is not None


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"original"}))
@pytest.mark.parametrize("header", ["x-ai-proxy-cluster", "x-ai-proxy-anything", "x-ai-proxy-"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/files"])
def test_a_spoofed_internal_header_never_survives(name: str, header: str, path: str) -> None:
    play = Play(CONFIGS[name])
    body = dump(CHAT) if path.endswith("completions") else None
    play.request({**HEAD, ":path": path, ":method": "POST" if body else "GET", header: "evil"}, body, {})
    assert play.seen.upstream is not None
    assert play.seen.upstream["x-ai-proxy-cluster"] == "p"
    assert "evil" not in play.seen.upstream.values()


def test_a_spoofed_internal_header_of_an_upload_never_survives() -> None:
    play = Play(CONFIGS["openai"])
    headers = {**HEAD, **CLIENT_NOISE, ":path": "/v1/files", "content-type": "multipart/form-data; boundary=x"}
    play.request(headers, b"--x--", {})
    assert play.seen.upstream is not None
    assert [h for h in play.seen.upstream if h.startswith("x-ai-proxy-")] == ["x-ai-proxy-cluster"]
    assert play.seen.upstream["x-ai-proxy-cluster"] == "p"


# Streams


@pytest.mark.parametrize(
    "broken",
    [
        {"sse": "data: {oops\n\n"},
        {"sse": "data: []\n\n"},
        {"error": {"code": "X", "message": "m", "request_id": "r"}, "status": 500},
        {"sse": "data: " + "x" * (LIMIT + 1)},
    ],
    ids=["no JSON", "no object", "error frame", "too long"],
)
@pytest.mark.parametrize("size", [7, 1 << 22])
def test_nothing_of_the_vendor_follows_an_error(broken: dict[str, Any], size: int) -> None:
    stream = frames([FRAMES[0], broken, *FRAMES[1:], {"sse": "data:[DONE]\n\n"}])
    if size < 1000 and len(stream) > LIMIT:
        size = 1 << 16
    play = sent("qwen", STREAMED)
    told_by(play, [stream[i : i + size] for i in range(0, len(stream), size)])
    events = parse(play.seen.client_body)
    assert "error" in json.loads(events[-1][0])
    assert "你" in play.seen.client_body.decode()
    assert "好" not in play.seen.client_body.decode()
    assert b"DONE" not in play.seen.client_body
    assert b'finish_reason":"stop' not in play.seen.client_body
    assert sum(b'"error"' in e[0] for e in events) == 1
    assert play.seen.broken


def test_bytes_that_are_no_text_are_an_unreadable_event() -> None:
    stream = frames(FRAMES[:1]) + b'data:{"output":{"choices":[{"message":{"content":"\xff\xfe"}}]}}\n\n'
    play = sent("qwen", STREAMED)
    told_by(play, [stream])
    check_error(json.loads(parse(play.seen.client_body)[-1][0]), {"code": "bad_upstream_response"})


@pytest.mark.parametrize("name", ["qwen", "openai", "moonshot", "compatible"])
def test_an_event_over_a_mebibyte_is_an_error(name: str) -> None:
    play = sent(name, STREAMED)
    told_by(play, [b"data: " + b"x" * 65536] + [b"x" * 65536] * 20)
    check_error(json.loads(parse(play.seen.client_body)[-1][0]), {"code": "bad_upstream_response"})
    assert b"xxx" not in play.seen.client_body


@pytest.mark.parametrize("name", ["qwen", "openai", "compatible"])
def test_gzip_rubbish_in_a_stream_is_an_error(name: str) -> None:
    play = sent(name, STREAMED)
    play.response(
        {**SSE, "content-encoding": "gzip"}, [b"\x1f\x8b\x08\0rubbish", b"more", b"data: {}\n\n"], attributes=VIA
    )
    events = parse(play.seen.client_body)
    assert len(events) == 1
    check_error(json.loads(events[0][0]), {"code": "bad_upstream_response"})


def test_a_gzip_answer_that_is_cut_short_is_502() -> None:
    whole = gzip.compress(dump({"model": "v", "choices": [], "pad": "x1y2z3" * 99}))
    play = sent("openai")
    play.response({**JSON, "content-encoding": "gzip"}, [whole[:-20]], attributes=VIA)
    assert play.seen.status == 502
    check_error(json.loads(play.seen.client_body), {"code": "bad_upstream_response"})


def test_a_gzip_bomb_is_502() -> None:
    play = sent("openai")
    play.response({**JSON, "content-encoding": "gzip"}, [gzip.compress(b" " * (64 << 20))], attributes=VIA)
    assert play.seen.status == 502


def test_text_leaves_with_the_frame_that_brings_it() -> None:
    play = sent("qwen", STREAMED)
    chunks = [frames([{**f}]) for f in FRAMES]
    outputs = told_by(play, chunks)
    assert "你" in outputs[0].decode()
    assert "好" in outputs[1].decode()
    assert outputs[2]


def test_a_suspicious_frame_delays_neither_other_choices_nor_a_finish() -> None:
    play = sent("qwen", {**STREAMED, "n": 2})
    steps = [("a", 0, "null"), ("x", 1, "null"), ("ab", 0, "null"), ("y", 1, "null"), ("xyz", 1, "stop")]
    outputs = told_by(play, [frames([{"m": {"content": c}, "choice": i, "finish": f}]) for c, i, f in steps])
    assert outputs[2] == b"", "may be cumulative"
    assert b'"y"' in outputs[3]
    assert b'"xyz"' in outputs[4]
    assert b'"finish_reason":"stop"' in outputs[4]
    assert b'"ab"' in outputs[5], "the end decides"


def test_a_call_that_is_never_named_goes_out_with_the_finish() -> None:
    play = sent("qwen", STREAMED)
    call = {"index": 0, "id": "c", "type": "function", "function": {"arguments": "{}"}}
    outputs = told_by(play, [frames([{"m": {"tool_calls": [call]}}]), frames([{"m": {}, "finish": "tool_calls"}])])
    assert outputs[0] == b"", "clients take the name from the first piece"
    assert outputs[1].index(b'"arguments":"{}"') < outputs[1].index(b'"finish_reason":"tool_calls"')


def test_a_long_stream_is_not_suspected_again() -> None:
    play = sent("qwen", STREAMED)
    texts = [*["long" * 300] * 17, "a", "ab", "abc"]
    outputs = told_by(play, [frames([{"m": {"content": text}}]) for text in texts])
    assert all(outputs[17:20]), "held, though the stream has settled"


def test_an_event_that_is_not_complete_gives_nothing_yet() -> None:
    play = sent("qwen", STREAMED)
    stream = frames(FRAMES)
    edge = stream.index("你".encode()) + 1
    assert told_by(play, [stream[:edge], stream[edge:]])[0] == b""


@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["qwen", "openai", "compatible"])
def test_a_refusal_whose_event_is_too_long_is_an_openai_error(name: str, body: dict[str, Any]) -> None:
    play = sent(name, body)
    refusal = b'data:{"code":"Throttling","message":"' + b"y" * LIMIT + b'"}\n\n'
    play.response({":status": "429", "content-type": "text/event-stream"}, [refusal], attributes=VIA)
    assert play.seen.status == 429
    check_error(json.loads(play.seen.client_body), {"type": "rate_limit_error"})
    assert b"yyy" not in play.seen.client_body


@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.integers(0, 500), max_size=6))
def test_a_compressed_stream_is_the_same_however_it_was_cut(places: list[int]) -> None:
    wire = gzip.compress(frames(FRAMES), mtime=0)
    whole = sent("qwen", STREAMED)
    whole.response({**SSE, "content-encoding": "gzip"}, [wire], attributes=VIA)
    other = sent("qwen", STREAMED)
    pieces = cut(wire, [p % (len(wire) + 1) for p in places])
    other.response({**SSE, "content-encoding": "gzip"}, pieces, attributes=VIA)
    assert other.seen.client_body == whole.seen.client_body
    assert other.seen.client_body.endswith(b"data: [DONE]\n\n")


TINY = ["{}", "[]", '""', "0", "true", '{"a":0}', '{"role":"user","content":""}']


@pytest.mark.parametrize("unit", TINY)
@pytest.mark.parametrize("name", ["qwen", "compatible", "original", "openai", "azure", "moonshot"])
def test_a_body_of_many_small_values_is_refused_before_it_is_read(
    unit: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f'{{"model":"m","messages":[{",".join([unit] * 110_000)}]}}'.encode()
    exchange = exchange_of(config_of({"providers": [{"id": "p", **PROVIDERS[name]}]}))
    path = "/api/v1/services/aigc/text-generation/generation" if name == "original" else HEAD[":path"]
    exchange.handle(RequestHeaders({**HEAD, ":path": path}, False))
    monkeypatch.setattr("extproc.exchange.exchange.jsontext.fields", lambda *_: 1 / 0)
    reply = exchange.handle(RequestBody(body))
    assert isinstance(reply, Answer)
    assert reply.status == 400
    check_error(json.loads(reply.body), {"type": "invalid_request_error", "code": "too_many_values"})
    assert "100000 JSON values" in json.loads(reply.body)["error"]["message"]
    assert exchange.record.error == "too_many_values"


@pytest.mark.parametrize("limit", [1000, 2000])
def test_how_many_values_a_body_may_have_is_said_in_the_configuration(limit: int) -> None:
    """The body itself is one, and so are the model and `messages`."""
    config = config_of({"maxBodyValues": limit, "providers": [{"id": "p", **PROVIDERS["openai"]}]})
    for length, refused in ((limit - 3, False), (limit - 2, True)):
        play = Play(config)
        play.request(HEAD, dump({"model": "m", "messages": [{}] * length}), {})
        assert play.answered == refused


def test_token_ids_are_not_counted() -> None:
    """LangChain sends a thousand texts as token ids in one request (langchain-openai 1.x, 2026)."""
    ids = {"model": "m", "input": [[7] * 300] * 1000}
    for path, answered in (("/v1/embeddings", False), ("/v1/chat/completions", True)):
        play = Play(config_of({"providers": [{"id": "p", **PROVIDERS["openai"]}]}))
        play.request({**HEAD, ":path": path}, dump(ids), {})
        assert play.answered == answered
    play = Play(config_of({"providers": [{"id": "p", **PROVIDERS["qwen"]}]}))
    play.request({**HEAD, ":path": "/v1/embeddings"}, dump(ids), {})
    assert "token arrays" in json.loads(play.seen.client_body)["error"]["message"]
