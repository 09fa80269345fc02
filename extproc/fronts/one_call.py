"""Calls of a stream one strictly after the other: what clients lose otherwise.

Rule: a call that has begun goes on until its arguments are a whole JSON object or the answer ends; pieces of others
wait, in the order in which these began. LlamaIndex and others keep the last index alone, and lose arguments of calls
that alternate (2026). Knows no dialect and no vendor.
"""

from typing import Final

from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

_MOST_WAITING: Final = 8 << 20
"""Characters that may wait for a call to end."""


class OneCall:
    """Of one choice. Feed it every delta that has calls, and the one that finishes."""

    def __init__(self) -> None:
        self._open: int | None = None
        self._told: list[str] = []
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
                self._told.append(piece.arguments)
            else:
                self._wait(index, piece)
        if not self._waiting:
            return [delta]
        finish, delta.finish = delta.finish, None
        told = [delta]
        while self._waiting and (finish is not None or self._whole()):
            index = next(iter(self._waiting))
            piece = self._waiting.pop(index)
            self._open, self._told = index, [piece.arguments]
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

    def _whole(self) -> bool:
        """Whether nothing can follow in the open call. Only a text that ends so is looked at."""
        if not next((piece for piece in reversed(self._told) if piece.strip()), "").rstrip().endswith("}"):
            return False
        text = "".join(self._told)
        self._told = [text]
        try:
            jsontext.check(text.encode("utf-8", "surrogatepass"))
        except NotJson:
            return False
        return True
