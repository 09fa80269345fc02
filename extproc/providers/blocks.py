"""The small configuration types that every block is made of.

Rule: what is wrong is said by pydantic, with the key; files, lines and the environment belong to `load.py`.
Keys are Higress' camelCase names; Python sees snake_case.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
import math
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from extproc.text.patterns import ModelMapping, NamePatterns, compiled, host_pattern


class Block(BaseModel):
    """A frozen mapping of the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, arbitrary_types_allowed=True)


Resolve = Callable[[str], list[str]]
"""Turns one entry of `apiTokens` (a literal, `${NAME}` or `file:PATH`) into tokens; `ValueError` says why not."""


_TEXT, _TEXTS, _TEXT_BY_TEXT = TypeAdapter(str), TypeAdapter(list[str]), TypeAdapter(dict[str, str])
# What these find wrong is an error of pydantic's at the entry that is wrong.


def tokens(value: Any, info: ValidationInfo) -> list[str]:
    """The secrets that an entry or a list of them stands for. Raises `ValueError`, which never quotes one."""
    resolve: Resolve = (info.context or {}).get("resolve", lambda text: [text.strip()])
    entries = _TEXTS.validate_python(value) if isinstance(value, list | Mapping) else [_TEXT.validate_python(value)]
    found = [token for entry in entries for token in resolve(entry)]
    for token in found:
        if not token or not is_plain(token):
            raise ValueError("a token is empty or has characters that an HTTP header cannot carry")
    return found


Tokens = Annotated[
    tuple[SecretStr, ...],
    BeforeValidator(tokens, json_schema_input_type=str | list[str]),
]
"""Secrets, stripped and resolved when loaded. Never printed: their `repr` is stars."""


def secret(value: Any, info: ValidationInfo) -> Any:
    """The one secret that an entry stands for, which may have any characters: a document, say."""
    if value is None or isinstance(value, SecretStr):
        return value
    whole: Resolve = (info.context or {}).get("whole", lambda text: [text.strip()])
    (found,) = whole(_TEXT.validate_python(value))
    if not found:
        raise ValueError("is empty: it must be a secret, as text, ${NAME} or file:PATH")
    return found


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value)):
        return float(match[1]) * _UNITS[match[2]]
    return value


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": r"^\d+(\.\d+)?(ms|s|m|h)?$"}),
]
"""A duration: a number of seconds or text such as `500ms`, `30s`, `5m`, `1h`."""


_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _bytes(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([KMG]iB)", value)):
        return int(match[1]) * _SIZES[match[2]]
    return value


Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(gt=0),
    WithJsonSchema({"type": ["integer", "string"], "exclusiveMinimum": 0, "pattern": r"^\d+[KMG]iB$"}),
]
"""A size: a number of bytes or text such as `512MiB`."""


def is_plain(text: str) -> bool:
    """Whether a header can carry the text as it is; what of a URL is not ASCII is written as %XX (RFC 3986, 2.1)."""
    return text.isascii() and text.isprintable() and " " not in text


ID = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What a provider may be called: Envoy's names and log lines have it."""


def _filled(value: Any, info: ValidationInfo) -> Any:
    fill: Callable[[str], str] = (info.context or {}).get("fill", str)
    return fill(value) if isinstance(value, str) else value


Filled = BeforeValidator(_filled, json_schema_input_type=str)
"""For a URL that may hold a secret: `${NAME}` in its login or query is read from the environment."""


def http_parts(url: str) -> SplitResult:
    """Of an http URL with a host. Raises `ValueError` in our own words: urllib's quote what may be a password."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    raise ValueError("must be a URL such as https://host:port/path")


def _http_url(value: str) -> str:
    http_parts(value)
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def origin_url(value: str) -> str:
    """An address alone, in its plain form. Raises `ValueError`."""
    parts = http_parts(value)
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or not is_plain(value):
        raise ValueError("must be a bare http:// or https:// address: host and port, no path")
    return f"{parts.scheme}://{parts.netloc}"


OriginUrl = Annotated[str, AfterValidator(origin_url)]


def _mapping(value: Any) -> Any:
    if isinstance(value, ModelMapping):
        return value
    return ModelMapping(_TEXT_BY_TEXT.validate_python(value))


Mapped = Annotated[
    ModelMapping,
    BeforeValidator(_mapping, json_schema_input_type=dict[str, str]),
]


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model shall think, as OpenAI's `reasoning_effort` says it."""


def _patterns(value: Any) -> Any:
    if isinstance(value, NamePatterns):
        return value
    patterns = _TEXTS.validate_python(value)
    if "" in patterns:
        raise ValueError("a model name pattern must not be empty")
    return NamePatterns(patterns)


Patterns = Annotated[
    NamePatterns,
    BeforeValidator(_patterns, json_schema_input_type=list[str]),
]


# Conditions: one that no request can meet is a mistake


HostPattern = Annotated[str, AfterValidator(host_pattern)]


def _path_prefix(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError(f"no path begins with {value!r}: the first character must be /")
    return value


PathPrefix = Annotated[str, AfterValidator(_path_prefix)]

_HEADER_NAME = re.compile(r":(?:method|scheme|authority|path)|[\w!#$%&'*+.^`|~-]+", re.ASCII)


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"no header has the name {name!r}")
        if text != text.strip() or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
            raise ValueError(f"{name}: no header has such a value: a control character in it, or white space around it")
    lower = {name.lower(): text for name, text in value.items()}
    if len(lower) < len(value):
        raise ValueError("two names differ in case only, so they are the same header")
    return lower


Headers = Annotated[dict[str, str], AfterValidator(_headers)]


class Tls(Block):
    """How a vendor's certificate is verified. `caFile`: PEM bundle that replaces the system's."""

    ca_file: str | None = None


class Recycle(Block):
    """When a worker process is replaced by a new one, one at a time. `maxAge`: how long one lives. `maxMemory`: what
    it may hold of the machine's memory."""

    max_age: Seconds | None = None
    max_memory: Bytes | None = None


class ContextFile(Block):
    """`context`: a text that goes in as a system message before the first non-system one.

    `fileUrl`: http(s):// or file://. `refresh`: how often it is fetched again. `maxBytes`: longest text taken.
    Higress' `serviceName` and `servicePort` are accepted and not needed.
    """

    file_url: Annotated[str, Filled]
    refresh: Seconds = 300.0
    max_bytes: int = Field(default=1 << 20, gt=0)
    service_name: str | None = None
    service_port: int | None = None

    @field_validator("file_url")
    @classmethod
    def _scheme(cls, value: str) -> str:
        if value.startswith("file://"):
            return value
        return _http_url(value)


def _statuses(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        compiled(value)
    return values


Statuses = Annotated[tuple[str, ...], AfterValidator(_statuses)]
"""RE2 expressions that a whole status must match: `4.*` is 400 to 499."""


class Failover(Block):
    """Higress' `failover`: a key that fails `failureThreshold` times in a row is set aside, for `cooldownDuration`, or
    until `successThreshold` health checks with `healthCheckModel` succeed. Durations are milliseconds."""

    enabled: bool = False
    failure_threshold: int = Field(default=3, ge=1)
    success_threshold: int = Field(default=1, ge=1)
    health_check_interval: int = Field(default=5000, ge=100)
    health_check_timeout: int = Field(default=5000, ge=1)
    health_check_model: str | None = None
    cooldown_duration: int = Field(default=0, ge=0)
    failover_on_status: Statuses = ("4.*", "5.*")

    @model_validator(mode="after")
    def _comes_back(self) -> Self:
        if self.enabled and not self.health_check_model and not self.cooldown_duration:
            raise ValueError("needs cooldownDuration or healthCheckModel: else a key that is set aside stays so")
        return self

    def counts(self, status: int) -> bool:
        """Whether an answer with this status is a failure of its key."""
        return any(compiled(pattern).fullmatch(str(status)) for pattern in self.failover_on_status)

    @property
    def pause(self) -> float:
        """Seconds that a key is set aside; infinite where health checks bring it back."""
        return math.inf if self.checks else self.cooldown_duration / 1000

    @property
    def checks(self) -> bool:
        """Whether health checks bring keys back."""
        return self.enabled and bool(self.health_check_model) and not self.cooldown_duration


class RetryOnFailure(Block):
    """Higress' `retryOnFailure`: a refused request is tried again with another key of the provider. Milliseconds."""

    enabled: bool = False
    max_retries: int = Field(default=1, ge=1, le=19)
    retry_timeout: int = Field(default=60_000, ge=1)
    retry_on_status: Statuses = ("4.*", "5.*")

    @property
    def statuses(self) -> tuple[int, ...]:
        """The error statuses that are tried again."""
        found = [compiled(pattern) for pattern in self.retry_on_status]
        return tuple(status for status in range(400, 600) if any(p.fullmatch(str(status)) for p in found))


class UsageOfPassed(Block):
    """How tokens are counted in answers that need no reading. `passed`: by whatever reads them with the least work
    (`auto`), by reading each event here (`read`), by Envoy where it can (`envoy`), or not at all (`off`)."""

    passed: Literal["auto", "read", "envoy", "off"] = "auto"


class OutlierDetection(Block):
    """When Envoy leaves a vendor out: after `consecutive5xx` failures in a row (0: never), for `baseEjectionTime`, each
    time longer. Only where there is another to ask."""

    consecutive5xx: int = Field(default=5, ge=0, alias="consecutive5xx")
    base_ejection_time: Seconds = 30.0


class CircuitBreakers(Block):
    """How much of a vendor is used at a time, in all of Envoy; more is refused at once (503). None: no limit."""

    max_connections: int | None = Field(default=None, ge=1)
    max_requests: int | None = Field(default=None, ge=1)
    max_pending_requests: int | None = Field(default=None, ge=1)  # with 0 no connection is ever made


def _store_url(value: Any, info: ValidationInfo) -> Any:
    expand: Callable[[str], str] = (info.context or {}).get("expand", str)
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text: the URL of a Redis or Valkey server")
    url = expand(value.strip())
    if (problem := _store_problem(url)) is not None:
        raise ValueError(problem)
    return url


_STORE_FORMS = (
    "must be redis://host:port/db, rediss://host:port/db or unix:///path?db=0, with special characters of a password "
    "written as %XX"
)
_STORE_OPTIONS = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def _store_problem(url: str) -> str | None:
    """What is wrong with a Redis URL, in words that quote nothing of it: it may hold a password."""
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0 if parts.scheme in ("redis", "rediss") else parts.path
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return _STORE_FORMS
    if parts.scheme not in ("redis", "rediss", "unix") or not named or parts.fragment:
        return _STORE_FORMS
    if not options.keys() <= set(_STORE_OPTIONS):
        return f"has an unknown option; allowed: {', '.join(_STORE_OPTIONS)}"
    databases = [*options.get("db", ()), *([parts.path[1:]] if parts.scheme != "unix" and parts.path[1:] else ())]
    if not all(database.isdecimal() for database in databases):
        return "names a database that is not a number"
    return None


class Redis(Block):
    """`redis`: a Redis or Valkey server through which processes and machines tell each other which keys rest. `url`:
    `redis://`, `rediss://` or `unix://`. `keyPrefix`: how all names there begin. `timeout`: how long it may take to
    answer."""

    url: Annotated[SecretStr, BeforeValidator(_store_url, json_schema_input_type=str)]
    key_prefix: str = Field(default="ai-proxy:", pattern=r"^[!-~]+$")
    timeout: Seconds = 2.0

    @property
    def place(self) -> str:
        """The server without anything secret."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


AUTO_SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "seed")


class CustomSetting(Block):
    """One entry of `customSettings`: put `value` into the request under `name`.

    `mode: auto` takes one of the five portable names; `raw` a dotted path. `overwrite: false` only fills a gap.
    """

    name: str = Field(min_length=1)
    value: Any
    mode: Literal["auto", "raw"] = Field(default="auto", validate_default=True)
    overwrite: bool = True

    @field_validator("mode")
    @classmethod
    def _known(cls, mode: str, info: ValidationInfo) -> str:
        if mode == "auto" and info.data.get("name", AUTO_SETTINGS[0]) not in AUTO_SETTINGS:
            raise ValueError(f"mode auto knows {', '.join(AUTO_SETTINGS)}; use mode: raw for other names")
        return mode
