"""What is said of an exchange when it is over: one log line, and its part of the sums. Shell: it has a clock.

Rule: no key and no body; what is not known is not in it.
"""

import time

import structlog

from extproc.exchange.states import Record
from extproc.terms.agreed import PROBE_PATH
from extproc.terms.ends import CUT
from extproc.terms.events import Event, Forward, Reply, ResponseBody, ResponseHeaders
from extproc.terms.usage import known
from extproc.worker import logs
from extproc.worker.books import Books, Times

log = structlog.get_logger("extproc.account")


class Clock:
    """When an exchange began (`time.monotonic` seconds, as all here), its answer's head came, and its first chunk went
    out; and how long the answers to Envoy took until then. `over`: the first chunk is out, nothing more is noted."""

    __slots__ = ("_ended", "_first_byte", "_first_chunk", "_own", "over", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self._first_byte: float | None = None
        self._first_chunk: float | None = None
        self._ended = started
        self._own = 0.0
        self.over = False

    def note(self, event: Event | None, reply: Reply | None, began: float, *, stream: bool) -> None:
        """The answer to an event is made; it was begun then."""
        now = time.monotonic()
        self._own += now - began
        if self._first_byte is None:
            if isinstance(event, ResponseHeaders):
                self._first_byte = now
        elif stream and isinstance(event, ResponseBody) and isinstance(reply, Forward) and reply.body:
            self._first_chunk = now
            self.over = True

    def stop(self) -> None:
        """The exchange is over."""
        self._ended = time.monotonic()

    def times(self) -> Times:
        """What is known at the end."""
        started, head, chunk = self.started, self._first_byte, self._first_chunk
        first_byte = None if head is None else head - started
        first_chunk = None if chunk is None else chunk - started
        return Times(self._ended - started, first_byte, first_chunk, self._own)

    def so_far(self, end: float) -> tuple[float, float | None, float | None]:
        """Seconds until `end`, until the answer's head and until its first chunk."""
        return end - self.started, self._until(self._first_byte), self._until(self._first_chunk)

    def _until(self, end: float | None) -> float | None:
        return None if end is None else end - self.started


def is_told(record: Record) -> bool:
    """Whether anybody asks about an exchange. No path: an answer of Envoy's own to a request that we never saw, or a
    question at the door."""
    return record.path != PROBE_PATH and (bool(record.path) or record.error is not None)


def account(record: Record, clock: Clock, books: Books) -> None:
    """Write the line of an exchange that is over, and add it to the books. Those that nobody asks about have none."""
    if not is_told(record):
        return
    if record.lacks_model is not None:
        log.warning(
            "the vendor has no such model, or none for this key",
            provider=record.provider,
            model=record.upstream_model,
            named_by=record.lacks_model,
        )
    times = clock.times()
    books.add(record, times)
    usage = record.usage
    fields = {
        "method": record.method,
        "path": record.path,
        "client": record.client,
        "route": record.route,
        "provider": record.provider,
        "attempt": record.attempt if record.attempt > 1 else None,
        "model": record.model,
        "upstream_model": record.upstream_model,
        "stream": record.stream or None,
        "front": record.front if record.front != "chat" else None,
        "converted": record.converted or None,
        "dropped": record.dropped,
        "status": record.status,
        "error": record.error if record.complete else record.error or CUT,
        "details": record.details if record.details != "via_upstream" else None,
        **known(usage),
        "estimated": usage.estimated or None,
        "cost": None if record.cost is None else f"{record.cost.normalize():f}",
        "currency": record.currency,
        "duration_ms": _ms(times.duration),
        "first_byte_ms": _ms(times.first_byte),
        "first_chunk_ms": _ms(times.first_chunk),
        "request_id": record.request_id,
        "upstream_request_id": record.upstream_request_id,
    }
    logs.often("exchange", {name: value for name, value in fields.items() if value is not None})


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
