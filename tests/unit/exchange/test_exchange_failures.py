"""Failures, crashes and quoted keys: nothing of the vendor behind an error, and no secret in it."""

import json
from typing import Any

import pytest

from extproc.terms.errors import InternalError
from extproc.terms.events import Answer, Forward, ResponseBody, ResponseHeaders
from tests.unit.chat_rules import check_error
from tests.unit.exchanges import CHAT, CONFIGS, FRAMES, HEAD, PROVIDERS, SSE, STREAMED, VIA, sent
from tests.unit.player import Play, exchange_of
from tests.unit.sse_reference import parse
from tests.unit.vectors import dump, frames


@pytest.mark.parametrize("name", ["qwen", "openai"])
def test_after_a_failure_everything_later_is_swallowed(name: str) -> None:
    exchange = sent(name, STREAMED).exchange
    exchange.handle(ResponseHeaders(SSE, False, VIA))
    exchange.handle(ResponseBody(b"", False))
    reply = exchange.fail(InternalError("x"))
    assert isinstance(reply, Forward)
    assert reply.body is not None
    assert reply.breaks
    check_error(json.loads(parse(reply.body)[-1][0]), {"type": "server_error", "code": "internal_error"})
    for chunk, end in ((frames(FRAMES), False), (b"data: [DONE]\n\n", False), (b"", True)):
        later = exchange.handle(ResponseBody(chunk, end))
        assert isinstance(later, Forward)
        assert later.body == b""
    again = exchange.fail(InternalError("x"))
    assert isinstance(again, Forward)
    assert again.body == b""


@pytest.mark.parametrize("status", ["200", "429"])
def test_a_crash_over_a_body_does_not_let_it_through(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = sent("qwen").exchange
    exchange.handle(ResponseHeaders({":status": status, "content-type": "application/json"}, False, VIA))
    monkeypatch.setattr("extproc.exchange.exchange.outgoing.whole", lambda *_: 1 / 0)
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


@pytest.mark.parametrize("name", ["openai", "original"])
def test_a_crash_over_a_stream_s_head_is_a_status(name: str) -> None:
    """The head is not out yet, whatever was to become of the body."""
    exchange = sent(name, STREAMED).exchange
    exchange.handle(ResponseHeaders(SSE, False, VIA))
    reply = exchange.crash()
    assert isinstance(reply, Answer)
    assert reply.status == 500


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
    assert play.seen.status == (401 if name == "openai" else 502)
    assert b"sk-q" not in play.seen.client_body


@pytest.mark.parametrize("body", [STREAMED, {**CHAT, "model": "qwq-plus"}], ids=["streamed", "gathered"])
def test_an_error_frame_that_quotes_our_key_does_not_reveal_it(body: dict[str, Any]) -> None:
    error = {"code": "InvalidApiKey", "message": "Incorrect API key sk-q", "request_id": "r"}
    play = sent("qwen", body)
    play.response(SSE, [frames([{"error": error, "status": 401}])], attributes=VIA)
    assert b"vendor_auth" in play.seen.client_body
    assert b"Incorrect API key" in play.seen.client_body
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
