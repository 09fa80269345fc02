"""Traces: Envoy makes the spans, one for the request and one for each attempt; the sidecar's words become attributes.

Rule: no body and no key: what is tagged is what the access log has. A collector that is away costs no request anything.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.trace import v3 as trace
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.metadata import v3 as metadata
from envoy_data_plane.envoy.type.tracing import v3 as tracing

from extproc.config.config import Config
from extproc.config.telemetry import Traces
from extproc.envoy.clusters import CONNECT_TIMEOUT, discovery, endpoints, http_options, tls_socket
from extproc.envoy.options import Options
from extproc.envoy.parts import packed, socket_address
from extproc.terms.agreed import NAMESPACE, TRACES_CLUSTER

_TIMEOUT: Final = timedelta(seconds=10)

_ATTRIBUTES: Final = {
    "gen_ai.request.model": "upstream_model",
    "gen_ai.provider.name": "provider",
    "gen_ai.usage.input_tokens": "prompt_tokens",
    "gen_ai.usage.output_tokens": "completion_tokens",
    "error.type": "error",
    "ai_proxy.client": "client",
    "ai_proxy.route": "route",
    "ai_proxy.model": "model",
}
"""Span attribute → what the sidecar reports. OpenTelemetry's names where it has one (semconv 1.41, 2026)."""


_PATH_TAG: Final = tracing.CustomTag(tag="url.path", value=f"%FILTER_STATE({NAMESPACE}.path:PLAIN)%")
"""The client's, without its query."""


def hcm_tracing(config: Config) -> hcm.HttpConnectionManagerTracing | None:
    """For the listener; None where nobody wants traces."""
    traces = config.telemetry.traces
    if traces is None:
        return None
    return hcm.HttpConnectionManagerTracing(
        provider=trace.TracingHttp(name="envoy.tracers.opentelemetry", typed_config=packed(_tracer(traces))),
        random_sampling=envoy_type.Percent(value=100 * traces.sample),
        spawn_upstream_span=True,
        # `http.url` has the query, and with it whatever key somebody puts there (Envoy 1.40, 2026-11): no path of it.
        max_path_tag_length=0,
        custom_tags=[_PATH_TAG, *(_tag(attribute, key) for attribute, key in _ATTRIBUTES.items())],
    )


def trace_clusters(config: Config, options: Options) -> Iterator[cluster_v3.Cluster]:
    """The collector, if there is one."""
    traces = config.telemetry.traces
    if traces is None:
        return
    parts = urlsplit(traces.endpoint)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else _PORTS[traces.protocol])
    grpc, http = core.Http2ProtocolOptions(), core.Http1ProtocolOptions()
    explicit = upstream_http.HttpProtocolOptionsExplicitHttpConfig(
        http2_protocol_options=grpc if traces.protocol == "grpc" else None,
        http_protocol_options=http if traces.protocol == "http" else None,
    )
    yield cluster_v3.Cluster(
        name=TRACES_CLUSTER,
        type=discovery([host], cluster_v3.ClusterDiscoveryType.STRICT_DNS),
        dns_lookup_family=cluster_v3.ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=CONNECT_TIMEOUT,
        load_assignment=endpoints(TRACES_CLUSTER, [socket_address(host, port)]),
        typed_extension_protocol_options=http_options(explicit_http_config=explicit),
        transport_socket=tls_socket(host, options.ca_file, "h2" if traces.protocol == "grpc" else "http/1.1")
        if tls
        else None,
    )


_PORTS: Final = {"grpc": 4317, "http": 4318}
"""OTLP's own."""


def _tracer(traces: Traces) -> trace.OpenTelemetryConfig:
    if traces.protocol == "grpc":
        envoy = core.GrpcServiceEnvoyGrpc(cluster_name=TRACES_CLUSTER)
        return trace.OpenTelemetryConfig(
            grpc_service=core.GrpcService(envoy_grpc=envoy, timeout=_TIMEOUT), service_name=traces.service
        )
    uri = core.HttpUri(uri=f"{traces.endpoint}/v1/traces", cluster=TRACES_CLUSTER, timeout=_TIMEOUT)
    return trace.OpenTelemetryConfig(http_service=core.HttpService(http_uri=uri), service_name=traces.service)


def _tag(attribute: str, key: str) -> tracing.CustomTag:
    path = metadata.MetadataKey(key=NAMESPACE, path=[metadata.MetadataKeyPathSegment(key=key)])
    kind = metadata.MetadataKind(request=metadata.MetadataKindRequest())
    return tracing.CustomTag(tag=attribute, metadata=tracing.CustomTagMetadata(kind=kind, metadata_key=path))
