"""The error tree. Every error knows its HTTP status and its OpenAI body; nothing else writes error JSON.

    ProxyError
    ├── ClientError            4xx: the client can mend it
    │   ├── BadJson 400 · TooManyValues 400 · MissingParameter 400 · InvalidParameter 400 · MethodNotAllowed 405
    │   ├── InvalidApiKey 401 · ModelNotAllowed 403 · TooLarge 413 · PathTooLong 414
    │   ├── UnsupportedEncoding 415 · QuotaExceeded 429 · InsufficientQuota 429
    │   └── UnknownPath 404 · NoRoute 404 · UnsupportedApi 404 · ModelNotFound 404
    ├── UpstreamError          the vendor said no; its status is kept
    ├── VendorAuth             502: the vendor refuses the gateway's key, which is no fault of the client's
    ├── BadUpstreamResponse    502: the vendor's answer cannot be read
    ├── StreamTruncated        502: the vendor's stream ended too early
    ├── ContextUnavailable     503: a configured context text is not there
    ├── LimitsUnknown          503: it is not known what is left of the request's limits
    ├── TokenUnavailable       503: a token that a vendor's login makes is not there
    ├── Overloaded             503: more requests at a time than are allowed
    ├── Changing               503: Envoy and we have different configurations for a moment
    ├── SeveralVendors         500: a route of a gateway that is not ours would be one of several vendors'
    └── InternalError          500: our own fault

Messages never quote bodies or keys.
"""

from collections.abc import Mapping
import math
import re

from extproc.terms import pauses
from extproc.text import jsontext


class ProxyError(Exception):
    """An error that reaches the client as `{"error": {message, type, param, code}}` with `status` and `headers`."""

    status = 500
    type = "server_error"
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param or self.param

    def body(self) -> bytes:
        """The OpenAI error document, JSON."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return jsontext.dump({"error": error})


class ClientError(ProxyError):
    status = 400
    type = "invalid_request_error"


class BadJson(ClientError):
    code = "invalid_json"


class TooManyValues(ClientError):
    code = "too_many_values"


class MissingParameter(ClientError):
    code = "missing_required_parameter"


class InvalidParameter(ClientError):
    code = "invalid_parameter"


class InvalidApiKey(ClientError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class ModelNotAllowed(ClientError):
    status = 403
    type = "permission_error"
    code = "model_not_allowed"
    param = "model"


class TooLarge(ClientError):
    status = 413
    code = "request_too_large"


class PathTooLong(ClientError):
    status = 414
    code = "path_too_long"


class MethodNotAllowed(ClientError):
    status = 405
    code = "method_not_allowed"


class UnsupportedEncoding(ClientError):
    status = 415
    code = "unsupported_content_encoding"


class UnknownPath(ClientError):
    status = 404
    code = "unknown_url"


class NoRoute(ClientError):
    status = 404
    code = "no_route"


class UnsupportedApi(ClientError):
    status = 404
    code = "unsupported_api"


class ModelNotFound(ClientError):
    status = 404
    code = "model_not_found"
    param = "model"


class QuotaExceeded(ClientError):
    """A limit of the gateway's own is reached. `wait`: seconds until it has room again. Where these are many, SDKs are
    told not to wait, since some sleep them out (`pauses.MOST_TOLD`); programs that read it know when to come back."""

    status = 429
    type = "rate_limit_error"
    code = "quota_exceeded"

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.headers = {"retry-after": str(max(1, math.ceil(wait)))}
        if wait > pauses.MOST_TOLD:
            self.headers = {**self.headers, "x-should-retry": "false"}


class InsufficientQuota(QuotaExceeded):
    """The same of a budget in money."""

    type = "insufficient_quota"
    code = "insufficient_quota"


class UpstreamError(ProxyError):
    """A vendor's refusal in OpenAI form.

    `document`: the vendor's own error body where it is already in OpenAI form, passed on unchanged.
    `code` goes into logs too: what is no plain text is left out.
    `rests`: seconds for which the key is no use: what the vendor refuses it for will not pass by itself.
    """

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        type: str | None = None,
        code: str | None = None,
        document: bytes | None = None,
        rests: float = 0.0,
    ) -> None:
        super().__init__(message, code=code if code and code.isprintable() else None)
        self.status = status
        self.rests = rests
        self.type = type or type_of(status)
        self.document = document

    def body(self) -> bytes:
        return self.document if self.document is not None else super().body()


_GONE = frozenset(
    "model_not_found modelnotfound model_not_supported model_not_exist deploymentnotfound model.accessdenied "
    "model_access_denied resource_not_found_error".split()
)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,120}?(not exist|not found|no access|not have access|access denied|is not available|retired)"
    r"|not found the model",
    re.IGNORECASE | re.DOTALL,
)


def lacks_model(error: UpstreamError) -> bool:
    """Whether a vendor says that it has no such model, or none for this key: by its code, or by its words."""
    if error.status not in (400, 403, 404, 410):
        return False
    words = error.message or jsontext.peek(error.document or b"", "error", "message")
    return (error.code or "").lower() in _GONE or (isinstance(words, str) and bool(_NO_MODEL.search(words)))


class VendorAuth(ProxyError):
    """Not 401: programs take that for their own key and ask their user for another one (NextChat 2.16: its access
    code), which would help nobody."""

    status = 502
    code = "vendor_auth"

    def __init__(self, provider: str, said: str) -> None:
        told = f"the model vendor refused the gateway's own key for provider {provider!r} (not yours)"
        super().__init__(f"{told}: {said}" if said else told)


class BadUpstreamResponse(ProxyError):
    status = 502
    code = "bad_upstream_response"


class StreamTruncated(ProxyError):
    status = 502
    code = "stream_truncated"


class ContextUnavailable(ProxyError):
    status = 503
    code = "context_unavailable"


class LimitsUnknown(ProxyError):
    status = 503
    code = "limits_unknown"


class TokenUnavailable(ProxyError):
    status = 503
    code = "token_unavailable"


class Overloaded(ProxyError):
    status = 503
    code = "overloaded"


class Changing(ProxyError):
    status = 503
    code = "configuration_changing"

    def __init__(self) -> None:
        super().__init__("the gateway's configuration is changing; try again")


class SeveralVendors(ProxyError):
    code = "several_vendors"

    def __init__(self) -> None:
        super().__init__("this route of the gateway leads to several vendors: give each vendor a route of its own")


class InternalError(ProxyError):
    code = "internal_error"


_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def type_of(status: int) -> str:
    """OpenAI's error `type` for an HTTP status."""
    return _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
