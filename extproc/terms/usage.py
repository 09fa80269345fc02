"""What an exchange used: the one type of it, and the one place that reads every vendor's and every front's form.

Rule: a count is whole and not negative, or it is not there. Nothing here knows a vendor by its name, and what nobody
told is estimated from what was said, which the result says of itself.
"""

from collections.abc import Mapping
from typing import Any, Final

from extproc.terms.frozen import Frozen
from extproc.text import jsontext, tokens
from extproc.text.jsontext import Fields


class Usage(Frozen, frozen=True):
    """What one exchange used, as the vendor counted it; None where it did not say.

    `prompt_tokens` includes what was read from a cache and written to one, `completion_tokens` the thinking.
    `long_write_tokens`: those of `cache_write_tokens` that are kept for an hour. `…_audio_tokens`: those of the others
    that are sound. `images`: made. `seconds`: of sound or film. `characters`: spoken or translated.
    `estimated`: at least one of the counts is not the vendor's.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    long_write_tokens: int | None = None
    prompt_audio_tokens: int | None = None
    completion_audio_tokens: int | None = None
    images: int | None = None
    seconds: float | None = None
    characters: int | None = None
    estimated: bool = False


NOT_COUNTED: Final = Usage()


def known(usage: Usage) -> dict[str, int | float]:
    """The counts that there are, by the names under which the log and Envoy's metadata have them."""
    return {name: value for name in _SHOWN if (value := getattr(usage, name)) is not None}


_SHOWN: Final = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("images", "seconds", "characters"),
)

_MOST: Final = 1 << 53
"""From here on a double, which is what metadata and JavaScript have, is no whole number any more."""


def read_usage(usage: Any) -> Usage:
    """The counts of a usage object: chat's (`prompt_tokens`), those of Responses and DashScope (`input_tokens`),
    Anthropic's, Bedrock's (`inputTokens`) or Gemini's (`promptTokenCount`). Anthropic and Bedrock count what was read
    from a cache and written to one beside the prompt, Gemini its thoughts beside the answer."""
    if not isinstance(usage, dict):
        return NOT_COUNTED
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = count(usage.get("total_tokens"))
    if total is not None and len(usage) == 3 and prompt is not None:  # as most are
        return Usage(prompt, completion, total)
    if "promptTokenCount" in usage or "candidatesTokenCount" in usage:
        return _geminis(usage)
    if "inputTokens" in usage or "outputTokens" in usage:
        usage = {_BEDROCKS.get(name, name): value for name, value in usage.items()}
        prompt, completion = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
        total = None  # with what was cached, or without: nobody says
    given, made = _details(usage, "prompt", "input"), _details(usage, "completion", "output")
    read = _count(given, "cached_tokens", "cache_read_input_tokens")
    written = _count(given, "cache_write_tokens", "cache_creation_input_tokens")
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        read, written = (count(usage.get(f"cache_{kind}_input_tokens")) for kind in ("read", "creation"))
        prompt = None if prompt is None else prompt + (read or 0) + (written or 0)
    if read is None:  # Moonshot's place, and DeepSeek's
        read = _count(usage, "cached_tokens", "prompt_cache_hit_tokens")
    if total is None and (prompt is not None or completion is not None):
        total = (prompt or 0) + (completion or 0)
    elif prompt is None and completion is None:  # DashScope's embeddings
        prompt = total
    kept = usage.get("cache_creation")
    thought = _count(made, "reasoning_tokens", "thinking_tokens")
    return Usage(
        prompt,
        completion,
        total,
        read,
        written,
        thought if thought is not None else count(usage.get("reasoning_tokens")),
        count(kept.get("ephemeral_1h_input_tokens")) if isinstance(kept, dict) else None,
        count(given.get("audio_tokens")),
        count(made.get("audio_tokens")),
        _count(usage, "image_count", "images"),
        _seconds(usage),
        _count(usage, "characters", "total_characters"),
    )


def _geminis(usage: Mapping[str, Any]) -> Usage:
    """The prompt includes what came from a cache; thoughts and what tools said are counted beside."""
    names = "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"
    prompt, answer, thoughts, cached = (count(usage.get(name)) for name in names)
    if prompt is not None:
        prompt += count(usage.get("toolUsePromptTokenCount")) or 0
    completion = None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0)
    heard, spoken = (_modality(usage.get(f"{kind}TokensDetails"), "AUDIO") for kind in ("prompt", "candidates"))
    return Usage(
        prompt,
        completion,
        (prompt or 0) + (completion or 0),
        cached,
        reasoning_tokens=thoughts,
        prompt_audio_tokens=heard,
        completion_audio_tokens=spoken,
    )


def _modality(details: Any, kind: str) -> int | None:
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict) and one.get("modality") == kind:
            return count(one.get("tokenCount"))
    return None


_BEDROCKS: Final = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadInputTokens": "cache_read_input_tokens",
    "cacheWriteInputTokens": "cache_creation_input_tokens",
}


def count(value: Any) -> int | None:
    """A count as a vendor wrote it, `1.0` too; None for what is none."""
    whole = jsontext.whole(value)
    return whole if whole is not None and 0 <= whole < _MOST else None


def _count(usage: Mapping[str, Any], name: str, other: str) -> int | None:
    known = count(usage.get(name))
    return known if known is not None else count(usage.get(other))


def _seconds(usage: Mapping[str, Any]) -> float | None:
    for name in ("seconds", "duration", "prompt_audio_seconds"):
        told = usage.get(name)
        if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told < _MOST:
            return float(told)
    return None


def _details(usage: Mapping[str, Any], *kinds: str) -> Mapping[str, Any]:
    """DashScope calls those of the prompt as chat does, and those of the answer as Responses does; transcriptions have
    one `s` less (OpenAI API reference, 2026)."""
    for kind in kinds:
        for name in (f"{kind}_tokens_details", f"{kind}_token_details"):
            if isinstance(found := usage.get(name), dict):
                return found
    return {}


Told = tuple[int | None, int | None]

NOT_TOLD: Final[Told] = None, None

_PAIRS: Final = ("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")
_BESIDE: Final = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})


def told(usage: Any) -> Told:
    """Input and output of a usage object as `read_usage` has them. Vendors send one with each event: mostly two
    looks are enough."""
    if isinstance(usage, dict) and _BESIDE.isdisjoint(usage):
        for prompt, output in _PAIRS:
            asked, said = usage.get(prompt), usage.get(output)
            if type(asked) is int and type(said) is int and 0 <= asked < _MOST and 0 <= said < _MOST:
                return asked, said
    read = read_usage(usage)
    return read.prompt_tokens, read.completion_tokens


class Counted:
    """Somebody who sees the usage objects of an answer go by."""

    raw_usage: Any = None
    """The last usage object that the vendor sent."""

    said: int = 0
    """The tokens that have been delivered, about."""

    _read: tuple[Any, Usage] = None, NOT_COUNTED
    _pair: tuple[Any, Told] = None, NOT_TOLD

    @property
    def told(self) -> Told:
        """Input and output of `usage`: another tuple as soon as the vendor has told anew."""
        if self._pair[0] is not self.raw_usage:
            self._pair = self.raw_usage, told(self.raw_usage)
        return self._pair[1]

    @property
    def usage(self) -> Usage:
        """The tokens of the exchange so far."""
        if self._read[0] is not self.raw_usage:
            self._read = self.raw_usage, read_usage(self.raw_usage)
        return self._read[1]


def is_asked(body: Fields) -> bool:
    """Whether a chat's stream shall end with its usage."""
    return "stream_options" in body and jsontext.peek(body["stream_options"], "include_usage") is True


# Where nobody counts

_SAID: Final = ("messages", "input", "prompt", "system", "instructions", "tools", "functions", "contents", "inputs")
"""The members of a request that a model reads, in all dialects."""


def estimate(body: Fields) -> int:
    """The input tokens of a request of any dialect, about; 0 for one that says nothing to a model. `body`: opened one
    level."""
    return sum([max(1, tokens.of_json(bytes(body[name]))) for name in _SAID if name in body])


def spoken(text: str) -> int:
    """The tokens of a piece of an answer, about: a word's length in English, a word of two characters in Chinese."""
    return (len(text) if text.isascii() else 3 * len(text)) + 3 >> 2
