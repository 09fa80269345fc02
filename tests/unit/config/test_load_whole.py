"""The words for parts that do not go together: keys, documents, references, files."""

from pathlib import Path

import pytest

from extproc.config.config import Config
from extproc.config.files import MOST_BYTES
from extproc.config.load import ConfigError, load
from tests.unit.configurations import TYPES, problems, read

TOP = ", ".join(str(field.alias) for field in Config.model_fields.values())
LACKING = "a key of Higress ai-proxy that this version does not support yet"

WRONG = [
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
            botType: x
        """,
        [
            f"config.yaml:3: providers[0].basePath: {LACKING}",
            f"config.yaml:4: providers[0].providerDomain: {LACKING}",
            f"config.yaml:5: providers[0].capabilities: {LACKING}",
            f"config.yaml:6: providers[0].firstByteTimeout: {LACKING}",
            f"config.yaml:7: providers[0].botType: {LACKING}",
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
        ["config.yaml:4: not YAML: while parsing a flow node did not find expected node content"],
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


def _aliases(times: int) -> str:
    """Small lists within each other, each ten times the one before."""
    rows = [f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, times)]
    return "\n".join(["k0: &a0 [x]", *rows])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (_aliases(9), 5, "too much: aliases included, the file comes to more than can be read"),
        ("k:\n" + "- {}\n" * 140_000, 131_073, "too much: aliases included, the file comes to more than can be read"),
        ("[" * 65 + "]" * 65, 1, "lists and mappings are within each other more than 64 times"),
        ("a: *b\n", 1, "a: an alias of what is not there before it"),
        ("a: &x [1]\n---\nb: *x\n", 3, "b: an alias of what is not there before it"),
    ],
)
def test_what_a_file_comes_to_is_bounded_before_anything_is_built(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    assert problems(tmp_path, text, {}) == [f"config.yaml:{line}: {message}"]


def test_files_are_bounded(tmp_path: Path) -> None:
    assert problems(tmp_path, "#" * (MOST_BYTES + 1)) == ["config.yaml: cannot be read: it has more than 4 mib"]
    (tmp_path / "key").write_bytes(b"k" * (MOST_BYTES + 1))
    [problem] = problems(tmp_path, "providers: [{type: openai, apiTokens: ['file:key']}]")
    assert "the secret file key cannot be read: it has more than 4 mib" in problem


def test_aliases_are_values_like_others(tmp_path: Path) -> None:
    text = """
        providers:
          - &one {id: a, type: openai, apiTokens: &keys [k1, k2]}
          - {<<: *one, id: b, apiTokens: *keys}
        routes: [{name: r, provider: a}]
        """
    assert [len(each.tokens) for each in read(tmp_path, text).config.providers] == [2, 2]
