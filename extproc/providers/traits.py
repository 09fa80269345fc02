"""What differs between vendors in a chat request. Rule: facts about one model of a vendor's, as data, for fronts to
read by."""

from typing import Final, Literal

from extproc.terms.frozen import Frozen

LEVELS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Efforts, the lowest first: OpenAI's and Anthropic's."""


class Traits(Frozen, frozen=True):
    """The least that every vendor takes is the default.

    `files`: parts of type `file`. `cache_control`: it honours such members; `cache_ttl`: with their time.
    `thinking`: whether history must (`required`), may (`kept`) or must not (`dropped`) carry `reasoning_content`;
    `preserves`: it does where the client says `preserve_thinking`. `system_first`: a system message may stand at the
    beginning only. `required`: it takes that as `tool_choice`. `search`: `enable_search` makes it search the web.
    `strict`, `verbosity`, `top_k`, `user`: it takes these. `asks`: how it is asked for thinking, by `reasoning_effort`
    (`effort`), by `enable_thinking` (`switch`) and a `thinking_budget` (`budget`), by `thinking: {type}` (`type`), or
    not at all. `efforts`: the levels that it takes, the lowest first; None: all, as far as is known. `output`: tokens
    of an answer at most, None where that is not known. `adaptive`: its Messages API knows that kind of thinking.
    """

    files: bool = False
    cache_control: bool = False
    cache_ttl: bool = False
    thinking: Literal["required", "kept", "dropped"] = "dropped"
    preserves: bool = False
    system_first: bool = False
    required: bool = True
    search: bool = False
    strict: bool = False
    verbosity: bool = False
    top_k: bool = False
    user: bool = True
    asks: Literal["effort", "budget", "switch", "type", ""] = "effort"
    efforts: tuple[str, ...] | None = None
    output: int | None = None
    adaptive: bool = True
