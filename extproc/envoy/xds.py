"""What Envoy reads while it runs: clusters, listener and routes as files that it watches.

Rule: pure; a document's version is made of its content, so what did not change is no update. Routes are a document of
their own: a listener that changes makes Envoy drain connections, routes that change do not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
import hashlib
from typing import Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.bootstrap import v3 as bootstrap_v3
from envoy_data_plane.google import protobuf
import msgspec

from extproc.config.config import Config
from extproc.envoy.clusters import Aggregate, Member, aggregate_cluster, aggregates, member_cluster, members
from extproc.envoy.listener import gateway_listener
from extproc.envoy.options import Options
from extproc.envoy.parts import LISTENERS_FILE, ROUTES_FILE, as_json, packed, watched_file
from extproc.envoy.routes import Part, frame, parts
from extproc.envoy.tracing import trace_clusters
from extproc.terms.agreed import NAMESPACE, envoy_buffer

CLUSTERS_FILE: Final = "clusters.json"

RENDERED: Final = 16_384
"""So many clusters, and routes, are remembered as they were rendered, 2 KiB each; beyond it a change renders all."""

VERSIONS: Final = {
    CLUSTERS_FILE: "cluster_manager.cds.version_text",
    LISTENERS_FILE: "listener_manager.lds.version_text",
    ROUTES_FILE: "http.ai_proxy.rds.ai_proxy.version_text",
}
"""File → the statistic in which Envoy says which version of it is at work."""


def dynamic_resources(directory: str) -> bootstrap_v3.BootstrapDynamicResources:
    """For the bootstrap: where the documents are."""
    return bootstrap_v3.BootstrapDynamicResources(
        cds_config=watched_file(directory, CLUSTERS_FILE), lds_config=watched_file(directory, LISTENERS_FILE)
    )


def clusters(config: Config, former: Sequence[Config], options: Options, files: Mapping[str, bytes]) -> str:
    """The providers of a configuration, and those that only former ones have. `files`: contents by path; a CA bundle
    that changed makes its cluster another, which is how Envoy comes to read it again."""
    found: dict[str, bytes] = {}
    plain = replace(options, sidecars=())  # no cluster of a provider depends on them: known before they are
    sums = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    for each in (config, *former):
        limit = envoy_buffer(each.max_body_bytes)
        for name, member in members(each, options).items():
            if name not in found:
                found[name] = _rendered(member, plain, limit, sums.get(member.ca_file or ""))
        for chain in aggregates(each, options):
            if chain.name not in found:
                found[chain.name] = _aggregated(chain, limit)
        for cluster in trace_clusters(each, options):
            if cluster.name not in found:
                found[cluster.name] = _line(cluster)
    return _document(found.values())


@lru_cache(maxsize=RENDERED)
def _rendered(member: Member, options: Options, limit: int, ca: str | None) -> bytes:
    """A change renders what it changed: of a thousand providers mostly one."""
    cluster = member_cluster(member, options, limit)
    if ca is not None:
        assert cluster.metadata is not None
        cluster.metadata.filter_metadata |= {f"{NAMESPACE}.files": protobuf.Struct.from_dict({"ca": ca})}
    return _line(cluster)


@lru_cache(maxsize=RENDERED)
def _aggregated(chain: Aggregate, limit: int) -> bytes:
    return _line(aggregate_cluster(chain, limit))


def listeners(config: Config, options: Options) -> str:
    return _document([_line(gateway_listener(config, options, envoy_buffer(config.max_body_bytes)))])


def routes(config: Config, options: Options) -> str:
    table = as_json(packed(frame(config, options)))
    table["virtual_hosts"][0]["routes"] = [line for part in parts(config, options) for line in _routes(part)]
    return _document([msgspec.json.encode(table)])


@lru_cache(maxsize=RENDERED)
def _routes(part: Part) -> tuple[msgspec.Raw, ...]:
    return tuple(msgspec.Raw(msgspec.json.encode(as_json(route))) for route in part.routes())


def version(document: str) -> str:
    """The version that Envoy will say it works with."""
    return _version.decode(document).version_info


class _Versioned(msgspec.Struct):
    version_info: str


_version: Final = msgspec.json.Decoder(_Versioned)


def _line(resource: Message) -> bytes:
    return msgspec.json.encode(as_json(packed(resource)))


def _document(resources: Iterable[bytes]) -> str:
    """A resource per line."""
    lines = b",\n".join(resources)
    digest = hashlib.sha256(lines).hexdigest()[:16]
    return f'{{"version_info": "{digest}", "resources": [\n{lines.decode()}\n]}}\n'
