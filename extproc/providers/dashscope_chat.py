"""DashScope's native chat answers → OpenAI's: whole, streamed, and streamed-but-wanted-whole.

Rule: what a vendor's frame says is known as choices (`dashscope_frames.py`); here they become the client's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from extproc.providers import dashscope
from extproc.providers.dashscope_frames import Choice, Reader, Tool, read_choices
from extproc.providers.translator import Translator
from extproc.terms.call import Call
from extproc.terms.errors import BadUpstreamResponse, StreamTruncated
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson

Mode = Literal["passthrough", "ignore", "concat"]


@dataclass(slots=True)
class _Sent:
    """What the client has of one choice. `thinking`: `<think>` is open. `answering`: it cannot open any more."""

    started: bool = False
    thinking: bool = False
    answering: bool = False
    finished: bool = False
    ids: dict[int, str] = field(default_factory=dict)
    unnamed: dict[int, str] = field(default_factory=dict)  # arguments that came before the function's name


class Chat(Translator):
    """DashScope chat → `chat.completion` or `chat.completion.chunk`s.

    `model`: the name the client sees. `mode`: what becomes of thinking.
    """

    id_starts_event: ClassVar[bool] = True

    def __init__(self, call: Call, model: str, mode: Mode) -> None:
        self.gathers = not call.stream  # whether the vendor streams or not: one JSON answer is wanted
        self.expects_stream = call.stream
        self._call = call
        self._model = model
        self._mode = mode
        self._include_usage = call.stream and _wants_usage(call)
        self._reader = Reader()
        self._sent: dict[int, _Sent] = {}
        self._ended = False
        self._minted = 0
        self._request_id: Any = None
        self._head: bytes | None = None

    # Whole

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` when the answer is not DashScope's JSON."""
        choices = self._frame(body, whole=True)
        if not choices:
            raise BadUpstreamResponse("the vendor's answer has no choices")
        return self._completion([self._whole(choice.index, choice) for choice in self._news(choices, last=True)])

    def _whole(self, index: int, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": choice.content}
        if choice.reasoning:
            message["reasoning_content"] = choice.reasoning
        if choice.tools:
            message["tool_calls"] = [
                _tool_call(tool.id or self._mint(), tool.name, tool.arguments)
                for _, tool in sorted(choice.tools.items())
            ]
        return {
            "index": index,
            "message": message,
            "logprobs": choice.logprobs,
            "finish_reason": choice.finish,
        }

    def _completion(self, choices: list[dict[str, Any]]) -> bytes:
        head = self._envelope("chat.completion")
        return jsontext.dump({**head, "choices": choices, **self._usage_member()})

    def gathered(self, events: Iterable[sse.Event]) -> bytes:
        """A whole answer from the vendor's stream. Raises whatever `event` and `close` do."""
        deltas = [delta for event in events for delta in self._deltas(event)]
        deltas += self._news(self._reader.close())
        whole: dict[int, Choice] = {}
        texts: dict[tuple[int, str, int], list[str]] = {}  # joined at the end: a sum of strings takes quadratic time
        for delta in deltas:
            choice = whole.setdefault(delta.index, Choice(delta.index, "", "", {}, None, None))
            texts.setdefault((delta.index, "content", 0), []).append(delta.content)
            texts.setdefault((delta.index, "reasoning", 0), []).append(delta.reasoning)
            choice.finish = delta.finish or choice.finish
            choice.logprobs = _join_logprobs(choice.logprobs, delta.logprobs)
            for index, tool in delta.tools.items():
                known = choice.tools.setdefault(index, Tool())
                known.id, known.name = known.id or tool.id, known.name or tool.name
                texts.setdefault((delta.index, "arguments", index), []).append(tool.arguments)
        for (place, name, index), parts in texts.items():
            owner = whole[place].tools[index] if name == "arguments" else whole[place]
            setattr(owner, name, "".join(parts))
        if not any(choice.finish for choice in whole.values()):
            raise StreamTruncated("the vendor's stream ended before its answer was complete")
        return self._completion([self._whole(i, choice) for i, (_, choice) in enumerate(sorted(whole.items()))])

    # Streamed

    def event(self, event: sse.Event) -> Iterator[bytes]:
        """Raises `UpstreamError` for an error frame, `BadUpstreamResponse` for one that cannot be read."""
        for delta in self._deltas(event):
            yield from self._chunks(delta)

    def release(self) -> Iterator[bytes]:
        """A frame that was held until the next one would decide."""
        for delta in self._news(self._reader.close()):
            yield from self._chunks(delta)

    def close(self) -> Iterator[bytes]:
        """Raises `StreamTruncated` when no choice ever finished."""
        yield from self.release()
        if not any(sent.finished for sent in self._sent.values()):
            raise StreamTruncated("the vendor's stream ended before its answer was complete")
        if self._include_usage and self.raw_usage is not None:
            yield self._event([], self._usage_member())
        yield sse.DONE

    def _deltas(self, event: sse.Event) -> list[Choice]:
        if (error := dashscope.event_error(event)) is not None:
            raise error
        self._ended = self._ended or event.is_done
        if not event.data or self._ended:
            return []
        return self._news(self._reader.deltas(self._frame(event.data)))

    def _news(self, deltas: list[Choice], *, last: bool = False) -> list[Choice]:
        """Deltas as the client may have them: nothing behind a choice's finish, thinking where the mode wants it.
        `last`: nothing follows, finish or not."""
        news = []
        for delta in deltas:
            if (sent := self._sent.get(delta.index)) is None:
                sent = self._sent[delta.index] = _Sent()
            if sent.finished:
                continue
            sent.finished = delta.finish is not None
            if self._mode == "ignore":
                delta.reasoning = ""
            elif self._mode == "concat":
                self._concat(delta, sent, last=last or sent.finished)
            news.append(delta)
        return news

    def _concat(self, delta: Choice, sent: _Sent, *, last: bool) -> None:
        """Move thinking into the content, as one `<think>` block before it. What is thought after the answer began
        has no place there: it stays `reasoning_content`, streamed and whole alike."""
        before = ""
        if delta.reasoning and not sent.answering:
            before, delta.reasoning = delta.reasoning if sent.thinking else f"<think>{delta.reasoning}", ""
            sent.thinking = True
        if delta.content or delta.tools or last:
            sent.answering = True
            if sent.thinking:
                before += "</think>\n"
                sent.thinking = False
        delta.content = before + delta.content

    def _chunks(self, delta: Choice) -> Iterator[bytes]:
        """What one frame's news make: thinking, text, tool calls, and the finish in a chunk of its own."""
        sent = self._sent[delta.index]
        if delta.reasoning:
            yield self._chunk(delta, sent, {"reasoning_content": delta.reasoning})
        if delta.content:
            yield self._chunk(delta, sent, {"content": delta.content})
        if delta.tools or sent.unnamed:
            yield from self._calls(delta, sent)
        if delta.finish is not None:
            if not sent.started:
                yield self._chunk(delta, sent, {"content": ""})
            yield self._chunk(delta, sent, {}, delta.finish)

    def _calls(self, delta: Choice, sent: _Sent) -> Iterator[bytes]:
        """A chunk per tool call. At the finish those too that still wait for a name."""
        last = delta.finish is not None
        unnamed = {index: Tool() for index in sent.unnamed} if last else {}
        for index, tool in sorted((unnamed | delta.tools).items()):
            if (call := self._tool(sent, index, tool, last=last)) is not None:
                yield self._chunk(delta, sent, {"tool_calls": [call]})

    def _tool(self, sent: _Sent, index: int, tool: Tool, *, last: bool) -> dict[str, Any] | None:
        """id, type and name go with the first chunk of a call only, which waits for the name; clients take a
        second id for a second call (ChatGPTNextWeb/NextChat, app/utils/chat.ts, 2026)."""
        if index in sent.ids and index not in sent.unnamed:
            return {"index": index, "function": {"arguments": tool.arguments}} if tool.arguments else None
        sent.ids[index] = sent.ids.get(index) or tool.id
        arguments = sent.unnamed.pop(index, "") + tool.arguments
        if len(arguments) > sse.LIMIT:
            raise BadUpstreamResponse("the vendor's answer has a tool call without a name and without an end")
        if not tool.name and not last:
            sent.unnamed[index] = arguments
            return None
        sent.ids[index] = sent.ids[index] or self._mint()
        return {"index": index, **_tool_call(sent.ids[index], tool.name, arguments)}

    # Shared

    def _frame(self, data: bytes, *, whole: bool = False) -> list[Choice]:
        """The choices of a frame or of a whole answer, none where it has no `output`; usage and id are noted."""
        try:
            document = jsontext.load(data)
            choices = read_choices(document.get("output") or {}, whole=whole)
            self._request_id = self._request_id or document.get("request_id")
        except (NotJson, LookupError, TypeError, AttributeError) as error:
            raise BadUpstreamResponse("the vendor's answer cannot be read") from error
        if isinstance(document.get("usage"), dict):
            self.raw_usage = document["usage"]
        return choices

    def _usage_member(self) -> dict[str, Any]:
        if self.raw_usage is None:
            return {}
        known = self.usage
        converted: dict[str, Any] = {
            "prompt_tokens": known.prompt_tokens or 0,
            "completion_tokens": known.completion_tokens or 0,
            "total_tokens": known.total_tokens or 0,
        }
        for ours, theirs in _DETAILS.items():
            if isinstance(value := self.raw_usage.get(theirs), dict):
                converted[ours] = value
        return {"usage": converted}

    def _envelope(self, object: str) -> dict[str, Any]:
        id = f"chatcmpl-{self._request_id or format(self._call.nonce, '024x')}"
        return {"id": id, "object": object, "created": self._call.now, "model": self._model}

    def _chunk(self, choice: Choice, sent: _Sent, delta: dict[str, Any], finish: str | None = None) -> bytes:
        if not sent.started:
            sent.started = True
            delta = {"role": "assistant", **delta}
        chunk: dict[str, Any] = {"index": choice.index, "delta": delta, "finish_reason": finish}
        if choice.logprobs is not None and delta:
            chunk["logprobs"], choice.logprobs = choice.logprobs, None
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


_DETAILS = {"prompt_tokens_details": "prompt_tokens_details", "completion_tokens_details": "output_tokens_details"}


def _tool_call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _wants_usage(call: Call) -> bool:
    try:
        options = jsontext.load((call.body or {}).get("stream_options", b"null"))
    except NotJson:
        return False
    return isinstance(options, dict) and options.get("include_usage") is True


def _join_logprobs(known: Any, more: Any) -> Any:
    if not isinstance(known, dict) or not isinstance(more, dict):
        return known if more is None else more
    return {"content": [*(known.get("content") or []), *(more.get("content") or [])]}
