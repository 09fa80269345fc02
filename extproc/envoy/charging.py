"""Envoy's own rate limit service in a gateway that is not ours: what it is asked, and what it is charged.

Rule: a request asks with no hits, and its end charges what was used (`ai_proxy:total_tokens`), which the sidecar keeps
up to date while an answer comes, so that a cut one is charged too. `hits_addend` in a route's own `rate_limits` is
ignored without a word (Envoy 1.36 to 1.40, 2026-11), so this is `RateLimitPerRoute`. The filter stands behind the
sidecar's, which says who asks. A stage of its own keeps it off the gateway's own limits.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.ratelimit import v3 as service
from envoy_data_plane.envoy.config.route import v3 as route_v3
from envoy_data_plane.envoy.extensions.filters.http.ratelimit import v3 as ratelimit
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.metadata import v3 as metadata

from extproc.envoy.clusters import discovery, endpoints, host_port, http_options
from extproc.envoy.parts import socket_address
from extproc.terms.agreed import NAMESPACE

FILTER: Final = "ai_proxy.ratelimit"
CLUSTER: Final = "ai_proxy_ratelimit"
DOMAIN: Final = "ai-proxy"

DESCRIPTORS: Final[Sequence[tuple[str, ...]]] = (("client",), ("model",), ("client", "model"))
"""What the service may limit by, each behind `unit: tokens`; `client` where clients are configured."""

_STAGE: Final = 10
"""The highest that Envoy takes, for the filter alone: of routes' own limits it looks at those of its stage, and most
gateways use 0. `RateLimitPerRoute` has none."""
_NOBODY: Final = "none"


def limiter() -> ratelimit.RateLimit:
    """The filter. While the service is away nobody is let through: what is not counted is not limited."""
    return ratelimit.RateLimit(
        domain=DOMAIN,
        stage=_STAGE,
        failure_mode_deny=True,
        status_on_error=envoy_type.HttpStatus(code=envoy_type.StatusCode.ServiceUnavailable),
        timeout=timedelta(seconds=1),
        rate_limit_service=service.RateLimitServiceConfig(
            grpc_service=core.GrpcService(envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLUSTER)),
            transport_api_version=core.ApiVersion.V3,
        ),
    )


def charged() -> ratelimit.RateLimitPerRoute:
    """What a route says of the filter."""
    nothing = route_v3.RateLimitHitsAddend(number=0)
    used = route_v3.RateLimitHitsAddend(format=f"%DYNAMIC_METADATA({NAMESPACE}:total_tokens)%")
    asked = [_limit(names, nothing, done=False) for names in DESCRIPTORS]
    return ratelimit.RateLimitPerRoute(rate_limits=[*asked, *(_limit(names, used, done=True) for names in DESCRIPTORS)])


def _limit(names: Sequence[str], hits: route_v3.RateLimitHitsAddend, *, done: bool) -> route_v3.RateLimit:
    unit = route_v3.RateLimitActionGenericKey(descriptor_key="unit", descriptor_value="tokens")
    return route_v3.RateLimit(
        actions=[route_v3.RateLimitAction(generic_key=unit), *map(_told, names)],
        hits_addend=hits,
        apply_on_stream_done=done,
    )


def _told(name: str) -> route_v3.RateLimitAction:
    key = metadata.MetadataKey(key=NAMESPACE, path=[metadata.MetadataKeyPathSegment(key=name)])
    said = route_v3.RateLimitActionMetaData(
        descriptor_key=name,
        metadata_key=key,
        default_value=_NOBODY,
        source=route_v3.RateLimitActionMetaDataSource.DYNAMIC,
    )
    return route_v3.RateLimitAction(metadata=said)


def service_cluster(place: str) -> cluster_v3.Cluster:
    """Where the service is: `HOST:PORT`."""
    host, port = host_port(place)
    http2 = core.Http2ProtocolOptions()
    return cluster_v3.Cluster(
        name=CLUSTER,
        type=discovery([host], cluster_v3.ClusterDiscoveryType.STRICT_DNS),
        dns_lookup_family=cluster_v3.ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=timedelta(seconds=1),
        load_assignment=endpoints(CLUSTER, [socket_address(host, port)]),
        typed_extension_protocol_options=http_options(
            explicit_http_config=upstream_http.HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
        ),
    )
