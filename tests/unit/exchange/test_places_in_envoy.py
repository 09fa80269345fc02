"""The same exchange in the three places where Envoy may have the filter: before the routes, in a provider's cluster,
and at the door. What Envoy itself does there is asked of a real one in tests/contract."""

import json
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.exchange.exchange import Exchange, Moment, Snapshot
from extproc.terms.agreed import (
    CLIENT_ATTRIBUTE,
    DOOR_ATTRIBUTE,
    LOCAL_ROUTE,
    MODEL_ATTRIBUTE,
    PLACE_ATTRIBUTE,
    PROVIDER_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    UNREAD_ROUTE,
)
from extproc.terms.events import Answer, Forward, Reply, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders

HEAD = {
    ":method": "POST",
    ":path": "/v1/chat/completions?a=b",
    "content-type": "application/json",
    "authorization": "Bearer client",
    "accept": "x/y",
    "x-envoy-attempt-count": "1",
}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "你好"}]}


def config(*providers: dict[str, Any], **more: Any) -> Config:
    route = {"name": "r", "provider": [{"provider": p["id"]} for p in providers]}
    return Config.model_validate({"providers": providers, "routes": [route], **more})


QWEN = {"id": "q", "type": "qwen", "apiTokens": ["sk-q"]}
AZURE = {"id": "a", "type": "azure", "apiTokens": ["sk-a"], "azureServiceUrl": "https://r?api-version=1"}
OWN = {"id": "o", "type": "openai"}


def placed(config: Config, provider: str, client: dict[str, str] | None = None, **more: str) -> dict[str, str]:
    """What Envoy tells of an attempt under a configuration. `client`: the head as the client sent it."""
    state = json.dumps({**(client or HEAD), "id": "random"}) + "\n"
    place = config.by_id[provider].place
    return {PROVIDER_ATTRIBUTE: provider, PLACE_ATTRIBUTE: place, ROUTE_ATTRIBUTE: "r", CLIENT_ATTRIBUTE: state, **more}


def ask(
    snapshot: Snapshot, head: dict[str, str], attributes: dict[str, str], body: Any = CHAT
) -> tuple[Exchange, Reply]:
    exchange = Exchange(snapshot, Moment(0.0, 1))
    reply = exchange.handle(RequestHeaders(head, False, attributes))
    if isinstance(reply, Forward) and reply.request_mode is not None:
        reply = exchange.handle(RequestBody(json.dumps(body).encode()))
    return exchange, reply


def sent(reply: Reply) -> Forward:
    assert isinstance(reply, Forward), reply
    return reply


def left_by(reply: Forward, head: dict[str, str]) -> dict[str, str]:
    """The head that the next attempt sees."""
    return {k: v for k, v in head.items() if k not in reply.remove_headers} | dict(reply.set_headers)


def test_an_attempt_goes_where_envoy_sent_it_and_names_no_cluster() -> None:
    snapshot = Snapshot(config(QWEN, AZURE), {})
    _, reply = ask(snapshot, HEAD, placed(snapshot.config, "q"))
    assert sent(reply).set_headers[":path"] == "/api/v1/services/aigc/text-generation/generation?a=b"
    assert not sent(reply).reroute
    assert not [name for name in sent(reply).set_headers if name.startswith("x-ai-proxy")]
    assert "x-envoy-attempt-count" in sent(reply).remove_headers


@pytest.mark.parametrize("first", [QWEN, AZURE], ids=lambda p: str(p["type"]))
@pytest.mark.parametrize("second", [QWEN, AZURE, OWN], ids=lambda p: str(p["type"]))
def test_a_second_attempt_is_what_a_first_one_would_have_been(first: dict[str, Any], second: dict[str, Any]) -> None:
    snapshot = Snapshot(config(first, {**second, "id": "second"}), {})
    _, before = ask(snapshot, HEAD, placed(snapshot.config, first["id"]))
    head = left_by(sent(before), HEAD) | {"x-envoy-attempt-count": "2"}
    _, again = ask(snapshot, head, placed(snapshot.config, "second"))
    _, alone = ask(snapshot, HEAD, placed(snapshot.config, "second"))
    strip = {"x-envoy-attempt-count"}
    assert {k: v for k, v in left_by(sent(again), head).items() if k not in strip} == {
        k: v for k, v in left_by(sent(alone), HEAD).items() if k not in strip
    }
    assert sent(again).body == sent(alone).body


def test_a_header_of_the_client_in_utf_8_comes_through_a_second_attempt() -> None:
    head = HEAD | {"accept": "好".encode().decode("latin-1")}
    snapshot = Snapshot(config(QWEN, OWN), {})
    _, reply = ask(
        snapshot, HEAD | {"x-envoy-attempt-count": "2"}, placed(snapshot.config, "o", HEAD | {"accept": "好"})
    )
    assert left_by(sent(reply), HEAD)["accept"] == head["accept"]


def test_a_step_s_model_is_asked_for_as_it_is() -> None:
    snapshot = Snapshot(config({**OWN, "modelMapping": {"*": "mapped"}}), {})
    exchange, reply = ask(snapshot, HEAD, placed(snapshot.config, "o", **{MODEL_ATTRIBUTE: "other"}))
    assert json.loads(sent(reply).body or b"")["model"] == "other"
    assert (exchange.record.model, exchange.record.upstream_model) == ("m", "other")


def test_envoy_may_still_choose_by_the_configuration_before() -> None:
    before, now = config(OWN), config(QWEN)
    _, reply = ask(Snapshot(now, {}, others=(before,)), HEAD, placed(before, "o"))
    assert sent(reply).set_headers[":authority"] == "api.openai.com"
    _, reply = ask(Snapshot(now, {}), HEAD, placed(before, "o"))
    assert isinstance(reply, Answer)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_a_key_goes_to_its_own_vendor_while_an_id_changes_hands() -> None:
    before, after = config({**QWEN, "endpoint": "https://old.test"}), config({**QWEN, "endpoint": "https://new.test"})
    _, reply = ask(Snapshot(before, {}), HEAD, placed(after, "q"))  # Envoy is there already, we are not
    assert isinstance(reply, Answer)
    assert json.loads(reply.body)["error"]["code"] == "configuration_changing"
    _, reply = ask(Snapshot(after, {}, others=(before,)), HEAD, placed(before, "q"))
    assert sent(reply).set_headers[":authority"] == "old.test"


def test_an_unreadable_answer_keeps_the_door_open_for_the_next_vendor() -> None:
    for kind, whole in (("application/json", b"{"), ("text/html", b"<html>")):
        snapshot = Snapshot(config(QWEN), {})
        exchange, _ = ask(snapshot, HEAD, placed(snapshot.config, "q"), CHAT | {"stream": True})
        exchange.handle(ResponseHeaders({":status": "200", "content-type": kind}, False))
        reply = sent(exchange.handle(ResponseBody(whole, True)))
        assert reply.set_headers[":status"] == "502"
        assert json.loads(reply.body or b"")["error"]["code"] == "bad_upstream_response"


def test_nothing_is_forwarded_where_envoy_has_nothing_to_forward_to() -> None:
    _, reply = ask(Snapshot(config(OWN), {}), HEAD, {ROUTE_ATTRIBUTE: LOCAL_ROUTE})
    assert isinstance(reply, Answer)
    assert reply.status == 503


def test_what_envoy_could_not_read_is_told_and_chosen_again() -> None:
    snapshot = Snapshot(config(OWN), {})
    exchange, reply = ask(snapshot, HEAD, {ROUTE_ATTRIBUTE: UNREAD_ROUTE}, CHAT | {"stream": True})
    assert dict(sent(reply).told) == {"unread": False, "model": "m", "stream": True}
    assert (sent(reply).reroute, sent(reply).body) == (True, None)
    assert exchange.record.path == ""  # the line in the log is the next one's


def test_at_the_door_only_the_key_counts() -> None:
    guarded = Snapshot(config(OWN, clients=[{"name": "c", "key": "client"}]), {})
    door = {DOOR_ATTRIBUTE: "ai_proxy"}
    exchange, reply = ask(guarded, HEAD | {":path": "/nix"}, door)
    assert sent(reply).final
    assert exchange.record.path == ""  # no line in the log
    exchange, reply = ask(guarded, HEAD | {"authorization": "Bearer wrong"}, door)
    assert isinstance(reply, Answer)
    assert (reply.status, exchange.record.path) == (401, "/v1/chat/completions")


def test_one_request_too_many_is_refused_at_once() -> None:
    _, reply = ask(Snapshot(config(OWN), {}, full=True), HEAD, {})
    assert isinstance(reply, Answer)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert json.loads(reply.body)["error"]["code"] == "overloaded"
