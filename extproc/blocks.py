"""The small configuration types that every block is made of.

Rule: what is wrong is said by pydantic, with the key; files, lines and the environment belong to `load.py`.
Keys are Higress' camelCase names; Python sees snake_case.
"""

from collections.abc import Callable, Mapping
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from extproc.patterns import ModelMapping, NamePatterns


class Block(BaseModel):
    """A frozen mapping of the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, arbitrary_types_allowed=True)


Resolve = Callable[[str], list[str]]
"""Turns one entry of `apiTokens` (a literal, `${NAME}` or `file:PATH`) into tokens; `ValueError` says why not."""


def _tokens(value: Any, info: ValidationInfo) -> Any:
    resolve: Resolve = (info.context or {}).get("resolve", lambda text: [text.strip()])
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(e, str) for e in entries):
        raise ValueError("must be a list of strings")
    tokens = [token for entry in entries for token in resolve(entry)]
    for token in tokens:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("a token is empty or has characters that an HTTP header cannot carry")
    return tokens


Tokens = Annotated[
    tuple[SecretStr, ...],
    BeforeValidator(_tokens, json_schema_input_type=str | list[str]),
]
"""Secrets, stripped and resolved when loaded. Never printed: their `repr` is stars."""


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


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be a URL such as https://host:port/path")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def _origin_url(value: str) -> str:
    parts = urlsplit(_http_url(value))
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("must be a bare http:// or https:// address: host and port, no path")
    return value


OriginUrl = Annotated[str, AfterValidator(_origin_url)]


def _mapping(value: Any) -> Any:
    if isinstance(value, ModelMapping):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for kv in value.items() for v in kv):
        raise ValueError("must be a mapping from model name to model name")
    return ModelMapping(value)


Mapped = Annotated[
    ModelMapping,
    BeforeValidator(_mapping, json_schema_input_type=dict[str, str]),
]


def _patterns(value: Any) -> Any:
    if isinstance(value, NamePatterns):
        return value
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("must be a list of model name patterns")
    return NamePatterns(value)


Patterns = Annotated[
    NamePatterns,
    BeforeValidator(_patterns, json_schema_input_type=list[str]),
]


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

    file_url: str
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
