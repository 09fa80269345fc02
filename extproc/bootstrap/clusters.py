"""The clusters: the sidecar, and one per provider."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint_v3
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from extproc.agreed import SIDECAR_CLUSTER
from extproc.bootstrap.listener import Options
from extproc.bootstrap.parts import is_ip, packed, socket_address
from extproc.bootstrap.sidecars import health_check, outlier_detection
from extproc.providers import Provider

_UNLIMITED = 1_000_000


def sidecar_cluster(sidecars: Sequence[str]) -> cluster_v3.Cluster:
    addresses = [_host_port(sidecar) for sidecar in sidecars]
    http2 = core.Http2ProtocolOptions(
        max_concurrent_streams=_UNLIMITED,  # one stream per exchange, held as long as the answer lasts
        connection_keepalive=core.KeepaliveSettings(interval=timedelta(seconds=60), timeout=timedelta(seconds=10)),
    )
    return cluster_v3.Cluster(
        name=SIDECAR_CLUSTER,
        health_checks=[health_check()],
        outlier_detection=outlier_detection(),
        # By default Envoy trusts no health check any more once half of the endpoints fail; here, once all do.
        common_lb_config=cluster_v3.ClusterCommonLbConfig(healthy_panic_threshold=envoy_type.Percent(value=1)),
        type=_discovery([host for host, _ in addresses], cluster_v3.ClusterDiscoveryType.STRICT_DNS),
        dns_lookup_family=cluster_v3.ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=timedelta(seconds=5),
        circuit_breakers=_no_breakers(),
        load_assignment=_endpoints(SIDECAR_CLUSTER, addresses),
        typed_extension_protocol_options=_http(
            explicit_http_config=upstream_http.HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
        ),
    )


def provider_cluster(provider: Provider, options: Options, limit: int) -> cluster_v3.Cluster:
    upstream = provider.upstream
    common = core.HttpProtocolOptions(idle_timeout=timedelta(seconds=50))  # before vendors close idle connections
    # HTTP/1.1 also where the vendor has HTTP/2: Envoy hides the end of an HTTP/2 answer that has trailers from the
    # sidecar, so that a truncated stream would look complete; and it sends `:scheme: http` there.
    http1 = upstream_http.HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=core.Http1ProtocolOptions())
    protocol = _http(common_http_protocol_options=common, explicit_http_config=http1)
    return cluster_v3.Cluster(
        name=provider.id,
        type=_discovery([upstream.address], cluster_v3.ClusterDiscoveryType.LOGICAL_DNS),
        dns_lookup_family=cluster_v3.ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=timedelta(seconds=10),
        per_connection_buffer_limit_bytes=limit,
        circuit_breakers=_no_breakers(),
        load_assignment=_endpoints(provider.id, [(upstream.address, upstream.port)]),
        upstream_connection_options=cluster_v3.UpstreamConnectionOptions(
            tcp_keepalive=core.TcpKeepalive(keepalive_time=30, keepalive_interval=10, keepalive_probes=3)
        ),
        typed_extension_protocol_options=protocol,
        transport_socket=_tls(upstream.sni, provider.tls.ca_file or options.ca_file) if upstream.tls else None,
    )


def _tls(name: str, ca_file: str) -> core.TransportSocket:
    san = tls.SubjectAltNameMatcherSanType.IP_ADDRESS if is_ip(name) else tls.SubjectAltNameMatcherSanType.DNS
    context = tls.UpstreamTlsContext(
        sni="" if is_ip(name) else name,  # SNI carries names only (RFC 6066, section 3)
        common_tls_context=tls.CommonTlsContext(
            alpn_protocols=["http/1.1"],
            validation_context=tls.CertificateValidationContext(
                trusted_ca=core.DataSource(filename=ca_file),
                match_typed_subject_alt_names=[
                    tls.SubjectAltNameMatcher(san_type=san, matcher=matcher.StringMatcher(exact=name))
                ],
            ),
        ),
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def _no_breakers() -> cluster_v3.CircuitBreakers:
    """Streams are long: Envoy's default of 1024 at a time would refuse exchange 1025, and 3 retries are few."""
    return cluster_v3.CircuitBreakers(
        thresholds=[
            cluster_v3.CircuitBreakersThresholds(
                max_connections=_UNLIMITED,
                max_pending_requests=_UNLIMITED,
                max_requests=_UNLIMITED,
                max_retries=_UNLIMITED,
            )
        ]
    )


def _discovery(hosts: Iterable[str], by_name: cluster_v3.ClusterDiscoveryType) -> cluster_v3.ClusterDiscoveryType:
    return cluster_v3.ClusterDiscoveryType.STATIC if all(map(is_ip, hosts)) else by_name


def _endpoints(name: str, addresses: Iterable[tuple[str, int]]) -> endpoint_v3.ClusterLoadAssignment:
    return endpoint_v3.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[
            endpoint_v3.LocalityLbEndpoints(
                lb_endpoints=[
                    endpoint_v3.LbEndpoint(endpoint=endpoint_v3.Endpoint(address=socket_address(host, port)))
                    for host, port in addresses
                ]
            )
        ],
    )


def _http(
    *,
    common_http_protocol_options: core.HttpProtocolOptions | None = None,
    explicit_http_config: upstream_http.HttpProtocolOptionsExplicitHttpConfig,
) -> dict[str, protobuf.Any]:
    options = upstream_http.HttpProtocolOptions(
        common_http_protocol_options=common_http_protocol_options,
        explicit_http_config=explicit_http_config,
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(options)}


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
