"""Promises that a review found broken once, each as the exchange that broke it."""

import json
from pathlib import Path
from typing import Any
import zlib

import pytest

from extproc.config.config import Config
from extproc.config.load import ConfigError, load
from extproc.exchange.exchange import Exchange, Moment, Snapshot
from extproc.terms.events import Answer, BodyMode, Forward, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.text.compression import Decompressor, decode

CHAT = {"model": "m", "messages": [{"role": "user", "content": "你好"}]}
DASHSCOPE = {"request_id": "r", "output": {"choices": [{"finish_reason": "stop", "message": {"content": "好" * 2000}}]}}
VIA = {"response.code_details": "via_upstream"}


def asked(body: dict[str, Any], path: str = "/v1/chat/completions", **config: Any) -> tuple[Exchange, Forward]:
    """An exchange whose request is on its way, and that request."""
    provider = {"type": "qwen", "apiTokens": ["sk-q"], **config.pop("provider", {})}
    exchange = Exchange(Snapshot(Config.model_validate({"providers": [provider], **config}), {}), Moment(0, 1))
    exchange.handle(RequestHeaders({":method": "POST", ":path": path, "content-type": "application/json"}, False))
    sent = exchange.handle(RequestBody(json.dumps(body).encode()))
    assert isinstance(sent, Forward), sent
    return exchange, sent


def answered(exchange: Exchange, headers: dict[str, str]) -> Forward | Answer:
    return exchange.handle(ResponseHeaders({":status": "200", **headers}, False, VIA))


def test_the_limit_of_request_bodies_does_not_limit_answers() -> None:
    exchange, _ = asked(CHAT, maxBodyBytes=1024)
    answered(exchange, {"content-type": "application/json"})
    whole = exchange.handle(ResponseBody(json.dumps(DASHSCOPE).encode(), True))
    assert isinstance(whole, Forward)
    assert json.loads(whole.body or b"")["choices"][0]["message"]["content"] == "好" * 2000


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (CHAT, {"content-type": "application/json", "content-encoding": "br"}),
        (CHAT | {"stream": True}, {"content-type": "text/html"}),
    ],
)
def test_an_unreadable_answer_keeps_retry_after_and_request_id(body: dict[str, Any], headers: dict[str, str]) -> None:
    exchange, _ = asked(body)
    reply = answered(exchange, headers | {"retry-after": "3", "x-request-id": "VID"})
    assert isinstance(reply, Answer)
    about = {"x-ai-provider": "qwen", "x-ai-attempts": "1"}
    assert (reply.status, reply.headers) == (502, {"retry-after": "3", "x-request-id": "VID", **about})


def test_a_client_that_wants_one_answer_gets_one_from_a_vendor_that_streams() -> None:
    exchange, sent = asked(CHAT)
    assert sent.set_headers["accept"] == "application/json"
    head = answered(exchange, {"content-type": "text/event-stream"})
    assert isinstance(head, Forward)
    assert head.response_mode is BodyMode.BUFFERED
    whole = exchange.handle(ResponseBody(b"data:" + json.dumps(DASHSCOPE).encode() + b"\n\n", True))
    assert isinstance(whole, Forward)
    assert json.loads(whole.body or b"")["object"] == "chat.completion"
    assert whole.set_headers["content-type"] == "application/json"


def test_developer_becomes_system_in_responses_too() -> None:
    items = [{"role": "developer", "content": "a"}, {"type": "function_call_output", "output": "developer"}, "x"]
    _, sent = asked({"model": "m", "input": items}, "/v1/responses", provider={"responsesApi": "pass"})
    assert json.loads(sent.body or b"")["input"] == [{"role": "system", "content": "a"}, *items[1:]]


def test_an_empty_list_of_models_is_a_list() -> None:
    config = Config.model_validate({"providers": [{"type": "qwen", "apiTokens": ["k"], "models": []}]})
    exchange = Exchange(Snapshot(config, {}), Moment(0, 1))
    reply = exchange.handle(RequestHeaders({":method": "GET", ":path": "/v1/models"}, True))
    assert isinstance(reply, Answer)
    assert json.loads(reply.body) == {"object": "list", "data": []}


def test_a_stream_that_the_client_cuts_is_counted() -> None:
    exchange, _ = asked(CHAT | {"stream": True})
    answered(exchange, {"content-type": "text/event-stream"})
    frame = {"output": {"choices": [{"message": {"content": "a"}}]}, "usage": {"input_tokens": 3, "output_tokens": 1}}
    exchange.handle(ResponseBody(b"data:" + json.dumps(frame).encode() + b"\n\n", False))
    exchange.close()
    assert (exchange.record.usage.total_tokens, exchange.record.complete) == (4, False)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_deflate_without_its_header_is_decoded_however_it_is_cut(size: int) -> None:
    plain = "你好 🎉".encode() * 50
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = bare.compress(plain) + bare.flush()
    decompressor = Decompressor("deflate")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert b"".join(out for piece in pieces for out in decompressor.feed(piece)) == plain
    assert decode("deflate", zlib.compress(plain), len(plain)) == plain


@pytest.mark.parametrize("id", ["通义", "bad\nid", "-x", "a b", "ai_proxy_extproc"])
def test_an_id_that_envoy_cannot_carry_is_a_configuration_error(tmp_path: Path, id: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"provider": {"type": "openai", "id": id}}))
    with pytest.raises(ConfigError, match=r"config\.yaml:1"):
        load(path, {})


def test_a_bootstrap_needs_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text('provider: {type: qwen, apiTokens: ["${NOT_SET}", "file:none"]}')
    assert load(path, {}, keyless=True).config.providers[0].id == "qwen"
    with pytest.raises(ConfigError, match="NOT_SET"):
        load(path, {})


@pytest.mark.parametrize("name", ["provider", "upload", "read", "ai_proxy"])
def test_no_ingress_is_taken_for_one_of_our_own_routes(name: str) -> None:
    from extproc.envoy.bootstrap import Options, bootstrap

    routes = [{"name": "r", "match": {"ingress": [name]}, "provider": "p"}]
    config = Config.model_validate({"providers": [{"type": "openai", "id": "p"}], "routes": routes})
    listener = json.loads(bootstrap(config, Options()))["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        exchange = Exchange(Snapshot(config, {}), Moment(0, 1))
        head = {":method": "GET", ":path": "/v1/files"}
        reply = exchange.handle(RequestHeaders(head, True, {"xds.route_name": route["name"]}))
        assert isinstance(reply, Answer)
        assert reply.status == 404
