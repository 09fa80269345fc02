"""`extproc import`: what is printed means what the file means, and says what it does not."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
import re

from click.testing import CliRunner
import pytest

from extproc.__main__ import cli
from extproc.describe import describe
from extproc.imports import take
from extproc.load import ConfigError, load
from extproc.providers import Azure, OpenAI

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
    given.write_text(rule("{provider: {type: claude, apiToken: x}}"))
    code, out, err = run(given)
    assert (code, out) == (2, "")
    assert "wrong: " in err
    assert "nothing is left" in err
    assert "providers of type claude are not supported yet" in err


PLANTED = "PlantedKey"
"""Begins every key of the files below. It looks like none, so no mask hides it."""


def rule(config: str, *more: str) -> str:
    """A plugin whose first rule has `config`."""
    rules = "".join(f"  - {text}\n" for text in more)
    head = "kind: WasmPlugin\nmetadata: {name: ai-proxy}\nspec:\n  matchRules:\n"
    return f"{head}  - {{ingress: [one], config: {config}}}\n{rules}"


def qwen(more: str, type: str = "qwen") -> str:
    return rule(f"{{provider: {{type: {type}, {more}}}}}")


LONG = f"PlantedKey{40 * 'x'}"
AZURE = "{provider: {type: azure, apiToken: PlantedKey, azureServiceUrl: '%s'}}"
CLIENTS = """\
providers: [{type: openai, apiTokens: [PlantedKeyProvider]}]
clients:
- {name: team a, key: PlantedKeyClient1}
- {name: 团队, key: [PlantedKeyClient2, PlantedKeyClient3, "${OTHER}"]}
- {name: 甲, key: "PlantedKeyClient4,with-a-comma"}
- {name: hashed, key: "sha256:%s"}
""" % ("ab" * 32)
STALE = '{ingress: [stale], config: {activeProviderId: "gone\\nkey: value"}}'

OTHER_RULE = "{ingress: [two], config: {provider: {id: other, type: qwen, apiToken: PlantedKey}}}"


def in_path(url: str) -> str:
    """A provider with such a URL, beside another."""
    return rule(f"{{provider: {{type: openai, apiToken: PlantedKey, openaiCustomUrl: 'https://{url}'}}}}", OTHER_RULE)


def in_context(url: str) -> str:
    return qwen(f"apiToken: x, context: {{fileUrl: 'https://{url}'}}")


def setting(name: str, value: str) -> str:
    return qwen(f"apiToken: x, customSettings: [{{name: {name}, value: '{value}', mode: raw}}]")


def header(name: str, value: str) -> str:
    return (
        "providers: [{type: openai}]\n"
        f"routes: [{{name: a, match: {{headers: {{{name}: '{value}'}}}}, provider: openai}}]\n"
    )


SECRETS = [
    ("one key", qwen("apiToken: PlantedKey"), 0),
    ("keys in one text", qwen("apiToken: 'PlantedKey1, PlantedKey2'"), 0),
    ("keys in one text of a list", qwen("apiTokens: ['PlantedKey1,PlantedKey2', '${OTHER}']"), 0),
    ("keys of which YAML makes a key without value", qwen("apiToken: PlantedKey1, PlantedKey2"), 1),
    ("the same, twice", qwen("apiToken: PlantedKey1, PlantedKey2, PlantedKey2"), 2),
    ("a key behind its name", qwen("apiToken: x, apiToken:PlantedKey: "), 1),
    ("a key in quotes within quotes", qwen("apiToken: '\"PlantedKey\"'"), 0),
    ("a key with a half variable", qwen("apiTokens: ['${OTHER}PlantedKey']"), 2),
    ("an empty key beside another", qwen("apiTokens: ['', PlantedKey]"), 0),
    ("a key with a line break", qwen('apiTokens: ["PlantedKey\\nPlantedKey"]'), 2),
    ("keys in a mapping", qwen("apiTokens: {a: PlantedKey}"), 2),
    ("azureServiceUrl with a key", rule(AZURE % "https://r.openai.azure.com?api-version=1&api-key=PlantedKey"), 0),
    ("and in other words", rule(AZURE % "https://r.azure.com/openai/v1?code=PlantedKey%2B=&PlantedKeyBare"), 0),
    ("azureServiceUrl with a password", rule(AZURE % "https://u:PlantedKey@r.azure.com/openai/v1"), 2),
    ("azureServiceUrl with a password alone", rule(AZURE % "https://:PlantedKey@r.azure.com/openai/v1"), 2),
    ("azureServiceUrl behind #", rule(AZURE % "https://r.azure.com/openai/v1#PlantedKey"), 0),
    ("openaiCustomUrl", qwen("openaiCustomUrl: 'my.host/v1?subscription-key=PlantedKey${OTHER}'", "openai"), 0),
    ("a password with a slash", in_path("u:1/PlantedKey@my.host/v1"), 1),
    ("a key in a path", in_path("my.host/sk-PlantedKey/v1"), 1),
    ("a key in a path without scheme", in_path("my.host/sk-PlantedKey/v1").replace("https://", ""), 1),
    ("a random part of a path", in_path("my.host/PlantedKey0a1b2c3d4e5f6g7h/v1"), 1),
    ("another vendor's key in a path", in_path("my.host/glpat-PlantedKey-x_y/v1"), 1),
    ("a token of three parts in a path", in_path("my.host/eyJhbGciOiJI.PlantedKey0eyJzdWIiOiIx.abc/v1"), 1),
    ("a parameter of a path", in_path("my.host/v1;token=PlantedKey"), 1),
    ("a short parameter of a path", in_path("my.host/v1;a=PlantedKey"), 1),
    ("a key in the path of Azure", rule(AZURE % "https://r.azure.com/sk-PlantedKey?api-version=1", OTHER_RULE), 1),
    ("a key in a context's path", qwen("apiToken: x, context: {fileUrl: 'https://h/sk-PlantedKey/a.txt'}"), 1),
    ("a token as the user", in_context("PlantedKey:x@h/a.txt"), 0),
    ("a token as the user, with a colon", in_context("PlantedKey:@h/a.txt"), 0),
    ("a token as the user alone", in_context("PlantedKey@h/a.txt"), 0),
    ("a user and a password, encoded", in_context("PlantedKey%2F1:PlantedKey%40%3A@h/a.txt"), 0),
    ("a version that is none", rule(AZURE % f"https://r.azure.com/openai/v1?api-version=PlantedKey{'-x' * 12}"), 0),
    ("a version with other signs", rule(AZURE % "https://r.azure.com/openai/v1?api-version=PlantedKey+1"), 0),
    ("a version that is a key", rule(AZURE % "https://r.azure.com/openai/v1?api-version=sk-PlantedKey"), 0),
    ("a parameter that ends in =", qwen("openaiCustomUrl: 'https://h/v1?PlantedKey=='", "openai"), 0),
    ("a header's value", header("x-foo", "sk-PlantedKey1"), 2),
    ("a header's value with its scheme", header("x-foo", "Bearer PlantedKey"), 2),
    ("settings that are JSON", setting("a", '{"api_key": "PlantedKey"}'), 1),
    ("settings that are JSON in JSON", setting("a", '"{\\"api_key\\":\\"PlantedKey\\"}"'), 1),
    ("settings with a scheme", setting("a", "Bearer PlantedKey"), 1),
    ("settings with an assignment", setting("a", "password=PlantedKey"), 1),
    ("a key within settings", setting("a", "key-PlantedKey0123456789!"), 1),
    ("a key where no rule looks for one", qwen("apiToken: x, modelMapping: {sk-PlantedKey: qwen-max}"), 2),
    ("a vendor's key as a model", qwen("apiToken: PlantedKey, modelMapping: {a: PlantedKey}"), 2),
    ("the key of a setting as a model", qwen("apiToken: x, modelMapping: {a: PlantedKey}, "
     "customSettings: [{name: api_key, value: PlantedKey, mode: raw}]"), 2),
    ("an endpoint with a password", qwen("apiToken: x, endpoint: 'http://:PlantedKey@h'"), 2),
    (
        "a signed context",
        qwen("apiToken: x, context: {fileUrl: 'https://u:PlantedKey@h.com/a?Signature=PlantedKey', serviceName: x}"),
        0,
    ),
    (
        "custom settings",
        qwen("apiToken: x, customSettings: [{name: a.api_key, value: PlantedKey, mode: raw}, {name: seed, value: 1}]"),
        1,
    ),
    (
        "custom settings, deep",
        qwen("apiToken: x, customSettings: [{name: a, value: [{secret: PlantedKey}], mode: raw}]"),
        1,
    ),
    (
        "custom settings that look like a key",
        qwen("apiToken: x, customSettings: [{name: a, value: PlantedKey0123456789, mode: raw}]"),
        1,
    ),
    (
        "vendors that are not there",
        rule(
            "{provider: {type: bedrock, awsAccessKey: PlantedKey1, awsSecretKey: PlantedKey2}}",
            "{ingress: [b], config: {provider: {type: hunyuan, hunyuanAuthId: PlantedKey3, hunyuanAuthKey: x}}}",
            "{ingress: [c], config: {provider: {type: vertex, vertexAuthKey: '{\"private_key\": \"PlantedKey\"}'}}}",
            "{ingress: [d], config: {provider: {type: qwen, apiToken: PlantedKey}}}",
        ),
        1,
    ),
    ("keys of other vendors", qwen("apiToken: x, awsSecretKey: PlantedKey, moonshotFileId: PlantedKey"), 1),
    ("a key as a name", rule("{activeProviderId: PlantedKey, providers: [{type: qwen, apiToken: PlantedKey}]}"), 2),
    ("a long key in a wrong place", qwen(f"apiToken: {40 * 'x'}{LONG}, protocol: {40 * 'x'}{LONG}"), 2),
    ("a context in a file", qwen("apiToken: x, context: {fileUrl: 'file://u:PlantedKey@h/a?b=PlantedKey'}"), 1),
    ("a key in a wrong place", qwen("apiToken: PlantedKey, protocol: PlantedKey"), 2),
    ("a name that begins with a digit", qwen("apiToken: PlantedKey, id: 9router"), 0),
    ("names that are alike", rule("{provider: {type: qwen, id: a.b, apiToken: PlantedKey}}",
     "{ingress: [b], config: {provider: {type: qwen, id: a-b, apiToken: PlantedKey}}}"), 0),
    ("a name that is taken", qwen("apiTokens: [PlantedKey, '${DASHSCOPE_API_KEY}']"), 0),
    ("a stale rule", rule("{provider: {type: qwen, apiToken: PlantedKey}}", STALE), 1),
    ("names with line breaks", rule("{provider: {type: qwen, apiToken: PlantedKey}}",
     '{ingress: ["a\\nproviders: []", "b\\u2028c"], configDisable: true}'), 0),
    ("a key of YAML with a line break", qwen('apiToken: x, "bad\\nproviders: []": 1'), 1),
    ("clients", CLIENTS, 0),
    ("two clients with one key", CLIENTS.replace("Client2", "Client1"), 2),
    ("a client's key that is none", CLIENTS.replace("KeyClient1", "Key with blanks"), 2),
    ("redis", REDIS := "providers: [{type: openai}]\nredis: {url: 'redis://u:PlantedKey%40x@h:1/0'}\n", 0),
    ("redis with a password alone", REDIS.replace("u:", ":"), 0),
    ("redis with a half variable", REDIS.replace("u:", "${OTHER}:${OTHER}"), 0),
    ("redis whose URL is wrong", REDIS.replace("@h", "/@h"), 2),
    ("a route's header", "providers: [{type: openai}]\n"
     "routes: [{name: a, match: {headers: {x-api-key: PlantedKey}}, provider: openai}]\n", 2),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), [c[1:] for c in SECRETS], ids=[c[0] for c in SECRETS])
def test_no_key_is_printed_and_what_is_printed_loads(text: str, code: int, tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(text)
    found, out, err = run(given)
    assert found == code, err
    assert PLANTED not in out + err
    assert len([line for line in out.splitlines() if line.startswith("#")]) == (err.count("\n") + 1 if out else 0)
    if code == 2:
        assert not out
        assert "wrong: " in err or "said twice" in err
        return
    names = [named.name for named in take(given, ENVIRON).named]
    assert all(re.fullmatch("[A-Z][A-Z0-9_]*", name) for name in names)
    assert len(set(names)) == len(names)
    made.write_text(out)
    environ = ENVIRON | {named.name: named.value for named in take(given, ENVIRON).named}
    if code == 0 and "PlantedKey1," not in text and "''," not in text:  # `import` alone takes these
        assert meaning(made, environ) == meaning(given, ENVIRON)
    else:
        load(made, environ)


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


HARMLESS = {
    "a number under the name of a token": setting("max_tokens", "100").replace("'100'", '"100"'),
    "a long number": setting("max_tokens", "1000000000"),
    "a short text": setting("tokenizer", "qwen"),
    "a model's name": setting("draft", "Qwen2.5-72B-Instruct-GPTQ-Int4"),
    "a sentence": setting("a", "Answer with keywords, and keep your secrets."),
    "an author": header("x-author", "alice"),
    "a number in a header": header("x-key-version", "20240601"),
    "a deployment": rule(
        AZURE % "https://r.azure.com/openai/deployments/Gpt-4o-Mini-Production-01?api-version=2024-06-01"
    ),
    "a UUID in a path": qwen("openaiCustomUrl: 'https://h/a1b2c3d4-e29b-41d4-a716-4466554400af/v1'", "openai"),
    "a hash of a client's key": f"providers: [{{type: openai}}]\nclients: [{{name: a, key: 'sha256:{'ab' * 32}'}}]\n",
    "a user's name in another place": "providers: [{type: openai}]\n"
    "redis: {url: 'redis://ai-proxy:pw@h:1', keyPrefix: 'ai-proxy:'}\n",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_key_is_taken_over(text: str, tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(text.replace("PlantedKey", "x"))
    code, out, err = run(given)
    assert code == 0, err
    made.write_text(out)
    names = {named.name: named.value for named in take(given, ENVIRON).named}
    assert meaning(made, ENVIRON | names) == meaning(given, ENVIRON)


CHAIN = """\
providers:
- {id: a, type: openai, openaiCustomUrl: "https://h/sk-PlantedKey/v1"}
- {id: b, type: qwen, apiToken: PlantedKey}
routes:
- {name: one, match: {models: [x]}, provider: [{provider: a}, {provider: b}]}
- {name: two, provider: [{provider: b}]}
"""


def test_a_chain_with_a_provider_that_is_left_out_refuses(tmp_path: Path) -> None:
    given, made = tmp_path / "given.yaml", tmp_path / "made.yaml"
    given.write_text(CHAIN)
    code, out, err = run(given)
    assert code == 1, err
    assert f"{given}:2: providers[0].openaiCustomUrl: a part of the path looks like a key" in err
    assert "not taken over: " in err
    assert "OPENAI_API_KEY" not in out + err
    made.write_text(out)
    config = load(made, {"B_API_KEY": "x"}).config
    assert {route.name: route.provider is None for route in config.routes} == {"one": True, "two": False}
    assert [p.id for p in config.providers] == ["b"]


def test_what_slips_through_is_said_with_its_place_and_stops_all(tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text("providers:\n- {type: openai, apiToken: PlantedKey,\n   models: [gpt, PlantedKey-x]}\n")
    code, out, err = run(given)
    assert (code, out) == (2, "")
    assert f"wrong: {given}:3: providers[0].models[1]: looks like a key" in err
    assert PLANTED not in err
    code, out, _ = run(given, "--keep-keys")
    assert code == 0
    assert "PlantedKey-x" in out
