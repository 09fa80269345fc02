"""A foreign gateway, and what each control plane makes of an attachment to it: data in, an Envoy bootstrap out.

Rule: shares no code with what renders the attachments; patches are applied as Istio documents them.
"""

from collections.abc import Iterator
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
    items[:] = [merge(item, patch) if item["name"] in names else item for item in items]


AI_ROUTES = {"qwen", "openai", "azure", "kimi", "kimi-by-model", "unknown"}
VENDORS = {"dashscope", "openai", "azure", "moonshot"}


def by_hand(bootstrap: Json, snippet: Json) -> Json:
    """What docs/envoy.md says to do with `deploy/envoy/snippet.yaml`."""
    result = copy.deepcopy(bootstrap)
    chain = manager(result)["http_filters"]
    chain.insert([f["name"] for f in chain].index(ROUTER), snippet["http_filter"])
    update(routes(result), AI_ROUTES, snippet["route"])
    update(clusters(result), VENDORS, snippet["vendor_cluster"])
    clusters(result).append(snippet["sidecar_cluster"])
    listener(result).update(snippet["listener"])
    return result


def moved(bootstrap: Json, sidecar: str) -> Json:
    """The sidecar's cluster, whatever address its document has, at `sidecar`."""
    host, _, port = sidecar.rpartition(":")
    for cluster in clusters(bootstrap):
        if "grpc_health_check" in str(cluster) or "extensionpolicy" in cluster["name"]:
            cluster["type"] = "STATIC"
            for group in cluster["load_assignment"]["endpoints"]:
                for endpoint in group["lb_endpoints"]:
                    endpoint["endpoint"]["address"]["socket_address"] = {"address": host, "port_value": int(port)}
    return bootstrap


def names(items: list[Json]) -> Iterator[str]:
    return (item["name"] for item in items)
