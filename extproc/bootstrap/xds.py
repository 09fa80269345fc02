"""What Envoy reads while it runs: clusters, listener and routes as files that it watches.

Rule: pure; a document's version is made of its content, so what did not change is no update. Routes are a document of
their own: a listener that changes makes Envoy drain connections, routes that change do not.
"""

from collections.abc import Iterable, Mapping, Sequence
import hashlib
import json
from typing import Final

from betterproto2 import Casing, Message
from envoy_data_plane.envoy.config.bootstrap import v3 as bootstrap_v3
from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.service.discovery import v3 as discovery
from envoy_data_plane.google import protobuf

from extproc.agreed import NAMESPACE, envoy_buffer
from extproc.bootstrap.clusters import provider_cluster
from extproc.bootstrap.listener import Options, gateway_listener, gateway_routes
from extproc.bootstrap.parts import LISTENERS_FILE, ROUTES_FILE, packed, watched_file
from extproc.config import Config

CLUSTERS_FILE: Final = "clusters.json"

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
    found: dict[str, cluster_v3.Cluster] = {}
    for each in (config, *former):
        limit = envoy_buffer(each.max_body_bytes)
        for provider in each.providers:
            if provider.id not in found:
                cluster = provider_cluster(provider, options, limit)
                if (content := files.get(provider.tls.ca_file or "")) is not None:
                    cluster.metadata = _digest(content)
                found[provider.id] = cluster
    return _document(found.values())


def _digest(content: bytes) -> core.Metadata:
    digest = protobuf.Struct.from_dict({"ca": hashlib.sha256(content).hexdigest()})
    return core.Metadata(filter_metadata={f"{NAMESPACE}.files": digest})


def listeners(config: Config, options: Options) -> str:
    return _document([gateway_listener(config, options, envoy_buffer(config.max_body_bytes))])


def routes(config: Config, options: Options) -> str:
    return _document([gateway_routes(config, options)])


def version(document: str) -> str:
    """The version that Envoy will say it works with."""
    return str(json.loads(document)["version_info"])


def _document(resources: Iterable[Message]) -> str:
    response = discovery.DiscoveryResponse(resources=[packed(resource) for resource in resources])
    content = response.to_dict(casing=Casing.SNAKE)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return json.dumps({"version_info": digest, **content}, indent=2, ensure_ascii=False) + "\n"
