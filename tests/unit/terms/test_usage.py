"""Every form in which vendors count, read in one place; and what stands in where nobody counts."""

import json
from pathlib import Path
from typing import Any

from dashscope import get_tokenizer
import pytest

from extproc.terms.usage import NOT_COUNTED, Usage, estimate, read_usage, told
from extproc.text import jsontext
from tests.unit.fronts.test_messages import CHINESE, PNG

ROOT = Path(__file__).parents[3]

FORMS: list[tuple[str, Any, Usage]] = [
    ("chat", {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4, 7)),
    ("numbers with a fraction of nought", {"prompt_tokens": 3.0, "completion_tokens": 4}, Usage(3, 4, 7)),
    ("no object", [3], NOT_COUNTED),
    ("nothing", {}, NOT_COUNTED),
    ("negative", {"prompt_tokens": -3, "completion_tokens": 4}, Usage(None, 4, 4)),
    ("half a token", {"prompt_tokens": 3.5, "completion_tokens": 4}, Usage(None, 4, 4)),
    ("a text, a truth", {"prompt_tokens": "3", "completion_tokens": True}, NOT_COUNTED),
    ("beyond whole doubles", {"prompt_tokens": 1 << 60, "completion_tokens": 1}, Usage(None, 1, 1)),
    (
        "OpenAI's details",
        {
            "prompt_tokens": 30,
            "completion_tokens": 20,
            "total_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 6},
        },
        Usage(30, 20, 50, 10, None, 8, prompt_audio_tokens=5, completion_audio_tokens=6),
    ),
    (
        "Responses",
        {
            "input_tokens": 30,
            "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 8},
            "total_tokens": 50,
        },
        Usage(30, 20, 50, 10, 4, 8),
    ),
    (
        "a transcription",
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        Usage(14, 45, 59, prompt_audio_tokens=10),
    ),
    ("a transcription by time", {"type": "duration", "seconds": 7.5}, Usage(seconds=7.5)),
    (
        "Anthropic, where caches count beside the input",
        {
            "input_tokens": 5,
            "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 9,
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 7},
            "output_tokens": 4,
        },
        Usage(17, 4, 21, 3, 9, long_write_tokens=7),
    ),
    (
        "Bedrock",
        {"inputTokens": 5, "outputTokens": 4, "totalTokens": 9, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2},
        Usage(10, 4, 14, 3, 2),
    ),
    (
        "Gemini, where thoughts count beside the answer",
        {
            "promptTokenCount": 5,
            "toolUsePromptTokenCount": 1,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 4,
            "totalTokenCount": 11,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 2}],
        },
        Usage(6, 5, 11, 4, None, 3, prompt_audio_tokens=2),
    ),
    ("Gemini's embeddings", {"promptTokenCount": 5}, Usage(5, None, 5)),
    (
        "DashScope",
        {
            "input_tokens": 30,
            "output_tokens": 5,
            "total_tokens": 35,
            "prompt_tokens_details": {"cached_tokens": 10, "cache_creation_input_tokens": 8},
            "output_tokens_details": {"reasoning_tokens": 2},
        },
        Usage(30, 5, 35, 10, 8, 2),
    ),
    ("DashScope's embeddings", {"total_tokens": 12}, Usage(12, None, 12)),
    ("DashScope's images", {"image_count": 2}, Usage(images=2)),
    ("DashScope's speech", {"characters": 17}, Usage(characters=17)),
    ("DashScope's transcription", {"duration": 9}, Usage(seconds=9.0)),
    (
        "DeepSeek",
        {
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "total_tokens": 25,
            "prompt_cache_hit_tokens": 12,
            "prompt_cache_miss_tokens": 8,
        },
        Usage(20, 5, 25, 12),
    ),
    (
        "Moonshot",
        {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "cached_tokens": 6},
        Usage(20, 5, 25, 6),
    ),
    (
        "Perplexity",
        {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "reasoning_tokens": 3},
        Usage(20, 5, 25, reasoning_tokens=3),
    ),
]


@pytest.mark.parametrize(("usage", "expected"), [pytest.param(*form[1:], id=form[0]) for form in FORMS])
def test_every_form_is_read(usage: Any, expected: Usage) -> None:
    assert read_usage(usage) == expected
    assert told(usage) == (expected.prompt_tokens, expected.completion_tokens), "the same, with each event of a stream"


def estimated(**body: Any) -> int:
    return estimate(jsontext.fields(json.dumps({"model": "m", **body}, ensure_ascii=False).encode()))


@pytest.mark.parametrize("copies", [1, 40])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param((ROOT / "README.md").read_text()[:5000], id="English"),
        pytest.param(CHINESE, id="Chinese"),
        pytest.param((ROOT / "docs/limits.zh.md").read_text()[:5000], id="technical Chinese"),
        pytest.param((ROOT / "extproc/fronts/turns.py").read_text()[:5000], id="code"),
        pytest.param((ROOT / "tests/micro/instructions.json").read_text()[:5000], id="JSON"),
    ],
)
def test_an_estimate_is_near_what_a_tokenizer_says(text: str, copies: int) -> None:
    real = copies * len(get_tokenizer("qwen-plus").encode(text))
    messages = [{"role": "user", "content": text}] * copies
    assert estimated(messages=messages) == pytest.approx(real, rel=0.3)


@pytest.mark.parametrize(
    ("body", "least", "most"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, 4, 12),
        ({"input": "hi"}, 1, 3),
        ({"input": ["one", "two"]}, 2, 8),
        ({"system": "Be short.", "messages": []}, 3, 6),
        ({"temperature": 1}, 0, 0),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]},
            8,
            30,
        ),
        (
            {
                "messages": [
                    {
                        "content": [{"image_url": {"url": f"data:image/png;base64,{PNG}{'A' * 1_000_000}"}}],
                        "role": "user",
                    }
                ]
            },
            1066,
            1100,
        ),
    ],
    ids=str,
)
def test_what_an_estimate_is_of(body: dict[str, Any], least: int, most: int) -> None:
    assert least <= estimated(**body) <= most
