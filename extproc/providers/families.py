"""What is known of the models that are sold today, one row per family: where it answers, how it thinks, what it takes.

Rule: facts alone, each row with its source and the day it was read; who acts on them is the vendor's file. Of the rows
that match a name the one with the longest pattern counts, an exact name before all; what a row leaves out is unknown.
`families` in a provider's configuration lays a row of its own over ours.

Sources, shortly: DS dashscope 2.0.2 (the vendor's SDK, whose command line probes paths live) · A2 agentscope 2.0.11
(Alibaba's model cards) · AJ agentscope-ai/agentscope-java#2987 and FA apache/flink-agents#1090 (both cite the vendor's
text-generation pages) · MD anomalyco/models.dev#2364, #2365, #2366, #5732 · LG theopenco/llmgateway · DF
langgenius/dify-official-plugins#2626, #2628, #3190 · V4 the vendor's page of qwen4-max · AY apiyi (a reseller, tried
live) · LL litellm 1.110.2 · SY synaps-engine 0.11 (the vendor's documents, tried live) · AH aihubmix (a reseller).
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal

from pydantic import Field

from extproc.providers.blocks import Block
from extproc.terms.frozen import Frozen, replace
from extproc.text.patterns import NamePatterns

Path = Literal["text", "multimodal"]
Thinks = Literal["never", "asked", "unasked", "always"]
Sense = Literal["image", "video", "audio"]
Limits = Literal["answer", "everything"]


class Family(Frozen, frozen=True):
    """A row. None: not known.

    `names`: exact, globs with `*`, or `~regex`. `path`: the one of DashScope's two native paths that answers. `thinks`:
    never, when asked, unless told not to, or whatever it is told. `budget`: the largest `thinking_budget`. `efforts`:
    values of `reasoning_effort` that it takes itself, the lowest first. `forced`: takes a `tool_choice` that forces a
    tool while it thinks. `thinks_streaming`: refuses to think in a whole answer. `context`, `output`: tokens. `sees`:
    what it takes besides text. `streams_only`: gives no whole answers. `limits`: what its `max_tokens` counts.
    `fixed`: takes one value only of each sampling parameter, so none is sent. `sampling`: whether it refuses those
    parameters, ever or while it thinks. `counts_thinking`: its limit is called `max_completion_tokens`.
    `tools_on_chat`: when it takes tools in a chat, where not always. `seen`: when `source` was read.
    """

    names: tuple[str, ...] = ()
    source: str = ""
    seen: str = ""
    path: Path | None = None
    thinks: Thinks | None = None
    budget: int | None = None
    efforts: tuple[str, ...] = ()
    forced: bool | None = None
    thinks_streaming: bool = False
    context: int | None = None
    output: int | None = None
    sees: frozenset[Sense] | None = None
    streams_only: bool = False
    limits: Limits = "answer"
    fixed: bool = False
    sampling: Literal["refused", "without thinking"] | None = None
    counts_thinking: bool = False
    tools_on_chat: Literal["never", "effort none", "effort unsaid"] | None = None


UNKNOWN: Final = Family()


class FamilyBlock(Block):
    """One entry of `families`: what it says replaces what is known of the models of that name."""

    path: Path | None = None
    thinks: Thinks | None = None
    thinking_budget: int | None = Field(default=None, ge=1)
    efforts: tuple[str, ...] | None = None
    forced_tools: bool | None = None
    context: int | None = Field(default=None, ge=1)
    output: int | None = Field(default=None, ge=1)
    sees: frozenset[Sense] | None = None
    streams_only: bool | None = None
    max_tokens: Limits | None = None
    fixed_sampling: bool | None = None

    @property
    def changes(self) -> Mapping[str, object]:
        """The attributes of `Family` that it says."""
        return {_ATTRIBUTES.get(name, name): getattr(self, name) for name in self.model_fields_set}


_ATTRIBUTES = {
    "thinking_budget": "budget",
    "forced_tools": "forced",
    "max_tokens": "limits",
    "fixed_sampling": "fixed",
}


def _weight(pattern: str) -> tuple[bool, int]:
    """How much a pattern says: exact names before all, then the more characters the more. An expression is as exact as
    it is long."""
    exact = "*" not in pattern and not pattern.startswith("~")
    return exact, len(pattern.replace("*", ""))


class Overlay(dict[str, FamilyBlock]):
    """`families` of a configuration, as hashable as the provider that it belongs to. Nobody changes it."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dict's own is None
        return hash(tuple(self.items()))


def patterns_alone(families: dict[str, FamilyBlock]) -> Overlay:
    """Raises `ValueError` for a key that is no pattern of names."""
    if "" in families:
        raise ValueError("a model name pattern must not be empty")
    NamePatterns(families)
    return Overlay(families)


class Families:
    """Rows, and what a configuration lays over them: `lists` first, then `over`. Looking a name up costs little: it is
    remembered."""

    def __init__(
        self,
        rows: Iterable[Family],
        over: Mapping[str, FamilyBlock] | None = None,
        lists: Callable[[str, Family], Family] = lambda name, row: row,
    ) -> None:
        self.rows = tuple(rows)
        known = [(_weight(name), NamePatterns([name]), row) for row in self.rows for name in row.names]
        self._rows = sorted(known, key=lambda one: one[0], reverse=True)
        self._lists = lists
        said = [(_weight(name), NamePatterns([name]), block.changes) for name, block in (over or {}).items()]
        self._over = sorted(said, key=lambda one: one[0])  # the more exact the later, so it wins
        self.of = lru_cache(maxsize=256)(self._of)
        """The row of a vendor's model name, `UNKNOWN` without one."""

    def _of(self, name: str) -> Family:
        row = next((row for _, patterns, row in self._rows if name in patterns), UNKNOWN)
        row = self._lists(name, row)
        for _, patterns, changes in self._over:
            if name in patterns:
                row = replace(row, **changes)
        return row


_TEXT: Final = frozenset[Sense]()
_IMAGES: Final = frozenset[Sense](["image"])
_PICTURES: Final = frozenset[Sense](["image", "video"])
_ALL: Final = frozenset[Sense](["image", "video", "audio"])

_MILLION: Final = 1_000_000
_128K, _64K, _32K, _8K = 131_072, 65_536, 32_768, 8_192
_256K_BUDGET, _128K_BUDGET, _80K_BUDGET, _OLD_BUDGET = 262_144, 131_072, 81_920, 38_912

QWEN: Final = Families(
    [
        # From qwen4 on max_tokens counts thinking too (the vendor's notice of 2026-11-02).
        Family(
            ("qwen4*", "~^qwen([5-9]|[1-9][0-9])"),
            "a guess: as qwen4-max",
            "2026-11-30",
            path="multimodal",
            limits="everything",
        ),
        Family(
            ("qwen4-max*",),
            "V4, AY; forced tools passed in AY's trial",
            "2026-11-17",
            path="multimodal",
            thinks="unasked",
            budget=_256K_BUDGET,
            efforts=("none", "low", "medium", "high", "xhigh", "max"),
            forced=True,
            context=_MILLION,
            output=_128K,
            sees=_PICTURES,
            limits="everything",
        ),
        Family(
            ("qwen3.8-max*", "qwen3.8-flash*"),
            "DS, AJ, A2, LG 2603",
            "2026-11-10",
            path="multimodal",
            thinks="unasked",
            budget=_256K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_128K,
            sees=_PICTURES,
        ),
        Family(("qwen3.8-*",), "AJ", "2026-09-30", path="multimodal"),
        Family(("qwen3.8-2.4t*",), "AJ", "2026-09-30", path="text", sees=_TEXT),
        Family(("qwen3.8-omni-*",), "A2", "2026-11-10", path="multimodal", context=_MILLION, output=_128K, sees=_ALL),
        Family(("qwen3.5-omni-*",), "A2, LL", "2026-11-10", path="multimodal", context=262_144, output=_64K, sees=_ALL),
        Family(
            ("qwen3.7-max*",),
            "FA, MD, LG 2361",
            "2026-09-30",
            path="text",
            thinks="unasked",
            budget=_256K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_64K,
            sees=_TEXT,
        ),
        Family(
            ("qwen3.7-max-2026-06-08",),
            "FA",
            "2026-09-30",
            path="multimodal",
            thinks="unasked",
            budget=_256K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_64K,
            sees=_IMAGES,
        ),
        Family(
            ("qwen3.7-*",),
            "FA, MD, A2",
            "2026-09-30",
            path="multimodal",
            thinks="unasked",
            budget=_256K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_64K,
            sees=_PICTURES,
        ),
        Family(
            ("qwen3.6-*",),
            "MD, AJ, LG 2114",
            "2026-09-30",
            path="multimodal",
            thinks="unasked",
            budget=_128K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_64K,
            sees=_PICTURES,
        ),
        Family(
            ("qwen3.6-plus*",),
            "MD, AJ",
            "2026-09-30",
            path="multimodal",
            thinks="unasked",
            budget=_80K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_64K,
            sees=_PICTURES,
        ),
        Family(
            ("qwen3.6-max*",),
            "MD 2366",
            "2026-06-13",
            path="text",
            thinks="unasked",
            budget=_128K_BUDGET,
            forced=False,
            sees=_TEXT,
        ),
        Family(
            ("qwen3.5-*",),
            "DF, MD",
            "2026-06-13",
            path="multimodal",
            thinks="unasked",
            budget=_80K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_64K,
            sees=_PICTURES,
        ),
        Family(
            ("qwen-plus*", "qwen-flash*"),
            "A2, MD 2364",
            "2026-11-10",
            path="text",
            thinks="asked",
            budget=_80K_BUDGET,
            forced=False,
            context=_MILLION,
            output=_32K,
            sees=_TEXT,
        ),
        Family(("qwen-turbo*",), "MD 2364", "2026-06-13", path="text", thinks="asked", budget=_OLD_BUDGET, sees=_TEXT),
        Family(
            ("qwen-long*",),
            "LL",
            "2026-11-10",
            path="text",
            thinks="never",
            context=10 * _MILLION,
            output=_8K,
            sees=_TEXT,
        ),
        Family(("qwen-max*",), "LL", "2026-11-10", path="text", thinks="never", context=_32K, output=_8K, sees=_TEXT),
        Family(
            ("qwen3-vl-plus*", "qwen3-vl-flash*"),
            "DF 3190, LL",
            "2026-11-10",
            path="multimodal",
            thinks="asked",
            budget=_80K_BUDGET,
            forced=False,
            context=260_096,
            output=_32K,
            sees=_PICTURES,
        ),
        Family(("deepseek-v4*",), "A2, LL", "2026-11-10", path="text", output=393_216),
        Family(("glm-5*",), "A2, LL", "2026-11-10", path="text", output=_128K),
        Family(("kimi-k2.7-code*",), "A2, LL", "2026-11-10", path="text"),
        # Older ones, for those who still have them, and what a name says of a model that is not in the table.
        Family(("qwen3-max*", "qwen3-next*"), "MD", "2026-06-13", path="text", thinks="asked", sees=_TEXT),
        Family(("qwen3-coder*", "qwen-coder*"), "A2", "2026-06-13", path="text", thinks="never", sees=_TEXT),
        # "enable_thinking must be set to false for non-streaming calls" (langchain4j/langchain4j#3974, 2025)
        Family(
            (r"~^qwen3-\d+(\.\d+)?b(-a\d+(\.\d+)?b)?$",),
            "MD 2364, langchain4j/langchain4j#3974",
            "2026-06-13",
            path="text",
            thinks="unasked",
            budget=_OLD_BUDGET,
            thinks_streaming=True,
            sees=_TEXT,
        ),
        Family(("qwen3-*-thinking*", "qwq*"), "DF 2626", "2026-06-13", path="text", thinks="always", streams_only=True),
        Family(
            ("qvq*",), "DF 2626", "2026-06-13", path="multimodal", thinks="always", streams_only=True, sees=_PICTURES
        ),
        Family(
            ("qwen-omni*", "qwen2.5-omni*", "qwen3-omni*"),
            "DF 2626",
            "2026-06-13",
            path="multimodal",
            streams_only=True,
            sees=_ALL,
        ),
        Family(("qwen-vl*", "*-vl-*", "*-vl"), "by its name", "2026-11-30", path="multimodal"),
        Family(("*-omni*",), "by its name", "2026-11-30", path="multimodal", sees=_ALL),
        Family(("qwen3-asr*", "qwen3-tts*", "qwen-audio*"), "DS", "2026-11-10", path="multimodal"),
    ]
)

MOONSHOT: Final = Families(
    [
        # "invalid temperature: only 1 is allowed" (BerriAI/litellm#29687, 2026), and so on for top_p, n and penalties.
        Family(("kimi-*",), "SY, AH", "2026-11-10", fixed=True),
        Family(
            ("kimi-k3*", "~^kimi-k([4-9]|[1-9][0-9])"),
            "SY, AH",
            "2026-11-10",
            thinks="always",
            efforts=("low", "high", "max"),
            forced=True,
            context=1_048_576,
            output=1_048_576,
            sees=_PICTURES,
            fixed=True,
        ),
        Family(
            ("kimi-k2.7*",),
            "SY",
            "2026-11-10",
            thinks="always",
            forced=False,
            context=262_144,
            sees=_IMAGES,
            fixed=True,
        ),
        Family(
            ("kimi-k2.6*",),
            "A2, LL",
            "2026-11-10",
            thinks="unasked",
            forced=False,
            context=262_144,
            output=262_144,
            sees=_IMAGES,
            fixed=True,
        ),
        Family(("kimi-k2-*",), "SY", "2026-11-10", forced=False, sees=_TEXT, fixed=True),
        Family(("moonshot-v1-*",), "SY", "2026-11-10", thinks="never", forced=False, sees=_TEXT),
        Family(("moonshot-v1-*-vision*",), "SY", "2026-11-10", thinks="never", forced=False, sees=_IMAGES),
    ]
)
