"""Models that answer on a vendor's other path than is known of their names, learnt from the vendor's own refusals.

Rule: decisions only, no clock; one `Paths` is shared by all exchanges of a process and outlives configurations. The
other path is tried once for a name: where it is refused too, what is known of the name counts again. The vendor's own
command line finds paths in the same way (dashscope 2.0.2, 2026).
"""

from collections.abc import Callable
from dataclasses import dataclass
import threading
from typing import Final

from extproc.providers.base import Provider

_MOST: Final = 1024
_LONGEST: Final = 200
"""Characters of a name; clients may choose it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was learnt of a name at a vendor. `place`: as `Provider.place`. `turned`: its other path answers; False:
    neither does."""

    place: str
    model: str
    turned: bool


class Paths:
    """`on_turn`: is told of everything that is learnt here, for people and for other processes."""

    def __init__(self, on_turn: Callable[[str, Turn], None] = lambda provider, turn: None) -> None:
        self._on_turn = on_turn
        self._lock = threading.Lock()
        self._turned: dict[tuple[str, str], bool] = {}

    def turned(self, provider: Provider, model: str | None) -> bool:
        """Whether a model is to be asked on its other path."""
        return bool(self._turned) and self._turned.get((provider.place, model or ""), False)

    def refused(self, provider: Provider, model: str, *, turned: bool) -> bool:
        """The vendor refuses the path that a model was asked on, its other one if `turned`. Whether it is to be asked
        again."""
        key = (provider.place, model)
        with self._lock:
            known = self._turned.get(key)
            if known is not None and known != turned:
                return known  # by another exchange
            if known is False or len(model) > _LONGEST:
                return False
            turn = Turn(*key, known is None)
            self._keep(turn)
        self._on_turn(provider.id, turn)
        return turn.turned

    def keep(self, turn: Turn) -> None:
        """Another process has learnt it."""
        with self._lock:
            self._keep(turn)

    def _keep(self, turn: Turn) -> None:
        if len(self._turned) >= _MOST:
            del self._turned[next(iter(self._turned))]
        self._turned[turn.place, turn.model] = turn.turned
