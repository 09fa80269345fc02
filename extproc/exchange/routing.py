"""Request → route, model name, list of models.

Rule: pure decisions over the configuration; nothing here knows a vendor or writes a header.
"""

from collections.abc import Iterable, Mapping, Sequence
import re
from typing import Final
from urllib.parse import parse_qsl, unquote

from extproc.config.config import Config, Match, Route, Step
from extproc.fronts.front import Front
from extproc.providers import Provider
from extproc.terms.agreed import CLUSTER_ATTRIBUTE, OWN_ROUTES, ROUTE_ATTRIBUTE
from extproc.terms.call import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, MODELS, RESPONSES, Target
from extproc.terms.errors import InvalidParameter, MissingParameter, ModelNotFound, NoRoute
from extproc.text.jsontext import NULL, Fields, NotJson, dump, load
from extproc.text.patterns import host_patterns

TAKES_MODEL = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES, "images/generations", "audio/speech"})
"""APIs in which a missing model is filled in from the mapping's `*`."""

_ENVOY_GATEWAY = "httproute/"
"""How Envoy Gateway's route names begin."""

HIGRESS: Final = "higress-system"
"""Higress' own namespace. The names of the routes in it are without a namespace, also in Envoy."""

_LONGEST_NAME = 512
"""Characters of a model name: it goes into paths, logs and metadata."""

_SURROGATE = re.compile("[\ud800-\udfff]")

NEEDS_MODEL = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES})
"""APIs in which OpenAI knows no model of its own. A stored prompt of the Responses API names one, though."""


def is_attached(attributes: Mapping[str, str]) -> bool:
    """Whether the routes are those of a gateway that is not ours: it has chosen the cluster, and may have routes for
    which the vendor's path would be somebody else's."""
    return not attributes.get(ROUTE_ATTRIBUTE, OWN_ROUTES).startswith(OWN_ROUTES)


def candidates(config: Config, headers: Mapping[str, str], attributes: Mapping[str, str]) -> list[Route]:
    """The routes, in order, whose conditions hold as far as they can be judged without the body."""
    return [r for r in config.effective_routes if _matches(r.match, headers, attributes)]


def _matches(match: Match, headers: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    return (
        all(headers.get(name) == value for name, value in match.raw_headers.items())
        and (not match.hosts or _host_in(match.hosts, headers.get(":authority", "")))
        and headers.get(":path", "").startswith(match.path_prefix)
        and (not match.ingress or _named(match.ingress, headers, attributes))
        and (not match.services or _served(match.services, headers, attributes))
    )


def _host_in(hosts: tuple[str, ...], authority: str) -> bool:
    host = authority
    if not host.endswith("]"):  # a bracketed IPv6 address without a port
        name, colon, port = host.rpartition(":")
        host = name if colon and port.isdecimal() else host
    return host_patterns(hosts).fullmatch(host) is not None


def _named(names: Iterable[str], headers: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    """An ingress name as Envoy's route name; where the choice is ours, as the all-in-one image used it: as the bearer
    token, with or without the namespace that Higress puts before it."""
    if not is_attached(attributes):
        said = {_bearer(headers)}
        return any(name in said or name.rpartition("/")[2] in said for name in names)
    route = attributes[ROUTE_ATTRIBUTE]
    said = {route}
    if route.startswith(_ENVOY_GATEWAY):  # httproute/NAMESPACE/NAME/rule/…
        said.add(route.removeprefix(_ENVOY_GATEWAY).partition("/rule/")[0])
    # Another namespace's route of the same name is another route, perhaps to another vendor.
    return any(name in said or name.removeprefix(f"{HIGRESS}/") == route for name in names)


def _served(names: Iterable[str], headers: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    """A service name, `NAME` or `NAME:PORT`, in Envoy's cluster name, Istio's `outbound|PORT||NAME` or a plain one;
    where the choice is ours, without port as the bearer token."""
    services = [name.partition(":") for name in names]
    if not is_attached(attributes):
        return any(name == _bearer(headers) for name, _, _ in services)
    *before, cluster = attributes.get(CLUSTER_ATTRIBUTE, "").split("|")
    known = before[1] if len(before) == 3 else ""
    return any(name == cluster and (not known or port in ("", known)) for name, _, port in services)


def _bearer(headers: Mapping[str, str]) -> str:
    """What a client may say to choose, in our own gateway only: elsewhere one vendor would be shown another's key."""
    return headers.get("authorization", "").removeprefix("Bearer ")


def gateways_rules(config: Config, attributes: Mapping[str, str]) -> list[Route]:
    """The routes, in order, that may take what comes by this route and cluster of a gateway that is not ours, whoever
    asks for whatever model, with whatever host, path and headers."""
    found: list[Route] = []
    for route in config.effective_routes:
        match = route.match
        if match.ingress and not _named(match.ingress, {}, attributes):
            continue
        if match.services and not _served(match.services, {}, attributes):
            continue
        found.append(route)
        if match.by_gateway_only and all(client.may_use(route.name) for client in config.clients):
            break  # nothing gets past it
    return found


def gateways_vendors(config: Config, attributes: Mapping[str, str]) -> list[Provider]:
    """Where such a route leads: of each vendor the first provider. The gateway's cluster is one vendor's, so with more
    than one, what a client says would decide whose key is sent there."""
    found: dict[str, Provider] = {}
    for route in gateways_rules(config, attributes):
        for step in route.steps:
            provider = config.by_id[step.provider]
            found.setdefault(provider.place, provider)
    return list(found.values())


def choose(routes: Sequence[Route], model: str | None) -> Route:
    """The first route that takes the model; None stands for a request that names none.

    Raises `NoRoute`, or `ModelNotFound` / `MissingParameter` where only routes by model are left.
    """
    for route in routes:
        if route.match.models is None or (model is not None and model in route.match.models):
            return route
    if not routes:
        raise NoRoute("no route takes this request")
    if model is None:
        raise MissingParameter("model is missing: the routes choose by it", param="model")
    raise ModelNotFound(f"the model {model!r} does not exist here")


def first_step(route: Route, chance: int) -> Step:
    """The step that a request tries first, chosen among those of the first group by its random number. Raises
    `NoRoute` for a route that refuses."""
    if not route.first:
        raise NoRoute("this traffic is switched off here")
    point = chance % sum(step.weight for step in route.first)
    for step in route.first:
        if point < step.weight:
            break
        point -= step.weight
    return step


def requested_model(fields: Fields) -> str | None:
    """The client's `model`; None when it is absent, null or empty. Raises `InvalidParameter` for all but text."""
    try:
        model = load(fields.get("model", NULL))
    except NotJson as error:
        raise InvalidParameter(f"model cannot be read: {error}", param="model") from None
    if model is None:
        return None
    if not isinstance(model, str):
        raise InvalidParameter("model must be a string", param="model")
    if len(model) > _LONGEST_NAME:
        raise InvalidParameter(f"model is longer than {_LONGEST_NAME} characters", param="model")
    if _SURROGATE.search(model):
        raise InvalidParameter("model has half of a surrogate pair", param="model")
    return model or None


def upstream_model(provider: Provider, target: Target, body: Fields, instead: str | None) -> str | None:
    """The vendor's name; `instead` is what a step of the route asks for whatever the client said. Raises
    `MissingParameter` where the API needs one and there is none."""
    model = requested_model(body)
    if model is None and target.api not in TAKES_MODEL and not provider.wants_model(target):
        return None
    name = instead or provider.upstream_model(model)
    prompted = target.api == RESPONSES and body.get("prompt", NULL) != NULL
    if name is None and target.api in NEEDS_MODEL and not prompted and provider.protocol == "openai":
        raise MissingParameter("model is missing", param="model")
    return name


def is_model_list(target: Target, method: str) -> bool:
    """`GET /v1/models` or `GET /v1/models/{name}`."""
    return method in ("GET", "HEAD") and target.root == MODELS


def listed_models(config: Config, routes: Sequence[Route]) -> list[str] | None:
    """The names a client may use: what each route declares, as far as that route is the one to take the name. None:
    only the vendor knows."""
    names: list[str] | None = None
    for route in routes:
        own = declared_models(config, route)
        if own is not None:
            names = [*(names or ()), *(name for name in own if _first(routes, name) is route)]
    return None if names is None else list(dict.fromkeys(names))


def declared_models(config: Config, route: Route) -> list[str] | None:
    """What the providers that a route tries first list; of those without a list the exact names of the route. None:
    nothing is declared."""
    names: list[str] | None = None
    for step in route.first:
        provider = config.by_id[step.provider]
        if provider.protocol == "original":  # the path is the vendor's own
            continue
        own = provider.names
        if own is None and route.match.models is not None:
            own = route.match.models.exact or None
        if own is not None:
            names = [*(names or ()), *own]
    return names


def _first(routes: Sequence[Route], name: str) -> Route | None:
    return next((r for r in routes if r.match.models is None or name in r.match.models), None)


def models_answer(front: Front, names: Sequence[str], target: Target, now: int) -> bytes:
    """The JSON of `GET /v1/models`, or of one model. Raises `ModelNotFound`."""
    if target.api == MODELS:
        return dump(front.models([front.model(name, now) for name in names], dict(parse_qsl(target.query))))
    name = unquote((target.api or "").partition("/")[2])
    if name not in names:
        raise ModelNotFound(f"the model {name[:200]!r} does not exist here")
    return dump(front.model(name, now))
