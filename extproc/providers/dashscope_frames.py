"""What DashScope's native chat frames say: their choices, and what in each of them is new.

Rule: a frame is read once, leniently; deltas were asked for and are believed, unless a stream proves to be cumulative.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import itertools
from typing import Any, Final

from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext


def _text(value: Any) -> str:
    """Content is a string, or on the multimodal endpoint a list of `{"text"}`."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _arguments(value: Any) -> str:
    """The text of a call's arguments; what is no text is its JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return jsontext.dump(value).decode()


def _piece(entry: Mapping[str, Any]) -> Tool:
    function = entry.get("function") or {}
    return Tool(_text(entry.get("id")), _text(function.get("name")), _arguments(function.get("arguments")))


class Numbers:
    """Which call of a choice an entry of a frame is about.

    An entry says so by `index`; one without has its place in the list, or the next free. But a name with another id
    than the named call that was there begins another, which gets the next free index: some frames count each from 0.
    """

    def __init__(self) -> None:
        self._at: dict[int, int] = {}  # the vendor's index → the call that is there now
        self._by_id: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._named: set[int] = set()

    def tools(self, entries: list[dict[str, Any]]) -> dict[int, Tool]:
        """The pieces of a frame by their calls."""
        given = [jsontext.whole(entry.get("index")) for entry in entries]
        taken = {index for index in given if index is not None}
        tools: dict[int, Tool] = {}
        for place, (entry, index) in enumerate(zip(entries, given, strict=True)):
            if index is None:
                index = next(free for free in itertools.count(place) if free not in taken)
                taken.add(index)
            piece = _piece(entry)
            tools.setdefault(self._call(index, piece), Tool()).add(piece)
        return tools

    def _call(self, index: int, piece: Tool) -> int:
        known = self._at.get(index)
        if known is None:
            known = index if index not in self._ids else self._free()
        elif piece.id and piece.name and known in self._named and piece.id != (self._ids[known] or piece.id):
            known = self._by_id[piece.id] if piece.id in self._by_id else self._free()
        self._at[index] = known
        self._ids[known] = self._ids.get(known) or piece.id
        if piece.name:
            self._named.add(known)
        if piece.id == self._ids[known]:
            self._by_id.setdefault(piece.id, known)
        return known

    def _free(self) -> int:
        return max(self._ids, default=-1) + 1


def read_choices(output: Any, numbers: Callable[[int], Numbers] | None) -> list[Delta]:
    """The choices of an `output`; the old form has one, as `text`. `numbers`: of each choice, in a stream; those of a
    whole answer count from 0, and each of its entries is a call."""
    found = output.get("choices")
    if not found and output.get("text") is not None:
        found = [{**output, "message": {"content": output["text"]}}]
    choices = []
    for place, choice in enumerate(found or ()):
        message = choice.get("message") or {}
        content, reasoning = message.get("content"), message.get("reasoning_content")
        calls, finish, index = message.get("tool_calls"), choice.get("finish_reason"), choice.get("index")
        if index is not None:
            index = None if numbers is None else jsontext.whole(index)
        tools: dict[int, Tool] = {}
        if calls and isinstance(calls, list):
            entries = [entry for entry in calls if isinstance(entry, dict)]
            if numbers is None:
                tools = dict(enumerate(map(_piece, entries)))
            else:
                tools = numbers(place if index is None else index).tools(entries)
        choices.append(
            Delta(
                place if index is None else index,
                content if isinstance(content, str) else _text(content),
                _text(reasoning) if reasoning else "",
                tools,
                finish if isinstance(finish, str) and finish not in ("", "null") else None,
                choice.get("logprobs"),
            )
        )
    return choices


def citations(results: list[Any]) -> tuple[Any, ...]:
    """`search_results` as OpenAI's annotations: web pages by their address. Where the text refers to them (`[1]`,
    `[ref_1]`) is for the text to say (DashScope's reference of text generation, 2026)."""
    return tuple(
        {
            "type": "url_citation",
            "url_citation": {"url": one["url"], "title": _text(one.get("title")), "start_index": 0, "end_index": 0},
        }
        for one in results
        if isinstance(one, dict) and isinstance(one.get("url"), str) and one["url"]
    )


_FRAMES_TO_SETTLE = 16
_TEXT_TO_SETTLE = 1 << 14
_MOST_INDEXES = 1024
"""Choices of an answer, and tool calls of a choice; OpenAI takes an `n` of up to 128 (API reference, 2026)."""


@dataclass(slots=True)
class _Text:
    """One text of a choice: all that the client was told, and what the last frame said.

    A cumulative stream shows itself with the second or third of its `frames`. One that did not is `settled`, and no
    longer remembered: it may go on for ever, and to add to a long text costs as much as its length.
    """

    all: str = ""
    last: str = ""
    frames: int = 0
    settled: bool = False

    def add(self, text: str) -> None:
        self.all += text
        self.frames += 1
        if self.frames > _FRAMES_TO_SETTLE and len(self.all) > _TEXT_TO_SETTLE:
            self.all, self.settled = "", True


@dataclass(slots=True)
class _Seen:
    """What came so far for one choice."""

    content: _Text = field(default_factory=_Text)
    reasoning: _Text = field(default_factory=_Text)
    arguments: dict[int, _Text] = field(default_factory=dict)

    def grows(self, choice: Delta) -> bool:
        """Whether a text of the choice repeats all of it and goes on."""
        return _goes_on(self.content.all, choice.content) or _goes_on(self.reasoning.all, choice.reasoning)


_NOTHING: Final = _Seen()
"""Of a choice that did not speak yet."""


class Increments:
    """Frames → deltas.

    A stream is cumulative when a frame's text starts with *all* the text so far and goes on, and the next frame of
    that choice starts with that frame's text: the first such one is held, of its choice alone, until the next
    decides; one that finishes its choice has no next and is a delta. For tool-call arguments one such frame is
    enough. The verdict, from any field of any choice, holds for the whole stream.
    """

    def __init__(self) -> None:
        self._cumulative = False
        self._seen: dict[int, _Seen] = {}
        self._held: dict[int, Delta] = {}

    def deltas(self, choices: list[Delta]) -> list[Delta]:
        """What is new in a frame, and in what was held before it."""
        new = []
        for choice in choices:
            if (self._held or choice.tools) and not self._cumulative and self._proves(choice):
                self._cumulative = True
                new = self.close()
        for choice in choices:
            if (seen := self._seen.get(choice.index)) is None:
                seen = self._seen[choice.index] = _Seen()
            if self._held and (held := self._held.pop(choice.index, None)) is not None:
                new.append(self._emit(held, seen))
            if not self._cumulative and choice.finish is None and seen.grows(choice):
                self._held[choice.index] = choice
            else:
                new.append(self._emit(choice, seen))
        return new

    def close(self) -> list[Delta]:
        """All that is held: nothing more comes, or the verdict is there."""
        held, self._held = self._held, {}
        return [self._emit(choice, self._seen[choice.index]) for choice in held.values()]

    def _proves(self, choice: Delta) -> bool:
        """Whether this one starts with the held one's text, or goes on from all arguments so far."""
        seen, held = self._seen.get(choice.index, _NOTHING), self._held.get(choice.index)
        if held is not None and (
            (_goes_on(seen.content.all, held.content) and choice.content.startswith(held.content))
            or (_goes_on(seen.reasoning.all, held.reasoning) and choice.reasoning.startswith(held.reasoning))
        ):
            return True
        waiting = held.tools if held is not None else {}
        return any(
            _goes_on(seen.arguments.get(index, _Text()).all or waiting.get(index, Tool()).arguments, tool.arguments)
            for index, tool in choice.tools.items()
        )

    def _emit(self, choice: Delta, seen: _Seen) -> Delta:
        if len(self._seen) > _MOST_INDEXES or (
            choice.tools and len(choice.tools.keys() - seen.arguments) > _MOST_INDEXES - len(seen.arguments)
        ):
            raise BadUpstreamResponse("the vendor's answer has too many choices or tool calls")
        if choice.content:
            choice.content = self._new(seen.content, choice.content)
        if choice.reasoning:
            choice.reasoning = self._new(seen.reasoning, choice.reasoning)
        for index, tool in choice.tools.items():
            known = seen.arguments.setdefault(index, _Text())
            if _repeats(known.all, tool.arguments):
                tool.arguments = ""
            elif tool.arguments:
                tool.arguments = self._new(known, tool.arguments)
        return choice

    def _new(self, seen: _Text, text: str) -> str:
        """What of a frame's text is new. In a cumulative stream that is what goes beyond all the text so far, or,
        where a repetition was taken for a delta before the verdict, beyond the last frame's."""
        last, seen.last = seen.last, text
        if self._cumulative:
            for base in (seen.all, last):
                if text.startswith(base):
                    seen.all = text
                    return text[len(base) :]
            if seen.all.startswith(text):
                return ""
        if not seen.settled:
            seen.add(text)
        return text


def _repeats(so_far: str, arguments: str) -> bool:
    """Whether a frame says all of a call's arguments again. Arguments are an object, which no second brace follows on
    the first one's heels: as deltas both together would be no JSON."""
    return arguments == so_far and arguments.lstrip().startswith("{")


def _goes_on(so_far: str, text: str) -> bool:
    return bool(so_far) and len(text) > len(so_far) and text.startswith(so_far)
