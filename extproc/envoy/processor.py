"""The ext_proc filter: what the sidecar is sent, and what it may do.

Rule: `failure_mode_allow` is false everywhere: true would send untranslated bodies and the client's credentials to a
vendor. The filter has another name in each place, since what a route says of a filter is by name.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc

from extproc.config.config import Config
from extproc.envoy.sidecars import sidecar_service
from extproc.terms.agreed import (
    BODY,
    CLIENT_ATTRIBUTE,
    CLUSTER_ATTRIBUTE,
    DOOR_ATTRIBUTE,
    MODEL_ATTRIBUTE,
    NAMESPACE,
    PLACE_ATTRIBUTE,
    PROVIDER_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    TOKENS,
)

FILTER: Final = "envoy.filters.http.ext_proc"
LOCAL_FILTER: Final = "ai_proxy.local"
"""In front of the routes, for what the sidecar answers itself while it sits in the providers' clusters."""

ATTACHED_FILTER: Final = "ai_proxy.attached"
"""In front of the routes of a gateway that somebody else configures."""

DOOR_FILTER: Final = "ai_proxy.door"
"""Before everything else where clients are configured: who has no key is refused before a body is read, and before a
vendor is so much as connected to."""

_TIMEOUT = timedelta(seconds=10)
_GATEWAY_S_CHOICE = [ROUTE_ATTRIBUTE, CLUSTER_ATTRIBUTE]
_DETAILS = ["response.code_details"]  # tells Envoy's own answers from the vendor's


def listener_processor(config: Config) -> ext_proc.ExternalProcessor:
    """In front of the routes, for every request."""
    named = any(r.match.ingress or r.match.services for r in config.effective_routes)
    return _processor(_GATEWAY_S_CHOICE if named else [], _DETAILS, counted=config.leaves_to_envoy)


def attached_processor() -> ext_proc.ExternalProcessor:
    """In front of the routes of a gateway that is not ours: nothing is sent, and the sidecar not even connected to,
    unless the request's route says so (`attached_route`)."""
    processor = _processor(_GATEWAY_S_CHOICE, _DETAILS)
    processor.processing_mode = _mode(
        ext_proc.ProcessingModeHeaderSendMode.SKIP, ext_proc.ProcessingModeBodySendMode.NONE
    )
    # The vendor's path may match another route of the gateway: whoever asks, the route stays.
    processor.route_cache_action = ext_proc.ExternalProcessorRouteCacheAction.RETAIN
    return processor


def attached_route() -> ext_proc.ExtProcPerRoute:
    """What a route of such a gateway says of the filter, so that its requests go through the sidecar. Not by `disabled`
    in the chain: Envoy would look only at the first route that a request had, and filters before may change it."""
    mode = processing_mode(ext_proc.ProcessingModeBodySendMode.BUFFERED)
    return ext_proc.ExtProcPerRoute(overrides=ext_proc.ExtProcOverrides(processing_mode=mode))


def local_processor(config: Config) -> ext_proc.ExternalProcessor:
    """In front of the routes, for what no provider is to get, and for bodies that only we can read."""
    return _processor([ROUTE_ATTRIBUTE], _DETAILS, told=[NAMESPACE, BODY])


def door_processor() -> ext_proc.ExternalProcessor:
    """In front of the routes, for every request's head."""
    return _processor([DOOR_ATTRIBUTE], [], ext_proc.ProcessingModeBodySendMode.NONE)


def upstream_processor(*, counted: bool = False) -> ext_proc.ExternalProcessor:
    """In a provider's cluster; the same for all, so that no change of one touches another. What comes back there is
    always the vendor's. `counted`: it is told what Envoy counts."""
    known = [PROVIDER_ATTRIBUTE, PLACE_ATTRIBUTE, MODEL_ATTRIBUTE, ROUTE_ATTRIBUTE, CLIENT_ATTRIBUTE]
    return _processor(known, [], counted=counted)


def _processor(
    request_attributes: Sequence[str],
    response_attributes: Sequence[str],
    body: ext_proc.ProcessingModeBodySendMode = ext_proc.ProcessingModeBodySendMode.BUFFERED,
    told: Sequence[str] = (NAMESPACE,),
    *,
    counted: bool = False,
) -> ext_proc.ExternalProcessor:
    return ext_proc.ExternalProcessor(
        grpc_service=sidecar_service(),
        failure_mode_allow=False,
        allow_mode_override=True,
        message_timeout=_TIMEOUT,
        processing_mode=processing_mode(body),
        # Without these `:authority` stays the client's, and `x-envoy-attempt-count` reaches the vendor.
        mutation_rules=mutation.HeaderMutationRules(allow_all_routing=True, allow_envoy=True),
        metadata_options=ext_proc.MetadataOptions(
            receiving_namespaces=ext_proc.MetadataOptionsMetadataNamespaces(untyped=list(told)),
            forwarding_namespaces=ext_proc.MetadataOptionsMetadataNamespaces(typed=[TOKENS]) if counted else None,
        ),
        request_attributes=list(request_attributes),
        response_attributes=list(response_attributes),
    )


def processing_mode(request_body: ext_proc.ProcessingModeBodySendMode) -> ext_proc.ProcessingMode:
    """What the sidecar gets unless it says otherwise; answers' bodies only ever on request."""
    return _mode(ext_proc.ProcessingModeHeaderSendMode.SEND, request_body)


def _mode(
    request_headers: ext_proc.ProcessingModeHeaderSendMode, request_body: ext_proc.ProcessingModeBodySendMode
) -> ext_proc.ProcessingMode:
    skip = ext_proc.ProcessingModeHeaderSendMode.SKIP
    return ext_proc.ProcessingMode(
        request_header_mode=request_headers,
        request_body_mode=request_body,
        request_trailer_mode=skip,
        response_header_mode=skip,  # until the sidecar asks for them: see worker/wire.py
        response_body_mode=ext_proc.ProcessingModeBodySendMode.NONE,
        response_trailer_mode=skip,
    )
