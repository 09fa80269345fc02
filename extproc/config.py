"""The configuration, understood: frozen and checked models of what one YAML file may say.

Rule: shapes and cross-checks only. Reading files, the environment and other dialects is `load.py`'s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from extproc.agreed import MOST_BODY_BYTES, SIDECAR_CLUSTER
from extproc.blocks import Block, Patterns, Recycle
from extproc.providers import AnyProvider, Provider

LowerCase = Annotated[str, AfterValidator(str.lower)]


class Match(Block):
    """What a request must have for a route to take it; everything that is said must hold.

    `headers`: exact values by name. `hosts`: names without port, any case, `*.example.com` for all below.
    `pathPrefix`: a string prefix of the raw path. `models`: exact names, `prefix*` or `~regex`.
    `ingress`: names that a Higress `WasmPlugin` rule lists: the client's bearer token or Envoy's route name.
    `services`: upstream service names of such a rule: the bearer token or Envoy's cluster name.
    """

    headers: dict[LowerCase, str] = {}
    hosts: tuple[LowerCase, ...] = ()
    path_prefix: str = ""
    models: Patterns | None = None
    ingress: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


class Route(Block):
    """`match` → provider id. An empty match takes everything. `provider: null` refuses what it matches, as a
    Higress rule with `configDisable` leaves its traffic alone: nothing may reach a vendor untranslated."""

    name: str
    match: Match = Match()
    provider: str | None


class Config(Block):
    """One configuration file. `maxBodyBytes`: the longest JSON body read. `corsOrigins`: origins that browsers may
    call from; Envoy answers their preflights. `workers`: processes that serve; as many as the machine has cores if
    absent. `recycle`: when they are replaced."""

    providers: tuple[AnyProvider, ...] = Field(min_length=1)
    routes: tuple[Route, ...] = ()
    max_body_bytes: int = Field(default=32 << 20, ge=1024, le=MOST_BODY_BYTES)
    cors_origins: tuple[str, ...] = ()
    workers: int | None = Field(default=None, ge=1, le=256)
    recycle: Recycle | None = None

    @model_validator(mode="after")
    def _references(self) -> Self:
        ids = [p.id for p in self.providers]
        if SIDECAR_CLUSTER in ids:
            raise ValueError(f"the id {SIDECAR_CLUSTER!r} is the sidecar's own")
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"two providers have the id {twice[0]!r}: give each an id of its own")
        names = [r.name for r in self.routes]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two routes have the name {twice[0]!r}")
        for route in self.routes:
            if route.provider is not None and route.provider not in ids:
                known = ", ".join(ids)
                raise ValueError(f"route {route.name!r} names provider {route.provider!r}; there are: {known}")
        if not self.routes and len(ids) > 1:
            raise ValueError("there are several providers, so routes must say which takes what")
        return self

    @cached_property
    def by_id(self) -> dict[str, Provider]:
        """Providers by id."""
        return {p.id: p for p in self.providers}

    @cached_property
    def effective_routes(self) -> tuple[Route, ...]:
        """The routes; without any, the only provider takes everything."""
        return self.routes or (Route(name="default", provider=self.providers[0].id),)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` counts from 1; 0: there is none to name. `key`: the path of keys, or empty."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (place, self.key, self.message)))


class ConfigError(Exception):
    """The configuration cannot be used. Its text has a line for each of `problems`; secrets are never in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: object, options: Iterable[str]) -> str:
    """` (did you mean NAME?)` for a word that is nearly one of the options, else nothing."""
    by_lower = {option.lower(): option for option in options}
    close = get_close_matches(str(word).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""
