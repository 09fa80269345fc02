"""Why we differ from LiteLLM, and who is right."""

from dataclasses import dataclass
import re
from typing import Final


@dataclass(frozen=True)
class Reason:
    """`where`: expression for `case: path: ours | theirs`. `ours`, `theirs`: what each does; `why`: who is right."""

    where: str
    ours: str
    theirs: str
    why: str

    def holds(self, case: str, difference: str) -> bool:
        return re.search(self.where, f"{case}: {difference}") is not None


REASONS: Final = [
    Reason(
        r"^no messages.*: (status|answer\.error)", "400 `invalid_request_error`", "500 `api_error`",
        "a request that nobody can answer is its client's fault: a 500 makes clients ask again",
    ),
    Reason(
        r", stream: answer\.usage\.(input|output)_tokens:", "the vendor's counts", "counts of its own",
        "Moonshot tells them inside the last choice of its stream, where LiteLLM does not look",
    ),
    Reason(
        r": answer\.usage\.(cache_\w+_input_tokens|output_tokens_details):", "0 where the vendor counts none", "absent",
        "Anthropic's messages have these members, and its SDK's types say so",
    ),
    Reason(
        r": sent\[0\]\.messages\[\d\]\.content: .*Two\.|^blocks of text|^tool result in blocks|"
        r"^system in blocks.*input_tokens",
        "texts stay apart: blocks, or lines", "`One.Two.`: texts run into each other",
        "ours: the last word of one text and the first of the next would become one word",
    ),
    Reason(
        r"^tool result is an error", "`Error: no such city`", "`no such city`",
        "ours: chat has no `is_error`, and the model should know",
    ),
    Reason(
        r"tool_calls\[0\]\.function\.arguments", "`{\"city\":\"杭州\"}`", "`{\"city\": \"\\u676d\\u5dde\"}`",
        "the same JSON; escaped, a Chinese letter costs more tokens",
    ),
    Reason(
        r"^thinking of an earlier turn.*(reasoning_content|thinking_blocks)", "left out", "sent",
        "this model does not think, and `thinking_blocks` is no member of any vendor's chat",
    ),
    Reason(r"sent\[0\]\.top_k", "left out, and named in `x-ai-dropped`", "sent", "Moonshot's chat has no `top_k`"),
    Reason(r"sent\[0\]\.user:", "`user`, from `metadata.user_id`", "left out", "ours: what is known is said"),
    Reason(
        r"sent\[0\]\.parallel_tool_calls", "`false`", "left out", "ours: the client asked for one call at a time",
    ),
    Reason(
        r"^tool_choice any.*(tool_choice|messages|input_tokens)", "`auto`", "none, and a user turn of its own words",
        "Moonshot refuses `required`. Both are a wish only; words that nobody said stay in the conversation",
    ),
    Reason(
        r"^tool_choice tool.*tool_choice", "`auto`", "the name", "Moonshot's documents have `auto` and `none` only",
    ),
]  # fmt: skip
"""The first that holds is the reason."""
