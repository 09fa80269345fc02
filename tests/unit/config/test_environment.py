"""Configuration from the environment alone."""

from collections.abc import Mapping

import pytest

from extproc.config import environment
from extproc.config.load import ConfigError, Loaded, StandIn, load
from extproc.providers import Moonshot, Qwen
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
        ("qwen", "anything", "qwen3.8-flash"),
        ("qwen", "gpt-3", "qwen3.8-flash"),
        ("qwen", "gpt-35-turbo", "qwen3.8-flash"),
        ("qwen", "gpt-3.5-turbo", "qwen3.8-flash"),
        ("qwen", "gpt-4o-mini-2024-07-18", "qwen3.8-flash"),
        ("qwen", "gpt-4-turbo", "qwen3.8-max"),
        ("qwen", "gpt-4o", "qwen3.8-max"),
        ("qwen", "gpt-4.1-mini", "qwen3.8-max"),
        ("qwen", "gpt-5.6-sol", "qwen3.8-max"),
        ("qwen", "gpt-6-luna", "qwen3.8-max"),
        ("qwen", "claude-opus-5-5", "qwen3.8-max"),
        ("azure-openai", "gpt-4", "gpt-4"),
        ("openai", "gpt-4", "gpt-4"),
        ("moonshot", "anything", "kimi-k3.1-pro"),
        ("moonshot", "gpt-3", "kimi-k3.1-pro"),
        ("moonshot", "gpt-35-turbo", "kimi-k3.1-pro"),
        ("moonshot", "gpt-4-turbo", "kimi-k3.1-pro"),
    ],
)
def test_model_mappings(service: str, asked: str, sent: str) -> None:
    assert load(None, ALL).config.by_id[service].upstream_model(asked) == sent


def test_with_the_shipped_maps_nothing_thinks_that_nobody_asked() -> None:
    by_id = load(None, ALL).config.by_id
    assert isinstance(qwen := by_id["qwen"], Qwen)
    assert isinstance(moonshot := by_id["moonshot"], Moonshot)
    assert (qwen.default_effort, moonshot.default_effort) == ("none", "low")
    assert by_id["qwen"].names == ("gpt-3", "gpt-35-turbo", "gpt-4-turbo")


@pytest.mark.parametrize(
    ("variable", "service"),
    [
        ("DASHSCOPE_MODELS", "qwen"),
        ("MOONSHOT_MODELS", "moonshot"),
        ("OPENAI_MODELS", "openai"),
        ("AZURE_OPENAI_MODELS", "azure-openai"),
    ],
)
def test_a_variable_replaces_the_map(variable: str, service: str) -> None:
    found = load(None, ALL | {variable: " gpt-4 = big , gpt-3*=small,* = a=b ,"}).config.by_id[service]
    assert [found.upstream_model(name) for name in ("gpt-4", "gpt-3.5", "else")] == ["big", "small", "a=b"]
    assert getattr(found, "default_effort", None) is None, "the models are somebody's own choice now"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpt-4", "'gpt-4' is not client=vendor; the form is client=vendor,client=vendor,*=vendor"),
        ("a=b,gpt-4=", "'gpt-4=' is not client=vendor; the form is client=vendor,client=vendor,*=vendor"),
        ("=b", "'=b' is not client=vendor; the form is client=vendor,client=vendor,*=vendor"),
        (",", "maps nothing; the form is client=vendor,client=vendor,*=vendor"),
        ("a=b,a=c", "'a' is mapped twice"),
        ("~(=b", "~( is not an RE2 regular expression: missing ): ("),
    ],
)
def test_a_map_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, ALL | {"DASHSCOPE_MODELS": text})
    assert str(caught.value) == f"environment: DASHSCOPE_MODELS: {message}"


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


def test_the_later_images_variables() -> None:
    native, notes = environment.native(
        {
            "DASHSCOPE_API_KEY": "q",
            "DASHSCOPE_MODELS": "qwen*",
            "DASHSCOPE_EXTRA_CONFIGS": "qwenEnableCompatible=true",
            "AZURE_API_KEY": "a",
            "AZURE_SERVICE_URL": URL,
            "MINIMAX_API_KEY": "YOUR_MINIMAX_API_KEY",
            "ZHIPUAI_API_KEY": "",
            "ZAI_API_KEY": "z",
            "ZAI_EXTRA_CONFIGS": "unread=1",
            "ZHIPUAI_EXTRA_CONFIGS": "zhipuDomain=api.z.ai,zhipuCodePlanMode=true,timeout=5000",
            "OPENROUTER_API_KEY": "o",
            "OPENROUTER_MODELS": "*",
            "CLAUDE_CODE_API_KEY": "c",
            "CLOUDFLARE_API_KEY": "f",
            "CLOUDFLARE_ACCOUNT_ID": "acc",
            "OLLAMA_SERVER_HOST": "gpu",
            "OLLAMA_SERVER_PORT": "11434",
            "OLLAMA_MODELS": "llama*,mine=llama3",
            "VLLM_CUSTOM_URL": "http://v:8000/v1",
            "GOOGLE_API_KEY": "g",
            "BEDROCK_REGION": "us-east-1",
            "BEDROCK_ACCESS_KEY": "AK",
            "BEDROCK_SECRET_KEY": "SK",
            "VERTEX_PROJECT_ID": "p",
            "VERTEX_REGION": "us",
            "VERTEX_AUTH_KEY": "{}",
        }
    )
    providers = {provider["id"]: provider for provider in native["providers"]}
    assert providers["qwen"] == {"id": "qwen", "type": "qwen", "apiTokens": ["q"], "qwenEnableCompatible": True}
    assert providers["azure-openai"]["azureServiceUrl"] == URL
    zhipu = {"zhipuDomain": "api.z.ai", "zhipuCodePlanMode": True, "timeout": 5000, "apiTokens": ["z"]}
    assert providers["zhipuai"] == {"id": "zhipuai", "type": "zhipuai", **zhipu}
    assert providers["claude"] == {"id": "claude", "type": "claude", "apiTokens": ["c"], "claudeCodeMode": True}
    assert providers["cloudflare"]["cloudflareAccountId"] == "acc"
    ollama = {"ollamaServerHost": "gpu", "ollamaServerPort": "11434", "modelMapping": {"mine": "llama3"}}
    assert providers["ollama"] == {"id": "ollama", "type": "ollama", **ollama}
    assert providers["bedrock"]["awsSecretKey"] == "SK"
    assert providers["vertex"]["vertexRegion"] == "us"
    assert "minimax" not in providers
    routes = {route["name"]: route["match"].get("models") for route in native["routes"]}
    assert (routes["qwen-models"], routes["ollama-models"]) == (["qwen*"], ["llama*", "mine"])
    assert (routes["zhipuai-models"], routes["gemini-models"]) == (["glm-*", "GLM-*"], ["gemini-*"])
    assert list(routes)[-1] == "openrouter-models", "what takes all comes last"
    assert "MOONSHOT_API_KEY" in " ".join(notes)
    config = load(None, {"OLLAMA_SERVER_HOST": "gpu", "OLLAMA_SERVER_PORT": "8", "DEFAULT_AI_SERVICE": "ollama"}).config
    assert (config.by_id["ollama"].upstream.address, config.by_id["ollama"].upstream.port) == ("gpu", 8)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CLOUDFLARE_API_KEY": "k"}, "CLOUDFLARE_ACCOUNT_ID: is not set, but CLOUDFLARE_API_KEY is"),
        ({"BEDROCK_API_KEY": "k"}, "BEDROCK_REGION: is not set, but BEDROCK_API_KEY is"),
        ({"GROQ_API_KEY": "k", "GROQ_EXTRA_CONFIGS": "modelMaping=1"}, "GROQ_EXTRA_CONFIGS: unknown key modelMaping"),
        ({"GROQ_API_KEY": "k", "GROQ_EXTRA_CONFIGS": "x"}, "GROQ_EXTRA_CONFIGS: the form is key=value"),
        ({"GROQ_API_KEY": "k", "GROQ_EXTRA_CONFIGS": "protocol=no"}, "GROQ_EXTRA_CONFIGS: found the text 'no'"),
        ({"OLLAMA_SERVER_HOST": "http://x", "DEFAULT_AI_SERVICE": "ollama"}, "OLLAMA_SERVER_HOST: must be a host name"),
        ({"HUNYUAN_API_KEY": "k", "HUNYUAN_AUTH_ID": "x"}, "HUNYUAN_AUTH_ID: Tencent's signed native API"),
    ],
)
def test_what_is_wrong_with_them(environ: Mapping[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert words in str(caught.value)
