"""The sidecar attached to a gateway that somebody else configures: filter, cluster and limits, for each control plane.

Rule: the same typed messages as in our own bootstrap, so that they cannot drift apart. The gateway's routes choose
the cluster; where a route says nothing of the filter, the sidecar is not asked.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from extproc.agreed import envoy_buffer
from extproc.bootstrap.clusters import sidecar_cluster
from extproc.bootstrap.options import Options
from extproc.bootstrap.parts import as_json, packed
from extproc.bootstrap.processor import ATTACHED_FILTER, attached_processor, attached_route
from envoy_data_plane.envoy.config.route import v3 as route_v3
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm


def http_filter() -> dict[str, Any]:
    return as_json(hcm.HttpFilter(name=ATTACHED_FILTER, typed_config=packed(attached_processor())))


def route_part() -> dict[str, Any]:
    return as_json(route_v3.Route(typed_per_filter_config={ATTACHED_FILTER: packed(attached_route())}))


def snippet(options: Options, max_body_bytes: int) -> dict[str, Any]:
    """Four pieces for an Envoy that is configured by hand."""
    limit = envoy_buffer(max_body_bytes)
    return {
        "listener": {"per_connection_buffer_limit_bytes": limit},
        "http_filter": http_filter(),
        "route": {**route_part(), "route": {"timeout": "0s"}},
        "vendor_cluster": {"per_connection_buffer_limit_bytes": limit},
        "sidecar_cluster": as_json(sidecar_cluster(options)),
    }
