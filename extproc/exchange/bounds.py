"""How much an exchange may make of what comes in, and from when on that may take long.

Rule: numbers and what counts; who goes beyond, and what becomes of it, is said in `answers.py` and `exchange.py`.
"""

from collections.abc import Iterable
from typing import Final

from extproc.terms.agreed import GROWTH
from extproc.terms.errors import BadUpstreamResponse

LONG: Final = 16 << 10
"""Bytes of an answer from which on it may take long: of the shortest events they hold two thousand."""

LONG_REQUEST: Final = 32 << 10
"""The same of a request: of the shortest messages they hold ten thousand."""

MOST_VALUES: Final = 1_000_000
"""JSON values of a whole answer. Twenty log probabilities for each of 8,000 tokens are nearly as many."""


class Pieces:
    """What goes out in answer to one message: at most `GROWTH` more than the `came` bytes that it answers."""

    __slots__ = ("_room", "made")

    def __init__(self, came: int) -> None:
        self.made: list[bytes] = []
        self._room = came + GROWTH

    def add(self, pieces: Iterable[bytes]) -> None:
        """Raises `BadUpstreamResponse` where there is no more room."""
        for piece in pieces:
            self._room -= len(piece)
            if self._room < 0:
                raise BadUpstreamResponse("the vendor's answer becomes too long at once")
            self.made.append(piece)
