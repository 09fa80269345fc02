"""Measurements → ratios and verdicts. Pure arithmetic.

Rule: a ratio is taken within one repetition, whose arms were measured one after the other; of these ratios the median
counts, and the lowest and highest are the spread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import statistics
from typing import Any, Final

Rows = Mapping[str, Mapping[str, Any]]
"""Scenarios by name, as `measure` gives them."""
Metric = Callable[[Mapping[str, Any]], float]

_TICK: Final = 0.01
"""Seconds of CPU that the kernel counts in: nothing is measured below."""


def requests_s(row: Mapping[str, Any]) -> float:
    return float(row["load"]["requests"] / row["load"]["seconds"])


def chunks_s(row: Mapping[str, Any]) -> float:
    return float(row["load"]["chunks"] / row["load"]["seconds"])


def p50(row: Mapping[str, Any]) -> float:
    return float(row["load"]["latency_ms"]["p50"])


def first_p50(row: Mapping[str, Any]) -> float:
    return float(row["load"]["first_ms"]["p50"])


def cpu_ms(row: Mapping[str, Any], *roles: str) -> float:
    """CPU of a request, in ms: of these roles, or of all but the vendor."""
    cpu = row["cpu_seconds"]
    asked = row["load"]["requests"] + row["load"]["cancelled"]
    return float(1000 * max(_TICK, sum(cpu[role] for role in roles or (r for r in cpu if r != "vendor"))) / asked)


def per_cpu(row: Mapping[str, Any]) -> float:
    """Requests per second of the gateway's CPU."""
    return 1000 / cpu_ms(row)


def chunks_per_cpu(row: Mapping[str, Any]) -> float:
    return per_cpu(row) * float(row["load"]["chunks"] / row["load"]["requests"])


@dataclass(frozen=True)
class Spread:
    """Of several values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


class Unmeasured(Exception):
    """There is no such number in this run; the message says why."""


def repetitions(rows: Rows, scenario: str, *arms: str) -> list[tuple[Mapping[str, Any], ...]]:
    """The measurements of some arms, those of one repetition together. Raises `Unmeasured`."""
    if scenario not in rows:
        raise Unmeasured(f"`{scenario}` was not run")
    found = rows[scenario]["arms"]
    for arm in arms:
        if "problem" in found.get(arm, {"problem": "absent"}):
            raise Unmeasured(f"`{scenario}`, {arm} failed")
    return list(zip(*(found[arm]["repetitions"] for arm in arms), strict=True))


@dataclass(frozen=True)
class Target:
    """`bound` None: a figure that is only reported. `most`: the bound is the most that is allowed, else the least."""

    figure: str
    scenario: str
    values: Callable[[Rows, str], Sequence[float]]
    bound: float | None = None
    most: bool = False

    def wanted(self) -> str:
        return "–" if self.bound is None else f"{'≤' if self.most else '≥'} {self.bound:g}"

    def met(self, value: float) -> bool | None:
        if self.bound is None:
            return None
        return value <= self.bound if self.most else value >= self.bound


@dataclass(frozen=True)
class Verdict:
    target: Target
    spread: Spread | None
    reason: str = ""

    @property
    def met(self) -> bool | None:
        """None: nothing to say."""
        return None if self.spread is None else self.target.met(self.spread.median)


def ratio(metric: Metric, arm: str, other: str) -> Callable[[Rows, str], list[float]]:
    return lambda rows, scenario: [metric(a) / metric(b) for a, b in repetitions(rows, scenario, arm, other)]


def added(metric: Metric, arm: str, other: str) -> Callable[[Rows, str], list[float]]:
    """What an arm adds to plain Envoy, as a share of what the other adds."""

    def values(rows: Rows, scenario: str) -> list[float]:
        found = repetitions(rows, scenario, arm, other, "envoy")
        return [(metric(a) - metric(e)) / (metric(b) - metric(e)) for a, b, e in found if metric(b) > metric(e)]

    return values


def special(rows: Rows, scenario: str) -> Mapping[str, Any]:
    """What was found of us in a scenario without repetitions. Raises `Unmeasured`."""
    if scenario not in rows:
        raise Unmeasured(f"`{scenario}` was not run")
    found: Mapping[str, Any] = rows[scenario]["arms"]["us"]
    if "problem" in found:
        raise Unmeasured(f"`{scenario}` failed")
    return found


def _stream_kib(rows: Rows, scenario: str) -> list[float]:
    return [special(rows, scenario)["kib_per_stream"]["worker"]]


def quarters(samples: Sequence[float]) -> tuple[float, float]:
    """Medians of the second and of the last quarter."""
    size = max(1, len(samples) // 4)
    return statistics.median(samples[size : 2 * size] or samples), statistics.median(samples[-size:])


def _growth(rows: Rows, scenario: str) -> list[float]:
    second, last = quarters(special(rows, scenario)["resident_mib"])
    return [last / second]


TARGETS: Final = (
    Target("requests/s, qwen native whole: us ÷ do-nothing, same phases", "qwen-whole", ratio(requests_s, "us", "noop-whole"), 0.85),
    Target("requests/s, qwen native whole: us ÷ do-nothing on our own server", "qwen-whole", ratio(requests_s, "us", "bare-whole")),
    Target("requests per CPU second, openai pass-through: us ÷ plain Envoy", "openai-whole", ratio(per_cpu, "us", "envoy")),
    Target("requests/s, openai pass-through: us ÷ do-nothing with four messages", "openai-whole", ratio(requests_s, "us", "noop-whole"), 1.3),
    Target("requests per CPU second, openai whole: us ÷ LiteLLM", "openai-whole", ratio(per_cpu, "us", "litellm"), 25),
    Target("requests per CPU second, openai whole: us ÷ Portkey", "openai-whole", ratio(per_cpu, "us", "portkey"), 3),
    Target("chunks/s, qwen native stream, more chunks than either can take: us ÷ do-nothing, STREAMED", "qwen-crowd", ratio(chunks_s, "us", "noop-stream"), 0.7),
    Target("chunks per CPU second, qwen native stream, each chunk alone: us ÷ do-nothing, STREAMED", "qwen-paced-100", ratio(chunks_per_cpu, "us", "noop-stream"), 0.7),
    Target("chunks/s, qwen native stream, all chunks at once: us ÷ do-nothing, STREAMED", "qwen-stream-500", ratio(chunks_s, "us", "noop-stream")),
    Target("added latency p50, one connection, openai whole: us ÷ do-nothing with four messages", "latency-openai", added(p50, "us", "noop-whole"), 0.7, most=True),
    Target("added latency p50, one connection, openai whole: us ÷ do-nothing on our own server, same phases", "latency-openai", added(p50, "us", "bare-headers")),
    Target("added time to the first chunk p50, openai stream: us ÷ do-nothing, STREAMED", "latency-openai-stream", added(first_p50, "us", "noop-stream"), 0.7, most=True),
    Target("added CPU, 1 MB request, openai pass-through: us ÷ do-nothing that returns the body", "openai-1m", added(cpu_ms, "us", "noop-echo"), 2, most=True),
    Target("memory of an open, silent stream, KiB of the sidecar", "idle-streams", _stream_kib, 40, most=True),
    Target("resident memory in the soak: last quarter ÷ second", "soak", _growth, 1.03, most=True),
    Target("requests/s, qwen native stream: two workers ÷ one, each held to a fifth of a core", "workers", ratio(requests_s, "us-two", "us"), 1.8),
)  # fmt: skip


def verdicts(rows: Rows) -> list[Verdict]:
    return [_verdict(target, rows) for target in TARGETS]


def _verdict(target: Target, rows: Rows) -> Verdict:
    try:
        values = target.values(rows, target.scenario)
    except Unmeasured as reason:
        return Verdict(target, None, str(reason))
    return Verdict(target, Spread.of(values)) if values else Verdict(target, None, "the difference is below the noise")


def costs(rows: Rows) -> dict[str, float]:
    """The inputs of docs/capacity.md that this run measured, by their names there; what it did not is absent."""

    def of(scenario: str, *roles: str) -> float:
        return statistics.median(cpu_ms(row, *roles) for (row,) in repetitions(rows, scenario, "us"))

    def event(provider: str, *roles: str) -> float:
        """A line through streams of 20 and of 100 events: its slope."""
        return (of(f"{provider}-paced-100", *roles) - of(f"{provider}-paced-20", *roles)) / 80

    def head(provider: str, *roles: str) -> float:
        return max(0.0, of(f"{provider}-paced-20", *roles) - 20 * event(provider, *roles))  # 0: below the noise

    found: dict[str, Callable[[], float]] = {
        "request_ms": lambda: of("qwen-whole", "worker"),
        "stream_ms": lambda: head("qwen", "worker"),
        "event_ms": lambda: event("qwen", "worker"),
        "passed_ms": lambda: of("openai-paced-100", "worker"),
        "envoy_stream_ms": lambda: head("qwen", "envoy"),
        "envoy_event_ms": lambda: event("qwen", "envoy"),
        "envoy_passed_event_ms": lambda: event("openai", "envoy"),
        "worker_kib": lambda: float(special(rows, "idle-streams")["kib_per_stream"]["worker"]),
        "envoy_kib": lambda: float(special(rows, "idle-streams")["kib_per_stream"]["envoy"]),
    }
    measured = {}
    for name, value in found.items():
        try:
            measured[name] = round(value(), 3)
        except Unmeasured:
            continue
    return measured
