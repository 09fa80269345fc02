"""What a worker counts of an exchange."""

from decimal import Decimal
from typing import Any

import pytest

from extproc.exchange.states import Record
from extproc.terms.tallies import FIRST_SECONDS, OTHER, PACE_SECONDS, SECONDS, TOKENS, Key, Tally
from extproc.terms.usage import Usage
from extproc.worker import books
from extproc.worker.account import Clock
from extproc.worker.books import Books, Times


def record(**more: Any) -> Record:
    known = {
        "path": "/v1/chat/completions",
        "operation": "chat",
        "route": "r",
        "provider": "p",
        "model": "gpt",
        "upstream_model": "qwen",
        "status": 200,
        "complete": True,
    }
    return Record(**(known | more))


def counted(record: Record, times: Times = Times(2.0, 0.5, None, 0.002)) -> tuple[Key, Tally]:  # noqa: B008  frozen
    kept = Books()
    kept.add(record, times)
    ((key, tally),) = kept.take()
    return key, tally


def test_a_whole_answer() -> None:
    key, tally = counted(record(client="alice", usage=Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=3)))
    assert key == Key("alice", "chat", "chat", "r", "p", "gpt", "qwen", "2xx", "", False, False)
    assert (tally.exchanges, tally.retries, tally.cut) == (1, 0, 0)
    assert (tally.input, tally.cached, tally.written, tally.output, tally.thinking) == (10, 3, 0, 4, 0)
    assert tally.duration.counts[SECONDS.index(2.56)] == 1
    assert tally.duration.sum == 2.0
    assert tally.asked.counts[TOKENS.index(16.0)] == tally.told.counts[TOKENS.index(4.0)] == 1
    assert not tally.first.counts
    assert not tally.pace.counts  # a whole answer has no pace


def test_a_stream_has_a_first_chunk_and_a_pace() -> None:
    _, tally = counted(record(stream=True, usage=Usage(completion_tokens=11)), Times(1.5, 0.4, 0.5, 0.001))
    assert tally.first.counts[FIRST_SECONDS.index(0.5)] == 1
    assert tally.pace.counts[PACE_SECONDS.index(0.1)] == 1  # a second for the ten tokens after the first
    assert not tally.asked.counts  # nobody said


@pytest.mark.parametrize(
    ("more", "times", "expected"),
    [
        (
            {"status": 429, "error": "rate_limit_exceeded"},
            Times(1, 0.9, None, 0),
            ("4xx", "rate_limit_exceeded", False),
        ),
        ({"status": 404, "error": "no_route", "refused": True}, Times(0.1, None, None, 0), ("4xx", "no_route", True)),
        ({"status": 500, "error": "what a vendor says"}, Times(1, 0.9, None, 0), ("5xx", OTHER, False)),
        ({"status": 200, "complete": False}, Times(1, 0.9, 0.9, 0), ("2xx", "cut", False)),
        ({"status": None, "complete": False}, Times(1, None, None, 0), ("none", "cut", False)),
        ({"status": 999}, Times(1, 0.9, None, 0), (OTHER, "", False)),
    ],
)
def test_how_it_ended(more: dict[str, Any], times: Times, expected: tuple[str, str, bool]) -> None:
    key, tally = counted(record(**more), times)
    assert (key.status, key.error, key.refused) == expected
    assert tally.cut == (expected[1] == "cut")


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({"complete": False}, True),  # what was delivered is estimated
        ({"complete": False, "status": None}, True),  # the vendor may have begun
        ({"status": 429, "error": "rate_limit_exceeded"}, False),
        ({"status": 403, "error": "model_not_allowed", "refused": True}, False),
    ],
)
def test_an_estimate_counts_where_a_vendor_worked(more: dict[str, Any], counts: bool) -> None:
    key, tally = counted(record(usage=Usage(10, 2, 12, estimated=True), cost=Decimal("0.5"), currency="CNY", **more))
    assert key.estimated is counts
    assert (tally.input, tally.output) == ((10, 2) if counts else (0, 0))
    assert tally.costs == ({"CNY": Decimal("0.5")} if counts else {})


def test_what_a_vendor_counts_of_a_refusal_counts() -> None:
    key, tally = counted(record(usage=Usage(10, 0, 10), status=400, error="content_filter"))
    assert (key.estimated, tally.input) == (False, 10)


def test_costs_images_and_seconds() -> None:
    used = Usage(images=2, seconds=1.5, characters=30)
    _, tally = counted(record(usage=used, cost=Decimal("0.04"), currency="USD"))
    assert (tally.images, tally.seconds, tally.characters) == (2, 1.5, 30)
    assert tally.costs == {"USD": Decimal("0.04")}


def test_a_retry_is_counted_as_one() -> None:
    assert counted(record(attempt=2))[1].retries == 1


def test_the_same_again_is_one_entry_and_what_was_taken_is_gone() -> None:
    kept = Books()
    for _ in range(3):
        kept.add(record(), Times(1, 1, None, 0))
    kept.add(record(model="other"), Times(1, 1, None, 0))
    assert sorted(tally.exchanges for _, tally in kept.take()) == [1, 3]
    assert kept.take() == []


def test_names_of_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_KEYS", 3)
    kept = Books()
    for n in range(10):
        kept.add(record(model=f"{n}" * 500, upstream_model=None), Times(1, 1, None, 0))
    taken = kept.take()
    assert {len(key.model) for key, _ in taken} == {200, len(OTHER)}
    assert sum(tally.exchanges for _, tally in taken) == 10
    assert len(taken) == 4


def test_what_the_sidecar_took_is_summed_until_the_first_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from extproc.terms.events import Forward, ResponseBody, ResponseHeaders

    now = iter([10.25, 11.5, 12.0, 13.0])
    monkeypatch.setattr("extproc.worker.account.time.monotonic", lambda: next(now))
    clock = Clock(10.0)
    clock.note(None, None, 10.125, stream=False)
    clock.note(ResponseHeaders({}, {}, False), Forward(), 11.25, stream=True)
    assert not clock.over
    clock.note(ResponseBody(b"x", False), Forward(body=b"y"), 11.5, stream=True)
    assert clock.over
    clock.stop()
    assert clock.times() == Times(3.0, 1.5, 2.0, 0.125 + 0.25 + 0.5)


def test_who_takes_is_called_once_until_it_took() -> None:
    kept, calls = Books(), 0

    def called() -> None:
        nonlocal calls
        calls += 1

    kept.first = called
    for _ in range(2):
        for model in ("a", "b", "a"):
            kept.add(record(model=model), Times(2.0, 0.5, None, 0.002))
        assert len(kept.take()) == 2
    assert calls == 2
