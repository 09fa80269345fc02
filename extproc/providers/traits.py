"""What differs between vendors in a chat request. Rule: facts about vendors, as data, for fronts to read by."""

from typing import Final, Literal

from extproc.terms.frozen import Frozen
from extproc.text.patterns import NamePatterns

NO_MODELS: Final = NamePatterns([])
ALL_MODELS: Final = NamePatterns(["*"])


class Traits(Frozen, frozen=True):
    """The least that every vendor takes is the default.

    `files`: parts of type `file`. `cache_control`: it honours such members. `thinking`: whether history must
    (`required`), may (`kept`) or must not (`dropped`) carry `reasoning_content`. `system_first`: a system message may
    stand at the beginning only. `required`: it takes that as `tool_choice`. `search`: `enable_search` makes it search
    the web. `strict`, `verbosity`, `top_k`, `user`: it takes these. `efforts`: the models that take a
    `reasoning_effort`, `effort_none`: those that take `none` for one. `asks`: how the others are asked for thinking, by
    `enable_thinking` and `thinking_budget` (`budget`), by `thinking: {type}` (`type`), or not at all. `adaptive`: its
    Messages API knows that kind of thinking.
    """

    files: bool = False
    cache_control: bool = False
    thinking: Literal["required", "kept", "dropped"] = "dropped"
    system_first: bool = False
    required: bool = True
    search: bool = False
    strict: bool = False
    verbosity: bool = False
    top_k: bool = False
    user: bool = True
    efforts: NamePatterns = ALL_MODELS
    effort_none: NamePatterns = ALL_MODELS
    asks: Literal["budget", "type", ""] = ""
    adaptive: bool = True
