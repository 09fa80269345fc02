"""The token counts of an answer, whatever form they come in. Rule: one place reads every vendor's form."""

from collections.abc import Mapping
from typing import Any

from extproc.terms.call import NOT_COUNTED, Usage
from extproc.text import jsontext


class Counted:
    """Somebody who sees the usage objects of an answer go by."""

    raw_usage: Any = None
    """The last usage object that the vendor sent."""

    _read: tuple[Any, Usage] = None, NOT_COUNTED

    @property
    def usage(self) -> Usage:
        """The tokens of the exchange so far."""
        if self._read[0] is not self.raw_usage:
            self._read = self.raw_usage, read_usage(self.raw_usage)
        return self._read[1]


def read_usage(usage: Any) -> Usage:
    """Token counts by their chat (`prompt_tokens`), their Responses and DashScope (`input_tokens`) or their Anthropic
    names, which count what was read from a cache and written to one beside the prompt, not within it."""
    if not isinstance(usage, dict):
        return NOT_COUNTED
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = jsontext.whole(usage.get("total_tokens"))
    if total is not None and len(usage) == 3:  # as most are
        return Usage(prompt, completion, total)
    given, made = (
        _details(usage, "prompt_tokens", "input_tokens"),
        _details(usage, "completion_tokens", "output_tokens"),
    )
    read = _count(given, "cached_tokens", "cache_read_input_tokens")
    written = _count(given, "cache_write_tokens", "cache_creation_input_tokens")
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        read, written = (jsontext.whole(usage.get(f"cache_{kind}_input_tokens")) for kind in ("read", "creation"))
        prompt = None if prompt is None else prompt + (read or 0) + (written or 0)
    if read is None:
        read = jsontext.whole(usage.get("cached_tokens"))
    if total is None and (prompt is not None or completion is not None):
        total = (prompt or 0) + (completion or 0)
    return Usage(prompt, completion, total, read, written, _count(made, "reasoning_tokens", "thinking_tokens"))


def _count(usage: Mapping[str, Any], name: str, other: str) -> int | None:
    known = jsontext.whole(usage.get(name))
    return known if known is not None else jsontext.whole(usage.get(other))


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """DashScope calls those of the prompt as chat does, and those of the answer as Responses does."""
    return next((found for name in names if isinstance(found := usage.get(f"{name}_details"), dict)), {})
