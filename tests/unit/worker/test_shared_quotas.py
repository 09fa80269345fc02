"""Limits on a real Redis: what several processes let through together, and what becomes of it when it is away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
import random
from typing import Any

import pytest
import redis

from extproc.limits import script
from extproc.limits.authority import Need
from extproc.limits.buckets import Bucket, Rules, Spend
from extproc.providers.blocks import Redis
from extproc.worker.quotas import shared_store
from extproc.worker.shared_quotas import FAULTS, SharedQuotas, sharing
from tests.contract.stores import BINARY, Store, store
from tests.unit.player import config_of

pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no redis-server here")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store(tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def gateways(server: Store, count: int = 1) -> AsyncIterator[list[SharedQuotas]]:
    block = Redis.model_validate({"url": server.url, "keyPrefix": f"t{random.random()}:", "timeout": 20.0})
    async with asyncio.timeout(120):
        contexts = [sharing(block) for _ in range(count)]
        found = [await context.__aenter__() for context in contexts]
        try:
            yield found
        finally:
            for context in contexts:
                await context.__aexit__(None, None, None)


def bucket(per: str | None = "minute", limit: int = 1000, whose: str = "client a", kind: str = "tokens") -> Bucket:
    return Bucket(f"{whose} {kind} {per}", whose, kind, limit, per, "UTC", False, 0.8)


def nothing() -> Spend | None:
    return None


async def used(shared: SharedQuotas, one: Bucket) -> int:
    """By a request that needs nothing."""
    verdict, held = await shared.reserve([Need(one, 0, 0, True)], nothing)
    assert held is not None
    shared.settle(held, Spend())
    return verdict.granted[0].used


async def told(shared: SharedQuotas) -> None:
    while shared._untold:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_never_more_than_limit_and_one_reservation_and_the_sums_are_exact(server: Store) -> None:
    chance = random.Random(5)
    async with gateways(server, 4) as many:
        one, all_ = bucket(limit=2000), bucket("day", 3000, "everything")
        spent = refused = 0

        async def ask() -> None:
            nonlocal spent, refused
            shared = chance.choice(many)
            verdict, held = await shared.reserve([Need(all_, 100, 3), Need(one, 100, 3)], nothing)
            await asyncio.sleep(chance.random() * 0.01)
            if held is None:
                refused += 1
                assert verdict.by is not None
                assert 0 < verdict.wait <= 64
                return
            amount = chance.randrange(1, 100)
            shared.settle(held, Spend(amount))
            shared.settle(held, Spend(10**6))
            spent += amount

        await asyncio.gather(*(ask() for _ in range(120)))
        for shared in many:
            await told(shared)
        assert refused
        assert spent < 2100
        assert [await used(many[0], each) for each in (one, all_)] == [spent, spent]


async def test_money_is_exact_beyond_what_a_double_holds(server: Store) -> None:
    async with gateways(server) as (shared,):
        one = bucket("month", 10**16, kind="usd")
        for _ in range(3):
            _, held = await shared.reserve([Need(one, 3_000_000_000_000_001, 1)], nothing)
            assert held is not None
            shared.settle(held, Spend(money={"usd": 3_000_000_000_000_001}))
        await told(shared)
        with redis.Redis.from_url(server.url) as client:
            (key,) = [key for key in client.keys(f"{shared._block.key_prefix}*:b:*") if client.hlen(key)]
            assert sum(int(n) for field, n in client.hgetall(key).items() if field != b"told") == 9_000_000_000_000_003


@pytest.mark.parametrize(("renewed", "stays"), [(None, 400), (Spend(70), 400), (Spend(470), 470)])
async def test_a_dead_workers_reservation_stays_used_and_a_late_end_still_counts(
    renewed: Spend | None, stays: int, server: Store
) -> None:
    async with gateways(server) as (shared,):
        one, slots = bucket("hour", 500), bucket(None, 1, kind="concurrent")
        _, held = await shared.reserve([Need(one, 400, 10), Need(slots, 1)], nothing)
        assert held is not None
        verdict, _ = await shared.reserve([Need(slots, 1)], nothing)
        assert verdict.by is not None
        assert verdict.wait == 1.0
        (part,) = held.parts
        await shared._run(script.RENEW, part.keys[:2], ["1", *part.renew(renewed)])  # its worker's last word
        async with asyncio.timeout(60):
            while (await shared.reserve([Need(slots, 1)], nothing))[1] is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await used(shared, one) == stays
        shared.settle(held, Spend(33))  # it only stood still
        await told(shared)
        assert await used(shared, one) == 33
        assert await used(shared, slots) == 1
        shared.settle(held, Spend(33))
        await told(shared)
        assert await used(shared, one) == 33


async def test_a_server_that_is_away_is_not_waited_for_and_what_was_over_is_told_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BerriAI/litellm#30460 (2026): what timed out was counted again by the retry."""
    with store(tmp_path) as server:
        async with gateways(server) as (shared,):
            patient = shared._block
            one = bucket("hour", 500)
            _, held = await shared.reserve([Need(one, 400, 10)], nothing)
            assert held is not None
            server.freeze()
            shared._block = patient.model_copy(update={"timeout": 0.3})
            with pytest.raises(FAULTS):
                await shared.reserve([Need(one, 50, 1)], nothing)
            assert shared.away is not None
            shared.settle(held, Spend(20))
            shared._block = patient
            server.thaw()
            while shared.away is not None or shared._untold:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert await used(shared, one) == 20  # and not the 50 of which nobody knew
    assert capsys.readouterr().out.count("limits are not shared") == 1


async def back(shared: SharedQuotas) -> None:
    """The server is known to be there again, and was told what ended meanwhile."""
    async with asyncio.timeout(60):
        while shared.away is not None or shared._untold:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_server_that_is_killed_and_keeps_what_it_was_told_lets_nothing_through_again(tmp_path: Path) -> None:
    with store(tmp_path, keeps=True) as server:
        async with gateways(server, 2) as many:
            one, slots = bucket("day", 100), bucket(None, 1, kind="concurrent")
            verdict, held = await many[0].reserve([Need(one, 60, 1), Need(slots, 1)], nothing)
            assert held is not None
            server.stop()
            for shared in many:
                with pytest.raises(FAULTS):
                    await shared.reserve([Need(one, 60, 1)], nothing)
            many[0].settle(held, Spend(50))
            server.start()
            for shared in many:
                await back(shared)
            assert [await used(shared, one) for shared in many] == [50, 50]
            verdict, held = await many[1].reserve([Need(one, 50, 1), Need(slots, 1)], nothing)
            assert held is not None
            verdict, refused = await many[0].reserve([Need(one, 1, 1)], nothing)
            assert refused is None
            assert verdict.used == 100


async def test_workers_that_have_a_redis_for_anything_count_there_together(server: Store) -> None:
    """BerriAI/litellm#30661 (2026): where Redis was configured for routing alone, every process counted budgets for
    itself, without a word, and keys went far beyond theirs. `check` says where it is so here (`test_advice`)."""
    file = {
        "providers": [{"type": "qwen", "apiToken": "x"}],
        "clients": [{"name": "a", "key": "key-of-a", "limits": [{"tokens": 100, "per": "day"}]}],
        "redis": {"url": server.url, "keyPrefix": f"t{random.random()}:"},
    }
    config = config_of(file)
    block = shared_store(config)
    assert block is not None
    assert shared_store(config_of({**file, "usage": {"store": "memory"}})) is None
    (one,) = Rules(config).applying(config.clients[0], "r", "p", "m", "m")
    async with sharing(block) as first, sharing(block) as second:
        many = (first, second, first)
        held = [(await shared.reserve([Need(one, 60, 1)], nothing))[1] for shared in many]
        assert [one is not None for one in held] == [True, True, False]


async def test_what_a_server_forgets_is_not_made_up_by_several_at_once(tmp_path: Path) -> None:
    """BerriAI/litellm#28247 (2026): whoever found a counter gone added all that had been used, so it stood at a
    multiple and refused everybody. Here nobody adds what another may have added: a lost bucket begins anew."""
    with store(tmp_path) as server:
        async with gateways(server, 4) as many:
            one = bucket("day", 1000)
            for shared in many:
                _, held = await shared.reserve([Need(one, 100, 1)], nothing)
                assert held is not None
                shared.settle(held, Spend(100))
                await told(shared)
            _, going = await many[0].reserve([Need(one, 100, 1)], nothing)
            assert going is not None
            assert await used(many[0], one) == 500
            server.stop()
            server.start()
            many[0].settle(going, Spend(70))  # of what the server knows nothing: nothing
            for shared in many:
                shared._failed(ConnectionError("it was away"))
                await back(shared)
            found = await asyncio.gather(*(shared.reserve([Need(one, 10, 1)], nothing) for shared in many * 5))
            for (_, held), shared in zip(found, many * 5, strict=True):
                assert held is not None
                shared.settle(held, Spend(3))
            for shared in many:
                await back(shared)
            assert [await used(shared, one) for shared in many] == [60] * 4


async def test_a_server_that_others_took_over_from_is_away_until_it_writes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failover the former one may still be asked for a while; it refuses what writes (READONLY)."""
    with store(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        async with gateways(server) as (shared,):
            one = bucket("day", 100)
            _, held = await shared.reserve([Need(one, 60, 1)], nothing)
            assert held is not None
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(FAULTS):
                await shared.reserve([Need(one, 60, 1)], nothing)
            shared.settle(held, Spend(50))
            failed: list[BaseException] = []
            fail = shared._failed
            monkeypatch.setattr(shared, "_failed", lambda error: (failed.append(error), fail(error)))
            async with asyncio.timeout(60):
                while len(failed) < 3:  # noqa: ASYNC110  it is tried again and again
                    await asyncio.sleep(0.01)
            assert shared.away is not None
            client.replicaof("NO", "ONE")
            await back(shared)
            assert await used(shared, one) == 50
    assert capsys.readouterr().out.count("limits are not shared") == 1


async def test_what_was_perhaps_reserved_is_cancelled_also_where_it_is_nothing(server: Store) -> None:
    """Of a later attempt no request counts: Redis does not take -0."""
    async with gateways(server) as (shared,):
        own, full = bucket("hour", 500), bucket("hour", 1, "everything")
        _, held = await shared.reserve([Need(full, 1)], nothing)
        assert held is not None
        needs = [Need(own, 400, 10), Need(bucket("hour", 5, kind="requests"), 0, 0, True), Need(full, 1)]
        assert (await shared.reserve(needs, nothing))[1] is None
        await told(shared)
        assert shared.away is None
        assert await used(shared, own) == 0


async def test_a_wrong_password_is_a_server_that_is_away(server: Store) -> None:
    block = Redis.model_validate({"url": server.url.replace("redis://", "redis://:wrong@")})
    away: list[Any] = []
    async with sharing(block, away.append) as shared:
        with pytest.raises(FAULTS):
            await shared.reserve([Need(bucket(), 1)], nothing)
    assert len(away) == 1
    assert "wrong" not in str(away)


async def test_steps_are_told_once_for_all(server: Store, capsys: pytest.CaptureFixture[str]) -> None:
    async with gateways(server, 2) as many:
        one = bucket("day", 10)
        for number in range(12):
            await many[number % 2].reserve([Need(one, 1, 1)], nothing)
    said = capsys.readouterr().out
    assert said.count("little is left of a limit") == 2
    assert said.count("a limit is reached") == 1


def test_all_keys_of_a_client_have_one_tag() -> None:
    own = [bucket(whose="client a"), bucket("day", whose="client a"), bucket(whose="models x, client a")]
    assert len({script.tag(one) for one in own}) == 1
    assert script.tag(bucket(whose="client b")) != script.tag(own[0])
    assert script.tag(bucket(whose="models x")) == script.tag(bucket(whose="everything, provider p")) == "all"
    for part in script.parts("p:", "1", [Need(one, 1) for one in own]):
        assert {key.partition("{")[2].partition("}")[0] for key in part.keys} == {script.tag(own[0])}
