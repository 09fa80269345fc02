"""Configuration from the environment alone, as Higress' all-in-one image had it.

Rule: pure; the environment is passed in. Four services (1.3.6), chosen by the client with `Authorization: Bearer
<service>`; `DEFAULT_AI_SERVICE` takes what names none. The clients' names of models are Higress'; what they are mapped
to is alive (`lifecycle.py`; a test says when one is not), and `<VENDOR>_MODELS` replaces the map. Vendors of the table
(`ai-gateway`, 2024) whose key is set are there, chosen by how the names of their models begin, or likewise by names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Any

from extproc.config.config import ConfigError, Problem
from extproc.config.words import did_you_mean
from extproc.providers.vendors import ROWS, Row
from extproc.text.patterns import ModelMapping

SOURCE = "environment"

DEFAULT = "DEFAULT_AI_SERVICE"
AZURE_URL = "AZURE_OPENAI_SERVICE_URL"
SIMULATED_AZURE_URL = (
    "https://simulated.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-02-01"
)


@dataclass(frozen=True, slots=True)
class _Service:
    """`models`: the variable that replaces `model_mapping`. `effort`: the `defaultEffort` with the shipped map, whose
    models would think unasked, which is their most expensive way to answer."""

    key: str
    type: str
    models: str
    model_mapping: Mapping[str, str] = field(default_factory=dict)
    effort: str | None = None


_SERVICES = {
    "qwen": _Service(
        "DASHSCOPE_API_KEY",
        "qwen",
        "DASHSCOPE_MODELS",
        {
            **dict.fromkeys(("*", "gpt-3", "gpt-35-turbo", "gpt-3.5*", "gpt-4o-mini*"), "qwen3.8-flash"),
            **dict.fromkeys(("gpt-4-turbo", "gpt-4o*", "gpt-4.1*", "gpt-5*", "gpt-6*", "claude-*"), "qwen3.8-max"),
        },
        "none",
    ),
    "azure-openai": _Service("AZURE_OPENAI_API_KEY", "azure", "AZURE_OPENAI_MODELS"),
    "openai": _Service("OPENAI_API_KEY", "openai", "OPENAI_MODELS"),
    "moonshot": _Service(
        "MOONSHOT_API_KEY",
        "moonshot",
        "MOONSHOT_MODELS",
        dict.fromkeys(("*", "gpt-3", "gpt-35-turbo", "gpt-4-turbo"), "kimi-k3.1-pro"),
        "low",
    ),
}


def variable(service: str, key: str) -> str:
    """The environment variable that a key of a service's provider block comes from."""
    if service in ROWS:
        return ROWS[service].env[0]
    if key == "azureServiceUrl":
        return AZURE_URL
    return _SERVICES[service].models if key == "modelMapping" else _SERVICES[service].key


def key_variable(service: str) -> str:
    """The environment variable for the keys of a provider: that of the service of its name, or one made from it."""
    known = _SERVICES.get({"azure": "azure-openai"}.get(service, service))
    if service in ROWS:
        return ROWS[service].env[0]
    return known.key if known else legal_name(f"{service}_API_KEY")


def legal_name(text: str) -> str:
    """A variable's name made from text: capitals, digits and `_`, the first no digit (POSIX, XBD 8.1)."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").upper()
    return f"AI_{name}" if name[:1].isdigit() else name


def native(environ: Mapping[str, str], *, stand_in: bool = False) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The native configuration that the environment says, and notes about services that are absent.

    `stand_in`: services without a key are there nevertheless, as providers without `apiTokens`, for somebody else to
    fill. Raises `ConfigError` when there is no service, no Azure address, or no such default.
    """
    keys = {name: _keys(environ.get(service.key, "")) for name, service in _SERVICES.items()}
    url = environ.get(AZURE_URL, "").strip()
    if "//YOUR_" in url or url.startswith("YOUR_"):
        url = ""
    default = environ.get(DEFAULT, "").strip()
    hosted = [row for row in ROWS.values() if not row.own_server and not any(key.required for key in row.keys)]
    vendors = {row.type: found for row in hosted if (found := _keys(environ.get(row.env[0], "")))}
    problems = []
    if keys["azure-openai"] and not url:
        message = f"is not set, but {_SERVICES['azure-openai'].key} is: Azure has no address without it"
        problems.append(Problem(SOURCE, 0, AZURE_URL, message))
    if default and default not in (*_SERVICES, *ROWS):
        known = (*_SERVICES, *vendors)
        message = f"there is no service {default!r}{did_you_mean(default, known)}; allowed: {', '.join(known)}"
        problems.append(Problem(SOURCE, 0, DEFAULT, message))
    elif default and not (vendors.get(default) or keys.get(default) or (stand_in and default in _SERVICES)):
        message = f"names {default}, but {variable(default, '')} is not set"
        problems.append(Problem(SOURCE, 0, DEFAULT, message))
    if not any(keys.values()) and not vendors and not stand_in:
        variables = f"DASHSCOPE_API_KEY, OPENAI_API_KEY, MOONSHOT_API_KEY, or AZURE_OPENAI_API_KEY with {AZURE_URL}"
        problems.append(Problem(SOURCE, 0, "", f"no service has a key: set {variables}"))
    maps = {
        name: _mapped(environ.get(service.models, ""), service.models, problems) for name, service in _SERVICES.items()
    }
    if problems:
        raise ConfigError(problems)

    present = [name for name in _SERVICES if keys[name] or stand_in]
    notes = [f"{n}: {_SERVICES[n].key} is not set, so it is absent" for n in _SERVICES if n not in present]
    providers = [_provider(name, keys[name], url, maps[name]) for name in present]
    providers += [{"id": name, "type": name, "apiTokens": found} for name, found in vendors.items()]
    names = [*present, *vendors]
    routes = [_route(name, "") for name in names if name != default]
    routes += [_by_model(ROWS[name], environ) for name in vendors if name != default and _models(ROWS[name], environ)]
    routes += [_route(default, default)] if default in names else []
    return {"providers": providers, "routes": routes}, tuple(notes)


def _models(row: Row, environ: Mapping[str, str]) -> list[str]:
    """By which model names a request is the vendor's: `DEEPSEEK_MODELS` (Higress), else how its own names begin."""
    said = environ.get(f"{row.env[0].rpartition('_API_KEY')[0]}_MODELS", "")
    return [pattern.strip() for pattern in said.split(",") if pattern.strip()] or list(row.models)


def _by_model(row: Row, environ: Mapping[str, str]) -> dict[str, Any]:
    return {"name": f"{row.type}-models", "match": {"models": _models(row, environ)}, "provider": row.type}


def _keys(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    return [key for key in keys if key and not key.startswith("YOUR_")]


def _mapped(text: str, variable: str, problems: list[Problem]) -> dict[str, str]:
    """The map that a variable says, `client=vendor,client=vendor,*=vendor`; empty without one. What is wrong with it
    goes to `problems`."""
    models: dict[str, str] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        client, equals, vendor = (part.strip() for part in entry.partition("="))
        if not (client and equals and vendor):
            problems.append(Problem(SOURCE, 0, variable, f"{entry[:80]!r} is not client=vendor; the form is {_FORM}"))
        elif client in models:
            problems.append(Problem(SOURCE, 0, variable, f"{client[:80]!r} is mapped twice"))
        models[client] = vendor
    if text.strip() and not models:
        problems.append(Problem(SOURCE, 0, variable, f"maps nothing; the form is {_FORM}"))
    try:
        ModelMapping(models)
    except ValueError as error:
        problems.append(Problem(SOURCE, 0, variable, str(error)))
    return models


_FORM = "client=vendor,client=vendor,*=vendor"


def _provider(name: str, keys: list[str], url: str, models: dict[str, str]) -> dict[str, Any]:
    service = _SERVICES[name]
    provider: dict[str, Any] = {"id": name, "type": service.type}
    if keys:
        provider["apiTokens"] = keys
    if service.type == "azure":
        provider["azureServiceUrl"] = url if keys else SIMULATED_AZURE_URL
    if mapping := models or dict(service.model_mapping):
        provider["modelMapping"] = mapping
    if service.effort is not None and not models:
        provider["defaultEffort"] = service.effort
    return provider


def _route(name: str, default: str) -> dict[str, Any]:
    match = {} if name == default else {"headers": {"authorization": f"Bearer {name}"}}
    return {"name": name, "match": match, "provider": name}
