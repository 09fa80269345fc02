"""`extproc import` of LiteLLM's config.yaml: who is asked for which model, and what has no equivalent."""

from pathlib import Path

import pytest

from extproc.config.config import Config, Step
from extproc.config.load import load
from extproc.imports.report import Taken, as_yaml, report, take

FILE = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/my-deploy
      api_base: https://r.openai.azure.com/
      api_key: os.environ/AZURE_API_KEY
      api_version: "2024-10-21"
      rpm: 100
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-5.6-sol, api_key: sk-literal-0123456789abcdef, weight: 2}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-5-5, api_key: "os.environ/ANTHROPIC_API_KEY", max_tokens: 900}
  - model_name: local
    litellm_params: {model: ollama_chat/llama3, api_base: "http://localhost:11434"}
  - model_name: "groq/*"
    litellm_params: {model: "groq/*"}
  - model_name: bed
    litellm_params: {model: bedrock/converse/us.anthropic.claude-sonnet-5-5, aws_region_name: us-west-2}
  - model_name: odd
    litellm_params: {model: cohere/command-r}
  - model_name: mine
    litellm_params: {model: hosted_vllm/qwen, api_base: "http://gpu:8000/v1"}
  - model_name: theirs
    litellm_params: {model: openai/x, api_base: "https://other.example/api/v3", api_key: k}
  - model_name: "*"
    litellm_params: {model: "openai/*", api_key: os.environ/OPENAI_API_KEY}
litellm_settings:
  drop_params: true
  callbacks: [langfuse]
  default_fallbacks: [local]
router_settings:
  routing_strategy: usage-based-routing-v2
  fallbacks: [{"gpt-4o": ["claude", "locl"]}, {odd: [bed]}]
  model_group_alias: {gpt-4: claude}
general_settings:
  master_key: sk-master-0123456789
"""
ENVIRON = dict.fromkeys(
    "AZURE_API_KEY ANTHROPIC_API_KEY GROQ_API_KEY OPENAI_API_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY".split(), "k"
)


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    (tmp_path / "litellm.yaml").write_text(FILE)
    return take(tmp_path / "litellm.yaml", ENVIRON)


def config(taken: Taken, tmp_path: Path) -> Config:
    (tmp_path / "ours.yaml").write_text(as_yaml(taken))
    return load(tmp_path / "ours.yaml", {**ENVIRON, **{named.name: named.value for named in taken.named}}).config


def asked(config: Config, model: str) -> list[list[tuple[str, str | None, int]]]:
    """Who is asked for a model, in which order, for which of theirs, and with which weight."""
    route = next(r for r in config.routes if r.match.models is None or model in r.match.models)

    def sent(step: Step) -> str | None:
        return step.model or config.by_id[step.provider].upstream_model(model)

    return [[(step.provider, sent(step), step.weight) for step in group] for group in route.provider or ()]


def test_each_name_reaches_whom_it_reached(taken: Taken, tmp_path: Path) -> None:
    ours = config(taken, tmp_path)
    local = [("ollama", "llama3", 1)]
    both = [("azure", "my-deploy", 1), ("openai", "gpt-5.6-sol", 2)]
    assert asked(ours, "gpt-4o") == [both, [("claude", "claude-sonnet-5-5", 1)]]
    assert asked(ours, "gpt-4") == [[("claude", "claude-sonnet-5-5", 1)], local]
    assert asked(ours, "local") == [local]
    assert asked(ours, "groq/gpt-oss-120b") == [[("groq", "gpt-oss-120b", 1)], local]
    assert asked(ours, "odd") == [[("bedrock", "us.anthropic.claude-sonnet-5-5", 1)]]
    assert asked(ours, "mine") == [[("vllm", "qwen", 1)], local]
    assert asked(ours, "theirs")[0] == [("openai-2", "x", 1)]
    assert asked(ours, "anything")[0] == [("openai-3", "anything", 1)]
    assert ours.by_id["vllm"].upstream.address == "gpu"
    assert ours.by_id["ollama"].upstream.port == 11434
    (client,) = ours.clients
    assert client.name == "master"


def test_what_has_no_equivalent_is_said_with_its_line(taken: Taken) -> None:
    lines = report(taken)
    for words in (
        ":8: model_list[0].litellm_params.rpm: has no equivalent",
        ":20: model_list[6].litellm_params.model: there is no vendor 'cohere' here",
        "litellm_settings.callbacks: has no equivalent",
        "router_settings.routing_strategy: has no equivalent",
        "router_settings.fallbacks[0]: model_list has no 'locl' (did you mean local?)",
    ):
        assert any(words in line for line in lines), (words, lines)
    assert not any("drop_params" in line for line in lines)
    assert not any("sk-literal" in line or "sk-master" in line for line in [*lines, as_yaml(taken)])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{model_name: a}", "no litellm_params"),
        ("{model_name: a, litellm_params: {model: azure/d, api_key: k}}", "azure without api_base"),
        ("{model_name: a, litellm_params: {model: groqq/x}}", "there is no vendor 'groqq' here (did you mean groq?)"),
        ("{model_name: a, litellm_params: {model: groq/x, api_base: os.environ/BASE}}", "write it out"),
    ],
)
def test_an_entry_that_cannot_be(entry: str, words: str, tmp_path: Path) -> None:
    good = "{model_name: b, litellm_params: {model: deepseek/deepseek-flash, api_key: k}}"
    (tmp_path / "l.yaml").write_text(f"model_list: [{good}, {entry}]\n")
    found = take(tmp_path / "l.yaml", {"GROQ_API_KEY": "k"})
    assert not found.wrong, found.wrong
    assert any(words in str(problem) for problem in found.lost), found.lost
