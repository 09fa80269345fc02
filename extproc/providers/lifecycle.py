"""Which models their vendors have switched off, or will: names, day, successor, and who says so.

Rule: a table and one look-up, no clock: what a date means today is the reader's. `r` in a source: the name is answered
by another model from that day on. `(ours)`: the vendor names no successor.

Sources, shortly (read 2026-11): N731, N792 notices of Alibaba's; DF langgenius/dify-official-plugins, QR quill-router's
provider_lifecycle.py (copies the vendor's list), LG theopenco/llmgateway; V4 the vendor's page of qwen4-max; AY apiyi,
AH aihubmix (resellers); SY synaps-engine 0.11 (the vendor's documents); OD OpenAI's, AN Anthropic's, GC Gemini's pages
of deprecations; LL litellm 1.110.2; MP modelpin 0.5.7.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache, lru_cache
from typing import Final

from extproc.terms.frozen import Frozen
from extproc.text.patterns import NamePatterns


class Retirement(Frozen, frozen=True):
    """`name`: a vendor's model name, or a glob of several. `day`: from when on it is gone. `successor`: what to use."""

    name: str
    day: date
    successor: str
    source: str


def retirement(vendor: str, model: str) -> Retirement | None:
    """What is known of the end of a vendor's model; of several names that fit the longest counts."""
    return _found(vendor, model)


@lru_cache(maxsize=256)
def _found(vendor: str, model: str) -> Retirement | None:
    fitting = [one for one, name in _patterns(vendor) if model in name]
    return max(fitting, key=lambda one: ("*" not in one.name, len(one.name)), default=None)


@cache
def _patterns(vendor: str) -> tuple[tuple[Retirement, NamePatterns], ...]:
    return tuple((one, NamePatterns([one.name])) for one in RETIRED.get(vendor, ()))


def _rows(text: str) -> Iterator[Retirement]:
    """`day: names -> successor | source` on each line."""
    for line in text.strip().splitlines():
        day, rest = line.strip().split(": ", 1)
        names, rest = rest.split(" -> ")
        successor, source = rest.split(" | ")
        for name in names.split():
            yield Retirement(name, date.fromisoformat(day), successor, source)


_QWEN = """
2026-03-30: qwen2-* qwen1.5-* qwen-audio-asr* qwen-audio-chat* -> qwen3.8-flash | DF (ours)
2026-05-13: qwen-max-latest qwen-max-0919 qwen-max-0428 qwen-turbo-* qwen-vl-max-latest -> qwen3.7-plus | DF (ours)
2026-05-13: qwen-vl-plus-latest qvq-max-latest qwq-32b qwq-plus-0305 qwen-math-turbo* -> qwen3.7-plus | DF (ours)
2026-05-13: qwen-coder-turbo* qwen2.5-* qwen3-0.6b qwen3-1.7b qwen3-4b -> qwen3.7-plus | DF (ours)
2026-05-30: gte-rerank -> qwen3-rerank | DF
2026-08-06: qwen3.8-max-preview -> qwen3.8-max | AY
2026-10-10: qwen-turbo -> qwen3.7-flash | N731
2026-10-10: qwen-vl-max qwen-vl-plus qwq-plus qvq-max -> qwen3.7-plus | N731
2026-10-10: qwen3-max* qwen3.6-max-preview -> qwen3.7-max | QR LG
2026-10-10: qwen3-coder-plus* qwen3-coder-next qwen3-coder-480b* -> qwen3.7-plus | QR LG
2026-10-10: qwen3-coder-30b* qwen-coder-plus -> qwen3.7-plus | QR LG
2026-10-10: qwen3-8b qwen3-14b qwen3-32b qwen3-30b-a3b* qwen3-235b-a22b* qwen3-next-80b* -> qwen3.8-flash | QR (ours)
2026-10-10: qwen-mt-turbo qwen3-vl-flash* qwen3-vl-8b* qwen3-vl-30b* qwen3-vl-32b* -> qwen3.8-flash | QR (ours)
2026-10-10: qwen3-vl-235b* -> qwen3.8-flash | QR (ours)
2026-10-10: qwen-omni-turbo qwen3-omni-flash-2025-09-15 -> qwen3.5-omni-plus | LG AY
2026-10-10: qwen-image qwen-image-plus qwen-image-max qwen-image-edit-plus qwen-image-edit-max -> qwen-image-2.0 | LG
2026-10-10: qwen-tts qwen-tts-realtime -> cosyvoice-v3-flash | N792
2026-10-10: deepseek-r1* deepseek-v3* deepseek-v4-flash -> deepseek-v4-flash-0731 | QR
2026-10-10: Moonshot-Kimi-K2-Instruct kimi-k2-thinking MiniMax-M2.1 glm-4.6 glm-4.7 -> glm-5.3 | QR (ours)
2026-11-25: qwen4-max-preview -> qwen4-max | V4
"""

_MOONSHOT = """
2026-01-28: kimi-latest -> kimi-k3.1-pro | SY (ours)
2026-05-25: kimi-k2-* -> kimi-k3 | SY
2026-08-31: moonshot-v1-* kimi-k2.5* -> kimi-k3 | SY
2026-12-31: kimi-k2.6* kimi-k2.7* -> kimi-k3.1-pro | AH
"""

_OPENAI = """
2026-07-23: gpt-5-chat-latest gpt-5.1-chat-latest gpt-5-codex gpt-5.1-codex* gpt-5.2-codex -> gpt-5.6-sol | OD (ours)
2026-08-10: gpt-5.2-chat-latest gpt-5.3-chat-latest -> chat-latest | OD (ours)
2026-09-28: gpt-3.5-turbo-1106 gpt-3.5-turbo-instruct* -> gpt-5.6-terra | OD
2026-10-23: gpt-3.5-turbo* o4-mini -> gpt-5.6-terra | OD
2026-10-23: gpt-4 gpt-4-0613 gpt-4-turbo* gpt-4o-2024-05-13 o1 o1-pro o3-mini -> gpt-5.6-sol | OD
2026-10-23: gpt-4.1-nano -> gpt-5.6-luna | OD
2026-12-11: gpt-5 gpt-5-pro o3 o3-pro -> gpt-6.1-sol | OD
2026-12-11: gpt-5-mini -> gpt-6.1-terra | OD
2026-12-11: gpt-5-nano -> gpt-6-luna | OD
2027-01-14: gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini -> gpt-6-luna | OD
2027-04-01: gpt-5.1 -> gpt-6-sol | OD
2027-04-01: gpt-5.4-nano -> gpt-6-luna | OD
"""

_AZURE = """
2026-11-19: o1 o3 o3-mini o4-mini -> gpt-6-sol | LL (ours)
2027-02-09: gpt-5 -> gpt-6-sol | LL (ours)
2027-04-14: gpt-4o gpt-4.1 -> gpt-6-luna | LL (ours)
2027-06-08: gpt-5.2 -> gpt-6-sol | LL (ours)
2027-07-13: gpt-5-mini gpt-5.1 -> gpt-6-luna | LL (ours)
2027-09-02: gpt-5.4 -> gpt-6-sol | LL (ours)
2027-10-26: gpt-5.5 -> gpt-6-sol | LL (ours)
"""

_DEEPSEEK = """
2026-07-24: deepseek-chat deepseek-reasoner -> deepseek-flash | the vendor's first page
2026-09-14: deepseek-v4-pro -> deepseek-flash | r, the vendor's first page
"""

_MINIMAX = """
2026-11-18: MiniMax-M2.5* MiniMax-M2.7* -> MiniMax-M3.1-Flash | AH
"""

_CLAUDE = """
2026-01-05: claude-3-opus* -> claude-opus-5-5 | AN (ours)
2026-02-19: claude-3-7-sonnet* -> claude-sonnet-5-5 | AN (ours)
2026-02-19: claude-3-5-haiku* -> claude-haiku-5-5 | AN (ours)
2026-06-15: claude-sonnet-4 claude-sonnet-4-2* -> claude-sonnet-4-6 | AN
2026-06-15: claude-opus-4 claude-opus-4-2* -> claude-opus-4-8 | AN
2026-08-05: claude-opus-4-1* -> claude-opus-4-8 | AN (ours)
2026-11-30: claude-sonnet-4-5* -> claude-sonnet-5-5 | LL
2027-01-22: claude-opus-4-5* -> claude-opus-5-5 | MP
"""

_GEMINI = """
2026-06-01: gemini-2.0-* -> gemini-3.5-flash-lite | GC (ours)
2026-10-08: gemini-3.7-flash -> gemini-3.8-flash | r, GC
2026-10-08: gemini-3.5-flash -> gemini-3.6-flash | r, GC
2026-12-01: gemini-2.5-pro -> gemini-3.8-flash | r, GC
2026-12-01: gemini-2.5-flash -> gemini-3.5-flash-lite | r, GC
"""

RETIRED: Final[Mapping[str, tuple[Retirement, ...]]] = {
    vendor: tuple(_rows(text))
    for vendor, text in {
        "qwen": _QWEN,
        "moonshot": _MOONSHOT,
        "openai": _OPENAI,
        "azure": _AZURE,
        "deepseek": _DEEPSEEK,
        "minimax": _MINIMAX,
        "claude": _CLAUDE,
        "gemini": _GEMINI,
    }.items()
}
"""By vendor, since one model may live longer at another's."""
