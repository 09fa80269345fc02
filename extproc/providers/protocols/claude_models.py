"""What Anthropic's models take: one table, by name.

Source: Anthropic's model pages as of 2026-11 (adaptive thinking, sampling and prefill refused from opus-4-7 and
sonnet-5 on), and of its "What's new" and migration pages of Fable, Opus, Sonnet and Haiku 5.5, read 2026-11-30 (tools
are never forced, `between_tools`, thinking unasked); the most tokens of an answer as its documents and LiteLLM's public
table of 2026-11 have them.
"""

from dataclasses import dataclass

from extproc.providers.traits import LEVELS, Traits
from extproc.text.patterns import NamePatterns


@dataclass(frozen=True, slots=True)
class Claude:
    """`most`: tokens of an answer. `sampling`: temperature, top_p and top_k are taken, and an answer that the client
    begins (prefill). `thinking`: `always` (adaptive, cannot be switched off), `adaptive` (no budgets), `both` (adaptive
    or a budget), `budget`, `none`. `off`: what switches it off in a model that thinks unasked. `forced`: tools can be
    forced."""

    names: NamePatterns
    most: int
    thinking: str
    sampling: bool
    off: str = ""
    forced: bool = True


def _row(names: str, most: int, thinking: str, *, sampling: bool, off: str = "", forced: bool = True) -> Claude:
    patterns = NamePatterns([f"{where}{name}*" for name in names.split() for where in ("", "anthropic.")])
    return Claude(patterns, most, thinking, sampling, off, forced)


ROWS = (
    _row("claude-fable-5 claude-opus-5-5", 128_000, "always", sampling=False, forced=False),
    _row("claude-sonnet-5-5", 128_000, "adaptive", sampling=False, off="between_tools", forced=False),
    _row("claude-haiku-5 claude-opus-5 claude-sonnet-5", 128_000, "adaptive", sampling=False, off="disabled"),
    _row("claude-opus-4-8 claude-opus-4-7", 128_000, "adaptive", sampling=False),
    _row("claude-opus-4-6 claude-sonnet-4-6", 128_000, "both", sampling=True),
    _row("claude-opus-4-5 claude-sonnet-4-5 claude-haiku-4-5", 64_000, "budget", sampling=True),
    _row("claude-sonnet-4 claude-3-7", 64_000, "budget", sampling=True),
    _row("claude-opus-4", 32_000, "budget", sampling=True),
    _row("claude-3-5", 8_192, "none", sampling=True),
    _row("claude-3", 4_096, "none", sampling=True),
)
NEWEST = Claude(NamePatterns(["*"]), 64_000, "adaptive", sampling=False)
"""What a name is taken for that the table does not know: a model that came after it, with the most that all take."""


def claude(name: str) -> Claude:
    """The row of a vendor's model name; Vertex writes `name@date`, Bedrock `anthropic.name` behind a region."""
    bare = name[name.find("claude") :] if "claude" in name else name
    return next((row for row in ROWS if bare in row.names), NEWEST)


def traits(name: str) -> Traits:
    """What clients of other dialects are read by, for this model."""
    known = claude(name)
    return Traits(
        files=True,
        cache_control=True,
        strict=True,
        top_k=known.sampling,
        efforts=LEVELS,
        output=None if known is NEWEST else known.most,
    )
