"""A second door to Envoy's admin, for machines that look from outside: `/ready` and `/stats/prometheus`, nothing else.

Rule: reads only. The admin itself, which can end Envoy and shows its configuration, stays on an address of its own.
"""

from typing import Final

from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.listener import v3 as listener_v3
from envoy_data_plane.envoy.config.route import v3 as route_v3
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.envoy.clusters import endpoints
from extproc.envoy.options import Options
from extproc.envoy.parts import packed, socket_address

PATHS: Final = ("/ready", "/stats/prometheus")
_ADMIN: Final = "ai_proxy_envoy_admin"


def stats_listener(host: str, port: int) -> listener_v3.Listener:
    gets = route_v3.HeaderMatcher(name=":method", string_match=matcher.StringMatcher(exact="GET"))
    routes = [
        route_v3.Route(match=route_v3.RouteMatch(path=path, headers=[gets]), route=route_v3.RouteAction(cluster=_ADMIN))
        for path in PATHS
    ]
    manager = hcm.HttpConnectionManager(
        stat_prefix="stats",
        route_config=route_v3.RouteConfiguration(
            name="stats", virtual_hosts=[route_v3.VirtualHost(name="stats", domains=["*"], routes=routes)]
        ),
        http_filters=[hcm.HttpFilter(name="envoy.filters.http.router", typed_config=packed(router.Router()))],
    )
    http = listener_v3.Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return listener_v3.Listener(
        name="stats",
        address=socket_address(host, port),
        filter_chains=[listener_v3.FilterChain(filters=[http])],
        ignore_global_conn_limit=True,  # whoever is full says so all the same
    )


def admin_cluster(options: Options) -> cluster_v3.Cluster:
    """How the listener reaches the admin: on this machine, also where that listens on every address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.admin_host, options.admin_host)
    return cluster_v3.Cluster(
        name=_ADMIN,
        type=cluster_v3.ClusterDiscoveryType.STATIC,
        load_assignment=endpoints(_ADMIN, [socket_address(host, options.admin_port)]),
    )
