"""Higress' dialect: `WasmPlugin` documents, and its tables of keys and types."""

from pathlib import Path

import pytest

from extproc.config import higress
from extproc.config.load import ConfigError, Loaded
from tests.unit.config.plugins import plugin, read
from tests.unit.player import only_provider

# As the all-in-one image 1.3.6 laid its ai-proxy plugin down, with keys put in.
IMAGE = """\
apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata:
  annotations:
    higress.io/wasm-plugin-title: AI Proxy
  labels:
    higress.io/resource-definer: higress
    higress.io/wasm-plugin-built-in: "false"
    higress.io/wasm-plugin-category: custom
    higress.io/wasm-plugin-name: ai-proxy
    higress.io/wasm-plugin-version: 1.0.0
  name: ai-proxy-1.0.0
  namespace: higress-system
spec:
  defaultConfig: {}
  defaultConfigDisable: true
  matchRules:
  - config:
      provider:
        type: qwen
        apiTokens:
        - "sk-qwen-1"
        - "sk-qwen-2"
        modelMapping:
          '*': "qwen-max"
          gpt-3: "qwen-turbo"
          gpt-35-turbo: "qwen-plus"
          gpt-4-turbo: "qwen-max"
    configDisable: false
    ingress:
    - qwen
  - config:
      provider:
        type: azure
        apiTokens:
        - "azure-key"
        azureServiceUrl: https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-02-01
    configDisable: false
    ingress:
    - azure-openai
  - config:
      provider:
        type: openai
        apiTokens:
        - "sk-openai"
    configDisable: false
    ingress:
    - openai
  - config:
      provider:
        type: moonshot
        apiTokens:
        - "sk-moonshot"
        modelMapping:
          '*': "moonshot-v1-128k"
    configDisable: false
    ingress:
    - moonshot
  phase: UNSPECIFIED_PHASE
  priority: "100"
  url: oci://higress-registry.cn-hangzhou.cr.aliyuncs.com/plugins/ai-proxy:1.0.0
"""

NATIVE_NOTE = (
    "native API (Higress' own default is compatible mode since 2025; set qwenEnableCompatible: true to have that)"
)
NO_DEFAULT = "no default route: requests that no route takes are answered with 404"


def routes(loaded: Loaded) -> list[tuple[str, dict[str, object], str]]:
    return [(r.name, r.match.model_dump(exclude_defaults=True), only_provider(r)) for r in loaded.config.routes]


def test_as_the_image_wrote_it(tmp_path: Path) -> None:
    loaded = read(tmp_path, IMAGE)
    names = ["qwen", "azure", "openai", "moonshot"]
    ingresses = ["qwen", "azure-openai", "openai", "moonshot"]
    assert [(p.id, p.type, len(p.tokens)) for p in loaded.config.providers] == [
        (name, name, 2 if name == "qwen" else 1) for name in names
    ]
    assert routes(loaded) == [(i, {"ingress": (i,)}, n) for i, n in zip(ingresses, names, strict=True)]
    assert loaded.config.by_id["qwen"].upstream_model("gpt-35-turbo") == "qwen-plus"
    assert [note for note in loaded.notes if " retires on " not in note] == [f"qwen: {NATIVE_NOTE}", NO_DEFAULT]


def test_default_service_of_the_environment(tmp_path: Path) -> None:
    loaded = read(tmp_path, IMAGE, {"DEFAULT_AI_SERVICE": "azure-openai"})
    assert routes(loaded)[0] == ("qwen", {"ingress": ("qwen",)}, "qwen")
    assert routes(loaded)[1:2] == [("azure-openai", {"ingress": ("azure-openai",)}, "azure")]
    assert routes(loaded)[4:] == [("default", {}, "azure")]
    assert NO_DEFAULT not in loaded.notes

    note = "DEFAULT_AI_SERVICE is azure-openai: azure takes what no rule takes, although defaultConfigDisable is set"
    assert note in loaded.notes


def test_default_service_whose_rule_is_switched_off(tmp_path: Path) -> None:
    text = plugin(
        """\
        matchRules:
        - {ingress: [off, both], configDisable: true}
        - {ingress: [on, both], config: {provider: {type: openai}}}
        """
    )
    loaded = read(tmp_path, text, {"DEFAULT_AI_SERVICE": "off"})
    assert loaded.notes == (
        "rule off: configDisable, so its traffic is refused",
        "DEFAULT_AI_SERVICE is off, whose rule is switched off, so there is no default",
        NO_DEFAULT,
    )
    loaded = read(tmp_path, text, {"DEFAULT_AI_SERVICE": "both"})
    assert routes(loaded)[-1] == ("default", {}, "openai")
    assert loaded.notes == ("rule off: configDisable, so its traffic is refused",)


def test_a_rule_switched_off_leaves_its_traffic_to_the_default(tmp_path: Path) -> None:
    spec = "defaultConfig: {provider: {type: openai}}\nmatchRules: [{ingress: [off], configDisable: true}]"
    assert read(tmp_path, plugin(spec)).notes == ("rule off: configDisable, so its traffic falls to defaultConfig",)
    loaded = read(tmp_path, plugin(f"{spec}\ndefaultConfigDisable: true\n").replace("}]", "}, {ingress: [i]}]"))
    assert loaded.notes[0] == "rule off: configDisable, so its traffic is refused"


def test_default_service_that_no_rule_names(tmp_path: Path) -> None:
    loaded = read(tmp_path, IMAGE, {"DEFAULT_AI_SERVICE": "azure-opnai"})
    note = "DEFAULT_AI_SERVICE is azure-opnai, which no rule names (did you mean azure-openai?)"
    assert note in loaded.notes
    assert len(routes(loaded)) == 4


SPECS = [
    (
        "kinds, order, default last",
        """\
        defaultConfig: {provider: {type: openai}}
        matchRules:
        - {domain: ["*.a.com", b.com], config: {provider: {type: openai, id: one}}}
        - {service: [llm-x.internal.dns], ingress: [x, y], config: {provider: {type: openai, id: two}}}
        - {domain: ["*"], config: {provider: {type: openai, id: one}}}
        """,
        [
            ("*.a.com", {"hosts": ("*.a.com", "b.com")}, "one"),
            ("x", {"ingress": ("x", "y")}, "two"),
            ("llm-x.internal.dns", {"services": ("llm-x.internal.dns",)}, "two"),
            ("*", {}, "one"),
            ("default", {}, "openai"),
        ],
    ),
    (
        "providers and activeProviderId of the default, chosen by rules",
        """\
        defaultConfig:
          providers: [{id: a, type: openai}, {id: b, type: openai, protocol: original}]
        matchRules:
        - {service: [sa], config: {activeProviderId: a}}
        - {service: [sb], config: {activeProviderId: b}}
        """,
        [("sa", {"services": ("sa",)}, "a"), ("sb", {"services": ("sb",)}, "b")],
    ),
    (
        "activeProviderId of the default, overridden key by key",
        """\
        defaultConfig:
          providers: [{id: a, type: openai}, {id: b, type: openai, protocol: original}]
          activeProviderId: a
        matchRules:
        - {service: [sb], config: {activeProviderId: b}}
        - {service: [sa], config: {}}
        """,
        [("sb", {"services": ("sb",)}, "b"), ("sa", {"services": ("sa",)}, "a"), ("default", {}, "a")],
    ),
    (
        "provider wins",
        """\
        defaultConfig: {providers: [{id: a, type: openai}], activeProviderId: a}
        matchRules: [{ingress: [i], config: {provider: {type: openai, id: p}}}]
        """,
        [("i", {"ingress": ("i",)}, "p"), ("default", {}, "a")],
    ),
    (
        "a rule that chooses is not overruled by the default's single provider",
        """\
        defaultConfig: {provider: {type: openai, id: p}}
        matchRules:
        - {ingress: [i], config: {providers: [{id: a, type: openai}], activeProviderId: a}}
        - {ingress: [j], config: {activeProviderId: p}}
        """,
        [("i", {"ingress": ("i",)}, "a"), ("j", {"ingress": ("j",)}, "p"), ("default", {}, "p")],
    ),
    (
        "defaultConfigDisable, and configDisable",
        """\
        defaultConfig: {provider: {type: openai, id: p}}
        defaultConfigDisable: true
        matchRules:
        - {ingress: [i]}
        - {ingress: [j], configDisable: true}
        """,
        [("i", {"ingress": ("i",)}, "p"), ("j", {"ingress": ("j",)}, None)],
    ),
    (
        "configDisable with a default that takes over, and another rule before it",
        """\
        defaultConfig: {provider: {type: openai, id: p}}
        matchRules:
        - {ingress: [j], configDisable: true}
        - {ingress: [i, j], config: {provider: {type: openai, id: q}}}
        """,
        [("i", {"ingress": ("i", "j")}, "q"), ("default", {}, "p")],
    ),
    (
        "configDisable without a default: other rules come first",
        """\
        matchRules:
        - {domain: [a.com], configDisable: true}
        - {domain: ["*.com"], config: {provider: {type: openai, id: q}}}
        """,
        [("*.com", {"hosts": ("*.com",)}, "q"), ("a.com", {"hosts": ("a.com",)}, None)],
    ),
    (
        "ids made of domains",
        """\
        matchRules:
        - {domain: [a.com], config: {provider: {type: openai, apiToken: x}}}
        - {domain: ["*"], config: {provider: {type: openai, apiToken: y}}}
        - {domain: ["*.b.com"], config: {provider: {type: openai, apiToken: z}}}
        """,
        [
            ("a.com", {"hosts": ("a.com",)}, "openai"),
            ("*", {}, "openai-2"),
            ("*.b.com", {"hosts": ("*.b.com",)}, "openai-b.com"),
        ],
    ),
    (
        "same id, different blocks; identical blocks are shared",
        """\
        matchRules:
        - {ingress: [i], config: {provider: {type: openai, apiToken: x}}}
        - {ingress: [j], config: {provider: {type: openai, apiToken: y}}}
        - {ingress: [k], config: {provider: {type: openai, apiToken: y}}}
        - {ingress: [i], config: {provider: {type: openai, apiToken: z}}}
        - {ingress: [i], config: {provider: {type: openai, apiToken: w}}}
        """,
        [
            ("i", {"ingress": ("i",)}, "openai"),
            ("j", {"ingress": ("j",)}, "openai-j"),
            ("k", {"ingress": ("k",)}, "openai-j"),
            ("i-ingress", {"ingress": ("i",)}, "openai-i"),
            ("i-ingress-2", {"ingress": ("i",)}, "openai-i-2"),
        ],
    ),
]


@pytest.mark.parametrize(("spec", "expected"), [c[1:] for c in SPECS], ids=[c[0] for c in SPECS])
def test_rules(tmp_path: Path, spec: str, expected: list[tuple[str, dict[str, object], str]]) -> None:
    assert routes(read(tmp_path, plugin(spec))) == expected


def test_notes(tmp_path: Path) -> None:
    text = "\n---\n".join(
        [
            "kind: Ingress\nmetadata: {name: x}",
            "kind: WasmPlugin\nmetadata: {name: key-auth}\nspec: {url: 'oci://x/key-auth:1', defaultConfig: {}}",
            plugin(
                """\
                defaultConfig: {providers: [{id: a, type: openai}, {id: b, type: gemini}]}
                matchRules:
                - {ingress: [i], config: {activeProviderId: a}}
                - {ingress: [off, x], configDisable: true}
                - ingress: [q]
                  config: {provider: {type: qwen, apiToken: x, qwenEnableCompatible: true}}
                """
            ),
        ]
    )
    loaded = read(tmp_path, text)
    file = tmp_path / "plugin.yaml"
    assert loaded.notes == (
        f"{file}:1: a document of kind Ingress, skipped",
        f"{file}:4: WasmPlugin key-auth is not ai-proxy, skipped",
        "rule off: configDisable, so its traffic is refused",
        "provider b: listed, but no rule makes it active, so it is left out",
        NO_DEFAULT,
    )


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"metadata": {"name": "ai-proxy.internal"}}, True),
        ({"spec": {"url": "oci://x/plugins/ai-proxy:1.0.0"}}, True),
        ({"spec": {"defaultConfig": {"providers": []}}}, True),
        ({"spec": {"matchRules": [{"config": {"activeProviderId": "x"}}]}}, True),
        ({"metadata": {"name": "x"}, "spec": {"url": "y", "defaultConfig": {"a": 1}, "matchRules": [5]}}, False),
        ({}, False),
    ],
)
def test_which_plugins_are_ai_proxy(document: dict[str, object], expected: bool) -> None:
    assert higress.is_ai_proxy(document) is expected


def test_several_documents_and_a_list(tmp_path: Path) -> None:
    one = plugin("matchRules: [{ingress: [i], config: {provider: {type: openai, id: a}}}]")
    text = f"""{one}---
kind: List
items:
- kind: WasmPlugin
  metadata: {{name: ai-proxy}}
  spec: {{defaultConfig: {{provider: {{type: openai, id: b}}}}}}
---
providers: [{{type: openai, id: c}}]
routes: [{{name: i, match: {{models: [x]}}, provider: c}}]
"""
    loaded = read(tmp_path, text.replace("name: i,", "name: mine,"))
    assert [(r.name, only_provider(r)) for r in loaded.config.routes] == [("mine", "c"), ("i", "a"), ("default", "b")]
    with pytest.raises(ConfigError, match=r"two routes have the name 'i'"):
        read(tmp_path, text)


def test_tables() -> None:
    tables = [higress.UNSUPPORTED_KEYS, higress.VENDOR_KEYS, higress.DEAD_KEYS]
    assert len(frozenset.union(*tables)) == sum(map(len, tables))
