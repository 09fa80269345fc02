"""OpenAI's chat completions: the front that vendors mostly speak themselves.

Rule: over such a vendor nothing here runs. Over any other a client's request is a chat request already, and deltas
become a `chat.completion` or its chunks.
"""

from dataclasses import dataclass, field
from typing import Any

from extproc.fronts.front import Front, Notes
from extproc.fronts.one_call import OneCall
from extproc.fronts.writer import Writer
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.terms.call import CHAT, Call
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, ProxyError
from extproc.text import jsontext, sse
from extproc.text.jsontext import Fields, NotJson

_MOST_UNNAMED = 1 << 20
"""Characters of a tool call's arguments that wait for its name."""


class Chat(Front):
    name = "chat"
    creates = CHAT

    def read(self, fields: Fields, traits: Traits) -> tuple[Fields, Notes]:
        return fields, Notes()

    def writer(self, call: Call, model: str, notes: Notes, source: Reader) -> Writer:
        return ChatWriter(call, model, source)


@dataclass(slots=True)
class _Sent:
    """What the client has of one choice."""

    started: bool = False
    ids: dict[int, str] = field(default_factory=dict)
    unnamed: dict[int, str] = field(default_factory=dict)  # arguments that came before the function's name


class ChatWriter(Writer):
    def __init__(self, call: Call, model: str, source: Reader) -> None:
        super().__init__(call, model, source)
        self._include_usage = call.stream and _wants_usage(call)
        self._sent: dict[int, _Sent] = {}
        self._turns: dict[int, OneCall] = {}
        self._minted = 0
        self._head: bytes | None = None
        self._aside = False  # whether it was told

    # Whole

    def whole(self, deltas: list[Delta]) -> bytes:
        head = self._envelope("chat.completion")
        choices = [self._choice(delta) for delta in deltas]
        return jsontext.dump({**head, "choices": choices, **self._source.aside, **self._usage_member()})

    def _choice(self, delta: Delta) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": delta.content}
        if delta.reasoning:
            message["reasoning_content"] = delta.reasoning
        if delta.refusal:
            message["refusal"] = delta.refusal
        if delta.annotations:
            message["annotations"] = delta.annotations
        if delta.tools:
            message["tool_calls"] = [
                _tool_call(tool.id or self._mint(), tool.name, tool.arguments)
                for _, tool in sorted(delta.tools.items())
            ]
        return {
            "index": delta.index,
            "message": message,
            "logprobs": delta.logprobs,
            "finish_reason": delta.finish,
        }

    # Streamed

    def deltas(self, deltas: list[Delta]) -> list[bytes]:
        """What each says in chunks of their own: thinking, text, tool calls, and the finish."""
        out: list[bytes] = []
        for delta in self._in_turn(deltas):
            if (sent := self._sent.get(delta.index)) is None:
                sent = self._sent[delta.index] = _Sent()
            if delta.reasoning:
                out.append(self._chunk(delta, sent, {"reasoning_content": delta.reasoning}))
            if delta.content:
                out.append(self._chunk(delta, sent, {"content": delta.content}))
            if delta.refusal:
                out.append(self._chunk(delta, sent, {"refusal": delta.refusal}))
            if delta.annotations:
                out.append(self._chunk(delta, sent, {"annotations": delta.annotations}))
            if delta.tools or sent.unnamed:
                self._calls(delta, sent, out)
            if delta.finish is not None:
                if not sent.started:
                    out.append(self._chunk(delta, sent, {"content": ""}))
                out.append(self._chunk(delta, sent, {}, delta.finish))
        return out

    def _in_turn(self, deltas: list[Delta]) -> list[Delta]:
        told: list[Delta] = []
        for delta in deltas:
            if delta.tools and delta.index not in self._turns:
                self._turns[delta.index] = OneCall()
            told += [delta] if (turn := self._turns.get(delta.index)) is None else turn.deltas(delta)
        return told

    def end(self) -> list[bytes]:
        if self._include_usage and self._source.raw_usage is not None:
            return [self._event([], self._usage_member()), sse.DONE]
        return [sse.DONE]

    def failure(self, error: ProxyError) -> bytes:
        return sse.encode(error.body())

    def _calls(self, delta: Delta, sent: _Sent, out: list[bytes]) -> None:
        """A chunk per tool call. At the finish those too that still wait for a name."""
        last = delta.finish is not None
        unnamed = {index: Tool() for index in sent.unnamed} if last else {}
        for index, tool in sorted((unnamed | delta.tools).items()):
            if (call := self._tool(sent, index, tool, last=last)) is not None:
                out.append(self._chunk(delta, sent, {"tool_calls": [call]}))

    def _tool(self, sent: _Sent, index: int, tool: Tool, *, last: bool) -> dict[str, Any] | None:
        """id, type and name go with the first chunk of a call only, which waits for the name; clients take a
        second id for a second call (ChatGPTNextWeb/NextChat, app/utils/chat.ts, 2026)."""
        if index in sent.ids and index not in sent.unnamed:
            return {"index": index, "function": {"arguments": tool.arguments}} if tool.arguments else None
        sent.ids[index] = sent.ids.get(index) or tool.id
        arguments = sent.unnamed.pop(index, "") + tool.arguments
        if len(arguments) > _MOST_UNNAMED:
            raise BadUpstreamResponse("the vendor's answer has a tool call without a name and without an end")
        if not tool.name and not last:
            sent.unnamed[index] = arguments
            return None
        sent.ids[index] = sent.ids[index] or self._mint()
        return {"index": index, **_tool_call(sent.ids[index], tool.name, arguments)}

    # Shared

    def _usage_member(self) -> dict[str, Any]:
        if self._source.raw_usage is None:
            return {}
        known = self._source.usage
        counts: dict[str, Any] = {
            "prompt_tokens": known.prompt_tokens or 0,
            "completion_tokens": known.completion_tokens or 0,
            "total_tokens": known.total_tokens or 0,
        }
        return {"usage": counts | self._source.details}

    def _envelope(self, object: str) -> dict[str, Any]:
        id = f"chatcmpl-{self._source.answer_id or format(self._call.nonce, '024x')}"
        return {"id": id, "object": object, "created": self._call.now, "model": self._model}

    def _chunk(self, choice: Delta, sent: _Sent, delta: dict[str, Any], finish: str | None = None) -> bytes:
        if not sent.started:
            sent.started = True
            delta = {"role": "assistant", **delta}
        chunk: dict[str, Any] = {"index": choice.index, "delta": delta, "finish_reason": finish}
        if choice.logprobs is not None and delta:
            chunk["logprobs"], choice.logprobs = choice.logprobs, None
        if finish is not None and not self._aside and self._source.aside:
            self._aside = True
            return self._event([chunk], dict(self._source.aside))
        return self._event([chunk])

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any] | None = None) -> bytes:
        """A chunk. All begin as the first one: a frame that makes none need not have brought the vendor's id."""
        if self._head is None:
            self._head = b"data: " + jsontext.dump(self._envelope("chat.completion.chunk"))[:-1] + b',"choices":'
        tail = b"}" if more is None else b"," + jsontext.dump(more)[1:]
        return self._head + jsontext.dump(choices) + tail + b"\n\n"

    def _mint(self) -> str:
        self._minted += 1
        return f"call_{(self._call.nonce + self._minted) % (1 << 96):024x}"


def _tool_call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _wants_usage(call: Call) -> bool:
    try:
        options = jsontext.load((call.body or {}).get("stream_options", b"null"))
    except NotJson:
        return False
    return isinstance(options, dict) and options.get("include_usage") is True
