"""What Envoy does when one of the sidecar's workers, each an endpoint of one cluster, is gone.

Rule: only exchanges under way on a worker that dies may fail. A stream that cannot be opened, or is refused before its
first answer, is opened again elsewhere (observed on Envoy 1.40: what was sent is sent again, under `message_timeout`).
"""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster import v3 as cluster_v3
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts

from extproc.envoy.parts import packed
from extproc.terms.agreed import HEALTH_SECONDS, SIDECAR_CLUSTER

_RETRIES: Final = 10
"""With the back-off below about three seconds: a single worker that was killed is back by then."""


def sidecar_service() -> core.GrpcService:
    """For the filter: where streams are opened."""
    predicate = core.RetryPolicyRetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(previous_hosts.PreviousHostsPredicate())
    )
    return core.GrpcService(
        envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=SIDECAR_CLUSTER),
        retry_policy=core.RetryPolicy(
            # `cancelled`: what a gRPC server that is stopping says to a stream that it has not begun.
            retry_on="connect-failure,refused-stream,reset,unavailable,cancelled",
            num_retries=_RETRIES,
            retry_back_off=core.BackoffStrategy(
                base_interval=timedelta(milliseconds=25), max_interval=timedelta(seconds=1)
            ),
            retry_host_predicate=[predicate],
            host_selection_retry_max_attempts=5,
        ),
    )


def health_check() -> core.HealthCheck:
    interval = timedelta(seconds=HEALTH_SECONDS)
    return core.HealthCheck(
        interval=interval,
        no_traffic_interval=interval,
        timeout=timedelta(seconds=2),
        unhealthy_threshold=2,  # for no answer; an answer that says no counts at once
        healthy_threshold=1,
        grpc_health_check=core.HealthCheckGrpcHealthCheck(),
    )


def outlier_detection() -> cluster_v3.OutlierDetection:
    """Between two health checks: a worker that takes no connection is left out, until a check succeeds."""
    return cluster_v3.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=3,
        enforcing_consecutive_local_origin_failure=100,
        enforcing_local_origin_success_rate=0,
        enforcing_consecutive_gateway_failure=0,
        enforcing_success_rate=0,
        base_ejection_time=timedelta(seconds=HEALTH_SECONDS),
        interval=timedelta(seconds=HEALTH_SECONDS),
        max_ejection_percent=100,
    )
