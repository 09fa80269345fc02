"""What an exchange is given, what it is in the middle of, and what it leaves behind. Frozen data, but for the record.

Rule: a state holds exactly what is known in it, so nothing is optional that must be there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from extproc.config.config import Config, Route
from extproc.exchange.bystander import Watch
from extproc.keys.choice import Keys
from extproc.keys.paths import Paths
from extproc.limits.buckets import Rules
from extproc.providers import Provider
from extproc.providers.translator import Translator
from extproc.terms.call import Call, Target
from extproc.terms.errors import ProxyError
from extproc.terms.frozen import Frozen
from extproc.terms.tallies import OTHER
from extproc.terms.usage import NOT_COUNTED, Usage
from extproc.text import sse
from extproc.text.compression import Decompressor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an exchange may know, unchanged for its life. `contexts`: context texts by provider id. `keys`: which of
    the providers' keys may be used. `others`: further configurations, by which Envoy may still choose, or already.
    `full`: as many exchanges are open as may be. `rules`: the limits of use, where there are any. `paths`: on which of
    a vendor's paths models answer."""

    config: Config
    contexts: Mapping[str, str] = field(repr=False)
    keys: Keys = field(default_factory=Keys)
    others: tuple[Config, ...] = ()
    full: bool = False
    rules: Rules | None = None
    paths: Paths = field(default_factory=Paths)


class Moment(Frozen, frozen=True):
    """What the shell adds to an exchange. `now`: seconds since 1970, with their fraction. `nonce`: 96 random bits.
    `ticks`: seconds of a clock that nobody sets, for durations."""

    now: float
    nonce: int
    ticks: float = 0.0


@dataclass(slots=True)
class Record:
    """What is known about an exchange, for one line in the log. `error`: the code of the error that ended it.
    `request_id`: Envoy's or the client's; `upstream_request_id`: the vendor's. `attempt`: which one of the request's.
    `token`: the key that was used, never to be shown. `retry_after`: as the vendor said it. `verdict`: the status that
    the answer comes to for that key, once it is known and until the shell has taken it; `pause`: seconds that a body
    asks for, as well, or for which what it says makes the key useless.
    `client`: the name of the client whose key was shown. `front`: the dialect that it speaks; `converted`: the vendor
    does not. `dropped`: what of its request could not be said to the vendor, as the answer's header tells it.
    `operation`: what its API does, in OpenTelemetry's words. `refused`: by us, before a vendor was asked.
    `untold`: the answer went past uncounted, and Envoy, which was to count it, did not say that it ended.
    `lacks_model`: what named the model, where the vendor says that it has none of that name.
    `usage`: from the request on, estimated until the vendor tells. `cost`: of it, None where the model's price is not
    known, in `currency` (ISO 4217)."""

    method: str = ""
    path: str = ""
    request_id: str | None = None
    upstream_request_id: str | None = None
    client: str | None = None
    route: str | None = None
    provider: str | None = None
    model: str | None = None
    upstream_model: str | None = None
    stream: bool = False
    status: int | None = None
    error: str | None = None
    details: str | None = None
    usage: Usage = NOT_COUNTED
    cost: Decimal | None = None
    currency: str | None = None
    complete: bool = False
    attempt: int = 1
    token: str | None = field(default=None, repr=False)
    retry_after: str | None = None
    verdict: int | None = None
    pause: float = 0.0
    front: str = "chat"
    converted: bool = False
    dropped: str | None = None
    lacks_model: str | None = None
    operation: str = OTHER
    refused: bool = False
    untold: bool = False


class Start(Frozen, frozen=True):
    """Nothing is known yet."""


class Place(Frozen, frozen=True):
    """Which provider takes an exchange. `model`: what it is asked for whatever the client said."""

    provider: Provider
    model: str | None


class Headed(Frozen, frozen=True):
    """The head is judged, the body is awaited. `place`: where Envoy has sent this attempt already, so that `routes`
    is the one route that it took; None where the choice is ours."""

    hidden = ("headers",)

    headers: Mapping[str, str]
    target: Target
    routes: list[Route]
    place: Place | None


class Sent(Frozen, frozen=True):
    """The vendor has the request. `by_envoy`: Envoy counts what it answers, and nothing of that may be read."""

    provider: Provider
    call: Call
    translator: Translator | None
    by_envoy: bool = False


class Whole(Frozen, frozen=True):
    """A 200 answer is awaited whole. `streams`: it is an event stream, as its head says."""

    hidden = ("headers",)

    translator: Translator
    headers: Mapping[str, str]
    streams: bool


class Streaming(Frozen, frozen=True):
    """A 200 event stream is being translated."""

    translator: Translator
    decoder: sse.Framing
    decompressor: Decompressor


class Watching(Frozen, frozen=True):
    """A 200 answer goes past us, its tokens are counted."""

    watch: Watch


class Counting(Frozen, frozen=True):
    """A 200 answer goes past us, Envoy counts its tokens and tells when it is over."""


class Passing(Frozen, frozen=True):
    """The rest of a stream that could not be read and need not be goes on as it comes."""


class Failed(Frozen, frozen=True):
    """An error answer is awaited whole."""

    hidden = ("headers",)

    sent: Sent | None
    status: int
    headers: Mapping[str, str]


class Unreadable(Frozen, frozen=True):
    """The head says that the answer is of no use; its end is awaited so that the status can still change."""

    error: ProxyError


class Done(Frozen, frozen=True):
    """Nothing more to do. `mute`: later bytes of the vendor are swallowed. `duplex`: of a body whose end we tell."""

    mute: bool = False
    duplex: bool = False


State = Start | Headed | Sent | Whole | Streaming | Watching | Counting | Passing | Failed | Unreadable | Done
