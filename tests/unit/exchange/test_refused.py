"""A vendor's refusal on its way to the client: its headers, its pause, and whose key it was."""

import json
from typing import Any

import pytest

from tests.unit.exchanges import CHAT, HEAD, VIA
from tests.unit.player import Play, config_of
from tests.unit.vectors import dump

KEY = "sk-vendor-0123456789"
ERROR = dump({"error": {"message": "no", "type": "t", "param": None, "code": "c"}})


def refused(headers: dict[str, str], body: bytes | None = ERROR, **provider: Any) -> Play:
    given = {"id": "p", "type": "openai", "apiTokens": [KEY], **provider}
    play = Play(config_of({"providers": [{k: v for k, v in given.items() if v is not None}]}))
    play.request(HEAD, dump(CHAT), {})
    play.response({"content-type": "application/json", **headers}, None if body is None else [body], attributes=VIA)
    return play


@pytest.mark.parametrize("body", [ERROR, None], ids=["a body", "none"])
@pytest.mark.parametrize("status", ["400", "429", "500"])
def test_a_failed_answer_carries_only_headers_from_a_list(status: str, body: bytes | None) -> None:
    kept = {"x-request-id": "r", "request-id": "q", "x-ratelimit-limit-requests": "9", "x-should-retry": "false"}
    named = "www-authenticate server via x-powered-by set-cookie link retry-after-ms".split()
    lost = {"location": f"https://v.example/?key={KEY}", "x-key": KEY, **dict.fromkeys(named, "1800000")}
    seen = refused({":status": status, **kept, **lost}, body).seen
    assert seen.client.items() >= kept.items()
    assert not seen.client.keys() & lost.keys()


@pytest.mark.parametrize("status", ["200", "302", "404"])
def test_a_header_that_quotes_our_key_never_leaves(status: str) -> None:
    seen = refused({":status": status, "location": f"/?k={KEY}", "x-request-id": KEY, "x-a": f"a {KEY} b"}).seen
    assert KEY not in str(seen.client)


PAUSES = [
    ({}, "1"),
    ({"retry-after": "7"}, "7"),
    ({"retry-after": "1800"}, "60"),
    ({"retry-after": "Wed, 31 Feb 2027 00:00:00 GMT"}, "1"),
    ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -9999"}, "1"),
    ({"retry-after-ms": "2500"}, "3"),
]


@pytest.mark.parametrize("status", ["429", "503"])
@pytest.mark.parametrize("body", [ERROR, None], ids=["a body", "none"])
@pytest.mark.parametrize(("headers", "told"), PAUSES)
def test_a_429_and_a_503_say_when_to_come_back(
    status: str, body: bytes | None, headers: dict[str, str], told: str
) -> None:
    assert refused({":status": status, **headers}, body).seen.client["retry-after"] == told


def test_googles_pause_is_understood() -> None:
    body = dump({"error": {"message": "m", "details": [{"retryDelay": "34.07s"}]}})
    assert refused({":status": "429"}, body).seen.client["retry-after"] == "35"


def test_our_key_refused_is_no_fault_of_the_clients() -> None:
    play = refused({":status": "401"})
    error = json.loads(play.seen.client_body)["error"]
    assert (play.seen.status, error["code"], play.exchange.record.error) == (502, "vendor_auth", "vendor_auth")
    assert "(not yours): no" in error["message"]


def test_the_clients_own_key_refused_is_a_401() -> None:
    assert refused({":status": "401"}, apiTokens=None).seen.status == 401
