"""Answers to requests that the sidecar did not translate: a vendor's is refused, Envoy's own is the gateway's."""

import json

import pytest

from extproc.config.config import Config
from extproc.exchange.exchange import Exchange
from extproc.terms.events import Answer, Event, Forward, RequestHeaders, ResponseBody, ResponseHeaders
from tests.unit.player import exchange_of

CONFIG = Config.model_validate({"providers": [{"type": "qwen", "apiTokens": ["sk-q"]}]})
HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "gateway", "content-type": "application/json"}
BEGUN: dict[str, list[Event]] = {"nothing was seen": [], "only a head was seen": [RequestHeaders(HEAD, False)]}
VENDORS = {"the vendor's": {"response.code_details": "via_upstream"}, "nobody says whose": {}}
ENVOYS = {"response.code_details": "fault_filter_abort"}
SAID = b"what the vendor said"


def begun(events: list[Event]) -> Exchange:
    exchange = exchange_of(CONFIG)
    for event in events:
        exchange.handle(event)
    return exchange


def check_refused(reply: object) -> None:
    assert isinstance(reply, Answer)
    assert reply.status == 502
    assert json.loads(reply.body)["error"]["code"] == "bad_upstream_response"
    assert SAID not in reply.body


@pytest.mark.parametrize("details", VENDORS.values(), ids=VENDORS)
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("events", BEGUN.values(), ids=BEGUN)
def test_a_vendor_s_answer_does_not_pass(events: list[Event], kind: str, details: dict[str, str]) -> None:
    exchange = begun(events)
    check_refused(exchange.handle(ResponseHeaders({":status": "200", "content-type": kind}, False, details)))
    assert exchange.record.error == "bad_upstream_response"
    assert exchange.handle(ResponseBody(SAID, True)) == Forward(body=b"")


@pytest.mark.parametrize("details", VENDORS.values(), ids=VENDORS)
@pytest.mark.parametrize("status", ["401", "503"])
def test_a_vendor_s_refusal_of_an_unseen_request_is_not_quoted(status: str, details: dict[str, str]) -> None:
    check_refused(begun([]).handle(ResponseHeaders({":status": status}, False, details)))


@pytest.mark.parametrize("events", BEGUN.values(), ids=BEGUN)
def test_a_body_without_its_head_does_not_pass(events: list[Event]) -> None:
    check_refused(begun(events).handle(ResponseBody(SAID, False)))


@pytest.mark.parametrize("status", ["200", "401", "503"])
def test_an_answer_of_the_gateway_s_own_filters_passes(status: str) -> None:
    exchange = begun([])
    assert exchange.handle(ResponseHeaders({":status": status}, False, ENVOYS)) == Forward()
    assert exchange.handle(ResponseBody(b"fault filter abort", True)) == Forward()
    assert exchange.record.error is None
