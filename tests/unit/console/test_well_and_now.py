"""What the pages are told: rows of the workers, what of them is a sample, and what is not well."""

import asyncio
from contextlib import aclosing
import json
import math
import time
from typing import Any

import pytest

from extproc.console.hub import KEPT, MOST, Hub, recent
from extproc.console.well import well
from extproc.keys.choice import fingerprint
from extproc.worker.channel import Rested, Seen

from .house import PROVIDER, House, configured, looking, row


async def test_nobody_looks_and_nothing_is_asked() -> None:
    house = House()
    async with looking(house) as client:
        await client.get("/console/api/about")
        await asyncio.sleep(0)
        assert house.asked == 0
        await client.get("/console/api/now")
        assert house.asked >= 1


async def test_the_last_exchanges_and_those_under_way() -> None:
    under_way = row(0, duration_ms=3.0, status=None)
    house = House(told=[Seen(2, [row(1), row(2)], 1, [under_way]), Seen(1, [row(1, began=101.5)], 0, [])])
    async with looking(house) as client:
        told = await (await client.get("/console/api/now")).json()
    assert [r["began"] for r in told["rows"]] == [101.0, 101.5, 102.0]
    assert [r["number"] for r in told["rows"]] == [1, 2, 3]
    assert (told["ended"], told["open"], len(told["under_way"])) == (3, 1, 1)


async def test_a_page_follows_a_sample_with_the_count_of_all() -> None:
    house = House()
    hub = Hub(house)
    task = asyncio.create_task(hub.run())
    try:
        async with aclosing(hub.follow()) as news:
            assert (await anext(news))["ended"] == 0
            house.told = [Seen(1000, [row(n) for n in range(1, 2 * MOST)], 0, [])]
            batch: Any = {"ended": 0}
            while not batch["ended"]:
                batch = await anext(news)
            assert batch["ended"] == 1000
            assert len(batch["rows"]) == MOST
            assert batch["rows"][-1]["number"] == 2 * MOST - 1
            house.told = [Seen(KEPT * 3, [row(n) for n in range(KEPT * 3)], 0, [])]
            while len(hub.rows) < KEPT:
                await anext(news)
            assert len(hub.rows) == KEPT
    finally:
        task.cancel()


async def test_the_attempts_of_one_request() -> None:
    rows = [row(1, request_id="a"), row(2, request_id="b"), row(3, request_id="a", attempt=2)]
    async with looking(House(told=[Seen(3, rows, 0, [])])) as client:
        told = await (await client.get("/console/api/now/request?id=a")).json()
        assert [a["attempt"] for a in told["attempts"]] == [1, 2]
        assert (await (await client.get("/console/api/now/request?id=%00")).json()) == {"attempts": []}


async def test_the_live_view_is_a_stream_of_events() -> None:
    house = House(told=[Seen(1, [row(1, model="<img src=x onerror=alert(1)>")], 0, [])])
    async with looking(house) as client:
        async with client.get("/console/api/now/live") as answer:
            assert answer.content_type == "text/event-stream"
            event = json.loads((await answer.content.readuntil(b"\n\n")).removeprefix(b"data: "))
        assert event["rows"][0]["model"] == "<img src=x onerror=alert(1)>"


KEY = str(PROVIDER["apiTokens"][0])


def shown(more: dict[str, Any]) -> dict[str, Any]:
    return {"provider": "qwen", "began": 1000.0, "status": 200, **more}


@pytest.mark.parametrize(
    ("last", "failing"),
    [
        ({}, False),
        ({"status": 400, "error": "invalid_json"}, False),
        ({"status": 429, "error": "Throttling"}, True),
        ({"status": 502, "error": "vendor_auth"}, True),
        ({"status": 200, "error": "stream_truncated"}, True),
        ({"status": 200, "error": "cut"}, False),
    ],
)
def test_when_a_vendor_fails(last: dict[str, Any], failing: bool) -> None:
    found = recent([shown({}), shown(last)], 1100.0)["qwen"]
    assert found["failing"] == failing
    assert found["good"] + found["failed"] == 2


def test_what_is_long_ago_says_nothing() -> None:
    assert recent([shown({})], 9000.0) == {}


async def judged(house: House) -> dict[str, Any]:
    hub = Hub(house)
    task = asyncio.create_task(hub.run())
    try:
        return await well(house, hub)
    finally:
        task.cancel()


async def test_all_is_well() -> None:
    found = await judged(House())
    assert found["wrong"] == []
    assert found["keys"] == [{"provider": "qwen", "key": "sk-…a1b2", "state": "serving"}]
    assert KEY not in json.dumps(found)


LATER = time.time() + 86400
"""Rows of long ago are not looked at, and these are made long before a long run comes to them."""


@pytest.mark.parametrize(
    ("house", "wrong"),
    [
        (House(reason="no worker serves"), [("not_ready", "no worker serves")]),
        (House(refused=("f.yaml:3: missing key",)), [("refused", "f.yaml:3: missing key")]),
        (House(reached=({"provider": "qwen", "reason": "refused", "ends": None},)), [("unreachable", "qwen")]),
        (House(out={"qwen": 5.0}), [("out", "qwen")]),
        (
            House(told=[Seen(1, [row(1, began=LATER, status=500, error="x")], 0, [])]),
            [("failing", "qwen")],
        ),
        (
            House(resting=(Rested("qwen", fingerprint(KEY), math.inf, True),)),
            [("no_key", "qwen"), ("key_aside", "qwen sk-…a1b2")],
        ),
        (
            House(reached=({"provider": "qwen", "host": "h:443", "reason": None, "ends": time.time() + 86400},)),
            [("certificate", "h:443")],
        ),
        (
            House(configured(providers=[{**PROVIDER, "modelMapping": {"*": "qwen-turbo-latest"}}])),
            [("retired", "qwen: qwen-turbo-latest")],
        ),
    ],
    ids=lambda value: value[0][0] if isinstance(value, list) else "",
)
async def test_what_is_not_well(house: House, wrong: list[tuple[str, str]]) -> None:
    assert (await judged(house))["wrong"] == wrong


async def test_a_key_that_rests_says_for_how_long() -> None:
    rest = Rested("qwen", fingerprint(KEY), time.monotonic() + 60, False)
    [key] = (await judged(House(resting=(rest,))))["keys"]
    assert key["state"] == "resting"
    assert 58 <= key["seconds"] <= 60
