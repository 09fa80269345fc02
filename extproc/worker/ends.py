"""Exchanges that end without a last word wait here for who ended them: Envoy's log says it a moment later.

Rule: each is accounted once, by what was told, or after a while without. What is told too early is kept as long.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
import threading
from time import monotonic
from typing import Final

from extproc.exchange.states import Record

PATIENCE: Final = 3.0
"""Seconds. Envoy writes its log ten times a second; a busy machine is slower."""
_MOST: Final = 4096
"""Requests of which exchanges wait, or of which words came too early."""


@dataclass(slots=True, eq=False)
class _Waiting:
    record: Record
    account: Callable[[], None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Word:
    """`attempt`: None for the first one that waits: Envoy does not count those that fail, but tells them in order."""

    attempt: int | None
    how: str
    when: float

    def of(self, record: Record) -> bool:
        return self.attempt in (None, record.attempt)


class Ends:
    """Told of ends by the thread of the streams and by the event loop. `later`: has the loop call something after so
    many seconds; None: nobody will say how anything ended, so nothing waits."""

    def __init__(self, later: Callable[[float, Callable[[], None]], None] | None = None) -> None:
        self._later = later
        self._lock = threading.Lock()
        self._waiting: dict[str, list[_Waiting]] = {}  # by request: an id may be any number of clients'
        self._early: OrderedDict[str, _Word] = OrderedDict()

    def over(self, record: Record, account: Callable[[], None]) -> None:
        """An exchange is over: account it, now or when it is known how it ended."""
        if record.untold and self._later is None:
            record.complete = True
        if record.complete or not record.path or record.request_id is None or self._later is None:
            account()
            return
        waiting = _Waiting(record, account)
        with self._lock:
            word = self._early_word(record)
            if waits := word is None and len(self._waiting) < _MOST:
                self._waiting.setdefault(record.request_id, []).append(waiting)
        if waits:
            self._later(PATIENCE, partial(self._settle, waiting, None))
            return
        if word is not None:
            record.error = word.how
        account()

    def tell(self, request_id: str, attempt: int | None, how: str) -> None:
        """Envoy's log says how an attempt ended (`_Word`)."""
        word = _Word(attempt, how, monotonic())
        with self._lock:
            found = [waiting for waiting in self._waiting.get(request_id, ()) if word.of(waiting.record)]
            if not found:
                self._early[request_id] = word
                self._early.move_to_end(request_id)
                if len(self._early) > _MOST:
                    self._early.popitem(last=False)
        if found:
            self._settle(min(found, key=lambda waiting: waiting.record.attempt), how)

    def close(self) -> None:
        """Nobody will say any more."""
        for waiting in [waiting for several in list(self._waiting.values()) for waiting in several]:
            self._settle(waiting, None)

    def _early_word(self, record: Record) -> _Word | None:
        word = self._early.get(record.request_id or "")
        if word is None or not word.of(record):
            return None
        del self._early[record.request_id or ""]
        return word if monotonic() - word.when < PATIENCE else None

    def _settle(self, waiting: _Waiting, how: str | None) -> None:
        id = waiting.record.request_id or ""
        with self._lock:
            several = self._waiting.get(id, [])
            if waiting not in several:
                return
            several.remove(waiting)
            if not several:
                del self._waiting[id]
        waiting.record.error = how
        if how is None and waiting.record.untold:
            waiting.record.complete = True
        waiting.account()
