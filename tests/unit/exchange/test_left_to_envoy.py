"""`usage: {passed: envoy}`: which answers Envoy counts, and what becomes of what it tells."""

from typing import Any

import pytest

from extproc.exchange.exchange import Exchange, Moment, Snapshot
from extproc.limits.buckets import Rules
from extproc.terms.agreed import CLUSTER_ATTRIBUTE, ROUTE_ATTRIBUTE
from extproc.terms.events import BodyMode, Counts, Forward, RequestBody, RequestHeaders, ResponseHeaders
from tests.unit.exchanges import HEAD, JSON, SSE, VIA
from tests.unit.player import config_of
from tests.unit.vectors import dump

OPENAI = {"id": "p", "type": "openai", "apiTokens": ["sk-o"], "usage": {"passed": "envoy"}}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
ASKING = {**CHAT, "stream_options": {"include_usage": True}}
TYPED = {"model": "m", "input": "hi", "stream": True}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}
LIMITS = [{"requests": 5, "per": "minute"}]


def sent(
    body: Any, path: str = HEAD[":path"], provider: Any = OPENAI, attributes: Any = None, attempt: int = 1, **more: Any
) -> tuple[Exchange, Forward]:
    config = config_of({"providers": [provider], **more})
    exchange = Exchange(Snapshot(config, {}, rules=Rules(config) if config.has_limits else None), Moment(0.0, 1))
    exchange.handle(RequestHeaders({**HEAD, ":path": path}, False, attributes or {}))
    exchange.record.attempt = attempt
    reply = exchange.handle(RequestBody(dump(body)))
    assert isinstance(reply, Forward), reply
    return exchange, reply


def answered(exchange: Exchange, head: dict[str, str]) -> Forward:
    reply = exchange.handle(ResponseHeaders(head, False, VIA))
    assert isinstance(reply, Forward), reply
    return reply


LEFT = {"chat": (ASKING, HEAD[":path"]), "responses": (TYPED, "/v1/responses")}


@pytest.mark.parametrize("case", LEFT)
def test_a_stream_is_left_to_envoy_and_its_counts_are_told(case: str) -> None:
    exchange, reply = sent(*LEFT[case])
    assert reply.metadata["counting"] == "envoy"
    assert reply.metadata["estimated"] is True
    reply = answered(exchange, SSE)
    assert (reply.response_mode, reply.body) == (BodyMode.COUNTED, None)
    reply = exchange.handle(Counts(USAGE, whole=True))
    assert isinstance(reply, Forward)
    told = {name: reply.metadata[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens", "estimated")}
    assert told == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "estimated": False}
    exchange.close()
    assert exchange.record.complete
    assert exchange.record.usage.cached_tokens == 2


READ: dict[str, dict[str, Any]] = {
    "a chat that does not ask": {"body": CHAT},
    "a whole answer": {"body": {**ASKING, "stream": False}},
    "another name": {"body": ASKING, "provider": {**OPENAI, "modelMapping": {"m": "v"}}},
    "converted": {"body": TYPED, "path": "/v1/responses", "provider": {**OPENAI, "responsesApi": "convert"}},
    "completions": {"body": {"model": "m", "prompt": "hi", "stream": True}, "path": "/v1/completions"},
    "with limits": {"body": ASKING, "limits": LIMITS},
    "attached": {"body": ASKING, "attributes": {ROUTE_ATTRIBUTE: "theirs", CLUSTER_ATTRIBUTE: "c"}},
}


@pytest.mark.parametrize("case", READ)
def test_what_is_read_here_is_not_left_to_envoy(case: str) -> None:
    exchange, reply = sent(**READ[case])
    assert reply.metadata["counting"] == "here"
    assert answered(exchange, SSE).response_mode not in (BodyMode.COUNTED, BodyMode.NONE)


def test_an_attempt_takes_back_what_the_one_before_said_to_envoy() -> None:
    reading = {**OPENAI, "usage": {"passed": "read"}}
    assert "counting" not in sent(ASKING, provider=reading)[1].metadata
    assert sent(ASKING, provider=reading, attempt=2)[1].metadata["counting"] == "here"


@pytest.mark.parametrize("head", [JSON, {**SSE, "content-encoding": "gzip"}, {**SSE, ":status": "201"}])
def test_nothing_of_an_answer_is_read_that_envoy_may_have_counted(head: dict[str, str]) -> None:
    exchange, _ = sent(ASKING)
    assert answered(exchange, head).response_mode is None
    exchange.close()
    assert exchange.record.usage.estimated
    assert exchange.handle(Counts(USAGE, whole=True)) == Forward()


@pytest.mark.parametrize(("usage", "prompt"), [({"prompt_tokens": 7}, 7), ({}, None)])
def test_what_envoy_lost_a_part_of_is_an_estimate(usage: dict[str, Any], prompt: int | None) -> None:
    exchange, _ = sent(ASKING)
    asked = exchange.record.usage.prompt_tokens
    answered(exchange, SSE)
    exchange.handle(Counts(usage, whole=False))
    assert (exchange.record.usage.prompt_tokens, exchange.record.usage.estimated) == (prompt or asked, True)


def test_a_stream_that_is_not_told_of_costs_its_input() -> None:
    exchange, _ = sent(ASKING)
    answered(exchange, SSE)
    exchange.close()
    assert (exchange.record.complete, exchange.record.untold) == (False, True)
    assert exchange.record.usage.estimated
    assert exchange.record.usage.total_tokens == exchange.record.usage.prompt_tokens
    assert exchange.record.cost is None


def test_a_fault_of_ours_lets_the_answer_end() -> None:
    exchange, _ = sent(ASKING)
    answered(exchange, SSE)
    assert exchange.crash() == Forward()
