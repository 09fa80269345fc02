"""The sidecar attached to a gateway that somebody else configures: what its control plane is to be given.

Rule: made of the messages of our own bootstrap, so that the two cannot drift apart. The gateway's routes choose the
cluster; a route that says nothing of the filter has nothing to do with the sidecar.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.route import v3 as route_v3
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from ruamel.yaml import YAML

from extproc.config.config import Config
from extproc.envoy import charging
from extproc.envoy.clusters import host_port, sidecar_cluster
from extproc.envoy.options import Options
from extproc.envoy.parts import as_json, is_ip, packed
from extproc.envoy.placement import ControlPlane
from extproc.envoy.processor import ATTACHED_FILTER, attached_processor, attached_route
from extproc.exchange import routing
from extproc.providers import Provider
from extproc.terms.agreed import CLUSTER_ATTRIBUTE, ROUTE_ATTRIBUTE, STRIPPED, envoy_buffer

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway that is there: its namespace, and what tells it from others there: the labels of its pods as
    `KEY=VALUE`, or for Envoy Gateway the name of its `Gateway`. `routes`: those to vendors, as `ingress` names them.
    `limiter`: `HOST:PORT` of Envoy's rate limit service, where it is to be charged."""

    namespace: str
    name: str
    routes: tuple[str, ...]
    limiter: str | None = None


GATEWAYS: Final[Mapping[ControlPlane, tuple[str, str]]] = {
    "envoy": ("", ""),
    "istio": ("istio-system", "istio=ingressgateway"),
    "higress": (routing.HIGRESS, "app=higress-gateway"),
    "envoy-gateway": ("default", "eg"),
}
"""Namespace and name as each control plane's own installation has them."""


def ingresses(config: Config) -> tuple[str, ...]:
    """The names of the gateway's routes that the configuration speaks of."""
    return tuple(dict.fromkeys(name for route in config.effective_routes for name in route.match.ingress))


def attributes(plane: ControlPlane, gateway: Gateway, name: str, service: str = "") -> dict[str, str]:
    """What the sidecar is told of a request by one of the gateway's routes. `service`: the name of its cluster."""
    told = {ROUTE_ATTRIBUTE: _envoys_name(plane, gateway, name)}
    if plane != "envoy-gateway":  # whose policies may not ask for it
        host, _, port = service.partition(":")
        told[CLUSTER_ATTRIBUTE] = f"outbound|{port}||{host}" if port else host
    return told


def _envoys_name(plane: ControlPlane, gateway: Gateway, name: str) -> str:
    if plane == "envoy-gateway":
        return f"httproute/{name}/rule/0/match/0/*"
    namespace, _, own = name.rpartition("/")
    return own if plane == "higress" and namespace == gateway.namespace else name


def backend(provider: Provider) -> str:
    """The name of its `Backend`: one that is neither the sidecar's nor likely to be the owner's."""
    return f"ai-vendor-{provider.id}"


def attachment(plane: ControlPlane, config: Config, options: Options, gateway: Gateway) -> list[Document]:
    """The documents for a control plane. `options`: of which only the sidecar's places count."""
    match plane:
        case "envoy":
            return [_snippet(config, options, gateway.limiter)]
        case "istio" | "higress":
            routes = dict.fromkeys(_envoys_name(plane, gateway, name) for name in gateway.routes)
            return [_envoy_filter(config, options, gateway, routes)]
        case "envoy-gateway":
            return list(_envoy_gateway(config, options, gateway))


def as_yaml(documents: Iterable[Document]) -> str:
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump_all(documents, out)
    return out.getvalue()


# The pieces


def _http_filter() -> Document:
    return _said(hcm.HttpFilter(name=ATTACHED_FILTER, typed_config=packed(attached_processor())))


def _limiter() -> Document:
    return _said(hcm.HttpFilter(name=charging.FILTER, typed_config=packed(charging.limiter())))


def _route(limiter: str | None) -> Document:
    charged = {charging.FILTER: packed(charging.charged())} if limiter else {}
    return _said(route_v3.Route(typed_per_filter_config={ATTACHED_FILTER: packed(attached_route()), **charged}))


def _limit(config: Config) -> Document:
    return {"per_connection_buffer_limit_bytes": envoy_buffer(config.max_body_bytes)}


def _said(message: Message) -> Document:
    found: Document = as_json(message)
    return found


# An Envoy that is configured by hand


def _snippet(config: Config, options: Options, limiter: str | None) -> Document:
    service = _said(charging.service_cluster(limiter)) if limiter else None
    return {
        "listener": _limit(config),
        "http_filter": _http_filter(),
        **({"rate_limit_filter": _limiter(), "rate_limit_cluster": service} if limiter else {}),
        "route": {"route": {"timeout": "0s"}, **_route(limiter)},
        "cluster": _said(sidecar_cluster(options)),
    }


# Istio and Higress


def _envoy_filter(config: Config, options: Options, gateway: Gateway, routes: Iterable[str]) -> Document:
    key, _, value = gateway.name.partition("=")
    manager = {"filter": {"name": "envoy.filters.network.http_connection_manager"}}
    router = {"filter": {**manager["filter"], "subFilter": {"name": "envoy.filters.http.router"}}}
    limits = []
    if gateway.limiter:  # the filter behind ours
        limits = [
            _patch("CLUSTER", {}, "ADD", _said(charging.service_cluster(gateway.limiter))),
            _patch("HTTP_FILTER", {"listener": {"filterChain": router}}, "INSERT_BEFORE", _limiter()),
        ]
    patches = [
        _patch("CLUSTER", {}, "ADD", _said(sidecar_cluster(options))),
        _patch("LISTENER", {"listener": {"filterChain": manager}}, "MERGE", _limit(config)),
        _patch("HTTP_FILTER", {"listener": {"filterChain": router}}, "INSERT_BEFORE", _http_filter()),
        *limits,
        *(
            _patch(
                "HTTP_ROUTE",
                {"routeConfiguration": {"vhost": {"route": {"name": name}}}},
                "MERGE",
                _route(gateway.limiter),
            )
            for name in routes
        ),
    ]
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "ai-proxy", "namespace": gateway.namespace},
        "spec": {"workloadSelector": {"labels": {key: value}}, "configPatches": patches},
    }


def _patch(apply_to: str, match: Document, operation: str, value: Document) -> Document:
    return {
        "applyTo": apply_to,
        "match": {"context": "GATEWAY", **match},
        "patch": {"operation": operation, "value": value},
    }


# Envoy Gateway: what its own resources can say

_GROUP: Final = "gateway.envoyproxy.io"
_ATTRIBUTES: Final = ("connection.", "source.", "destination.", "request.", "response.", "upstream.", "xds.route_")
"""Beginnings of the attributes that an `EnvoyExtensionPolicy` may ask for."""


def _envoy_gateway(config: Config, options: Options, gateway: Gateway) -> Iterator[Document]:
    told = {name.rpartition("/")[2]: attributes("envoy-gateway", gateway, name) for name in gateway.routes}
    routes = {name: routing.gateways_vendors(config, given)[0] for name, given in told.items()}
    for provider in dict.fromkeys(routes.values()):
        yield _resource("Backend", backend(provider), gateway, _vendor(provider))
    for name, provider in routes.items():
        yield _http_route(name, provider, gateway)
    endpoints = [_endpoint(*host_port(place)) for place in options.sidecars]
    yield _resource("Backend", "ai-proxy", gateway, {"appProtocols": [f"{_GROUP}/h2c"], "endpoints": endpoints})
    targets = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name} for name in routes]
    policy = {"targetRefs": targets, "extProc": [_ext_proc(options)]}
    yield _resource("EnvoyExtensionPolicy", "ai-proxy", gateway, policy)
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name}
    # The filter there may not remove `x-envoy-*`, by which a client would set retries and time limits.
    strip = {"removeOnMatch": [{"type": "Prefix", "value": prefix} for prefix in STRIPPED]}
    door = {
        "targetRefs": [target],
        "connection": {"bufferLimit": envoy_buffer(config.max_body_bytes)},
        "headers": {"earlyRequestHeaders": strip},
    }
    yield _resource("ClientTrafficPolicy", "ai-proxy", gateway, door)


def _resource(kind: str, name: str, gateway: Gateway, spec: Document) -> Document:
    metadata = {"name": name, "namespace": gateway.namespace}
    return {"apiVersion": f"{_GROUP}/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _vendor(provider: Provider) -> Document:
    upstream = provider.upstream
    # HTTP/1.1 for the reason that is in clusters.py.
    tls = {"wellKnownCACertificates": "System", "sni": upstream.sni, "alpnProtocols": ["http/1.1"]}
    return {"endpoints": [_endpoint(upstream.address, upstream.port)], **({"tls": tls} if upstream.tls else {})}


def _endpoint(host: str, port: int) -> Document:
    if is_ip(host):
        return {"ip": {"address": host, "port": port}}
    return {"fqdn": {"hostname": host, "port": port}}


def _http_route(name: str, provider: Provider, gateway: Gateway) -> Document:
    # The filter there may not change the Host, nor remove Envoy's notes about the client: the route does.
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": provider.upstream.authority}}
    remove = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-envoy-external-address"]}}
    vendor = {"group": _GROUP, "kind": "Backend", "name": backend(provider), "port": provider.upstream.port}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
        "filters": [rewrite, remove],
        "backendRefs": [vendor],
        "timeouts": {"request": "0s"},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": gateway.namespace},
        "spec": {"parentRefs": [{"name": gateway.name}], "rules": [rule]},
    }


def _ext_proc(options: Options) -> Document:
    processor, cluster = _said(attached_processor()), _said(sidecar_cluster(options))
    retry, (_, port) = processor["grpc_service"]["retry_policy"], host_port(options.sidecars[0])
    breakers, ejection = cluster["circuit_breakers"]["thresholds"][0], cluster["outlier_detection"]
    [check] = cluster["health_checks"]
    return {
        "backendRefs": [{"group": _GROUP, "kind": "Backend", "name": "ai-proxy", "port": port}],
        "messageTimeout": _duration(processor["message_timeout"]),
        "failOpen": processor.get("failure_mode_allow", False),
        "processingMode": {
            "allowModeOverride": processor["allow_mode_override"],
            "request": {"body": "Buffered", "attributes": _allowed(processor["request_attributes"])},
            "response": {"attributes": _allowed(processor["response_attributes"])},
        },
        "metadata": {"writableNamespaces": processor["metadata_options"]["receiving_namespaces"]["untyped"]},
        "backendSettings": {
            "circuitBreaker": {
                "maxConnections": breakers["max_connections"],
                "maxPendingRequests": breakers["max_pending_requests"],
                "maxParallelRequests": breakers["max_requests"],
                "maxParallelRetries": breakers["max_retries"],
            },
            "healthCheck": {
                "active": {
                    "type": "GRPC",
                    "interval": _duration(check["interval"]),
                    "timeout": _duration(check["timeout"]),
                    "unhealthyThreshold": check["unhealthy_threshold"],
                    "healthyThreshold": check["healthy_threshold"],
                },
                "passive": {
                    "splitExternalLocalOriginErrors": ejection["split_external_local_origin_errors"],
                    "consecutiveLocalOriginFailures": ejection["consecutive_local_origin_failure"],
                    "interval": _duration(ejection["interval"]),
                    "baseEjectionTime": _duration(ejection["base_ejection_time"]),
                    "maxEjectionPercent": ejection["max_ejection_percent"],
                },
                "panicThreshold": round(cluster["common_lb_config"]["healthy_panic_threshold"]["value"]),
            },
            "retry": {
                "numRetries": retry["num_retries"],
                "perRetry": {
                    "backOff": {
                        "baseInterval": _duration(retry["retry_back_off"]["base_interval"]),
                        "maxInterval": _duration(retry["retry_back_off"]["max_interval"]),
                    }
                },
                "retryOn": {"triggers": retry["retry_on"].split(",")},
            },
        },
    }


def _allowed(attributes: Iterable[str]) -> list[str]:
    return [attribute for attribute in attributes if attribute.startswith(_ATTRIBUTES)]


def _duration(seconds: str) -> str:
    """Protobuf's `0.025s` as the Gateway API writes it: it knows no fractions."""
    milliseconds = round(float(seconds.removesuffix("s")) * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
