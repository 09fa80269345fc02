"""What was used: sums by client, model, provider and route, their course over time, and what is left of limits.

Rule: every number is a sum of the store's counts (`limits/history.py`), never of the rows that a page happens to have.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
from io import StringIO
from typing import Any, Final

from msgspec import Struct

from extproc.console.house import House
from extproc.limits.history import DAY, HOUR, MINUTE, By, Row
from extproc.limits.shown import filled, shown
from extproc.terms.tallies import FIRST_SECONDS, OTHER, SECONDS, quantile

PERIODS: Final = {"hour": (HOUR, MINUTE), "day": (DAY, HOUR // 2), "month": (30 * DAY, DAY)}
"""How long each looks back, and in which steps."""

_APART: Final[tuple[By, ...]] = ("client", "model", "provider", "route")
MOST_SERIES: Final = 5
"""Colours that can be told apart, but one: that is for all others."""


class Asked(Struct, frozen=True):
    """`by`: what the table tells apart. `split`: what the charts do."""

    period: str = "day"
    by: tuple[By, ...] = ("client", "model", "provider")
    split: By = "model"

    def since(self, now: float) -> int:
        """The beginning of the first step."""
        back, width = PERIODS[self.period]
        return int(now // width) * width - back + width


def wanted(query: Mapping[str, str]) -> Asked:
    """What is not known is as if it was not said: addresses are kept as bookmarks."""
    usual = Asked()
    named = query.get("by", "").split(",")
    by = tuple(name for name in _APART if name in named) or usual.by
    period, split = query.get("period", ""), query.get("split", "")
    return Asked(
        period if period in PERIODS else usual.period,
        by,
        next((name for name in _APART if name == split), usual.split),
    )


async def use(house: House, asked: Asked, now: float) -> dict[str, Any]:
    """The page. Durations are in milliseconds, money is text by currency."""
    since, width = asked.since(now), PERIODS[asked.period][1]
    rows = await house.used(since, asked.by, width)
    course = await house.used(since, ("time",), width)
    split = await house.used(since, ("time", asked.split), width)
    return {
        "since": since,
        "now": now,
        "width": width,
        "period": asked.period,
        "by": asked.by,
        "split": asked.split,
        "total": [_told(row, ()) for row in await house.used(since, (), width)],
        "rows": [_told(row, asked.by) for row in rows],
        "course": [_told(row, ("time",)) for row in course],
        **_series(split, asked.split),
        "limits": [filled(fill) for fill in house.fills()],
    }


def _told(row: Row, by: Iterable[str]) -> dict[str, Any]:
    values = shown(row, by)
    for name, bounds in (("duration", SECONDS), ("first", FIRST_SECONDS)):
        counts = values.pop(name)
        values[name] = [_ms(quantile(counts, bounds, share)) for share in (0.5, 0.95)]
    return values


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _series(rows: Sequence[Row], split: By) -> dict[str, Any]:
    """The names with the most tokens, then the most requests, and a row for each of them at each time; all others are
    one."""
    sums: dict[str, tuple[int, int]] = {}
    for row in rows:
        name = getattr(row.place, split)
        tokens, requests = sums.get(name, (0, 0))
        sums[name] = tokens + row.tally.input + row.tally.output, requests + row.tally.exchanges
    names = sorted(sums, key=lambda name: (sums[name], name), reverse=True)
    if len(names) > MOST_SERIES:
        names = [name for name in names if name != OTHER][:MOST_SERIES]
    found: dict[tuple[int, str], Row] = {}
    for row in rows:
        name = getattr(row.place, split)
        key = row.at, name if name in names else OTHER
        if key not in found:
            found[key] = Row(row.at, row.width, row.place)
        found[key].merge(row)
    drawn = [{**_told(row, ("time",)), "name": name} for (_, name), row in found.items()]
    others = [OTHER] if OTHER not in names and any(one["name"] == OTHER for one in drawn) else []
    return {"names": names + others, "series": drawn}


_HEADS: Final = (
    "requests",
    "errors",
    "cut",
    "retries",
    "estimated",
    "input",
    "cached",
    "written",
    "output",
    "thinking",
)


async def sheet(house: House, asked: Asked, now: float) -> str:
    """The table as CSV (RFC 4180), a column for each currency."""
    rows = [shown(row, asked.by) for row in await house.used(asked.since(now), asked.by, PERIODS[asked.period][1])]
    currencies = sorted({currency for row in rows for currency in row["cost"]})
    written = StringIO()
    table = csv.writer(written)
    table.writerow([*asked.by, *_HEADS, *(f"cost {currency}" for currency in currencies)])
    for row in rows:
        costs = [row["cost"].get(currency, "") for currency in currencies]
        table.writerow([*(_harmless(row[name]) for name in asked.by), *(row[name] for name in _HEADS), *costs])
    return written.getvalue()


def _harmless(name: str) -> str:
    """A name that no spreadsheet takes for a formula (OWASP, "CSV Injection", 2026)."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
