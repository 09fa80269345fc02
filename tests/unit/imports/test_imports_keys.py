"""`extproc import`: no key is printed, and what is none is taken over."""

from pathlib import Path
import re

import pytest

from extproc.config.load import load
from extproc.imports.report import take

from .test_imports import ENVIRON, PLANTED, meaning, qwen, rule, run

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
            "{provider: {type: bedrock, awsRegion: us-east-1, awsAccessKey: PlantedKey1,"
            " awsSecretKey: PlantedKey2}}",
            "{ingress: [b], config: {provider: {type: hunyuan, hunyuanAuthId: PlantedKey3, hunyuanAuthKey: x}}}",
            "{ingress: [c], config: {provider: {type: vertex, vertexProjectId: p,"
            " vertexAuthKey: '{\"private_key\": \"PlantedKey\"}'}}}",
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


HARMLESS = {
    "a number under the name of a token": setting("max_tokens", "100").replace("'100'", '"100"'),
    "a long number": setting("max_tokens", "1000000000"),
    "a short text": setting("tokenizer", "qwen"),
    "a model's name": setting("draft", "Qwen2.5-72B-Instruct-GPTQ-Int4"),
    "a sentence": setting("a", "Answer with keywords, and keep basic secrets: none of them."),
    "an author": header("x-author", "alice"),
    "a number in a header": header("x-key-version", "20240601"),
    "a deployment": rule(
        AZURE % "https://r.azure.com/openai/deployments/Gpt-4o-Mini-Production-01?api-version=2024-06-01"
    ),
    "a UUID in a path": qwen("openaiCustomUrl: 'https://h/a1b2c3d4-e29b-41d4-a716-4466554400af/v1'", "openai"),
    "a model whose name has one of a key's": qwen("apiToken: x, modelMapping: {monkey-1: qwen-plus}"),
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
