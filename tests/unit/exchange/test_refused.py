"""A vendor's refusal on its way to the client: its headers, its pause, and whose key it was."""

import gzip
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


WORDS = [
    ("Rate limit reached for m in organization o on tokens per min. Please try again in 20s. Visit x", "20"),
    ("Please try again in 1m26.4s.", "60"),
    ("please try again in 350ms", "1"),
    ("Please retry after 26 seconds.", "26"),
    ("Please try again in 6m0s", "60"),
    ("Please retry after 2 minutes", "60"),
    ("retry after 3 attempts", "1"),
    ("try again in a while", "1"),
]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("message", "told"), WORDS)
def test_a_pause_in_words_is_understood(message: str, told: str, packed: bool) -> None:
    body = dump({"error": {"message": message, "type": "t", "param": None, "code": "rate_limit_exceeded"}})
    headers = {":status": "429", **({"content-encoding": "gzip"} if packed else {})}
    assert refused(headers, gzip.compress(body) if packed else body).seen.client["retry-after"] == told


IN_A_200 = {
    "whole": (None, dump({"error": {"message": "no", "code": "invalid_api_key", "type": "t"}, "status": 401})),
    "streamed": (
        True,
        b'data: {"error": {"message": "Invalid API key", "code": 401, "type": "authentication_error"}}\n\n',
    ),
}


@pytest.mark.parametrize("case", IN_A_200)
@pytest.mark.parametrize("keys", [[KEY], None], ids=["ours", "the client's"])
def test_a_refusal_of_the_key_inside_of_a_200(case: str, keys: list[str] | None) -> None:
    stream, body = IN_A_200[case]
    given = {"id": "p", "type": "vllm", "endpoint": "http://v.example", "modelMapping": {"*": "m"}, "apiTokens": keys}
    play = Play(config_of({"providers": [{k: v for k, v in given.items() if v is not None}]}))
    play.request(HEAD, dump({**CHAT, **({"stream": True} if stream else {})}), {})
    kind = "text/event-stream" if stream else "application/json"
    assert play.exchange.record.verdict is None
    play.response({":status": "200", "content-type": kind}, [body], attributes=VIA)
    error = json.loads(play.seen.client_body.removeprefix(b"data:").strip())["error"]
    if keys is None:
        assert error.get("code") != "vendor_auth"
        return
    assert (error["code"], play.exchange.record.error) == ("vendor_auth", "vendor_auth")
    assert "(not yours)" in error["message"]
    assert play.exchange.record.verdict == 401, "it is the key's failure, too"
    assert stream or play.seen.status == 502


def test_what_an_answer_says_of_the_key_is_known_when_it_is_read() -> None:
    play = refused({":status": "200"}, dump({"object": "list", "data": []}))
    assert (play.exchange.record.verdict, play.exchange.record.pause) == (200, 0)
    play = refused({":status": "429", "retry-after-ms": "1500"})
    assert (play.exchange.record.verdict, play.exchange.record.retry_after) == (429, "1.500000")
    body = dump({"error": {"message": "Please try again in 7s."}})
    assert refused({":status": "429"}, body).exchange.record.pause == 7


UNPAID = [
    ("400", "Arrearage", 60),
    ("403", "AllocationQuota.FreeTierOnly", 60),
    ("403", "AccessDenied", 0),
    ("400", "InvalidParameter", 0),
]


@pytest.mark.parametrize(("status", "code", "seconds"), UNPAID)
def test_a_key_that_nobody_paid_for_rests(status: str, code: str, seconds: int) -> None:
    """And what the words of another refusal than a 429 ask for is for the client alone."""
    body = dump({"code": code, "message": "请在 20 秒后 try again in 20s", "request_id": "r"})
    assert refused({":status": status}, body, type="qwen").exchange.record.pause == seconds


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
