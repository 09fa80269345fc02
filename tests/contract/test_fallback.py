"""One request, several vendors: the next one answers, and gets nothing of the one before."""

from collections import Counter
from collections.abc import Iterator
import json
from pathlib import Path
import threading
import time
from typing import Any

import pytest

from . import processes
from .processes import Gateway
from .raw import Answer, Connection, ask, chat
from .scripted import Reply, Vendor, vendor

CONFIG = """\
providers:
  - {id: first, type: qwen, apiTokens: [sk-PLANTED-first], endpoint: FIRST, modelMapping: {gpt-4o: qwen-max}, outlierDetection: {consecutive5xx: 0}}
  - {id: ejected, type: qwen, apiTokens: [sk-PLANTED-ejected], endpoint: FIRST, outlierDetection: {consecutive5xx: 3, baseEjectionTime: 600s}}
  - {id: azure-first, type: azure, apiTokens: [sk-PLANTED-azure-first], endpoint: FIRST, azureServiceUrl: "https://r.openai.azure.com?api-version=2024-10-21", outlierDetection: {consecutive5xx: 0}}
  - {id: down, type: azure, apiTokens: [sk-PLANTED-down], endpoint: CLOSED, azureServiceUrl: "https://r.openai.azure.com?api-version=2024-10-21", outlierDetection: {consecutive5xx: 0}}
  - {id: qwen, type: qwen, apiTokens: [sk-sim-PLANTED-qwen-0001], endpoint: SIMULATOR, modelMapping: {"*": qwen-max}}
  - {id: openai, type: openai, apiTokens: [sk-sim-PLANTED-openai-0001], endpoint: SIMULATOR}
  - {id: keyless, type: openai, endpoint: SECOND}
  - {id: pictures, type: openai, endpoint: FIRST, modelMapping: {"*": gpt-image-1}}
  - {id: second, type: openai, apiTokens: [sk-PLANTED-second], endpoint: SECOND}
  - {id: keys, type: openai, apiTokens: [sk-PLANTED-key-1, sk-PLANTED-key-2, sk-PLANTED-key-3], endpoint: FIRST, retryOnFailure: {enabled: true, retryOnStatus: ["401", "429"]}, failover: {enabled: true, failureThreshold: 1, cooldownDuration: 600000, failoverOnStatus: ["401"]}}
routes:
  - {name: two, match: {hosts: [two.test]}, provider: [{provider: first}, {provider: openai}]}
  - {name: seen, match: {hosts: [seen.test]}, provider: [{provider: first}, {provider: second}]}
  - {name: back, match: {hosts: [back.test]}, provider: [{provider: azure-first}, {provider: qwen}]}
  - {name: three, match: {hosts: [three.test]}, provider: [{provider: down}, {provider: first}, {provider: qwen}]}
  - {name: model, match: {hosts: [model.test]}, provider: [{provider: first}, {provider: openai, model: gpt-4o-mini}]}
  - {name: own, match: {hosts: [own.test]}, provider: [{provider: azure-first}, {provider: keyless}]}
  - {name: shares, match: {hosts: [shares.test]}, provider: [[{provider: openai, weight: 3}, {provider: qwen}]]}
  - {name: half-down, match: {hosts: [half-down.test]}, provider: [[{provider: down}, {provider: openai}]]}
  - {name: slow, match: {hosts: [slow.test]}, provider: [{provider: first}, {provider: openai}], retry: {firstByteTimeout: 2s, perTryTimeout: 2s}}
  - {name: slow-stream, match: {hosts: [slow-stream.test]}, provider: [{provider: first}, {provider: openai}], retry: {firstByteTimeout: 2s, perTryTimeout: 600s}}
  - {name: slow-whole, match: {hosts: [slow-whole.test]}, provider: [{provider: first}, {provider: openai}], retry: {firstByteTimeout: 600s, perTryTimeout: 2s}}
  - {name: once, match: {hosts: [once.test]}, provider: [{provider: first}, {provider: openai}], retry: {attempts: 1}}
  - {name: waits, match: {hosts: [waits.test]}, provider: first, retry: {on: [429]}}
  - {name: eject, match: {hosts: [eject.test]}, provider: [{provider: ejected}, {provider: openai}]}
  - {name: keys, match: {hosts: [keys.test]}, provider: keys}
  - {name: by-model, match: {hosts: [models.test], models: ["a*"]}, provider: [{provider: down}, {provider: openai, model: gpt-4o}]}
  - {name: alone, match: {hosts: [alone.test]}, provider: first}
  - {name: pictures, match: {hosts: [pictures.test]}, provider: pictures}
  - {name: banned, match: {hosts: [unread.test], models: ["banned-*"]}, provider: null}
  - {name: one-model, match: {hosts: [unread.test], models: [a1]}, provider: openai}
  - {name: the-rest, match: {hosts: [unread.test]}, provider: second}
  - {name: nothing-else, match: {hosts: [unread-only.test], models: [a1]}, provider: second}
"""  # noqa: E501


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[Vendor, Vendor]]:
    with vendor() as first, vendor() as second:
        yield first, second


@pytest.fixture(scope="module")
def running(vendors: tuple[Vendor, Vendor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("fallback")
    first, second = vendors
    with processes.simulator(directory / "simulator") as simulator:
        places = {"FIRST": first.url, "SECOND": second.url, "SIMULATOR": simulator}
        places["CLOSED"] = f"http://127.0.0.1:{processes.free_port()}"
        config = CONFIG
        for name, place in places.items():
            config = config.replace(f"endpoint: {name}", f"endpoint: {place}")
        path = directory / "gateway.yaml"
        path.write_text(config)
        with processes.gateway(directory, "--config", str(path)) as gateway:
            yield gateway
        assert "PLANTED" not in gateway.process.errors + gateway.access_log.read_text()


OPENAI = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "二"}, "finish_reason": "stop"}],
}


@pytest.fixture
def first(vendors: tuple[Vendor, Vendor]) -> Vendor:
    vendors[0].requests.clear()
    vendors[0].replies, vendors[0].reply = [], Reply()
    return vendors[0]


@pytest.fixture
def second(vendors: tuple[Vendor, Vendor]) -> Vendor:
    vendors[1].requests.clear()
    vendors[1].reply = Reply(200, (json.dumps(OPENAI).encode(),))
    return vendors[1]


def said(answer: Answer) -> str:
    """What a chat said, whole or streamed; checked to be complete."""
    assert (answer.status, answer.complete) == (200, True), answer
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.events[-1] == "[DONE]"
        return answer.text
    return str(answer.json["choices"][0]["message"]["content"])


def who(answer: Answer) -> tuple[str | None, str | None]:
    return answer.headers.get("x-ai-provider"), answer.headers.get("x-ai-attempts")


FAILURES = {
    "503": Reply(503),
    "500": Reply(500),
    "429": Reply(429, headers={"retry-after": "0"}),
    "an HTML page": Reply(502, (b"<html>bad gateway</html>",), {"content-type": "text/html"}),
    "reset": Reply(pieces=(), end="reset"),
    "an empty refusal": Reply(529, ()),
    "an answer that cannot be read": Reply(200, (b"{",)),
    "a refusal without a body": Reply(503, headers={"content-length": "0"}),
    "no body": Reply(200, headers={"content-length": "0"}),
    "no content": Reply(204),
}
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@streamed_or_not
@pytest.mark.parametrize("failure", FAILURES)
def test_the_next_vendor_answers(running: Gateway, first: Vendor, failure: str, stream: bool) -> None:
    first.reply = FAILURES[failure]
    text = f"你好 🐉 {failure}"
    answer = ask(running.port, body=chat(text, stream=stream), host="two")
    assert said(answer).endswith(f"你说：{text}")
    assert who(answer) == ("openai", "2")
    assert len(first.requests) == 1
    assert json.loads(first.requests[0].body)["input"]["messages"] == [{"role": "user", "content": text}]


def test_a_vendor_gets_nothing_of_the_one_before(running: Gateway, first: Vendor, second: Vendor) -> None:
    body = chat("哪个？", temperature=0.5)
    answer = ask(
        running.port, "/gw/v1/chat/completions?x=1", body, host="seen", headers={"x-mine": "kept", "accept": "a/b"}
    )
    assert (said(answer), who(answer)) == ("二", ("second", "2"))
    one, two = first.requests[0], second.requests[0]
    assert (one.path, one.headers["authorization"]) == (
        "/api/v1/services/aigc/text-generation/generation?x=1",
        "Bearer sk-PLANTED-first",
    )
    assert (two.path, two.headers["authorization"]) == ("/v1/chat/completions?x=1", "Bearer sk-PLANTED-second")
    assert json.loads(two.body) == body
    assert two.headers["content-length"] == str(len(two.body))
    assert (two.headers["host"], two.headers["accept"], two.headers["x-mine"]) == ("api.openai.com", "a/b", "kept")
    assert not [n for n in two.headers if n.startswith(("x-ai-proxy", "x-envoy", "x-dashscope", "x-forwarded"))]


def test_a_client_s_own_key_is_its_own_again(running: Gateway, first: Vendor, second: Vendor) -> None:
    answer = ask(running.port, body=chat("x"), host="own")
    assert who(answer) == ("keyless", "2")
    assert first.requests[0].headers["api-key"] == "sk-PLANTED-azure-first"
    assert "authorization" not in first.requests[0].headers
    assert second.requests[0].headers["authorization"] == "Bearer client"
    assert "api-key" not in second.requests[0].headers


@streamed_or_not
def test_from_openai_s_protocol_to_dashscope_s(running: Gateway, first: Vendor, stream: bool) -> None:
    answer = ask(running.port, body=chat("换", stream=stream), host="back")
    assert said(answer).endswith("你说：换")
    assert who(answer) == ("qwen", "2")
    assert first.requests[0].path.startswith("/openai/deployments/gpt-4o/chat/completions")


def test_a_vendor_that_cannot_be_reached_is_passed_over_too(running: Gateway, first: Vendor) -> None:
    answer = ask(running.port, body=chat("三"), host="three")
    assert (said(answer)[-1], who(answer)) == ("三", ("qwen", "3"))


def test_a_step_may_ask_for_a_model_of_its_own(running: Gateway, first: Vendor) -> None:
    answer = ask(running.port, body=chat("x", "any-name"), host="model")
    assert who(answer) == ("openai", "2")
    assert answer.json["model"] == "any-name"

    def second_attempts() -> list[str]:
        lines = [e for e in running.events("exchange") if e.get("route") == "model"]
        return [line["upstream_model"] for line in lines if line.get("attempt") == 2]

    assert processes.until(second_attempts, "the line of the second attempt") == ["gpt-4o-mini"]


def test_routes_by_model_fall_back_too(running: Gateway, first: Vendor) -> None:
    answer = ask(running.port, body=chat("x", "abc"), host="models")
    assert who(answer) == ("openai", "2")


def test_a_client_s_mistake_is_not_tried_again(running: Gateway, first: Vendor) -> None:
    first.reply = Reply(400, (b'{"code":"InvalidParameter","message":"no","request_id":"r"}',))
    answer = ask(running.port, body=chat("x"), host="two")
    assert (answer.status, answer.error["code"], who(answer)) == (400, "InvalidParameter", ("first", "1"))
    assert ask(running.port, body={"model": "m"}, host="two").error["code"] == "missing_required_parameter"
    assert len(first.requests) == 1


def test_one_attempt_is_one(running: Gateway, first: Vendor) -> None:
    answer = ask(running.port, body=chat("x"), host="once")
    assert (answer.status, answer.error["code"], who(answer)) == (503, "ServiceUnavailable", ("first", "1"))


def test_the_last_refusal_is_the_client_s(running: Gateway, first: Vendor, second: Vendor) -> None:
    second.reply = Reply(
        429, (b'{"error":{"message":"slow down","type":"t","param":null,"code":"c"}}',), {"retry-after": "7"}
    )
    answer = ask(running.port, body=chat("x"), host="seen")
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (429, "c", "7")
    assert who(answer) == ("second", "2")


FRAME = (
    b'data:{"output":{"choices":[{"finish_reason":"null","message":{"role":"assistant","content":"%s"}}]},'
    b'"request_id":"r"}\n\n'
)
SSE = {"content-type": "text/event-stream"}


def test_what_has_begun_is_not_begun_again(running: Gateway, first: Vendor) -> None:
    read = threading.Event()
    first.reply = Reply(200, (FRAME % b"a", read), SSE, end="reset")
    reads = (b"data:", read.set)
    answer = ask(running.port, body=chat("x", stream=True), host="two", leaks=(), reads=reads)
    assert (answer.status, answer.complete, who(answer)) == (200, False, ("first", "1"))
    assert "[DONE]" not in answer.events
    assert len(first.requests) == 1


def test_a_stream_that_falls_silent_is_cut(tmp_path: Path, first: Vendor) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        f"streamIdleTimeout: 2s\nprovider: {{type: qwen, apiTokens: [sk-PLANTED], endpoint: {first.url}}}\n"
    )
    cut = threading.Event()
    first.reply = Reply(200, (FRAME % b"a", cut, FRAME % b"b"), SSE)
    with processes.gateway(tmp_path, "--config", str(path)) as gateway:
        answer = ask(gateway.port, body=chat("x", stream=True), leaks=())
    cut.set()
    assert (answer.status, answer.complete, answer.text) == (200, False, "a")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_slow_vendors_are_left(running: Gateway, first: Vendor, stream: bool) -> None:
    left = threading.Event()
    first.reply = Reply(200, (b"{}",), wait=left)
    answer = ask(running.port, body=chat("x", stream=stream), host="slow-stream" if stream else "slow-whole")
    left.set()
    assert (said(answer)[-1], who(answer)) == ("x", ("openai", "2"))


def test_a_stream_that_has_begun_may_take_its_time(running: Gateway, first: Vendor) -> None:
    last = FRAME.replace(b'"null"', b'"stop"') % b""
    first.reply = Reply(200, (FRAME % b"a", FRAME % b"b", FRAME % b"c", last), SSE, pause=0.8)  # 2.4 s until the last
    answer = ask(running.port, body=chat("x", stream=True), host="slow", leaks=())
    assert (said(answer), who(answer)) == ("abc", ("first", "1"))


def test_a_group_shares_and_covers_for_each_other(running: Gateway) -> None:
    shares = Counter(who(ask(running.port, body=chat("x"), host="shares"))[0] for _ in range(60))
    assert shares["openai"] > shares["qwen"] > 2
    seen = set()
    while seen != {("openai", "1"), ("openai", "2")}:
        answer = ask(running.port, body=chat("x"), host="half-down")
        assert answer.status == 200
        seen.add(who(answer))
        assert seen <= {("openai", "1"), ("openai", "2")}


def test_with_nobody_else_to_ask_a_retry_waits_as_long_as_the_vendor_says(running: Gateway, first: Vendor) -> None:
    refusal = {"code": "Throttling", "message": "m", "request_id": "r"}
    first.replies = [Reply(429, (json.dumps(refusal).encode(),), {"retry-after": "1"})]
    first.reply = Reply(
        200, (json.dumps({"output": {"text": "ja", "finish_reason": "stop"}, "request_id": "r"}).encode(),)
    )
    started = time.monotonic()
    answer = ask(running.port, body=chat("x"), host="waits", leaks=())
    assert (said(answer), who(answer)) == ("ja", ("first", "2"))
    assert time.monotonic() - started > 0.9


def keys_of(vendor: Vendor) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer sk-PLANTED-") for request in vendor.requests]


def test_a_refused_key_gives_way_and_rests(running: Gateway, first: Vendor) -> None:
    ok = Reply(200, (json.dumps(OPENAI).encode(),))

    def next_keys(*replies: Reply, times: int = 1) -> list[str]:
        first.requests.clear()
        first.reply, first.replies = ok, list(replies)
        for _ in range(times):
            answer = ask(running.port, body=chat("x"), host="keys")
            assert (said(answer), who(answer)) == ("二", ("keys", str(1 + len(replies))))
        return keys_of(first)

    briefly, other = next_keys(Reply(429, headers={"retry-after": "1"}))
    assert briefly != other
    processes.until(lambda: next_keys() == [briefly], "its rest is over")
    throttled, other = next_keys(Reply(429, headers={"retry-after": "100"}))
    assert throttled != other
    assert throttled not in next_keys(times=10)
    # A key that the vendor does not know is set aside for its cool-down.
    refused, good = next_keys(Reply(401))
    assert {throttled, refused, good} == {"key-1", "key-2", "key-3"}
    assert set(next_keys(times=10)) == {good}


def test_a_vendor_that_keeps_failing_is_left_out(running: Gateway, first: Vendor) -> None:
    assert who(ask(running.port, body=chat("x"), host="eject")) == ("openai", "2")
    processes.until(lambda: who(ask(running.port, body=chat("x"), host="eject")) == ("openai", "1"), "it is left out")


def test_a_long_stream_that_comes_at_once_arrives(running: Gateway, first: Vendor) -> None:
    piece = b"".join(FRAME % (b"x" * 500_000) for _ in range(4))
    last = FRAME.replace(b'"null"', b'"stop"') % b""
    first.reply = Reply(200, (*([piece] * 10), last), SSE)
    answer = ask(running.port, body=chat("x", stream=True), host="alone", leaks=())
    assert len(said(answer)) == 20_000_000
    first.reply = Reply(200, (b"data:" + b"x" * 20_000_000 + b"\n\n",), SSE)
    answer = ask(running.port, body=chat("x", stream=True), host="alone", leaks=())
    assert answer.events[-1]["error"]["code"] == "bad_upstream_response"
    assert said(ask(running.port, body=chat("x"), host="two"))


def test_a_picture_of_many_megabytes_is_one_event(running: Gateway, first: Vendor) -> None:
    picture = b'{"type":"image_generation.completed","b64_json":"%b"}' % (b"QUJD" * 3_500_000)
    first.reply = Reply(200, (b"data: " + picture[:5_000_000], picture[5_000_000:], b"\n\n"), SSE)
    body = {"model": "picture", "prompt": "x", "stream": True}
    answer = ask(running.port, path="/v1/images/generations", body=body, host="pictures", leaks=())
    assert (answer.status, answer.complete, len(answer.body)) == (200, True, len(picture) + 8)
    assert [event["type"] for event in answer.events] == ["image_generation.completed"]
    assert said(ask(running.port, body=chat("x"), host="two"))


def refused(config: str, directory: Path, *options: str) -> Any:
    path = directory / "gateway.yaml"
    path.write_text(config)
    with processes.command(directory, "run", "--config", str(path), *options) as process:
        return process.wait(), process.errors


def test_fallback_needs_its_place(tmp_path: Path) -> None:
    providers = "providers: [{id: a, type: openai}, {id: b, type: openai}]\n"
    config = providers + "routes: [{name: r, provider: [{provider: a}, {provider: b}]}]\n"
    code, errors = refused(config, tmp_path, "--placement", "listener")
    assert code == 2
    assert "route r has several providers, which needs --placement upstream" in errors


def test_alone_a_refusal_without_a_body_is_an_error_in_json(running: Gateway, first: Vendor) -> None:
    for reply, status in (
        (Reply(429, headers={"content-length": "0", "retry-after": "7"}), 429),
        (Reply(204), 502),
    ):
        first.reply = reply
        answer = ask(running.port, body=chat("x"), host="alone")
        assert (answer.status, answer.headers["content-type"], who(answer)) == (
            status,
            "application/json",
            ("first", "1"),
        )
        assert answer.json["error"]["message"]
        assert answer.headers.get("retry-after") == reply.headers.get("retry-after")


@pytest.mark.parametrize("value", ['"cut \\ud83d"', "1e400"])
def test_what_envoy_cannot_read_bypasses_no_route_by_model(running: Gateway, second: Vendor, value: str) -> None:
    """Envoy's reader of JSON refuses what is legal, and then knows of no model."""

    def post(host: str, model: str) -> Answer:
        body = f'{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"user":{value}}}'
        return ask(running.port, body=body.encode(), host=host)

    assert (post("unread", "banned-1").status, post("unread-only", "other").status) == (404, 404)
    assert second.requests == []
    by_model = post("unread", "a1")
    assert said(by_model).endswith("你说：hi")
    assert who(by_model) == ("openai", "1")
    assert who(post("unread-only", "a1")) == who(post("unread", "other")) == ("second", "1")
    for seen, model in zip(second.requests, ("a1", "other"), strict=True):
        assert json.loads(seen.body)["model"] == model
        assert value.encode() in seen.body
        assert not [name for name in seen.headers if name.startswith("x-ai-proxy")]
    answer = ask(running.port, body=b'{"model":"a1","messages":', host="unread")
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_json")


def test_a_stream_that_envoy_cannot_read_keeps_its_patience(running: Gateway, first: Vendor) -> None:
    """`firstByteTimeout`, not the longer `perTryTimeout`."""
    left = threading.Event()
    first.reply = Reply(wait=left)
    body = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}],"user":"\\ud83d"}'
    answer = ask(running.port, body=body, host="slow-stream")
    left.set()
    assert (who(answer), answer.complete, answer.text[-2:]) == (("openai", "2"), True, "hi")


@pytest.mark.parametrize("host", ["two", "models"], ids=["a body that Envoy does not read", "one that it reads"])
def test_a_slow_line_is_nothing_to_the_vendor(running: Gateway, first: Vendor, host: str) -> None:
    """Many servers give up a connection that stays silent, and a picture may take a minute to come."""
    first.reply, before = Reply(503), first.heads
    body = json.dumps(chat("慢", model="a1")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}.test\r\ncontent-length: {len(body)}\r\n"
    with Connection(running.port) as connection:
        connection.send(f"{head}content-type: application/json\r\n\r\n".encode(), body[:40])
        time.sleep(0.5)
        assert first.heads == before
        connection.send(body[40:])
        assert said(connection.answer()).endswith("慢")
    assert len(first.requests) == (host == "two")
