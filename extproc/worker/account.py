"""What is said of an exchange when it is over: one log line. Shell: it has a clock.

Rule: no key and no body; what is not known is not in it.
"""

import time

import structlog

from extproc.exchange.states import Record
from extproc.terms.agreed import PROBE_PATH
from extproc.terms.ends import CUT
from extproc.terms.events import Event, Forward, Reply, ResponseBody, ResponseHeaders
from extproc.worker import logs

log = structlog.get_logger("extproc.account")


class Clock:
    """When an exchange began, its answer's head came, and its first chunk went out; `time.monotonic` seconds."""

    __slots__ = ("_ended", "_first_byte", "_first_chunk", "_started")

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first_byte: float | None = None
        self._first_chunk: float | None = None
        self._ended: float | None = None

    def note(self, event: Event | None, reply: Reply | None, *, stream: bool) -> None:
        if self._first_byte is None and isinstance(event, ResponseHeaders):
            self._first_byte = time.monotonic()
        elif stream and self._first_chunk is None and isinstance(event, ResponseBody):
            self._first_chunk = time.monotonic() if isinstance(reply, Forward) and reply.body else None

    def stop(self) -> None:
        """The exchange is over."""
        self._ended = time.monotonic()

    def fields(self) -> dict[str, float | None]:
        """Milliseconds since the beginning, of what happened."""
        return {
            "duration_ms": self._until(self._ended),
            "first_byte_ms": self._until(self._first_byte),
            "first_chunk_ms": self._until(self._first_chunk),
        }

    def _until(self, end: float | None) -> float | None:
        return None if end is None else round((end - self._started) * 1000, 1)


def account(record: Record, clock: Clock) -> None:
    """Write the line of an exchange that is over. Those that nobody asks about have none."""
    # No path: an answer of Envoy's own to a request that we never saw.
    if record.path == PROBE_PATH or (not record.path and record.error is None):
        return
    if record.lacks_model is not None:
        log.warning(
            "the vendor has no such model, or none for this key",
            provider=record.provider,
            model=record.upstream_model,
            named_by=record.lacks_model,
        )
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
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        **clock.fields(),
        "request_id": record.request_id,
        "upstream_request_id": record.upstream_request_id,
    }
    logs.often("exchange", {name: value for name, value in fields.items() if value is not None})
