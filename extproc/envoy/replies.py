"""What Envoy says itself: its own error answers, and the access log.

Rule: OpenAI's error form, and nothing of Envoy's wording: it names addresses and TLS details.
"""

from collections.abc import Mapping
import json
from typing import Final

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.access_loggers.file import v3 as file_log
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel import v3 as cel
from envoy_data_plane.envoy.extensions.access_loggers.stream import v3 as stream_log
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.google import protobuf

from extproc.envoy.parts import packed, text_format
from extproc.terms.agreed import DETAILS, NAMESPACE
from extproc.terms.errors import type_of

_METADATA_KEYS = (
    "client",
    "route",
    "provider",
    "model",
    "upstream_model",
    "error",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
)


OWN_REPLIES: Final[Mapping[int, tuple[str, str]]] = {
    408: ("request_timeout", "the request did not arrive in time"),
    413: ("request_too_large", "the request body is too large"),
    429: ("rate_limit_exceeded", "too many requests"),
    431: ("request_headers_too_large", "the request headers are too large"),
    502: ("bad_upstream_response", "the model vendor's answer cannot be read"),
    503: ("upstream_unavailable", "the model vendor cannot be reached"),
    504: ("upstream_timeout", "no answer in time"),
}
"""status → code, message. Nothing of Envoy's wording: it names addresses and TLS details."""


_COME_BACK: Final = core.HeaderValueOption(
    header=core.HeaderValue(key="retry-after", value="1"),
    append_action=core.HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
)
"""Codex ends at once where a 429 or 503 does not say when to ask again (0.171, 2026-11)."""


def local_replies() -> hcm.LocalReplyConfig:
    """Every reply that Envoy makes itself becomes an OpenAI error; those of the sidecar are left alone."""
    mappers = [
        _reply(f"response.code == {status}", status, code, message) for status, (code, message) in OWN_REPLIES.items()
    ]
    too_long = _reply("response.code_details == 'response_payload_too_large'", 502, *OWN_REPLIES[502])
    too_long.status_code = 502  # Envoy's own is 500; the vendor is at fault
    mappers.insert(0, too_long)
    mappers.append(_reply("response.code >= 500", 500, "internal_error", "the gateway could not handle the request"))
    mappers.append(_reply("response.code >= 400", 400, "invalid_request", "the request cannot be handled"))
    return hcm.LocalReplyConfig(mappers=mappers)


def _reply(condition: str, status: int, code: str, message: str) -> hcm.ResponseMapper:
    error = {"message": message, "type": type_of(status), "param": None, "code": code}
    body_format = text_format(json.dumps({"error": error}))
    body_format.content_type = "application/json"
    return hcm.ResponseMapper(
        filter=accesslog.AccessLogFilter(
            extension_filter=accesslog.ExtensionFilter(
                name="envoy.access_loggers.extension_filters.cel",
                typed_config=packed(
                    cel.ExpressionFilter(expression=f"{condition} && response.code_details != '{DETAILS}'")
                ),
            )
        ),
        body_format_override=body_format,
        headers_to_add=[_COME_BACK] if status in (429, 503) else [],
    )


def access_logs(path: str | None) -> list[accesslog.AccessLog]:
    if path is None:
        return []
    entry: dict[str, str] = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": f"%FILTER_STATE({NAMESPACE}.path:PLAIN)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "upstream": "%UPSTREAM_CLUSTER_RAW%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        **{key: f"%DYNAMIC_METADATA({NAMESPACE}:{key})%" for key in _METADATA_KEYS},
    }
    log_format = core.SubstitutionFormatString(json_format=protobuf.Struct.from_dict(entry))
    if path == "/dev/stdout":  # the extension also writes where stdout is a socket, which cannot be opened by name
        stdout = stream_log.StdoutAccessLog(log_format=log_format)
        return [accesslog.AccessLog(name="envoy.access_loggers.stdout", typed_config=packed(stdout))]
    file = file_log.FileAccessLog(path=path, log_format=log_format)
    return [accesslog.AccessLog(name="envoy.access_loggers.file", typed_config=packed(file))]
