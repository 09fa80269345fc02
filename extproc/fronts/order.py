"""Deltas, whatever order a vendor gives them in, as one thing after the other.

Rule: one block (thinking, text, a refusal, a call) is open at a time, and none is empty. A call goes on until its
arguments are complete JSON or the answer is finished; what comes meanwhile waits for it. Knows no dialect: a front's
writer is told what opens, what is said and what closes, for whole answers as for streams, so that both come out alike.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

Kind = Literal["thinking", "text", "refusal", "call"]

_MOST_WAITING: Final = 8 << 20
"""Characters that may wait for a call to end."""


class Blocks(Protocol):
    """Who is told. After `opened` comes `said`, any number of times, then `closed`."""

    def opened(self, kind: Kind, call: Tool | None) -> None: ...

    def said(self, text: str, logprobs: Any) -> None: ...

    def closed(self, *, cut: bool) -> None:
        """`cut`: the answer's length ended it."""


@dataclass(slots=True, eq=False)
class _Call:
    tool: Tool
    untold: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    queued: bool = False
    over: bool = False

    def complete(self) -> bool:
        """Whether the arguments are JSON that nothing can go on from."""
        text = "".join((*self.told, *self.untold)).strip()
        if not text.startswith(("{", "[", '"')) or len(text) < 2:
            return False
        try:
            jsontext.check(text.encode("utf-8", "surrogatepass"))
        except NotJson:
            return False
        return True


@dataclass(slots=True)
class _Words:
    kind: Kind
    text: str
    logprobs: Any


class Order:
    """Feed it the deltas of one choice; `finish` once, when there are no more."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._kind: Kind | None = None
        self._call: _Call | None = None
        self._calls: dict[int, _Call] = {}
        self._waiting: deque[_Words | _Call] = deque()
        self._size = 0

    def add(self, delta: Delta) -> None:
        """Raises `BadUpstreamResponse` where too much waits for the end of a call."""
        if delta.reasoning:
            self._say("thinking", delta.reasoning, None)
        if delta.content:
            self._say("text", delta.content, delta.logprobs)
        if delta.refusal:
            self._say("refusal", delta.refusal, None)
        for index, tool in sorted(delta.tools.items()):
            self._called(index, tool)
        if self._waiting:
            self._drain(last=False)

    def finish(self, *, cut: bool) -> None:
        """The answer is over, by its length or (not `cut`) by itself."""
        for call in self._calls.values():
            if not call.queued and call.untold:  # never named
                self._waiting.append(call)
        self._drain(last=True)
        self._close(cut=cut)

    def _say(self, kind: Kind, text: str, logprobs: Any) -> None:
        if self._waiting or (self._call is not None and not self._call.complete()):
            self._wait(len(text))
            self._waiting.append(_Words(kind, text, logprobs))
        else:
            self._tell(kind, text, logprobs)

    def _tell(self, kind: Kind, text: str, logprobs: Any) -> None:
        if self._kind != kind:
            self._close(cut=False)
            self._kind = kind
            self._blocks.opened(kind, None)
        self._blocks.said(text, logprobs)

    def _called(self, index: int, tool: Tool) -> None:
        call = self._calls.get(index)
        if call is None or (tool.id and call.tool.id and tool.id != call.tool.id):
            call = self._calls[index] = _Call(Tool(tool.id, tool.name))
        known = call.tool
        known.id, known.name = known.id or tool.id, known.name or tool.name
        if tool.arguments and not call.over:
            call.untold.append(tool.arguments)
        if call is self._call:
            self._flush(call)
            return
        self._wait(len(tool.arguments))
        if known.name and not call.queued:
            call.queued = True
            self._waiting.append(call)

    def _drain(self, *, last: bool) -> None:
        """Tell what waits, as far as the open call lets it."""
        while self._waiting and (last or self._call is None or self._call.complete()):
            match self._waiting.popleft():
                case _Words(kind, text, logprobs):
                    self._tell(kind, text, logprobs)
                case call:
                    self._close(cut=False)
                    self._kind, self._call, call.queued = "call", call, True
                    self._blocks.opened("call", call.tool)
                    self._flush(call)
        if not self._waiting:
            self._size = 0

    def _flush(self, call: _Call) -> None:
        for piece in call.untold:
            self._blocks.said(piece, None)
        call.told += call.untold
        call.untold = []

    def _close(self, *, cut: bool) -> None:
        if self._kind is None:
            return
        self._blocks.closed(cut=cut)
        if self._call is not None:
            self._call.over, self._call.told = True, []
        self._kind = self._call = None

    def _wait(self, size: int) -> None:
        self._size += size
        if self._size > _MOST_WAITING:
            raise BadUpstreamResponse("the vendor's answer has a tool call without an end")
