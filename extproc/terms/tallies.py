"""What is counted of exchanges: by whom and what they were, how many, how long, how much.

Rule: sums only, so that tallies add up in any order, over workers and over time. No clock and no I/O. Names come from
clients: whoever shows them sees to it that they are few (`supervisor/books.py`).
"""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct, field

OTHER: Final = "other"
"""Stands for every name that is not worth a place of its own."""

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds for whole exchanges. Those of this and the next three are OpenTelemetry's own for its `gen_ai.*` histograms
(semantic conventions 1.41, 2026), so that graphs made for others fit."""
FIRST_SECONDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)  # fmt: skip
PACE_SECONDS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(float(4**n) for n in range(14))
OWN_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Of what the sidecar adds: a tenth of a millisecond to a second."""


class Spread(Struct, array_like=True):
    """How often a value fell between which bounds. `counts`: one more than there are bounds, or none where nothing was
    counted."""

    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def add(self, value: float, bounds: tuple[float, ...]) -> None:
        if not self.counts:
            self.counts = [0] * (len(bounds) + 1)
        self.counts[bisect_left(bounds, value)] += 1
        self.sum += value

    def merge(self, other: "Spread") -> None:
        if not self.counts:
            self.counts = list(other.counts)
        elif other.counts:
            self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The value below which a share of all fell, as evenly spread between two bounds; beyond the last it is that one.
    None where nothing was counted."""
    left = share * sum(counts)
    below = 0.0
    for count, bound in zip(counts, bounds, strict=False):
        if count and left <= count:
            return below + (bound - below) * left / count
        left -= count
        below = bound
    return below if any(counts) else None


class Key(Struct, array_like=True, frozen=True):
    """What exchanges are told apart by. Empty: not known, or there is none. `model`: as the client named it, `sent`: as
    the vendor was asked. `operation`: OpenTelemetry's word for what the API does. `status`: the class of the client's
    status (`2xx`), `none` where nothing was answered. `error`: a code of ours or a usual one of the vendors', else
    `other`. `estimated`: the tokens are no vendor's own count. `refused`: by us, before any vendor was asked."""

    client: str
    front: str
    operation: str
    route: str
    provider: str
    model: str
    sent: str
    status: str
    error: str
    estimated: bool
    refused: bool


class Tally(Struct, array_like=True):
    """How many exchanges of one kind there were, and what they sum up to.

    `retries`: those that were not the first attempt of their request. `cut`: those that ended before their end.
    Tokens: `input` includes what was read from a cache (`cached`) and written to one (`written`), `output` the
    `thinking`. `images`, `seconds` of sound or film, `characters`: where a vendor counts these. `costs`: by currency.
    Spreads in seconds, `asked` and `told` in tokens; `first` until the first chunk of a stream went out, `pace` per
    token after it, `own` what the sidecar added until then."""

    exchanges: int = 0
    retries: int = 0
    cut: int = 0
    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0
    thinking: int = 0
    images: int = 0
    seconds: float = 0.0
    characters: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict)
    duration: Spread = field(default_factory=Spread)
    first: Spread = field(default_factory=Spread)
    pace: Spread = field(default_factory=Spread)
    own: Spread = field(default_factory=Spread)
    asked: Spread = field(default_factory=Spread)
    told: Spread = field(default_factory=Spread)

    def merge(self, other: "Tally") -> None:
        self.exchanges += other.exchanges
        self.retries += other.retries
        self.cut += other.cut
        self.input += other.input
        self.cached += other.cached
        self.written += other.written
        self.output += other.output
        self.thinking += other.thinking
        self.images += other.images
        self.seconds += other.seconds
        self.characters += other.characters
        for currency, cost in other.costs.items():
            self.costs[currency] = self.costs.get(currency, Decimal()) + cost
        self.duration.merge(other.duration)
        self.first.merge(other.first)
        self.pace.merge(other.pace)
        self.own.merge(other.own)
        self.asked.merge(other.asked)
        self.told.merge(other.told)
