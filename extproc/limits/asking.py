"""What an exchange asks of its limits, and what it is told.

Rule: pure. An exchange says what it is about to use (`Ask`); who keeps the buckets gives a `Grant`, or raises nothing
and gives the error that refuses.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Final

from extproc.limits.authority import Need, Verdict
from extproc.limits.buckets import Bucket, Spend
from extproc.terms.errors import InsufficientQuota, LimitsUnknown, ProxyError, QuotaExceeded
from extproc.terms.frozen import Frozen


class Ask(Frozen, frozen=True):
    """`buckets`: what applies. `known`: what the request uses in any case, its input; `most`: what it may. `attempt`:
    from the second on nothing is refused but by limits of vendors, since the request is let through already."""

    buckets: tuple[Bucket, ...]
    known: Spend
    most: Spend
    attempt: int = 1

    def needs(self) -> list[Need]:
        return [self._need(bucket) for bucket in self.buckets]

    def _need(self, bucket: Bucket) -> Need:
        again = self.attempt > 1 and not bucket.provided
        if bucket.kind == "requests":
            amount = 0 if again else 1
            return Need(bucket, amount, amount, again)
        known = 0 if bucket.kind == "concurrent" else self.known.of(bucket.kind)
        return Need(bucket, self.most.of(bucket.kind), known, again)


def refusal(verdict: Verdict) -> ProxyError:
    """What a client is told that may not go on now."""
    bucket = verdict.by
    if bucket is None:
        return LimitsUnknown("it is not known what is left of this request's limits; try again")
    used = f"{bucket.shown(verdict.used)} used or reserved"
    if bucket.per is None:
        when = "when one of them is over"
    elif verdict.wait < 120:
        when = f"in {math.ceil(verdict.wait)} s"
    else:
        when = f"in {duration(verdict.wait)}"
    kind = InsufficientQuota if bucket.is_money else QuotaExceeded
    return kind(f"the limit of {bucket.said} is reached ({used}); there is room again {when}", verdict.wait)


def headers(needs: Sequence[Need], verdict: Verdict) -> dict[str, str]:
    """What a good answer says of its limits: of those of requests and those of tokens the tightest, and the share of
    the budget that is nearest to its end, once little is left."""
    tightest: dict[str, tuple[float, str, str, str]] = {}
    fullest = 0.0
    for need, granted in zip(needs, verdict.granted, strict=True):
        bucket = need.bucket
        left = max(bucket.limit - granted.used - need.amount, 0)
        share = left / bucket.limit
        group = _GROUPS.get(bucket.kind)
        if group is not None and not bucket.shadow and (group not in tightest or share < tightest[group][0]):
            tightest[group] = (share, str(bucket.limit), str(left), duration(granted.reset))
        used = granted.used / bucket.limit
        if used >= bucket.warn_at and bucket.per is not None:
            fullest = max(fullest, used)
    told = {"x-ai-budget": f"{min(int(fullest * 100), 100)}%"} if fullest else {}
    for group, (_, *values) in tightest.items():
        for name, value in zip(("limit", "remaining", "reset"), values, strict=True):
            told[f"x-ratelimit-{name}-{group}"] = value
    return told


_GROUPS: Final[Mapping[str, str]] = {
    "requests": "requests",
    "tokens": "tokens",
    "inputTokens": "tokens",
    "outputTokens": "tokens",
}


def duration(seconds: float) -> str:
    """`6m0s`, as OpenAI writes times (its reference, "Rate limits", 2026): Go's form, of whole seconds above one."""
    if seconds < 1:
        return f"{max(math.ceil(seconds * 1000), 0)}ms"
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
