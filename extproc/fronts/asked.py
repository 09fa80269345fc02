"""How much a client wants thought, as its vendor is asked for it.

Rule: for every front the same; what the vendor has no words for is named, not sent. An effort is told as chat tells it,
which the vendor's own code turns into a budget or a switch where it has these.
"""

from typing import NamedTuple

from extproc.providers.traits import LEVELS, Traits
from extproc.text import jsontext
from extproc.text.jsontext import FALSE, TRUE, Fields


class Asked(NamedTuple):
    """`kind`: `enabled`, `adaptive` and the like, `disabled`; None where the client says none. `budget`: tokens."""

    kind: str | None = None
    budget: int | None = None
    effort: str | None = None


class Words(NamedTuple):
    """What the client calls the two, for those that are dropped."""

    kind: str
    effort: str


def ask(asked: Asked, fields: Fields, traits: Traits, most: int | None, words: Words) -> list[str]:
    """Say it in a chat body, in place. `most`: the answer's tokens. Returns the client's members that are dropped."""
    kind, budget, effort = asked
    match traits.asks:
        case "effort":
            return _by_effort(asked, fields, traits, words)
        case "budget" | "switch":
            if kind is not None:
                fields["enable_thinking"] = FALSE if kind == "disabled" else TRUE
            if traits.asks == "budget" and kind == "enabled" and budget is not None:
                # It must leave room for an answer (alibaba/higress#4244, 2026).
                left = budget if most is None else min(budget, most - 1)
                fields["thinking_budget"] = jsontext.raw(max(1, left))
                return []
        case "type":
            if kind is not None:
                fields["thinking"] = jsontext.raw({"type": "disabled" if kind == "disabled" else "enabled"})
        case _:
            return _unsaid(asked, words)
    if effort is not None and kind != "disabled":
        fields["reasoning_effort"] = jsontext.raw(effort)
    return []


def _by_effort(asked: Asked, fields: Fields, traits: Traits, words: Words) -> list[str]:
    kind, budget, effort = asked
    if effort is None and kind == "enabled" and budget is not None:
        effort = "low" if budget < 4096 else "medium" if budget < 16384 else "high"
    if kind == "disabled":
        effort = "none"
        if not traits.efforts:
            return []  # nobody knows the words
    if effort is not None:
        fields["reasoning_effort"] = jsontext.raw(nearest(effort, traits.efforts))
    # A model that always thinks does it as little as it can.
    return [words.kind] if kind == "disabled" and "none" not in (traits.efforts or ()) else []


def _unsaid(asked: Asked, words: Words) -> list[str]:
    """Of a vendor that cannot be asked: not to think is nothing that is missed."""
    dropped = [words.kind] if asked.kind not in (None, "disabled") else []
    return dropped + ([words.effort] if asked.effort not in (None, "none") else [])


def nearest(effort: str, levels: tuple[str, ...] | None) -> str:
    """The nearest effort that a vendor has, of two the higher one; a word that nobody knows stays."""
    if levels is None or effort in levels or effort not in LEVELS:
        return effort
    place = LEVELS.index(effort)
    return min(levels, key=lambda level: (abs(LEVELS.index(level) - place), -LEVELS.index(level)))
