"""Who may use how much: `limits` of a client and of all, and `usage`, where what was used is kept.

Rule: shapes and what one entry can say wrong; what two entries say against each other is `quota_faults`', with places.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from extproc.config.words import did_you_mean
from extproc.providers.blocks import Block, Patterns
from extproc.text.patterns import NamePatterns

Per = Literal["second", "minute", "hour", "day", "month"]
Each = Literal["client", "route", "provider", "model"]

COUNTS: Final = ("requests", "tokens", "input_tokens", "output_tokens", "concurrent")
CURRENCIES: Final = ("usd", "cny", "eur", "gbp", "jpy", "hkd", "sgd", "inr", "krw")
KINDS: Final = {name: "".join(word.title() if n else word for n, word in enumerate(name.split("_")))
                for name in (*COUNTS, *CURRENCIES)}  # fmt: skip
"""Fields of `Limit`, and how a file writes them."""

SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 28 * 86_400}
"""How long each `per` is, at least."""

_MOST: Final = 10**15
"""What a double holds exactly, with room for sums: Redis' scripts have nothing else."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory, `Asia`
        hint = did_you_mean(name, available_timezones())
        raise ValueError(f"there is no time zone {name[:60]!r}{hint}; wanted a name such as Asia/Shanghai") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"found {'true' if value else 'false'}; wanted a number")
    return value


Count = Annotated[int, BeforeValidator(_number), Field(gt=0, le=_MOST)]
Money = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=float),
    Field(gt=0, le=1_000_000_000, decimal_places=6),
]


class Limit(Block):
    """So much of one kind in a time. `per`: a second, a minute, an hour that slide, or a day, a month of the calendar
    in `zone`; `concurrent` has none. `shadow`: it is counted and told, and refuses nothing. `warnAt`: the share from
    which on it is told that little is left."""

    requests: Count | None = None
    tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    concurrent: Count | None = None
    usd: Money | None = None
    cny: Money | None = None
    eur: Money | None = None
    gbp: Money | None = None
    jpy: Money | None = None
    hkd: Money | None = None
    sgd: Money | None = None
    inr: Money | None = None
    krw: Money | None = None
    per: Per | None = None
    zone: Zone = "UTC"
    shadow: bool = False
    warn_at: Annotated[float, BeforeValidator(_number)] = Field(default=0.8, gt=0, le=1)

    @model_validator(mode="after")
    def _one_of_a_kind(self) -> Self:
        said = [written for name, written in KINDS.items() if getattr(self, name) is not None]
        if not said:
            raise ValueError(f"says nothing that is limited; one of {', '.join(KINDS.values())} is needed")
        if len(said) > 1:
            raise ValueError(f"limits {' and '.join(said)}: give each an entry of its own")
        if said == ["concurrent"]:
            if self.per is not None:
                raise ValueError("concurrent is how many at a time, so there is no per beside it")
        elif self.per is None:
            raise ValueError(f"{said[0]} needs a per: second, minute, hour, day or month")
        if "zone" in self.model_fields_set and self.per not in ("day", "month"):
            raise ValueError("zone says where a day or a month begins: per must be one of them")
        return self

    @property
    def kind(self) -> str:
        """What is limited, as the file writes it."""
        return next(written for name, written in KINDS.items() if getattr(self, name) is not None)

    @property
    def amount(self) -> int | Decimal:
        found: int | Decimal = next(a for name in KINDS if (a := getattr(self, name)) is not None)
        return found

    @property
    def currency(self) -> str | None:
        """Of a budget in money, as `prices` write it."""
        return self.kind.upper() if self.kind in CURRENCIES else None

    @property
    def said(self) -> str:
        """`200000 tokens per minute`."""
        amount = f"{self.amount:f}" if isinstance(self.amount, Decimal) else str(self.amount)
        zone = f" ({self.zone})" if self.zone != "UTC" else ""
        return f"{amount} {self.currency or self.kind}" + (f" per {self.per}{zone}" if self.per else "")


def _some(patterns: NamePatterns) -> NamePatterns:
    if not patterns.patterns:
        raise ValueError("must not be empty: nothing would ever match")
    return patterns


Some = Annotated[Patterns, AfterValidator(_some)]


class LimitMatch(Block):
    """What a limit is for; everything that is said must hold. Names: exact, with `*` for any text, or `~regex`.
    `models`: the name that the client asked for, or the vendor's."""

    clients: Some | None = None
    groups: Some | None = None
    routes: Some | None = None
    providers: Some | None = None
    models: Some | None = None

    @property
    def said(self) -> str:
        """`models qwen-max*, routes a`."""
        names = ("clients", "groups", "routes", "providers", "models")
        parts = [(name, found) for name in names if (found := getattr(self, name)) is not None]
        return ", ".join(f"{name} {' '.join(found.patterns)}" for name, found in parts) or "everything"


class SharedLimit(Limit):
    """A limit that all together have whose requests match, or each of them. `each`: what has one of its own."""

    match: LimitMatch = LimitMatch()
    each: Each | None = None

    @property
    def scope(self) -> str:
        return self.match.said + (f", each {self.each}" if self.each else "")


class UsageBlock(Block):
    """Where it is kept what was used and what is left. `store`: `auto` (Redis where `redis` is configured, else a file
    in the state directory), `memory`, `redis`, or a file's path. `onFailure`: what becomes of requests with limits
    while the store fails: `local` counts in this machine's memory, `refuse` answers 503, `allow` lets all through."""

    store: Annotated[str, Field(min_length=1)] = "auto"
    on_failure: Literal["local", "refuse", "allow"] = "local"


STORES: Final = ("auto", "memory", "redis")
"""What is no path."""


def contradictions(limits: Sequence[Limit]) -> Iterator[tuple[int, str]]:
    """What limits that are for the same say against each other: the later one's index, and why."""
    for index, one in enumerate(limits):
        for other in limits[:index]:
            if one.kind != other.kind:
                continue
            short, long = sorted((one, other), key=lambda limit: SECONDS[limit.per or "second"])
            if one.per == other.per:
                yield index, f"contradicts another entry, {other.said}: say one of them"
            elif short.amount > long.amount:
                yield index, f"contradicts another entry, {other.said}: {short.said} can never be reached"
            else:
                continue
            break
