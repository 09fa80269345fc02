"""What workers learn of keys and models, for those that did not see it themselves and for those that come later.

Rule: words are passed on as they came; what is over, or more than fits, is forgotten.
"""

import time
from typing import Final

from extproc.worker import channel

_MOST_TURNS: Final = 1024

Word = channel.Rested | channel.Turned


class Learnt:
    """`words`: what a new worker is told."""

    def __init__(self) -> None:
        self._rests: dict[tuple[str, str], channel.Rested] = {}
        self._turns: dict[tuple[str, str], channel.Turned] = {}

    @property
    def words(self) -> list[Word]:
        return [*self._rests.values(), *self._turns.values()]

    @property
    def rests(self) -> tuple[channel.Rested, ...]:
        """What is known of keys that are not used now."""
        now = time.monotonic()
        return tuple(rest for rest in self._rests.values() if rest.until > now)

    def add(self, word: Word) -> None:
        """One more."""
        if isinstance(word, channel.Turned):
            if len(self._turns) >= _MOST_TURNS:
                del self._turns[next(iter(self._turns))]
            self._turns[word.place, word.model] = word
            return
        now = time.monotonic()
        self._rests = {known: old for known, old in self._rests.items() if old.until > now}
        if word.until:
            self._rests[word.provider, word.fingerprint] = word
        else:
            self._rests.pop((word.provider, word.fingerprint), None)
