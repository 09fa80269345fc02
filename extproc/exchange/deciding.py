"""Who takes a request, and how: route, step, place, key and way in one value.

Rule: what the configuration, a client's rights and the keys say of a request is asked here alone; pure. By the head it
is decided which routes are left, by the body (or that there is none) the rest.
"""

from collections.abc import Mapping, Sequence

from extproc.config.clients import Client, without_keys
from extproc.config.config import Config, Route
from extproc.exchange import routing
from extproc.exchange.states import Headed, Place
from extproc.fronts import registry
from extproc.fronts.front import Front
from extproc.fronts.registry import Way
from extproc.keys.choice import Keys
from extproc.providers import Provider
from extproc.terms.agreed import MODEL_ATTRIBUTE, PLACE_ATTRIBUTE, PROVIDER_ATTRIBUTE, ROUTE_ATTRIBUTE
from extproc.terms.call import Target
from extproc.terms.errors import Changing, NoRoute, SeveralVendors, UnknownPath
from extproc.terms.frozen import Frozen
from extproc.text.jsontext import Fields


class Asker(Frozen, frozen=True):
    """Who asks, for what, in which dialect."""

    hidden = ("headers",)

    client: Client
    front: Front
    target: Target
    method: str
    headers: Mapping[str, str]


class Turn(Frozen, frozen=True):
    """What a choice hangs on beside the request. `chance`: the same for all attempts of a request, so that they take
    turns. `ticks`: seconds of the clock that keys rest by. `tokens`: those that are made beside the exchanges."""

    hidden = ("tokens",)

    keys: Keys
    tokens: Mapping[str, str]
    chance: int
    attempt: int
    ticks: float


class Decision(Frozen, frozen=True):
    """`model`: the vendor's name for it, None where the API has none. `instead`: the name that the route's step asks
    for whatever the client said. `token`: the key, None without one."""

    hidden = ("token",)

    route: Route
    provider: Provider
    way: Way
    model: str | None
    instead: str | None
    token: str | None


def placed(configs: Sequence[Config], asker: Asker, attributes: Mapping[str, str]) -> tuple[Config, Headed]:
    """Where Envoy chose route and provider: by which configuration it did, and its choice. Raises `Changing` where none
    of them has these."""
    id, name = attributes[PROVIDER_ATTRIBUTE], attributes.get(ROUTE_ATTRIBUTE, "")
    for config in configs:
        provider, route = config.by_id.get(id), config.by_name.get(name)
        if provider is not None and route is not None and provider.place == attributes.get(PLACE_ATTRIBUTE):
            if not asker.client.may_use(name):
                raise NoRoute("no route takes this request")
            _check_path(asker, [provider])
            place = Place(provider, attributes.get(MODEL_ATTRIBUTE) or None)
            return config, Headed(without_keys(config.clients, asker.headers), asker.target, [route], place)
    raise Changing


def routed(config: Config, asker: Asker, attributes: Mapping[str, str], *, attached: bool) -> Headed:
    """Where the choice is ours, as far as it can be made without the body."""
    if attached and len(routing.gateways_vendors(config, attributes)) > 1:
        raise SeveralVendors
    routes = candidates(config, asker.client, asker.headers, attributes)
    _check_path(asker, [config.by_id[step.provider] for route in routes for step in route.first])
    return Headed(without_keys(config.clients, asker.headers), asker.target, routes, None)


def candidates(
    config: Config, client: Client, headers: Mapping[str, str], attributes: Mapping[str, str]
) -> list[Route]:
    """The routes that may take a request with this head, and that its client may use."""
    return [route for route in routing.candidates(config, headers, attributes) if client.may_use(route.name)]


def _check_path(asker: Asker, providers: Sequence[Provider]) -> None:
    """Raises `UnknownPath` for a path that is neither a front's nor possibly a vendor's own."""
    served = asker.target.api is not None and asker.front.serves(asker.target, asker.method)
    if not served and not any(provider.protocol == "original" for provider in providers):
        raise UnknownPath("there is no API at this path; the OpenAI API is under /v1/")


def decide(config: Config, front: Front, state: Headed, model: str | None, body: Fields, turn: Turn) -> Decision:
    """A request whose body names `model`. Raises `NoRoute`, `ModelNotFound`, `MissingParameter`, `UnsupportedApi`."""
    route = state.routes[0] if state.place is not None else routing.choose(state.routes, model)
    provider, instead = _step(config, state, route, turn)
    way = registry.way(front, provider, state.target)
    name = None if way == "counted" else routing.upstream_model(provider, state.target, body, instead)
    return Decision(route, provider, way, name, instead, _key(provider, turn))


def decide_unread(config: Config, front: Front, state: Headed, routes: Sequence[Route], turn: Turn) -> Decision:
    """A request whose body is absent or unread, that one of these may take. Raises `NoRoute`, `UnsupportedApi`."""
    if not routes:
        raise NoRoute("no route takes this request")
    provider, _ = _step(config, state, routes[0], turn)
    return Decision(routes[0], provider, registry.way(front, provider, state.target), None, None, _key(provider, turn))


def _step(config: Config, state: Headed, route: Route, turn: Turn) -> tuple[Provider, str | None]:
    if state.place is not None:
        return state.place.provider, state.place.model
    step = routing.first_step(route, turn.chance >> 48)
    return config.by_id[step.provider], step.model


def _key(provider: Provider, turn: Turn) -> str | None:
    if provider.token_source is not None:
        return turn.tokens.get(provider.token_name)
    return turn.keys.choose(provider, turn.chance, turn.attempt, turn.ticks)
