"""Hostile, broken and unlikely input: always a reply, always JSON for an error, and nothing of the vendor behind it."""

from collections.abc import Mapping
import gzip
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.errors import InternalError
from extproc.events import (
    Answer,
    BodyMode,
    Event,
    Forward,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from extproc.sse import LIMIT

from .player import CLIENT_NOISE, Play, config_of, cut, exchange_of
from .sse_reference import parse
from .vectors import check_error, dump, frames

PROVIDERS: dict[str, dict[str, Any]] = {
    "qwen": {"type": "qwen", "apiTokens": ["sk-q"]},
    "concat": {"type": "qwen", "apiTokens": ["sk-q"], "reasoningContentMode": "concat"},
    "compatible": {"type": "qwen", "apiTokens": ["sk-q"], "qwenEnableCompatible": True, "modelMapping": {"*": "v"}},
    "original": {"type": "qwen", "apiTokens": ["sk-q"], "protocol": "original", "recordUsage": True},
    "openai": {"type": "openai", "modelMapping": {"*": "v"}, "recordUsage": True},
    "azure": {"type": "azure", "apiTokens": ["k"], "azureServiceUrl": "https://r.example?api-version=v"},
    "moonshot": {"type": "moonshot", "apiTokens": ["k"], "modelMapping": {"*": "kimi-k3"}},
}
CONFIGS = {name: config_of({"maxBodyBytes": 1 << 20, "providers": [{"id": "p", **p}]}) for name, p in PROVIDERS.items()}
NAMES = st.sampled_from(sorted(CONFIGS))

HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "h", "content-type": "application/json"}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CHAT, "stream": True}
VIA = {"response.code_details": "via_upstream"}
SSE = {":status": "200", "content-type": "text/event-stream"}
JSON = {":status": "200", "content-type": "application/json"}


def sent(name: str, body: Mapping[str, Any] = CHAT) -> Play:
    """An exchange whose request has left."""
    play = Play(CONFIGS[name])
    path = "/api/v1/services/aigc/text-generation/generation" if name == "original" else HEAD[":path"]
    play.request({**HEAD, **CLIENT_NOISE, ":path": path}, dump(body), {})
    assert play.seen.upstream is not None
    return play


# Anything at all

JSONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PART = st.one_of(
    JSONS,
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "image_url", "video_url", "input_audio", "x"])},
        optional={"text": JSONS, "image_url": JSONS, "video_url": JSONS, "input_audio": JSONS},
    ),
)
MESSAGE = st.one_of(
    JSONS,
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.one_of(st.sampled_from(["user", "system", "developer", "assistant", "tool"]), JSONS),
            "content": st.one_of(st.text(max_size=5), st.lists(PART, max_size=3), JSONS),
            "tool_calls": JSONS,
            "partial": JSONS,
        },
    ),
)
MODELS = st.one_of(
    st.sampled_from(["m", "qwen-vl-max", "qwq-plus", "qwen3-8b", "qwen-long", "text-embedding-v4"]), JSONS
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "model": MODELS,
        "messages": st.one_of(st.lists(MESSAGE, max_size=3), JSONS),
        "input": st.one_of(st.lists(st.text(max_size=3), max_size=3), JSONS),
        "stream": st.one_of(st.booleans(), JSONS),
        "stream_options": JSONS,
        "top_p": JSONS,
        "reasoning_effort": JSONS,
        "encoding_format": JSONS,
        "temperature": JSONS,
        "tools": JSONS,
    },
)
TEXT = st.text(st.characters(max_codepoint=255), max_size=12)
BODIES = st.one_of(st.binary(max_size=60), JSONS.map(dump), REQUESTS.map(dump))
PATHS = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "/v1/chat/completions",
            "/v1/embeddings",
            "/v1/responses",
            "/v1/completions",
            "/v1/models",
            "/v1/models/%ff%00",
            "/v1/files/%2e%2e/x",
            "/v1/chat/completions?%%%=\x00",
            "/api/v1/services/aigc/text-generation/generation",
            "//v1//v1//",
            "*",
        ]
    ),
)
HEADERS = st.fixed_dictionaries(
    {":path": PATHS, ":method": st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "X", ""])},
    optional={
        ":authority": TEXT,
        "content-type": st.one_of(TEXT, st.sampled_from(["application/json", "multipart/form-data", "a/b+json"])),
        "content-length": st.one_of(TEXT, st.sampled_from(["-1", "99999999999999999999", "²", "0"])),
        "content-encoding": TEXT,
        "authorization": TEXT,
        "accept-encoding": TEXT,
        "x-ai-proxy-cluster": TEXT,
        "x-ai-proxy-x": TEXT,
    },
)
ANSWER_HEADS = st.fixed_dictionaries(
    {":status": st.sampled_from(["200", "201", "204", "302", "400", "401", "429", "500", "503", "0"])},
    optional={
        "content-type": st.one_of(TEXT, st.sampled_from(["application/json", "text/event-stream", "text/html"])),
        "content-encoding": st.sampled_from(["gzip", "deflate", "br", "identity", "", "\xff"]),
        "content-length": TEXT,
    },
)
VENDOR_CHOICE = st.one_of(
    JSONS,
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.one_of(st.integers(-1, 2), JSONS),
            "finish_reason": st.one_of(st.sampled_from(["null", "stop", None]), JSONS),
            "message": st.one_of(
                JSONS,
                st.fixed_dictionaries(
                    {},
                    optional={
                        "content": st.one_of(st.text("ab", max_size=3), JSONS),
                        "reasoning_content": st.one_of(st.text("ab", max_size=3), JSONS),
                        "tool_calls": st.one_of(
                            JSONS,
                            st.lists(
                                st.fixed_dictionaries(
                                    {},
                                    optional={
                                        "index": JSONS,
                                        "id": JSONS,
                                        "function": st.one_of(
                                            JSONS,
                                            st.fixed_dictionaries({}, optional={"name": JSONS, "arguments": JSONS}),
                                        ),
                                    },
                                ),
                                max_size=2,
                            ),
                        ),
                    },
                ),
            ),
            "delta": JSONS,
        },
    ),
)
VENDOR = st.one_of(
    JSONS,
    st.fixed_dictionaries(
        {},
        optional={
            "output": st.one_of(
                JSONS,
                st.fixed_dictionaries(
                    {}, optional={"choices": st.lists(VENDOR_CHOICE, max_size=2), "text": JSONS, "embeddings": JSONS}
                ),
            ),
            "choices": st.one_of(JSONS, st.lists(VENDOR_CHOICE, max_size=2)),
            "usage": st.one_of(JSONS, st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), JSONS)),
            "request_id": JSONS,
            "code": JSONS,
            "message": JSONS,
            "error": JSONS,
            "model": JSONS,
            "response": JSONS,
        },
    ),
)
ANSWERS = st.one_of(
    st.binary(max_size=60),
    VENDOR.map(dump),
    st.lists(VENDOR, max_size=4).map(lambda many: b"".join(b"data: " + dump(v) + b"\n\n" for v in many)),
    st.lists(VENDOR, max_size=4).map(lambda many: frames([{"raw": v} for v in many])),
    VENDOR.map(lambda v: gzip.compress(dump(v))),
)


def reply_to(exchange: Any, event: Event) -> Any:
    reply = exchange.handle(event)
    assert isinstance(reply, Forward | Answer)
    if isinstance(reply, Answer):
        assert 200 <= reply.status <= 599
        document = json.loads(reply.body)
        if reply.status >= 400:
            assert isinstance(document["error"], dict)
    else:
        for value in reply.set_headers.values():
            value.encode("latin-1")
    return reply


@settings(max_examples=250, deadline=None)
@given(name=NAMES, headers=HEADERS, body=BODIES, end=st.booleans())
def test_any_request_gets_a_reply_and_no_spoofed_header_survives(
    name: str, headers: dict[str, str], body: bytes, end: bool
) -> None:
    exchange = exchange_of(CONFIGS[name])
    current = dict(headers)
    for event in (RequestHeaders(headers, end), RequestBody(body)):
        reply = reply_to(exchange, event)
        if isinstance(reply, Answer):
            return
        for header in reply.remove_headers:
            current.pop(header, None)
        current |= reply.set_headers
        if end or reply.request_mode is BodyMode.NONE:
            break
    assert current["x-ai-proxy-cluster"] == "p"
    assert [h for h in current if h.startswith("x-ai-proxy-")] == ["x-ai-proxy-cluster"]


@settings(max_examples=350, deadline=None)
@given(
    name=NAMES,
    stream=st.booleans(),
    model=st.sampled_from(["m", "qwq-plus", "qwen-vl-max"]),
    head=ANSWER_HEADS,
    answer=ANSWERS,
    cuts=st.lists(st.integers(0, 300), max_size=4),
    details=st.sampled_from(["via_upstream", "response_timeout"]),
)
def test_any_answer_gets_a_reply(
    name: str, stream: bool, model: str, head: dict[str, str], answer: bytes, cuts: list[int], details: str
) -> None:
    exchange = sent(name, {**CHAT, "stream": stream, "model": model}).exchange
    reply = reply_to(exchange, ResponseHeaders(head, False, {"response.code_details": details}))
    if isinstance(reply, Answer) or reply.response_mode is None:
        return
    pieces = [answer]
    if reply.response_mode.value == "streamed":
        pieces = [*cut(answer, [c % (len(answer) + 1) for c in cuts]), b""]
    for number, piece in enumerate(pieces, 1):
        reply_to(exchange, ResponseBody(piece, number == len(pieces)))


@settings(max_examples=100, deadline=None)
@given(answer=ANSWERS, api=st.sampled_from(["embeddings", "responses", "completions"]))
@pytest.mark.parametrize("name", ["qwen", "openai"])
def test_any_answer_of_another_api_gets_a_reply(name: str, api: str, answer: bytes) -> None:
    play = Play(CONFIGS[name])
    play.request({**HEAD, ":path": f"/v1/{api}"}, dump({"model": "m", "input": "i", "prompt": "p"}), {})
    for kind in ("application/json", "text/event-stream"):
        exchange = play.exchange
        reply = reply_to(exchange, ResponseHeaders({":status": "200", "content-type": kind}, False, VIA))
        if isinstance(reply, Forward) and reply.response_mode is not None:
            reply_to(exchange, ResponseBody(answer, True))
        play = Play(CONFIGS[name])
        play.request({**HEAD, ":path": f"/v1/{api}"}, dump({"model": "m", "input": "i", "prompt": "p"}), {})


EVENTS = st.one_of(
    st.builds(RequestHeaders, HEADERS, st.booleans()),
    st.builds(RequestBody, BODIES),
    st.builds(ResponseHeaders, ANSWER_HEADS, st.booleans()),
    st.builds(ResponseBody, ANSWERS, st.booleans()),
)


@settings(max_examples=150, deadline=None)
@given(name=NAMES, events=st.lists(EVENTS, max_size=8), begin=st.booleans())
def test_events_in_any_order_get_replies(name: str, events: list[Event], begin: bool) -> None:
    exchange = sent(name, STREAMED).exchange if begin else exchange_of(CONFIGS[name])
    for event in events:
        reply_to(exchange, event)


@pytest.mark.parametrize("status", ["abc", "", "2 00"])
def test_a_status_that_is_no_number_gets_a_reply(status: str) -> None:
    reply_to(sent("qwen").exchange, ResponseHeaders({":status": status}, False, VIA))


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


FRAMES = [{"m": {"content": "你"}}, {"m": {"content": "好"}}, {"m": {"content": ""}, "finish": "stop"}]


def told_by(play: Play, chunks: list[bytes]) -> list[bytes]:
    play.response(SSE, chunks, attributes=VIA)
    return play.seen.outputs


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


def test_an_event_that_is_not_complete_gives_nothing_yet() -> None:
    play = sent("qwen", STREAMED)
    stream = frames(FRAMES)
    edge = stream.index("你".encode()) + 1
    assert told_by(play, [stream[:edge], stream[edge:]])[0] == b""


@pytest.mark.parametrize("name", ["qwen", "openai"])
def test_after_a_failure_everything_later_is_swallowed(name: str) -> None:
    exchange = sent(name, STREAMED).exchange
    exchange.handle(ResponseHeaders(SSE, False, VIA))
    reply = exchange.fail(InternalError("x"))
    assert isinstance(reply, Forward)
    assert reply.body is not None
    check_error(json.loads(parse(reply.body)[-1][0]), {"type": "server_error", "code": "internal_error"})
    for chunk, end in ((frames(FRAMES), False), (b"data: [DONE]\n\n", False), (b"", True)):
        later = exchange.handle(ResponseBody(chunk, end))
        assert isinstance(later, Forward)
        assert later.body == b""
    again = exchange.fail(InternalError("x"))
    assert isinstance(again, Forward)
    assert again.body == b""


@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["qwen", "openai", "compatible"])
def test_a_refusal_whose_event_is_too_long_is_an_openai_error(name: str, body: dict[str, Any]) -> None:
    play = sent(name, body)
    refusal = b'data:{"code":"Throttling","message":"' + b"y" * LIMIT + b'"}\n\n'
    play.response({":status": "429", "content-type": "text/event-stream"}, [refusal], attributes=VIA)
    assert play.seen.status == 429
    check_error(json.loads(play.seen.client_body), {"type": "rate_limit_error"})
    assert b"yyy" not in play.seen.client_body


@pytest.mark.parametrize("status", ["200", "429"])
def test_a_crash_over_a_body_does_not_let_it_through(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = sent("qwen").exchange
    exchange.handle(ResponseHeaders({":status": status, "content-type": "application/json"}, False, VIA))
    monkeypatch.setattr("extproc.exchange.outgoing.whole", lambda *_: 1 / 0)
    answer = dump({"output": {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}})
    with pytest.raises(ZeroDivisionError):
        exchange.handle(ResponseBody(answer, True))
    reply = exchange.crash()
    assert isinstance(reply, Answer)
    check_error(json.loads(reply.body), {"type": "server_error", "code": "internal_error"})
    again = exchange.crash()  # as when that cannot be written
    assert isinstance(again, Forward)
    assert again.body == b""


@pytest.mark.parametrize("status", ["200", "429"])
def test_a_crash_after_a_body_was_replaced_does_not_let_it_through(status: str) -> None:
    exchange = sent("qwen").exchange
    exchange.handle(ResponseHeaders({":status": status, "content-type": "application/json"}, False, VIA))
    answer = dump({"output": {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}})
    exchange.handle(ResponseBody(answer, True))
    reply = exchange.crash()
    assert isinstance(reply, Forward)
    assert reply.body == b""


@pytest.mark.parametrize("begun", [False, True])
def test_a_crash_before_the_answer_is_a_status(begun: bool) -> None:
    exchange = sent("qwen").exchange if begun else exchange_of(CONFIGS["qwen"])
    reply = exchange.crash()
    assert isinstance(reply, Answer)
    assert reply.status == 500
    check_error(json.loads(reply.body), {"type": "server_error"})


@pytest.mark.parametrize("name", ["qwen", "openai", "azure", "moonshot", "compatible", "concat"])
def test_a_vendor_that_quotes_our_key_does_not_reveal_it(name: str) -> None:
    play = sent(name)
    key = "sk-q" if PROVIDERS[name]["type"] == "qwen" else "Incorrect"
    body = dump({"error": {"message": f"Incorrect API key {key}", "type": "t", "param": None, "code": "c"}})
    play.response({":status": "401", "content-type": "application/json"}, [body], attributes=VIA)
    assert play.seen.status == 401
    assert b"sk-q" not in play.seen.client_body


@pytest.mark.parametrize("body", [STREAMED, {**CHAT, "model": "qwq-plus"}], ids=["streamed", "gathered"])
def test_an_error_frame_that_quotes_our_key_does_not_reveal_it(body: dict[str, Any]) -> None:
    error = {"code": "InvalidApiKey", "message": "Incorrect API key sk-q", "request_id": "r"}
    play = sent("qwen", body)
    play.response(SSE, [frames([{"error": error, "status": 401}])], attributes=VIA)
    assert b"InvalidApiKey" in play.seen.client_body
    assert b"sk-q" not in play.seen.client_body


def test_an_error_event_that_quotes_our_key_does_not_reveal_it() -> None:
    play = sent("compatible", STREAMED)
    play.response(SSE, [b'data: {"error":{"message":"Incorrect API key sk-q"}}\n\n'], attributes=VIA)
    assert b"Incorrect" in play.seen.client_body
    assert b"sk-q" not in play.seen.client_body


def test_no_message_quotes_the_body() -> None:
    play = Play(CONFIGS["qwen"])
    play.request(HEAD, b'{"model": "m", "messages": [{"role": "user", "content": "my secret"} oops', {})
    assert play.seen.status == 400
    assert b"secret" not in play.seen.client_body


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
