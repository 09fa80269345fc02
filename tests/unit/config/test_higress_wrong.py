"""What is wrong with a document in Higress' dialect is said with its line and its key."""

from pathlib import Path

import pytest

from extproc.config.load import ConfigError
from tests.unit.config.plugins import plugin, read


def test_ids_of_native_and_plugin_documents_may_not_clash(tmp_path: Path) -> None:
    text = "providers: [{type: openai}]\n---\n" + plugin("defaultConfig: {provider: {type: openai}}")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        "plugin.yaml:6: spec.defaultConfig.provider.type: two providers have the id 'openai': "
        "give each an id of its own"
    )


WRONG = [
    (
        "a mistake in a rule's provider keeps its line",
        """\
        matchRules:
        - ingress: [a]
          config:
            provider:
              type: qwen
              apiTokens: [x]
              qwenDomian: x
        """,
        ["10: spec.matchRules[0].config.provider.qwenDomian: unknown key (did you mean qwenDomain?)"],
    ),
    (
        "and in one of several providers",
        """\
        defaultConfig:
          providers:
          - {id: a, type: openai}
          - id: b
            type: openai
            promoteThinkingOnEmpty: true
        matchRules:
        - {ingress: [a], config: {activeProviderId: b}}
        """,
        [
            "9: spec.defaultConfig.providers[1].promoteThinkingOnEmpty: a key of Higress ai-proxy that this "
            "version does not support yet"
        ],
    ),
    (
        "an unset variable",
        "defaultConfig:\n  provider:\n    type: openai\n    apiTokens: ['${NONE}']",
        ["7: spec.defaultConfig.provider.apiTokens: the environment variable NONE is not set"],
    ),
    (
        "no such provider",
        "defaultConfig: {providers: [{id: one, type: openai}]}\nmatchRules:\n"
        "- {ingress: [a], config: {activeProviderId: oen}}",
        [
            "6: spec.matchRules[0].config.activeProviderId: no provider has the id 'oen' (did you mean one?); "
            "providers has one"
        ],
    ),
    (
        "ids that no provider here can have",
        "defaultConfig: {providers: [{id: a b, type: openai}], activeProviderId: a b}\nmatchRules:\n"
        "- {ingress: [a], config: {activeProviderId: a b}}\n"
        "- {ingress: [b], config: {provider: {id: ai_proxy_extproc, type: openai}}}",
        [
            "4: spec.defaultConfig.activeProviderId: the id 'a b' cannot be used here; allowed: letters, digits and "
            ". _ - (first a letter or digit)",
            "6: spec.matchRules[0].config.activeProviderId: the id 'a b' cannot be used here; allowed: letters, "
            "digits and . _ - (first a letter or digit)",
            "7: spec.matchRules[1].config.provider.id: the id 'ai_proxy_extproc' is the sidecar's own",
        ],
    ),
    (
        "unknown key of a configuration",
        "defaultConfig:\n  provder: {type: openai}\n  provider: {type: openai}",
        [
            "5: spec.defaultConfig.provder: unknown key (did you mean provider?)",
        ],
    ),
    (
        "a rule for nobody",
        "matchRules:\n- config: {provider: {type: openai}}",
        ["5: spec.matchRules[0]: a rule must say whose traffic it is for: a list under ingress, domain or service"],
    ),
    (
        "a rule that does nothing",
        "matchRules:\n- {ingress: [a], config: {providers: []}}",
        ["5: spec.matchRules[0].config: has neither provider nor activeProviderId, so it does nothing"],
    ),
    (
        "unknown keys of the plugin and of a rule",
        """\
        matchRule: []
        phse: AUTHN
        bogus: 3
        url: oci://x
        priority: 100
        failStrategy: FAIL_OPEN
        imagePullPolicy: Always
        imagePullSecret: x
        sha256: x
        selector: {}
        targetRef: {}
        targetRefs: []
        type: HTTP
        match: []
        verificationKey: x
        vmConfig: {}
        pluginName: x
        pluginConfig: {}
        phase: AUTHN
        matchRules:
        - {ingres: [a], ingress: [b], routeType: HTTP, config: {provider: {type: openai}}}
        - {ingress: [c], configDisabled: true, config: {provider: {type: openai}}}
        - {domains: [a.com]}
        """,
        [
            "4: spec.matchRule: unknown key (did you mean matchRules?)",
            "5: spec.phse: unknown key (did you mean phase?)",
            "6: spec.bogus: unknown key; allowed: defaultConfig, defaultConfigDisable, matchRules, url, phase, "
            "priority, failStrategy, imagePullPolicy, imagePullSecret, sha256, selector, targetRef, targetRefs, type, "
            "match, verificationKey, vmConfig, pluginName, pluginConfig",
            "24: spec.matchRules[0].ingres: unknown key (did you mean ingress?)",
            "25: spec.matchRules[1].configDisabled: unknown key (did you mean configDisable?)",
            "26: spec.matchRules[2].domains: unknown key (did you mean domain?)",
            "26: spec.matchRules[2]: a rule must say whose traffic it is for: a list under ingress, domain or service",
        ],
    ),
    (
        "the configuration under Istio's key",
        "pluginConfig: {provider: {type: openai}}",
        ["4: spec.pluginConfig: not supported; move it to defaultConfig"],
    ),
    (
        "a flag of the wrong type, and nothing to switch off",
        "defaultConfigDisable: 'true'\nmatchRules: [{ingress: [a], config: {provider: {type: openai}}}]",
        ["4: spec.defaultConfigDisable: must be true or false"],
    ),
    (
        "two providers with one id beside activeProviderId",
        """\
        defaultConfig:
          providers:
          - {id: a, type: openai, apiToken: x}
          - {id: a, type: openai, apiToken: y}
          activeProviderId: a
        matchRules:
        - {ingress: [i], config: {providers: [{type: openai}, {type: openai}], activeProviderId: openai}}
        """,
        [
            "7: spec.defaultConfig.providers[1].id: two providers have the id 'a': give each an id of its own",
            "10: spec.matchRules[0].config.providers[1].type: two providers have the id 'openai': give each an id of "
            "its own",
        ],
    ),
    (
        "a domain that can never match",
        "matchRules:\n- domain: [a.com, 'https://b.com']\n  config: {provider: {type: openai}}",
        [
            "5: spec.matchRules[0].domain[1]: no host can match 'https://b.com'; allowed: api.example.com, "
            "*.example.com, example.*, *, [::1]"
        ],
    ),
    (
        "wrong shapes",
        """\
        defaultConfigDisable: maybe
        defaultConfig: {provider: x}
        matchRules:
        - 5
        - {ingress: a}
        - {ingress: [5]}
        - {ingress: [a], config: []}
        - {ingress: [a], config: {providers: x, provider: }}
        """,
        [
            "4: spec.defaultConfigDisable: must be true or false",
            "5: spec.defaultConfig.provider: must be a mapping: one provider block",
            "7: spec.matchRules[0]: must be a mapping with ingress, domain or service, and config",
            "8: spec.matchRules[1].ingress: must be a list of names",
            "9: spec.matchRules[2].ingress: must be a list of names",
            "10: spec.matchRules[3].config: must be a mapping: the plugin's configuration",
            "10: spec.matchRules[3].config: from defaultConfig: must be a mapping: one provider block",
            "11: spec.matchRules[4].config.providers: must be a list of provider blocks",
        ],
    ),
    ("matchRules is no list", "matchRules: {a: 1}", ["4: spec.matchRules: must be a list of rules"]),
    (
        "nothing is active",
        "defaultConfig: {providers: [{type: openai}]}",
        [
            "3: spec: nothing is active: give defaultConfig or a rule a provider, or activeProviderId with providers",
        ],
    ),
]


@pytest.mark.parametrize(("spec", "expected"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_wrong(tmp_path: Path, spec: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, plugin(spec))
    found = str(caught.value).replace(f"{tmp_path}/plugin.yaml:", "").splitlines()
    assert found == expected


def test_a_plugin_without_spec(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plugin\.yaml:1: spec: must be a mapping"):
        read(tmp_path, "kind: WasmPlugin\nmetadata: {name: ai-proxy}\n")
