"""The configuration in words, and its JSON schema."""

import json
from pathlib import Path
from textwrap import dedent
import warnings

import pytest

from extproc.config.describe import describe, redact, schema
from extproc.config.load import Loaded, load
from extproc.config.summary import summary
from tests.unit.player import config_of

KEY = "sk-0123456789a1b2"


def read(folder: Path, text: str) -> Loaded:
    path = folder / "config.yaml"
    path.write_text(dedent(text))
    return load(path, {})


def test_what_it_quotes_is_one_line_and_no_key(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        f"""\
        provider:
          type: openai
          modelMapping: {{"a\\nProviders\\u001b[31m": 模型, {KEY}: x}}
        """,
    )
    lines = describe(loaded).splitlines()
    assert r"    mapping   a\nProviders\x1b[31m -> 模型, sk-… -> x" in lines
    assert lines.count("Providers") == 1


def test_nothing_from_the_environment_is_shown_of_a_url(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        """\
providers:
- {id: a, type: openai, openaiCustomUrl: "https://h/v1?a=${A}&api-version=${A}",
   context: {fileUrl: "https://${A}:${A}@h/a.txt?${A}"}}
- {id: b, type: azure, apiToken: x, azureServiceUrl: "https://r/openai/v1?api-version=${B}"}
routes: [{name: r, provider: a}]
"""
    )
    said = describe(load(path, {"A": "PLANTED/@:key", "B": "PLANTED0a1b2c3d4e5f6g7h8i9"}))
    assert "PLANTED" not in said
    assert "https://h/a.txt?…" in said


def test_describe(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        f"""\
        providers:
          - type: qwen
            apiTokens: [{KEY}, short]
            modelMapping: {{gpt-4*: qwen-max, keep: ""}}
            models: [gpt-4]
            context: {{fileUrl: "https://user:secret1@h/a.txt?sig=secret2", refresh: 1m}}
            customSettings:
              - {{name: temperature, value: 0.5, overwrite: false}}
              - {{name: user, value: secret3, mode: raw}}
          - type: qwen
            id: compatible
            apiToken: {KEY}
            qwenEnableCompatible: true
            responseModel: upstream
          - type: azure
            apiToken: {KEY}
            protocol: original
            azureServiceUrl: https://r.openai.azure.com?api-version=2024-02-01
            endpoint: http://[::1]:9000
          - type: openai
            openaiCustomUrl: https://o.example.com/v1?code=secret4
        routes:
          - name: one
            match: {{headers: {{authorization: Bearer qwen, x-team: a}}, hosts: ["*.b"]}}
            provider: qwen
          - name: two
            match: {{headers: {{authorization: Bearer {KEY}}}, pathPrefix: /gw, models: [gpt*], ingress: [i]}}
            provider: azure
          - {{name: rest, provider: openai}}
          - {{name: late, match: {{models: [x, y], services: [s]}}, provider: compatible}}
        clients:
          - {{name: alice, key: {KEY}, models: [gpt-4o, "qwen*"], routes: [one, rest]}}
          - {{name: bob, key: [{KEY}-old, {KEY}-new]}}
        corsOrigins: [https://chat.example.com]
        maxBodyBytes: 2048
        """,
    )
    text = describe(loaded)
    assert text == dedent(
        f"""\
        Configuration: {tmp_path}/config.yaml

        Routes (the first that matches takes the request)
          one   header authorization: Bearer qwen; header x-team: a; host *.b            -> qwen
          two   header authorization: Bearer sk-…a1b2; path /gw*; model gpt*; ingress i  -> azure
          rest  everything                                                               -> openai
          late  model x or y; service s                                                  -> compatible

        Providers
          qwen: qwen, native API
            upstream  https://dashscope.aliyuncs.com:443 (Host dashscope.aliyuncs.com, SNI dashscope.aliyuncs.com)
            keys      2: sk-…a1b2, …
            fronts    chat, messages, responses converted
            models    gpt-4
            mapping   gpt-4* -> qwen-max, keep -> (unchanged)
            context   https://h/a.txt?…, fetched every 60 s, up to 1 MiB
            setting   temperature = 0.5, where absent
            setting   user = …
          compatible: qwen, compatible mode
            upstream  https://dashscope.aliyuncs.com:443 (Host dashscope.aliyuncs.com, SNI dashscope.aliyuncs.com)
            keys      1: sk-…a1b2
            fronts    chat, messages, responses passed
            models    as the vendor lists them
            answers   carry the vendor's model names
          azure: azure, protocol original: clients speak the vendor's own API
            upstream  http://[::1]:9000 (Host r.openai.azure.com)
            address   https://r.openai.azure.com?api-version=2024-02-01
            keys      1: sk-…a1b2
            models    as the vendor lists them
          openai: openai
            upstream  https://o.example.com:443 (Host o.example.com, SNI o.example.com)
            address   https://o.example.com/v1?…
            keys      none: requests go without one
            fronts    chat, responses passed; messages converted
            models    as the vendor lists them

        Clients (without a valid key of one of them: 401)
          alice  1 key: sha256:4f5e…; model gpt-4o or qwen*; route one or rest
          bob    2 keys: sha256:f421…, sha256:5398…; any model; any route

        Limits
          JSON body up to 2 KiB
          browsers may call from https://chat.example.com

        Notes
          route late: never reached, since route rest before it takes everything
        """
    )
    assert KEY not in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("sk-0123456789a1b2", "sk-…a1b2"),
        ("0123456789ab", "…89ab"),
        ("sk-01234567", "…"),
        ("", "…"),
    ],
)
def test_redact(secret: str, shown: str) -> None:
    assert redact(secret) == shown


def test_schema_without_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json.dumps(schema())


def test_schema_explains_every_key() -> None:
    for title, definition in schema()["$defs"].items():
        assert definition["title"] == title
        for key, found in definition["properties"].items():
            assert found.get("description"), f"{title}.{key}"
            assert found.get("title", key) == key


@pytest.mark.parametrize(
    ("block", "key", "expected"),
    [
        ("Qwen", "apiTokens", {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        ("Moonshot", "fixedTemperatureModels", {"default": ["kimi-k2.5*", "kimi-k2.6*", "kimi-k3*"]}),
        ("Qwen", "modelMapping", {"type": "object", "additionalProperties": {"type": "string"}, "default": {}}),
        ("ContextFile", "refresh", {"type": ["number", "string"], "exclusiveMinimum": 0, "default": 300.0}),
        ("OpenAI", "protocol", {"enum": ["openai", "original"], "default": "openai"}),
        ("Config", "providers", {"type": "array", "minItems": 1}),
    ],
)
def test_schema_of_a_key(block: str, key: str, expected: dict[str, object]) -> None:
    found = schema()["$defs"][block]["properties"][key]
    assert {name: found.get(name) for name in expected} == expected


def test_schema_knows_native_pasted_and_plugin_documents() -> None:
    whole = schema()
    assert whole["if"] == {"required": ["kind"]}
    config = whole["$defs"]["Config"]
    assert {"provider", "activeProviderId", "providers", "routes"} <= config["properties"].keys()
    assert config["anyOf"] == [{"required": ["providers"]}, {"required": ["provider"]}]
    assert config["additionalProperties"] is False


def test_the_shared_state_is_described_without_its_password(tmp_path: Path) -> None:
    text = describe(
        read(
            tmp_path,
            "provider: {type: openai}\nredis: {url: 'rediss://u:secret1@r.test:6380/2?ssl_ca_certs=secret2'}\n",
        )
    )
    assert "Shared\n  which keys rest, through rediss://r.test:6380/2 under ai-proxy:\n" in text
    assert "secret" not in text


def test_what_is_served_is_json_for_programs_without_a_key() -> None:
    config = config_of(
        {
            "providers": [
                {
                    "id": "own",
                    "type": "openai",
                    "apiTokens": ["PLANTED"],
                    "openaiCustomUrl": "https://h:1/v1",
                },
                {"id": "q", "type": "qwen", "apiTokens": ["PLANTED", "PLANTED2"], "modelMapping": {"a*": "b"}},
            ],
            "routes": [
                {
                    "name": "r",
                    "match": {"headers": {"authorization": "Bearer PLANTED"}},
                    "provider": [{"provider": "own"}, {"provider": "q"}],
                },
                {"name": "off", "provider": None},
            ],
            "clients": [{"name": "c", "key": "PLANTED"}],
        }
    )
    said = json.loads(json.dumps(summary(config)))
    assert "PLANTED" not in json.dumps(said)
    own = said["providers"][0]
    assert (own["id"], own["host"], own["port"], own["keys"]) == ("own", "h", 1, 1)
    assert said["providers"][1]["modelMapping"] == {"a*": "b"}
    assert [[s["provider"] for g in r["provider"] for s in g] for r in said["routes"]] == [["own", "q"], []]
    assert said["clients"] == ["c"]
