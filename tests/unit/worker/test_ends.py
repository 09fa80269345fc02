"""Who ended an exchange that nobody finished: told a moment later, too early, or never."""

from collections.abc import Callable

import pytest

from extproc.exchange.states import Record
from extproc.worker import ends
from extproc.worker.ends import Ends


class Desk:
    """`said`: what was accounted. `later`: what is to be called after a while."""

    def __init__(self) -> None:
        self.said: list[tuple[str | None, int, str | None]] = []
        self.later: list[Callable[[], None]] = []
        self.ends = Ends(lambda seconds, work: self.later.append(work))

    def over(self, request_id: str | None = "r", attempt: int = 1, **known: object) -> None:
        record = Record(path="/v1/chat/completions", request_id=request_id, attempt=attempt)
        for name, value in known.items():
            setattr(record, name, value)
        self.ends.over(record, lambda: self.said.append((record.request_id, record.attempt, record.error)))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_it_waits_for_the_word_and_is_accounted_once(desk: Desk) -> None:
    desk.over()
    assert desk.said == []
    desk.ends.tell("another", 1, "vendor_cut")
    desk.ends.tell("r", 2, "vendor_cut")
    assert desk.said == []
    desk.ends.tell("r", 1, "client_left")
    desk.ends.tell("r", 1, "vendor_cut")
    desk.later.pop()()
    desk.ends.close()
    assert desk.said == [("r", 1, "client_left")]


def test_a_word_that_comes_too_early(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ends.tell("r", 1, "client_left")
    desk.over()
    assert desk.said == [("r", 1, "client_left")]
    desk.over()  # the same id again: another exchange
    assert len(desk.said) == 1
    monkeypatch.setattr(ends, "PATIENCE", -1.0)
    desk.ends.tell("old", 1, "client_left")
    desk.over("old")
    assert len(desk.said) == 1


def test_attempts_without_a_number_are_told_in_order(desk: Desk) -> None:
    desk.over(attempt=2)
    desk.over(attempt=1)
    desk.ends.tell("r", None, "vendor_cut")
    desk.ends.tell("r", 2, "client_left")
    assert desk.said == [("r", 1, "vendor_cut"), ("r", 2, "client_left")]


def test_without_a_word_it_is_accounted_after_a_while_or_at_the_end(desk: Desk) -> None:
    desk.over("a")
    desk.over("b")
    desk.later[0]()
    assert desk.said == [("a", 1, None)]
    desk.ends.close()
    assert desk.said == [("a", 1, None), ("b", 1, None)]


def test_what_is_finished_or_unknown_to_envoy_s_log_does_not_wait(desk: Desk) -> None:
    desk.over(complete=True)
    desk.over(path="")
    desk.over(None)
    assert len(desk.said) == 3
    alone = Desk()
    alone.ends = Ends()
    alone.over()
    assert len(alone.said) == 1


def test_what_waits_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "_MOST", 3)
    for n in range(5):
        desk.ends.tell(f"early-{n}", 1, "client_left")
    for n in range(5):
        desk.over(f"{n}")
    assert [said[0] for said in desk.said] == ["3", "4"]
    desk.over("early-0")
    desk.over("early-4")
    assert desk.said[2:] == [("early-0", 1, None), ("early-4", 1, "client_left")]


@pytest.mark.parametrize("word", ["client_left", None])
def test_an_end_that_nobody_tells_is_no_cut_where_envoy_counts(word: str | None, desk: Desk) -> None:
    """Envoy 1.40 says nothing of an answer that was there at once: an error is what its log calls one."""
    record = Record(path="/v1/chat/completions", request_id="r", untold=True)
    desk.ends.over(record, lambda: desk.said.append(("r", 1, record.error)))
    if word:
        desk.ends.tell("r", 1, word)
    else:
        desk.later.pop()()
    assert desk.said == [("r", 1, word)]
    assert record.complete is (word is None)


def test_where_nobody_reads_envoy_s_log_neither() -> None:
    record, said = Record(path="/v1/chat/completions", request_id="r", untold=True), []
    Ends().over(record, lambda: said.append(record.complete))
    assert said == [True]
