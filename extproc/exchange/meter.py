"""What an exchange has used so far: an estimate from the request on, what the vendor tells as soon as it does.

Rule: a vendor's word counts for all that was delivered until then; what is delivered afterwards is estimated and added,
until the answer has ended as it should. So there is a number at every moment, also when the next one never comes.
"""

from extproc.terms.call import Target
from extproc.terms.frozen import replace
from extproc.terms.usage import NOT_COUNTED, Counted, Usage

_ABOUT_TOKENS = ("count_tokens", "countTokens", "input_tokens", "tokenizer", "tokenize")


def is_used(target: Target) -> bool:
    """Whether a model reads what is sent to this path: some only count it."""
    return not target.path.endswith(_ABOUT_TOKENS)


class Meter:
    """`asked`: the estimated input tokens."""

    __slots__ = ("_last", "_seen", "_since", "_told", "asked")

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self._told = NOT_COUNTED
        self._seen = self._since = 0
        self._last = (0, asked)

    def begun(self) -> Usage:
        """What is known when the request goes out."""
        return Usage(prompt_tokens=self.asked, total_tokens=self.asked, estimated=True) if self.asked else NOT_COUNTED

    def _note(self, seen: Counted) -> Usage:
        told = seen.usage
        if told is not self._told:
            self._told, self._since = told, 0 if told.completion_tokens is None else seen.said
        self._seen = seen.said
        return told

    def running(self, seen: Counted) -> tuple[int, int, int] | None:
        """The tokens of input, of output and of both by now, if they have changed since this was last asked."""
        told = self._note(seen)
        output = (told.completion_tokens or 0) + self._seen - self._since
        prompt = self.asked if told.prompt_tokens is None else told.prompt_tokens
        now = output, prompt
        if now == self._last:
            return None
        self._last = now
        return prompt, output, prompt + output

    def used(self, seen: Counted, *, complete: bool) -> Usage:
        """All of it. `complete`: the answer has ended as it should."""
        told = self._note(seen)
        if told is not NOT_COUNTED and told.total_tokens is None:  # a count of images, of seconds
            return told
        known = complete and told.completion_tokens is not None
        more = 0 if known else self._seen - self._since
        output = told.completion_tokens if not more else (told.completion_tokens or 0) + more
        prompt = told.prompt_tokens if told.prompt_tokens is not None else self.asked or None
        if prompt == told.prompt_tokens and not more:
            return told
        total = (prompt or 0) + (output or 0)
        return replace(told, prompt_tokens=prompt, completion_tokens=output, total_tokens=total, estimated=True)
