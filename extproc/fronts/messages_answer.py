"""Answers in Anthropic's form: the message, and the events of its stream.

Rule: one block is open at a time, indices rise from 0, none is empty; both forms are made by the same steps, so that a
stream, put together, is the whole answer.
Source: Anthropic API reference, "Messages" and "Streaming Messages" (2026-11); its SDK's types (anthropic 2.14.0).
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Raw

from extproc.fronts import messages_errors
from extproc.fronts.messages_repair import SIGNATURE
from extproc.fronts.messages_request import Notes
from extproc.fronts.order import Kind, Order
from extproc.fronts.writer import Writer
from extproc.providers.reader import Reader
from extproc.terms.call import Call
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import ProxyError
from extproc.terms.frozen import replace
from extproc.terms.usage import Usage
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson
from extproc.text.tokens import FEW

_REASONS: Final[Mapping[str, str]] = {
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}

_PING: Final = sse.encode(b'{"type":"ping"}', b"ping")


class MessagesWriter(Writer):
    """`notes`: of the request, see `messages_request.read`."""

    def __init__(self, call: Call, model: str, notes: Notes, source: Reader) -> None:
        super().__init__(call, model, source)
        self._notes = notes
        self._order = Order(self)
        self._out: list[bytes] = []
        self._started = False
        self._streams = False
        self._blocks: list[dict[str, Any]] = []
        self._place = -1
        self._kind: Kind | None = None
        self._object = False  # the open call's arguments are one
        self._held: list[str] = []
        self._head = b""
        self._ids: set[str] = set()
        self._finish: str | None = None
        self._stop: str | None = None
        self._refused = False

    # The interface of a writer

    def whole(self, deltas: list[Delta]) -> bytes:
        self._add(deltas)
        if self._finish is None:
            self._order.finish(cut=False)
        reason, stop = self._reason()
        return jsontext.dump(
            {
                **self._message(),
                "content": self._blocks,
                "stop_reason": reason,
                "stop_sequence": stop,
                "usage": self._usage(self._counted()),
            }
        )

    def deltas(self, deltas: list[Delta]) -> list[bytes]:
        self._streams = True
        self._begin()
        self._add(deltas)
        return self._taken()

    def end(self) -> list[bytes]:
        self._begin()
        reason, stop = self._reason()
        self._event(
            "message_delta",
            {"delta": {"stop_reason": reason, "stop_sequence": stop}, "usage": self._usage(self._counted())},
        )
        self._event("message_stop", {})
        return self._taken()

    def failure(self, error: ProxyError) -> bytes:
        return sse.encode(messages_errors.document(error, self._request_id, self._notes.max_tokens), b"error")

    def heartbeat(self) -> list[bytes]:
        """A ping, which has its place behind the start."""
        if self._started:
            return [_PING]
        self._begin()
        return self._taken()

    # The steps, as `Order` tells them

    def opened(self, kind: Kind, call: Tool | None) -> None:
        self._place += 1
        self._kind = kind
        self._head = b""
        self._object, self._held = False, []
        match kind:
            case "call":
                assert call is not None
                block = {"type": "tool_use", "id": self._id(call.id), "name": call.name, "input": {}}
            case "thinking":
                block = {"type": "thinking", "thinking": "", "signature": ""}
            case _:
                self._refused = self._refused or kind == "refusal"
                block = {"type": "text", "text": ""}
        if self._streams:
            self._event("content_block_start", {"index": self._place, "content_block": block})
        else:
            self._blocks.append(block)

    def said(self, text: str, logprobs: Any) -> None:
        match self._kind:
            case "call":
                self._argue(text)
            case "thinking":
                self._tell("thinking_delta", "thinking", text)
            case _:
                self._tell("text_delta", "text", text)

    def closed(self, *, cut: bool) -> None:
        if self._kind == "call":
            self._end_call()
        elif self._kind == "thinking":
            self._tell("signature_delta", "signature", f"{SIGNATURE}{self._call.nonce:024x}")
        if self._streams:
            self._event("content_block_stop", {"index": self._place})
        self._kind = None

    # Calls

    def _argue(self, text: str) -> None:
        """Arguments. An object's are streamed; of anything else it is told at the end what it was."""
        if self._streams and not self._held and (self._object or text.lstrip().startswith("{")):
            self._object = True
            self._tell("input_json_delta", "partial_json", text)
        elif text.strip() or self._held:
            self._held.append(text)

    def _end_call(self) -> None:
        if self._streams and not self._object:
            self._tell("input_json_delta", "partial_json", _object("".join(self._held)).decode())
        elif not self._streams:
            self._blocks[-1]["input"] = Raw(_object("".join(self._held)))

    def _id(self, given: str) -> str:
        """The vendor's, minted where it has none or has it twice."""
        id = given
        while not id or id in self._ids:
            id = f"toolu_{(self._call.nonce + len(self._ids) + self._place) % (1 << 96):024x}"
        self._ids.add(id)
        return id

    # What both forms share

    def _add(self, deltas: list[Delta]) -> None:
        """A message is one choice; of several the others are left out."""
        for delta in deltas:
            if delta.index:
                continue
            self._order.add(delta)
            self._stop = delta.stop or self._stop
            if delta.finish is not None:
                self._finish = delta.finish
                self._order.finish(cut=delta.finish == "length")

    def _begin(self) -> None:
        if self._started:
            return
        self._started = True
        begun: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(replace(self._counted(), completion_tokens=0)),
        }
        self._event("message_start", {"message": {**self._message(), **begun}})
        self._out.append(_PING)

    def _message(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self._call.nonce:024x}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
        }

    def _reason(self) -> tuple[str, str | None]:
        """`stop_reason` and `stop_sequence`: never null at the end (anthropics/claude-code#16785, 2026)."""
        reason = _REASONS.get(self._finish or "", "end_turn")
        if self._refused:
            return "refusal", None
        if reason == "end_turn" and self._ids:
            return "tool_use", None
        if reason == "end_turn" and self._stop is not None and self._stop in self._notes.stops:
            return "stop_sequence", self._stop
        return reason, None

    def _asked(self) -> int:
        return self._notes.conversation.tokens(FEW)

    def _usage(self, known: Usage) -> dict[str, Any]:
        """All four counts, always: absent ones make Claude Code abort (BerriAI/litellm#24176, 2026). What was read from
        a cache or written to one is not in `input_tokens` (alibaba/higress#4149, 2026)."""
        prompt, answered = known.prompt_tokens or 0, known.completion_tokens or 0
        read, written = known.cached_tokens or 0, known.cache_write_tokens or 0
        usage: dict[str, Any] = {
            "input_tokens": max(0, prompt - read - written),
            "output_tokens": answered,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
        }
        if known.reasoning_tokens is not None:
            usage["output_tokens_details"] = {"thinking_tokens": known.reasoning_tokens}
        return usage

    def _tell(self, kind: str, member: str, text: str) -> None:
        if not self._streams:
            self._blocks[-1][member] += text
            return
        if not self._head or kind == "signature_delta":
            delta = b'{"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
            self._head = b"event: content_block_delta\ndata: " + delta % (self._place, kind.encode(), member.encode())
        self._out.append(self._head + jsontext.dump(text) + b"}}\n\n")

    def _event(self, kind: str, members: dict[str, Any]) -> None:
        self._out.append(sse.encode(jsontext.dump({"type": kind, **members}), kind.encode()))

    def _taken(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    @property
    def _request_id(self) -> str:
        return self._call.headers.get("x-request-id") or f"req_{self._call.nonce:024x}"


def _object(arguments: str) -> bytes:
    """A call's arguments as an object: none is an empty one, and what is no object is in one, for the client to see."""
    if not (text := arguments.strip()) or text == "null":
        return b"{}"
    given = text.encode("utf-8", "replace")
    try:
        jsontext.fields(given)
    except NotJson:
        return jsontext.dump({"raw_arguments": arguments})
    return given
