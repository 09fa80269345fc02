"""The store of what was used, and what becomes of limits when it fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
import os
from pathlib import Path
import sqlite3
import threading
import time
from typing import Any

import pytest

from extproc.limits import history
from extproc.limits.authority import Need, Report, Verdict
from extproc.limits.history import DAY, HOUR, MINUTE, Place, Row
from extproc.supervisor.quotas import Quotas, keeping
from extproc.supervisor.store import Store
from extproc.terms.tallies import SECONDS, Key, Tally
from tests.unit.limits.test_windows import bucket

DAYS = bucket("day", limit=100)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr("extproc.supervisor.quotas.AHEAD_SECONDS", 60.0)


def key(client: str = "alice", model: str = "m", **more: Any) -> Key:
    values: dict[str, Any] = {"error": "", "status": "2xx", "estimated": False, **more}
    return Key(client, "chat", "chat", "r", "p", model, model, refused=False, **values)


def tally(cost: str = "0.000001", **more: Any) -> Tally:
    made = Tally(exchanges=1, input=10, output=5, costs={"USD": Decimal(cost)}, **more)
    made.duration.add(0.3, SECONDS)
    return made


async def ask(quotas: Quotas, amount: int, known: int = 0, *, who: int = 1) -> Verdict:
    told: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    quotas.wanted(who, [Need(DAYS, amount, known)], told.set_result, lambda numbers, names: None)
    async with asyncio.timeout(60):
        return await told


@asynccontextmanager
async def opened(path: Path | None, on_failure: str = "local") -> AsyncIterator[Quotas]:
    async with keeping(path, on_failure, True) as quotas:
        yield quotas


async def test_what_was_told_is_in_the_file_whatever_is_killed_then(tmp_path: Path) -> None:
    path = tmp_path / "state" / "usage.db"
    quotas = Quotas(path)
    await quotas.open()
    assert (await ask(quotas, 1)).granted[0].lease == 4
    assert (await ask(quotas, 1, who=2)).granted[0].lease == 4
    assert path.stat().st_mode & 0o777 == 0o600
    other = Quotas(path)  # a second process
    await other.open()
    assert other.trouble is not None
    assert "another process has" in other.trouble
    assert quotas._store is not None
    quotas._store.close()  # all that a kill does to the file
    async with opened(path) as quotas:
        assert [fill.used for fill in quotas.fills()] == [1 + 4 + 1 + 4]
        assert quotas.reset("nobody") == []


async def test_who_ends_as_it_should_leaves_what_was_used(tmp_path: Path) -> None:
    async with opened(tmp_path / "u.db") as quotas:
        (granted,) = (await ask(quotas, 90, 7)).granted
        quotas.spent(1, Report(((DAYS.name, granted.slot, -50),)))
    async with opened(tmp_path / "u.db") as quotas:
        assert [fill.used for fill in quotas.fills()] == [40]


@pytest.mark.parametrize("per", ["second", None])
async def test_what_counts_only_for_now_waits_for_no_file(
    per: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "u.db") as quotas:
        monkeypatch.setattr(Store, "keep", None)
        told: list[Verdict] = []
        quotas.wanted(1, [Need(bucket(per, limit=100), 1)], told.append, lambda numbers, names: None)
        assert [bool(verdict.granted) for verdict in told] == [True]
        monkeypatch.undo()


@pytest.mark.parametrize(("on_failure", "granted", "used"), [("local", True, [60]), ("refuse", False, [])])
async def test_a_file_that_takes_too_long_is_trouble_and_nobody_waits_for_it(
    on_failure: str, granted: bool, used: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "u.db", on_failure) as quotas:
        hung, keep = threading.Event(), Store.keep

        def slow(self: Store, buckets: Any) -> None:
            hung.wait()
            keep(self, buckets)

        monkeypatch.setattr(Store, "keep", slow)
        monkeypatch.setattr("extproc.supervisor.quotas.AHEAD_SECONDS", 0.05)
        try:
            assert bool((await ask(quotas, 60)).granted) == granted
            assert quotas.trouble == "no answer in time"
            assert [fill.used for fill in quotas.fills()] == used
        finally:
            hung.set()
        await quotas.write()
        assert quotas.trouble is None


async def test_who_calls_a_write_off_takes_nobody_else_s_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, begun, hung = Store.keep, threading.Event(), threading.Event()

    def slow(self: Store, buckets: Any) -> None:
        begun.set()
        hung.wait(60)
        keep(self, buckets)

    monkeypatch.setattr(Store, "keep", slow)
    async with opened(tmp_path / "usage.db") as quotas:
        first = asyncio.create_task(ask(quotas, 10))
        await asyncio.to_thread(begun.wait, 60)
        second = asyncio.create_task(ask(quotas, 10, who=2))
        writing = asyncio.create_task(quotas.write())
        await asyncio.sleep(0.01)  # it waits for the same write as the second
        writing.cancel()
        await asyncio.wait([writing])
        hung.set()
        assert (await first).granted
        assert (await second).granted


async def test_a_worker_that_dies_leaves_all_that_it_may_have_used() -> None:
    async with opened(None) as quotas:
        assert (await ask(quotas, 1)).granted[0].lease == 4
        quotas.gone(1)
        assert [fill.used for fill in quotas.fills()] == [5]
        assert (await ask(quotas, 95, who=2)).granted
        refused = await ask(quotas, 1, who=2)
        assert refused.by is not None
        assert refused.by.name == DAYS.name


async def test_what_is_lent_to_others_is_asked_for_before_anybody_is_refused() -> None:
    async with opened(None) as quotas:
        first = await ask(quotas, 1)
        assert first.granted[0].lease == 4
        asked: list[Any] = []

        def recall(numbers: set[int], names: tuple[str, ...]) -> None:
            asked.append((numbers, names))
            quotas.spent(1, Report((), ((DAYS.name, 4),)))

        told: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        assert (await ask(quotas, 94, who=2)).granted  # 1 + 4 lent + 94 leave one
        assert (await ask(quotas, 1, who=2)).granted
        quotas.wanted(2, [Need(DAYS, 5)], told.set_result, recall)
        async with asyncio.timeout(60):
            assert (await told).granted
        assert asked == [({1}, (DAYS.name,))]


@pytest.mark.parametrize(("on_failure", "granted"), [("local", [True, False]), ("refuse", [False, False])])
async def test_a_store_that_fails_is_said_once_and_limits_go_by_what_is_configured(
    on_failure: str, granted: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "usage.db"
    path.write_bytes(b"this is no database, and not ours to remove" * 100)
    async with opened(path, on_failure) as quotas:
        assert quotas.trouble is not None
        assert [bool((await ask(quotas, 100, 100)).granted) for _ in range(2)] == granted
        await quotas.write()
        quotas.add([(key(), tally())])
        assert [row.tally.exchanges for row in await quotas.history(0)] == [1]
    assert path.read_bytes().startswith(b"this is no database")
    assert capsys.readouterr().out.count("cannot be written down") == 1


@pytest.mark.parametrize("what", ["write", "keep"])
async def test_what_could_not_be_written_is_written_later(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "u.db") as quotas:
        writes = 0
        keep = getattr(Store, what)

        def full(self: Store, *arguments: Any) -> None:
            nonlocal writes
            writes += 1
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(Store, what, full)
        assert (await ask(quotas, 30, 30)).granted
        quotas.add([(key(), tally())])
        await quotas.write()
        quotas.add([(key(), tally())])
        await quotas.write()
        assert quotas.trouble == "database or disk is full"
        assert writes >= 2
        monkeypatch.setattr(Store, what, keep)
        await quotas.write()
        assert quotas.trouble is None
    async with opened(tmp_path / "u.db") as quotas:
        assert [fill.used for fill in quotas.fills()] == [30]
        assert [row.tally.exchanges for row in await quotas.history(0)] == [2]


async def test_a_directory_that_cannot_be_made_is_no_reason_not_to_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with opened(tmp_path / "file" / "u.db") as quotas:
        assert quotas.trouble
        assert (await ask(quotas, 1)).granted


async def test_history_adds_up_to_the_last_digit_by_whatever_is_asked(tmp_path: Path) -> None:
    async with opened(tmp_path / "u.db") as quotas:
        for number in range(30):
            quotas.add([(key("alice" if number % 3 else "bob", f"m{number % 2}"), tally("0.1000001"))])
            if number % 7 == 0:
                await quotas.write()
        quotas.add([(key(error="cut", status="2xx", estimated=True), tally("0"))])
        now = time.time()
        (total,) = await quotas.history(now - 60)
        assert (total.tally.exchanges, total.errors, total.estimated) == (31, 1, 1)
        assert total.tally.costs == {"USD": Decimal("3.0000030")}
        assert sum(total.tally.duration.counts) == 31
        by_client = {row.place.client: row.tally.exchanges for row in await quotas.history(now - 60, ("client",))}
        assert by_client == {"alice": 21, "bob": 10}
        models = await quotas.history(now - 30 * DAY, ("time", "model"))
        assert {row.width for row in models} == {HOUR}
        assert sum(row.tally.output for row in models) == 31 * 5
        assert {row.width for row in await quotas.history(now - 400 * DAY, ("time",))} == {DAY}
        assert await quotas.history(now - 60, until=now - 3600) == []


def test_rows_are_kept_as_long_as_promised_and_their_number_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = Store(tmp_path / "u.db"), 2_000_000_000
    ages = {MINUTE: DAY, HOUR: 60 * DAY, DAY: 730 * DAY}
    rows = [Row((now - age) // w * w, w, Place("a")) for w, kept in ages.items() for age in (0, kept, kept + 2 * w)]
    store.write(rows)
    store.prune(now)
    assert {width: len(store.rows(width, 0)) for width in ages} == {MINUTE: 2, HOUR: 2, DAY: 2}
    monkeypatch.setattr("extproc.supervisor.store.MOST_ROWS", 3)
    store.write([Row(0, DAY, Place("a", f"m{n}"), tally=Tally(exchanges=1)) for n in range(9)])
    found = [row for row in store.rows(DAY, 0) if row.at == 0]
    assert {row.place.model: row.tally.exchanges for row in found} == {"m0": 1, "m1": 1, "m2": 1, "other": 6}
    store.close()


def test_widths() -> None:
    now = 10**9
    assert [history.width_for(now - ago, now) for ago in (60, DAY, DAY + 1, 60 * DAY, 61 * DAY, 10**9)] == [
        *(MINUTE, MINUTE, HOUR, HOUR, DAY, DAY)
    ]


async def test_nothing_is_opened_where_nothing_is_kept(tmp_path: Path) -> None:
    async with keeping(tmp_path / "u.db", "local", False) as quotas:
        await quotas.write()
    assert os.listdir(tmp_path) == []
