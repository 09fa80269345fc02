"""Which price a model has: what the configuration says, else LiteLLM's public table.

Rule: the configuration wins; a model is found by its vendor's name for it, and one that is nowhere has no price. The
table is LiteLLM's `model_prices_and_context_window_backup.json` (MIT), ours cut down to our vendors by tools/prices.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files
import json
import re
from typing import Any, Final

from extproc.providers.prices import Price

VENDORS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("openai", "text-completion-openai"),
    "azure": ("azure",),
    "claude": ("anthropic",),
    "gemini": ("gemini",),
    "vertex": ("vertex_ai",),
    "bedrock": ("bedrock", "bedrock_converse"),
    "qwen": ("dashscope",),
    "moonshot": ("moonshot",),
    "zhipuai": ("zai",),
    "doubao": ("volcengine",),
    "hunyuan": ("tencent",),
    "grok": ("xai",),
    "together-ai": ("together_ai",),
    "fireworks": ("fireworks_ai",),
    "nvidia": ("nvidia_nim",),
    **{
        name: (name,)
        for name in "deepseek minimax openrouter groq mistral cerebras sambanova deepinfra perplexity novita".split()
    },
}
"""LiteLLM's names (`litellm_provider`) for our types; those of Vertex begin so."""

_TYPES: Final = {theirs: ours for ours, names in VENDORS.items() for theirs in names}

_RATES: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "input_cost_per_token_cache_hit": "cachedInput",
    "cache_read_input_token_cost": "cachedInput",
    "cache_creation_input_token_cost": "cacheWrite",
    "cache_creation_input_token_cost_above_1hr": "cacheWriteHour",
    "output_cost_per_reasoning_token": "thinking",
    "input_cost_per_audio_token": "inputAudio",
    "output_cost_per_audio_token": "outputAudio",
}
_UNITS: Final[Mapping[str, tuple[str, int]]] = {
    "input_cost_per_image": ("image", 1),
    "output_cost_per_image": ("image", 1),
    "output_cost_per_second": ("second", 1),
    "input_cost_per_second": ("second", 1),
    "input_cost_per_character": ("characters", 1_000_000),
}
_TIER: Final = re.compile(r"(\w+)_above_(\d+)k_tokens")
KEPT: Final = re.compile("|".join([*_RATES, *_UNITS, "litellm_provider", "tiered_pricing", _TIER.pattern]))
"""The members of an entry that are read."""


def vendor_of(entry: Mapping[str, Any]) -> str | None:
    """The type of ours that an entry is for."""
    provider = str(entry.get("litellm_provider"))
    return "vertex" if provider.startswith("vertex_ai") else _TYPES.get(provider)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of LiteLLM's. `source`: what it is called when it is shown."""

    source: str
    entries: Mapping[tuple[str, str], Mapping[str, Any]] = field(repr=False)

    def price(self, type: str, model: str) -> Price | None:
        """What a vendor of ours takes for a model, by its own name."""
        entry = self.entries.get((type, model))
        return None if entry is None else _price(entry)

    def models(self, type: str) -> list[str]:
        return sorted(model for vendor, model in self.entries if vendor == type)


def read(text: bytes, source: str) -> Table:
    """A table's file. Raises `ValueError` for what is no JSON object of objects."""
    try:
        document = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict) or not all(isinstance(entry, dict) for entry in document.values()):
        raise ValueError("it is not LiteLLM's table: an object of one object per model is wanted")
    entries = {}
    for name, entry in document.items():
        if (vendor := vendor_of(entry)) is not None:
            begin = "vertex_ai/" if vendor == "vertex" else f"{entry['litellm_provider']}/"
            entries[vendor, name.removeprefix(begin)] = entry
    if not entries:
        raise ValueError("it has no model of a vendor that is known here")
    about = document.get("_about")
    return Table(f"{source} ({about['source']})" if isinstance(about, dict) and "source" in about else source, entries)


@cache
def built_in() -> Table:
    """The table in this package."""
    return read(files("extproc.config").joinpath("litellm_prices.json").read_bytes(), "built-in table")


def _price(entry: Mapping[str, Any]) -> Price | None:
    """None for an entry that says nothing, or noughts: LiteLLM has those for what it does not know."""
    said = _rates(entry, 1_000_000)
    for name, (ours, unit) in _UNITS.items():
        if isinstance(value := entry.get(name), int | Decimal) and value:
            said[ours] = value * unit
    tiers: dict[int, dict[str, Any]] = {}
    for name, value in entry.items():
        if (found := _TIER.fullmatch(name)) and found[1] in _RATES and isinstance(value, int | Decimal):
            tiers.setdefault(int(found[2]) * 1000, {})[_RATES[found[1]]] = value * 1_000_000
    for tier in entry.get("tiered_pricing") or ():
        if isinstance(tier, dict) and isinstance(span := tier.get("range"), list) and span:
            rates = _rates(tier, 1_000_000)
            said, tiers = (rates | said, tiers) if not span[0] else (said, {**tiers, int(span[0]): rates})
    if not any(said.values()):
        return None
    return Price.model_validate({**said, "tiers": [{"above": above, **tiers[above]} for above in sorted(tiers)]})


def _rates(entry: Mapping[str, Any], unit: int) -> dict[str, Any]:
    found = {ours: entry[name] for name, ours in _RATES.items() if isinstance(entry.get(name), int | Decimal)}
    return {name: value * unit for name, value in found.items()}
