"""A conversation of another dialect as chat messages: who spoke, what was called, what came back.

Rule: the shape that chat vendors insist on is made here, for every front. All that the assistant says between two
others is one turn; results stand directly behind the turn that made the calls; users that follow each other are one
turn, since vendors lose the images of the first. Knows no dialect but chat's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from extproc.terms.deltas import Tool

PRESERVE = "preserve_thinking"
"""By which a client says, in Qwen's words, that thinking of earlier turns shall be read again."""

Part = dict[str, Any]
"""A content part of chat: text, image_url, file, input_audio."""


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


@dataclass(slots=True)
class _System:
    role: str
    parts: list[Part]


@dataclass(slots=True)
class _User:
    parts: list[Part]


@dataclass(slots=True)
class _Assistant:
    said: list[Part] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[Tool] = field(default_factory=list)
    results: dict[str, list[Part]] = field(default_factory=dict)
    seen: list[Part] = field(default_factory=list)
    """What results showed that is no text: a `tool` message takes text alone (weave-os/router#965)."""


class Turns:
    """Say what happened in its order, then take `messages`.

    `thinking`: what becomes of the assistant's thoughts. `required`: a vendor refuses a turn without, so that one
    without any has a blank (openclaw/openclaw#73417). `system_first`: system texts behind the first other turn are the
    user's, those before it one.
    """

    def __init__(self, *, thinking: str, system_first: bool) -> None:
        self._thinking = thinking
        self._system_first = system_first
        self._turns: list[_System | _User | _Assistant] = []
        self._asked: dict[str, _Assistant] = {}

    def system(self, said: str | list[Part], role: str = "system") -> None:
        """`role`: `system` or `developer`."""
        parts = [text_part(said)] if isinstance(said, str) else said
        last = self._turns[-1] if self._turns else None
        if not self._system_first:
            self._turns.append(_System(role, parts))
        elif isinstance(last, _System):
            last.parts += parts
        elif last is None:
            self._turns.append(_System(role, parts))
        else:
            self.user(parts)

    def user(self, parts: Sequence[Part]) -> None:
        if not parts:
            return
        if self._turns and isinstance(last := self._turns[-1], _User):
            last.parts.extend(parts)
        else:
            self._turns.append(_User(list(parts)))

    def says(self, text: str, **marks: Any) -> None:
        """The assistant's text. `marks`: further members of its part."""
        if text:
            self._assistant().said.append({**text_part(text), **marks})

    def thinks(self, text: str) -> None:
        """The assistant's thinking, before what it says or calls."""
        if text and self._thinking != "dropped":
            self._assistant().thoughts.append(text)

    def calls(self, call: Tool) -> None:
        turn = self._asked[call.id] = self._assistant()
        turn.calls.append(call)

    def result(self, id: str, parts: Sequence[Part]) -> bool:
        """What came back for a call; whether there was such a call before it. Several for one are one."""
        if (turn := self._asked.get(id)) is None:
            return False
        turn.results.setdefault(id, []).extend(part for part in parts if part["type"] == "text")
        turn.seen.extend(part for part in parts if part["type"] != "text")
        return True

    def _assistant(self) -> _Assistant:
        if self._turns and isinstance(last := self._turns[-1], _Assistant) and not last.results:
            return last
        turn = _Assistant()
        self._turns.append(turn)
        return turn

    def messages(self) -> list[dict[str, Any]]:
        """The chat's `messages`."""
        made: list[dict[str, Any]] = []
        seen: list[Part] = []
        for turn in self._turns:
            if isinstance(turn, _User):
                made.append({"role": "user", "content": _content([*seen, *turn.parts])})
                seen = []
                continue
            if seen:
                made.append({"role": "user", "content": seen})
                seen = []
            if isinstance(turn, _System):
                made.append({"role": turn.role, "content": _texts(turn.parts, "\n\n")})
            elif turn.said or turn.calls:  # thoughts alone are no turn
                made.extend(self._spoken(turn))
                seen = turn.seen
        if seen:
            made.append({"role": "user", "content": seen})
        return made

    def _spoken(self, turn: _Assistant) -> Iterator[dict[str, Any]]:
        message: dict[str, Any] = {"role": "assistant", "content": _texts(turn.said, "\n\n")}
        if turn.calls and not turn.said:
            message["content"] = None
        thought = "\n\n".join(turn.thoughts)
        if thought or self._thinking == "required":
            message["reasoning_content"] = thought or " "
        if turn.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in turn.calls
            ]
        yield message
        for id, parts in turn.results.items():
            yield {"role": "tool", "tool_call_id": id, "content": _texts(parts, "\n")}


def _texts(parts: list[Part], between: str) -> str | list[Part]:
    """Texts as one, unless one of them has a mark (`cache_control`), which only a part can."""
    return parts if any(len(part) > 2 for part in parts) else between.join(part["text"] for part in parts)


def _content(parts: list[Part]) -> str | list[Part]:
    """One text alone is a string: not every vendor takes a list."""
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == _PLAIN else parts


_PLAIN = {"type", "text"}
