"""What is wrong for certain is said at start, with provider, key and line."""

from pathlib import Path

import pytest

from extproc.config.load import ConfigError, load
from tests.unit.configurations import problems, read

CLAUDES = "sk-ant-api03-0123456789"

WRONG = [
    ("type: openai\n    apiToken: " + CLAUDES, "config.yaml:3: providers[0].apiToken: the first key is one of claude"),
    (
        f"type: deepseek\n    apiTokens: [sk-fine-000000000, {CLAUDES}]",
        "config.yaml:3: providers[0].apiTokens: the second key is one of claude, but type deepseek would be asked",
    ),
    ("type: qwen\n    apiToken: gsk_0123456789abc", "the first key is one of groq, but type qwen would be asked"),
    ("type: claude\n    apiToken: sk-or-v1-0123456789abc", "one of openrouter"),
    (
        "type: bedrock\n    awsRegion: us-east-1\n    apiToken: k\n"
        "    modelMapping: {a: eu.anthropic.claude-sonnet-5-5}",
        "config.yaml:5: providers[0].modelMapping: eu.anthropic.claude-sonnet-5-5 is a profile of eu, but awsRegion",
    ),
    (
        "type: bedrock\n    awsRegion: eu-west-1\n    apiToken: k\n"
        "    modelMapping: {a: 'arn:aws:bedrock:us-east-1:1:inference-profile/x'}",
        "is of region us-east-1, but awsRegion is eu-west-1",
    ),
]


@pytest.mark.parametrize(("provider", "words"), WRONG, ids=[words[-40:] for _, words in WRONG])
def test_what_no_vendor_can_take(provider: str, words: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"providers:\n  - {provider}\n")
    assert words in found
    assert CLAUDES not in found
    assert "provider " in found


@pytest.mark.parametrize(
    "provider",
    [
        f"type: claude\n    apiToken: {CLAUDES}",
        f"type: openai\n    apiToken: {CLAUDES}\n    openaiCustomUrl: https://proxy.example",
        f"type: deepseek\n    apiToken: {CLAUDES}\n    endpoint: http://127.0.0.1:1",
        f"type: vllm\n    apiToken: {CLAUDES}\n    vllmServerHost: gpu",
        "type: bedrock\n    awsRegion: ap-northeast-1\n    apiToken: k\n"
        "    modelMapping: {a: jp.anthropic.x, b: global.x, c: z}",
    ],
)
def test_what_may_be_right(provider: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"providers:\n  - {provider}\n").config.providers


def test_by_its_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"GROQ_API_KEY": CLAUDES})
    assert (
        str(caught.value) == "environment: GROQ_API_KEY: the first key is one of claude, but type groq would be asked"
    )
