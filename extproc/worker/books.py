"""What a worker's exchanges sum up to since this was last asked. Shell: two threads meet here.

Rule: once per exchange, at its end; nothing per chunk. What was taken is the supervisor's: it adds up.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from decimal import Decimal
import threading
from typing import Any, Final

from extproc.exchange.states import Record
from extproc.terms.ends import CUT, ENDS
from extproc.terms.errors import ProxyError
from extproc.terms.frozen import Frozen
from extproc.terms.tallies import (
    FIRST_SECONDS,
    OTHER,
    OWN_SECONDS,
    PACE_SECONDS,
    SECONDS,
    TOKENS,
    Key,
    Spread,
    Tally,
)
from extproc.terms.usage import NOT_COUNTED

MOST_KEYS: Final = 4096
"""Kinds of exchanges that are told apart at a time; what comes beyond is counted without its models' names."""
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

_CLASSES: Final = {n: f"{n}xx" for n in range(1, 6)}

_EXCHANGES, _RETRIES, _INPUT, _CACHED, _WRITTEN, _OUTPUT, _THINKING, _IMAGES, _SOUND, _CHARACTERS = range(10)
_SUMS: Final = (
    "exchanges",
    "retries",
    "input",
    "cached",
    "written",
    "output",
    "thinking",
    "images",
    "seconds",
    "characters",
)
_SPREADS: Final = (
    ("duration", SECONDS),
    ("own", OWN_SECONDS),
    ("first", FIRST_SECONDS),
    ("pace", PACE_SECONDS),
    ("asked", TOKENS),
    ("told", TOKENS),
)


def _places() -> Iterator[int]:
    """Where in a row the sum of each spread is; its counts are behind it."""
    place = len(_SUMS)
    for _, bounds in _SPREADS:
        yield place
        place += len(bounds) + 2
    yield place


_DURATION, _OWN, _FIRST, _PACE, _ASKED, _TOLD, _LENGTH = _places()

_Kind = tuple[str | int | bool | None, ...]
"""What a row is known by: what the record says, as it says it."""


class Times(Frozen, frozen=True):
    """Of one exchange, in seconds: how long it took, until the answer's head came, until its first chunk went out, and
    what of that was ours."""

    duration: float
    first_byte: float | None
    first_chunk: float | None
    own: float


class Books:
    """Filled by the thread of the streams, emptied by the event loop's. A row of numbers per kind of exchange: a plain
    list, since this is done for each exchange (a tally's own methods take three times as long). `first`: called, by any
    thread, when there is something to take again."""

    def __init__(self) -> None:
        self.first: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._rows: dict[_Kind, list[Any]] = {}
        self._costs: dict[tuple[_Kind, str], Decimal] = {}

    def add(self, record: Record, times: Times) -> None:
        """One exchange that is over."""
        usage = record.usage
        kind: _Kind = (
            record.client,
            record.front,
            record.operation,
            record.route,
            record.provider,
            record.model,
            record.upstream_model,
            record.status,
            record.error,
            record.complete,
            usage.estimated,
            record.refused,
        )
        with self._lock:
            row = self._rows.get(kind)
            if row is None:
                row, kind = self._new(kind)
            row[_EXCHANGES] += 1
            duration, own, first = times.duration, times.own, times.first_chunk
            row[_DURATION] += duration
            row[_DURATION + 1 + bisect_left(SECONDS, duration)] += 1
            row[_OWN] += own
            row[_OWN + 1 + bisect_left(OWN_SECONDS, own)] += 1
            if record.attempt > 1:
                row[_RETRIES] += 1
            if first is not None:
                row[_FIRST] += first
                row[_FIRST + 1 + bisect_left(FIRST_SECONDS, first)] += 1
            if usage is not NOT_COUNTED:
                self._use(record, row, kind, times)

    def _use(self, record: Record, row: list[Any], kind: _Kind, times: Times) -> None:
        usage, first = record.usage, times.first_chunk
        if not _counts(record.refused, usage.estimated, record.status):
            return
        if (asked := usage.prompt_tokens) is not None:
            row[_INPUT] += asked
            row[_ASKED] += asked
            row[_ASKED + 1 + bisect_left(TOKENS, asked)] += 1
            if usage.cached_tokens or usage.cache_write_tokens:
                row[_CACHED] += usage.cached_tokens or 0
                row[_WRITTEN] += usage.cache_write_tokens or 0
        if (told := usage.completion_tokens) is not None:
            row[_OUTPUT] += told
            row[_TOLD] += told
            row[_TOLD + 1 + bisect_left(TOKENS, told)] += 1
            if usage.reasoning_tokens:
                row[_THINKING] += usage.reasoning_tokens
            if first is not None and told > 1 and record.complete:
                pace = (times.duration - first) / (told - 1)
                row[_PACE] += pace
                row[_PACE + 1 + bisect_left(PACE_SECONDS, pace)] += 1
        if record.cost is not None and record.currency is not None:
            paid = (kind, record.currency)
            self._costs[paid] = self._costs.get(paid, Decimal()) + record.cost
        if usage.images or usage.seconds or usage.characters:
            row[_IMAGES] += usage.images or 0
            row[_SOUND] += usage.seconds or 0.0
            row[_CHARACTERS] += usage.characters or 0

    def _new(self, kind: _Kind) -> tuple[list[Any], _Kind]:
        """A row, and what it is known by: without the words of clients and vendors where there are too many."""
        if not self._rows:
            self.first()
        if len(self._rows) >= MOST_KEYS:
            kind = (*kind[:5], OTHER, OTHER, kind[7], None if kind[8] is None else OTHER, *kind[9:])
        return self._rows.setdefault(kind, [0] * _LENGTH), kind

    def take(self) -> list[tuple[Key, Tally]]:
        """What was added since this was last called."""
        with self._lock:
            rows, self._rows = self._rows, {}
            costs, self._costs = self._costs, {}
        taken: dict[Key, Tally] = {}
        keys = {kind: _key(kind) for kind in rows}
        for kind, row in rows.items():
            taken.setdefault(keys[kind], Tally()).merge(_tally(kind, row))
        for (kind, currency), cost in costs.items():
            taken[keys[kind]].merge(Tally(costs={currency: cost}))
        return list(taken.items())


def _counts(refused: bool, estimated: bool, status: int | None) -> bool:
    """Whether what an exchange used counts: not an estimate of what a vendor refused."""
    return not refused and (not estimated or status is None or status < 400)


def _key(kind: _Kind) -> Key:
    client, front, operation, route, provider, model, sent, status, error, complete, estimated, refused = kind
    names = [str(name or "")[:_LONGEST] for name in (client, front, operation, route, provider, model, sent)]
    code = int(status) if status is not None else None
    ended = "" if complete else CUT
    told = ended if error is None else str(error) if error in CODES else OTHER
    shown = "none" if code is None else _CLASSES.get(code // 100, OTHER)
    guessed = bool(estimated) and _counts(bool(refused), True, code)
    return Key(*names, shown, told, guessed, bool(refused))  # type: ignore[arg-type,call-arg]  # seven names


def _tally(kind: _Kind, row: list[Any]) -> Tally:
    tally = Tally(cut=0 if kind[9] else row[_EXCHANGES])
    for name, value in zip(_SUMS, row, strict=False):
        setattr(tally, name, value)
    place = len(_SUMS)
    for name, bounds in _SPREADS:
        counts = row[place + 1 : place + len(bounds) + 2]
        if any(counts):
            setattr(tally, name, Spread(counts, float(row[place])))
        place += len(bounds) + 2
    return tally
