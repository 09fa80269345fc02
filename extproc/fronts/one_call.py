"""Calls of a stream one strictly after the other: what clients lose otherwise.

Rule: a call that has begun goes on until its arguments are a whole JSON object or the answer ends; pieces of others
wait, in the order in which these began. LlamaIndex and others keep the last index alone, and lose arguments of calls
that alternate (2026). Knows no dialect and no vendor.
"""

import re
from typing import Final

from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse

_MOST_WAITING: Final = 8 << 20
"""Characters that may wait for a call to end."""


_MARKS: Final = re.compile(r'["\\\\{}\[\]]')


class _Braces:
    """Whether a JSON object that comes in pieces is over. Nothing of it is remembered: it may go on for ever."""

    def __init__(self) -> None:
        self._depth = 0
        self._begun = self._quoted = self._escaped = False

    @property
    def closed(self) -> bool:
        """Whether nothing can follow."""
        return self._begun and self._depth <= 0 and not self._quoted

    def feed(self, piece: str) -> None:
        at, self._escaped = (1, False) if self._escaped and piece else (0, self._escaped)
        while (mark := _MARKS.search(piece, at)) is not None:
            at = mark.end()
            if mark[0] == "\\":
                self._escaped = at == len(piece)
                at += 1
            elif mark[0] == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._begun = True
                self._depth += 1 if mark[0] in "{[" else -1


class OneCall:
    """Of one choice. Feed it every delta that has calls, and the one that finishes."""

    def __init__(self) -> None:
        self._open: int | None = None
        self._told = _Braces()
        self._waiting: dict[int, Tool] = {}
        self._size = 0

    def deltas(self, delta: Delta) -> list[Delta]:
        """The delta with what may be told of calls now, and others behind it where several calls may. Raises
        `BadUpstreamResponse` where too much waits."""
        given, delta.tools = delta.tools, {}
        for index, piece in sorted(given.items()):
            if self._open is None:
                self._open = index
            if index == self._open:
                delta.tools[index] = piece
                self._told.feed(piece.arguments)
            else:
                self._wait(index, piece)
        if not self._waiting:
            return [delta]
        finish, delta.finish = delta.finish, None
        told = [delta]
        while self._waiting and (finish is not None or self._told.closed):
            index = next(iter(self._waiting))
            piece = self._waiting.pop(index)
            self._open, self._told = index, _Braces()
            self._told.feed(piece.arguments)
            told.append(Delta(delta.index, tools={index: piece}))
        if not self._waiting:
            self._size = 0
        told[-1].finish, told[-1].stop, delta.stop = finish, delta.stop, None
        return told

    def _wait(self, index: int, piece: Tool) -> None:
        self._size += len(piece.arguments)
        if self._size > _MOST_WAITING:
            raise BadUpstreamResponse("the vendor's answer has a tool call without an end")
        self._waiting.setdefault(index, Tool()).add(piece)
