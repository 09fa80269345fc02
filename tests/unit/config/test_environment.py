"""Configuration from the environment alone."""

from collections.abc import Mapping

import pytest

from extproc.config import environment
from extproc.config.load import ConfigError, Loaded, StandIn, load
from tests.unit.player import only_provider

STAND_IN = StandIn("http://127.0.0.1:9000", "simulated-key-0000")
URL = "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-02-01"
ALL = {
    "DASHSCOPE_API_KEY": "q1, q2",
    "OPENAI_API_KEY": "o",
    "AZURE_OPENAI_API_KEY": "a",
    "AZURE_OPENAI_SERVICE_URL": URL,
    "MOONSHOT_API_KEY": "m",
}


def routes(loaded: Loaded) -> list[tuple[str, dict[str, str], str]]:
    return [(r.name, r.match.headers, only_provider(r)) for r in loaded.config.effective_routes]


def bearer(name: str) -> tuple[str, dict[str, str], str]:
    return name, {"authorization": f"Bearer {name}"}, name


def test_all_services() -> None:
    loaded = load(None, ALL)
    assert loaded.source == "environment"
    assert routes(loaded) == [bearer(n) for n in ("qwen", "azure-openai", "openai", "moonshot")]
    assert loaded.notes == ("no default route: requests that no route takes are answered with 404",)
    by_id = loaded.config.by_id
    assert {id: p.type for id, p in by_id.items()} == {
        "qwen": "qwen",
        "azure-openai": "azure",
        "openai": "openai",
        "moonshot": "moonshot",
    }
    assert {id: [t.get_secret_value() for t in p.tokens] for id, p in by_id.items()} == {
        "qwen": ["q1", "q2"],
        "azure-openai": ["a"],
        "openai": ["o"],
        "moonshot": ["m"],
    }
    assert by_id["azure-openai"].upstream.authority == "r.openai.azure.com"


@pytest.mark.parametrize(
    ("service", "asked", "sent"),
    [
        ("qwen", "anything", "qwen-max"),
        ("qwen", "gpt-3", "qwen-turbo"),
        ("qwen", "gpt-35-turbo", "qwen-plus"),
        ("qwen", "gpt-4-turbo", "qwen-max"),
        ("azure-openai", "gpt-4", "gpt-4"),
        ("openai", "gpt-4", "gpt-4"),
        ("moonshot", "anything", "moonshot-v1-128k"),
        ("moonshot", "gpt-3", "moonshot-v1-8k"),
        ("moonshot", "gpt-35-turbo", "moonshot-v1-32k"),
        ("moonshot", "gpt-4-turbo", "moonshot-v1-128k"),
    ],
)
def test_model_mappings(service: str, asked: str, sent: str) -> None:
    assert load(None, ALL).config.by_id[service].upstream_model(asked) == sent


def test_the_default_service_comes_last_and_takes_everything() -> None:
    loaded = load(None, ALL | {"DEFAULT_AI_SERVICE": "qwen"})
    assert routes(loaded) == [*(bearer(n) for n in ("azure-openai", "openai", "moonshot")), ("qwen", {}, "qwen")]
    assert loaded.notes == ()


def test_absent_services_are_noted() -> None:
    loaded = load(None, {"DASHSCOPE_API_KEY": "q", "OPENAI_API_KEY": " ,", "MOONSHOT_API_KEY": "YOUR_MOONSHOT_API_KEY",
                         "AZURE_OPENAI_SERVICE_URL": URL, "DEFAULT_AI_SERVICE": "qwen"})  # fmt: skip
    assert routes(loaded) == [("qwen", {}, "qwen")]
    assert loaded.notes == (
        "azure-openai: AZURE_OPENAI_API_KEY is not set, so it is absent",
        "openai: OPENAI_API_KEY is not set, so it is absent",
        "moonshot: MOONSHOT_API_KEY is not set, so it is absent",
    )


KEY = {"DASHSCOPE_API_KEY": "q"}
WRONG: list[tuple[str, Mapping[str, str], list[str]]] = [
    (
        "nothing",
        {},
        [
            "environment: no service has a key: set DASHSCOPE_API_KEY, OPENAI_API_KEY, MOONSHOT_API_KEY, or "
            "AZURE_OPENAI_API_KEY with AZURE_OPENAI_SERVICE_URL"
        ],
    ),
    (
        "default unknown",
        KEY | {"DEFAULT_AI_SERVICE": "azur-openai"},
        [
            "environment: DEFAULT_AI_SERVICE: there is no service 'azur-openai' (did you mean azure-openai?); allowed: "
            "qwen, azure-openai, openai, moonshot"
        ],
    ),
    (
        "default absent",
        KEY | {"DEFAULT_AI_SERVICE": "openai", "OPENAI_API_KEY": "YOUR_OPENAI_API_KEY"},
        ["environment: DEFAULT_AI_SERVICE: names openai, but OPENAI_API_KEY is not set"],
    ),
    (
        "azure without address",
        {"AZURE_OPENAI_API_KEY": "a"},
        [
            "environment: AZURE_OPENAI_SERVICE_URL: is not set, but AZURE_OPENAI_API_KEY is: Azure has no address "
            "without it"
        ],
    ),
    (
        "azure with the placeholder",
        {
            "AZURE_OPENAI_API_KEY": "a",
            "AZURE_OPENAI_SERVICE_URL": "https://YOUR_RESOURCE_NAME.openai.azure.com/openai/deployments/"
            "YOUR_DEPLOYMENT_NAME/chat/completions?api-version=2024-02-01",
        },
        [
            "environment: AZURE_OPENAI_SERVICE_URL: is not set, but AZURE_OPENAI_API_KEY is: Azure has no address "
            "without it"
        ],
    ),
    (
        "azure with a wrong address",
        {"AZURE_OPENAI_API_KEY": "a", "AZURE_OPENAI_SERVICE_URL": "https://r.openai.azure.com"},
        [
            "environment: AZURE_OPENAI_SERVICE_URL: must end in ?api-version=…, unless it is the v1 API "
            "(https://RESOURCE/openai/v1)"
        ],
    ),
    (
        "a key that no header can carry",
        {"DASHSCOPE_API_KEY": "secret two"},
        ["environment: DASHSCOPE_API_KEY: a token is empty or has characters that an HTTP header cannot carry"],
    ),
]


@pytest.mark.parametrize(("environ", "expected"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_wrong(environ: Mapping[str, str], expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert str(caught.value).splitlines() == expected
    assert all(problem.file == "environment" and problem.line == 0 for problem in caught.value.problems)


def test_stand_in_for_all() -> None:
    loaded = load(None, {}, stand_in=STAND_IN)
    assert routes(loaded) == [bearer(n) for n in ("qwen", "azure-openai", "openai", "moonshot")]
    for provider in loaded.config.providers:
        assert provider.endpoint == STAND_IN.url
        assert [t.get_secret_value() for t in provider.tokens] == [STAND_IN.key]
        assert f"provider {provider.id}: no key, the simulated vendor stands in" in loaded.notes
    assert loaded.config.by_id["azure-openai"].upstream.authority == "simulated.openai.azure.com"


def test_stand_in_for_some() -> None:
    environ = {"DASHSCOPE_API_KEY": "q", "DEFAULT_AI_SERVICE": "moonshot"}
    loaded = load(None, environ, stand_in=STAND_IN)
    assert loaded.config.by_id["qwen"].endpoint is None
    assert routes(loaded)[-1] == ("moonshot", {}, "moonshot")
    assert len(loaded.notes) == 3


def test_vendors_of_the_table_are_chosen_by_their_models_or_their_name() -> None:
    environ = {"DEEPSEEK_API_KEY": "a,b", "GROQ_API_KEY": "g", "GROK_API_KEY": "x", "GROK_MODELS": "grok-4*, x-*"}
    native, _ = environment.native(environ)
    assert [(p["type"], p["apiTokens"]) for p in native["providers"]] == [
        ("deepseek", ["a", "b"]),
        ("groq", ["g"]),
        ("grok", ["x"]),
    ]
    routes = {route["name"]: route["match"] for route in native["routes"]}
    assert routes["groq"] == {"headers": {"authorization": "Bearer groq"}}
    assert routes["deepseek-models"] == {"models": ["deepseek-*"]}
    assert routes["grok-models"] == {"models": ["grok-4*", "x-*"]}
    native, _ = environment.native(environ | {"DEFAULT_AI_SERVICE": "groq"})
    assert native["routes"][-1] == {"name": "groq", "match": {}, "provider": "groq"}
