"""The clusters: the sidecar, one per provider, and in upstream placement one per order of providers.

Rule: in upstream placement every cluster that a route names has the filter: Envoy runs that of the cluster it was
routed to, not of the one in it that takes the request.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint_v3
from envoy_data_plane.envoy.extensions.clusters.aggregate import v3 as aggregate
from envoy_data_plane.envoy.extensions.filters.http.upstream_codec import v3 as upstream_codec
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from extproc.config.config import Config, Step
from extproc.envoy.chains import chain_name, member_name
from extproc.envoy.counting import counting, is_wanted
from extproc.envoy.options import Options
from extproc.envoy.parts import is_ip, packed, socket_address
from extproc.envoy.processor import FILTER, upstream_processor
from extproc.envoy.sidecar_tls import transport_socket
from extproc.envoy.sidecars import health_check, outlier_detection
from extproc.providers.blocks import CircuitBreakers, OutlierDetection
from extproc.providers.upstream import Upstream
from extproc.terms.agreed import NAMESPACE, SIDECAR_CLUSTER

_UNLIMITED = 1_000_000
_NO_LIMITS = CircuitBreakers()
CONNECT_TIMEOUT = timedelta(seconds=10)
_PIPE = "unix:"


def sidecar_cluster(options: Options) -> cluster_v3.Cluster:
    hosts = [host for host, _ in map(host_port, options.sidecars) if host]
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
        type=discovery(hosts, cluster_v3.ClusterDiscoveryType.STRICT_DNS),
        dns_lookup_family=cluster_v3.ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=timedelta(seconds=5),
        circuit_breakers=_breakers(),
        load_assignment=endpoints(SIDECAR_CLUSTER, map(_address, options.sidecars)),
        typed_extension_protocol_options=http_options(
            explicit_http_config=upstream_http.HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
        ),
        transport_socket=transport_socket(options.sidecar_tls) if options.sidecar_tls else None,
    )


@dataclass(frozen=True)
class Member:
    """All that is said of the cluster of a provider, or of one of its models: equal ones are rendered once."""

    name: str
    provider: str
    place: str
    model: str | None
    upstream: Upstream
    idle_timeout: float
    breakers: CircuitBreakers
    outliers: OutlierDetection
    ca_file: str | None
    counted: bool


def members(config: Config, options: Options) -> dict[str, Member]:
    """By the name of the cluster: one per provider; in upstream placement also one per model that a step names."""
    steps = [Step(provider=provider.id) for provider in config.providers]
    if options.placement == "upstream":
        steps += [step for route in config.effective_routes for step in route.steps if step.model]
    return {name: _of(name, step, config) for name, step in {member_name(step): step for step in steps}.items()}


def _of(name: str, step: Step, config: Config) -> Member:
    one = config.by_id[step.provider]
    limits = one.circuit_breakers, one.outlier_detection
    counted = is_wanted([one])
    return Member(
        name, one.id, one.place, step.model, one.upstream, one.idle_timeout, *limits, one.tls.ca_file, counted
    )


@dataclass(frozen=True)
class Aggregate:
    """An order of providers: the cluster of each, tried in turn."""

    name: str
    members: tuple[str, ...]
    providers: tuple[str, ...]
    counted: bool


def aggregates(config: Config, options: Options) -> Iterator[Aggregate]:
    """In upstream placement one per order of providers."""
    if options.placement == "upstream":
        chains = (chain for route in config.effective_routes for _, chain in route.chains if len(chain) > 1)
        for name, chain in {chain_name(chain): chain for chain in chains}.items():
            counted = is_wanted(config.by_id[step.provider] for step in chain)
            providers = tuple(dict.fromkeys(step.provider for step in chain))
            yield Aggregate(name, tuple(map(member_name, chain)), providers, counted)


def provider_clusters(config: Config, options: Options, limit: int) -> Iterator[cluster_v3.Cluster]:
    """All of them."""
    yield from (member_cluster(member, options, limit) for member in members(config, options).values())
    yield from (aggregate_cluster(chain, limit) for chain in aggregates(config, options))


def _filters(*, counted: bool) -> list[hcm.HttpFilter]:
    codec, counts = upstream_codec.UpstreamCodec(), counting(wanted=counted)
    return [
        hcm.HttpFilter(name=FILTER, typed_config=packed(upstream_processor(counted=counted))),
        *counts,
        hcm.HttpFilter(name="envoy.filters.http.upstream_codec", typed_config=packed(codec)),
    ]


def aggregate_cluster(chain: Aggregate, limit: int) -> cluster_v3.Cluster:
    """Its members are tried in order, each a priority of its own; one that outlier detection ejected is left out."""
    members = aggregate.ClusterConfig(clusters=list(chain.members))
    http1 = upstream_http.HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=core.Http1ProtocolOptions())
    return cluster_v3.Cluster(
        name=chain.name,
        connect_timeout=CONNECT_TIMEOUT,
        lb_policy=cluster_v3.ClusterLbPolicy.CLUSTER_PROVIDED,
        metadata=_known({"provider": ", ".join(chain.providers)}),
        cluster_type=cluster_v3.ClusterCustomClusterType(name="envoy.clusters.aggregate", typed_config=packed(members)),
        per_connection_buffer_limit_bytes=limit,
        circuit_breakers=_breakers(),
        typed_extension_protocol_options=http_options(
            explicit_http_config=http1, http_filters=_filters(counted=chain.counted)
        ),
    )


def member_cluster(member: Member, options: Options, limit: int) -> cluster_v3.Cluster:
    """The cluster of one provider. `limit`: bytes that Envoy holds."""
    name, upstream = member.name, member.upstream
    filters = _filters(counted=member.counted) if options.placement == "upstream" else []
    known = {"provider": member.provider, "place": member.place, **({"model": member.model} if member.model else {})}
    common = core.HttpProtocolOptions(idle_timeout=timedelta(seconds=member.idle_timeout))
    # HTTP/1.1 also where the vendor has HTTP/2: Envoy hides the end of an HTTP/2 answer that has trailers from the
    # sidecar, so that a truncated stream would look complete; and it sends `:scheme: http` there.
    http1 = upstream_http.HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=core.Http1ProtocolOptions())
    protocol = http_options(common_http_protocol_options=common, explicit_http_config=http1, http_filters=filters)
    return cluster_v3.Cluster(
        name=name,
        metadata=_known({"provider": member.provider}),
        type=discovery([upstream.address], cluster_v3.ClusterDiscoveryType.LOGICAL_DNS),
        dns_lookup_family=cluster_v3.ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=CONNECT_TIMEOUT,
        per_connection_buffer_limit_bytes=limit,
        circuit_breakers=_breakers(member.breakers),
        outlier_detection=_outliers(member.outliers) if filters else None,
        load_assignment=endpoints(name, [socket_address(upstream.address, upstream.port)], known),
        upstream_connection_options=cluster_v3.UpstreamConnectionOptions(
            tcp_keepalive=core.TcpKeepalive(keepalive_time=30, keepalive_interval=10, keepalive_probes=3)
        ),
        typed_extension_protocol_options=protocol,
        transport_socket=tls_socket(upstream.sni, member.ca_file or options.ca_file) if upstream.tls else None,
    )


def tls_socket(name: str, ca_file: str, protocol: str = "http/1.1") -> core.TransportSocket:
    san = tls.SubjectAltNameMatcherSanType.IP_ADDRESS if is_ip(name) else tls.SubjectAltNameMatcherSanType.DNS
    context = tls.UpstreamTlsContext(
        sni="" if is_ip(name) else name,  # SNI carries names only (RFC 6066, section 3)
        common_tls_context=tls.CommonTlsContext(
            alpn_protocols=[protocol],
            validation_context=tls.CertificateValidationContext(
                trusted_ca=core.DataSource(filename=ca_file),
                match_typed_subject_alt_names=[
                    tls.SubjectAltNameMatcher(san_type=san, matcher=matcher.StringMatcher(exact=name))
                ],
            ),
        ),
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def _outliers(limits: OutlierDetection) -> cluster_v3.OutlierDetection | None:
    """A vendor is one host here: alone it is used even when ejected, since Envoy then panics and uses what there is."""
    if not limits.consecutive5xx:
        return None
    return cluster_v3.OutlierDetection(
        consecutive_5xx=limits.consecutive5xx,
        enforcing_consecutive_5xx=100,
        enforcing_success_rate=0,
        base_ejection_time=timedelta(seconds=limits.base_ejection_time),
        interval=timedelta(seconds=min(limits.base_ejection_time, 10)),  # how often Envoy looks whose time is over
        max_ejection_percent=100,
    )


def _breakers(limits: CircuitBreakers = _NO_LIMITS) -> cluster_v3.CircuitBreakers:
    """Streams are long: Envoy's default of 1024 at a time would refuse exchange 1025, its default of 3 retries at a
    time would skip most of them under load; how often a request is tried is the route's to say."""
    return cluster_v3.CircuitBreakers(
        thresholds=[
            cluster_v3.CircuitBreakersThresholds(
                max_connections=_or_unlimited(limits.max_connections),
                max_pending_requests=_or_unlimited(limits.max_pending_requests),
                max_requests=_or_unlimited(limits.max_requests),
                max_retries=_UNLIMITED,
            )
        ]
    )


def _or_unlimited(limit: int | None) -> int:
    return _UNLIMITED if limit is None else limit


def discovery(hosts: Iterable[str], by_name: cluster_v3.ClusterDiscoveryType) -> cluster_v3.ClusterDiscoveryType:
    return cluster_v3.ClusterDiscoveryType.STATIC if all(map(is_ip, hosts)) else by_name


def endpoints(
    name: str, addresses: Iterable[core.Address], known: dict[str, str] | None = None
) -> endpoint_v3.ClusterLoadAssignment:
    """`known`: what the sidecar is told of whoever takes an attempt."""
    metadata = _known(known) if known else None
    return endpoint_v3.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[
            endpoint_v3.LocalityLbEndpoints(
                lb_endpoints=[
                    endpoint_v3.LbEndpoint(endpoint=endpoint_v3.Endpoint(address=address), metadata=metadata)
                    for address in addresses
                ]
            )
        ],
    )


def _known(values: dict[str, str]) -> core.Metadata:
    return core.Metadata(filter_metadata={NAMESPACE: protobuf.Struct.from_dict(values)})


def http_options(
    *,
    common_http_protocol_options: core.HttpProtocolOptions | None = None,
    explicit_http_config: upstream_http.HttpProtocolOptionsExplicitHttpConfig,
    http_filters: Sequence[hcm.HttpFilter] = (),
) -> dict[str, protobuf.Any]:
    options = upstream_http.HttpProtocolOptions(
        common_http_protocol_options=common_http_protocol_options,
        explicit_http_config=explicit_http_config,
        http_filters=list(http_filters),
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(options)}


def _address(text: str) -> core.Address:
    """Of `host:port` or `unix:PATH`."""
    if text.startswith(_PIPE):
        return core.Address(pipe=core.Pipe(path=text.removeprefix(_PIPE)))
    return socket_address(*host_port(text))


def host_port(text: str) -> tuple[str, int]:
    """No host for a Unix socket."""
    if text.startswith(_PIPE):
        return "", 0
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
