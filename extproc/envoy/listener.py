"""The listener: how clients are met, and what the filters in front of the routes do."""

from datetime import timedelta
from typing import Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener_v3
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state import v3 as filter_state
from envoy_data_plane.envoy.extensions.filters.http.buffer import v3 as buffer
from envoy_data_plane.envoy.extensions.filters.http.cors import v3 as cors
from envoy_data_plane.envoy.extensions.filters.http.json_to_metadata import v3 as json_to_metadata
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state import v3 as set_filter_state
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.formatter.cel import v3 as cel_formatter
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from extproc.config.config import Config
from extproc.envoy.counting import counting, is_wanted
from extproc.envoy.known import KNOWN_FILTER, known_keys, unless_known
from extproc.envoy.options import Options
from extproc.envoy.parts import ROUTES_FILE, packed, socket_address, text_format, watched_file
from extproc.envoy.processor import (
    DOOR_FILTER,
    FILTER,
    LOCAL_FILTER,
    door_processor,
    listener_processor,
    local_processor,
)
from extproc.envoy.replies import ANTHROPIC_STATE, ANTHROPICS, access_logs, attempt_logs, local_replies
from extproc.envoy.routes import BODY_FILTER, BUFFER_FILTER, route_configuration
from extproc.envoy.tracing import hcm_tracing
from extproc.terms.agreed import BODY, CLIENT_HEADERS, CLIENT_STATE, NAMESPACE, STRIPPED, envoy_buffer

STAT_PREFIX: Final = "ai_proxy"


def gateway_listener(config: Config, options: Options, limit: int) -> listener_v3.Listener:
    return listener_v3.Listener(
        name="ai_proxy",
        address=socket_address(options.host, options.port),
        per_connection_buffer_limit_bytes=limit,
        filter_chains=[listener_v3.FilterChain(filters=[_filter(_connection_manager(config, options))])],
    )


def _connection_manager(config: Config, options: Options) -> hcm.HttpConnectionManager:
    filters = _filters_upstream(config) if options.placement == "upstream" else _filters_listener(config)
    filters.append(
        _http_filter(
            "envoy.filters.http.router", router.Router(suppress_envoy_headers=True, upstream_log=attempt_logs())
        )
    )
    if config.cors_origins:
        filters.insert(0, _http_filter("envoy.filters.http.cors", cors.Cors()))
    return hcm.HttpConnectionManager(
        stat_prefix=STAT_PREFIX,
        codec_type=hcm.HttpConnectionManagerCodecType.AUTO,
        route_config=route_configuration(config, options) if options.xds_directory is None else None,
        rds=_watched_routes(options.xds_directory) if options.xds_directory is not None else None,
        http_filters=filters,
        access_log=access_logs(options.access_log, options.placement),
        tracing=hcm_tracing(config),
        local_reply_config=local_replies(answer_headers=config.answer_headers),
        server_header_transformation=hcm.HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH,
        # The peer is the client. Vendors learn no addresses.
        use_remote_address=True,
        skip_xff_append=True,
        internal_address_config=_nobody(),
        preserve_external_request_id=True,
        early_header_mutation_extensions=[_strip_headers()],
        # The path reaches the sidecar as it was sent: `pathPrefix` compares it raw, and dot segments are its to refuse.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action=hcm.HttpConnectionManagerPathWithEscapedSlashesAction.KEEP_UNCHANGED,
        max_request_headers_kb=96,
        # nginx in front speaks HTTP/1.0 unless told otherwise.
        http_protocol_options=core.Http1ProtocolOptions(accept_http_10=True),
        # A model may think for minutes before its first byte; only silence ends an exchange.
        stream_idle_timeout=timedelta(seconds=config.stream_idle_timeout),
        request_timeout=timedelta(0),
        request_headers_timeout=timedelta(seconds=60),
    )


def _nobody() -> hcm.HttpConnectionManagerInternalAddressConfig:
    """Who is of Envoy's own fleet: broadcast. Without ranges it is every private address (Envoy 1.40)."""
    broadcast = core.CidrRange(address_prefix="255.255.255.255", prefix_len=32)
    return hcm.HttpConnectionManagerInternalAddressConfig(cidr_ranges=[broadcast])


def _strip_headers() -> core.TypedExtensionConfig:
    """Before anything reads them, Envoy itself included: its router lets `x-envoy-*` set retries and time limits."""

    def removal(prefix: str) -> mutation.HeaderMutation:
        key = matcher.StringMatcher(prefix=prefix, ignore_case=True)
        return mutation.HeaderMutation(remove_on_match=mutation.HeaderMutationRemoveOnMatch(key_matcher=key))

    return core.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=packed(early.HeaderMutation(mutations=list(map(removal, STRIPPED)))),
    )


def _http_filter(name: str, config: Message) -> hcm.HttpFilter:
    return hcm.HttpFilter(name=name, typed_config=packed(config))


def _watched_routes(directory: str) -> hcm.Rds:
    return hcm.Rds(config_source=watched_file(directory, ROUTES_FILE), route_config_name="ai_proxy")


def _filters_listener(config: Config) -> list[hcm.HttpFilter]:
    """The sidecar sees every request once, and chooses."""
    remember = _http_filter("envoy.filters.http.set_filter_state", _remember(_path(), _anthropic()))
    return [remember, _http_filter(FILTER, listener_processor(config)), *counting(wanted=is_wanted(config.providers))]


def _filters_upstream(config: Config) -> list[hcm.HttpFilter]:
    """Envoy chooses, knowing model and stream from the body; the sidecar sees each attempt in the provider's cluster,
    and here only what no provider is to get."""
    door = []
    if config.clients:
        door = [_http_filter(KNOWN_FILTER, known_keys()), _http_filter(DOOR_FILTER, unless_known(door_processor()))]
    return [
        *door,
        _http_filter("envoy.filters.http.set_filter_state", _remember(_path(), _anthropic(), _client())),
        _http_filter(BODY_FILTER, _read_body()),
        hcm.HttpFilter(name=BUFFER_FILTER, typed_config=packed(_awaited(config)), disabled=True),
        _http_filter(LOCAL_FILTER, local_processor(config)),
    ]


def _remember(*values: filter_state.FilterStateValue) -> set_filter_state.Config:
    return set_filter_state.Config(on_request_headers=list(values))


def _path() -> filter_state.FilterStateValue:
    """The client's path for the access log: `:path` is the vendor's by the time the log is written."""
    return filter_state.FilterStateValue(
        object_key=f"{NAMESPACE}.path",
        factory_key="envoy.string",
        format_string=text_format("%PATH(NQ)%"),
    )


def _anthropic() -> filter_state.FilterStateValue:
    """In whose form Envoy's own errors are: by the client's path and head, which a vendor's take the place of."""
    cel = core.TypedExtensionConfig(name="envoy.formatter.cel", typed_config=packed(cel_formatter.Cel()))
    text = text_format(f"%CEL({ANTHROPICS})%")
    text.formatters.append(cel)  # newer versions know it without being told
    return filter_state.FilterStateValue(object_key=ANTHROPIC_STATE, factory_key="envoy.string", format_string=text)


def _client() -> filter_state.FilterStateValue:
    """What later attempts need as it was, and a random id that all attempts share."""
    fields = {name: f"%REQ({name.upper()})%" for name in CLIENT_HEADERS}
    return filter_state.FilterStateValue(
        object_key=CLIENT_STATE,
        factory_key="envoy.string",
        format_string=core.SubstitutionFormatString(
            json_format=protobuf.Struct.from_dict({**fields, "id": "%UNIQUE_ID%"}), omit_empty_values=True
        ),
    )


def _awaited(config: Config) -> buffer.Buffer:
    return buffer.Buffer(max_request_bytes=envoy_buffer(config.max_body_bytes))


def _read_body() -> json_to_metadata.JsonToMetadata:
    """`model` and `stream` of every body that the sidecar would read too; bodies that it would not have routes of their
    own, where this is off."""

    def rule(key: str) -> json_to_metadata.JsonToMetadataRule:
        pair = json_to_metadata.JsonToMetadataKeyValuePair
        return json_to_metadata.JsonToMetadataRule(
            selectors=[json_to_metadata.JsonToMetadataSelector(key=key)],
            on_present=pair(metadata_namespace=BODY, key=key),
            on_error=pair(metadata_namespace=BODY, key="unread", value=protobuf.Value(bool_value=True)),
        )

    return json_to_metadata.JsonToMetadata(
        request_rules=json_to_metadata.JsonToMetadataMatchRules(
            rules=[rule("model"), rule("stream")],
            allow_empty_content_type=True,
            allow_content_types_regex=matcher.RegexMatcher(regex=".*"),
        )
    )


def _filter(manager: hcm.HttpConnectionManager) -> listener_v3.Filter:
    return listener_v3.Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
