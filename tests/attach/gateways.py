"""A foreign gateway, and what each control plane makes of an attachment to it: data in, an Envoy bootstrap out.

Rule: shares no code with what renders the attachments; patches are applied as Istio documents them.
"""

from collections.abc import Collection
import copy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROUTER = "envoy.filters.http.router"
Json = Any


def read(path: Path) -> list[Json]:
    """The documents of a YAML file."""
    return [d for d in YAML(typ="safe", pure=True).load_all(path) if d is not None]


def foreign(vendors: str, others: str, access_log: Path) -> Json:
    """The gateway before anything is attached. `vendors`, `others`: `host:port`."""

    def endpoints(place: str) -> list[Json]:
        host, _, port = place.rpartition(":")
        address = {"socket_address": {"address": host, "port_value": int(port)}}
        return [{"lb_endpoints": [{"endpoint": {"address": address}}]}]

    found = {"VENDORS": endpoints(vendors), "OTHERS": endpoints(others), "ACCESS_LOG": str(access_log)}

    def filled(value: Json) -> Json:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [filled(v) for v in value]
        return copy.deepcopy(found.get(value, value)) if isinstance(value, str) else value

    return filled(read(HERE / "foreign.yaml")[0])


def merge(target: Json, patch: Json) -> Json:
    """As protobuf merges: messages member by member, lists appended, anything else replaced."""
    if isinstance(target, dict) and isinstance(patch, dict):
        return target | {k: merge(target[k], v) if k in target else copy.deepcopy(v) for k, v in patch.items()}
    if isinstance(target, list) and isinstance(patch, list):
        return [*target, *copy.deepcopy(patch)]
    return copy.deepcopy(patch)


def listener(bootstrap: Json) -> Json:
    return bootstrap["static_resources"]["listeners"][0]


def manager(bootstrap: Json) -> Json:
    return listener(bootstrap)["filter_chains"][0]["filters"][0]["typed_config"]


def routes(bootstrap: Json) -> list[Json]:
    return manager(bootstrap)["route_config"]["virtual_hosts"][0]["routes"]


def clusters(bootstrap: Json) -> list[Json]:
    return bootstrap["static_resources"]["clusters"]


def update(items: list[Json], names: set[str], patch: Json) -> None:
    items[:] = [merge(item, patch) if item.get("name", "") in names else item for item in items]


# What is made of an attachment


def attached(plane: str, bootstrap: Json, documents: list[Json]) -> Json:
    """The gateway with an attachment, as the control plane `plane` configures Envoy."""
    result = copy.deepcopy(bootstrap)
    if plane == "envoy":
        _by_hand(result, documents[0])
    elif plane in ("istio", "higress"):
        for document in documents:
            for patch in document["spec"]["configPatches"]:
                _patch(result, patch)
    else:
        _envoy_gateway(result, documents)
    return result


CLUSTERS = {"qwen": "dashscope", "kimi": "moonshot", "kimi-by-model": "moonshot", "azure-openai": "azure"}
"""Of routes that have another name than their cluster."""

VENDOR_ROUTES = ("qwen", "openai", "azure", "kimi", "kimi-by-model", "unknown")
IN_ENVOY_GATEWAY = (
    "--namespace", "edge",
    *(option for name in VENDOR_ROUTES if name != "unknown" for option in ("--route", f"edge/{name}")),
)  # fmt: skip
"""Options of `extproc attach envoy-gateway`: a route that the configuration does not know is refused there."""


def _by_hand(bootstrap: Json, snippet: Json) -> None:
    """What docs/envoy.md says."""
    chain = manager(bootstrap)["http_filters"]
    chain.insert([f["name"] for f in chain].index(ROUTER), snippet["http_filter"])
    if "rate_limit_filter" in snippet:
        chain.insert([f["name"] for f in chain].index(ROUTER), snippet["rate_limit_filter"])
        clusters(bootstrap).append(snippet["rate_limit_cluster"])
    _merge_named(routes(bootstrap), (*VENDOR_ROUTES, ""), snippet["route"])
    clusters(bootstrap).append(snippet["cluster"])
    listener(bootstrap).update(snippet["listener"])


def _merge_named(items: list[Json], names: Collection[str], patch: Json) -> None:
    items[:] = [merge(item, patch) if item.get("name", "") in names else item for item in items]


def _patch(bootstrap: Json, patch: Json) -> None:
    """One of an `EnvoyFilter`'s patches, as Istio's reference describes it."""
    match, operation, value = patch["match"], patch["patch"]["operation"], patch["patch"]["value"]
    assert match["context"] == "GATEWAY"
    match (patch["applyTo"], operation):
        case ("CLUSTER", "ADD"):
            clusters(bootstrap).append(value)
        case ("LISTENER", "MERGE"):
            [network_filter] = listener(bootstrap)["filter_chains"][0]["filters"]
            assert match["listener"] == {"filterChain": {"filter": {"name": network_filter["name"]}}}
            merged = merge(listener(bootstrap), value)
            listener(bootstrap).update(merged)
        case ("HTTP_FILTER", "INSERT_BEFORE"):
            chain = manager(bootstrap)["http_filters"]
            name = match["listener"]["filterChain"]["filter"]["subFilter"]["name"]
            chain.insert([f["name"] for f in chain].index(name), value)
        case ("HTTP_ROUTE", "MERGE"):
            name = match["routeConfiguration"]["vhost"]["route"]["name"]
            assert name in [r.get("name") for r in routes(bootstrap)], name
            _merge_named(routes(bootstrap), [name], value)
        case other:
            raise NotImplementedError(other)


def _envoy_gateway(bootstrap: Json, documents: list[Json]) -> None:
    """As Envoy Gateway 1.9 translates its resources: filters disabled in the chain and enabled by the routes."""

    def of(kind: str) -> list[Json]:
        return [d for d in documents if d["kind"] == kind]

    [policy], [limits] = of("EnvoyExtensionPolicy"), of("ClientTrafficPolicy")
    [processor] = policy["spec"]["extProc"]
    place = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
    name = f"envoy.filters.http.ext_proc/envoyextensionpolicy/{place}/extproc/0"
    sidecar = f"envoyextensionpolicy/{place}/0"
    mode, retry = processor["processingMode"], processor["backendSettings"]["retry"]
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {
            "envoy_grpc": {"cluster_name": sidecar, "authority": "ai-proxy"},
            "timeout": "10s",
            "retry_policy": {
                "num_retries": retry["numRetries"],
                "retry_on": ",".join(retry["retryOn"]["triggers"]),
                "retry_back_off": {
                    "base_interval": _seconds(retry["perRetry"]["backOff"]["baseInterval"]),
                    "max_interval": _seconds(retry["perRetry"]["backOff"]["maxInterval"]),
                },
            },
        },
        "message_timeout": _seconds(processor["messageTimeout"]),
        "failure_mode_allow": processor["failOpen"],
        "allow_mode_override": mode["allowModeOverride"],
        "processing_mode": {
            "request_header_mode": "SEND",
            "request_body_mode": mode["request"]["body"].upper(),
            "response_header_mode": "SEND" if "response" in mode else "SKIP",
            "request_trailer_mode": "SKIP",
            "response_trailer_mode": "SKIP",
        },
        "request_attributes": mode["request"]["attributes"],
        "response_attributes": mode["response"]["attributes"],
        "metadata_options": {"receiving_namespaces": {"untyped": processor["metadata"]["writableNamespaces"]}},
    }
    chain = manager(bootstrap)["http_filters"]
    chain[-1]["typed_config"]["suppress_envoy_headers"] = True
    chain.insert([f["name"] for f in chain].index(ROUTER), {"name": name, "disabled": True, "typed_config": typed})
    enabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
    targets = {target["name"] for target in policy["spec"]["targetRefs"]}
    for route in reversed(of("HTTPRoute")):
        routes(bootstrap).insert(0, _http_route(route, name if route["metadata"]["name"] in targets else "", enabled))
    by_name = {d["metadata"]["name"]: d["spec"] for d in of("Backend")}
    [reference] = processor["backendRefs"]
    [endpoint] = by_name[reference["name"]]["endpoints"]
    [(kind, found)] = endpoint.items()
    assert reference["port"] == found["port"]
    health, breakers = processor["backendSettings"]["healthCheck"], processor["backendSettings"]["circuitBreaker"]
    http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    address = {"address": found.get("address") or found["hostname"], "port_value": found["port"]}
    clusters(bootstrap).append(
        {
            "name": sidecar,
            "type": "STATIC" if kind == "ip" else "STRICT_DNS",
            "per_connection_buffer_limit_bytes": 32768,
            "load_assignment": {
                "cluster_name": sidecar,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}],
            },
            "circuit_breakers": {
                "thresholds": [
                    {
                        "max_connections": breakers["maxConnections"],
                        "max_pending_requests": breakers["maxPendingRequests"],
                        "max_requests": breakers["maxParallelRequests"],
                        "max_retries": breakers["maxParallelRetries"],
                    }
                ]
            },
            "health_checks": [
                {
                    "interval": _seconds(health["active"]["interval"]),
                    "timeout": _seconds(health["active"]["timeout"]),
                    "unhealthy_threshold": health["active"]["unhealthyThreshold"],
                    "healthy_threshold": health["active"]["healthyThreshold"],
                    "grpc_health_check": {},
                }
            ],
            "common_lb_config": {"healthy_panic_threshold": {"value": health["panicThreshold"]}},
            "typed_extension_protocol_options": {
                protocol: {"@type": f"type.googleapis.com/{protocol}", **http2},
            },
        }
    )
    listener(bootstrap)["per_connection_buffer_limit_bytes"] = limits["spec"]["connection"]["bufferLimit"]
    matches = limits["spec"]["headers"]["earlyRequestHeaders"]["removeOnMatch"]
    assert {match["type"] for match in matches} == {"Prefix"}
    removals = [
        {"remove_on_match": {"key_matcher": {"prefix": match["value"], "ignore_case": True}}} for match in matches
    ]
    early = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    manager(bootstrap)["early_header_mutation_extensions"] = [
        {
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {"@type": f"type.googleapis.com/{early}", "mutations": removals},
        }
    ]


def _http_route(route: Json, filter_name: str, enabled: Json) -> Json:
    """One `HTTPRoute` of one rule; its vendor's cluster is the foreign gateway's own."""
    [rule] = route["spec"]["rules"]
    [match], (rewrite, removal) = rule["matches"], rule["filters"]
    name = route["metadata"]["name"]
    return {
        "name": f"httproute/{route['metadata']['namespace']}/{name}/rule/0/match/0/*",
        "match": {"path_separated_prefix": match["path"]["value"]},
        "request_headers_to_remove": removal["requestHeaderModifier"]["remove"],
        "route": {
            "cluster": CLUSTERS.get(name, name),
            "host_rewrite_literal": rewrite["urlRewrite"]["hostname"],
            "timeout": rule["timeouts"]["request"],
            "upgrade_configs": [{"upgrade_type": "websocket"}],
        },
        **({"typed_per_filter_config": {filter_name: enabled}} if filter_name else {}),
    }


def _seconds(duration: str) -> str:
    number, unit = duration.rstrip("ms"), duration.lstrip("0123456789")
    return f"{int(number) / {'ms': 1000, 's': 1}[unit]}s"
