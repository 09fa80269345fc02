"""The words for a key, a type or a value that is wrong by itself."""

from pathlib import Path

import pytest

from tests.unit.configurations import TYPES, problems

PLAIN = "without login, white space and what is not ASCII"

WRONG = [
    (
        "what others call it",
        """\
        providers:
          - {type: openai, base_url: x, api_key: y}
          - {type: azure, id: b, apiBase: x, apiKey: y}
          - {type: qwen, id: c, baseURL: x, model_map: {}}
        """,
        [
            "config.yaml:2: providers[0].base_url: unknown key (did you mean openaiCustomUrl?)",
            "config.yaml:2: providers[0].api_key: unknown key (did you mean apiTokens?)",
            "config.yaml:3: providers[1].azureServiceUrl: missing key",
            "config.yaml:3: providers[1].apiBase: unknown key (did you mean azureServiceUrl?)",
            "config.yaml:3: providers[1].apiKey: unknown key (did you mean apiTokens?)",
            "config.yaml:4: providers[2].baseURL: unknown key (did you mean endpoint?)",
            "config.yaml:4: providers[2].model_map: unknown key (did you mean modelMapping?)",
        ],
    ),
    (
        "one of several forms",
        """\
        providers: [{type: openai}]
        routes: [{name: r, provider: openai, retry: {on: [teapot, 200]}}]
        """,
        [
            "config.yaml:2: routes[0].retry.on[0]: found the text 'teapot' (did you mean timeout?); "
            "allowed: 5xx, connect, reset, timeout, or a whole number",
            "config.yaml:2: routes[0].retry.on[1]: found the number 200; "
            "allowed: 5xx, connect, reset, timeout, or must be greater than or equal to 400",
        ],
    ),
    (
        "unknown key, nearly right",
        """\
        providers:
          - type: qwen
            apiTokens: [sk-1]
            qwenDomian: x
        """,
        ["config.yaml:4: providers[0].qwenDomian: unknown key (did you mean qwenDomain?)"],
    ),
    (
        "unknown key of a small block",
        """\
        providers:
          - type: openai
            tls: {bundle: x}
        """,
        ["config.yaml:3: providers[0].tls.bundle: unknown key; allowed: caFile"],
    ),
    (
        "unknown key at the top",
        "providers: [{type: openai}]\nroute: []\n",
        ["config.yaml:2: route: unknown key (did you mean routes?)"],
    ),
    (
        "a provider's key at the top",
        "providers: [{type: openai}]\nqwenDomain: x\n",
        ["config.yaml:2: qwenDomain: unknown key here: it belongs into a provider, under providers"],
    ),
    (
        "unknown key in a match",
        "providers: [{type: openai}]\nroutes:\n  - name: a\n    provider: openai\n    match: {host: []}\n",
        ["config.yaml:5: routes[0].match.host: unknown key (did you mean hosts?)"],
    ),
    (
        "missing keys",
        "providers:\n  - type: azure\n    apiToken: x\nroutes:\n  - name: a\n",
        [
            "config.yaml:2: providers[0].azureServiceUrl: missing key",
            "config.yaml:5: routes[0].provider: missing key",
        ],
    ),
    ("no type", "providers:\n  - id: a\n", [f"config.yaml:2: providers[0]: missing key type; allowed: {TYPES}"]),
    (
        "unknown type",
        "providers:\n  - type: qwne\n",
        [f"config.yaml:2: providers[0]: unknown type 'qwne' (did you mean qwen?); allowed: {TYPES}"],
    ),
    (
        "a type of Higress",
        "providers:\n  - type: dify\n    apiTokens: [x]\n",
        [
            "config.yaml:2: providers[0]: type dify is a provider of Higress ai-proxy that this version does not "
            f"support yet; allowed: {TYPES}"
        ],
    ),
    (
        "nothing where a word is wanted",
        "providers:\n  - type: qwen\n    apiTokens: [x]\n    reasoningContentMode:\n",
        ["config.yaml:4: providers[0].reasoningContentMode: found nothing; allowed: passthrough, ignore, concat"],
    ),
    (
        "a blank in a URL",
        "providers:\n  - type: openai\n    openaiCustomUrl: 'https://own.example '\n",
        [f"config.yaml:3: providers[0].openaiCustomUrl: must be a URL such as https://host:port/path, {PLAIN}"],
    ),
    (
        "addresses that no header can carry",
        """\
        providers:
          - {type: openai, openaiCustomUrl: "https://own.example/模型"}
          - {type: qwen, apiTokens: [x], qwenDomain: 通义.example}
          - {type: moonshot, apiTokens: [x], endpoint: "https://本地.example"}
          - {type: azure, apiTokens: [x], azureServiceUrl: "https://r.test/openai/deployments/我的?api-version=v"}
        routes: [{name: a, provider: qwen}]
        """,
        [
            f"config.yaml:2: providers[0].openaiCustomUrl: must be a URL such as https://host:port/path, {PLAIN}",
            "config.yaml:3: providers[1].qwenDomain: must be a host name such as dashscope-intl.aliyuncs.com",
            "config.yaml:4: providers[2].endpoint: must be a bare http:// or https:// address: host and port, no path",
            f"config.yaml:5: providers[3].azureServiceUrl: must be a URL such as https://host:port/path, {PLAIN}",
        ],
    ),
    (
        "a host without a name",
        "providers:\n  - type: qwen\n    apiTokens: [x]\n    qwenDomain: ''\n",
        ["config.yaml:4: providers[0].qwenDomain: must be a host name such as dashscope-intl.aliyuncs.com"],
    ),
    (
        "a file without a name",
        "providers:\n  - type: moonshot\n    apiTokens: [x]\n    moonshotFileId: ''\n",
        ["config.yaml:4: providers[0].moonshotFileId: must not be empty"],
    ),
    (
        "no tokens",
        "providers:\n  - type: qwen\n",
        ["config.yaml:2: providers[0].apiTokens: missing: type qwen needs at least one key"],
    ),
    (
        "wrong types",
        """\
        maxBodyBytes: big
        corsOrigins: "*"
        providers:
          - type: openai
            models: [2024-02-01, 4]
            recordUsage: perhaps
            modelMapping: [a]
            id:
            context: {fileUrl: "https://h/a", refresh: soon}
            tls: x
            customSettings: {}
        """,
        [
            "config.yaml:1: maxBodyBytes: found the text 'big'; wanted a whole number",
            "config.yaml:2: corsOrigins: found the text '*'; wanted a list",
            "config.yaml:5: providers[0].models[1]: found the number 4; wanted text (put it in quotes)",
            "config.yaml:6: providers[0].recordUsage: found the text 'perhaps'; wanted true or false",
            "config.yaml:7: providers[0].modelMapping: found a list; wanted a mapping",
            "config.yaml:8: providers[0].id: found nothing; wanted text",
            "config.yaml:9: providers[0].context.refresh: found the text 'soon'; wanted a number of seconds, or text "
            "such as 500ms, 30s, 5m, 1h",
            "config.yaml:10: providers[0].tls: found text; wanted a mapping",
            "config.yaml:11: providers[0].customSettings: found a mapping; wanted a list",
        ],
    ),
    (
        "wrong types of the vendors' own keys",
        """\
        providers:
          - type: qwen
            apiTokens: [x]
            qwenEnableCompatible: maybe
            qwenEnableSearch: [true]
            qwenFileIds: file-a
            qwenDomain: https://dashscope.aliyuncs.com
            reasoningContentMode: hide
            multimodalModels: qwen-vl*
            streamOnlyModels: [5]
            protocol: openapi
            responseModel: vendor
            endpoint: https://h/path
            customSettings: [{name: a, value: 1}, {name: seed}, {name: seed, value: 1, overwrite: maybe}]
            context: {fileUrl: "ftp://h/a", maxBytes: 1MiB}
          - type: openai
            openaiCustomUrl: ftp://h
            responseJsonSchema: text
          - type: azure
            apiTokens: [x]
            azureServiceUrl: https://r.openai.azure.com
          - type: moonshot
            apiTokens: [x]
            moonshotFileId: 5
            fixedTemperatureModels: {kimi: true}
        routes:
          - {name: a, match: {hosts: a.test, pathPrefix: gw, headers: {x: 1}, models: gpt}, provider: qwen}
        """,
        [
            "config.yaml:4: providers[0].qwenEnableCompatible: found the text 'maybe'; wanted true or false",
            "config.yaml:5: providers[0].qwenEnableSearch: found a list; wanted true or false",
            "config.yaml:6: providers[0].qwenFileIds: found the text 'file-a'; wanted a list",
            "config.yaml:7: providers[0].qwenDomain: must be a host name such as dashscope-intl.aliyuncs.com",
            "config.yaml:8: providers[0].reasoningContentMode: found the text 'hide'; allowed: passthrough, ignore, "
            "concat",
            "config.yaml:9: providers[0].multimodalModels: found the text 'qwen-vl*'; wanted a list",
            "config.yaml:10: providers[0].streamOnlyModels[0]: found the number 5; wanted text (put it in quotes)",
            "config.yaml:11: providers[0].protocol: found the text 'openapi' (did you mean openai?); allowed: openai, "
            "original",
            "config.yaml:12: providers[0].responseModel: found the text 'vendor'; allowed: client, upstream",
            "config.yaml:13: providers[0].endpoint: must be a bare http:// or https:// address: host and port, no path",
            "config.yaml:14: providers[0].customSettings[0].mode: mode auto knows max_tokens, temperature, top_p, "
            "top_k, seed; use mode: raw for other names",
            "config.yaml:14: providers[0].customSettings[1].value: missing key",
            "config.yaml:14: providers[0].customSettings[2].overwrite: found the text 'maybe'; wanted true or false",
            "config.yaml:15: providers[0].context.fileUrl: must be a URL such as https://host:port/path",
            "config.yaml:15: providers[0].context.maxBytes: found the text '1MiB'; wanted a whole number",
            "config.yaml:17: providers[1].openaiCustomUrl: must be a URL such as https://host:port/path",
            "config.yaml:18: providers[1].responseJsonSchema: found text; wanted a mapping",
            "config.yaml:21: providers[2].azureServiceUrl: must end in ?api-version=…, unless it is the v1 API "
            "(https://RESOURCE/openai/v1)",
            "config.yaml:24: providers[3].moonshotFileId: found the number 5; wanted text (put it in quotes)",
            "config.yaml:25: providers[3].fixedTemperatureModels: found a mapping; wanted a list",
            "config.yaml:27: routes[0].match.headers.x: found a number; wanted text (put it in quotes)",
            "config.yaml:27: routes[0].match.hosts: found the text 'a.test'; wanted a list",
            "config.yaml:27: routes[0].match.pathPrefix: no path begins with 'gw': the first character must be /",
            "config.yaml:27: routes[0].match.models: found the text 'gpt'; wanted a list",
        ],
    ),
    (
        "two texts for one place",
        """\
        providers:
          - {type: qwen, apiTokens: [x], qwenFileIds: [a], context: {fileUrl: "https://h/a"}}
          - {type: moonshot, apiTokens: [x], moonshotFileId: a, context: {fileUrl: "https://h/a"}}
        routes: [{name: a, provider: qwen}]
        """,
        [
            "config.yaml:2: providers[0]: qwenFileIds and context cannot be used together",
            "config.yaml:3: providers[1]: moonshotFileId and context cannot be used together",
        ],
    ),
    ("providers is no list", "providers: 5\n", ["config.yaml:1: providers: found a number; wanted a list"]),
    (
        "a provider is no mapping",
        "providers:\n  - 5\n",
        ["config.yaml:2: providers[0]: found a number; wanted a mapping"],
    ),
    ("no providers", "providers: []\n", ["config.yaml:1: providers: must not be empty"]),
    ("nothing about providers", "maxBodyBytes: 4096\n", ["config.yaml:1: providers: missing key"]),
    (
        "clients",
        """\
        providers: [{type: openai}]
        clients:
          - {name: a, key: sk-SECRET-0001, models: [gpt*]}
          - {name: a, key: sk-SECRET-0002, routes: [defalt]}
          - {name: b, key: [sk-SECRET-0003, sk-SECRET-0001]}
          - {name: c, key: "sha256:12ab"}
          - {name: d, key: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
          - {name: e, key: 5}
          - {name: f, key: ""}
          - {name: g, keyFile: nowhere.txt}
          - {name: h, key: a, keyFile: [nowhere.txt]}
          - {name: i, key: "${ABSENT}", models: , routes: []}
          - {name: "", kye: sk-SECRET-0004}
          - sk-SECRET-0005
          - {key: j, name: 5}
          - {name: "k\\n", key: [k k]}
        """,
        [
            "config.yaml:4: clients[1].name: two clients have the name 'a'",
            "config.yaml:4: clients[1].routes[0]: there is no route 'defalt' (did you mean default?); there are: "
            "default",
            "config.yaml:6: clients[3].key: sha256: must be followed by the 64 hexadecimal digits of a key's SHA-256",
            "config.yaml:7: clients[4].key: a key is empty",
            "config.yaml:8: clients[5].key: found a number; wanted text (put it in quotes)",
            "config.yaml:9: clients[6].key: a token is empty or has characters that an HTTP header cannot carry",
            "config.yaml:10: clients[7].keyFile: the secret file nowhere.txt cannot be read: no such file or directory",
            "config.yaml:11: clients[8].keyFile: must be the path of a file",
            "config.yaml:12: clients[9].key: the environment variable ABSENT is not set",
            "config.yaml:12: clients[9].models: found nothing; wanted a list",
            "config.yaml:12: clients[9].routes: must not be empty",
            "config.yaml:13: clients[10].name: must not be empty",
            "config.yaml:13: clients[10].kye: unknown key (did you mean key?)",
            "config.yaml:14: clients[11]: found text; wanted a mapping",
            "config.yaml:15: clients[12].name: found the number 5; wanted text (put it in quotes)",
            "config.yaml:16: clients[13].name: must be printable: it goes into logs",
            "config.yaml:16: clients[13].key: a token is empty or has characters that an HTTP header cannot carry",
        ],
    ),
    (
        "a key or a file, and only one",
        "providers: [{type: openai}]\nclients:\n  - {name: a}\n  - {name: b, key: x, keyFile: config.yaml}\n",
        [
            "config.yaml:3: clients[0]: needs a key or a keyFile, and not both",
            "config.yaml:4: clients[1].keyFile: a token is empty or has characters that an HTTP header cannot carry",
        ],
    ),
    (
        "a key that two clients have, hashed or not",
        """\
        providers: [{type: openai}]
        clients:
          - {name: a, key: "${KEY}"}
          - {name: b, key: [y, "sha256:2D711642B726B04401627CA9FBAC32F5C8530FB1903CC4DB02258717921A4881"]}
        """,
        ["config.yaml:4: clients[1].key: client 'a' has the same key"],
    ),
    ("nobody", "providers: [{type: openai}]\nclients: []\n", ["config.yaml:2: clients: must not be empty"]),
    (
        "nothing",
        "providers: [{type: openai}]\nclients:\n",
        ["config.yaml:2: clients: found nothing; wanted a list"],
    ),
    (
        "text that may be a secret is not quoted",
        """\
        providers:
          - type: openai
            context: https://u:SECRET@h/a?sig=SECRET
            customSettings: [{name: a, mode: raw, value: 1, overwrite: SECRET0}]
        routes:
          - {name: a, provider: openai, match: {headers: "Bearer SECRET"}}
          - {name: b, provider: openai, match: {headers: [Bearer SECRET]}}
        """,
        [
            "config.yaml:3: providers[0].context: found text; wanted a mapping",
            "config.yaml:4: providers[0].customSettings[0].overwrite: found the text 'SECRET0'; wanted true or false",
            "config.yaml:6: routes[0].match.headers: found text; wanted a mapping",
            "config.yaml:7: routes[1].match.headers: found a list; wanted a mapping",
        ],
    ),
    (
        "value not allowed",
        "providers:\n  - type: openai\n    protocol: orginal\nmaxBodyBytes: 3\n",
        [
            "config.yaml:3: providers[0].protocol: found the text 'orginal' (did you mean original?); allowed: openai, "
            "original",
            "config.yaml:4: maxBodyBytes: found the number 3; must be greater than or equal to 1024",
        ],
    ),
    (
        "our own checks",
        """\
        providers:
          - type: openai
            endpoint: ftp://h
            modelMapping: {"~(": x}
            customSettings: [{name: stop, value: x}]
        """,
        [
            "config.yaml:3: providers[0].endpoint: must be a URL such as https://host:port/path",
            "config.yaml:4: providers[0].modelMapping: ~( is not an RE2 regular expression: missing ): (",
            "config.yaml:5: providers[0].customSettings[0].mode: mode auto knows max_tokens, temperature, top_p, "
            "top_k, seed; use mode: raw for other names",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, text, {"EMPTY": " ", "KEY": "x"}) == expected


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("$DASHSCOPE_API_KEY", "DASHSCOPE_API_KEY"),
        ("os.environ/OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("os.environ['A_KEY']", "A_KEY"),
        ("env:A_KEY", "A_KEY"),
        ("env://A_KEY", "A_KEY"),
        ("%A_KEY%", "A_KEY"),
        ("{{ A_KEY }}", "A_KEY"),
        ("${env:A_KEY}", "A_KEY"),
        ("$(A_KEY)", "A_KEY"),
        ("$a_secret_after_all", "NAME"),
    ],
)
@pytest.mark.parametrize("form", ["apiTokens: ['{}']", "apiToken: '{}'"])
def test_a_variable_as_others_write_it(tmp_path: Path, entry: str, name: str, form: str) -> None:
    key = form.format(entry.replace("'", "''"))
    found = problems(tmp_path, f"providers:\n  - type: qwen\n    {key}\n")
    (problem,) = found
    assert problem.endswith(f": a variable of the environment is written ${{{name}}}")
    assert "a_secret" not in problem
