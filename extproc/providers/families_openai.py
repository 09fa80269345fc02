"""What is known of OpenAI's models, at OpenAI and at Azure: one row per family. Rule: as `families.py`.

Sources: LL litellm 1.110.2 · OG OpenAI's "GPT-5.6" and "GPT-6" guides, 2026-10 · OD its deprecations page, 2026-11 ·
OM its pages of the models, 2026-11 · BerriAI/litellm#34569 (tried live), livekit/agents#7169,
openai/openai-openapi#541. What none of them says (`stop` and penalties from 5.1 on with effort none; tools on
6.1-terra) is taken.
"""

from functools import partial
from typing import Final

from extproc.providers.families import Families, Family

_O: Final = ("low", "medium", "high")
_128K: Final = 128_000

_Thinks = partial(Family, seen="2026-11-10", counts_thinking=True, output=_128K)
_Talks = partial(Family, source="OM, LL", seen="2026-11-30", thinks="never")

OPENAI: Final = Families(
    [
        _Thinks(("o1*", "o3*", "o4*"), "LL", efforts=_O, sampling="refused", output=100_000),
        _Thinks(("gpt-5*", "gpt-6*"), "OG, LL"),
        # What comes later is at least like these in the name of its limit.
        _Thinks(("~^gpt-([7-9]|[1-9][0-9])",), "a guess: as gpt-6", output=None),
        _Thinks(("gpt-5-chat*",), "LL", output=16_384),
        _Thinks(("gpt-5-codex*",), "OM, LL", efforts=_O),
        _Thinks(("gpt-5.3-codex*",), "LL", efforts=("none", *_O, "xhigh")),
        _Thinks(
            ("gpt-5", "gpt-5-20*", "gpt-5-mini*", "gpt-5-nano*", "gpt-5-pro*"),
            "LL, OD",
            efforts=("minimal", *_O),
            sampling="refused",
        ),
        _Thinks(("gpt-5.1*",), "LL", efforts=("none", *_O), sampling="without thinking"),
        _Thinks(
            ("gpt-5.2*", "gpt-5.4*"),
            "LL, livekit 7169, openai-openapi 541",
            efforts=("none", *_O, "xhigh"),
            sampling="without thinking",
            tools_on_chat="effort unsaid",
        ),
        _Thinks(
            ("gpt-5.5*",),
            "OG, LL",
            efforts=("none", *_O, "xhigh"),
            sampling="without thinking",
            tools_on_chat="never",
        ),
        _Thinks(
            ("gpt-5.6*",),
            "OG, litellm 34569",
            efforts=("none", *_O, "xhigh"),
            sampling="without thinking",
            tools_on_chat="effort none",
        ),
        _Thinks(
            ("gpt-6-sol*", "gpt-6-luna*"),
            "OG, LL",
            efforts=("none", *_O, "xhigh", "max"),
            sampling="without thinking",
            tools_on_chat="effort none",
        ),
        _Thinks(("gpt-6.1-terra*",), "OG, LL", efforts=("none", *_O, "xhigh", "max"), sampling="without thinking"),
        _Thinks(
            ("gpt-6-astra*", "gpt-6.1-sol*"),
            "OG, LL",
            efforts=(*_O, "xhigh", "max"),
            sampling="refused",
            tools_on_chat="never",
        ),
        _Talks(("gpt-4.1*",), output=32_768),
        _Talks(("gpt-4o*",), output=16_384),
        _Talks(("gpt-4o-2024-05-13", "gpt-4-turbo*", "gpt-3.5*"), output=4_096),
        _Talks(("gpt-4", "gpt-4-0*"), output=8_192),
    ]
)
