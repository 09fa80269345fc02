"""Times in which something is counted: seconds, minutes and hours that slide, days and months of the calendar.

Rule: pure. A sliding time is counted in twentieths, and one that it only partly holds counts whole: so no time of that
length, wherever it begins, ever holds more than the limit. It slides on a clock that nobody sets, so that a step of the
machine's own empties and fills nothing; calendars follow the machine's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from extproc.limits.buckets import Bucket

PARTS: Final = 20
SLIDING: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class Now(NamedTuple):
    """`ticks`: seconds of a clock that nobody sets, the same for all processes of a machine. `date`: since 1970."""

    ticks: float
    date: float


def slot(bucket: Bucket, now: Now) -> int:
    """Where what is used now is counted: a twentieth by its number, or the beginning of a day or month (since 1970)."""
    if (length := SLIDING.get(bucket.per or "")) is not None:
        return int(now.ticks * PARTS // length)
    if bucket.per is None:
        return 0
    return _period(bucket.per, bucket.zone, int(now.date // 60))[0]


def counts(bucket: Bucket, slots: Mapping[int, int], now: Now) -> int:
    """What counts now of what was used."""
    if bucket.per is None:
        return sum(slots.values())
    current = slot(bucket, now)
    if bucket.per not in SLIDING:
        return slots.get(current, 0)
    return sum(amount for at, amount in slots.items() if at >= current - PARTS)


def is_over(bucket: Bucket, at: int, now: Now) -> bool:
    """Whether what is counted there never counts again. A calendar's last period is kept: clocks may be put back."""
    current = slot(bucket, now)
    if bucket.per in SLIDING:
        return at < current - PARTS
    return bucket.per is not None and at < current - 32 * 86_400


def wait(bucket: Bucket, slots: Mapping[int, int], limit: int, now: Now) -> float:
    """Seconds until less than `limit` counts, if nothing more comes. Of what is used at a time nobody knows: 1."""
    if bucket.per is None:
        return 1.0
    length = SLIDING.get(bucket.per)
    if length is None:
        return max(_period(bucket.per, bucket.zone, int(now.date // 60))[1] - now.date, 0.0)
    current, left = slot(bucket, now), counts(bucket, slots, now)
    for at in sorted(slots):
        if at >= current - PARTS and left >= limit:
            left -= slots[at]
            if left < limit:
                return max((at + 1) * length / PARTS + length - now.ticks, 0.0)
    return 0.0 if left < limit else length


@lru_cache(maxsize=1024)
def _period(per: str, zone: str, minute: int) -> tuple[int, int]:
    """Beginning and end (since 1970) of the day or month that holds a minute since 1970. A day may have 23 or 25 hours;
    where the clocks are changed at midnight, it begins when it does."""
    local = datetime.fromtimestamp(minute * 60, ZoneInfo(zone))
    begin = local.replace(day=1 if per == "month" else local.day, hour=0, minute=0, fold=0)
    # By the date alone: of a day added to a time with a zone, its offset may be another.
    next = begin.replace(tzinfo=None) + timedelta(days=32 if per == "month" else 1)
    end = next.replace(day=1 if per == "month" else next.day, tzinfo=ZoneInfo(zone))
    return int(begin.timestamp()), int(end.timestamp())
