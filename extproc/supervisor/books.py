"""What all exchanges of all workers sum up to, for metrics and for the history.

Rule: nothing here ever goes down: a worker that ends leaves its sums behind. Labels are few: names that the
configuration does not mention are `other` in metrics; the history is told names that a vendor has answered to, up to
`MOST_NAMES`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from extproc.envoy.lines import Told
from extproc.supervisor import semconv
from extproc.supervisor.families import Family, counter, gauge, seconds
from extproc.terms.tallies import FIRST_SECONDS, OTHER, OWN_SECONDS, PACE_SECONDS, SECONDS, TOKENS, Key, Tally
from extproc.worker import channel

MOST_NAMES: Final = 1000
"""Models that no configuration mentions and the history tells apart all the same."""

_WHO: Final = ("client", "route", "provider", "model")
_GEN_AI: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "ai_proxy.route")
_KINDS: Final = ("input", "cached", "written", "output", "thinking")

_REASONS: Final = {
    "no_healthy_upstream": "no_healthy_vendor",
    "upstream_reset_before_response_started{overflow": "overflow",
    "upstream_reset_before_response_started{connection_timeout": "connect_timeout",
    "upstream_reset_before_response_started": "connection",
    "upstream_response_timeout": "timeout",
    "upstream_per_try_timeout": "timeout",
    "stream_idle_timeout": "idle_timeout",
    "response_payload_too_large": "too_large",
    "request_payload_too_large": "too_large",
    "ext_proc": "sidecar",
    "overload": "overload",
}
"""How Envoy's `response.code_details` begin, and what they are called here."""

Deltas = Sequence[tuple[Key, Tally]]


class Books:
    """`models`: the names of models that the configuration mentions. `vendors`: OpenTelemetry's names of vendors by
    provider id. `semconv`: whose names the tokens' metrics have. `feeds`: hear of everything that is added. `gauges`:
    families of what is so now, asked when somebody looks."""

    def __init__(self) -> None:
        self.models: frozenset[str] = frozenset()
        self.vendors: dict[str, str] = {}
        self.semconv = semconv.CORE
        self.feeds: list[Callable[[Deltas], None]] = []
        self.gauges: list[Callable[[], Iterable[Family]]] = []
        self._names: set[str] = set()
        self._workers: dict[int, channel.Counted] = {}
        self._exchanges = counter(
            "ai_proxy.exchanges",
            "Exchanges that ended; each attempt at a vendor is one.",
            *("client", "front", "route", "provider", "model", "status"),
        )
        self._tokens = counter(
            "ai_proxy.tokens",
            "Tokens. Cached and written ones are part of the input, thinking of the output.",
            *(*_WHO, "kind"),
        )
        self._units = counter("ai_proxy.units", "What else vendors count: images, seconds, characters.", *_WHO, "unit")
        self._costs = counter("ai_proxy.cost", "What it cost, where prices are known.", *_WHO, "currency")
        self._refusals = counter(
            "ai_proxy.refusals", "Requests refused before a vendor was asked.", "client", "front", "code"
        )
        self._errors = counter("ai_proxy.errors", "Exchanges that ended with an error.", "route", "provider", "code")
        self._retries = counter("ai_proxy.retries", "Attempts after a request's first.", "route", "provider")
        self._cut = counter("ai_proxy.cut", "Exchanges that were cut before their answer's end.", "route", "provider")
        self._estimated = counter("ai_proxy.estimated", "Exchanges whose tokens are an estimate.", "provider", "model")
        self._rests = counter("ai_proxy.key.rests", "How often a key was put to rest.", "provider", "reason")
        self._envoys = counter(
            "ai_proxy.envoy.answers",
            "Requests that Envoy answered itself: no vendor could be reached, or the request is none.",
            *("route", "provider", "status", "reason"),
        )
        self._failures = counter(
            "ai_proxy.envoy.failures", "Attempts that Envoy brought to no answer.", "provider", "reason"
        )
        self._own = seconds(
            "ai_proxy.own.duration",
            "What the sidecar took until the first chunk of the answer was out.",
            OWN_SECONDS,
            *("route", "provider"),
        )
        self._duration = seconds(
            "gen_ai.server.request.duration", "How long an exchange took.", SECONDS, *_GEN_AI, "error.type"
        )
        self._first = seconds(
            "gen_ai.server.time_to_first_token", "Until a stream's first chunk was out.", FIRST_SECONDS, *_GEN_AI
        )
        self._pace = seconds(
            "gen_ai.server.time_per_output_token", "Per token after a stream's first chunk.", PACE_SECONDS, *_GEN_AI
        )
        self._usage = Family(
            "gen_ai.client.token.usage",
            "histogram",
            "Tokens of one exchange.",
            (*_GEN_AI, "gen_ai.token.type"),
            unit="{token}",
            bounds=TOKENS,
        )
        self._spent = {kind: counter(name, about, *_GEN_AI, semconv.MODALITY) for kind, name, about in semconv.SPENT}
        self._spreads = {
            kind: Family(name, "histogram", about, _GEN_AI, "{token}", TOKENS) for kind, name, about in semconv.SPREADS
        }

    def families(self) -> list[Family]:
        """All that is known, summed over workers."""
        sums = [family for family in vars(self).values() if isinstance(family, Family)]
        if self.semconv != semconv.CORE:
            sums = [family for family in sums if family is not self._usage]
            sums += [*self._spent.values(), *self._spreads.values()]
        opened = gauge("ai_proxy.open", "Exchanges that are open.")
        opened.show((), sum(counted.open for counted in self._workers.values()))
        return [*sums, opened, *(family for families in self.gauges for family in families())]

    def resting(self, provider: str) -> int:
        """How many of a provider's keys rest or are set aside: as the worker says that knows of most."""
        return max((counted.resting.get(provider, 0) for counted in self._workers.values()), default=0)

    def rested(self, provider: str, *, aside: bool) -> None:
        """A key was put to rest: its vendor asked for it, or it failed too often."""
        self._rests.add((provider, "failed" if aside else "asked"), 1)

    def told(self, told: Told) -> None:
        """What Envoy says of requests that reach no vendor, and so perhaps no worker."""
        known = {name: str(value) for name, value in told.known.items()}
        route, provider = known.get("route", ""), known.get("provider", "")
        if told.kind == "answer":
            details = known.get("details", "")
            reason = next((reason for begin, reason in _REASONS.items() if details.startswith(begin)), OTHER)
            self._envoys.add((route, provider, known.get("status", ""), reason), 1)
        elif told.kind == "attempt":
            self._failures.add((provider, told.error or OTHER), 1)

    def forget(self, worker: int) -> None:
        """A worker ended: what it said of now is so no longer."""
        self._workers.pop(worker, None)

    def count(self, worker: int, counted: channel.Counted) -> None:
        """A worker's report."""
        self._workers[worker] = msgspec.structs.replace(counted, tallies=[])
        for key, tally in counted.tallies:
            self._add(key, tally)
        if counted.tallies:
            told = [(self._bounded(key), tally) for key, tally in counted.tallies]
            for feed in self.feeds:
                feed(told)

    def _add(self, key: Key, tally: Tally) -> None:
        model = self._mentioned(key.sent or key.model)
        who = (key.client, key.route, key.provider, model)
        self._exchanges.add((key.client, key.front, key.route, key.provider, model, key.status), tally.exchanges)
        counts = (tally.input, tally.cached, tally.written, tally.output, tally.thinking)
        for kind, count in zip(_KINDS, counts, strict=True):
            self._tokens.add((*who, kind), count)
        for unit, amount in (("image", tally.images), ("second", tally.seconds), ("character", tally.characters)):
            self._units.add((*who, unit), amount)
        for currency, cost in tally.costs.items():
            self._costs.add((*who, currency), cost)
        if key.refused:
            self._refusals.add((key.client, key.front, key.error), tally.exchanges)
        if key.error:
            self._errors.add((key.route, key.provider, key.error), tally.exchanges)
        self._retries.add((key.route, key.provider), tally.retries)
        self._cut.add((key.route, key.provider), tally.cut)
        if key.estimated:
            self._estimated.add((key.provider, model), tally.exchanges)
        self._own.spread((key.route, key.provider), tally.own)
        if key.provider:  # else no vendor was to be asked: nothing to time
            about = (key.operation, self.vendors.get(key.provider, key.provider), model, key.route)
            self._duration.spread((*about, key.error), tally.duration)
            self._first.spread(about, tally.first)
            self._pace.spread(about, tally.pace)
            self._usage.spread((*about, "input"), tally.asked)
            self._usage.spread((*about, "output"), tally.told)
            self._spreads["input"].spread(about, tally.asked)
            self._spreads["output"].spread(about, tally.told)
            for kind, count in zip(_KINDS, counts, strict=True):
                self._spent[kind].add((*about, semconv.UNKNOWN), count)

    def _mentioned(self, model: str) -> str:
        return model if not model or model in self.models else OTHER

    def _bounded(self, key: Key) -> Key:
        answered = key.status == "2xx"
        model, sent = (self._named(name, answered=answered) for name in (key.model, key.sent))
        return key if (model, sent) == (key.model, key.sent) else msgspec.structs.replace(key, model=model, sent=sent)

    def _named(self, model: str, *, answered: bool) -> str:
        if not model or model in self.models or model in self._names:
            return model
        if not answered or len(self._names) >= MOST_NAMES:
            return OTHER
        self._names.add(model)
        return model
