"""How a chat of the console's reaches each route: which path, host, headers and model names its match wants.

Rule: pure. Headers may hold a client's key of the configuration: they are for the request, never for an answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from extproc.config.config import Config, Route
from extproc.providers import Provider
from extproc.text.patterns import NamePatterns

MOST_MODELS: Final = 30
_DEFAULT: Final = "gpt-4-turbo"


@dataclass(frozen=True, slots=True)
class Way:
    """A route and how to take it. `models`: names that its first provider takes."""

    route: str
    providers: tuple[str, ...]
    models: tuple[str, ...]
    prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def ways(config: Config) -> dict[str, Way]:
    """Every route that takes chats, by name."""
    found = (_way(config, route) for route in config.effective_routes)
    return {way.route: way for way in found if way is not None}


def _way(config: Config, route: Route) -> Way | None:
    if not route.steps:
        return None
    match, provider = route.match, config.by_id[route.first[0].provider]
    if provider.protocol == "original":
        return None
    headers = dict(match.raw_headers)
    if match.hosts:
        headers["host"] = match.hosts[0].replace("*", "console")
    if (names := match.ingress or match.services) and not config.clients:
        headers["authorization"] = f"Bearer {names[0]}"
    models = tuple(dict.fromkeys(_models(provider, match.models)))[:MOST_MODELS]
    prefix = match.path_prefix.removesuffix("/").removesuffix("/v1")
    return Way(route.name, tuple(dict.fromkeys(s.provider for s in route.steps)), models, prefix, headers)


def _models(provider: Provider, wanted: NamePatterns | None) -> Iterator[str]:
    """Names that may be asked for, those that the route names first."""
    exact = [name for name in wanted.patterns if not name.startswith("~")] if wanted is not None else []
    mapped = [name for name in provider.model_mapping.written if not name.startswith("~") and name != "*"]
    known = [*(provider.names or ()), *mapped, provider.example_model]
    if provider.model_mapping.default:
        known.append(_DEFAULT)
    yield from (name for name in (name.removesuffix("*") for name in exact) if name and name[-1].isalnum())
    for name in (name.removesuffix("*") for name in known):
        if name and name[-1].isalnum() and (wanted is None or name in wanted):  # `claude-*` is no name without more
            yield name
