"""What an exchange has used so far: an estimate from the request on, what the vendor tells as soon as it does.

Rule: a vendor's word counts for all that was delivered until then; what is delivered afterwards is estimated and added,
until the answer has ended as it should. So there is a number at every moment, also when the next one never comes.
"""

from extproc.terms.call import Target
from extproc.terms.frozen import replace
from extproc.terms.usage import NOT_COUNTED, NOT_TOLD, Counted, Usage

_ABOUT_TOKENS = ("count_tokens", "countTokens", "input_tokens", "tokenizer", "tokenize")


def is_used(target: Target) -> bool:
    """Whether a model reads what is sent to this path: some only count it."""
    return not target.path.endswith(_ABOUT_TOKENS)


class Meter:
    """`asked`: the estimated input tokens."""

    __slots__ = ("_last", "_since", "_told", "asked")

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self._told = NOT_TOLD
        self._since = 0
        self._last = (asked, 0)

    def begun(self) -> Usage:
        """What is known when the request goes out."""
        return Usage(prompt_tokens=self.asked, total_tokens=self.asked, estimated=True) if self.asked else NOT_COUNTED

    def _more(self, seen: Counted) -> int:
        """What has been delivered since the vendor told its output last, about."""
        told = seen.told
        if told is not self._told:
            self._told, self._since = told, 0 if told[1] is None else seen.said
        return seen.said - self._since

    def running(self, seen: Counted) -> tuple[int, int, int] | None:
        """The tokens of input, of output and of both by now, if they have changed since this was last asked."""
        more = self._more(seen)
        prompt, output = self._told
        now = self.asked if prompt is None else prompt, (output or 0) + more
        if now == self._last:
            return None
        self._last = now
        return *now, now[0] + now[1]

    def used(self, seen: Counted, *, complete: bool) -> Usage:
        """All of it. `complete`: the answer has ended as it should."""
        more, usage = self._more(seen), seen.usage
        if usage is not NOT_COUNTED and usage.total_tokens is None:  # a count of images, of seconds
            return usage
        if complete and usage.completion_tokens is not None:
            more = 0
        output = usage.completion_tokens if not more else (usage.completion_tokens or 0) + more
        prompt = usage.prompt_tokens if usage.prompt_tokens is not None else self.asked or None
        if prompt == usage.prompt_tokens and not more:
            return usage
        total = (prompt or 0) + (output or 0)
        return replace(usage, prompt_tokens=prompt, completion_tokens=output, total_tokens=total, estimated=True)
