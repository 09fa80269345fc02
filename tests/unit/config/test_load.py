"""Configuration files: what is understood."""

from pathlib import Path

import pytest

from extproc.config.files import Files
from extproc.config.load import ConfigError, StandIn, load
from tests.unit.configurations import problems, read, write
from tests.unit.player import only_provider

STAND_IN = StandIn("http://127.0.0.1:9000", "simulated-key-0000")


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


LIMITED = "providers: [{type: qwen, apiToken: x}]\nlimits: [{requests: 9, per: day}]\nredis: {url: 'redis://r'}\n"
ADVICE = [
    ("limits shared through redis, which is there for keys too (BerriAI/litellm#30661)", LIMITED, []),
    (
        "limits that several gateways do not share, although redis is there (BerriAI/litellm#30661)",
        LIMITED + "usage: {store: memory}",
        ["limits are not shared through redis: usage.store is memory, so each gateway lets the whole through"],
    ),
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
