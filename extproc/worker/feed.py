"""What one worker has to tell the console: what is under way, what ended last, and what its own chats were made of.

Rule: an exchange costs here two entries of a table, no more; rows are made when somebody asks (`channel.Look`), and
what nobody asked for in time is gone. Exchanges come and go in the streams' thread, who asks is another: both take
copies that the interpreter makes in one step.
"""

from collections import deque
from collections.abc import Callable
import hmac
import time
from typing import Final, Protocol

from extproc.config.describe import redact
from extproc.exchange.states import Record
from extproc.terms.ends import CUT
from extproc.terms.events import RequestHeaders
from extproc.worker import channel
from extproc.worker.account import Clock, is_told
from extproc.worker.trace import Trace, mark_of

RING: Final = 500
"""How many exchanges are remembered after their end."""
_TEXT: Final = 200
"""Characters of a name that are told."""


class Exchanging(Protocol):
    """An exchange under way: `server.Talk`."""

    @property
    def record(self) -> Record: ...
    @property
    def clock(self) -> Clock: ...


class Feed:
    """`token`: marks the console's own chats, empty without a console. `tell`: takes a report, from any thread."""

    def __init__(self, token: str = "", tell: Callable[[channel.Traced], object] = lambda report: None) -> None:
        self._token = token
        self._tell = tell
        self._open: dict[int, Exchanging] = {}
        self._ring: deque[tuple[int, Record, Clock, float]] = deque(maxlen=RING)
        self._ended = 0

    def begun(self, talk: Exchanging) -> None:
        self._open[id(talk)] = talk

    def over(self, talk: Exchanging) -> None:
        self._open.pop(id(talk), None)
        record = talk.record
        if is_told(record):
            self._ended += 1
            self._ring.append((self._ended, record, talk.clock, time.monotonic()))

    def trace(self, event: RequestHeaders) -> Trace | None:
        """Where to note what an exchange is made of, if its head is marked as the console's own."""
        if not self._token:
            return None
        token, _, name = mark_of(event).partition(".")
        return Trace(name[:64]) if token and hmac.compare_digest(token.encode(), self._token.encode()) else None

    def traced(self, trace: Trace, talk: Exchanging, key: str | None) -> None:
        """An exchange of the console's own is over."""
        if talk.record.path:
            now = time.monotonic()
            self._tell(trace.told(_row(0, talk.record, talk.clock, now, time.time() - now), key))

    def seen(self, since: int, most: int) -> channel.Seen:
        """What ended after the `since`-th exchange, the newest `most` of it, and what is under way."""
        now, date = time.monotonic(), time.time()
        ended = self._ended
        rows = [_row(n, r, c, end, date - now) for n, r, c, end in list(self._ring) if n > since]
        under_way = [t for t in list(self._open.values()) if t.record.path and is_told(t.record)]
        opened = [_row(0, t.record, t.clock, now, date - now) for t in under_way[-most:]]
        return channel.Seen(ended, rows[-most:], len(under_way), opened)


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:_TEXT]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _row(number: int, record: Record, clock: Clock, end: float, offset: float) -> channel.Row:
    """One exchange; `offset`: from this machine's clock to seconds since 1970."""
    usage = record.usage
    duration, first_byte, first_chunk = map(_ms, clock.so_far(end))
    return channel.Row(
        number=number,
        began=round(clock.started + offset, 3),
        duration_ms=duration,
        first_byte_ms=first_byte,
        first_chunk_ms=first_chunk,
        method=record.method[:20],
        path=record.path[:_TEXT],
        client=_cut(record.client),
        front=record.front,
        route=_cut(record.route),
        provider=record.provider,
        model=_cut(record.model),
        upstream_model=_cut(record.upstream_model),
        status=record.status,
        attempt=record.attempt,
        key=None if record.token is None else redact(record.token),
        error=_cut(record.error if record.complete or not number else record.error or CUT),
        stream=record.stream,
        converted=record.converted,
        dropped=_cut(record.dropped),
        input=usage.prompt_tokens,
        output=usage.completion_tokens,
        total=usage.total_tokens,
        estimated=usage.estimated,
        cost=None if record.cost is None else format(record.cost, "f"),
        currency=record.currency,
        request_id=_cut(record.request_id),
        upstream_request_id=_cut(record.upstream_request_id),
        details=_cut(record.details if record.details != "via_upstream" else None),
    )
