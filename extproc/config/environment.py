"""Configuration from the environment alone, as Higress' all-in-one image had it.

Rule: pure; the environment is passed in. Four services (1.3.6), chosen by the client with `Authorization: Bearer
<service>`; `DEFAULT_AI_SERVICE` takes what names none. The clients' names of models are Higress'; what they are mapped
to is alive (`lifecycle.py`; a test says when one is not), and `<VENDOR>_MODELS` replaces the map. All other vendors are
there as the later image has them (`gateway_environment.py`), chosen by how their models' names begin, or likewise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Any

from extproc.config.config import ConfigError, Problem
from extproc.config.gateway_environment import HOSTED, SOURCE, extras, first, tokens_of
from extproc.config.words import did_you_mean
from extproc.text.patterns import ModelMapping

__all__ = ["DEFAULT", "SOURCE", "key_variable", "legal_name", "native", "variable"]

DEFAULT = "DEFAULT_AI_SERVICE"
AZURE_URL = "AZURE_OPENAI_SERVICE_URL"
_LATER = {"AZURE_OPENAI_API_KEY": "AZURE_API_KEY", AZURE_URL: "AZURE_SERVICE_URL"}
"""What the later image calls them."""
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

    @property
    def prefix(self) -> str:
        return self.key.removesuffix("_API_KEY")


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
    if service in HOSTED:
        return HOSTED[service].variable(key)
    if key == "azureServiceUrl":
        return AZURE_URL
    known = _SERVICES[service]
    return {"modelMapping": known.models, "": known.key, "apiTokens": known.key}.get(
        key, f"{known.prefix}_EXTRA_CONFIGS"
    )


def key_variable(service: str) -> str:
    """The environment variable for the keys of a provider: that of the service of its name, or one made from it."""
    known = _SERVICES.get({"azure": "azure-openai"}.get(service, service))
    if service in HOSTED:
        return HOSTED[service].keys[0]
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
    environ = {**environ, **{ours: environ.get(ours) or environ.get(theirs, "") for ours, theirs in _LATER.items()}}
    keys = {name: tokens_of(environ.get(service.key, "")) for name, service in _SERVICES.items()}
    url = first(environ, (AZURE_URL,))
    if "//YOUR_" in url:
        url = ""
    default = environ.get(DEFAULT, "").strip()
    problems: list[Problem] = []
    blocks = {name: hosted.block(environ, problems) for name, hosted in HOSTED.items()}
    vendors = {name: block for name, block in blocks.items() if block is not None}
    if keys["azure-openai"] and not url:
        message = f"is not set, but {_SERVICES['azure-openai'].key} is: Azure has no address without it"
        problems.append(Problem(SOURCE, 0, AZURE_URL, message))
    if default and default not in (*_SERVICES, *HOSTED):
        known = (*_SERVICES, *vendors)
        message = f"there is no service {default!r}{did_you_mean(default, known)}; allowed: {', '.join(known)}"
        problems.append(Problem(SOURCE, 0, DEFAULT, message))
    elif default and not (vendors.get(default) or keys.get(default) or (stand_in and default in _SERVICES)):
        message = f"names {default}, but {variable(default, '')} is not set"
        problems.append(Problem(SOURCE, 0, DEFAULT, message))
    if not any(keys.values()) and not vendors and not stand_in:
        variables = f"DASHSCOPE_API_KEY, OPENAI_API_KEY, MOONSHOT_API_KEY, or AZURE_OPENAI_API_KEY with {AZURE_URL}"
        problems.append(Problem(SOURCE, 0, "", f"no service has a key: set {variables}"))
    patterns = {name: _patterns(environ.get(service.models, "")) for name, service in _SERVICES.items()}
    maps = {
        name: {} if patterns[name] else _mapped(environ.get(service.models, ""), service.models, problems)
        for name, service in _SERVICES.items()
    }
    more = {name: extras(environ, s.prefix, s.type, problems) for name, s in _SERVICES.items()}
    if problems:
        raise ConfigError(problems)

    present = [name for name in _SERVICES if keys[name] or stand_in]
    notes = [f"{n}: {_SERVICES[n].key} is not set, so it is absent" for n in _SERVICES if n not in present]
    providers = [
        {**_provider(name, keys[name], url, maps[name], plain=bool(patterns[name])), **more[name]} for name in present
    ]
    providers += vendors.values()
    names = [*present, *vendors]
    models = {name: patterns[name] for name in present} | {name: HOSTED[name].patterns(environ) for name in vendors}
    routes = [_route(name, "") for name in names if name != default]
    by_model = [_by_model(name, models[name]) for name in names if name != default and models[name]]
    routes += sorted(by_model, key=lambda route: "*" in route["match"]["models"])  # what takes all comes last
    routes += [_route(default, default)] if default in names else []
    return {"providers": providers, "routes": routes}, tuple(notes)


def _by_model(name: str, models: list[str]) -> dict[str, Any]:
    return {"name": f"{name}-models", "match": {"models": models}, "provider": name}


def _patterns(text: str) -> list[str]:
    """`X_MODELS` of the later image, `qwen*` or `moonshot-*,kimi-*`, where the former's has `client=vendor`."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    return entries if entries and all(entry.endswith("*") and "=" not in entry for entry in entries) else []


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


def _provider(name: str, keys: list[str], url: str, models: dict[str, str], *, plain: bool) -> dict[str, Any]:
    """`plain`: the clients' names are the vendor's own."""
    service = _SERVICES[name]
    provider: dict[str, Any] = {"id": name, "type": service.type}
    if keys:
        provider["apiTokens"] = keys
    if service.type == "azure":
        provider["azureServiceUrl"] = url if keys else SIMULATED_AZURE_URL
    if mapping := models or ({} if plain else dict(service.model_mapping)):
        provider["modelMapping"] = mapping
    if service.effort is not None and not models and not plain:
        provider["defaultEffort"] = service.effort
    return provider


def _route(name: str, default: str) -> dict[str, Any]:
    match = {} if name == default else {"headers": {"authorization": f"Bearer {name}"}}
    return {"name": name, "match": match, "provider": name}
