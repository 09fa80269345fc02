"""What differs between vendors in a chat request. Rule: facts about vendors, as data, for fronts to read by."""

from typing import Literal

from extproc.terms.frozen import Frozen


class Traits(Frozen, frozen=True):
    """The least that every vendor takes is the default.

    `files`: parts of type `file`. `cache_control`: it honours such members. `thinking`: whether history must
    (`required`), may (`kept`) or must not (`dropped`) carry `reasoning_content`. `system_first`: a system message may
    stand at the beginning only. `required`: it takes that as `tool_choice`. `search`: `enable_search` makes it search
    the web. `strict`, `verbosity`: it takes these.
    """

    files: bool = False
    cache_control: bool = False
    thinking: Literal["required", "kept", "dropped"] = "dropped"
    system_first: bool = False
    required: bool = True
    search: bool = False
    strict: bool = False
    verbosity: bool = False
