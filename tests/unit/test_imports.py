"""`extproc import`: what is printed means what the file means, and says what it does not."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
import pytest

from extproc.__main__ import cli
from extproc.describe import describe
from extproc.load import load

from .test_higress import IMAGE

ROOT = Path(__file__).parents[2]

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
    return result.exit_code, result.stdout, result.stderr


def meaning(path: Path, environ: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """What `extproc check` says, the file's name and notes aside, and the keys."""
    loaded = load(path, environ)
    lines = describe(replace(loaded, notes=())).splitlines()[1:]
    return lines, [[token.get_secret_value() for token in p.tokens] for p in loaded.config.providers]


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
    from extproc.load import take

    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(text)
    code, out, err = run(given)
    assert code == 0
    assert "sk-literal" not in out + err
    made.write_text(out)
    names = take(given, ENVIRON).environ
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
  - ingress: [claude]
    config: {provider: {type: claude, apiTokens: [sk-literal]}}
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
    (8, "type", "claude are not supported yet"),
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
    assert routes["claude"] is None, "what nobody takes must not fall to the default"


def test_what_is_wrong_is_an_error(tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text(NO_DEFAULT.replace("qwenEnableCompatible: true", "qwenEnableCompatible: perhaps"))
    result = CliRunner().invoke(cli, ["import", str(given)], env=ENVIRON)
    assert "given.yaml:7" in str(result.exception)
    assert not result.stdout
