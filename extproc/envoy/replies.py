"""What Envoy says itself: its own error answers, and the access log.

Rule: OpenAI's error form, and nothing of Envoy's wording: it names addresses and TLS details.
"""

from collections.abc import Mapping
from typing import Final

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.access_loggers.file import v3 as file_log
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel import v3 as cel
from envoy_data_plane.envoy.extensions.access_loggers.stream import v3 as stream_log
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.google import protobuf

from extproc.envoy.parts import packed
from extproc.envoy.placement import Placement
from extproc.terms.agreed import DETAILS, NAMESPACE
from extproc.terms.ends import CLIENT_LEFT, SILENT, TIMED_OUT, UNAVAILABLE, VENDOR_CUT
from extproc.terms.errors import type_of

_METADATA_KEYS = (
    "client",
    "route",
    "provider",
    "model",
    "upstream_model",
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

_TRIED: Final = f"%UPSTREAM_METADATA({NAMESPACE}:provider)%"
"""The provider of the last attempt."""

_COME_BACK: Final = core.HeaderValueOption(
    header=core.HeaderValue(key="retry-after", value="1"),
    append_action=core.HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
)
"""Codex ends at once where a 429 or 503 does not say when to ask again (0.171, 2026-11)."""

_MEANT: Final = f"%CLUSTER_METADATA({NAMESPACE}:provider)%"
"""All that would have been tried, where nobody has an address."""

_DETAILS: Final = "response.code_details"
_NOBODY: Final = f"{_DETAILS} == 'no_healthy_upstream'"
_OWN: Final = f"response.code >= 400 && {_DETAILS} != 'via_upstream' && {_DETAILS} != '{DETAILS}'"
"""Envoy's own answers: neither a vendor's nor the sidecar's."""

_LEFT: Final = f"{_DETAILS}.startsWith('downstream_') || {_DETAILS}.startsWith('http2.remote_')"
_CUT: Final = f"{_DETAILS}.startsWith('upstream_reset_after_response_started')"
_BROKEN_OFF: Final = f"{_DETAILS}.startsWith('upstream_reset_before') && response.code == 502"
_SILENT: Final = f"{_DETAILS} == 'stream_idle_timeout'"
_NOBODY_S_END: Final = f"has({_DETAILS}) && ({_LEFT} || {_CUT} || {_SILENT})"
_SAID: Final = f"metadata.filter_metadata['{NAMESPACE}']"
_HOW: Final = (
    f"'{NAMESPACE}' in metadata.filter_metadata && 'error' in {_SAID} && {_SAID}['error'] != '' ? {_SAID}['error'] : "
    f"!has({_DETAILS}) ? {_SAID}['error'] : {_LEFT} ? '{CLIENT_LEFT}' : {_CUT} || {_BROKEN_OFF} ? '{VENDOR_CUT}' : "
    f"{_SILENT} ? '{SILENT}' : {_OWN} && response.code == 503 ? '{UNAVAILABLE}' : "
    f"{_OWN} && response.code == 504 ? '{TIMED_OUT}' : {_SAID}['error']"
)
"""The code of the error that ended an exchange: the sidecar's word, else who broke the connection, which the sidecar
cannot see, or what Envoy told the client. What is not there becomes null in the log; CEL's own null would be the text
NULL (Envoy 1.40)."""

_OVERFLOW: Final = f"{_DETAILS} == 'upstream_reset_before_response_started{{overflow}}'"
_NAMED: Final = (
    (_OVERFLOW, 503, "upstream_unavailable", f"{_TRIED} has as many requests as its circuitBreakers allow"),
    (_NOBODY, 503, "upstream_unavailable", f"the model vendor {_MEANT} cannot be reached"),
    ("response.code == 503 && response.code_details.startsWith('upstream_')", 503, "upstream_unavailable",
     f"the model vendor {_TRIED} cannot be reached"),
    ("response.code == 504 && response.code_details.startsWith('upstream_')", 504, "upstream_timeout",
     f"no answer in time from the model vendor {_TRIED}"),
)  # fmt: skip
"""Condition, status, code and message where it is known whose answer is missing; before those of `OWN_REPLIES`."""

ANTHROPIC_STATE: Final = f"{NAMESPACE}.anthropic"
"""The filter state that says whether a client speaks Anthropic's API."""

ANTHROPICS: Final = (
    "request.path.matches('^[^?]*/v1/+(v1/+)?messages([/?]|$)') || "
    "('anthropic-version' in request.headers && request.path.matches('^[^?]*/v1/+(v1/+)?models([/?]|$)'))"
)
"""Who does, in Envoy's expressions (CEL): what `terms/call.py` and `fronts/registry.py` decide for the sidecar."""

_ANTHROPICS: Final[Mapping[int, str]] = {413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}
"""status → Anthropic's error type, where it is not `api_error` or `invalid_request_error`."""


def local_replies(*, answer_headers: bool) -> hcm.LocalReplyConfig:
    """Every reply that Envoy makes itself becomes an error in the client's form; those of the sidecar are left alone.
    `answer_headers`: whether it says who was asked."""
    kinds = [
        (f"{_DETAILS} == 'response_payload_too_large'", 502, *OWN_REPLIES[502]),  # Envoy's own is 500
        *_NAMED,
        *((f"response.code == {status}", status, *reply) for status, reply in OWN_REPLIES.items()),
        ("response.code >= 500", 500, "internal_error", "the gateway could not handle the request"),
        ("response.code >= 400", 400, "invalid_request", "the request cannot be handled"),
    ]
    messages = f"filter_state['{ANTHROPIC_STATE}'] == b'true'"  # what filter state says is bytes to an expression
    mappers = []
    for condition, status, code, message in kinds:
        who = {"x-ai-provider": _MEANT if condition == _NOBODY else _TRIED, "x-ai-attempts": _ATTEMPTS}
        headers = who if answer_headers and _VENDOR in message else {}
        mapper = _reply(f"{condition} && {messages}", status, _anthropics(status, message), headers)
        mapper.headers_to_add.append(_header("request-id", _REQUEST_ID))
        mappers.append(mapper)
        mappers.append(_reply(condition, status, _openais(status, code, message), headers))
    for mapper in mappers[:2]:
        mapper.status_code = 502
    return hcm.LocalReplyConfig(mappers=mappers)


_VENDOR: Final = f"({NAMESPACE}:provider)%"
_ATTEMPTS: Final = "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
_REQUEST_ID: Final = "%REQ(X-REQUEST-ID)%"


def _openais(status: int, code: str, message: str) -> dict[str, object]:
    return {"error": {"message": message, "type": type_of(status), "param": None, "code": code}}


def _anthropics(status: int, message: str) -> dict[str, object]:
    kind = _ANTHROPICS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": _REQUEST_ID}


def _reply(condition: str, status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> hcm.ResponseMapper:
    hint = {"retry-after": "1"} if status == 503 else {}
    said = {"x-request-id": _REQUEST_ID, **headers, **hint}
    return hcm.ResponseMapper(
        filter=_where(f"{condition} && {_DETAILS} != '{DETAILS}'"),
        body_format_override=core.SubstitutionFormatString(
            json_format=protobuf.Struct.from_dict(dict(body)), content_type="application/json"
        ),
        headers_to_add=[*([_COME_BACK] if status in (429, 503) else []), *(_header(*each) for each in said.items())],
    )


def _header(name: str, value: str) -> core.HeaderValueOption:
    action = core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    return core.HeaderValueOption(header=core.HeaderValue(key=name, value=value), append_action=action)


def _where(condition: str) -> accesslog.AccessLogFilter:
    return accesslog.AccessLogFilter(
        extension_filter=accesslog.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=packed(cel.ExpressionFilter(expression=condition)),
        )
    )


# Logs


def access_logs(path: str | None, placement: Placement) -> list[accesslog.AccessLog]:
    """The access log, if there is one, and Envoy's own answers on its standard error, where `lines.py` reads them."""
    entry: dict[str, str] = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": _PATH,
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "upstream": "%UPSTREAM_CLUSTER_RAW%",
        "attempts": _ATTEMPTS,
        "request_id": _REQUEST_ID,
        **{key: f"%DYNAMIC_METADATA({NAMESPACE}:{key})%" for key in _METADATA_KEYS},
        "error": f"%CEL({_HOW})%",
    }
    # What the sidecar says of a request is not there where Envoy reached no vendor for it.
    route = "%ROUTE_NAME%" if placement == "upstream" else entry["route"]
    tried = {"route": route, "provider": _TRIED}
    meant = {"route": route, "provider": _MEANT}
    vendor = f"{_DETAILS}.startsWith('upstream_')"
    told = {
        "ai_proxy": "answer",
        "request_id": _REQUEST_ID,
        "path": _PATH,
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "attempts": _ATTEMPTS,
    }
    end = {"ai_proxy": "end", "request_id": _REQUEST_ID, "attempts": _ATTEMPTS, "error": f"%CEL({_HOW})%"}
    logs = [
        _stderr(end, _where(_NOBODY_S_END)),
        _stderr(told, _where(f"{_OWN} && !({_NOBODY} || {vendor})")),
        _stderr({**told, **tried}, _where(f"{_OWN} && {vendor}")),
        _stderr({**told, **meant}, _where(f"{_OWN} && {_NOBODY}")),
    ]
    if path is not None:
        unlike = f"!has({_DETAILS}) || !({_OWN} && ({_NOBODY} || {vendor}))"
        logs.append(_file(path, entry, _where(unlike)))
        logs.append(_file(path, {**entry, **tried}, _where(f"{_OWN} && {vendor}")))
        logs.append(_file(path, {**entry, **meant}, _where(f"{_OWN} && {_NOBODY}")))
    return logs


_PATH: Final = f"%FILTER_STATE({NAMESPACE}.path:PLAIN)%"


def attempt_logs() -> list[accesslog.AccessLog]:
    """For the router: each attempt that Envoy could not bring to an answer, on standard error."""
    entry = {
        "ai_proxy": "attempt",
        "request_id": _REQUEST_ID,
        "provider": _TRIED,
        "host": "%UPSTREAM_HOST_NAME%",
        "flags": "%RESPONSE_FLAGS%",
        "reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    }
    return [_stderr(entry, accesslog.AccessLogFilter(response_flag_filter=accesslog.ResponseFlagFilter()))]


def _stderr(entry: Mapping[str, str], condition: accesslog.AccessLogFilter) -> accesslog.AccessLog:
    stderr = stream_log.StderrAccessLog(log_format=_json(entry))
    return accesslog.AccessLog(name="envoy.access_loggers.stderr", filter=condition, typed_config=packed(stderr))


def _file(path: str, entry: Mapping[str, str], condition: accesslog.AccessLogFilter) -> accesslog.AccessLog:
    if path == "/dev/stdout":  # the extension also writes where stdout is a socket, which cannot be opened by name
        stdout = stream_log.StdoutAccessLog(log_format=_json(entry))
        return accesslog.AccessLog(name="envoy.access_loggers.stdout", filter=condition, typed_config=packed(stdout))
    file = file_log.FileAccessLog(path=path, log_format=_json(entry))
    return accesslog.AccessLog(name="envoy.access_loggers.file", filter=condition, typed_config=packed(file))


def _json(entry: Mapping[str, str]) -> core.SubstitutionFormatString:
    return core.SubstitutionFormatString(json_format=protobuf.Struct.from_dict(dict(entry)))
