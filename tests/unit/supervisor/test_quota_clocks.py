"""Limits while the machine's clock is set, and at the ends of days and months in a zone; over two lives, too."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from extproc.limits.authority import Need, Report, Verdict
from extproc.limits.windows import Now
from extproc.supervisor import quotas
from extproc.supervisor.quotas import Quotas, keeping
from tests.unit.limits.test_windows import bucket

LIMIT = 100


@dataclass
class Clock:
    """`ticks` goes on whatever the machine's clock is set to; another boot begins it anew."""

    ticks: float
    date: float

    def now(self) -> Now:
        return Now(self.ticks, self.date)

    def passes(self, seconds: float) -> None:
        self.ticks += seconds
        self.date += seconds

    def is_set(self, seconds: float) -> None:
        self.date += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(50_000.0, 0.0)
    monkeypatch.setattr(quotas, "_now", clock.now)
    monkeypatch.setattr(quotas, "AHEAD_SECONDS", 60.0)  # however slow this machine is
    return clock


def when(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


async def ask(kept: Quotas, per: str, zone: str, amount: int = LIMIT) -> Verdict:
    """A request that uses what it reserves, of a worker that gives back what it was lent."""
    told: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    need = Need(bucket(per, zone, LIMIT), amount, amount)
    kept.wanted(1, [need], told.set_result, lambda numbers, names: None)
    async with asyncio.timeout(10):
        verdict = await told
    if verdict.granted and verdict.granted[0].lease:
        kept.spent(1, Report((), ((need.bucket.name, verdict.granted[0].lease),)))
    return verdict


HOUR = 3600
STEPS = [
    # per, zone, it is, then so many seconds pass, the clock is set by so many, is there room again
    ("minute", "UTC", "2026-11-30T12:00", 1, +HOUR, False),
    ("minute", "UTC", "2026-11-30T12:00", 1, -HOUR, False),
    ("minute", "UTC", "2026-11-30T12:00", 64, -HOUR, True),
    ("hour", "UTC", "2026-11-30T12:00", 60, +2 * HOUR, False),
    ("hour", "UTC", "2026-11-30T12:00", HOUR * 1.06, -2 * HOUR, True),
    ("day", "UTC", "2026-11-30T12:00", 1, -HOUR, False),
    ("day", "UTC", "2026-11-30T12:00", 1, +HOUR, False),
    ("day", "UTC", "2026-11-30T23:59:59", 1, 0, True),
    ("month", "UTC", "2026-11-30T23:00", 1, +HOUR, True),  # as the clock says, which nobody can know better
    ("month", "Asia/Shanghai", "2026-11-30T23:00", HOUR, 0, True),
    ("month", "Asia/Shanghai", "2026-11-30T23:00", HOUR - 1, 0, False),
    # Clocks forward on 29 March, back on 25 October: the day has 23, and 25 hours.
    ("day", "Europe/Berlin", "2026-03-29T00:00", 23 * HOUR - 1, 0, False),
    ("day", "Europe/Berlin", "2026-03-29T00:00", 23 * HOUR, 0, True),
    ("day", "Europe/Berlin", "2026-10-25T00:00", 25 * HOUR - 1, 0, False),
    ("day", "Europe/Berlin", "2026-10-25T00:00", 25 * HOUR, 0, True),
    ("month", "Europe/Berlin", "2026-03-31T23:00", HOUR - 1, 0, False),
    ("month", "Europe/Berlin", "2026-03-31T23:00", HOUR, 0, True),
    ("month", "America/New_York", "2026-11-01T00:00", 30 * 24 * HOUR, 0, False),  # back on the 1st: 721 hours
    ("month", "America/New_York", "2026-11-01T00:00", 30 * 24 * HOUR + HOUR, 0, True),
]


@pytest.mark.parametrize("dies", [False, True], ids=["lives on", "starts again"])
@pytest.mark.parametrize(("per", "zone", "it_is", "pass_", "set_", "room"), STEPS)
async def test_a_clock_that_is_set_and_one_that_passes_the_end_of_a_day(
    per: str, zone: str, it_is: str, pass_: float, set_: float, room: bool, dies: bool, clock: Clock, tmp_path: Path
) -> None:
    clock.date = when(it_is, zone)
    if not dies:
        async with keeping(tmp_path / "u.db", "refuse", True) as kept:
            assert (await ask(kept, per, zone)).granted
            assert not (await ask(kept, per, zone, 1)).granted
            clock.passes(pass_)
            clock.is_set(set_)
            assert bool((await ask(kept, per, zone, 1)).granted) is room
        return
    async with keeping(tmp_path / "u.db", "refuse", True) as kept:
        assert (await ask(kept, per, zone)).granted
    clock.passes(pass_)
    clock.is_set(set_)
    async with keeping(tmp_path / "u.db", "refuse", True) as kept:
        granted = bool((await ask(kept, per, zone, 1)).granted)
        if per in ("minute", "hour") and set_:  # how long nobody was there, only the clock can tell
            assert granted is (pass_ + set_ >= {"minute": 63, "hour": HOUR * 1.05}[per])
        else:
            assert granted is room


async def test_a_month_that_ends_twice_since_the_clock_is_put_back_counts_what_each_had(
    clock: Clock, tmp_path: Path
) -> None:
    async with keeping(tmp_path / "u.db", "refuse", True) as kept:
        clock.date = when("2026-11-30T23:59", "UTC")
        assert (await ask(kept, "month", "UTC", 60)).granted
        clock.passes(120)
        assert (await ask(kept, "month", "UTC", 70)).granted
        clock.is_set(-HOUR)  # November again, of which 60 are used
        assert (await ask(kept, "month", "UTC", 30)).granted
        assert (await ask(kept, "month", "UTC", 10)).granted
        assert not (await ask(kept, "month", "UTC", 1)).granted
        clock.is_set(+HOUR)
        assert (await ask(kept, "month", "UTC", 30)).granted
        assert not (await ask(kept, "month", "UTC", 1)).granted
