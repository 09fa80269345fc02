"""Anything at all, in any order: always a reply, always JSON for an error, and no spoofed header survives."""

import gzip
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.terms.events import (
    Answer,
    BodyMode,
    Event,
    Forward,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from tests.unit.exchanges import CHAT, CONFIGS, HEAD, STREAMED, VIA, sent
from tests.unit.player import Play, cut, exchange_of
from tests.unit.vectors import dump, frames

NAMES = st.sampled_from(sorted(CONFIGS))
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
