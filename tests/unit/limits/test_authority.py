"""Leases, reservations and their ends, over several workers that may die at any time."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.limits.authority import Authority, Need, Report
from extproc.limits.buckets import Spend
from extproc.limits.ledger import Ledger, Reservation
from extproc.limits.windows import Now
from tests.unit.limits.test_windows import bucket

NOW = Now(10_000.0, 1_800_000_000.0)


def need(one: Any, amount: int, known: int = 0, *, forced: bool = False) -> Need:
    return Need(one, amount, known, forced)


class Machine:
    """Workers and their authority, without what is between them."""

    def __init__(self, workers: int) -> None:
        self.authority = Authority()
        self.ledgers = {who: Ledger() for who in range(workers)}
        self.next = workers
        self.now = NOW
        self.file: dict[str, bytes | None] = {}

    def report(self, who: int) -> None:
        if (report := self.ledgers[who].report(self.now)) is not None:
            self.authority.report(report, self.now, who)

    def reserve(self, who: int, needs: list[Need]) -> Reservation | None:
        ledger = self.ledgers[who]
        if (found := ledger.reserve(needs, self.now)) is not None:
            return found[0]
        ledger.recall([one.bucket.name for one in needs])
        self.report(who)
        verdict = self.authority.reserve(needs, self.now, who, last=False)
        if not verdict.granted:
            for lender in self.authority.lends(needs, who):
                self.ledgers[lender].recall([one.bucket.name for one in needs])
                self.report(lender)
            verdict = self.authority.reserve(needs, self.now, who)
        self.write()  # before the verdict is told
        return ledger.granted(needs, verdict, self.now) if verdict.granted else None

    def settle(self, who: int, reservation: Reservation, spend: Spend) -> None:
        if self.ledgers[who].settle(reservation, spend):
            self.report(who)

    def write(self) -> None:
        self.file |= self.authority.changed(self.now)

    def kill(self, who: int) -> None:
        self.authority.gone(who, self.now)
        del self.ledgers[who]
        self.ledgers[self.next] = Ledger()
        self.next += 1

    def kill_all(self) -> None:
        """With the supervisor; another one begins with what the file has."""
        self.authority = Authority()
        self.authority.restore({name: state for name, state in self.file.items() if state}, self.now)
        self.ledgers = {self.next + who: Ledger() for who in range(len(self.ledgers))}
        self.next += len(self.ledgers)

    def used(self, name: str) -> int:
        return next((fill.used for fill in self.authority.fills(self.now) if fill.bucket.name == name), 0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "settle", "tick", "kill", "kill all", "write"]),
        st.integers(0, 2),
        st.integers(1, 60),
        st.integers(0, 60),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(steps, st.sampled_from(["minute", "day", "second"]), st.sampled_from([100, 5000]))
def test_never_more_than_limit_and_one_reservation_whoever_is_killed_and_else_sums_are_exact(
    done: list[tuple[str, int, int, int]], per: str, limit: int
) -> None:
    one, machine = bucket(per, limit=limit), Machine(3)
    going: list[tuple[int, Reservation, int]] = []
    used = most = early = 0  # what vendors may say at most; what is counted beyond, since nobody knows better
    for what, index, amount, actual in done:
        who = sorted(machine.ledgers)[index]
        if what == "reserve":
            before = used + sum(amount for _, _, amount in going)
            found = machine.reserve(who, [need(one, amount, 1)])
            if found is not None:
                assert before < limit, "let through although nothing was left"
                going.append((who, found, amount))
                most = max(most, amount)
            else:
                assert before + early >= limit, "refused although there was room, lent to others"
        elif what == "settle" and going:
            who, found, amount = going.pop(index % len(going))
            machine.settle(who, found, Spend(min(actual, amount)))
            machine.settle(who, found, Spend(10**9))  # again: does nothing
            used += min(actual, amount)
        elif what == "tick":
            for each in machine.ledgers:
                machine.report(each)
        elif what == "write":
            machine.write()
        elif what.startswith("kill"):
            dead = [who] if what == "kill" else list(machine.ledgers)
            used += sum(amount for owner, _, amount in going if owner in dead)
            going = [other for other in going if other[0] not in dead]
            if what == "kill":
                machine.kill(who)
            else:
                machine.kill_all()
            early = limit  # how much, another test says
        assert used + sum(amount for _, _, amount in going) < limit + max(most, 1)
    for who, found, amount in going:
        machine.settle(who, found, Spend(3 if amount >= 3 else amount))
        used += 3 if amount >= 3 else amount
    for who in list(machine.ledgers):
        machine.ledgers[who].recall([one.name])
        machine.report(who)
    assert machine.used(one.name) >= used if early else machine.used(one.name) == used


def test_a_kill_counts_no_more_than_what_was_reserved_and_lent() -> None:
    one, machine = bucket("day", limit=16_000), Machine(2)
    going = [machine.reserve(0, [need(one, 100, 10)]) for _ in range(3)]  # the first brings a lease of 400
    assert all(going)
    machine.kill(0)
    assert machine.used(one.name) == 100 + 400
    machine.kill_all()
    assert machine.used(one.name) == 100 + 400


def test_what_is_lent_is_kept_also_where_the_request_needs_nothing() -> None:
    one, machine = bucket("day", limit=16_000), Machine(1)
    assert machine.reserve(0, [need(one, 0)])
    machine.kill_all()
    assert machine.used(one.name) == 4


def test_who_needs_more_is_lent_more_and_who_does_not_less() -> None:
    one, machine = bucket("day", limit=16_000), Machine(1)
    leases = []
    for pause in (0.1, 0.1, 0.1, 0.1, 0.1, 5, 5, 5, 5):
        leases.append(machine.authority.reserve([need(one, 10)], machine.now, 0).granted[0].lease)
        machine.authority.report(Report((), ((one.name, leases[-1]),)), machine.now, 0)
        machine.now = machine.now._replace(ticks=machine.now.ticks + pause)
    assert leases == [40, 80, 160, 320, 640, 996, 498, 249, 124]


def test_who_leaves_gives_back_what_was_lent() -> None:
    one, machine = bucket("day", limit=16_000), Machine(1)
    found = machine.reserve(0, [need(one, 100, 10)])
    assert found
    machine.settle(0, found, Spend(10, 5))
    machine.ledgers[0].leave()
    machine.report(0)
    machine.kill(0)
    assert machine.used(one.name) == 15
    machine.write()
    machine.kill_all()
    assert machine.used(one.name) == 15


def test_a_verdict_that_nobody_heard_of_is_undone() -> None:
    one, once, machine = bucket("day", limit=16_000), bucket(None, limit=1), Machine(1)
    needs = [need(one, 100, 10), need(once, 1)]
    verdict = machine.authority.reserve(needs, NOW, 0)
    assert verdict.granted[0].lease
    machine.authority.undo(needs, verdict, NOW, 0)
    assert not list(machine.authority.fills(NOW))
    assert machine.authority.reserve(needs, NOW, 0).granted


def test_all_or_nothing_and_the_one_with_the_longest_wait_refuses() -> None:
    minute, day = bucket("minute", limit=10), bucket("day", limit=20)
    machine = Machine(1)
    for _ in range(2):
        assert machine.reserve(0, [need(minute, 10), need(day, 10)])
        machine.now = machine.now._replace(ticks=machine.now.ticks + 63)
    verdict = machine.authority.reserve([need(minute, 1), need(day, 1)], machine.now, 0)
    assert verdict.by is not None
    assert verdict.by.per == "day"
    assert machine.used(minute.name) == 0
    machine.now = Now(machine.now.ticks, machine.now.date + verdict.wait)
    assert machine.reserve(0, [need(minute, 1), need(day, 1)])


def test_a_request_larger_than_its_limit_is_let_through_when_nothing_else_is() -> None:
    one, machine = bucket("minute", limit=100), Machine(1)
    first = machine.reserve(0, [need(one, 4096, 10)])
    assert first
    assert machine.reserve(0, [need(one, 4096, 10)]) is None
    machine.settle(0, first, Spend(10, 20))
    assert machine.used(one.name) == 30
    assert machine.reserve(0, [need(one, 4096, 10)])


def test_so_many_at_a_time_and_a_dead_worker_holds_none() -> None:
    one, machine = bucket(None, limit=2), Machine(2)
    first, second = (machine.reserve(who, [need(one, 1)]) for who in (0, 1))
    assert first
    assert second
    assert machine.reserve(0, [need(one, 1)]) is None
    machine.kill(1)
    assert machine.reserve(0, [need(one, 1)])
    assert machine.reserve(0, [need(one, 1)]) is None


def test_what_a_dead_worker_had_under_way_counts_whole_and_more_where_it_said_so() -> None:
    one, machine = bucket("day", limit=1500), Machine(1)
    longer, untold = machine.reserve(0, [need(one, 500, 20)]), machine.reserve(0, [need(one, 500, 20)])
    assert longer
    assert untold
    longer.running = Spend(20, 600)
    machine.report(0)
    assert machine.used(one.name) == 620 + 500
    longer.running = Spend(20, 610)
    machine.report(0)
    machine.kill(0)
    assert machine.used(one.name) == 630 + 500


def test_what_counts_beyond_a_reservation_is_put_right_at_its_end() -> None:
    one, machine = bucket("day", limit=1500), Machine(1)
    found = machine.reserve(0, [need(one, 500, 20)])
    assert found
    found.running = Spend(20, 600)  # an estimate
    machine.report(0)
    machine.settle(0, found, Spend(20, 450))
    assert machine.used(one.name) == 470


def test_a_later_attempt_is_not_refused() -> None:
    one, machine = bucket("minute", limit=10), Machine(1)
    assert machine.reserve(0, [need(one, 10)])
    assert machine.reserve(0, [need(one, 10)]) is None
    assert machine.reserve(0, [need(one, 10, forced=True)])


def test_a_shadow_counts_and_refuses_nothing() -> None:
    one = bucket("minute", limit=10)
    shadow = type(one)(one.name, "all", "tokens", 10, "minute", "UTC", True, 0.8)
    machine = Machine(1)
    assert machine.reserve(0, [need(shadow, 10)])
    assert machine.reserve(0, [need(shadow, 10)])
    assert machine.used(one.name) == 20
    assert [step.share for step in machine.authority.steps()] == [1.0]


def test_steps_are_told_once() -> None:
    one, machine = bucket("day", limit=100), Machine(1)
    shares = []
    for _ in range(110):
        machine.reserve(0, [need(one, 1)])
        shares += [round(step.share, 2) for step in machine.authority.steps()]
    assert shares == [0.8, 0.9, 0.95, 1.0]


def test_what_is_kept_comes_back_whole_and_what_is_had_at_a_time_does_not() -> None:
    day, minute, once = bucket("day", limit=1000), bucket("minute", limit=1000), bucket(None, limit=5)
    machine = Machine(1)
    found = machine.reserve(0, [need(day, 100, 10), need(minute, 100, 10), need(once, 1)])
    assert found
    kept = machine.file
    assert kept[once.name] is None
    later = Now(77.0, machine.now.date + 30)  # another boot
    machine = Machine(1)
    machine.authority.restore({name: state for name, state in kept.items() if state}, later)
    machine.now = later
    assert machine.used(day.name) == 100
    assert machine.used(minute.name) == 100
    machine.now = Now(77.0 + 34, later.date + 34)
    assert machine.used(minute.name) == 0


def test_a_clock_that_was_put_back_between_two_lives_does_not_lose_a_minutes_use() -> None:
    minute, machine = bucket("minute", limit=1000), Machine(1)
    assert machine.reserve(0, [need(minute, 100, 100)])
    kept = machine.file
    machine = Machine(1)
    machine.now = Now(5.0, NOW.date - 3600)
    machine.authority.restore({name: state for name, state in kept.items() if state}, machine.now)
    assert machine.used(minute.name) == 100
    machine.now = Now(70.0, NOW.date - 3535)
    assert machine.used(minute.name) == 0


@pytest.mark.parametrize("whose", ["client a", "models x, client a"])
def test_reset_forgets_a_clients_own(whose: str) -> None:
    one = bucket("day")
    mine = type(one)("mine", whose, "tokens", 10, "day", "UTC", False, 0.8)
    other = type(one)("other", whose.replace("client a", "client aa"), "tokens", 10, "day", "UTC", False, 0.8)
    machine = Machine(1)
    assert machine.reserve(0, [need(mine, 10), need(other, 10)])
    assert machine.authority.reset("a") == ["mine"]
    assert (machine.used("mine"), machine.used("other")) == (0, 10)


def test_a_report_for_what_is_forgotten_is_no_error() -> None:
    Authority().report(Report((("gone", 1, 5),), (("gone", 5),)), NOW, 1)
