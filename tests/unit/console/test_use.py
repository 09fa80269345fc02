"""The page of use: its sums are the store's, whatever it shows, and what a spreadsheet gets is harmless."""

import csv
from decimal import Decimal
from io import StringIO
import time
from typing import Any

import pytest

from extproc.console.use import MOST_SERIES, PERIODS, Asked, use, wanted
from extproc.limits.authority import Fill
from extproc.limits.buckets import Bucket
from extproc.limits.history import Place, Row
from extproc.terms.tallies import SECONDS, Spread, Tally, quantile
from tests.unit.console.house import House, looking

NOW = 1_764_600_000.0
BUCKET = Bucket("x", "client alice", "tokens", 100, "minute", "UTC", False, 0.8)


def used(client: str, model: str, ago: float = 0, **more: Any) -> Row:
    """A minute of use. `took`: the seconds of its exchanges."""
    took: tuple[float, ...] = more.pop("took", (0.5,))
    spread = Spread()
    for seconds in took:
        spread.add(seconds, SECONDS)
    errors = more.pop("errors", 0)
    values = {"exchanges": len(took), "input": 10, "output": 5, "duration": spread, **more}
    at = int((NOW - ago) // 60) * 60
    return Row(at, 60, Place(client, model, "qwen", "r"), errors, 0, Tally(**values))


async def test_sums_are_those_of_the_store_in_every_part_of_the_page() -> None:
    rows = [
        used("alice", "m", costs={"USD": Decimal("0.1")}),
        used("alice", "m", 600, costs={"USD": Decimal("0.2"), "CNY": Decimal("1")}, errors=1),
        used("bob", "n", 7200, took=(0.5, 0.5), input=100),
        used("bob", "n", 90_000),
    ]
    found = await use(House(history=rows), Asked(), NOW)
    assert [(r["client"], r["model"], r["requests"], r["input"]) for r in found["rows"]] == [
        ("alice", "m", 2, 20),
        ("bob", "n", 2, 100),
    ]
    assert found["rows"][0]["cost"] == {"USD": "0.3", "CNY": "1"}
    (total,) = found["total"]
    for part in ("rows", "course", "series", "total"):
        assert sum(row["requests"] for row in found[part]) == total["requests"] == 4
        assert sum(row["errors"] for row in found[part]) == 1
        assert sum(Decimal(row["cost"].get("USD", "0")) for row in found[part]) == Decimal("0.3")
    assert {row["name"] for row in found["series"]} == {"m", "n"} == set(found["names"])
    assert all((row["at"] - found["since"]) % found["width"] == 0 for row in found["series"])


async def test_what_has_no_colour_of_its_own_is_drawn_as_others() -> None:
    rows = [used("c", f"m{n}", input=n) for n in range(20)]
    found = await use(House(history=rows), Asked("hour"), NOW)
    assert found["names"] == [*(f"m{n}" for n in range(19, 19 - MOST_SERIES, -1)), "other"]
    assert sum(row["input"] for row in found["series"]) == sum(range(20))


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        ((), 0.5, None),
        ((0.02,) * 10, 0.5, 0.015),
        ((0.02,) * 19 + (1.0,), 0.95, 0.02),
        ((0.02,) * 9 + (1.0,), 0.95, 0.64 + 0.64 * 0.5),
        ((1000.0,), 0.5, SECONDS[-1]),
    ],
)
def test_quantiles_lie_between_the_bounds(values: tuple[float, ...], share: float, wanted: float | None) -> None:
    spread = Spread()
    for value in values:
        spread.add(value, SECONDS)
    assert quantile(spread.counts, SECONDS, share) == (wanted if wanted is None else pytest.approx(wanted))


def test_an_address_of_another_time_shows_the_usual() -> None:
    assert wanted({"period": "year", "by": "colour,", "split": "time"}) == Asked()
    asked = wanted({"period": "month", "by": "route,client", "split": "client"})
    assert asked == Asked("month", ("client", "route"), "client")
    for period in PERIODS:
        assert Asked(period).since(NOW) <= NOW - PERIODS[period][0] + PERIODS[period][1]


async def test_limits_and_a_sheet_that_no_spreadsheet_runs() -> None:
    now = time.time()
    row = used("=SUM(A1)", 'm,"n"', NOW - now, costs={"USD": Decimal("0.1000000001")})
    house = House(history=[row], filled=[Fill(BUCKET, 50, 12.5)])
    async with looking(house) as client:
        told = await (await client.get("/console/api/use?period=hour")).json()
        assert [(one["limit"], one["used"], one["left"]) for one in told["limits"]] == [(BUCKET.said, 50, 50)]
        answer = await client.get("/console/api/use.csv?period=hour&by=client,model")
        assert answer.headers["content-disposition"] == 'attachment; filename="use-hour.csv"'
        heads, first = csv.reader(StringIO(await answer.text()))
    assert heads[:3] == ["client", "model", "requests"]
    assert (first[0], first[1], first[-1]) == ("'=SUM(A1)", 'm,"n"', "0.1000000001")
