"""`extproc usage` and `extproc limits`: what a running gateway says of what was used and what is left.

Rule: asks the admin port and prints; tables for people, `--json` as it came.
"""

from datetime import UTC, datetime
from decimal import Decimal
import json
import re
import time
from typing import Any
from urllib import error, parse, request

import click

from extproc.limits.asking import duration
from extproc.worker.places import Address

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_NOTHING = request.ProxyHandler({})


class Since(click.ParamType[float]):
    """`30m`, `24h`, `7d`, `4w`, or a date such as `2026-11-01` or `2026-11-01T12:00+08:00`; without a zone: UTC."""

    name = "AGO|DATE"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if match := re.fullmatch(r"(\d+)([mhdw])", value):
            return time.time() - int(match[1]) * _UNITS[match[2]]
        try:
            date = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither 30m, 24h, 7d, 4w nor a date", param, ctx)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def asked(admin: Address, path: str, body: object = None, **query: object) -> Any:
    """What the admin port answers. Raises `OSError` in one line."""
    given = parse.urlencode({name: value for name, value in query.items() if value is not None})
    sent = None if body is None else json.dumps(body).encode()
    try:
        wanted = request.Request(f"http://{admin}{path}?{given}", sent, {"content-type": "application/json"})
        with request.build_opener(_NOTHING).open(wanted, timeout=10) as answer:
            return json.load(answer)
    except error.HTTPError as refused:
        try:
            reason = json.load(refused)["reason"]
        except (ValueError, KeyError, TypeError):
            reason = f"status {refused.code}"
        raise OSError(f"{admin}: {reason}") from None
    except (error.URLError, TimeoutError, ValueError) as away:
        raise OSError(f"no gateway answers at {admin} (--admin): {getattr(away, 'reason', away)}") from None


def table(rows: list[list[str]], numbers: set[int]) -> str:
    """Columns under their heads; `numbers`: those to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(at: int, text: str) -> str:
        return text.rjust(widths[at]) if at in numbers else text.ljust(widths[at])

    return "\n".join("  ".join(cell(at, text) for at, text in enumerate(row)).rstrip() for row in rows)


def used(rows: list[dict[str, Any]], by: tuple[str, ...]) -> str:
    """What was used, and all of it together."""
    counts = ("requests", "errors", "input", "cached", "output")
    made = [[*by, *counts, "cost"]]
    sums: dict[str, Decimal] = {}
    for row in rows:
        for currency, cost in row["cost"].items():
            sums[currency] = sums.get(currency, Decimal()) + Decimal(cost)
        names = [_time(row["at"]) if name == "time" else row[name] or "-" for name in by]
        made.append([*names, *(str(row[name]) for name in counts), money(row["cost"])])
    if by:
        total = (str(sum(row[name] for row in rows)) for name in counts)
        made.append(["all", *[""] * (len(by) - 1), *total, money({c: f"{s:f}" for c, s in sums.items()})])
    return table(made, set(range(len(by), len(by) + len(counts) + 1)))


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def money(costs: dict[str, str]) -> str:
    """Amounts with their currencies; of each at most six decimals."""
    shown = (f"{round(Decimal(cost), 6).normalize():f} {currency}" for currency, cost in costs.items())
    return " + ".join(shown) or "-"


def left(limits: list[dict[str, Any]]) -> str:
    """What is left of which limit."""
    made = [["limit", "used", "left", "full again in"]]
    for one in limits:
        shadow = " (shadow)" if one["shadow"] else ""
        made.append([one["limit"] + shadow, str(one["used"]), str(one["left"]), duration(one["reset"])])
    return table(made, {1, 2, 3})
