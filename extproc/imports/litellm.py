"""LiteLLM's `config.yaml` → the same in native terms.

Rule: pure, plain data in and out; a loss says where it stands in the file. `model_list` becomes providers (one for each
vendor, address and key) and routes by model name; `fallbacks` become further steps of a route. Source: LiteLLM 1.110,
"All settings" and "Router" of its documents, 2026-11-30.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Any

from extproc.config.environment import key_variable
from extproc.config.higress import Fault, Location, unique
from extproc.config.words import did_you_mean
from extproc.providers.vendors import ROWS

_TYPES: Mapping[str, str] = {
    "anthropic": "claude", "anthropic_text": "claude", "azure_ai": "openai", "bedrock_converse": "bedrock",
    "custom_openai": "openai", "dashscope": "qwen", "fireworks_ai": "fireworks", "google": "gemini",
    "hosted_vllm": "vllm", "litellm_proxy": "openai", "llamafile": "llamacpp", "lm_studio": "lmstudio",
    "nvidia_nim": "nvidia", "ollama_chat": "ollama", "openai_like": "openai", "text-completion-openai": "openai",
    "together_ai": "together-ai", "vertex_ai": "vertex", "vertex_ai_beta": "vertex", "volcengine": "doubao",
    "xai": "grok", "z-ai": "zhipuai", "zai": "zhipuai", "zhipu": "zhipuai",
}  # fmt: skip
"""LiteLLM's providers under another name here."""
_SAME = frozenset({*ROWS, "azure", "bedrock", "gemini", "moonshot", "openai", "vertex"})
_BARE = (
    (re.compile(r"(gpt|o\d|chatgpt|text-embedding|whisper|tts|dall-e)"), "openai"),
    (re.compile(r"claude"), "claude"),
    (re.compile(r"gemini"), "vertex"),
)
"""What LiteLLM takes a name for that says no provider."""
_ENV = re.compile(r"os\.environ/(\w+)")
_KEYS = {"claude": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY", "azure": "AZURE_API_KEY", "grok": "XAI_API_KEY"}
"""Variables that LiteLLM reads for a key that the file does not say, where ours have another name."""
_OWN: Mapping[str, str] = {
    "aws_region_name": "awsRegion", "aws_access_key_id": "awsAccessKey", "aws_secret_access_key": "awsSecretKey",
    "aws_session_token": "awsSessionToken", "vertex_project": "vertexProjectId", "vertex_location": "vertexRegion",
    "vertex_credentials": "vertexAuthKey",
}  # fmt: skip
_SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "seed")
_READ = frozenset({"model", "api_key", "api_base", "api_version", "base_url", "custom_llm_provider", "weight", *_OWN})
_IGNORED = frozenset({"drop_params", "set_verbose", "json_logs", "request_timeout", "model_info", "num_retries"})
"""Has no effect here that would be missed: parameters that a vendor refuses are always dropped, and so on."""


def is_litellm(document: object) -> bool:
    """Whether a document is one of LiteLLM's."""
    return isinstance(document, dict) and "model_list" in document


@dataclass(slots=True)
class Translated:
    """Native blocks, and what has no equivalent."""

    providers: list[dict[str, Any]] = field(default_factory=list)
    routes: list[dict[str, Any]] = field(default_factory=list)
    clients: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def translate(document: Mapping[str, Any]) -> Translated:
    """A document as native blocks."""
    return _Reading(document).translate()


@dataclass(slots=True)
class _Reading:
    document: Mapping[str, Any]
    result: Translated = field(default_factory=Translated)
    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def _lost(self, location: Location, message: str) -> None:
        self.result.faults.append(Fault(location, message))

    def translate(self) -> Translated:
        listed = self.document.get("model_list")
        for index, entry in enumerate(listed if isinstance(listed, list) else ()):
            self._model(entry, ("model_list", index))
        router = self._section("router_settings")
        settings = self._section("litellm_settings")
        falls, default_falls = self._fallbacks(router, settings)
        aliases = self._aliases(router)
        for name, steps in {**self.groups, **aliases}.items():
            further = falls.get(name, default_falls)
            groups = [steps, *(self._by_name(other) for other in further if other != name)]
            whole: list[Any] = [group[0] if len(group) == 1 else group for group in groups if group]
            target: Any = whole or None
            if len(whole) == 1 and isinstance(whole[0], dict) and whole[0].keys() == {"provider"}:
                target = whole[0]["provider"]
            match = {"models": [name]} if name != "*" else {}
            taken = [route["name"] for route in self.result.routes]
            route = unique(re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "all", taken)
            self.result.routes.append({"name": route, "match": match, "provider": target})
        # What takes much comes last, as LiteLLM takes a name before a pattern.
        self.result.routes.sort(key=lambda r: any("*" in m for m in r["match"].get("models", ["*"])))
        self._rest()
        return self.result

    def _section(self, name: str) -> Mapping[str, Any]:
        value = self.document.get(name)
        return value if isinstance(value, dict) else {}

    # A deployment

    def _model(self, entry: Any, where: Location) -> None:
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        name = entry.get("model_name") if isinstance(entry, dict) else None
        if not isinstance(params, dict) or not isinstance(name, str) or not isinstance(params.get("model"), str):
            self._lost(where, "has no model_name, or no litellm_params with a model")
            return
        place = (*where, "litellm_params")
        found = self._vendor(params, place)
        if found is None:
            return
        type, model = found
        block = self._block(type, params, place)
        if block is None:
            return
        for key in params:
            if key in _SETTINGS:
                setting = {"name": key, "value": params[key], "overwrite": False}
                block.setdefault("customSettings", []).append(setting)
            elif key not in _READ and key not in _IGNORED:
                self._lost((*place, key), "has no equivalent here")
        provider = self._shared(block, type)
        mapping = provider.setdefault("modelMapping", {})
        step: dict[str, Any] = {"provider": provider["id"]}
        if "*" in name:
            if model != name:
                mapping["~^" + re.escape(name).replace(r"\*", "(.*)") + "$"] = model.replace("*", "${1}")
        else:
            mapping.setdefault(name, model)
            if mapping[name] != model:
                step["model"] = model
        if not mapping:
            del provider["modelMapping"]
        weight = params.get("weight")
        if isinstance(weight, int | float) and not isinstance(weight, bool) and weight >= 1:
            step["weight"] = min(int(weight), 1000)
        group = self.groups.setdefault(name, [])
        if step not in group:
            group.append(step)

    def _vendor(self, params: Mapping[str, Any], place: Location) -> tuple[str, str] | None:
        """Our type, and the vendor's own name of the model."""
        said = params.get("custom_llm_provider")
        first, slash, rest = str(params["model"]).partition("/")
        if said is None and slash and (known := self._type(first)):
            if first == "bedrock" and rest.partition("/")[0] in ("converse", "invoke", "converse_like"):
                rest = rest.partition("/")[2]
            return known, rest
        if said is not None and (known := self._type(str(said))):
            return known, str(params["model"]).removeprefix(f"{said}/")
        if said is None and not slash:
            for pattern, known in _BARE:
                if pattern.match(first):
                    return known, first
        if said is None and params.get("api_base"):
            return "openai", str(params["model"])
        names = sorted({*_TYPES, *_SAME})
        wanted = str(said or first)
        message = (
            f"there is no vendor {wanted!r} here{did_you_mean(wanted, names)}; what it would have taken is refused"
        )
        self._lost((*place, "custom_llm_provider" if said else "model"), message)
        name = str(self.document["model_list"][place[1]]["model_name"])
        self.groups.setdefault(name, [])
        return None

    @staticmethod
    def _type(name: str) -> str | None:
        return _TYPES.get(name) or (name if name in _SAME else None)

    def _block(self, type: str, params: Mapping[str, Any], place: Location) -> dict[str, Any] | None:
        """A provider without its id."""
        block: dict[str, Any] = {"type": type}
        base = params.get("api_base") or params.get("base_url")
        version = params.get("api_version")
        if type == "azure":
            if not base:
                self._lost(place, "azure without api_base has no address")
                return None
            url = str(_text(base)).rstrip("/")
            block["azureServiceUrl"] = f"{url}?api-version={_text(version or '2024-10-21')}"
        elif base and type == "openai":
            block["openaiCustomUrl"] = _text(base)
        elif base and type in ROWS and any(key.kind == "url" for key in ROWS[type].keys):
            block[next(key.name for key in ROWS[type].keys if key.kind == "url")] = _text(base)
        elif base:
            origin = re.match(r"https?://[^/?#]+", str(_text(base)))
            if origin is None:
                self._lost((*place, "api_base"), "an address from a variable has no equivalent here: write it out")
            else:
                block["endpoint"] = origin[0]
        if type == "qwen":
            block["qwenEnableCompatible"] = True
            if base and (host := re.match(r"https?://([^/?#]+)", str(_text(base)))):
                block["qwenDomain"] = host[1]
                block.pop("endpoint", None)
        for theirs, ours in _OWN.items():
            if theirs in params:
                block[ours] = _text(params[theirs])
        key = params.get("api_key")
        if key is not None:
            block["apiTokens"] = [_text(key)]
        elif type in ("bedrock", "vertex"):
            self._without_key(type, block, place)
        elif type not in ROWS or ROWS[type].quirks.key == "required":
            variable = _KEYS.get(type) or (ROWS[type].env[0] if type in ROWS else key_variable(type))
            block["apiTokens"] = ["${" + variable + "}"]
        return block

    def _without_key(self, type: str, block: dict[str, Any], place: Location) -> None:
        if type == "bedrock":
            block.setdefault("awsRegion", "us-east-1")
            if "awsAccessKey" not in block:
                block |= {"awsAccessKey": "${AWS_ACCESS_KEY_ID}", "awsSecretKey": "${AWS_SECRET_ACCESS_KEY}"}
                self._lost(place, "keys of AWS' own chain are not looked for: they are read from the environment")
        elif "vertexAuthKey" not in block:
            block["vertexAuthKey"] = "${VERTEX_AUTH_KEY}"
            self._lost(place, "Google's default credentials are not looked for: VERTEX_AUTH_KEY is a service account")

    def _shared(self, block: dict[str, Any], type: str) -> dict[str, Any]:
        """The provider that a block is, one for all that differ in models alone."""
        for known in self.result.providers:
            if {key: value for key, value in known.items() if key not in ("id", "modelMapping")} == block:
                return known
        id = unique(type, (provider["id"] for provider in self.result.providers))
        provider = {"id": id, **block}
        self.result.providers.append(provider)
        return provider

    # What is said of all

    def _fallbacks(
        self, router: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[dict[str, list[str]], list[str]]:
        falls: dict[str, list[str]] = {}
        for section, found in (("router_settings", router), ("litellm_settings", settings)):
            listed = found.get("fallbacks")
            for index, entry in enumerate(listed if isinstance(listed, list) else ()):
                for name, others in entry.items() if isinstance(entry, dict) else ():
                    names = [str(one) for one in others] if isinstance(others, list) else [str(others)]
                    falls.setdefault(str(name), []).extend(names)
                    for one in names:
                        if one not in self.groups:
                            hint = did_you_mean(one, self.groups)
                            self._lost((section, "fallbacks", index), f"model_list has no {one!r}{hint}")
        defaults = settings.get("default_fallbacks") or router.get("default_fallbacks")
        return falls, [str(one) for one in defaults] if isinstance(defaults, list) else []

    def _aliases(self, router: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        found = {}
        given = router.get("model_group_alias")
        for alias, target in given.items() if isinstance(given, dict) else ():
            name = str(target.get("model") if isinstance(target, dict) else target)
            if name in self.groups:
                found[str(alias)] = self._by_name(name)
            else:
                self._lost(("router_settings", "model_group_alias", alias), f"model_list has no {name!r}")
        return found

    def _by_name(self, name: str) -> list[dict[str, Any]]:
        """The steps of a name, for requests that ask for another."""
        return [{**step, **self._named(step, name)} for step in self.groups.get(name, [])]

    def _named(self, step: Mapping[str, Any], name: str) -> dict[str, Any]:
        """The vendor's model of a step, which the mapping does not know by an alias."""
        provider = next(one for one in self.result.providers if one["id"] == step["provider"])
        model = step.get("model") or provider.get("modelMapping", {}).get(name)
        return {"model": model} if model else {}

    def _rest(self) -> None:
        """What else stands in the file, as far as it means something."""
        general = self._section("general_settings")
        if (key := general.get("master_key")) is not None:
            self.result.clients.append({"name": "master", "key": _text(key)})
        for section, known in _SECTIONS.items():
            for key in self._section(section):
                if key not in known and key not in _IGNORED:
                    self._lost((section, key), "has no equivalent here")
        for key in self.document:
            if key not in ("model_list", *_SECTIONS):
                self._lost((key,), "has no equivalent here")


_SECTIONS = {
    "router_settings": ("fallbacks", "model_group_alias", "default_fallbacks"),
    "litellm_settings": ("fallbacks", "default_fallbacks"),
    "general_settings": ("master_key",),
}


def _text(value: Any) -> Any:
    """`os.environ/NAME` as `${NAME}`."""
    return _ENV.sub(r"${\1}", value) if isinstance(value, str) else value
