"""A worker's configuration: swapped whole, and known to be in use as long as an exchange holds it."""

import asyncio
import json
from typing import Any

import pytest

from extproc.keys.choice import Keys
from extproc.worker import channel, server
from extproc.worker import process as worker
from extproc.worker.ends import Ends
from extproc.worker.feed import Feed
from extproc.worker.process import Current
from extproc.worker.quotas import Quotas


class Reports:
    """The supervisor's end."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()

    def write(self, data: bytes) -> None:
        self.reader.feed_data(data)

    async def next(self) -> Any:
        async with asyncio.timeout(60):
            return await channel.report(self.reader)


def order(generation: int, model: str = "m", texts: dict[str, str] | None = None) -> channel.Load:
    provider = {"type": "openai", "apiTokens": ["sk-1"], "models": [model]}
    content = json.dumps({"providers": [provider]}).encode()
    return channel.Load(generation, "/nowhere/c.yaml", {"/nowhere/c.yaml": content}, None, texts or {})


@pytest.fixture
async def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    monkeypatch.setattr("extproc.worker.process.FORMER_SECONDS", 0.0)
    return Reports()


async def test_new_exchanges_get_the_new_one_and_running_ones_keep_theirs(reports: Reports) -> None:
    current = Current(reports, order(1, "before", {"p": "text"}))
    running = current.snapshot
    current.load(order(2, "after"))
    assert current.snapshot.config.providers[0].names == ("after",)
    assert running.config.providers[0].names == ("before",)
    assert dict(running.contexts) == {"p": "text"}
    assert await reports.next() == channel.Active(2)
    del running
    assert await reports.next() == channel.Oldest(2)


async def test_the_oldest_in_use_counts(reports: Reports) -> None:
    current = Current(reports, order(1))
    first = current.snapshot
    current.load(order(2))
    second = current.snapshot
    current.load(order(3))
    assert [await reports.next(), await reports.next()] == [channel.Active(2), channel.Active(3)]
    del second
    assert await reports.next() == channel.Oldest(1)
    del first
    assert await reports.next() == channel.Oldest(3)


async def test_what_is_expected_is_known_beside_and_served_later(reports: Reports) -> None:
    current = Current(reports, order(1, "before", {"p": "text"}))
    current.expect(order(2, "after", {"p": "newer"}))
    assert await reports.next() == channel.Expecting(2)
    snapshot = current.snapshot
    assert snapshot.config.providers[0].names == ("before",)
    assert [c.providers[0].names for c in snapshot.others] == [("after",)]
    assert dict(snapshot.contexts) == {"p": "text"}
    (expected,) = snapshot.others
    del snapshot
    current.load(order(2, "after"))
    assert current.snapshot.config is expected  # not loaded again
    assert [c.providers[0].names for c in current.snapshot.others] == [("before",)]
    assert [await reports.next(), await reports.next()] == [channel.Active(2), channel.Oldest(2)]
    assert current.snapshot.others == ()


async def test_what_was_expected_and_then_refused_is_not_served(reports: Reports) -> None:
    current = Current(reports, order(1, "before"))
    current.expect(order(2, "refused"))
    current.load(order(2, "after"))
    assert current.config.providers[0].names == ("after",)
    current.load(order(2, "refused"))
    assert current.config.providers[0].names == ("refused",)


async def test_the_same_generation_again_stays_in_use(reports: Reports) -> None:
    current = Current(reports, order(1))
    current.load(order(1))
    assert await reports.next() == channel.Active(1)
    assert await reports.next() == channel.Oldest(1)
    held = current.snapshot
    current.load(order(2))
    assert await reports.next() == channel.Active(2)
    del held
    assert await reports.next() == channel.Oldest(2)


async def test_texts_change_alone(reports: Reports) -> None:
    current = Current(reports, order(1))
    running = current.snapshot
    current.texts({"p": "new"})
    assert dict(current.snapshot.contexts) == {"p": "new"}
    assert dict(running.contexts) == {}
    assert current.snapshot.config is running.config


async def test_what_does_not_load_changes_nothing(reports: Reports) -> None:
    current = Current(reports, order(1))
    current.load(channel.Load(2, "/nowhere/c.yaml", {}, None, {}))
    assert isinstance(await reports.next(), channel.Failed)
    assert current.snapshot.config.providers[0].names == ("m",)


@pytest.mark.parametrize("turns", [True, False])
async def test_a_ping_is_answered_only_while_streams_are(reports: Reports, turns: bool) -> None:
    orders = Reports()
    channel.send(orders, channel.Ping())
    channel.send(orders, channel.Leave(0, 0))
    current, served = Current(reports, order(1)), server.Served(0, lambda: turns)
    quotas = Quotas(reports, lambda: "local")
    await worker._obey(orders.reader, reports, current, Keys(), quotas, served, Ends(), server.Farewell(), Feed())
    reports.reader.feed_eof()
    assert await channel.report(reports.reader) == (channel.Pong() if turns else None)
