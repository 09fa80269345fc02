"""Which key is used next: turns, rests, and keys that are set aside until they work again."""

import math
from typing import Any

import pytest

from extproc.keys.choice import Keys, Rest, fingerprint
from extproc.providers import OpenAI

NOW = 1_700_000_000.0


def provider(keys: int = 3, **failover: Any) -> OpenAI:
    block: dict[str, Any] = {"type": "openai", "apiTokens": [f"k{n}" for n in range(keys)]}
    return OpenAI.model_validate(block | ({"failover": {"enabled": True, **failover}} if failover else {}))


def test_a_provider_without_keys_has_none() -> None:
    assert Keys().choose(OpenAI.model_validate({"type": "openai"}), 5, 1, NOW) is None


def test_attempts_of_one_request_take_turns_and_requests_start_anywhere() -> None:
    keys = Keys()
    assert [keys.choose(provider(), 4, attempt, NOW) for attempt in (1, 2, 3, 4)] == ["k1", "k2", "k0", "k1"]
    assert {keys.choose(provider(), chance, 1, NOW) for chance in range(9)} == {"k0", "k1", "k2"}


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("2", 2),
        ("0.5", 0.5),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10),
        ("99999999", 3600),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
        ("0", 0),
        ("-5", 0),
        ("soon", 0),
        (None, 0),
    ],
)
def test_a_throttled_key_rests_for_its_retry_after(retry_after: str | None, seconds: float) -> None:
    keys, both = Keys(), provider(2)
    keys.report(both, "k0", 429, retry_after, NOW, NOW)
    rested = {keys.choose(both, chance, 1, NOW + max(seconds - 0.1, 0)) for chance in range(4)}
    assert rested == ({"k1"} if seconds else {"k0", "k1"})
    assert {keys.choose(both, chance, 1, NOW + seconds) for chance in range(4)} == {"k0", "k1"}


def test_a_pause_that_comes_with_the_body_rests_too() -> None:
    rests: list[Rest] = []
    keys, both = Keys(rests.append), provider(2)
    keys.report(both, "k0", 429, None, NOW, NOW)
    keys.pause(both, "k0", 30, NOW)
    keys.pause(both, "k0", 10, NOW)  # no shorter
    assert {keys.choose(both, chance, 1, NOW + 29) for chance in range(4)} == {"k1"}
    assert {keys.choose(both, chance, 1, NOW + 30) for chance in range(4)} == {"k0", "k1"}
    keys.pause(both, "k1", 1e9, NOW)
    assert [rest.until - NOW for rest in rests] == [30, 3600]


def test_only_a_429_rests() -> None:
    keys, both = Keys(), provider(2)
    for status in (400, 401, 500, 503):
        keys.report(both, "k0", status, "60", NOW, NOW)
    assert {keys.choose(both, chance, 1, NOW) for chance in range(4)} == {"k0", "k1"}


def test_a_retry_takes_a_key_that_does_not_rest() -> None:
    keys, both = Keys(), provider(2)
    first = keys.choose(both, 0, 1, NOW)
    keys.report(both, str(first), 429, "60", NOW, NOW)
    assert (first, keys.choose(both, 0, 2, NOW)) == ("k0", "k1")


def test_where_all_rest_the_one_that_may_soonest_work_is_used() -> None:
    keys, both = Keys(), provider(2)
    keys.report(both, "k0", 429, "60", NOW, NOW)
    keys.report(both, "k1", 429, "30", NOW, NOW)
    assert {keys.choose(both, chance, 1, NOW) for chance in range(4)} == {"k1"}


def test_failures_in_a_row_set_a_key_aside_for_its_cool_down() -> None:
    keys, both = Keys(), provider(2, failureThreshold=2, cooldownDuration=5000)
    keys.report(both, "k0", 500, None, NOW, NOW)
    keys.report(both, "k0", 200, None, NOW, NOW)  # not in a row
    keys.report(both, "k0", 500, None, NOW, NOW)
    assert {keys.choose(both, chance, 1, NOW) for chance in range(4)} == {"k0", "k1"}
    keys.report(both, "k0", 401, None, NOW, NOW)
    assert {keys.choose(both, chance, 1, NOW + 4.9) for chance in range(4)} == {"k1"}
    assert {keys.choose(both, chance, 1, NOW + 5) for chance in range(4)} == {"k0", "k1"}


@pytest.mark.parametrize(
    ("patterns", "status", "counts"),
    [
        (["4.*"], 404, True),
        (["4.*"], 204, False),
        (["4.*"], 504, False),
        (["429", "5.."], 503, True),
        (["4"], 404, False),
    ],
)
def test_statuses_are_compared_whole(patterns: list[str], status: int, counts: bool) -> None:
    both = provider(2, failureThreshold=1, cooldownDuration=1000, failoverOnStatus=patterns)
    keys = Keys()
    keys.report(both, "k0", status, None, NOW, NOW)
    assert (keys.choose(both, 0, 1, NOW) == "k1") is counts


def test_health_checks_bring_a_key_back() -> None:
    both = provider(2, failureThreshold=1, healthCheckModel="m", successThreshold=2)
    keys = Keys()
    keys.report(both, "k0", 500, None, NOW, NOW)
    assert list(keys.set_aside(both)) == ["k0"]
    assert keys.choose(both, 0, 1, NOW + 1e9) == "k1"
    keys.report(both, "k0", 200, None, NOW, NOW)  # a late answer from before is no health check
    assert [keys.checked(both, "k0", healthy) for healthy in (True, False, True, True)] == [False, False, False, True]
    assert keys.choose(both, 0, 1, NOW) == "k0"
    assert not keys.checked(both, "k0", True)


@pytest.mark.parametrize(
    ("failover", "status", "retry_after", "told"),
    [
        ({"cooldownDuration": 5000}, 500, None, [Rest("openai", fingerprint("k0"), NOW + 5, aside=True)]),
        ({"healthCheckModel": "m"}, 500, None, [Rest("openai", fingerprint("k0"), math.inf, aside=True)]),
        (
            {"cooldownDuration": 5000, "healthCheckModel": "m"},
            401,
            "9",
            [Rest("openai", fingerprint("k0"), NOW + 5, aside=True)],
        ),
        (
            {"cooldownDuration": 5000, "failoverOnStatus": ["500"]},
            429,
            "9",
            [Rest("openai", fingerprint("k0"), NOW + 9)],
        ),
        ({"cooldownDuration": 5000}, 429, "9", [Rest("openai", fingerprint("k0"), NOW + 9, aside=True)]),
        ({"cooldownDuration": 5000, "failoverOnStatus": ["500"]}, 503, "9", []),
        ({"enabled": False, "cooldownDuration": 5000}, 500, None, []),
    ],
)
def test_what_is_told_of_a_failure(
    failover: dict[str, Any], status: int, retry_after: str | None, told: list[Rest]
) -> None:
    heard: list[Rest] = []
    Keys(heard.append).report(provider(2, failureThreshold=1, **failover), "k0", status, retry_after, NOW, NOW)
    assert heard == told


def test_a_recovery_is_told_and_believed() -> None:
    told: list[Rest] = []
    both = provider(2, failureThreshold=1, healthCheckModel="m")
    here, there = Keys(told.append), Keys(told.append)
    here.report(both, "k0", 500, None, NOW, NOW)
    there.rest(told[0])
    assert list(there.set_aside(both)) == ["k0"]
    assert there.checked(both, "k0", healthy=True)
    assert told[1:] == [Rest("openai", fingerprint("k0"), 0.0)]
    here.rest(told[1])
    here.rest(told[1])  # hearing of it again is nothing new
    assert list(here.set_aside(both)) == []
    assert len(told) == 2


def test_only_a_key_that_is_set_aside_is_checked() -> None:
    both = provider(2, failureThreshold=1, healthCheckModel="m", failoverOnStatus=["401"])
    keys = Keys()
    keys.report(both, "k0", 429, "60", NOW, NOW)
    assert list(keys.set_aside(both)) == []
    assert not keys.checked(both, "k0", healthy=True)
    assert keys.choose(both, 0, 1, NOW) == "k1"


def test_others_are_told_and_tell() -> None:
    told: list[Rest] = []
    both = provider(2)
    Keys(told.append).report(both, "k0", 429, "60", NOW, NOW)
    assert told == [Rest("openai", fingerprint("k0"), NOW + 60)]
    assert "k0" not in repr(told)
    elsewhere = Keys()
    elsewhere.rest(told[0])
    assert elsewhere.choose(both, 0, 1, NOW) == "k1"


@pytest.mark.parametrize("retry_after", ["2", "Tue, 14 Nov 2023 22:13:22 GMT"])
def test_how_long_a_key_rests_is_not_told_by_the_clock_on_the_wall(retry_after: str) -> None:
    keys, both, ticks = Keys(), provider(2), 5000.0
    keys.report(both, "k0", 429, retry_after, ticks, NOW)  # whatever becomes of NOW afterwards
    assert {keys.choose(both, chance, 1, ticks + 1.9) for chance in range(4)} == {"k1"}
    assert {keys.choose(both, chance, 1, ticks + 2.0) for chance in range(4)} == {"k0", "k1"}


@pytest.mark.parametrize(
    "retry_after", ["Tue, 99 Nov 2023 22:13:22 GMT", "Tue, 14 Nov 99999 22:13:22 GMT", "nan", "Tue"]
)
def test_a_date_that_no_calendar_has_is_no_pause(retry_after: str) -> None:
    keys, both = Keys(), provider(2)
    keys.report(both, "k0", 429, retry_after, 0.0, NOW)
    assert {keys.choose(both, chance, 1, 0.0) for chance in range(4)} == {"k0", "k1"}
