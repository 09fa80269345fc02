"""The table of docs/fronts.md and its twin: what a client of Messages or Responses loses at which vendor.

Rule: nothing is known here of any vendor; it asks what fronts ask (`Provider.speaks`, `Provider.traits`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.config.config import Config
from extproc.providers import Provider
from extproc.providers.traits import Traits
from extproc.providers.vendors import ROWS
from extproc.terms.call import MESSAGES, RESPONSES
from tools.pages import LANGUAGES, Table

SAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "qwen": {"type": "qwen"},
    "qwen, `qwenEnableCompatible`": {"type": "qwen", "qwenEnableCompatible": True},
    "openai": {"type": "openai"},
    "azure": {"type": "azure", "azureServiceUrl": "https://r.openai.azure.com/openai/v1"},
    "moonshot": {"type": "moonshot"},
    "claude": {"type": "claude"},
    "gemini": {"type": "gemini"},
    "vertex": {"type": "vertex"},
    "bedrock": {"type": "bedrock", "awsRegion": "us-east-1"},
    **{
        row.type: {
            "type": row.type,
            **({"endpoint": "http://server"} if row.own_server else {}),
            **{key.name: "account" for key in row.keys if key.required},
        }
        for row in ROWS.values()
    },
}
"""A provider of each kind, by its name in the table."""

_WORDS: Final = {
    "type": ("vendor", "供应商"),
    "passed": ("passed", "透传"),
    "converted": ("converted", "转换"),
    "file": ("PDF", "PDF"),
    "refused": ("400", "400"),
    "yes": ("yes", "是"),
    "dropped": ("–", "–"),
    "cache": ("`cache_control`", "`cache_control`"),
    "timed": ("with `ttl`", "带 `ttl`"),
    "search": ("web search", "联网搜索"),
    "user": ("user’s id", "用户标识"),
    "forced": ("forced tools", "强制工具"),
    "asks": ("thinking", "思考"),
    "effort": ("effort", "强度"),
    "budget": ("budget", "预算"),
    "switch": ("on, off", "开、关"),
    "history": ("thinking of before", "之前的思考"),
    "kept": ("kept", "保留"),
    "required": ("required", "必须"),
    "preserved": ("with `preserve_thinking`", "须 `preserve_thinking`"),
    "system": ("later system turns", "后续 system 轮次"),
    "users": ("the user’s", "变为用户"),
    "same": ("as they are", "不变"),
}

_COLUMNS: Final = "file cache top_k strict verbosity search user forced asks history system".split()


def provider(sample: Mapping[str, Any]) -> Provider:
    """The provider that a sample is."""
    return Config.model_validate({"providers": [{"apiTokens": ["k"], **sample}]}).providers[0]


class Carried:
    """The table in one language."""

    def __init__(self, language: str) -> None:
        self._language = LANGUAGES.index(language)

    @property
    def tables(self) -> Mapping[str, Table]:
        return {"carried": self.carried}

    def _say(self, key: str) -> str:
        return _WORDS[key][self._language] if key in _WORDS else f"`{key}`"

    def carried(self) -> Iterator[str]:
        """Which vendor takes what of those who are converted, by its newest model that we know."""
        heads = [self._say("type"), "Messages", "Responses", *map(self._say, _COLUMNS)]
        yield f"| {' | '.join(heads)} |"
        yield "|" + "---|" * len(heads)
        for name, sample in SAMPLES.items():
            made = provider(sample)
            ways = [self._say("passed" if front in made.speaks else "converted") for front in (MESSAGES, RESPONSES)]
            cells = self._cells(made.traits(made.example_model))
            plain, comma, rest = name.partition(",")
            yield f"| `{plain}`{comma}{rest} | {' | '.join((*ways, *cells))} |"

    def _cells(self, traits: Traits) -> Iterator[str]:
        def taken(whether: bool) -> str:
            return self._say("yes" if whether else "dropped")

        yield self._say("yes" if traits.files else "refused")
        yield self._say("timed") if traits.cache_ttl else taken(traits.cache_control)
        yield from map(taken, (traits.top_k, traits.strict, traits.verbosity, traits.search, traits.user))
        yield taken(traits.required)
        yield "`thinking`" if traits.asks == "type" else self._say(traits.asks or "dropped")
        yield self._say("preserved" if traits.preserves and traits.thinking == "dropped" else traits.thinking)
        yield self._say("users" if traits.system_first else "same")
