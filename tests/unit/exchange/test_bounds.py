"""What goes out in answer to one message is bounded, and what may take long is known before."""

import gzip
import json
import random
from typing import Any
import zlib

import pytest

from extproc.terms.agreed import GROWTH
from extproc.terms.events import Answer, Event, Forward, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.text import sse
from tests.unit.chat_rules import check_error
from tests.unit.exchanges import CHAT, CONFIGS, FRAMES, HEAD, JSON, SSE, STREAMED, VIA, sent
from tests.unit.player import Play, config_of, exchange_of
from tests.unit.sse_reference import parse
from tests.unit.vectors import dump, frames

LONG_NAME = "n" * 500
NAMED = b'data: {"model":"v","choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
LAST = b'data: {"model":"v","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def streaming(name: str, model: str = "m", **headers: str) -> Any:
    exchange = sent(name, {**STREAMED, "model": model}).exchange
    exchange.handle(ResponseHeaders({**SSE, **headers}, False, VIA))
    return exchange


def refused(exchange: Any, chunk: bytes, *, end: bool = False) -> bytes:
    """What the client sees before the error of an answer that becomes too much, which ends it."""
    reply = exchange.handle(ResponseBody(chunk, end))
    assert isinstance(reply, Forward)
    assert reply.body is not None
    assert len(reply.body) < len(chunk) + GROWTH + 1000
    check_error(json.loads(parse(reply.body)[-1][0]), {"type": "server_error", "code": "bad_upstream_response"})
    assert exchange.record.error == "bad_upstream_response"
    assert exchange.handle(ResponseBody(LAST, True)).body == b""
    return reply.body


def test_many_short_events_become_no_long_answer() -> None:
    """Each brings the client's name of the model, which may have 512 characters."""
    before = refused(streaming("openai", LONG_NAME), b"".join(NAMED % n for n in range(12_000)))
    assert before.count(LONG_NAME.encode()) > 5000, "what was made before goes out"


def test_as_much_as_comes_in_may_go_out() -> None:
    exchange = streaming("openai", "a longer name than the vendor's")
    chunk = b"".join(NAMED % n for n in range(70_000))
    assert len(chunk) > GROWTH
    assert exchange.handle(ResponseBody(chunk, False)).body.count(b"a longer name") == 70_000
    assert exchange.handle(ResponseBody(LAST, True)).body.endswith(sse.DONE)


@pytest.mark.parametrize("end", [False, True])
def test_a_compressed_stream_has_the_same_bound(end: bool) -> None:
    some = random.Random(1)
    frame = [{"m": {"content": some.randbytes(20).hex() * 20}} for _ in range(8000)]
    chunk = gzip.compress(frames(frame))
    assert len(chunk) < 1 << 20
    exchange = streaming("qwen", **{"content-encoding": "gzip"})
    before = refused(exchange, chunk, end=end)
    assert before.count(b"data:") > 1000


def test_what_becomes_a_hundred_times_as_long_is_refused_over_many_chunks_too() -> None:
    whole = zlib.compress(b'data: {"output":{}}\n\n' * 200_000)
    exchange = streaming("qwen", **{"content-encoding": "deflate"})
    chunks = [whole[at : at + 512] for at in range(0, len(whole), 512)]
    good = next(n for n, chunk in enumerate(chunks) if b"error" in exchange.handle(ResponseBody(chunk, False)).body)
    assert 0 < good < len(chunks) - 1
    assert exchange.record.error == "bad_upstream_response"


@pytest.mark.parametrize("name", ["qwen", "openai", "moonshot"])
def test_a_whole_compressed_answer_has_the_same_bound(name: str) -> None:
    exchange = sent(name).exchange
    exchange.handle(ResponseHeaders({**JSON, "content-encoding": "gzip"}, False, VIA))
    text = random.Random(1).randbytes(200).hex()
    reply = exchange.handle(ResponseBody(gzip.compress(dump({"a": [text + str(n) for n in range(12_000)]})), True))
    assert isinstance(reply, Answer)
    assert reply.status == 502
    check_error(json.loads(reply.body), {"type": "server_error", "code": "bad_upstream_response"})


def test_a_compressed_refusal_has_the_same_bound() -> None:
    exchange = sent("openai").exchange
    exchange.handle(ResponseHeaders({**JSON, ":status": "400", "content-encoding": "gzip"}, False, VIA))
    error = {"error": {"message": random.Random(1).randbytes(200).hex() * 20_000}}
    reply = exchange.handle(ResponseBody(gzip.compress(dump(error)), True))
    assert isinstance(reply, Forward)
    assert reply.body is not None
    assert len(reply.body) < 1000


def test_a_request_that_grows_in_the_vendors_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.exchange.exchange.GROWTH", 100)
    exchange = exchange_of(CONFIGS["qwen"])
    exchange.handle(RequestHeaders(HEAD, False))
    reply = exchange.handle(RequestBody(dump({**CHAT, "messages": [{"role": "user"}] * 100})))
    assert isinstance(reply, Answer)
    assert reply.status == 413
    check_error(json.loads(reply.body), {"type": "invalid_request_error", "code": "request_too_large"})


PICTURE = b'{"type":"image_generation.partial_image","b64_json":"%b"}' % (b"QUJD" * 2_800_000)
COMPLETED = b'{"type":"response.completed","response":{"model":"v","output":[{"result":"%b"}]}}' % (b"QUJD" * 2_800_000)


@pytest.mark.parametrize(
    ("path", "event", "expected"),
    [
        ("/v1/images/generations", PICTURE, PICTURE),
        ("/v1/responses", COMPLETED, COMPLETED.replace(b'"v"', b'"a-longer-name"')),
    ],
    ids=["a picture", "a Responses answer with one"],
)
@pytest.mark.parametrize("size", [1 << 16, 1 << 24])
def test_a_picture_is_one_event_of_many_megabytes(path: str, event: bytes, expected: bytes, size: int) -> None:
    provider = {"id": "p", "type": "openai", "modelMapping": {"*": "v"}, "recordUsage": True}
    play = Play(config_of({"providers": [provider]}))
    play.request(
        {**HEAD, ":path": path}, dump({"model": "a-longer-name", "prompt": "x", "input": "x", "stream": True}), {}
    )
    stream = b"data: " + event + b"\n\n"
    play.response(SSE, [stream[at : at + size] for at in range(0, len(stream), size)], attributes=VIA)
    assert play.seen.client_body == b"data: " + expected + b"\n\n"


def test_how_long_an_event_may_be_is_said_in_the_configuration() -> None:
    for limit, good in ((1 << 16, False), (1 << 18, True)):
        play = Play(
            config_of(
                {"maxEventBytes": limit, "providers": [{"id": "p", "type": "openai", "modelMapping": {"*": "v"}}]}
            )
        )
        play.request(HEAD, dump(STREAMED), {})
        frame = NAMED.replace(b"%d", b"x" * 100_000)
        play.response(SSE, [frame + LAST], attributes=VIA)
        assert (b"DONE" in play.seen.client_body) == good


def long(exchange: Any, event: Event) -> bool:
    return bool(exchange.takes_long(event))


def test_it_is_known_what_may_take_long() -> None:
    exchange = exchange_of(CONFIGS["qwen"])
    assert not long(exchange, RequestHeaders(HEAD, False))
    assert not long(exchange, RequestBody(b"x" * 10_000))
    assert long(exchange, RequestBody(b"x" * 100_000))
    exchange = streaming("qwen")
    assert not long(exchange, ResponseBody(frames(FRAMES), False))
    assert long(exchange, ResponseBody(b"x" * 20_000, False))
    for _ in range(3):
        exchange.handle(ResponseBody(b"x" * 6_000, False))
    assert long(exchange, ResponseBody(b"\n\n", False)), "what was held is read now"
    assert long(streaming("qwen", **{"content-encoding": "gzip"}), ResponseBody(b"\x1f\x8b", False))
