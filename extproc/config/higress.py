"""Higress' dialect: `WasmPlugin` documents of ai-proxy become native configuration, and what else ai-proxy knows.

Rule: pure, data in and data out. A problem is a `Fault` that says where in the given documents it stands; `load.py`
knows the lines. Mappings are only ever joined with `|`, which keeps the lines they came from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import re
from typing import Any

from extproc.config.words import did_you_mean
from extproc.providers.blocks import ID
from extproc.terms.agreed import SIDECAR_CLUSTER

TYPES = frozenset(
    "ai360 azure baichuan baidu bedrock claude cloudflare cohere coze deepl deepseek dify doubao fireworks gemini "
    "generic galadriel github grok groq hunyuan kling longcat minimax mistral moonshot ollama openai openrouter qwen "
    "spark stepfun together-ai triton vertex vllm yi zhipuai".split()
)
"""The provider types of ai-proxy (provider/provider.go, 2026-06 and later)."""

UNSUPPORTED_KEYS = frozenset(
    "basePath basePathHandling capabilities contextCleanupCommands firstByteTimeout hiclawMode "
    "mergeConsecutiveMessages promoteThinkingOnEmpty providerBasePath providerDomain".split()
)
"""Keys of ai-proxy for providers of any type that this version lacks."""

VENDOR_KEYS = frozenset(
    "apiVersion awsAccessKey awsRegion awsSecretKey bedrockAdditionalFields bedrockPromptCachePointPositions botType "
    "claudeCodeMode claudeVersion cloudflareAccountId difyApiUrl doubaoDomain geminiSafetySetting "
    "geminiThinkingBudget genericHost hunyuanAuthId hunyuanAuthKey inputVariable minimaxApiType minimaxGroupId "
    "ollamaServerHost ollamaServerPort outputVariable promptCacheRetention targetLang tritonDomain "
    "tritonModelVersion vertexAuthKey vertexAuthServiceName vertexOpenAICompatible vertexProjectId vertexRegion "
    "vertexTokenRefreshAhead vllmCustomUrl vllmServerHost zhipuCodePlanMode zhipuDomain".split()
)
"""Keys of ai-proxy for single types."""

DEAD_KEYS = frozenset("authHeaderKey subPath vertexGeminiSafetySetting".split())
"""Documented or declared in ai-proxy, but nothing in it reads them from a configuration."""


def key_problem(key: str, value: object, type: str, owners: Mapping[str, str]) -> str | None:
    """What is wrong with a provider key that the models do not know, as far as Higress explains it.

    `owners`: the keys of single supported types, and whose they are. Returns the message; "" for a key that is
    switched off, so that it can be dropped; None if Higress has no such key either.
    """
    if key in DEAD_KEYS:
        return "Higress ai-proxy itself never read this key; remove it"
    unsupported = key in UNSUPPORTED_KEYS or (key in VENDOR_KEYS and key not in owners)
    if not unsupported and key not in owners:
        return None
    if value in (None, False, "", [], {}):
        return ""
    if unsupported:
        return "a key of Higress ai-proxy that this version does not support yet"
    return f"a key of type {owners[key]}, but this provider is of type {type}"


Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at `location`, the steps from the given data down to it."""

    location: Location
    message: str


@dataclass(slots=True)
class Translation:
    """Native configuration: lists for `providers` and `routes`, and the providers that take what is left over.

    `stale`: what is wrong with rules, or a `defaultConfig`, that choose no usable provider; such rules refuse."""

    providers: list[Any] = field(default_factory=list)
    routes: list[Any] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    stale: list[Fault] = field(default_factory=list)


def is_ai_proxy(plugin: Mapping[str, Any]) -> bool:
    """Whether a `WasmPlugin` document is ai-proxy: by its name, its image, or what its configuration holds."""
    metadata, spec = plugin.get("metadata"), plugin.get("spec")
    named = [metadata.get("name") if isinstance(metadata, Mapping) else None]
    configs: list[object] = []
    if isinstance(spec, Mapping):
        named.append(spec.get("url"))
        rules = spec.get("matchRules")
        configs += [spec.get("defaultConfig"), spec.get("pluginConfig")]
        configs += [r.get("config") for r in rules if isinstance(r, Mapping)] if isinstance(rules, list) else []
    if any(isinstance(name, str) and "ai-proxy" in name for name in named):
        return True
    return any(isinstance(c, Mapping) and not c.keys().isdisjoint(_CONFIG_KEYS) for c in configs)


_CONFIG_KEYS = ("provider", "providers", "activeProviderId")
_RULE_KEYS = ("ingress", "domain", "service", "routeType", "config", "configDisable")
_SPEC_KEYS = (
    "defaultConfig defaultConfigDisable matchRules url phase priority failStrategy imagePullPolicy imagePullSecret "
    "sha256 selector targetRef targetRefs type match verificationKey vmConfig pluginName pluginConfig".split()
)
"""Keys of the documents; of a `spec`, most are for whoever loads the plugin into Envoy."""


def active_provider(config: Mapping[str, Any], location: Location) -> tuple[Any | None, list[str], list[Fault]]:
    """The provider block that a plugin configuration switches on, the ids that it lists besides, and faults.

    `provider` wins over `providers` with `activeProviderId`; without either nothing is on.
    """
    if config.get("provider") is not None:
        provider = config["provider"]
        if not isinstance(provider, dict):
            return None, [], [Fault((*location, "provider"), "must be a mapping: one provider block")]
        return provider, [], []
    providers = config.get("providers") or []
    if not isinstance(providers, list) or not all(isinstance(p, dict) for p in providers):
        return None, [], [Fault((*location, "providers"), "must be a list of provider blocks")]
    ids = [provider_id(p) for p in providers]
    active = config.get("activeProviderId")
    if active is None or active == "":
        return None, ids, []
    if active not in ids:
        known = f"providers has {', '.join(ids)}" if ids else "there are no providers"
        message = f"no provider has the id {active!r}{did_you_mean(active, ids)}; {known}"
        return None, ids, [Fault((*location, "activeProviderId"), message)]
    return providers[ids.index(active)], [i for i in ids if i != active], []


def provider_id(provider: object) -> str:
    """The id that a provider block has, said or from its type; empty for what is no block."""
    return str(provider.get("id") or provider.get("type") or "") if isinstance(provider, Mapping) else ""


def _choice(config: Mapping[str, Any], location: Location) -> tuple[Any | None, list[str], list[Fault]]:
    """As `active_provider`, where an id that is of no use here is a fault too."""
    provider, others, faults = active_provider(config, location)
    problem = _unusable(provider)
    if problem is None:
        return provider, others, faults
    steps = ("provider", "id") if config.get("provider") is not None else ("activeProviderId",)
    return None, others, [Fault((*location, *steps), problem)]


def _unusable(provider: object) -> str | None:
    """What is wrong with the id of a provider block, if it is none that a provider here can have."""
    id = provider_id(provider)
    if id == SIDECAR_CLUSTER:
        return f"the id {id!r} is the sidecar's own"
    if id and not re.fullmatch(ID, id):
        return f"the id {id!r} cannot be used here; allowed: letters, digits and . _ - (first a letter or digit)"
    return None


def same_ids(providers: object, location: Location) -> list[Fault]:
    """A fault for each provider block of the list at `location` whose id another has before it."""
    faults: list[Fault] = []
    ids: set[str] = set()
    for index, provider in enumerate(providers if isinstance(providers, list) else ()):
        id = provider_id(provider)
        if id and id in ids:
            message = f"two providers have the id {id!r}: give each an id of its own"
            faults.append(Fault((*location, index, "id" if provider.get("id") else "type"), message))
        ids.add(id)
    return faults


def unique(name: str, taken: Iterable[str], *hints: str) -> str:
    """`name`, or `name-hint`, or `name-2`…: the first that is not taken."""
    used = set(taken)
    number, choices = 2, [name, *(f"{name}-{hint}" for hint in hints if hint not in ("", name))]
    for choice in choices:
        if choice not in used:
            return choice
    while f"{choices[-1]}-{number}" in used:
        number += 1
    return f"{choices[-1]}-{number}"


_KINDS = {"ingress": "ingress", "domain": "hosts", "service": "services"}


def translate(plugins: Sequence[Mapping[str, Any]], default_service: str = "") -> Translation:
    """ai-proxy's `WasmPlugin` documents as native configuration.

    Rules become routes in their order, `defaultConfig` takes what is left over; without one, the rule whose ingress
    (or other name) is `default_service` does. A location in `faults` starts with the index of the document.
    """
    result = Translation()
    named: dict[str, str | None] = {}  # what rules name → provider id, None where the rule is switched off
    unused: dict[str, None] = {}
    for index, plugin in enumerate(plugins):
        spec = plugin.get("spec")
        if not isinstance(spec, dict):
            result.faults.append(Fault((index, "spec"), "must be a mapping with defaultConfig or matchRules"))
            continue
        unused |= dict.fromkeys(_Plugin(result, named, spec, (index, "spec")).translate())
    active = {provider_id(p) for p in result.providers}
    result.notes += [f"provider {id}: listed, but no rule makes it active, so it is left out" for id in unused
                     if id not in active]  # fmt: skip
    if not result.providers and not result.faults and not result.stale and plugins:
        message = "nothing is active: give defaultConfig or a rule a provider, or activeProviderId with providers"
        result.faults.append(Fault((0, "spec"), message))
    if default_service and not result.defaults:
        said = f"DEFAULT_AI_SERVICE is {default_service}"
        if default := named.get(default_service):
            result.defaults.append(default)
            if any(isinstance(p.get("spec"), dict) and p["spec"].get("defaultConfigDisable") for p in plugins):
                result.notes.append(f"{said}: {default} takes what no rule takes, although defaultConfigDisable is set")
        elif default_service in named:
            result.notes.append(f"{said}, whose rule is switched off, so there is no default")
        else:
            result.notes.append(f"{said}, which no rule names{did_you_mean(default_service, named)}")
    for provider in result.providers:
        if (
            provider.get("type") == "qwen"
            and "qwenEnableCompatible" not in provider
            and provider.get("protocol", "openai") == "openai"
        ):
            result.notes.append(
                f"{provider['id']}: native API (Higress' own default is compatible mode since 2025; "
                "set qwenEnableCompatible: true to have that)"
            )
    return result


@dataclass(slots=True)
class _Plugin:
    """One document on its way into `result`."""

    result: Translation
    named: dict[str, str | None]
    spec: dict[str, Any]
    location: Location
    skipped: list[dict[str, list[str]]] = field(default_factory=list)
    """What the rules that are switched off would have taken."""

    def translate(self) -> list[str]:
        """Adds the document; returns the ids of providers that it lists without using them here."""
        self._known(self.spec, _SPEC_KEYS, self.location)
        if self.spec.get("pluginConfig"):
            self._fault(("pluginConfig",), "not supported; move it to defaultConfig")
        where = (*self.location, "defaultConfig")
        base = self._config(self.spec.get("defaultConfig"), where)
        default: Any = None
        unused: list[str] = []
        if not self._flag(self.spec, "defaultConfigDisable", ()):
            default, unused, faults = _choice(base, where)
            self.result.stale += faults
        rules = self.spec.get("matchRules") or []
        if not isinstance(rules, list):
            self._fault(("matchRules",), "must be a list of rules")
            rules = []
        for index, rule in enumerate(rules):
            unused += self._rule(rule, base, ("matchRules", index))
        for kinds in self.skipped:  # last, since Higress looks at the other rules as if these were not there
            fate = "is refused" if default is None else "falls to defaultConfig"
            self.result.notes.append(f"rule {next(iter(kinds.values()))[0]}: configDisable, so its traffic {fate}")
            if default is None:
                self._routes(kinds, None)
        if default is not None:
            self.result.defaults.append(self._add(default, "default"))
        return unused

    def _rule(self, rule: object, base: dict[str, Any], where: Location) -> list[str]:
        if not isinstance(rule, dict):
            self._fault(where, "must be a mapping with ingress, domain or service, and config")
            return []
        self._known(rule, _RULE_KEYS, (*self.location, *where))
        kinds = {kind: self._names(rule[kind], (*where, kind)) for kind in _KINDS if rule.get(kind)}
        names = [name for found in kinds.values() for name in found]
        if not names:
            if not kinds:
                self._fault(where, "a rule must say whose traffic it is for: a list under ingress, domain or service")
            return []
        if self._flag(rule, "configDisable", where):
            self.skipped.append({kind: found for kind, found in kinds.items() if found})
            for name in names:
                self.named.setdefault(name, None)
            return []
        location = (*self.location, *where, "config")
        own = self._config(rule.get("config"), location)
        if base.get("provider") is not None and not own.keys().isdisjoint({"providers", "activeProviderId"}):
            # The rule chooses anew: the default's single provider is one to choose from, not the choice.
            listed = base.get("providers") if isinstance(base.get("providers"), list) else []
            base = {"providers": [base["provider"], *(listed or [])]}
        provider, others, faults = _choice(base | own, location)
        if provider is None:
            nothing = Fault(location, "has neither provider nor activeProviderId, so it does nothing")
            self.result.stale += [self._cause(fault, own, location) for fault in faults] or [nothing]
            for name in names:
                self.named.setdefault(name, None)
            self._routes(kinds, None)
            return others
        id = self._add(provider, names[0])
        self.named.update((name, id) for name in names if self.named.get(name) is None)
        self._routes(kinds, id)
        return others

    def _cause(self, fault: Fault, own: Mapping[str, Any], location: Location) -> Fault:
        """A fault of a rule's configuration, which may be what the rule has from `defaultConfig`."""
        inherited = fault.location[len(location)] not in own
        return Fault(location, f"from defaultConfig: {fault.message}") if inherited else fault

    def _routes(self, kinds: Mapping[str, list[str]], id: str | None) -> None:
        """One route for each kind of name that a rule has."""
        for kind, found in kinds.items():
            if not found:
                continue
            name = unique(found[0], (r["name"] for r in self.result.routes), kind)
            match = {} if kind == "domain" and "*" in found else {_KINDS[kind]: found}
            self.result.routes.append({"name": name, "match": match, "provider": id})

    def _add(self, provider: dict[str, Any], hint: str) -> str:
        """The id under which the provider is now in the result: shared with an identical block."""
        wanted = provider_id(provider)
        known = self.result.providers
        same = provider | {"id": wanted}
        for other in known:
            if other | {"id": wanted} == same and (other["id"] == wanted or other["id"].startswith(f"{wanted}-")):
                return str(other["id"])
        id = unique(wanted, (p["id"] for p in known), re.sub(r"[^A-Za-z0-9._-]+", "-", hint).strip("-."))
        known.append(provider | {"id": id})
        return id

    def _config(self, config: object, location: Location) -> dict[str, Any]:
        if config is None:
            return {}
        if not isinstance(config, dict):
            self.result.faults.append(Fault(location, "must be a mapping: the plugin's configuration"))
            return {}
        self._known(config, _CONFIG_KEYS, location)
        self.result.faults += same_ids(config.get("providers"), (*location, "providers"))
        return config

    def _known(self, block: Mapping[str, Any], allowed: Sequence[str], location: Location) -> None:
        for key in block:
            if key not in allowed:
                hint = did_you_mean(key, allowed) or f"; allowed: {', '.join(allowed)}"
                self.result.faults.append(Fault((*location, key), f"unknown key{hint}"))

    def _names(self, names: object, where: Location) -> list[str]:
        if isinstance(names, list) and names and all(isinstance(n, str) and n for n in names):
            return names
        self._fault(where, "must be a list of names")
        return []

    def _flag(self, block: Mapping[str, Any], key: str, where: Location) -> bool:
        value = block.get(key)
        if value is not None and not isinstance(value, bool):
            self._fault((*where, key), "must be true or false")
        return value is True

    def _fault(self, where: Location, message: str) -> None:
        self.result.faults.append(Fault((*self.location, *where), message))
