"""The variables of Higress' `ai-gateway` (2024-11): every vendor whose key, or whose server's address, is set.

Rule: pure. A vendor's variables begin as its key's does: `X_API_KEY`, `X_MODELS` (patterns of names, or
`client=vendor`), `X_EXTRA_CONFIGS` (`key=value`, any key of a provider), `X_ENDPOINT`; keys of the vendor's own are
called as they are, in capitals (`OLLAMA_SERVER_HOST`). Source: get-ai-gateway.sh and config-template/ai-gateway.sh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
import re
from typing import Any

from extproc.config.config import Problem
from extproc.config.wording import keys_of
from extproc.config.words import did_you_mean
from extproc.providers.vendors import ROWS, Row, refused

SOURCE = "environment"


@dataclass(frozen=True)
class Hosted:
    """A vendor that the environment can have. `keys`: variables of its key, the first that is set counts. `models`:
    patterns of its models' names. `own`: its own configuration keys → their variables, the first that is set counts.
    `address`: those of them without which it is not there; `required`: those that it cannot be without."""

    type: str
    keys: tuple[str, ...]
    models: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]]
    address: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @cached_property
    def prefix(self) -> str:
        return re.sub(r"_(API_KEY|TOKEN)$", "", self.keys[0])

    def variable(self, key: str) -> str:
        """The variable that a key of its provider block comes from."""
        if key in self.own:
            return self.own[key][0]
        return {"": self.keys[0], "apiTokens": self.keys[0], "modelMapping": f"{self.prefix}_MODELS"}.get(
            key, f"{self.prefix}_EXTRA_CONFIGS"
        )

    def block(self, environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Any] | None:
        """Its provider; None where it is not there. What is wrong goes to `problems`."""
        tokens = next(filter(None, (tokens_of(environ.get(name, "")) for name in self.keys)), [])
        own = {key: value for key, names in self.own.items() if (value := first(environ, names))}
        there = own.keys() & set(self.address) if self.address else tokens or any(k in own for k in _INSTEAD)
        if not there:
            return None
        for key in self.required:
            if key not in own and not (tokens and key in _ONLY_WITHOUT_KEY):
                said = next((name for name in self.keys if environ.get(name)), self.variable(self.required[0]))
                message = f"is not set, but {said} is: {self.type} cannot be asked without it"
                problems.append(Problem(SOURCE, 0, self.variable(key), message))
        if unserved := refused(self.type, own):
            problems.append(Problem(SOURCE, 0, self.variable(unserved[0]), unserved[1]))
        block: dict[str, Any] = {"id": self.type, "type": self.type, **own}
        if tokens:
            block["apiTokens"] = tokens
        if tokens and tokens == tokens_of(environ.get("CLAUDE_CODE_API_KEY", "")):
            block["claudeCodeMode"] = True
        block |= extras(environ, self.prefix, self.type, problems)
        if mapping := models_of(environ, self.prefix)[1]:
            block["modelMapping"] = mapping
        return block

    def patterns(self, environ: Mapping[str, str]) -> list[str]:
        """By which model names a request is the vendor's."""
        patterns, mapping = models_of(environ, self.prefix)
        return [*patterns, *mapping] or list(self.models)


_INSTEAD = frozenset({"awsAccessKey", "vertexAuthKey"})
"""Own keys that stand for an API key."""
_ONLY_WITHOUT_KEY = frozenset({"vertexProjectId"})


def first(environ: Mapping[str, str], names: Iterable[str]) -> str:
    """The value of the first of variables that is set, without white space; "" without one."""
    found = (environ.get(name, "").strip() for name in names)
    return next((value for value in found if value and not value.startswith("YOUR_")), "")


def tokens_of(text: str) -> list[str]:
    """Keys, separated by commas; the template's placeholders are none."""
    keys = [key.strip() for key in text.split(",")]
    return [key for key in keys if key and not key.startswith("YOUR_")]


def models_of(environ: Mapping[str, str], prefix: str) -> tuple[list[str], dict[str, str]]:
    """What `X_MODELS` says: patterns of names, and names that are mapped."""
    entries = [entry.strip() for entry in environ.get(f"{prefix}_MODELS", "").split(",") if entry.strip()]
    pairs = [entry.partition("=") for entry in entries]
    mapping = {name.strip(): target.strip() for name, equals, target in pairs if equals}
    return [name for name, equals, _ in pairs if not equals], mapping


def extras(environ: Mapping[str, str], prefix: str, type: str, problems: list[Problem]) -> dict[str, Any]:
    """What `X_EXTRA_CONFIGS` says."""
    variable, found = f"{prefix}_EXTRA_CONFIGS", dict[str, Any]()
    allowed = keys_of(type)
    for entry in filter(None, map(str.strip, environ.get(variable, "").split(","))):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not (key and equals):
            problems.append(Problem(SOURCE, 0, variable, "the form is key=value,key=value"))
        elif key not in allowed:
            problems.append(Problem(SOURCE, 0, variable, f"unknown key {key[:60]}{did_you_mean(key, allowed)}"))
        else:
            found[key] = _value(value.strip("\"'"))
    return found


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d{1,15}", text) else text


def _capitals(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).upper()


def _of_row(row: Row) -> Hosted:
    keys = tuple(name for name in row.env if name.endswith("_API_KEY") or row.keys)
    prefix = row.env[0].removesuffix("_API_KEY")
    own = {key.name: (_capitals(key.name),) for key in row.keys} | {"endpoint": (f"{prefix}_ENDPOINT",)}
    places = tuple(key.name for key in row.keys if key.kind in ("host", "url"))
    return Hosted(
        type=row.type,
        keys=keys,
        models=row.models,
        own=own,
        address=(*places, "endpoint") if row.own_server else (),
        required=tuple(key.name for key in row.keys if key.required and key.name not in places),
    )


HOSTED: Mapping[str, Hosted] = {
    **{row.type: _of_row(row) for row in ROWS.values()},
    "claude": Hosted(
        "claude",
        ("CLAUDE_API_KEY", "ANTHROPIC_API_KEY", "CLAUDE_CODE_API_KEY"),
        ("claude-*",),
        {"claudeVersion": ("CLAUDE_VERSION",), "endpoint": ("CLAUDE_ENDPOINT",)},
    ),
    "gemini": Hosted("gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("gemini-*",), {"endpoint": ("GEMINI_ENDPOINT",)}),
    "vertex": Hosted(
        "vertex",
        ("VERTEX_API_KEY",),
        (),
        {
            "vertexAuthKey": ("VERTEX_AUTH_KEY",),
            "vertexProjectId": ("VERTEX_PROJECT_ID",),
            "vertexRegion": ("VERTEX_REGION",),
            "vertexAuthServiceName": ("VERTEX_AUTH_SERVICE_NAME",),
        },
        required=("vertexProjectId",),
    ),
    "bedrock": Hosted(
        "bedrock",
        ("BEDROCK_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"),
        (),
        {
            "awsRegion": ("BEDROCK_REGION", "AWS_REGION"),
            "awsAccessKey": ("BEDROCK_ACCESS_KEY",),
            "awsSecretKey": ("BEDROCK_SECRET_KEY",),
        },
        required=("awsRegion",),
    ),
}
"""All vendors beside the four of the first image (`environment.py`)."""
