"""`extproc import`: what is printed means what the file means, and says what it does not."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
import pytest

from extproc.cli.commands import cli
from extproc.config.describe import describe
from extproc.config.load import ConfigError, load
from extproc.imports.report import take
from extproc.providers import Azure, OpenAI
from tests.unit.config.test_higress import IMAGE

ROOT = Path(__file__).parents[3]

RULES = """\
kind: WasmPlugin
metadata: {name: ai-proxy}
spec:
  defaultConfig:
    providers:
    - id: a
      type: qwen
      apiTokens: [sk-literal-a1, sk-literal-a2, "${OTHER}"]
      modelMapping: {"*": qwen-turbo, "~^x(.*)": "$1"}
    - {id: b, type: openai, apiToken: sk-literal-b, failover: {enabled: true, healthCheckModel: gpt-4o}}
    - {id: openai, type: openai, apiTokens: ["${OPENAI_API_KEY}"]}
    activeProviderId: a
  matchRules:
  - {ingress: [one, default/two], config: {activeProviderId: b}}
  - {domain: ["*.example.com"], config: {activeProviderId: openai}}
  - {service: [openai.dns], config: {provider: {type: openai, apiTokens: [sk-literal-openai]}}}
  - {ingress: [off], configDisable: true, config: {activeProviderId: b}}
"""

NO_DEFAULT = """\
kind: WasmPlugin
metadata: {name: ai-proxy}
spec:
  defaultConfigDisable: true
  defaultConfig: {provider: {type: moonshot, apiTokens: [sk-literal-m]}}
  matchRules:
  - {ingress: [qwen], config: {provider: {type: qwen, apiTokens: [sk-literal-q], qwenEnableCompatible: true}}}
  - {ingress: [off], configDisable: true}
"""

FILES = {
    "the all-in-one image's": IMAGE,
    "providers, rules of every kind, keys from everywhere": RULES,
    "no default": NO_DEFAULT,
    "the example": (ROOT / "examples/higress-wasmplugin.yaml").read_text(),
    "the attached gateway's": (ROOT / "tests/attach/higress.yaml").read_text(),
    "an inner configuration": "provider: {type: qwen, apiTokens: [sk-literal-inner]}\n",
    "native": "providers: [{type: openai, apiTokens: [sk-literal-n]}]\n",
}
ENVIRON = {"OTHER": "sk-other", "OPENAI_API_KEY": "sk-o", "MOONSHOT_API_KEY": "sk-m", "DASHSCOPE_API_KEY": "sk-d"}


def run(path: Path, *options: str, environ: Mapping[str, str] = ENVIRON) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(cli, ["import", str(path), *options], env=dict(environ))
    if isinstance(result.exception, ConfigError):  # as `main` says it
        return 2, result.stdout, f"{result.stderr}{result.exception}"
    return result.exit_code, result.stdout, result.stderr


def meaning(path: Path, environ: Mapping[str, str]) -> tuple[list[str], list[list[object]]]:
    """What `extproc check` says, the file's name and notes aside, and what it does not say: keys and whole URLs."""
    loaded = load(path, environ)
    lines = describe(replace(loaded, notes=())).splitlines()[1:]
    config = loaded.config
    hidden: list[list[object]] = [[token.get_secret_value() for token in p.tokens] for p in config.providers]
    hidden += [[p.context and p.context.file_url, *p.custom_settings] for p in config.providers]
    hidden += [[p.azure_service_url.partition("#")[0]] for p in config.providers if isinstance(p, Azure)]
    hidden += [[p.openai_custom_url] for p in config.providers if isinstance(p, OpenAI)]
    hidden += [[key.digest for key in client.keys] for client in config.clients]
    hidden += [[config.redis and config.redis.url.get_secret_value()]]
    return lines, hidden


@pytest.mark.parametrize("service", ["", "qwen"])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_what_is_printed_means_the_same(text: str, service: str, tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(text)
    environ = ENVIRON | {"DEFAULT_AI_SERVICE": service}
    code, out, _ = run(given, "--keep-keys", environ=environ)
    assert code == 0
    made.write_text(out)
    assert meaning(made, ENVIRON) == meaning(given, environ)


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_keys_are_named_not_printed(text: str, tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(text)
    code, out, err = run(given)
    assert code == 0
    assert "sk-literal" not in out + err
    made.write_text(out)
    names = {named.name: named.value for named in take(given, ENVIRON).named}
    for name in names:
        assert f"set {name}: " in err
    assert meaning(made, ENVIRON | names) == meaning(given, ENVIRON)


LOST = """\
kind: WasmPlugin
metadata: {name: ai-proxy}
spec:
  defaultConfig:
    provider: {type: qwen, apiTokens: [sk-literal], promoteThinkingOnEmpty: true}
  matchRules:
  - ingress: [cohere]
    config: {provider: {type: cohere, apiTokens: [sk-literal]}}
  - ingress: [gpt]
    config:
      provider:
        type: openai
        apiTokens: [sk-literal]
        basePath: /gpt
        hiclawMode: false
        azureServiceUrl: https://r.openai.azure.com
        subPath: /x
        newKey: 1
"""

REPORT = [
    (5, "promoteThinkingOnEmpty", "does not support yet"),
    (8, "type", "cohere are not supported yet"),
    (14, "basePath", "does not support yet"),
    (16, "azureServiceUrl", "a key of type azure"),
    (17, "subPath", "never read this key"),
    (18, "newKey", "unknown key"),
]


def test_what_is_lost_is_reported_with_key_file_and_line(tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(LOST)
    code, out, err = run(given)
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("not taken over: ")]
    assert len(lines) == len(REPORT)
    for line, (number, key, message) in zip(lines, REPORT, strict=True):
        assert f"{given}:{number}: " in line
        assert f".{key}: " in line
        assert message in line
        assert f"# {line}\n" in out
    assert "hiclawMode" not in out + err
    made.write_text(out)
    environ = ENVIRON | {"DASHSCOPE_API_KEY": "a", "OPENAI_API_KEY": "b"}
    routes = {route.name: route.provider for route in load(made, environ).config.routes}
    assert routes["cohere"] is None, "what nobody takes must not fall to the default"


def test_what_is_wrong_and_what_is_lost_are_both_said(tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text(LOST.replace("type: qwen,", "type: qwen, qwenEnableCompatible: perhaps,"))
    code, out, err = run(given)
    assert code == 2
    assert not out, "what does not load is not printed"
    assert f"wrong: {given}:5: spec.defaultConfig.provider.qwenEnableCompatible: " in err
    assert err.count("not taken over: ") == len(REPORT)


def test_a_file_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text(rule("{provider: {type: cohere, apiToken: x}}"))
    code, out, err = run(given)
    assert (code, out) == (2, "")
    assert "wrong: " in err
    assert "nothing is left" in err
    assert "providers of type cohere are not supported yet" in err


PLANTED = "PlantedKey"
"""Begins every key of the files below. It looks like none, so no mask hides it."""


def rule(config: str, *more: str) -> str:
    """A plugin whose first rule has `config`."""
    rules = "".join(f"  - {text}\n" for text in more)
    head = "kind: WasmPlugin\nmetadata: {name: ai-proxy}\nspec:\n  matchRules:\n"
    return f"{head}  - {{ingress: [one], config: {config}}}\n{rules}"


def qwen(more: str, type: str = "qwen") -> str:
    return rule(f"{{provider: {{type: {type}, {more}}}}}")


STALE_RULES = """\
kind: WasmPlugin
metadata: {name: ai-proxy}
spec:
  defaultConfig:
    providers:
    - {id: a, type: qwen, apiToken: PlantedKey}
    - {id: no blanks, type: qwen, apiToken: PlantedKey}
    - {id: ai_proxy_extproc, type: qwen, apiToken: PlantedKey}
    activeProviderId: %s
  matchRules:
  - {ingress: [good], config: {activeProviderId: a}}
  - {ingress: [unknown], config: {activeProviderId: b}}
  - {ingress: [illegal], config: {activeProviderId: no blanks}}
  - {ingress: [own], config: {provider: {id: a/b, type: qwen, apiToken: PlantedKey}}}
  - ingress: [reserved]
    config: {activeProviderId: ai_proxy_extproc}
  - {ingress: [idle], config: {provider: null, activeProviderId: ""}}
  - {ingress: [heir], config: {}}
"""


@pytest.mark.parametrize("default", ["a", "gone"])
def test_a_stale_rule_is_left_out_and_refuses(default: str, tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(STALE_RULES % default)
    code, out, err = run(given)
    assert code == 1, err
    lost = [line for line in err.splitlines() if line.startswith("not taken over: ")]
    lines = [9, 12, 13, 14, 16, 17, 18] if default == "gone" else [12, 13, 14, 16, 17]
    assert [int(line.split(":")[2]) for line in lost] == lines
    assert all("left out, and what it would have taken is refused" in line for line in lost)
    made.write_text(out)
    routes = {r.name: r.provider is not None for r in load(made, {"A_API_KEY": "x"}).config.effective_routes}
    refused = dict.fromkeys(("unknown", "illegal", "own", "reserved", "idle"), False)
    heir = {"heir": True, "default": True} if default == "a" else {"heir": False}
    assert routes == {"good": True, **refused, **heir}
