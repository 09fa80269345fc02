"""The configuration, understood: frozen and checked models of what one YAML file may say.

Rule: shapes and cross-checks only. Reading files, the environment and other dialects is `load.py`'s.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
import itertools
import math
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from extproc.config.clients import Book, Client, book
from extproc.config.console import Console, MaybeConsole
from extproc.config.masking import mask, mask_path
from extproc.config.pricing import Table, built_in
from extproc.config.quotas import SharedLimit, UsageBlock
from extproc.config.telemetry import Telemetry
from extproc.config.words import did_you_mean
from extproc.providers import AnyProvider, Provider
from extproc.providers.blocks import Block, Headers, HostPattern, PathPrefix, Patterns, Recycle, Redis, Seconds
from extproc.providers.prices import Price
from extproc.terms.agreed import MOST_BODY_BYTES, SIDECAR_CLUSTER, TRACES_CLUSTER
from extproc.text import sse
from extproc.text.patterns import NamePatterns


class Match(Block):
    """What a request must have for a route to take it; everything that is said must hold.

    `headers`: exact values by name. `hosts`: names without port, any case; `*` for any text at one end of a name.
    `pathPrefix`: a string prefix of the raw path. `models`: exact names, `prefix*` or `~regex`.
    `ingress`: names that a Higress `WasmPlugin` rule lists: the client's bearer token or Envoy's route name.
    `services`: upstream service names of such a rule: the bearer token or Envoy's cluster name.
    """

    headers: Headers = {}
    hosts: tuple[HostPattern, ...] = ()
    path_prefix: PathPrefix = ""
    models: Patterns | None = None
    ingress: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def by_gateway_only(self) -> bool:
        """Whether the request itself has no say: at most a gateway's route and cluster."""
        return self.models is None and not (self.headers or self.hosts or self.path_prefix)

    @cached_property
    def raw_headers(self) -> dict[str, str]:
        """`headers` as they come over the wire, where each byte of their UTF-8 is a character."""
        return {name: value.encode().decode("latin-1") for name, value in self.headers.items()}


class Step(Block):
    """One provider to try. `model`: what it is asked for in place of the client's name; `modelMapping` is not applied.
    `weight`: its share of the requests within a group."""

    provider: str
    model: str | None = Field(default=None, min_length=1)
    weight: int = Field(default=1, ge=1, le=1000)


Group = tuple[Step, ...]
"""Providers of which each request tries one first, by weight, and the others after it."""

Chain = tuple[Step, ...]
"""The steps of one request, in the order in which they are tried."""

_MOST_CHAINS = 64


def _steps(value: Any) -> Any:
    """`provider: id`, a list of steps, or a list of steps and groups, as groups."""
    if isinstance(value, str):
        return [[{"provider": value}]]
    if isinstance(value, list | tuple):
        return [entry if isinstance(entry, list | tuple) else [entry] for entry in value]
    return value


Steps = Annotated[
    tuple[Annotated[Group, Field(min_length=1)], ...],
    BeforeValidator(_steps, json_schema_input_type=str | list[Step | list[Step]]),
    Field(min_length=1),
]


class Backoff(Block):
    """How long a retry waits: `base`, doubled each time up to `max`, jittered. `retryAfterMax`: the longest
    `retry-after` of a vendor that is waited for where there is no other key or provider to try."""

    base: Seconds = 0.025
    max: Seconds = 0.25
    retry_after_max: Seconds = 5.0


RetryOn = Literal["5xx", "connect", "reset", "timeout"] | Annotated[int, Field(ge=400, le=599)]


class Retry(Block):
    """When and how often a request is tried again, always before its answer has begun.

    `on`: statuses, `5xx`, `connect`, `reset`, `timeout`. `attempts`: all together, the first included; by default as
    many as there are steps, two at least. `perTryTimeout`: for a whole answer. `firstByteTimeout`: until a stream
    begins.
    """

    on: tuple[RetryOn, ...] = (429, "5xx", "connect", "reset", "timeout")
    attempts: int | None = Field(default=None, ge=1, le=20)
    per_try_timeout: Seconds | None = None
    first_byte_timeout: Seconds | None = None
    backoff: Backoff = Backoff()


class Route(Block):
    """`match` → providers. An empty match takes everything. `provider: null` refuses what it matches, as a
    Higress rule with `configDisable` leaves its traffic alone: nothing may reach a vendor untranslated."""

    name: str
    match: Match = Match()
    provider: Steps | None
    retry: Retry | None = None

    @property
    def first(self) -> Group:
        """The providers that a request may try first; none for a route that refuses."""
        return self.provider[0] if self.provider else ()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every step, in file order."""
        return tuple(step for group in self.provider or () for step in group)

    @cached_property
    def chains(self) -> tuple[tuple[int, Chain], ...]:
        """Weight and steps of each order in which a request may try the providers: one for each choice of who comes
        first within the groups; the rest of a group follows, heaviest first."""
        choices = itertools.product(*(tuple(_orders(group)) for group in self.provider or ()))
        return tuple((math.prod(w for w, _ in c), tuple(s for _, steps in c for s in steps)) for c in choices)


def _orders(group: Group) -> Iterator[tuple[int, Chain]]:
    for first in group:
        rest = sorted((step for step in group if step is not first), key=lambda step: -step.weight)
        yield first.weight, (first, *rest)


class Config(Block):
    """One configuration file. `maxBodyBytes`: the longest JSON body read. `maxBodyValues`: how many values it may
    have, at all depths; token ids of embeddings do not count. `maxEventBytes`: the longest event of a stream that
    is read. `corsOrigins`: origins that browsers may call from; Envoy answers their preflights.
    `streamIdleTimeout`: how long an exchange may be silent. `answerHeaders`: whether answers say in `x-ai-provider`
    and `x-ai-attempts` who gave them, in `x-ai-dropped` what of the request that vendor has no word for. `clients`:
    who may come in; without any, everybody. `limits`: who may use how much, beside what `clients` say. `usage`:
    where it is kept what was used. `redis`: where key state, and what is left of limits, is shared with other
    processes. `workers`: processes that serve; as many as the machine has cores if absent. `recycle`: when they are
    replaced. `prices`: what a provider takes for a model, by its id and the vendor's name or a pattern; `pricesFile`:
    LiteLLM's table for all others in place of the built-in one. `telemetry`: metrics and traces.
    `maxConcurrentRequests`: how many requests a worker has at a time; more are refused at once. `console`: who may
    look at the page on the admin port, None where there is none."""

    providers: tuple[AnyProvider, ...] = Field(min_length=1)
    routes: tuple[Route, ...] = ()
    max_body_bytes: int = Field(default=32 << 20, ge=1024, le=MOST_BODY_BYTES)
    max_body_values: int = Field(default=100_000, ge=1000, le=100_000_000)
    max_event_bytes: int = Field(default=sse.LIMIT, ge=64 << 10, le=32 << 20)
    cors_origins: tuple[str, ...] = ()
    stream_idle_timeout: Seconds = 600.0
    answer_headers: bool = True
    clients: Annotated[tuple[Client, ...], Field(min_length=1)] = ()
    limits: Annotated[tuple[SharedLimit, ...], Field(min_length=1)] = ()
    usage: UsageBlock = UsageBlock()
    redis: Redis | None = None
    max_concurrent_requests: int = Field(default=5000, ge=1)
    workers: int | None = Field(default=None, ge=1, le=256)
    recycle: Recycle | None = None
    telemetry: Telemetry = Telemetry()
    console: MaybeConsole = Console()
    prices: dict[str, dict[str, Price]] = {}
    prices_file: str | None = None

    _table: Table | None = PrivateAttr(None)
    _priced: dict[tuple[str, str], Price | None] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        self._table = (context or {}).get("table")

    @cached_property
    def table(self) -> Table:
        """Prices of models that `prices` does not name."""
        return self._table or built_in()

    def price(self, provider: str, model: str) -> Price | None:
        """What a provider takes for a model, by its vendor's name: the most exact of `prices`, else the table's."""
        known = self._priced
        if (provider, model) in known:
            return known[provider, model]
        if len(known) >= _MODELS:
            self._priced = known = {}
        found = known[provider, model] = self._find_price(provider, model)
        return found

    def _find_price(self, provider: str, model: str) -> Price | None:
        said = self.prices.get(provider, {})
        if model in said:
            return said[model]
        found = next((price for name, price in said.items() if model in NamePatterns([name])), None)
        return found or self.table.price(self.by_id[provider].type, model)

    @model_validator(mode="after")
    def _prices_are_of_providers(self) -> Self:
        for id, models in self.prices.items():
            if id not in {p.id for p in self.providers}:
                known = [p.id for p in self.providers]
                raise ValueError(f"prices name provider {id!r}{did_you_mean(id, known)}; there are: {', '.join(known)}")
            for name in models:
                NamePatterns([name])
        return self

    @model_validator(mode="after")
    def _references(self) -> Self:
        ids = [p.id for p in self.providers]
        if own := {SIDECAR_CLUSTER, TRACES_CLUSTER}.intersection(ids):
            raise ValueError(f"the id {min(own)!r} is the sidecar's own")
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"two providers have the id {twice[0]!r}: give each an id of its own")
        names = [r.name for r in self.routes]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two routes have the name {twice[0]!r}")
        for route in self.routes:
            for step in route.steps:
                if step.provider not in ids:
                    known = ", ".join(ids)
                    raise ValueError(f"route {route.name!r} names provider {step.provider!r}; there are: {known}")
            if math.prod(map(len, route.provider or ())) > _MOST_CHAINS:
                raise ValueError(f"route {route.name!r} has groups with more than {_MOST_CHAINS} orders together")
        if not self.routes and len(ids) > 1:
            raise ValueError("there are several providers, so routes must say which takes what")
        clients = [c.name for c in self.clients]
        if twice := sorted({n for n in clients if clients.count(n) > 1}):
            raise ValueError(f"two clients have the name {twice[0]!r}")
        for client in self.clients:
            if unknown := [name for name in client.routes if name not in {r.name for r in self.effective_routes}]:
                raise ValueError(f"client {client.name!r} names route {unknown[0]!r}, which is not there")
        return self

    @cached_property
    def by_id(self) -> dict[str, Provider]:
        """Providers by id."""
        return {p.id: p for p in self.providers}

    @cached_property
    def client_keys(self) -> Book:
        """Every key of every client."""
        return book(self.clients)

    @cached_property
    def leaves_to_envoy(self) -> bool:
        """Whether Envoy counts anybody's answers."""
        return any(provider.usage.passed == "envoy" for provider in self.providers)

    @cached_property
    def has_limits(self) -> bool:
        """Whether anybody's use is limited."""
        return bool(self.limits) or any(client.limits for client in self.clients)

    @property
    def shares_limits(self) -> bool:
        """Whether limits are kept in Redis, for all gateways that have the same."""
        return self.has_limits and self.redis is not None and self.usage.store in ("auto", "redis")

    @cached_property
    def effective_routes(self) -> tuple[Route, ...]:
        """The routes; without any, the only provider takes everything."""
        return self.routes or (Route.model_validate({"name": "default", "provider": self.providers[0].id}),)

    def retry_of(self, route: Route) -> Retry:
        """When a route's requests are tried again, with `attempts` set: as it says; else as the `retryOnFailure` of
        its only provider says; else, with several providers, whenever the next may help, and with one only where
        nothing was sent, so that nothing is asked twice."""
        said = route.retry
        if said is None and len(route.steps) == 1:
            blanket = self.by_id[route.steps[0].provider].retry_on_failure
            if blanket is not None and blanket.enabled:
                said = Retry.model_validate(
                    {
                        "on": (*blanket.statuses, "connect", "reset", "timeout"),
                        "attempts": 1 + blanket.max_retries,
                        "perTryTimeout": blanket.retry_timeout / 1000,
                    }
                )
            else:
                said = Retry(on=("connect",))
        said = said or Retry()
        return said.model_copy(update={"attempts": said.attempts or max(2, len(route.steps))})

    @cached_property
    def by_name(self) -> dict[str, Route]:
        """Routes by name."""
        return {r.name: r for r in self.effective_routes}


_MODELS: Final = 1024
"""Names of models whose price is remembered: clients may make up any."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` counts from 1; 0: there is none to name. `key`: the path of keys, or empty."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (place, mask_path(self.key), mask(self.message))))


class ConfigError(Exception):
    """The configuration cannot be used. Its text has a line for each of `problems`; secrets are never in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
