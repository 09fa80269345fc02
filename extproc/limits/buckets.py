"""What is limited: buckets, each with a name that outlives configurations, and what an exchange puts into them.

Rule: pure, whole numbers only. Money is counted in millionths of a millionth of its currency, so that sums are exact:
a price per million tokens with six decimals is a whole number of them per token.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Final

from extproc.config.clients import Client
from extproc.config.config import Config
from extproc.config.quotas import Limit, SharedLimit
from extproc.terms.frozen import Frozen

UNIT: Final = 10**12
"""Of money."""

_LONGEST: Final = 200
"""Characters of a model's name in a bucket's: a client may say anything."""


def units(money: Decimal) -> int:
    return int((money * UNIT).to_integral_value(ROUND_HALF_EVEN))


class Bucket(Frozen, frozen=True):
    """One limit of one whom it is for. `name`: says which, and stays the same when the amount changes. `whose`: for
    people. `kind`: as the configuration writes it. `provided`: it is a vendor's, so that each attempt counts."""

    name: str
    whose: str
    kind: str
    limit: int
    per: str | None
    zone: str
    shadow: bool
    warn_at: float
    provided: bool = False

    @property
    def is_money(self) -> bool:
        return len(self.kind) == 3

    def shown(self, amount: int) -> str:
        """An amount in words."""
        if not self.is_money:
            return str(amount)
        return f"{(Decimal(amount) / UNIT).quantize(Decimal('0.000001')).normalize():f}"

    @property
    def said(self) -> str:
        """`200000 tokens per minute for client alice`."""
        kind = self.kind.upper() if self.is_money else self.kind
        return f"{self.shown(self.limit)} {kind}{f' per {self.per}' if self.per else ''} for {self.whose}"


class Spend(Frozen, frozen=True):
    """What an exchange uses, or may: `input` and `output` tokens, and money in units by currency (`usd`)."""

    input: int = 0
    output: int = 0
    money: Mapping[str, int] = {}

    def of(self, kind: str) -> int:
        match kind:
            case "requests" | "concurrent":
                return 1
            case "tokens":
                return self.input + self.output
            case "inputTokens":
                return self.input
            case "outputTokens":
                return self.output
            case _:
                return self.money.get(kind, 0)


class Rules:
    """The limits of a configuration."""

    def __init__(self, config: Config) -> None:
        self._shared = config.limits
        self._limited = {client.name for client in config.clients if client.limits}
        self.applying = lru_cache(maxsize=4096)(self._applying)

    def _applying(
        self, client: Client, route: str, provider: str, model: str | None, sent: str | None
    ) -> tuple[Bucket, ...]:
        """The buckets of an exchange. `model`: as the client named it, `sent`: as the vendor is asked."""
        found = [_own(client, limit) for limit in client.limits]
        for limit in self._shared:
            match = limit.match
            if (
                (match.clients is None or client.name in match.clients)
                and (match.groups is None or any(group in match.groups for group in client.groups))
                and (match.routes is None or route in match.routes)
                and (match.providers is None or provider in match.providers)
                and (match.models is None or any(name in match.models for name in (model, sent) if name))
            ):
                each = {"client": client.name, "route": route, "provider": provider, "model": sent or model or ""}
                found.append(_shared(limit, each.get(limit.each or "")))
        return tuple(found)


def _own(client: Client, limit: Limit) -> Bucket:
    return _bucket(f"client {client.name}", limit, provided=False)


def _shared(limit: SharedLimit, value: str | None) -> Bucket:
    """`value`: of what each has its own."""
    whose = limit.match.said
    if value is not None:
        whose = f"{whose}, {limit.each} {value if len(value) <= _LONGEST else sha256(value.encode()).hexdigest()}"
    return _bucket(whose, limit, provided=limit.match.providers is not None or limit.each == "provider")


def _bucket(whose: str, limit: Limit, *, provided: bool) -> Bucket:
    amount = units(limit.amount) if isinstance(limit.amount, Decimal) else limit.amount
    zone = f" {limit.zone}" if limit.per in ("day", "month") else ""
    name = f"{whose} | {limit.kind}{f' per {limit.per}' if limit.per else ''}{zone}"
    return Bucket(name, whose, limit.kind, amount, limit.per, limit.zone, limit.shadow, limit.warn_at, provided)
