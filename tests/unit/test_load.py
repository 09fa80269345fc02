"""Configuration files: what is understood, and the words for what is not."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from extproc.config import Config
from extproc.files import Files
from extproc.load import ConfigError, Loaded, StandIn, load

from .player import only_provider

STAND_IN = StandIn("http://127.0.0.1:9000", "simulated-key-0000")


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(dedent(text))
    return path


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None, stand_in: StandIn | None = None) -> Loaded:
    return load(write(folder, text), environ or {}, stand_in=stand_in)


def test_it_says_what_it_read_and_can_be_repeated_from_it(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("sk-in-a-file\n")
    (tmp_path / "ca.pem").write_text("pem")
    text = """\
        providers:
          - {type: qwen, apiTokens: ["file:key.txt"], tls: {caFile: ca.pem}}
        """
    loaded = read(tmp_path, text)
    path = tmp_path / "config.yaml"
    names = ("config.yaml", "key.txt", "ca.pem")
    assert loaded.files == {str(tmp_path / name): (tmp_path / name).read_bytes() for name in names}
    assert "sk-in-a-file" not in repr(loaded)
    for name in names:
        (tmp_path / name).unlink()
    again = load(path, {}, files=Files(loaded.files))
    assert [t.get_secret_value() for t in again.config.providers[0].tokens] == ["sk-in-a-file"]


def test_a_failed_load_tells_what_it_looked_for(tmp_path: Path) -> None:
    files = Files()
    with pytest.raises(ConfigError):
        load(write(tmp_path, "providers: [{type: qwen, apiTokens: ['file:none.txt']}]"), {}, files=files)
    assert files.asked == {tmp_path / "config.yaml", tmp_path / "none.txt"}


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


TYPES = "qwen, openai, azure, moonshot"
TOP = ", ".join(str(field.alias) for field in Config.model_fields.values())
LACKING = "a key of Higress ai-proxy that this version does not support yet"

WRONG = [
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
        "providers:\n  - type: gemini\n    apiTokens: [x]\n",
        [
            "config.yaml:2: providers[0]: type gemini is a provider of Higress ai-proxy that this version does not "
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
        ["config.yaml:3: providers[0].openaiCustomUrl: must be a URL such as https://host/path"],
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
            "config.yaml:2: providers[0].openaiCustomUrl: must be a URL such as https://host/path",
            "config.yaml:3: providers[1].qwenDomain: must be a host name such as dashscope-intl.aliyuncs.com",
            "config.yaml:4: providers[2].endpoint: must be a bare http:// or https:// address: host and port, no path",
            "config.yaml:5: providers[3].azureServiceUrl: must be a URL such as https://host/path",
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
            "config.yaml:17: providers[1].openaiCustomUrl: must be a URL such as https://host/path",
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
    (
        "conflict",
        "providers:\n  - type: qwen\n    apiToken: x\n    qwenFileIds: [a]\n    context: {fileUrl: 'https://h/a'}\n",
        ["config.yaml:2: providers[0]: qwenFileIds and context cannot be used together"],
    ),
    (
        "keys that are not supported yet",
        """\
        providers:
          - type: openai
            basePath: /x
            providerDomain: x
            capabilities: {openai/v1/chatcompletions: /x}
            firstByteTimeout: 100
            claudeVersion: x
        """,
        [
            f"config.yaml:3: providers[0].basePath: {LACKING}",
            f"config.yaml:4: providers[0].providerDomain: {LACKING}",
            f"config.yaml:5: providers[0].capabilities: {LACKING}",
            f"config.yaml:6: providers[0].firstByteTimeout: {LACKING}",
            f"config.yaml:7: providers[0].claudeVersion: {LACKING}",
        ],
    ),
    (
        "key of another vendor",
        "providers:\n  - type: openai\n    qwenDomain: x\n",
        ["config.yaml:3: providers[0].qwenDomain: a key of type qwen, but this provider is of type openai"],
    ),
    (
        "dead keys",
        "providers:\n  - type: openai\n    subPath: x\n    authHeaderKey: x\n    vertexGeminiSafetySetting: {}\n",
        [
            f"config.yaml:{line}: providers[0].{key}: Higress ai-proxy itself never read this key; remove it"
            for line, key in [(3, "subPath"), (4, "authHeaderKey"), (5, "vertexGeminiSafetySetting")]
        ],
    ),
    (
        "duplicate key",
        "providers:\n  - type: openai\n    id: a\n    type: openai\n",
        ["config.yaml:4: providers[0].type: said twice; it is already on line 2"],
    ),
    (
        "an id with a space, keys and names that are numbers",
        """\
        providers:
          - type: openai
            id: my provider
            apiTokens: [a, 12345678]
            modelMapping:
              gpt-4: 4
              gpt-5: [x]
          - {id: b, type: qwen, apiToken: 12345678}
          - {id: c, type: qwen, apiToken: {a: b}, streamOnlyModels: ["q*", ""]}
        """,
        [
            "config.yaml:3: providers[0].id: found the text 'my provider'; allowed: letters, digits and . _ - (first a "
            "letter or digit)",
            "config.yaml:4: providers[0].apiTokens[1]: found a number; wanted text (put it in quotes)",
            "config.yaml:6: providers[0].modelMapping.gpt-4: found the number 4; wanted text (put it in quotes)",
            "config.yaml:7: providers[0].modelMapping.gpt-5: found a list; wanted text",
            "config.yaml:8: providers[1].apiToken: found a number; wanted text (put it in quotes)",
            "config.yaml:9: providers[2].apiToken: found a mapping; wanted a list",
            "config.yaml:9: providers[2].streamOnlyModels: a model name pattern must not be empty",
        ],
    ),
    (
        "conditions that no request can meet",
        """\
        providers: [{type: openai}]
        routes:
          - {name: a, provider: openai, match: {pathPrefix: v1/}}
          - {name: b, provider: openai, match: {headers: {"x team": a}}}
          - {name: c, provider: openai, match: {headers: {x-a: "a\\nb"}}}
          - {name: d, provider: openai, match: {headers: {x-a: "a "}}}
          - {name: e, provider: openai, match: {headers: {x-a: a, X-A: b}}}
          - {name: f, provider: openai, match: {models: [""]}}
        """,
        [
            "config.yaml:3: routes[0].match.pathPrefix: no path begins with 'v1/': the first character must be /",
            "config.yaml:4: routes[1].match.headers: no header has the name 'x team'",
            "config.yaml:5: routes[2].match.headers: x-a: no header has such a value: a control character in it, or "
            "white space around it",
            "config.yaml:6: routes[3].match.headers: x-a: no header has such a value: a control character in it, or "
            "white space around it",
            "config.yaml:7: routes[4].match.headers: two names differ in case only, so they are the same header",
            "config.yaml:8: routes[5].match.models: a model name pattern must not be empty",
        ],
    ),
    (
        "not YAML",
        "providers:\n  - type: 'openai\n",
        ["config.yaml:3: not YAML: while scanning a quoted scalar found unexpected end of stream"],
    ),
    (
        "second document is not YAML",
        "providers: [{type: openai}]\n---\na: [\n",
        ["config.yaml:4: not YAML: while parsing a flow node expected the node content, but found '<stream end>'"],
    ),
    (
        "own tag",
        "providers: [{type: !vault x}]\n",
        ["config.yaml:1: providers[0].type: the YAML tag !vault is not known here"],
    ),
    ("alias to itself", "providers: &a [*a]\n", ["config.yaml:1: providers[0]: an alias that contains itself"]),
    ("a list as key", "? [a]\n: b\n", ["config.yaml:1: a key must be text"]),
    ("bad merge", "<<: 5\n", ["config.yaml:1: << takes a mapping or a list of mappings"]),
    (
        "empty",
        "# nothing\n",
        [f"config.yaml: there is no configuration in it; allowed: {TOP}, or a Higress WasmPlugin of ai-proxy"],
    ),
    (
        "not a mapping",
        "- a\n",
        [f"config.yaml:1: a document must be a mapping with {TOP}; found a list"],
    ),
    (
        "a later document is not a mapping",
        "providers: [{type: openai}]\n---\ntext\n",
        [f"config.yaml:3: a document must be a mapping with {TOP}; found text"],
    ),
    (
        "a list in one document only",
        "providers: [{type: openai}]\n---\nproviders: 5\n",
        ["config.yaml:3: providers: must be a list"],
    ),
    (
        "a type that is no text",
        "providers:\n  - type: [openai]\n",
        [f"config.yaml:2: providers[0]: type: found a list; allowed: {TYPES}"],
    ),
    (
        "references",
        """\
        providers:
          - type: openai
          - type: openai
            endpoint: http://h
        routes:
          - {name: a, provider: opnai}
          - {name: a, provider: openai}
        """,
        [
            "config.yaml:3: providers[1].type: two providers have the id 'openai': give each an id of its own",
            "config.yaml:6: routes[0].provider: there is no provider 'opnai' (did you mean openai?); there are: "
            "openai, openai",
            "config.yaml:7: routes[1].name: two routes have the name 'a'",
        ],
    ),
    (
        "several providers, no routes",
        "providers:\n  - type: openai\n  - {type: openai, id: b}\n",
        ["config.yaml:1: providers: there are several providers, so routes must say which takes what"],
    ),
    (
        "several providers, no routes, several documents",
        "maxBodyBytes: 4096\n---\nproviders:\n  - type: openai\n  - {type: openai, id: b}\n",
        ["config.yaml:3: providers: there are several providers, so routes must say which takes what"],
    ),
    (
        "said in two documents",
        "providers: [{type: openai}]\nmaxBodyBytes: 4096\n---\nmaxBodyBytes: 5000\n",
        ["config.yaml:4: maxBodyBytes: said in two documents of the file; say it once"],
    ),
    (
        "unset variable",
        "providers:\n  - type: qwen\n    apiTokens:\n      - ${NO_SUCH}\n",
        ["config.yaml:3: providers[0].apiTokens: the environment variable NO_SUCH is not set"],
    ),
    (
        "empty variable",
        "providers:\n  - type: qwen\n    apiToken: ${EMPTY}\n",
        ["config.yaml:3: providers[0].apiToken: the environment variable EMPTY is empty"],
    ),
    (
        "variable inside an entry",
        "providers:\n  - type: qwen\n    apiToken: sk-${KEY}\n",
        ["config.yaml:3: providers[0].apiToken: ${NAME} must be a whole entry, with a NAME of letters, digits and _"],
    ),
    (
        "activeProviderId of nobody",
        "providers: [{id: one, type: openai}]\nactiveProviderId: onne\n",
        [
            "config.yaml:2: activeProviderId: no provider has the id 'onne' (did you mean one?); providers has one",
        ],
    ),
    (
        "a host that can never match",
        "providers: [{type: openai}]\nroutes:\n- name: a\n  provider: openai\n  match: {hosts: [a.com,\n    https://b.com]}",
        [
            "config.yaml:6: routes[0].match.hosts[1]: no host can match 'https://b.com'; allowed: api.example.com, "
            "*.example.com, example.*, *, [::1]"
        ],
    ),
    (
        "two providers with one id beside activeProviderId",
        "providers:\n- {id: a, type: openai}\n- {id: a, type: qwen, apiToken: x}\nactiveProviderId: a\n",
        ["config.yaml:3: providers[1].id: two providers have the id 'a': give each an id of its own"],
    ),
    (
        "activeProviderId alone",
        "activeProviderId: a\n",
        ["config.yaml:1: activeProviderId: no provider has the id 'a'; there are no providers"],
    ),
    (
        "provider and routes",
        "provider: {type: openai}\nroutes: [{name: a, provider: openai}]\n",
        ["config.yaml:1: provider: takes everything, so there can be no routes beside it; use providers and routes"],
    ),
    (
        "a mistake in a pasted provider",
        "provider:\n  type: openai\n  modelMaping: {}\n",
        ["config.yaml:3: provider.modelMaping: unknown key (did you mean modelMapping?)"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, text, {"EMPTY": " ", "KEY": "x"}) == expected


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: no such file or directory"):
        load(tmp_path / "none.yaml", {})


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        load(path, {})


SECRET = "sk-do-not-print-me"


@pytest.mark.parametrize(
    "text",
    [
        f"providers: [{{type: qwen, apiTokens: [{SECRET}, 5]}}]",
        f"providers: [{{type: qwen, apiTokens: {{a: {SECRET}}}}}]",
        f"providers: [{{type: qwen, apiTokens: ['{SECRET} two words']}}]",
        f'providers: [{{type: qwen, apiToken: "{SECRET}\\nx-evil: 1"}}]',
        f"providers: [{{type: qwen, apiToken: '{SECRET}${{x}}'}}]",
        f"providers: [{{type: qwen, apiTokesn: {SECRET}}}]",
        f"providers: [{{type: qwen, apiToken: {SECRET}, modelMapping: 4}}]",
        f"providers: [{{type: qwen, apiToken: {SECRET}, apiToken: {SECRET}}}]",
        f"provider: {{type: qwen, apiToken: {SECRET}\nproviders: []",
    ],
)
def test_secrets_stay_secret(tmp_path: Path, text: str) -> None:
    assert SECRET not in "\n".join(problems(tmp_path, text))


HEXADECIMAL = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    "text",
    [
        f"providers: [{{type: {SECRET}}}]",
        f"providers: [{{type: {HEXADECIMAL}}}]",
        f"providers: [{{type: qwen, id: '{SECRET} ', apiToken: x}}]",
        f"providers: [{{type: openai, {SECRET}: a, {SECRET}: b}}]",
        f"providers: [{{type: openai, modelMapping: {SECRET}}}]",
        f"providers: [{{type: openai, tls: Bearer {SECRET}}}]",
        f"providers: [{{type: openai}}]\nroutes: [{{name: a, provider: {SECRET}}}]",
        f"providers:\n- type: qwen\n  apiTokens:{SECRET}",
        f"providers:\n- apiTokens:{SECRET}",
        f"{SECRET}\n",
        "providers: [{type: qwen, apiTokens: {plain-secret: 1, plain-secret: 2}}]",
        "providers: [{type: qwen, apiTokens: [*plain-secret]}]",
        "providers: [{type: qwen, apiTokens: [!plain-secret x]}]",
        "providers: [{type: qwen, apiTokens: [!plain-secret!x y]}]",
        "providers: [{type: qwen, apiTokens: [&plain-secret 1, &plain-secret 2]}]",
        "providers: [{type: qwen, apiTokens:plain-secret}]",
        "apiTokens:plain-secret\n",
    ],
)
def test_secrets_where_none_belongs_stay_secret(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    found = "\n".join([*problems(tmp_path, text), *(str(w.message) for w in recwarn), *capsys.readouterr()])
    assert [secret for secret in (SECRET, HEXADECIMAL, "plain-secret") if secret in found] == []


def test_secrets_in_notes_stay_secret(tmp_path: Path) -> None:
    text = f"providers: [{{type: openai, id: x}}, {{type: openai, id: {SECRET}}}]\nactiveProviderId: x"
    assert read(tmp_path, text).notes == ("provider sk-…: listed, but not active, so it is left out",)


def test_smallest(tmp_path: Path) -> None:
    loaded = read(tmp_path, "\ufeffproviders:\n- type: qwen\n  apiToken: ' sk-1 '\n")
    assert loaded.source == str(tmp_path / "config.yaml")
    assert loaded.notes == ()
    (qwen,) = loaded.config.providers
    assert (qwen.id, [t.get_secret_value() for t in qwen.tokens]) == ("qwen", ["sk-1"])
    assert [(r.name, only_provider(r)) for r in loaded.config.effective_routes] == [("default", "qwen")]


def test_dates_and_numbers_of_yaml_1_2(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        """\
        maxBodyBytes: 0x800
        providers:
          - &base
            type: openai
            models: [2024-02-01, yes, "010"]
            modelMapping: {4: gpt-4, 2024-02-01: x, true: y}
            timeout: 010
            customSettings:
              - {name: temperature, value: 1e-1}
              - {name: x, mode: raw, value: [1, .5, null, true, {a: 2024-02-01}]}
            context: {fileUrl: "https://h/a", refresh: 5m}
          - <<: *base
            id: b
            timeout: 20
          - <<: [{id: c}, *base]
        routes: [{name: r, provider: c}]
        """,
    )
    first, second, third = loaded.config.providers
    assert loaded.config.max_body_bytes == 2048
    assert first.models == second.models == third.models == ("2024-02-01", "yes", "010")
    assert first.names == ("2024-02-01", "yes", "010")
    assert [first.model_mapping.map(n) for n in ("4", "2024-02-01", "true")] == ["gpt-4", "x", "y"]
    assert (first.timeout, second.timeout) == (10, 20)
    assert [s.value for s in first.custom_settings] == [0.1, [1, 0.5, None, True, {"a": "2024-02-01"}]]
    assert first.context is not None
    assert first.context.refresh == 300
    assert (second.id, third.id) == ("b", "c")


def test_switched_off_keys_are_dropped(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        """\
        provider:
          type: openai
          failover: {enabled: false, failureThreshold: 3}
          retryOnFailure: {}
          mergeConsecutiveMessages: false
          basePath: ""
          contextCleanupCommands: []
          firstByteTimeout: 0
          qwenEnableSearch: false
          claudeVersion:
        """,
    )
    assert loaded.notes == ()
    assert loaded.config.providers[0].id == "openai"


@pytest.mark.parametrize(
    "text",
    [
        "provider: {type: openai, id: x}",
        "providers: [{type: openai, id: x}]\nactiveProviderId: x",
        "providers: [{type: openai, id: x}, {type: gemini, id: y}]\nactiveProviderId: x",
        "provider: {type: openai, id: x}\nproviders: [{type: gemini}]\nactiveProviderId: gemini",
        "providers: [{type: openai, id: x}]\nroutes: []\n---\n# empty\n---\nmaxBodyBytes: 4096",
    ],
)
def test_pasted_plugin_configuration(tmp_path: Path, text: str) -> None:
    config = read(tmp_path, text).config
    assert [p.id for p in config.providers] == ["x"]
    (route,) = config.effective_routes
    assert (route.name, only_provider(route), route.match.headers) == ("default", "x", {})


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    text = "providers: [{type: openai, id: x}, {type: gemini, id: y}]\nactiveProviderId: x"
    assert read(tmp_path, text).notes == ("provider y: listed, but not active, so it is left out",)


def test_several_native_documents(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """\
        providers: [{type: openai, id: a}]
        routes: [{name: a, match: {models: [gpt*]}, provider: a}]
        corsOrigins: [http://a]
        ---
        providers: [{type: openai, id: b}]
        corsOrigins: [http://b]
        """,
    ).config
    assert [(r.name, only_provider(r)) for r in config.routes] == [("a", "a"), ("default", "b")]
    assert config.cors_origins == ("http://a", "http://b")


def test_tokens(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "k").write_text(" one \n\n two\n")
    loaded = read(
        tmp_path,
        """\
        providers:
          - type: openai
            apiTokens: [" plain ", "${LIST}", "file:keys/k", file:///DIR/keys/k]
            apiToken: plain
        """.replace("/DIR", str(tmp_path)),
        {"LIST": "x, y,,\n"},
    )
    tokens = [t.get_secret_value() for t in loaded.config.providers[0].tokens]
    assert tokens == ["plain", "x", "y", "one", "two"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "the secret file keys cannot be read: no such file or directory"),
        (b"\n \n", "the secret file keys is empty"),
        (b"\xff\xff", "the secret file keys cannot be read: it is not UTF-8 text"),
        (b"a b", "a token is empty or has characters that an HTTP header cannot carry"),
    ],
)
def test_secret_files_that_cannot_serve(tmp_path: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    found = problems(tmp_path, "providers:\n  - type: qwen\n    apiTokens: ['file:keys']\n")
    assert found == [f"config.yaml:3: providers[0].apiTokens: {expected}"]


def test_files_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    text = "providers:\n  - type: openai\n    tls: {caFile: %s}\n    context: {fileUrl: '%s'}\n"
    for ca in ("ca.pem", str(tmp_path / "ca.pem")):
        for url in ("file:a/b.txt", "file://a/b.txt", f"file://{tmp_path}/a/b.txt"):
            provider = read(tmp_path, text % (ca, url)).config.providers[0]
            assert provider.tls.ca_file == str(tmp_path / "ca.pem")
            assert provider.context is not None
            assert provider.context.file_url == f"file://{tmp_path}/a/b.txt"
    assert problems(tmp_path, text % ("no.pem", "http://h/x")) == [
        "config.yaml:3: providers[0].tls.caFile: there is no file no.pem"
    ]


STANDING_IN = [
    ("unset variable", "{type: qwen, apiTokens: ['${NONE}']}", True, "http://127.0.0.1:9000"),
    ("empty variable", "{type: qwen, apiToken: '${EMPTY}'}", True, "http://127.0.0.1:9000"),
    ("no tokens", "{type: moonshot}", True, "http://127.0.0.1:9000"),
    ("no tokens needed", "{type: openai}", True, "http://127.0.0.1:9000"),
    ("its own endpoint", "{type: qwen, endpoint: 'http://h:1'}", True, "http://h:1"),
    ("a key", "{type: qwen, apiTokens: [sk-1]}", False, None),
    ("a variable", "{type: qwen, apiTokens: ['${SET}']}", False, None),
]


@pytest.mark.parametrize(
    ("provider", "stands_in", "endpoint"), [case[1:] for case in STANDING_IN], ids=[case[0] for case in STANDING_IN]
)
def test_stand_in(tmp_path: Path, provider: str, stands_in: bool, endpoint: str | None) -> None:
    loaded = read(tmp_path, f"providers: [{provider}]", {"EMPTY": "", "SET": "sk-1"}, STAND_IN)
    (got,) = loaded.config.providers
    assert got.endpoint == endpoint
    assert [t.get_secret_value() for t in got.tokens] == ["simulated-key-0000" if stands_in else "sk-1"]
    note = f"provider {got.id}: no key, the simulated vendor stands in"
    assert loaded.notes == ((note,) if stands_in else ())


def test_stand_in_does_not_hide_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"apiTokens\[0\]: found a number; wanted text"):
        read(tmp_path, "providers: [{type: qwen, apiTokens: [5]}]", stand_in=STAND_IN)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path, "providers: [{type: qwen, apiTokens: ['file:none']}]", stand_in=STAND_IN)


ADVICE = [
    (
        "no effect in compatible mode",
        "providers: [{type: qwen, apiToken: x, qwenEnableCompatible: true, qwenFileIds: [a], qwenEnableSearch: true, "
        "reasoningContentMode: concat}]",
        [
            f"provider qwen: {key} has no effect with qwenEnableCompatible: true"
            for key in ("qwenFileIds", "qwenEnableSearch", "reasoningContentMode")
        ],
    ),
    (
        "no effect under the vendor's own protocol",
        "providers: [{type: qwen, apiToken: x, protocol: original, qwenEnableSearch: true}]",
        ["provider qwen: qwenEnableSearch has no effect with protocol: original"],
    ),
    (
        "effective",
        "providers: [{type: qwen, apiToken: x, qwenEnableSearch: true}]",
        [],
    ),
    (
        "no default route",
        "providers: [{type: openai}]\nroutes: [{name: a, match: {hosts: [a]}, provider: openai}]",
        ["no default route: requests that no route takes are answered with 404"],
    ),
    (
        "never reached",
        "providers: [{type: openai}]\nroutes: [{name: a, provider: openai, match: {pathPrefix: /, hosts: ['*:80']}}, "
        "{name: b, provider: openai, match: {models: [x]}}]",
        ["route b: never reached, since route a before it takes everything"],
    ),
]


@pytest.mark.parametrize(("text", "notes"), [case[1:] for case in ADVICE], ids=[case[0] for case in ADVICE])
def test_advice(tmp_path: Path, text: str, notes: list[str]) -> None:
    assert list(read(tmp_path, text).notes) == notes


REDIS = "providers: [{type: openai}]\nredis:\n  url: "
ENVIRON = {"URL": "rediss://:a%2Fb@h:1/2", "PASSWORD": "p/@:w", "HOST": "h:7", "DB": "5", "EMPTY": ""}


@pytest.mark.parametrize(
    ("url", "understood", "shown"),
    [
        ("redis://127.0.0.1", "redis://127.0.0.1", "redis://127.0.0.1"),
        ("redis://u:PLANTED@h:6380/3", "redis://u:PLANTED@h:6380/3", "redis://h:6380/3"),
        ("rediss://h?ssl_ca_certs=/ca.pem&db=1", "rediss://h?ssl_ca_certs=/ca.pem&db=1", "rediss://h"),
        ("unix://u:PLANTED@/run/valkey.sock?db=1", "unix://u:PLANTED@/run/valkey.sock?db=1", "unix:///run/valkey.sock"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("${URL}", "rediss://:a%2Fb@h:1/2", "rediss://h:1/2"),
        ("redis://me:${PASSWORD}@${HOST}/${DB}", "redis://me:p%2F%40%3Aw@h:7/5", "redis://h:7/5"),
    ],
)
def test_a_redis_url(tmp_path: Path, url: str, understood: str, shown: str) -> None:
    block = read(tmp_path, f'{REDIS}"{url}"\n', ENVIRON).config.redis
    assert block is not None
    assert (block.url.get_secret_value(), block.key_prefix, block.timeout) == (understood, "ai-proxy:", 2.0)
    assert block.place == shown
    assert "PLANTED" not in repr(block)


FORMS = (
    "must be redis://host:port/db, rediss://host:port/db or unix:///path?db=0, with special characters of a password "
    "written as %XX"
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://:PLANTED@h", FORMS),
        ("PLANTED", FORMS),
        ("redis://", FORMS),
        ("redis://:PLANTED@:1", FORMS),
        ("unix://", FORMS),
        ("redis://:PLANTED@h:port", FORMS),
        ("redis://:PLANT/ED@h", FORMS),
        ("redis://u:1#PLANTED@h", FORMS),
        ("redis://u:1?PLANTED@h", FORMS),
        ("redis://u:1/PLANTED@h", "names a database that is not a number"),
        ("redis://h/PLANTED", "names a database that is not a number"),
        ("redis://h?db=x", "names a database that is not a number"),
        (
            "redis://h?password=PLANTED",
            "has an unknown option; allowed: db, ssl_ca_certs, ssl_certfile, ssl_keyfile",
        ),
        ("redis://:${NONE}@h", "the environment variable NONE is not set"),
        ("${EMPTY}", "the environment variable EMPTY is empty"),
        ("${not-a-name}", FORMS),
    ],
)
def test_a_redis_url_that_is_none(tmp_path: Path, url: str, message: str) -> None:
    assert problems(tmp_path, f'{REDIS}"{url}"\n', ENVIRON) == [f"config.yaml:3: redis.url: {message}"]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ('"redis://:PLANTED@h"', "config.yaml:2: redis: found text; wanted a mapping"),
        ("{url: 6379}", "config.yaml:2: redis.url: must be text: the URL of a Redis or Valkey server"),
        ("{}", "config.yaml:2: redis.url: missing key"),
        ('{url: "redis://h", password: PLANTED}', "config.yaml:2: redis.password: unknown key; allowed: url, "),
    ],
)
def test_a_redis_block_that_is_none(tmp_path: Path, block: str, said: str) -> None:
    [line] = problems(tmp_path, f"providers: [{{type: openai}}]\nredis: {block}\n")
    assert line.startswith(said)
    assert "PLANTED" not in line


def test_redis_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.load.find_spec", lambda name: None)
    said = "config.yaml:2: redis: needs a package that is missing: pip install 'ai-proxy-envoy[redis]'"
    assert problems(tmp_path, f'{REDIS}"redis://h"\n') == [said]


def test_envoy_s_side_needs_nothing_of_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.load.find_spec", lambda name: None)
    for url in ("${NONE}", "redis://:${NONE}@${NONE}/${NONE}"):
        assert load(write(tmp_path, f'{REDIS}"{url}"\n'), {}, keyless=True).config.redis


URLS = {
    "openaiCustomUrl": "providers:\n- type: openai\n  openaiCustomUrl: {}\n",
    "azureServiceUrl": "providers:\n- {{type: azure, apiToken: x,\n  azureServiceUrl: {}}}\n",
    "context.fileUrl": "providers:\n- type: openai\n  context: {{fileUrl: {}}}\n",
}


@pytest.mark.parametrize(("key", "text"), URLS.items(), ids=URLS)
def test_a_url_takes_keys_from_the_environment_but_no_host(key: str, text: str, tmp_path: Path) -> None:
    given = text.format('"https://h/openai/v1?a=${A}&b=1${B}"')
    [provider] = read(tmp_path, given, {"A": " %2B== ", "B": "2"}).config.providers
    urls = (getattr(provider, "openai_custom_url", ""), getattr(provider, "azure_service_url", ""))
    assert "https://h/openai/v1?a=%2B==&b=12" in (*urls, provider.context and provider.context.file_url)
    where = f"config.yaml:3: providers[0].{key}: "
    assert problems(tmp_path, given, {"B": ""}) == [f"{where}the environment variable A is not set"]
    no_host = text.format('"https://u@${A}/openai/v1"')
    assert problems(tmp_path, no_host, {"A": "h"}) == [f"{where}${{NAME}} may stand behind the host, not in its place"]


def test_envoy_s_side_needs_no_keys_but_what_cannot_be_one_is_wrong(tmp_path: Path) -> None:
    text = URLS["openaiCustomUrl"].format('"https://h/${NONE}?a=${NONE}"') + "  apiTokens: ['${NONE}']\n"
    text += "clients: [{name: a, key: '${NONE}'}, {name: b, key: '${NEITHER}'}]\n"
    [provider] = load(write(tmp_path, text), {}, keyless=True).config.providers
    assert provider.upstream.authority == "h"
    with pytest.raises(ConfigError, match="must be a whole entry"):
        load(write(tmp_path, text.replace("['$", "['x$")), {}, keyless=True)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("apiToken: PLANTED1, PLANTED2", "3: providers[0].…: unknown key; allowed: "),
        ("apiToken: PLANTED1, PLANTED.2", "3: providers[0].…: unknown key; allowed: "),
        ("apiToken: PLANTED1, PLANTED2, PLANTED2", "3: providers[0].…: said twice; "),
        ("apiToken: PLANTED1, endpiont: ", "3: providers[0].endpiont: unknown key (did you mean endpoint?)"),
        ("endpoint: 'http://:PLANTED@h'", "3: providers[0].endpoint: must be a bare http:// or https:// address"),
        ("openaiCustomUrl: 'http://:PLANTED@h'", "3: providers[0].openaiCustomUrl: must be a URL such as "),
    ],
)
def test_keys_where_none_belong_are_not_quoted(block: str, said: str, tmp_path: Path) -> None:
    [line] = problems(tmp_path, f"providers:\n- type: openai\n  <<: {{{block}}}\n")
    assert line.startswith(f"config.yaml:{said}")
    assert "PLANTED" not in line
