"""What a worker's exchanges sum up to since this was last asked. Shell: two threads meet here.

Rule: once per exchange, at its end; nothing per chunk. What was taken is the supervisor's: it adds up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
import threading
from typing import Final

from extproc.exchange.states import Record
from extproc.terms.ends import CUT, ENDS
from extproc.terms.errors import ProxyError
from extproc.terms.tallies import (
    FIRST_SECONDS,
    OTHER,
    OWN_SECONDS,
    PACE_SECONDS,
    SECONDS,
    TOKENS,
    Key,
    Tally,
)

MOST_KEYS: Final = 4096
"""Kinds of exchanges that are told apart within a second; what comes beyond is counted without its models' names."""
_LONGEST: Final = 200
"""Characters of a model's name."""


def _codes(kind: type[ProxyError] = ProxyError) -> Iterator[str]:
    yield from filter(None, (kind.code, kind.type))
    for below in kind.__subclasses__():
        yield from _codes(below)


CODES: Final = (
    frozenset(_codes())
    | ENDS
    | frozenset(
        # OpenAI's, into which vendors' refusals are translated where they say the same (docs/vendors.md)
        "vendor_error rate_limit_error rate_limit_exceeded insufficient_quota context_length_exceeded content_filter "
        "content_policy_violation invalid_value unsupported_parameter invalid_prompt quota_exceeded "
        "overloaded_error api_error authentication_error permission_error not_found_error".split()
    )
)
"""Codes of errors that are told apart: a vendor may say anything."""

_NOTHING: Final = Decimal()
_CLASSES: Final = {n: f"{n}xx" for n in range(1, 6)}


@dataclass(frozen=True, slots=True)
class Times:
    """Of one exchange, in seconds: how long it took, until the answer's head came, until its first chunk went out, and
    what of that was ours."""

    duration: float
    first_byte: float | None
    first_chunk: float | None
    own: float


class Books:
    """Filled by the thread of the streams, emptied by the event loop's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str | bool, ...], Tally] = {}

    def add(self, record: Record, times: Times) -> None:
        """One exchange that is over."""
        usage, error, status, first_chunk = record.usage, record.error, record.status, times.first_chunk
        cut = not record.complete
        used = not record.refused and (not usage.estimated or status is None or status < 400)
        estimated = used and usage.estimated
        if error is not None and error not in CODES:
            error = OTHER
        key = (
            record.client or "",
            record.front,
            record.operation,
            record.route or "",
            record.provider or "",
            record.model or "",
            record.upstream_model or "",
            "none" if status is None else _CLASSES.get(status // 100, OTHER),
            error or (CUT if cut else ""),
            estimated,
            record.refused,
        )
        with self._lock:
            tally = self._tallies.get(key) or self._new(key)
            tally.exchanges += 1
            tally.duration.add(times.duration, SECONDS)
            tally.own.add(times.own, OWN_SECONDS)
            if record.attempt > 1:
                tally.retries += 1
            if cut:
                tally.cut += 1
            if first_chunk is not None:
                tally.first.add(first_chunk, FIRST_SECONDS)
            if not used:  # an estimate of what a vendor refused
                return
            asked, told = usage.prompt_tokens, usage.completion_tokens
            if asked is not None:
                tally.input += asked
                tally.asked.add(asked, TOKENS)
                tally.cached += usage.cached_tokens or 0
                tally.written += usage.cache_write_tokens or 0
            if told is not None:
                tally.output += told
                tally.told.add(told, TOKENS)
                tally.thinking += usage.reasoning_tokens or 0
                if told > 1 and first_chunk is not None and not cut:
                    tally.pace.add((times.duration - first_chunk) / (told - 1), PACE_SECONDS)
            if record.cost is not None and record.currency is not None:
                tally.costs[record.currency] = tally.costs.get(record.currency, _NOTHING) + record.cost
            if usage.images or usage.seconds or usage.characters:
                tally.images += usage.images or 0
                tally.seconds += usage.seconds or 0.0
                tally.characters += usage.characters or 0

    def _new(self, key: tuple[str | bool, ...]) -> Tally:
        if len(self._tallies) >= MOST_KEYS:
            key = (*key[:5], OTHER, OTHER, *key[7:])
        return self._tallies.setdefault(key, Tally())

    def take(self) -> list[tuple[Key, Tally]]:
        """What was added since this was last called."""
        with self._lock:
            taken, self._tallies = self._tallies, {}
        return [(_shortened(key), tally) for key, tally in taken.items()]


def _shortened(key: tuple[str | bool, ...]) -> Key:
    return Key(*(value[:_LONGEST] if isinstance(value, str) else value for value in key))  # type: ignore[arg-type]
