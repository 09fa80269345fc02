"""What is known of OpenAI's models, at OpenAI and at Azure: one row per family. Rule: as `families.py`.

Sources: LL litellm 1.110.2 · OG OpenAI's "GPT-5.6" and "GPT-6" guides, 2026-10 · OD its deprecations page, 2026-11 ·
BerriAI/litellm#34569 (tried live), livekit/agents#7169, openai/openai-openapi#541. What none of them says (`stop` and
penalties from 5.1 on with effort none; tools on 6.1-terra) is taken.
"""

from typing import Final

from extproc.providers.families import Families, Family

_O: Final = ("low", "medium", "high")

OPENAI: Final = Families(
    [
        Family(("o1*", "o3*", "o4*"), "LL", "2026-11-10", efforts=_O, sampling="refused", counts_thinking=True),
        # What comes later is at least like these in the name of its limit.
        Family(("gpt-5*", "gpt-6*", "~^gpt-([7-9]|[1-9][0-9])"), "OG", "2026-11-10", counts_thinking=True),
        Family(
            ("gpt-5", "gpt-5-20*", "gpt-5-mini*", "gpt-5-nano*", "gpt-5-pro*"),
            "LL, OD",
            "2026-11-10",
            efforts=("minimal", *_O),
            sampling="refused",
            counts_thinking=True,
        ),
        Family(
            ("gpt-5.1*",), "LL", "2026-11-10", efforts=("none", *_O), sampling="without thinking", counts_thinking=True
        ),
        Family(
            ("gpt-5.2*", "gpt-5.4*"),
            "LL, livekit 7169, openai-openapi 541",
            "2026-11-10",
            efforts=("none", *_O, "xhigh"),
            sampling="without thinking",
            tools_on_chat="effort unsaid",
            counts_thinking=True,
        ),
        Family(
            ("gpt-5.5*",),
            "OG, LL",
            "2026-11-10",
            efforts=("none", *_O, "xhigh"),
            sampling="without thinking",
            tools_on_chat="never",
            counts_thinking=True,
        ),
        Family(
            ("gpt-5.6*",),
            "OG, litellm 34569",
            "2026-11-10",
            efforts=("none", *_O, "xhigh"),
            sampling="without thinking",
            tools_on_chat="effort none",
            counts_thinking=True,
        ),
        Family(
            ("gpt-6-sol*", "gpt-6-luna*"),
            "OG, LL",
            "2026-11-10",
            efforts=("none", *_O, "xhigh", "max"),
            sampling="without thinking",
            tools_on_chat="effort none",
            counts_thinking=True,
        ),
        Family(
            ("gpt-6.1-terra*",),
            "OG, LL",
            "2026-11-10",
            efforts=("none", *_O, "xhigh", "max"),
            sampling="without thinking",
            counts_thinking=True,
        ),
        Family(
            ("gpt-6-astra*", "gpt-6.1-sol*"),
            "OG, LL",
            "2026-11-10",
            efforts=(*_O, "xhigh", "max"),
            sampling="refused",
            tools_on_chat="never",
            counts_thinking=True,
        ),
    ]
)
