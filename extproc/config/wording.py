"""What a wrong configuration is told: pydantic's errors in our own words, and what the models say of themselves.

Rule: pure; a message names what was found and what is allowed, and never a secret.
"""

from collections.abc import Mapping
import re
from typing import Any, get_args

from extproc.config import higress
from extproc.config.config import Config
from extproc.config.higress import Location
from extproc.config.words import did_you_mean
from extproc.providers import VENDOR_KEYS, AnyProvider, Provider
from extproc.providers.blocks import Block


def _blocks(annotation: Any) -> list[type[Block]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Block) else []
    return [block for argument in get_args(annotation) for block in _blocks(argument)]


def keys(block: type[Block]) -> list[str]:
    """The keys of a block as they are written in a file."""
    return [info.alias or name for name, info in block.model_fields.items()]


TYPES: dict[str, type[Provider]] = {
    name: block
    for block in _blocks(AnyProvider)
    if issubclass(block, Provider)
    for name in get_args(block.model_fields["type"].annotation)
}
"""The supported values of `type`, and their models."""


def keys_of(type: str) -> list[str]:
    """The keys that a provider of this type may have."""
    found = keys(TYPES[type])
    return [key for key in found if VENDOR_KEYS.get(key, type) == type]


OWNERS = {key: name for name in TYPES for key in keys_of(name) if key not in keys(Provider)}
"""Keys that one type has alone → that type."""

TOKEN_KEYS = ("apiTokens", "apiToken")

_SECRET = frozenset(
    {
        *TOKEN_KEYS,
        "provider",
        "providers",
        "clients",
        "key",
        "keyFile",
        "context",
        "fileUrl",
        "headers",
        "value",
        "redis",
        "users",
        "token",
    }
)
"""Keys whose value, or whatever stands in its place, is not for messages: keys, URLs that may be signed."""


def may_be_secret(location: Location) -> bool:
    """Whether what stands there must not be quoted."""
    names = [step for step in location if isinstance(step, str)]
    inside = (*TOKEN_KEYS, "key", "headers", "redis", "users", "token")
    return not _SECRET.isdisjoint((*names[-1:], *(name for name in names if name in inside)))


def block_at(location: Location) -> type[Block] | None:
    """The model of what pydantic's location leads to; it holds the tag of a provider as a step of its own."""
    block: type[Block] | None = Config
    for step in location:
        if step in TYPES and block is None:
            block = TYPES[str(step)]
        elif isinstance(step, str):
            info = next((f for n, f in block.model_fields.items() if (f.alias or n) == step), None) if block else None
            found = _blocks(info.annotation) if info else []
            block = found[0] if len(found) == 1 else None
    return block


_INNER = re.compile(r"[\w-]+\[.*\]|constrained-\w+", re.DOTALL)


def is_inner(step: object) -> bool:
    """Whether a step of pydantic's location is its own name for one of several forms, and no key of the file."""
    return isinstance(step, str) and _INNER.fullmatch(step) is not None


MOST_QUOTED = 57
"""So many characters of a long text are quoted."""


def found_text(value: object, *, secret: bool = False) -> str:
    """A value of a file in words, for messages: never longer than a line. `secret`: only its kind."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float() | str() if secret:
            return "text" if isinstance(value, str) else "a number"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value if len(value) <= MOST_QUOTED + 3 else value[:MOST_QUOTED] + '...'!r}"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


def kind_of(value: object) -> str:
    """The same without what may be a secret."""
    return "text" if isinstance(value, str) else found_text(value)


_WANTED = {
    "string": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number of seconds, or text such as 500ms, 30s, 5m, 1h",
    "finite": "a finite number",
    "decimal": "a number",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def worded(detail: Mapping[str, Any], key: str, block: type[Block] | None, *, secret: bool) -> str:
    """What one of pydantic's errors means for whoever wrote the file. `secret`: the value must not be shown."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    found = found_text(value, secret=secret)
    match kind:
        case "value_error":
            return str(context["error"])
        case "missing" | "union_tag_not_found":
            return "missing key" if kind == "missing" else f"missing key type; allowed: {', '.join(TYPES)}"
        case "extra_forbidden":
            return _unknown_key(key, block)
        case "union_tag_invalid":
            return _unknown_type(value.get("type"))
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", context["expected"])
            hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
            return f"found {found}{hint}; allowed: {', '.join(allowed)}"
        case "string_pattern_mismatch":  # only ids have a pattern
            return f"found {found}; allowed: letters, digits and . _ - (first a letter or digit)"
        case "decimal_max_places":
            return f"found {found}; wanted at most {context['decimal_places']} decimals"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            (limit,) = context.values()
            return f"found {found}; must be {kind.replace('_', ' ').replace('than equal', 'than or equal to')} {limit}"
    wanted = _WANTED.get(kind.partition("_")[0])
    if wanted == "a mapping" and isinstance(value, str):
        found = kind_of(value)  # `- apiToken:sk-…`, without the blank, is one
    hint = " (put it in quotes)" if kind == "string_type" and isinstance(value, (bool, int, float)) else ""
    return f"found {found}; wanted {wanted}{hint}" if wanted else str(detail["msg"])


_ELSEWHERE = {
    "openaiCustomUrl azureServiceUrl endpoint": "baseurl apibase apibaseurl openaibaseurl apiurl url host",
    "apiTokens": "apikey apikeys openaiapikey token tokens authtoken apisecret secretkey",
    "modelMapping": "modelmap modelsmap modelalias modelaliases modelgroupalias",
    "type": "kind vendor providertype customllmprovider",
    "id": "name",
}
"""Our keys, and what other gateways and SDKs call them, in small letters and without `_` and `-`."""


def _foreign(key: str, allowed: list[str]) -> str:
    """What a key of another program is called here."""
    plain = key.lower().replace("_", "").replace("-", "")
    ours = " ".join(ours for ours, theirs in _ELSEWHERE.items() if plain in theirs.split())
    found = next((one for one in ours.split() if one in allowed), None)
    return f" (did you mean {found}?)" if found else ""


def _unknown_key(key: str, block: type[Block] | None) -> str:
    allowed = keys(block) if block else []
    if block in TYPES.values() and (hint := _foreign(key, allowed)):
        return f"unknown key{hint}"
    if hint := did_you_mean(key, allowed):
        return f"unknown key{hint}"
    if block is Config and (key in keys(Provider) or key in OWNERS):
        return "unknown key here: it belongs into a provider, under providers"
    if block is Config and key == "_rules_":
        return "rules are read from WasmPlugin documents (matchRules) only; here they are routes"
    return f"unknown key; allowed: {', '.join(allowed)}"


def _unknown_type(type: object) -> str:
    allowed = f"allowed: {', '.join(TYPES)}"
    if not isinstance(type, str):
        return f"type: found {found_text(type)}; {allowed}"
    if type in higress.TYPES:
        return f"type {type} is a provider of Higress ai-proxy that this version does not support yet; {allowed}"
    return f"unknown type {type!r}{did_you_mean(type, TYPES)}; {allowed}"
