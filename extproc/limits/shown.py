"""What was used and what is left, in JSON's values.

Rule: pure; names and numbers, no key. Money is text, so that nobody rounds it.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from extproc.limits.authority import Fill
from extproc.limits.buckets import UNIT, Bucket
from extproc.limits.history import Row


def shown(row: Row, by: Iterable[str]) -> dict[str, Any]:
    """A row, with what it is told apart by."""
    tally = row.tally
    place = {name: getattr(row.place, name) for name in by if name != "time"}
    return {
        **({"at": row.at} if "time" in by else {}),
        **place,
        "requests": tally.exchanges,
        "errors": row.errors,
        "cut": tally.cut,
        "retries": tally.retries,
        "estimated": row.estimated,
        "input": tally.input,
        "cached": tally.cached,
        "written": tally.written,
        "output": tally.output,
        "thinking": tally.thinking,
        "cost": {currency: f"{cost:f}" for currency, cost in tally.costs.items()},
        "duration": tally.duration.counts,
        "first": tally.first.counts,
    }


def filled(fill: Fill) -> dict[str, Any]:
    """A limit of which something is used."""
    bucket = fill.bucket
    return {
        "limit": bucket.said,
        "whose": bucket.whose,
        "kind": bucket.kind,
        "per": bucket.per,
        "shadow": bucket.shadow,
        "amount": _amount(bucket, bucket.limit),
        "used": _amount(bucket, fill.used),
        "left": _amount(bucket, max(bucket.limit - fill.used, 0)),
        "reset": round(fill.reset, 3),
    }


def _amount(bucket: Bucket, amount: int) -> int | str:
    return f"{Decimal(amount) / UNIT:f}" if bucket.is_money else amount
