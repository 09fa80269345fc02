"""Times that slide and times of the calendar."""

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
import pytest

from extproc.limits.buckets import Bucket
from extproc.limits.windows import PARTS, SLIDING, Now, counts, is_over, slot, wait


def bucket(per: str | None, zone: str = "UTC", limit: int = 100, kind: str = "tokens") -> Bucket:
    return Bucket(f"x {per}", "all", kind, limit, per, zone, False, 0.8)


def at(text: str, zone: str) -> Now:
    return Now(1000.0, datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


@pytest.mark.parametrize(
    ("per", "zone", "now", "begin", "hours"),
    [
        ("day", "UTC", "2026-11-30T23:59", "2026-11-30T00:00", 24),
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", 23),
        ("day", "Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:00", 25),
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T01:00", 23),  # the clocks change at midnight
        ("month", "Asia/Shanghai", "2026-12-01T00:00", "2026-12-01T00:00", 744),
        ("month", "Europe/Berlin", "2026-03-31T23:59", "2026-03-01T00:00", 743),
        ("month", "Europe/Berlin", "2026-10-01T00:00", "2026-10-01T00:00", 745),
        ("month", "UTC", "2028-02-29T10:00", "2028-02-01T00:00", 29 * 24),
    ],
)
def test_a_calendars_time_begins_and_ends_in_its_zone(per: str, zone: str, now: str, begin: str, hours: int) -> None:
    one, when = bucket(per, zone), at(now, zone)
    assert slot(one, when) == at(begin, zone).date
    end = slot(one, when) + hours * 3600
    assert wait(one, {slot(one, when): 100}, 100, when) == pytest.approx(end - when.date)
    assert slot(one, when._replace(date=end - 1)) == slot(one, when)
    assert slot(one, when._replace(date=end)) == end


@given(
    st.sampled_from(sorted(SLIDING)),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), min_size=1, max_size=40),
    st.floats(0, 3),
)
def test_a_sliding_time_never_forgets_too_early_and_wait_is_right(
    per: str, used: list[tuple[float, int]], now: float
) -> None:
    one, length = bucket(per), SLIDING[per]
    slots: dict[int, int] = {}
    for when, amount in used:
        where = slot(one, Now(5000 + when * length, 0.0))
        slots[where] = slots.get(where, 0) + amount
    ticks = 5000 + now * length
    true = sum(amount for when, amount in used if ticks - length < 5000 + when * length <= ticks)
    counted = counts(one, slots, Now(ticks, 0.0))
    assert counted >= true
    generous = sum(amount for when, amount in used if ticks - length * (1 + 1 / PARTS) <= 5000 + when * length)
    assert counted <= generous + sum(amount for when, amount in used if 5000 + when * length > ticks)
    limit = max(counted // 2, 1)
    pause = wait(one, slots, limit, Now(ticks, 0.0))
    if counted >= limit:
        assert counts(one, slots, Now(ticks + pause + 1e-6 * length, 0.0)) < limit
        assert pause == 0 or counts(one, slots, Now(ticks + pause - 1e-3 * length, 0.0)) >= limit
    assert all(is_over(one, where, Now(ticks, 0.0)) is (where < slot(one, Now(ticks, 0.0)) - PARTS) for where in slots)


def test_clocks_that_are_put_back_empty_and_fill_nothing() -> None:
    now = at("2026-11-01T00:10", "UTC")
    month, minute = bucket("month"), bucket("minute")
    slots = {slot(month, now): 7}
    back = now._replace(date=now.date - 3600)
    assert counts(month, slots, back) == 0  # October's last hour again: what was used in it then still counts
    assert not is_over(month, slot(month, back), now)
    assert counts(month, slots, now) == 7
    assert slot(minute, back) == slot(minute, now)
