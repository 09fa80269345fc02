"""OpenTelemetry's words for generative AI, as far as its two repositories differ or have a list of their own.

Rule: constants, each with where it is from. Core: semantic-conventions 1.41, the last with `gen_ai.*`. The new one:
semantic-conventions-genai 0.1, which counts tokens instead of histograms of them (both read 2026-11).
"""

from typing import Final

CORE: Final = "core"

MODALITY: Final = "gen_ai.token.modality"
UNKNOWN: Final = "unknown"
"""Of tokens that a vendor does not tell apart."""

_INFERENCE: Final = "gen_ai.client.inference"
SPENT: Final = (
    ("input", f"{_INFERENCE}.usage.input_tokens", "Input tokens, cached ones too."),
    ("cached", f"{_INFERENCE}.usage.cache_read.input_tokens", "Input tokens read from a cache."),
    ("written", f"{_INFERENCE}.usage.cache_write.input_tokens", "Input tokens written to a cache."),
    ("output", f"{_INFERENCE}.usage.output_tokens", "Output tokens, thinking too."),
    ("thinking", f"{_INFERENCE}.usage.reasoning.output_tokens", "Output tokens of thinking."),
)
"""Kind, name and help of the new repository's counters."""
SPREADS: Final = (
    ("input", f"{_INFERENCE}.operation.input_tokens", "Input tokens of one exchange."),
    ("output", f"{_INFERENCE}.operation.output_tokens", "Output tokens of one exchange."),
)

VENDORS: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "claude": "anthropic",
    "gemini": "gcp.gemini",
    "grok": "x_ai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
}
"""`gen_ai.provider.name` where it is not our type's name; the lists have no name for most of the other vendors."""
