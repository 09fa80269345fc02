"""What the supervisor and a worker say to each other: typed messages over the worker's stdin and stdout.

Rule: shapes and framing only. Files' contents travel here, secrets among them, so no message is ever printed.
"""

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol, TypeVar

from msgspec import Struct, msgpack

from extproc.limits.authority import Need, Verdict
from extproc.limits.authority import Report as Reported
from extproc.terms.tallies import Key, Tally

_LENGTH = 4


class Begin(Struct, tag=True, frozen=True):
    """The first order: who the worker is, where it serves, how it logs. `tls`: files as in `places.Tls`. `hears_ends`:
    `Ended` will say of exchanges that nobody finished who ended them. `console`: the token that marks the console's own
    chats, empty without a console."""

    worker: int
    address: str
    tls: tuple[str, str, str] | None
    socket_mode: int
    log_format: Literal["console", "json"]
    log_level: str
    verbose: bool = False
    hears_ends: bool = False
    console: str = ""


class Load(Struct, tag=True, frozen=True):
    """Serve new exchanges under this configuration: what a load reads, see `load.load`, and the context texts."""

    generation: int
    path: str | None
    files: Mapping[str, bytes]
    stand_in: tuple[str, str] | None
    texts: Mapping[str, str]


class Expect(Struct, tag=True, frozen=True):
    """Envoy is about to learn of this configuration: serve by it what Envoy chose by it. The same comes as `Load`."""

    load: Load


class Texts(Struct, tag=True, frozen=True):
    """The context texts at hand, by provider id."""

    texts: Mapping[str, str]


class Rested(Struct, tag=True, frozen=True):
    """As a report: a key was put to rest, or is back; as an order: another worker reported it. See `keys.Rest`."""

    provider: str
    fingerprint: str
    until: float
    aside: bool


class Ended(Struct, tag=True, frozen=True):
    """Envoy's log says how an attempt of a request ended that nobody finished: see `ends.Ends.tell`."""

    request_id: str
    attempt: int | None
    how: str


class Turned(Struct, tag=True, frozen=True):
    """As a report: which of a vendor's paths answers for a model was learnt; as an order: another worker reported it.
    See `paths.Turn`."""

    place: str
    model: str
    turned: bool


class Hold(Struct, tag=True, frozen=True):
    """Let log lines wait, or write those that waited: somebody prints a line piece by piece."""

    on: bool


class Leave(Struct, tag=True, frozen=True):
    """End, as `server.Farewell` says."""

    pause: float
    grace: float


class Ping(Struct, tag=True, frozen=True):
    """Answer with `Pong`."""


class Judged(Struct, tag=True, frozen=True):
    """What became of a `Wanted`."""

    id: int
    verdict: Verdict


class Recall(Struct, tag=True, frozen=True):
    """Give back what is lent of these buckets: another worker needs it."""

    names: tuple[str, ...]


class Look(Struct, tag=True, frozen=True):
    """Somebody looks at the console: answer with `Seen`, the last `most` of what ended after the `since`-th."""

    since: int
    most: int


Order = Begin | Load | Expect | Texts | Rested | Turned | Ended | Hold | Leave | Ping | Look | Judged | Recall


class Serving(Struct, tag=True, frozen=True):
    """Streams are taken, on this port."""

    port: int


class Active(Struct, tag=True, frozen=True):
    """New exchanges are served under this generation of the configuration."""

    generation: int


class Expecting(Struct, tag=True, frozen=True):
    """This generation is known, and not yet served to new exchanges of its own accord."""

    generation: int


class Oldest(Struct, tag=True, frozen=True):
    """No exchange is served under a generation before this one any more."""

    generation: int


class Failed(Struct, tag=True, frozen=True):
    """An order could not be carried out; everything is as before."""

    reason: str


class Pong(Struct, tag=True, frozen=True):
    """The worker's loop turns, and so does the thread that answers streams."""


class Wanted(Struct, tag=True, frozen=True):
    """A request needs so much of its limits: answer with `Judged`."""

    id: int
    needs: tuple[Need, ...]


class Spent(Struct, tag=True, frozen=True):
    """What became of leases and reservations."""

    report: Reported


class StoreAway(Struct, tag=True, frozen=True):
    """The server that keeps limits for several machines cannot be asked, or can again (None)."""

    reason: str | None


class Counted(Struct, tag=True, frozen=True):
    """What exchanges that ended since the last such report sum up to; how many are `open` now; how many keys of each
    provider are not to be used now, where there are any."""

    tallies: list[tuple[Key, Tally]]
    open: int
    resting: Mapping[str, int]


class Row(Struct, array_like=True, frozen=True):
    """One exchange, as the console shows it. `number`: the how many-th that ended, 0 under way. `began`: seconds since
    1970. `key`: by its last characters. Names are cut, since clients choose them."""

    number: int
    began: float
    duration_ms: float | None
    first_byte_ms: float | None
    first_chunk_ms: float | None
    method: str
    path: str
    client: str | None
    front: str
    route: str | None
    provider: str | None
    model: str | None
    upstream_model: str | None
    status: int | None
    attempt: int
    key: str | None
    error: str | None
    stream: bool
    converted: bool
    dropped: str | None
    input: int | None
    output: int | None
    total: int | None
    estimated: bool
    cost: str | None
    currency: str | None
    request_id: str | None
    upstream_request_id: str | None
    details: str | None


class Seen(Struct, tag=True, frozen=True):
    """How many exchanges have ended in this process, the last of them, how many are under way, and some of these."""

    ended: int
    rows: list[Row]
    open: int
    under_way: list[Row]


class Traced(Struct, tag=True, frozen=True):
    """What one attempt of a chat of the console's own was made of; keys are masked. `said_body` None: the vendor's
    bytes stayed in Envoy, so they are what the client got. `sent_method` empty: nothing was sent. `row`: the
    exchange."""

    trace: str
    attempt: int
    sent_method: str
    sent_url: str
    sent_headers: list[tuple[str, str]]
    sent_body: bytes
    said_status: str
    said_headers: list[tuple[str, str]]
    said_body: bytes | None
    cut: bool
    row: Row


Report = (
    Serving
    | Active
    | Expecting
    | Oldest
    | Failed
    | Rested
    | Turned
    | Pong
    | Counted
    | Seen
    | Traced
    | Wanted
    | Spent
    | StoreAway
)

_orders: msgpack.Decoder[Order] = msgpack.Decoder(Order)
_reports: msgpack.Decoder[Report] = msgpack.Decoder(Report)
_T = TypeVar("_T")


class Writer(Protocol):
    def write(self, data: bytes, /) -> None: ...


def send(writer: Writer, message: Order | Report) -> None:
    """Write one message; whether it arrives shows in what comes back."""
    body = msgpack.encode(message)
    writer.write(len(body).to_bytes(_LENGTH) + body)


async def order(reader: asyncio.StreamReader) -> Order | None:
    """The next order; None when the supervisor is gone."""
    return await _next(reader, _orders)


async def report(reader: asyncio.StreamReader) -> Report | None:
    """The next report; None when the worker is gone."""
    return await _next(reader, _reports)


async def _next(reader: asyncio.StreamReader, decoder: "msgpack.Decoder[_T]") -> _T | None:
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH))
        return decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
