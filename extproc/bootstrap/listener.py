"""The listener: how clients are met, what the filters do, where requests go.

Rule: whatever goes wrong, no request leaves untranslated: one for which the sidecar named no cluster has nowhere to go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
import re
from typing import Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener_v3
from envoy_data_plane.envoy.config.route import v3 as route_v3
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state import v3 as filter_state
from envoy_data_plane.envoy.extensions.filters.http.cors import v3 as cors
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state import v3 as set_filter_state
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from extproc.agreed import CLUSTER_HEADER, INTERNAL_PREFIX, NAMESPACE
from extproc.bootstrap.parts import ROUTES_FILE, packed, regex, socket_address, text_format, watched_file
from extproc.bootstrap.replies import access_logs, local_replies
from extproc.bootstrap.sidecars import sidecar_service
from extproc.call import JSON_APIS
from extproc.config import Config

STAT_PREFIX: Final = "ai_proxy"

_SIDECAR_TIMEOUT = timedelta(seconds=10)


_IDLE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Options:
    """What the bootstrap needs beside the configuration: addresses and paths of this installation.

    `sidecars`: `host:port` of each gRPC server. `access_log`: None turns it off. `ca_file`: the system's CA bundle.
    `exclusive_port`: refuse to start where another Envoy listens already (else Linux lets both share the port).
    `xds_directory`: where Envoy reads listener, routes and providers while it runs; None has them in the bootstrap.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"
    admin_port: int = 9901
    sidecars: tuple[str, ...] = ("127.0.0.1:9000",)
    access_log: str | None = "/dev/stdout"
    ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    idle_timeout: timedelta = _IDLE
    exclusive_port: bool = False
    xds_directory: str | None = None


def gateway_listener(config: Config, options: Options, limit: int) -> listener_v3.Listener:
    return listener_v3.Listener(
        name="ai_proxy",
        address=socket_address(options.host, options.port),
        per_connection_buffer_limit_bytes=limit,
        enable_reuse_port=False if options.exclusive_port else None,
        filter_chains=[listener_v3.FilterChain(filters=[_filter(_connection_manager(config, options))])],
    )


def _connection_manager(config: Config, options: Options) -> hcm.HttpConnectionManager:
    filters: list[tuple[str, Message]] = [
        ("envoy.filters.http.set_filter_state", _remember_path()),
        ("envoy.filters.http.ext_proc", _ext_proc(config)),
        ("envoy.filters.http.router", router.Router(suppress_envoy_headers=True)),
    ]
    if config.cors_origins:
        filters.insert(0, ("envoy.filters.http.cors", cors.Cors()))
    return hcm.HttpConnectionManager(
        stat_prefix=STAT_PREFIX,
        codec_type=hcm.HttpConnectionManagerCodecType.AUTO,
        route_config=gateway_routes(config, options) if options.xds_directory is None else None,
        rds=_watched_routes(options.xds_directory) if options.xds_directory is not None else None,
        http_filters=[hcm.HttpFilter(name=name, typed_config=packed(typed)) for name, typed in filters],
        access_log=access_logs(options.access_log),
        local_reply_config=local_replies(),
        server_header_transformation=hcm.HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH,
        # The peer is the client and nobody is internal: x-envoy-* of clients are dropped. Vendors learn no addresses.
        use_remote_address=True,
        skip_xff_append=True,
        internal_address_config=hcm.HttpConnectionManagerInternalAddressConfig(),
        preserve_external_request_id=True,
        early_header_mutation_extensions=[_strip_internal_headers()],
        # The path reaches the sidecar as it was sent: `pathPrefix` compares it raw, and dot segments are its to refuse.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action=hcm.HttpConnectionManagerPathWithEscapedSlashesAction.KEEP_UNCHANGED,
        max_request_headers_kb=96,
        # nginx in front speaks HTTP/1.0 unless told otherwise.
        http_protocol_options=core.Http1ProtocolOptions(accept_http_10=True),
        # A model may think for minutes before its first byte; only silence ends an exchange.
        stream_idle_timeout=options.idle_timeout,
        request_timeout=timedelta(0),
        request_headers_timeout=timedelta(seconds=60),
    )


def _strip_internal_headers() -> core.TypedExtensionConfig:
    removal = mutation.HeaderMutation(
        remove_on_match=mutation.HeaderMutationRemoveOnMatch(
            key_matcher=matcher.StringMatcher(prefix=INTERNAL_PREFIX, ignore_case=True)
        )
    )
    return core.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=packed(early.HeaderMutation(mutations=[removal])),
    )


def _remember_path() -> set_filter_state.Config:
    """The client's path for the access log: `:path` is the vendor's by the time the log is written."""
    return set_filter_state.Config(
        on_request_headers=[
            filter_state.FilterStateValue(
                object_key=f"{NAMESPACE}.path",
                factory_key="envoy.string",
                format_string=text_format("%PATH(NQ)%"),
            )
        ]
    )


def _ext_proc(config: Config) -> ext_proc.ExternalProcessor:
    by_gateway_names = any(r.match.ingress or r.match.services for r in config.effective_routes)
    return ext_proc.ExternalProcessor(
        grpc_service=sidecar_service(),
        failure_mode_allow=False,  # true would send untranslated bodies and the client's credentials to a vendor
        allow_mode_override=True,
        message_timeout=_SIDECAR_TIMEOUT,
        processing_mode=_processing_mode(ext_proc.ProcessingModeBodySendMode.BUFFERED),
        mutation_rules=mutation.HeaderMutationRules(allow_all_routing=True),  # without it :authority stays
        metadata_options=ext_proc.MetadataOptions(
            receiving_namespaces=ext_proc.MetadataOptionsMetadataNamespaces(untyped=[NAMESPACE])
        ),
        request_attributes=["xds.route_name", "xds.cluster_name"] if by_gateway_names else [],
        response_attributes=["response.code_details"],
    )


def _processing_mode(request_body: ext_proc.ProcessingModeBodySendMode) -> ext_proc.ProcessingMode:
    """What the sidecar gets unless it says otherwise; answers' bodies only ever on request."""
    send = ext_proc.ProcessingModeHeaderSendMode.SEND
    skip = ext_proc.ProcessingModeHeaderSendMode.SKIP
    return ext_proc.ProcessingMode(
        request_header_mode=send,
        request_body_mode=request_body,
        request_trailer_mode=skip,
        response_header_mode=skip,  # until the sidecar asks for them: see wire.py
        response_body_mode=ext_proc.ProcessingModeBodySendMode.NONE,
        response_trailer_mode=skip,
    )


def _watched_routes(directory: str) -> hcm.Rds:
    return hcm.Rds(config_source=watched_file(directory, ROUTES_FILE), route_config_name="ai_proxy")


def gateway_routes(config: Config, options: Options) -> route_v3.RouteConfiguration:
    # Without the header there is no such cluster, and Envoy answers 500. (A last route with a direct response would say
    # that more plainly, but the CORS filter is bypassed for those.)
    read = _route("ai_proxy:read", route_v3.RouteMatch(prefix="/"), options)
    upload = _route("ai_proxy:upload", route_v3.RouteMatch(prefix="/", headers=_upload_headers()), options)
    streamed = ext_proc.ExtProcOverrides(processing_mode=_processing_mode(ext_proc.ProcessingModeBodySendMode.NONE))
    upload.typed_per_filter_config = {
        "envoy.filters.http.ext_proc": packed(ext_proc.ExtProcPerRoute(overrides=streamed))
    }
    return route_v3.RouteConfiguration(
        name="ai_proxy",
        virtual_hosts=[
            route_v3.VirtualHost(
                name="ai_proxy",
                domains=["*"],
                routes=[upload, read],
                typed_per_filter_config=_cors_policy(config.cors_origins),
            )
        ],
    )


def _route(name: str, match: route_v3.RouteMatch, options: Options) -> route_v3.Route:
    """To the cluster that the sidecar names."""
    return route_v3.Route(
        name=name,
        match=match,
        route=route_v3.RouteAction(
            cluster_header=CLUSTER_HEADER,
            cluster_not_found_response_code=route_v3.RouteActionClusterNotFoundResponseCode.INTERNAL_SERVER_ERROR,
            timeout=timedelta(0),
            idle_timeout=options.idle_timeout,
        ),
        # x-envoy-external-address and x-envoy-internal are Envoy's own notes about the client.
        request_headers_to_remove=[
            CLUSTER_HEADER,
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-real-ip",
            "forwarded",
            "x-envoy-external-address",
            "x-envoy-internal",
        ],
        # What a vendor says of its own origin is not true of this one.
        response_headers_to_remove=[
            "alt-svc",
            "strict-transport-security",
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "access-control-allow-headers",
            "access-control-allow-methods",
            "access-control-expose-headers",
            "access-control-max-age",
        ],
    )


def _upload_headers() -> list[route_v3.HeaderMatcher]:
    """Bodies that are streamed past the sidecar: neither JSON by their type nor by their API.

    They have a route of their own because Envoy holds what arrives before the sidecar's first answer, and where it
    expects to buffer the body it refuses (413) one that outgrows the buffer meanwhile; else it reads no further.
    """
    json_type = r"(?i)\s*(application/json|[^;]*\+json)?\s*(;.*)?"
    json_api = rf"[^?]*/({'|'.join(map(re.escape, sorted(JSON_APIS)))})/*(\?.*)?"
    return [
        route_v3.HeaderMatcher(name="content-type", present_match=True),
        route_v3.HeaderMatcher(name="content-type", string_match=regex(json_type), invert_match=True),
        route_v3.HeaderMatcher(name=":path", string_match=regex(json_api), invert_match=True),
    ]


def _cors_policy(origins: Sequence[str]) -> dict[str, protobuf.Any]:
    if not origins:
        return {}
    policy = cors.CorsPolicy(
        allow_origin_string_match=[_origin(origin) for origin in origins],
        allow_methods="GET, POST, DELETE, OPTIONS",
        # `*` covers what SDKs add (x-stainless-*, openai-*), but never authorization (Fetch standard).
        allow_headers="authorization, content-type, *",
        expose_headers="*",
        max_age="86400",
        allow_credentials=False,
        forward_not_matching_preflights=False,
    )
    return {"envoy.filters.http.cors": packed(policy)}


def _origin(origin: str) -> matcher.StringMatcher:
    if "*" not in origin:
        return matcher.StringMatcher(exact=origin)
    if origin == "*":
        return regex(".*")
    pattern = r"[A-Za-z0-9.-]+".join(re.escape(part) for part in origin.split("*"))
    return regex(pattern)


def _filter(manager: hcm.HttpConnectionManager) -> listener_v3.Filter:
    return listener_v3.Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
