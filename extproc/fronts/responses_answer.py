"""Answers in the form of OpenAI's Responses: the response object, and the typed events of its stream.

Rule: the object and the events are made by the same steps, so a stream's last response equals the whole answer. Events
are numbered from 0 without a gap, items follow each other, and exactly one event is the last.
Source: OpenAI API reference, "Responses" and "Streaming", and its SDK's types (openai 3.54.0), 2026-11-30.
"""

from collections.abc import Iterable
from typing import Any, Final

from extproc.fronts.order import Kind, Order
from extproc.fronts.responses_output import Freehand, Function, Local, Message, Output, Thinking
from extproc.fronts.responses_request import Notes
from extproc.fronts.responses_tools import Named
from extproc.fronts.writer import Writer
from extproc.providers import responses_events
from extproc.providers.reader import Reader
from extproc.terms.call import Call
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import ProxyError
from extproc.text import jsontext

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}

_DEFAULTS: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""What an answer repeats of a request that did not say it."""


class ResponsesWriter(Writer):
    """`notes`: of the request, see `responses_request.read`."""

    def __init__(self, call: Call, model: str, notes: Notes, source: Reader) -> None:
        super().__init__(call, model, source)
        self._notes = notes
        self._id = f"resp_{call.nonce:024x}"
        self._fixed = self._about()
        self._order = Order(self)
        self._items: list[dict[str, Any]] = []
        self._open: Output | None = None
        self._annotations: list[Any] = []
        self._finish: str | None = None
        self._number = 0
        self._minted = 0
        self._called: set[str] = set()
        self._out: list[bytes] = []

    # The interface of a writer

    def whole(self, deltas: list[Delta]) -> bytes:
        self._add(deltas)
        if self._finish is None:
            self._order.finish(cut=False)
        return jsontext.dump(self._ended())

    def deltas(self, deltas: list[Delta]) -> Iterable[bytes]:
        self._begin()
        self._add(deltas)
        return self._taken()

    def end(self) -> Iterable[bytes]:
        self._begin()
        response = self._ended()
        self.event(f"response.{response['status']}", {"response": response})
        return self._taken()

    def failure(self, error: ProxyError) -> bytes:
        self._begin()
        if self._open is not None and not isinstance(self._open, Local):  # which nobody has heard of yet
            self._items.append(self._open.item("incomplete"))
        return b"".join((*self._taken(), responses_events.failure(error, self._response("failed"), self._number)))

    def heartbeat(self) -> Iterable[bytes]:
        """A comment: an event without data is broken JSON to openai's SDKs (run 2026-11-30, Python 3.57.0)."""
        return (b": keep-alive\n\n",)

    # The steps, as `Order` tells them

    def opened(self, kind: Kind, call: Tool | None) -> None:
        place = len(self._items)
        if call is not None:
            named = self._notes.names.get(call.name) or Named("function", call.name)
            call_id = call.id if call.id and call.id not in self._called else self._mint("call")
            self._called.add(call_id)
            match named.kind:
                case "function":
                    self._open = Function(self, self._mint("fc"), place, named, call_id)
                case "custom":
                    self._open = Freehand(self, self._mint("ctc"), place, named, call_id)
                case local:
                    self._open = Local(self, self._mint, place, local, call_id)
        elif kind == "thinking":
            self._open = Thinking(self, self._mint("rs"), place, encrypted=self._notes.encrypted)
        else:
            self._open = Message(self, self._mint("msg"), place, refusal=kind == "refusal")
        self._open.open()

    def said(self, text: str, logprobs: Any) -> None:
        assert self._open is not None
        self._open.say(text, logprobs)

    def closed(self, *, cut: bool) -> None:
        assert self._open is not None
        self._annotate()
        self._items.append(self._open.close("incomplete" if cut else "completed"))
        self._open = None

    # Events

    def event(self, type: str, members: dict[str, Any]) -> None:
        """One more event of the stream."""
        self._out.append(responses_events.event(type, members, self._number))
        self._number += 1

    def piece(self, head: bytes, text: str) -> None:
        """A delta's event, all of which but the text is known: up to its colon."""
        self._out.append(b'%b%b,"sequence_number":%d}\n\n' % (head, jsontext.dump(text), self._number))
        self._number += 1

    def _begin(self) -> None:
        if not self._number:
            response = self._response("in_progress")
            self.event("response.created", {"response": response})
            self.event("response.in_progress", {"response": response})

    def _taken(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    # The answer

    def _add(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            if delta.index:  # an answer has one choice
                continue
            self._annotations.extend(delta.annotations)
            self._order.add(delta)
            self._annotate()
            if delta.finish is not None:
                self._finish = delta.finish
                self._order.finish(cut=delta.finish == "length")

    def _annotate(self) -> None:
        if self._annotations and isinstance(self._open, Message):
            for annotation in self._annotations:
                self._open.annotate(annotation)
            self._annotations = []

    def _ended(self) -> dict[str, Any]:
        reason = _INCOMPLETE.get(self._finish or "")
        usage = self._usage()
        if reason is not None:
            return self._response("incomplete", incomplete={"reason": reason}, usage=usage)
        return self._response("completed", usage=usage)

    def _about(self) -> dict[str, Any]:
        """The members that no answer changes: what was asked for, and what is the same for all."""
        echo = {name: jsontext.raw(value) for name, value in _DEFAULTS.items()} | dict(self._notes.echo)
        return {**echo, "background": False, "previous_response_id": None, "store": False}

    def _response(
        self,
        status: str,
        *,
        incomplete: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._call.now,
            "status": status,
            "error": None,
            "incomplete_details": incomplete,
            "model": self._model,
            "output": list(self._items),
            "usage": usage,
            **self._fixed,
        }

    def _usage(self) -> dict[str, Any]:
        known = self._counted()
        prompt, completion = known.prompt_tokens or 0, known.completion_tokens or 0
        return {
            "input_tokens": prompt,
            "input_tokens_details": {
                "cached_tokens": known.cached_tokens or 0,
                "cache_write_tokens": known.cache_write_tokens or 0,
            },
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": known.reasoning_tokens or 0},
            "total_tokens": prompt + completion if known.total_tokens is None else known.total_tokens,
        }

    def _mint(self, kind: str) -> str:
        self._minted += 1
        return f"{kind}_{(self._call.nonce + self._minted) % (1 << 96):024x}"
