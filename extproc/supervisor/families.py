"""Families of metrics: sums that only grow, values of now, and spreads, each by its labels.

Rule: named as OpenTelemetry names them (dots, units in UCUM); whoever writes another form makes its own names of these.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from extproc.terms.tallies import OTHER, Spread

MOST_SERIES = 50_000
"""Sets of labels within a family; what comes beyond is counted under `other` everywhere."""

Number = int | float | Decimal
Labels = tuple[str, ...]


@dataclass(slots=True)
class Family:
    """`unit`: in UCUM, `1` for none. `bounds`: of a histogram, whose values are `Spread`s. `texts`: what whoever writes
    the family keeps of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    unit: str = "1"
    bounds: tuple[float, ...] = ()
    values: dict[Labels, Number] = field(default_factory=dict)
    spreads: dict[Labels, Spread] = field(default_factory=dict)
    texts: dict[Labels, str] = field(default_factory=dict)

    def add(self, labels: Labels, more: Number) -> None:
        """Nothing is added of nothing, so that what never happened has no line."""
        if not more:
            return
        known = self.values.get(labels)
        if known is None and len(self.values) >= MOST_SERIES:
            labels = (OTHER,) * len(self.labels)
            known = self.values.get(labels)
        self.values[labels] = more if known is None else known + more  # type: ignore[operator]

    def spread(self, labels: Labels, more: Spread) -> None:
        if not more.counts:
            return
        known = self.spreads.get(labels)
        if known is None:
            if len(self.spreads) >= MOST_SERIES // len(more.counts):
                labels = (OTHER,) * len(self.labels)
            known = self.spreads.setdefault(labels, Spread())
        known.merge(more)

    def show(self, labels: Labels, value: Number) -> None:
        """A value of now."""
        self.values[labels] = value


def counter(name: str, help: str, *labels: str) -> Family:
    """A sum."""
    return Family(name, "counter", help, labels)


def gauge(name: str, help: str, *labels: str, unit: str = "1") -> Family:
    """A value of now."""
    return Family(name, "gauge", help, labels, unit)


def seconds(name: str, help: str, bounds: tuple[float, ...], *labels: str) -> Family:
    """A histogram of durations."""
    return Family(name, "histogram", help, labels, "s", bounds)
