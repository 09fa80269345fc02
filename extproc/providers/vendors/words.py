"""Words that rows are written in. Rule: what several rows say, once."""

from extproc.providers.vendors.quirks import Clamp

MEMBERS = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata "
    "modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options "
    "prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store "
    "stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options"
).split()
"""What a chat request may have beside model, messages and stream: the members of `CompletionCreateParams`,
openai 3.54.0, 2026-11-30."""

MAX_TOKENS = {"max_completion_tokens": "max_tokens"}
"""OpenAI's newer name to the one that everybody knows."""

UNIT = {"temperature": Clamp(min=0, max=1)}
"""OpenAI's temperature goes to 2."""


def all_but(taken: str) -> tuple[str, ...]:
    """Everything that OpenAI has and this vendor has not; members that OpenAI does not know go through."""
    return tuple(name for name in MEMBERS if name not in taken.split())
