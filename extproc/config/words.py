"""Hints for words that are nearly right. Rule: pure."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: object, options: Iterable[str]) -> str:
    """` (did you mean NAME?)` for a word that is nearly one of the options, else nothing."""
    by_lower = {option.lower(): option for option in options}
    close = get_close_matches(str(word).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""
