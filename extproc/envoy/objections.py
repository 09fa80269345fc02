"""Why the sidecar cannot be attached to a gateway as was asked.

Rule: what a control plane would refuse, drop without a word or make something else of is said here, before anything is
printed. The patterns are those of Kubernetes' names and labels and of Gateway API's `PreciseHostname`.
"""

from collections.abc import Iterator, Mapping, Sequence
import re
from typing import Final

from extproc.config.config import Problem, Route
from extproc.config.load import Loaded
from extproc.envoy.attachments import Gateway, attributes, backend
from extproc.envoy.clusters import host_port
from extproc.envoy.parts import is_ip
from extproc.envoy.placement import ControlPlane
from extproc.exchange import routing
from extproc.providers import Provider

_NAME: Final = re.compile(r"(?!.{254})[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WORD: Final = r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?"
_LABEL: Final = re.compile(rf"([a-z0-9][-a-z0-9.]{{0,252}}/)?{_WORD}=({_WORD})?", re.ASCII)
_LETTERS: Final = "lower-case letters, digits, - and ."


def objections(plane: ControlPlane, loaded: Loaded, gateway: Gateway, sidecars: Sequence[str]) -> Iterator[Problem]:
    """Everything that is wrong. `sidecars`: as in `Options`."""
    if plane != "envoy":
        yield from (Problem("", 0, option, message) for option, message in _options(plane, gateway, sidecars))
        wrong = [(name, message) for name in gateway.routes if (message := _name(plane, gateway, name))]
        yield from (Problem(*_place(loaded, name), message) for name, message in wrong)
        if wrong:
            return  # the rest is judged by the names
    for name in gateway.routes or ("",):
        yield from _several_vendors(plane, loaded, gateway, name)
    if plane == "envoy-gateway":
        yield from _not_for_envoy_gateway(loaded, gateway)


def _options(plane: ControlPlane, gateway: Gateway, sidecars: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options and what is wrong with them."""
    if not _NAMESPACE.fullmatch(gateway.namespace):
        yield "--namespace", f"{gateway.namespace!r} is no namespace: lower-case letters, digits and -"
    if plane == "envoy-gateway" and not _NAME.fullmatch(gateway.name):
        yield "--gateway", f"{gateway.name!r} is no name of a Gateway: {_LETTERS}"
    if plane != "envoy-gateway" and not _LABEL.fullmatch(gateway.name):
        yield "--gateway", "wants a label of the gateway's pods: KEY=VALUE"
    if not gateway.routes:
        yield "--route", "no route of the configuration has `ingress` names; say the gateway's routes with --route"
    places = [host_port(sidecar) for sidecar in sidecars]
    hosts = [host for host, _ in places]
    if not all(hosts):
        yield "--sidecar", "unix: is for an Envoy on the sidecar's machine: use HOST:PORT"
    elif not all(port for _, port in places):
        yield "--sidecar", "port 0 is none that a gateway could reach"
    elif plane == "envoy-gateway":
        if wrong := [host for host in hosts if not is_ip(host) and not _NAME.fullmatch(host)]:
            yield "--sidecar", f"{wrong[0]!r} is neither an address nor a name: {_LETTERS}"
        if len(set(map(is_ip, hosts))) > 1:
            yield "--sidecar", "a Backend has addresses or names, not both"


def _name(plane: ControlPlane, gateway: Gateway, name: str) -> str | None:
    """What is wrong with a route's name; a patch without one would be for all routes."""
    namespace, _, own = name.rpartition("/")
    if not own:
        return "the name of the gateway's route is missing"
    if plane == "higress" and namespace == gateway.namespace != routing.HIGRESS:
        return f"Higress leaves its own namespace out of its routes' names: {own}"
    if plane == "envoy-gateway" and not namespace:
        return f"{name!r} may be another team's route too: write {gateway.namespace}/{name}"
    if plane == "envoy-gateway" and namespace != gateway.namespace:
        return (
            f"{name!r} is not in the namespace {gateway.namespace!r}, and a policy reaches its own only: "
            f"attach it by itself, with --namespace {namespace} --route {name}"
        )
    if plane == "envoy-gateway" and not _NAME.fullmatch(own):
        return f"{own!r} is no name of an HTTPRoute: {_LETTERS}"
    return None


def _place(loaded: Loaded, name: str) -> tuple[str, int, str]:
    """File, line and key of where a route is named; the option where the configuration does not."""
    for index, route in enumerate(loaded.config.effective_routes):
        if name in route.match.ingress:
            return loaded.source, 0, f"routes[{index}].match.ingress"
    return "", 0, f"--route {name}"


# Vendors


def _several_vendors(plane: ControlPlane, loaded: Loaded, gateway: Gateway, name: str) -> Iterator[Problem]:
    """The sidecar would refuse whatever comes by the route: it is one vendor's."""
    config = loaded.config
    services = [service for route in config.effective_routes for service in route.match.services]
    for service in dict.fromkeys(("", *services)):
        told = attributes(plane, gateway, name, service)
        if len(routing.gateways_vendors(config, told)) > 1:
            rules = routing.gateways_rules(config, told)
            listed = ", ".join(f"{rule.name} ({_summary(rule)})" for rule in rules)
            key = f"routes[{config.effective_routes.index(rules[0])}].{(*_conditions(rules[0]), 'provider')[0]}"
            which = f"the gateway's route {name!r}" if name else "a route of the gateway"
            message = f"{which} leads to several vendors, by {listed}: give each vendor a route of its own"
            yield Problem(loaded.source, 0, key, message)
            return


def _summary(rule: Route) -> str:
    providers = " or ".join(dict.fromkeys(step.provider for step in rule.steps)) or "nobody"
    return ", ".join((*_conditions(rule), f"to {providers}"))


def _conditions(rule: Route) -> tuple[str, ...]:
    """The keys by which the request itself decides."""
    match = rule.match
    said: Mapping[str, object] = {
        "models": match.models, "hosts": match.hosts, "headers": match.headers, "pathPrefix": match.path_prefix,
    }  # fmt: skip
    return tuple(f"match.{key}" for key, value in said.items() if value)


# Envoy Gateway


def _not_for_envoy_gateway(loaded: Loaded, gateway: Gateway) -> Iterator[Problem]:
    config, used = loaded.config, dict[str, Provider]()
    for name in gateway.routes:
        rules = routing.gateways_rules(config, attributes("envoy-gateway", gateway, name))
        steps = [step for rule in rules for step in rule.steps]
        used.update((step.provider, config.by_id[step.provider]) for step in steps)
        if not steps:
            message = "no `ingress` of the configuration says whose traffic that is"
            yield Problem("", 0, f"--route {name}", message)
    for index, provider in enumerate(config.providers):
        if provider.id in used:
            for key, message in _not_a_backend(provider):
                yield Problem(loaded.source, 0, f"providers[{index}]{key}", message)


def _not_a_backend(provider: Provider) -> Iterator[tuple[str, str]]:
    """Keys of a provider that neither a `Backend` nor an `HTTPRoute` can carry, and why."""
    upstream = provider.upstream
    if not _NAME.fullmatch(backend(provider)):
        yield ".id", f"{backend(provider)!r} is no name of a Backend: {_LETTERS}"
    if provider.tls.ca_file is not None and upstream.tls:
        yield ".tls.caFile", "the Backend trusts the system's CAs only: the file is not in the cluster"
    address = ".endpoint" if provider.endpoint else ""
    if not _NAME.fullmatch(upstream.authority):
        yield address, f"an HTTPRoute cannot set the Host {upstream.authority!r}: a name in lower case, without a port"
    if not is_ip(upstream.address) and not _NAME.fullmatch(upstream.address):
        yield address, f"a Backend cannot have the host {upstream.address!r}: {_LETTERS}"
