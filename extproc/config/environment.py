"""Configuration from the environment alone, as Higress' all-in-one image 1.3.6 had it.

Rule: pure; the environment is passed in. Four services with fixed model mappings, chosen by the client with
`Authorization: Bearer <service>`; `DEFAULT_AI_SERVICE` takes what names none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Any

from extproc.config.config import ConfigError, Problem, did_you_mean

SOURCE = "environment"

DEFAULT = "DEFAULT_AI_SERVICE"
AZURE_URL = "AZURE_OPENAI_SERVICE_URL"
SIMULATED_AZURE_URL = (
    "https://simulated.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-02-01"
)


@dataclass(frozen=True, slots=True)
class _Service:
    key: str
    type: str
    model_mapping: Mapping[str, str] = field(default_factory=dict)


_SERVICES = {
    "qwen": _Service(
        "DASHSCOPE_API_KEY",
        "qwen",
        {"*": "qwen-max", "gpt-3": "qwen-turbo", "gpt-35-turbo": "qwen-plus", "gpt-4-turbo": "qwen-max"},
    ),
    "azure-openai": _Service("AZURE_OPENAI_API_KEY", "azure"),
    "openai": _Service("OPENAI_API_KEY", "openai"),
    "moonshot": _Service(
        "MOONSHOT_API_KEY",
        "moonshot",
        {
            "*": "moonshot-v1-128k",
            "gpt-3": "moonshot-v1-8k",
            "gpt-35-turbo": "moonshot-v1-32k",
            "gpt-4-turbo": "moonshot-v1-128k",
        },
    ),
}


def variable(service: str, key: str) -> str:
    """The environment variable that a key of a service's provider block comes from."""
    return AZURE_URL if key == "azureServiceUrl" else _SERVICES[service].key


def key_variable(service: str) -> str:
    """The environment variable for the keys of a provider: that of the service of its name, or one made from it."""
    known = _SERVICES.get({"azure": "azure-openai"}.get(service, service))
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
    problems = []
    if keys["azure-openai"] and not url:
        message = f"is not set, but {_SERVICES['azure-openai'].key} is: Azure has no address without it"
        problems.append(Problem(SOURCE, 0, AZURE_URL, message))
    if default and default not in _SERVICES:
        message = f"there is no service {default!r}{did_you_mean(default, _SERVICES)}; allowed: {', '.join(_SERVICES)}"
        problems.append(Problem(SOURCE, 0, DEFAULT, message))
    elif default and not keys[default] and not stand_in:
        message = f"names {default}, but {_SERVICES[default].key} is not set"
        problems.append(Problem(SOURCE, 0, DEFAULT, message))
    if not any(keys.values()) and not stand_in:
        variables = f"DASHSCOPE_API_KEY, OPENAI_API_KEY, MOONSHOT_API_KEY, or AZURE_OPENAI_API_KEY with {AZURE_URL}"
        problems.append(Problem(SOURCE, 0, "", f"no service has a key: set {variables}"))
    if problems:
        raise ConfigError(problems)

    present = [name for name in _SERVICES if keys[name] or stand_in]
    notes = [f"{n}: {_SERVICES[n].key} is not set, so it is absent" for n in _SERVICES if n not in present]
    providers = [_provider(name, keys[name], url) for name in present]
    routes = [_route(name, default) for name in sorted(present, key=lambda name: name == default)]
    return {"providers": providers, "routes": routes}, tuple(notes)


def _keys(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    return [key for key in keys if key and not key.startswith("YOUR_")]


def _provider(name: str, keys: list[str], url: str) -> dict[str, Any]:
    service = _SERVICES[name]
    provider: dict[str, Any] = {"id": name, "type": service.type}
    if keys:
        provider["apiTokens"] = keys
    if service.type == "azure":
        provider["azureServiceUrl"] = url if keys else SIMULATED_AZURE_URL
    if service.model_mapping:
        provider["modelMapping"] = dict(service.model_mapping)
    return provider


def _route(name: str, default: str) -> dict[str, Any]:
    match = {} if name == default else {"headers": {"authorization": f"Bearer {name}"}}
    return {"name": name, "match": match, "provider": name}
