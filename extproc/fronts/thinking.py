"""What a client sees of a model's thinking (`reasoningContentMode`). Rule: deltas in, deltas out, for every front."""

from dataclasses import dataclass
from typing import Literal

from extproc.providers.base import ThinkingMode
from extproc.terms.deltas import Delta


@dataclass(slots=True)
class _Told:
    """What the client has of one choice. `thinking`: `<think>` is open. `answering`: it cannot open any more."""

    thinking: bool = False
    answering: bool = False


class Thinking:
    """`ignore`: none of it. `concat`: within the content, as one `<think>` block before it."""

    def __init__(self, mode: Literal["ignore", "concat"]) -> None:
        self._ignore = mode == "ignore"
        self._told: dict[int, _Told] = {}

    def apply(self, delta: Delta, *, last: bool) -> None:
        """Change a delta in place. `last`: nothing of its choice follows."""
        if self._ignore:
            delta.reasoning = ""
        else:
            self._concat(delta, last=last)

    def _concat(self, delta: Delta, *, last: bool) -> None:
        """What is thought after the answer began has no place in it: it stays thinking, streamed and whole alike."""
        told = self._told.setdefault(delta.index, _Told())
        before = ""
        if delta.reasoning and not told.answering:
            before, delta.reasoning = delta.reasoning if told.thinking else f"<think>{delta.reasoning}", ""
            told.thinking = True
        if delta.content or delta.tools or last:
            told.answering = True
            if told.thinking:
                before += "</think>\n"
                told.thinking = False
        delta.content = before + delta.content


def thinking(mode: ThinkingMode) -> Thinking | None:
    """None where it is shown as the front shows thinking."""
    return None if mode == "passthrough" else Thinking(mode)
