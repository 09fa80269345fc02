"""What nobody asked to change passes as it came, however odd; what cannot pass is the client's mistake, never ours."""

from collections.abc import Mapping
import gzip
import json
from typing import Any

import pytest

from tests.unit.chat_rules import check_error
from tests.unit.player import Play, Seen, config_of
from tests.unit.vectors import dump

HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "h", "content-type": "application/json"}
SSE = {":status": "200", "content-type": "text/event-stream"}
JSON = {":status": "200", "content-type": "application/json"}
OPENAI = {"type": "openai", "apiTokens": ["sk-o"]}
RENAMED = {**OPENAI, "modelMapping": {"m": "v"}}
MOONSHOT = {"type": "moonshot", "apiTokens": ["sk-m"]}
QWEN = {"type": "qwen", "apiTokens": ["sk-q"]}
CONTEXT = {"context": {"fileUrl": "file:///c"}}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CHAT, "stream": True}


def asked(provider: Mapping[str, Any], body: bytes | Mapping[str, Any] = CHAT, path: str = HEAD[":path"]) -> Play:
    """An exchange whose request was made; whether it left is in `seen`."""
    play = Play(config_of({"providers": [{"id": "p", **provider}]}), {"p": "文"})
    play.request({**HEAD, ":path": path}, body if isinstance(body, bytes) else dump(body), {})
    return play


def sent(provider: Mapping[str, Any], body: bytes | Mapping[str, Any] = CHAT, path: str = HEAD[":path"]) -> bytes:
    """The vendor's body."""
    seen = asked(provider, body, path).seen
    assert seen.upstream_body is not None, seen.client_body
    return seen.upstream_body


def refused(provider: Mapping[str, Any], body: bytes | Mapping[str, Any], param: str | None = None) -> None:
    """The client's 400."""
    seen = asked(provider, body).seen
    assert seen.upstream is None
    assert seen.status == 400, seen.client_body
    check_error(json.loads(seen.client_body), {"type": "invalid_request_error", "param": param})


def answered(
    provider: Mapping[str, Any], answer: bytes, head: Mapping[str, str] = JSON, body: Mapping[str, Any] = CHAT
) -> Seen:
    play = asked(provider, body)
    play.response(head, [answer])
    return play.seen


# Halves of surrogate pairs


@pytest.mark.parametrize("provider", [OPENAI, {**OPENAI, **CONTEXT}, RENAMED, MOONSHOT, QWEN], ids=str)
def test_a_text_cut_inside_an_emoji_is_sent(provider: dict[str, Any]) -> None:
    body = rb'{"model":"m","messages":[{"role":"developer","content":"cut \ud83d","n":1.10}],"user":"\udc00"}'
    got = sent(provider, body)
    assert rb'"cut \ud83d"' in got
    assert json.loads(got).get("user") in (None, "\udc00")
    if provider["type"] != "qwen":
        assert b'"n":1.10' in got
    if provider == OPENAI:
        assert got == body


def test_a_text_cut_inside_an_emoji_is_sent_in_parts_too() -> None:
    body = rb'{"model":"qwen-vl-max","messages":[{"role":"user","content":[{"type":"text","text":"\ud83d"}]}]}'
    assert json.loads(sent(QWEN, body))["input"]["messages"][0]["content"] == [{"text": "\ud83d"}]


def test_half_a_pair_in_an_answer_reaches_the_client() -> None:
    answer = rb'{"model":"v","choices":[{"message":{"content":"\ud83d"}}],"n":1.10}'
    assert answered(RENAMED, answer).client_body == answer.replace(b'"v"', b'"m"')
    native = rb'{"request_id":"r","output":{"choices":[{"message":{"content":"\ud83d"},"finish_reason":"stop"}]}}'
    whole = json.loads(answered(QWEN, native).client_body)
    assert whole["choices"][0]["message"]["content"] == "\ud83d"


@pytest.mark.parametrize("provider", [RENAMED, MOONSHOT], ids=str)
def test_half_a_pair_in_a_stream_reaches_the_client(provider: dict[str, Any]) -> None:
    chunk = rb'{"model":"m","choices":[{"delta":{"content":"\ud83d"},"finish_reason":"stop"}],"n":1.10}'
    stream = b"data: " + chunk + b"\n\ndata: [DONE]\n\n"
    assert answered(provider, stream, SSE, STREAMED).client_body == stream


# The client's mistakes


@pytest.mark.parametrize("model", [b"1e400", rb'"\ud83d"'], ids=["1e400", "half"])
@pytest.mark.parametrize("provider", [OPENAI, QWEN], ids=str)
def test_a_model_that_is_no_text_is_the_clients_mistake(provider: dict[str, Any], model: bytes) -> None:
    refused(provider, b'{"model":' + model + b',"messages":[{"role":"user","content":"u"}]}', "model")


@pytest.mark.parametrize("messages", ["x", [1], {}, None, [None]], ids=str)
@pytest.mark.parametrize("provider", [OPENAI, {**OPENAI, "protocol": "original"}, MOONSHOT], ids=str)
def test_messages_that_are_none_are_the_clients_mistake(provider: dict[str, Any], messages: Any) -> None:
    refused({**provider, **CONTEXT}, {"model": "m", "messages": messages}, "messages")


@pytest.mark.parametrize("given", ["x", [1], {}, None], ids=str)
def test_messages_of_dashscope_that_are_none_are_the_clients_mistake(given: Any) -> None:
    path = "/api/v1/services/aigc/text-generation/generation"
    seen = asked({**QWEN, **CONTEXT, "protocol": "original"}, {"model": "m", "input": {"messages": given}}, path).seen
    assert seen.status == 400
    check_error(json.loads(seen.client_body), {"type": "invalid_request_error", "param": "messages"})


# Custom settings


def setting(name: str, **more: Any) -> dict[str, Any]:
    return {**OPENAI, "customSettings": [{"name": name, "value": 1, "mode": "raw", **more}]}


@pytest.mark.parametrize(
    ("name", "given", "set_to"),
    [
        ("a.b.c", rb'{"f":1.10,"e":1e400,"b":{"s":"\ud83d"}}', rb'{"f":1.10,"e":1e400,"b":{"s":"\ud83d","c":1}}'),
        ("a.1.x", b'[1.10,{"y":1e400}]', b'[1.10,{"y":1e400,"x":1}]'),
        ("a.1", b"[1.10,1.20]", b"[1.10,1]"),
        ("a.b", b"null", b'{"b":1}'),
        ("a.b.c", b'{"b":null}', b'{"b":{"c":1}}'),
    ],
)
def test_a_raw_setting_leaves_what_is_beside_it(name: str, given: bytes, set_to: bytes) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"u"}],"a":%b}'
    assert sent(setting(name), body % given) == body % set_to


@pytest.mark.parametrize(
    ("name", "given"),
    [("stop.END", ["END"]), ("stop.5", ["END"]), ("stop.-1", ["END"]), ("stop.x", "END"), ("stop.x.y", {"x": 5})],
)
def test_a_raw_setting_that_does_not_fit_is_the_clients_mistake(name: str, given: Any) -> None:
    for overwrite in (True, False):
        refused(setting(name, overwrite=overwrite), {**CHAT, "stop": given}, "stop")


# Refusals


@pytest.mark.parametrize(
    "refusal",
    [
        b'{"error": {"message":"x","n":1e400,"code":"c"}, "n": 1e400}',
        rb'{"error": {"message":"\ud83d x","code":"c"}}',
        b'{"error": {"message":"x","code":"c"}, "d": ' + b"[" * 600 + b"]" * 600 + b"}",
        b'\xef\xbb\xbf{"error": {"message":"x","code":"c"}}',
    ],
    ids=["1e400", "half", "deep", "BOM"],
)
@pytest.mark.parametrize("provider", [OPENAI, {**QWEN, "qwenEnableCompatible": True}, QWEN], ids=str)
def test_a_refusal_in_openais_form_passes_however_odd(provider: dict[str, Any], refusal: bytes) -> None:
    seen = answered(provider, refusal, {**JSON, ":status": "429"})
    assert seen.status == 429
    assert seen.client_body == refusal.removeprefix("\ufeff".encode())
    assert seen.record.error == "c"


def test_a_code_that_is_no_text_is_not_logged() -> None:
    refusal = rb'{"error": {"message":"x","code":"\ud83d"}}'
    seen = answered(OPENAI, refusal, {**JSON, ":status": "400"})
    assert seen.client_body == refusal
    assert seen.record.error == "invalid_request_error"


# Events


@pytest.mark.parametrize(
    "odd",
    [
        b'{"model":"m","choices":null}',
        b'{"model":"m","choices":{}}',
        b'{"model":"m","choices":[null]}',
        b'{"model":"m","choices":[{"finish_reason":1e400}]}',
        b'{"model":"m","usage":{"prompt_tokens":1e400}}',
        b'{"model":"m","error":"text","n":1.10}',
        b"[]",
        b'"x"',
        b" 1e400",
    ],
    ids=str,
)
@pytest.mark.parametrize("provider", [RENAMED, {**OPENAI, "recordUsage": True}, MOONSHOT], ids=str)
def test_an_odd_event_passes(provider: dict[str, Any], odd: bytes) -> None:
    end = b'data: {"model":"m","choices":[{"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    stream = b"data: " + odd + b"\n\n" + end
    assert answered(provider, stream, SSE, STREAMED).client_body == stream


def test_an_odd_event_does_not_finish_a_stream() -> None:
    stream = b'data: {"choices":null}\n\ndata: []\n\ndata: [DONE]\n\n'
    seen = answered(RENAMED, stream, SSE, STREAMED)
    assert seen.record.error == "stream_truncated"


def test_moonshots_usage_moves_without_a_change_of_its_neighbours() -> None:
    chunk = b'{"choices":[{"n":1.10,"q":1e400,"usage":{"prompt_tokens":3,"big":1.0},"finish_reason":"stop"},{"i": 1}]}'
    seen = answered(MOONSHOT, b"data: " + chunk + b"\n\n", SSE, STREAMED)
    assert seen.client_body == (
        b'data: {"choices":[{"n":1.10,"q":1e400,"finish_reason":"stop"},{"i": 1}],'
        b'"usage":{"prompt_tokens":3,"big":1.0}}\n\n'
    )
    assert seen.record.usage.prompt_tokens == 3


@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r", b"id: 1\r\ndata: [DONE]\r\n"])
def test_the_last_event_of_a_stream_that_may_be_changed_is_ended(tail: bytes) -> None:
    begin = b'data: {"model":"m","choices":[{"finish_reason":"stop"}]}\n\n'
    for provider in (RENAMED, MOONSHOT):
        end = b"\n" if tail.endswith(b"\n") else b"\n\n"
        assert answered(provider, begin + tail, SSE, STREAMED).client_body == begin + tail + end
    assert answered(MOONSHOT, begin[:-2], SSE, STREAMED).client_body == begin
    watched = {**OPENAI, "recordUsage": True}
    assert answered(watched, begin + tail, SSE, STREAMED).client_body == begin + tail


def test_a_stream_that_was_ended_gets_no_second_end() -> None:
    for end in (b"\n\n", b"\r\r", b"\r\n\r\n", b"\r\n\n", b"\n\r\n"):
        stream = b'data: {"choices":[{"finish_reason":"stop"}]}' + end + b"data: [DONE]" + end
        assert answered(MOONSHOT, stream, SSE, STREAMED).client_body == stream
        assert answered(MOONSHOT, stream + b"\n", SSE, STREAMED).client_body == stream + b"\n"


def test_a_changed_answer_keeps_the_vendors_content_type_where_it_is_json() -> None:
    for kind, kept in (("application/json; charset=utf-8", True), ("Application/JSON", True), ("text/plain", False)):
        seen = answered(RENAMED, b'{"model":"v","choices":[]}', {**JSON, "content-type": kind})
        assert json.loads(seen.client_body)["model"] == "m"
        assert seen.client["content-type"] == (kind if kept else "application/json")


# Answers that are only watched


def original(answer: bytes, head: Mapping[str, str] = JSON) -> Seen:
    play = asked({**QWEN, "protocol": "original", "recordUsage": True}, {"model": "m"}, "/api/v1/services/x")
    size = max(1, len(answer) // 4)
    play.response(head, [answer[at : at + size] for at in range(0, len(answer), size)])
    return play.seen


def test_a_compressed_answer_is_counted_and_stays_compressed() -> None:
    usage = b'{"usage": {"input_tokens": 3, "output_tokens": 4}}'
    for plain, head in ((usage, JSON), (b"data:" + usage + b"\n\n", SSE)):
        answer = gzip.compress(plain)
        length = {"content-length": str(len(answer))} if head is JSON else {}
        seen = original(answer, {**head, "content-encoding": "gzip", **length})
        assert seen.client_body == answer
        assert seen.client["content-encoding"] == "gzip"
        assert seen.client.get("content-length") == length.get("content-length")
        assert seen.record.usage.total_tokens == 7


@pytest.mark.parametrize(
    ("answer", "head"),
    [
        (b"no gzip", {**JSON, "content-encoding": "gzip"}),
        (gzip.compress(b'{"usage": {"total_tokens": 1}}')[:20], {**JSON, "content-encoding": "gzip"}),
        (b'{"usage": {"total_tokens": 1}}', {**JSON, "content-encoding": "br"}),
        (b"data: " + b"x" * (1 << 21), SSE),
        (gzip.compress(b'{"usage": {"total_tokens": 1}, "x": "' + b" " * (60 << 20) + b'"}'),
         {**JSON, "content-encoding": "gzip"}),
        (b"", JSON),
    ],
    ids=["no gzip", "half gzip", "br", "too long an event", "too long", "empty"],
)  # fmt: skip
def test_an_answer_that_cannot_be_counted_passes_all_the_same(answer: bytes, head: Mapping[str, str]) -> None:
    seen = original(answer, head)
    assert (seen.status, seen.client_body) == (200, answer)
    assert seen.record.usage.total_tokens is None
    assert (seen.record.error, seen.record.complete) == (None, True)
