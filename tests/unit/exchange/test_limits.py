"""What an exchange asks of its limits, and what its client is told of them."""

from decimal import Decimal
from typing import Any

import pytest

from extproc.exchange.exchange import Exchange, Moment, Snapshot
from extproc.limits.asking import Ask, duration, headers, refusal
from extproc.limits.authority import Granted, Need, Verdict
from extproc.limits.buckets import UNIT, Rules, Spend, units
from extproc.terms.events import Answer, Forward, RequestBody, RequestHeaders, ResponseHeaders
from extproc.text import jsontext
from tests.unit.exchanges import CHAT, HEAD, SSE, VIA
from tests.unit.limits.test_windows import bucket
from tests.unit.player import NOW, config_of
from tests.unit.vectors import dump

CONFIG: dict[str, Any] = {
    "providers": [
        {"id": "q", "type": "qwen", "apiTokens": ["sk-q"], "modelMapping": {"big": "qwen-max", "*": "qwen-plus"}},
        {"id": "o", "type": "openai", "apiTokens": ["sk-o"]},
    ],
    "routes": [{"name": "o", "match": {"hosts": ["o"]}, "provider": "o"}, {"name": "q", "provider": "q"}],
    "clients": [
        {"name": "alice", "key": "key-of-alice", "groups": ["team"], "limits": [{"tokens": 1000, "per": "minute"}]},
        {"name": "bob", "key": "key-of-bob"},
    ],
    "limits": [
        {"match": {"models": ["qwen-max*"]}, "outputTokens": 9, "per": "day", "each": "client"},
        {"match": {"groups": ["team"], "providers": ["o"]}, "requests": 5, "per": "day"},
        {"match": {"routes": ["o"]}, "concurrent": 3, "each": "model"},
    ],
}


def sent(client: str, body: Any = CHAT, host: str = "h", path: str = HEAD[":path"], attempt: int = 1) -> Exchange:
    config = config_of(CONFIG)
    exchange = Exchange(Snapshot(config, {}, rules=Rules(config)), Moment(NOW, 5))
    head = {**HEAD, ":path": path, ":authority": host, "authorization": f"Bearer key-of-{client}"}
    reply = exchange.handle(RequestHeaders(head, False))
    exchange.record.attempt = attempt
    if isinstance(reply, Forward):
        reply = exchange.handle(RequestBody(dump(body)))
    assert isinstance(reply, Forward), reply
    return exchange


def asked(*arguments: Any, **more: Any) -> Ask:
    ask = sent(*arguments, **more).ask
    assert ask is not None
    return ask


@pytest.mark.parametrize(
    ("client", "body", "host", "names"),
    [
        ("alice", {"model": "x"}, "h", ["client alice | tokens per minute"]),
        ("bob", {"model": "x"}, "h", []),
        ("bob", {"model": "big"}, "h", ["models qwen-max*, client bob | outputTokens per day UTC"]),
        ("bob", {"model": "qwen-max-latest"}, "h", ["models qwen-max*, client bob | outputTokens per day UTC"]),
        (
            "alice",
            {"model": "gpt-5"},
            "o",
            [
                "client alice | tokens per minute",
                "groups team, providers o | requests per day UTC",
                "routes o, model gpt-5 | concurrent",
            ],
        ),
    ],
)
def test_which_limits_apply(client: str, body: dict[str, Any], host: str, names: list[str]) -> None:
    ask = sent(client, {**CHAT, **body}, host).ask
    assert [one.name for one in (ask.buckets if ask else ())] == names


@pytest.mark.parametrize(
    ("body", "host", "output"),
    [
        ({"max_tokens": 50}, "h", 50),
        ({"max_completion_tokens": 60}, "o", 60),
        ({"max_tokens": 50, "n": 3}, "o", 150),
        ({}, "o", 4096),
        ({"model": "big"}, "h", 8192),
        ({"model": "big", "max_tokens": 10**9}, "h", 8192),
        ({"max_tokens": "many"}, "o", 4096),
        ({"max_tokens": 0}, "o", 0),
    ],
)
def test_as_much_output_as_it_may_have_is_reserved(body: dict[str, Any], host: str, output: int) -> None:
    ask = asked("alice", {**CHAT, **body}, host)
    assert ask.most.output == output
    assert ask.known.output == 0
    assert ask.known.input == ask.most.input >= 1


def test_other_apis_write_nothing() -> None:
    ask = asked("alice", {"model": "e", "input": "a text of some length"}, "o", "/v1/embeddings")
    assert (ask.most.output, ask.most.input > 1) == (0, True)
    ask = asked("alice", {"model": "m", "input": "hi", "max_output_tokens": 7}, "o", "/v1/responses")
    assert ask.most.output == 7


def test_a_later_attempt_is_the_same_request_but_for_limits_of_vendors() -> None:
    needs = {need.bucket.kind: need for need in asked("alice", CHAT, "o", attempt=2).needs()}
    assert (needs["tokens"].forced, needs["tokens"].amount > 0) == (True, True)
    assert (needs["requests"].forced, needs["requests"].amount) == (False, 1)
    assert needs["concurrent"].forced


DAY_REFUSED = Verdict(by=bucket("day", limit=1000), wait=3700, used=1200)


@pytest.mark.parametrize(
    ("path", "kind"), [("/v1/chat/completions", "error"), ("/v1/messages", "error"), ("/v1/responses", "error")]
)
def test_a_refusal_in_every_dialect(path: str, kind: str) -> None:
    body = {**CHAT, "max_tokens": 5, "input": "hi"}
    exchange = sent("alice", body, path=path)
    reply = exchange.fail(refusal(DAY_REFUSED))
    assert isinstance(reply, Answer)
    assert reply.status == exchange.record.status == 429
    assert reply.headers["retry-after"] == "3700"
    assert reply.headers["x-should-retry"] == "false"
    assert exchange.record.error == "quota_exceeded"
    said = jsontext.load(reply.body)[kind]
    assert said["message"] == (
        "the limit of 1000 tokens per day for all is reached (1200 used or reserved); there is room again in 1h1m40s"
    )
    assert said["type"] == "rate_limit_error"
    if "messages" not in path:
        assert said["code"] == "quota_exceeded"
    assert exchange.record.token is None or "sk-" not in str(reply)


def test_a_budget_says_so() -> None:
    one = type(bucket("day"))("b", "client a", "usd", units_of("50"), "month", "UTC", False, 0.8)
    error = refusal(Verdict(by=one, wait=50, used=units_of("50.25")))
    assert (error.code, error.type, error.headers["retry-after"]) == ("insufficient_quota", "insufficient_quota", "50")
    assert "50 USD per month for client a is reached (50.25 used or reserved)" in error.message
    assert "x-should-retry" not in error.headers
    assert refusal(Verdict()).code == "limits_unknown"


def units_of(text: str) -> int:
    return units(Decimal(text))


def test_money_is_exact() -> None:
    assert units_of("0.000000000001") == 1
    assert sum(units_of("0.1") for _ in range(10)) == UNIT
    assert Spend(3, 4, {"usd": 9}).of("usd") == 9
    kinds = ("tokens", "inputTokens", "outputTokens", "requests", "eur")
    assert [Spend(3, 4).of(kind) for kind in kinds] == [7, 3, 4, 1, 0]


def test_a_good_answer_tells_the_tightest_of_each_kind() -> None:
    exchange = sent("alice")
    small, large = bucket("minute", limit=100), bucket("day", limit=10_000)
    needs = [Need(small, 10), Need(large, 10), Need(bucket("day", limit=4, kind="requests"), 1)]
    told = headers(needs, Verdict((Granted(0, 85, 63.0), Granted(0, 0, 7200.0), Granted(0, 0, 0.25))))
    assert told == {
        "x-ai-budget": "85%",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "5",
        "x-ratelimit-reset-tokens": "1m3s",
        "x-ratelimit-limit-requests": "4",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "250ms",
    }
    exchange.allowed(told)
    reply = exchange.handle(ResponseHeaders({**SSE, "x-ratelimit-remaining-tokens": "999999"}, False, VIA))
    assert isinstance(reply, Forward)
    assert told.items() <= reply.set_headers.items()


def test_a_refusal_of_the_vendor_tells_nothing_of_ours() -> None:
    exchange = sent("alice")
    exchange.allowed({"x-ratelimit-limit-tokens": "100"})
    reply = exchange.handle(ResponseHeaders({**SSE, ":status": "500"}, False, VIA))
    assert "x-ratelimit-limit-tokens" not in reply.set_headers  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.25, "250ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (90_000, "25h0m0s")]
)
def test_times_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
