"""DashScope's native answers: a script in, JSON or frames out.

Rule: form only, no checks. Frames are `id:N`, `event:result`, `:HTTP_STATUS/200`, `data:{…}`; usage stands in
every frame; `finish_reason` is the text "null" until the last. Source: streams recorded by DashScope's SDKs.
"""

from dataclasses import dataclass, field
from typing import Any

from extproc.simulate import sse
from extproc.simulate.call import Answer, Call, Events, answer
from extproc.simulate.script import Delta, Line, Script, deltas

IMAGE_TOKENS = 1000
SEARCH_INFO = {
    "search_results": [
        {"site_name": "模拟", "icon": "", "index": 1, "title": "模拟结果", "url": "https://example.com/"}
    ]
}


@dataclass(frozen=True, slots=True)
class Form:
    """How one answer is spelled."""

    multimodal: bool
    old: bool
    cumulative: bool
    logprobs: bool
    search: bool


def _content(text: str, form: Form) -> Any:
    if not form.multimodal:
        return text
    return [{"text": text}] if text else []


def _usage(script: Script, form: Form, output: int, reasoning: int) -> dict[str, Any]:
    usage: dict[str, Any] = {"input_tokens": script.prompt_tokens, "output_tokens": output}
    if form.multimodal:
        usage["image_tokens"] = script.images * IMAGE_TOKENS
    else:
        usage["total_tokens"] = script.prompt_tokens + output
        usage["prompt_tokens_details"] = {"cached_tokens": 0}
    if reasoning:
        usage["output_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage


def logprobs(pieces: tuple[str, ...]) -> dict[str, Any]:
    """Log probabilities of text pieces (tuple of str), all certain: dict."""
    return {
        "content": [
            {"token": piece, "bytes": list(piece.encode()), "logprob": 0.0, "top_logprobs": []} for piece in pieces
        ]
    }


def _output(choices: list[dict[str, Any]], form: Form) -> dict[str, Any]:
    output: dict[str, Any] = {"choices": choices}
    if form.search:
        output["search_info"] = SEARCH_INFO
    return output


def _choice(place: int, line: Line, script: Script, form: Form) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _content(line.text, form)}
    if line.thinking:
        message["reasoning_content"] = line.reasoning
    if line.calls:  # recorded: no index, and ids that may be empty
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}, "id": "", "type": "function"}
            for call in line.calls
        ]
    choice: dict[str, Any] = {"finish_reason": line.finish, "message": message}
    if form.logprobs:
        choice["logprobs"] = logprobs(line.pieces)
    if len(script.lines) > 1:
        choice["index"] = place
    return choice


def whole(call: Call, script: Script, form: Form) -> Answer:
    """The answer in one piece, for a `script` (Script) in a `form` (Form): Answer."""
    if form.old:
        output: dict[str, Any] = {"text": script.lines[0].text, "finish_reason": script.lines[0].finish}
    else:
        output = _output([_choice(place, line, script, form) for place, line in enumerate(script.lines)], form)
    usage = _usage(script, form, script.tokens, script.reasoning_tokens)
    return answer({"output": output, "usage": usage, "request_id": call.request_id})


@dataclass(slots=True)
class _Spoken:
    """What one choice has said so far: a cumulative stream repeats it."""

    text: str = ""
    thinking: str = ""
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)


def _tool_call(delta: Delta, said: _Spoken, call: Call, cumulative: bool) -> list[dict[str, Any]]:
    assert delta.call is not None
    place, tool, piece, first = delta.call
    function = {"arguments": piece, **({"name": tool.name} if first else {})}
    part = {"index": place, "id": tool.id if first else "", "type": "function", "function": function}
    if cumulative:
        known = said.calls.setdefault(place, {**part, "function": {"name": tool.name, "arguments": ""}})
        known["function"] = {
            **known["function"],
            "arguments": known["function"]["arguments"] + piece,
        }
        parts = [dict(item) for item in said.calls.values()]
    else:
        parts = [part]
    if call.faults.noindex:
        parts = [{name: value for name, value in item.items() if name != "index"} for item in parts]
    return parts


def _message(delta: Delta, said: _Spoken, call: Call, form: Form, shows_thinking: bool) -> dict[str, Any]:
    said.text += delta.text
    said.thinking += delta.thinking
    text, thinking = (said.text, said.thinking) if form.cumulative else (delta.text, delta.thinking)
    message: dict[str, Any] = {"role": "assistant", "content": _content(text, form)}
    if shows_thinking:
        message["reasoning_content"] = thinking
    if delta.call is not None:
        message["tool_calls"] = _tool_call(delta, said, call, form.cumulative)
    elif form.cumulative and said.calls:
        message["tool_calls"] = list(said.calls.values())
    return message


def refused(call: Call, document: dict[str, Any], status: int) -> Answer:
    """A refusal (dict) with a `status` (int) as the one frame of a stream, under a good head: Answer."""
    frame = sse.frame(1, document, event="error", status=status)
    return Events(sse.Stream((frame,), None), media="text/event-stream;charset=UTF-8", blank=call.options.blank_lines)


def streamed(call: Call, script: Script, form: Form) -> Answer:
    """The answer as frames, for a `script` (Script) in a `form` (Form): Answer."""
    spoken = [_Spoken() for _ in script.lines]
    frames: list[bytes] = []
    output = reasoning = 0
    for delta in deltas(script):
        said = spoken[delta.choice]
        line = script.lines[delta.choice]
        counts = bool(delta.text or delta.thinking or (delta.call and not delta.call[3]))
        output += counts
        reasoning += bool(delta.thinking)
        message = _message(delta, said, call, form, bool(line.thinking))
        finish = delta.finish or "null"
        if form.old:
            text = said.text if form.cumulative else delta.text
            result: dict[str, Any] = {"text": text, "finish_reason": finish}
        else:
            choice: dict[str, Any] = {"message": message, "finish_reason": finish}
            if form.logprobs and delta.text:
                choice["logprobs"] = logprobs((delta.text,))
            if len(script.lines) > 1:
                choice["index"] = delta.choice
            result = _output([choice], form)
        value = {
            "output": result,
            "usage": _usage(script, form, output, reasoning),
            "request_id": call.request_id,
        }
        frames.append(sse.frame(len(frames) + 1, value))
    status = call.faults.error_frame or 500
    code = "Throttling.RateQuota" if status == 429 else "InternalError.Algo" if status >= 500 else "InvalidParameter"
    broken = {"code": code, "message": "simulated error inside the stream", "request_id": call.request_id}
    refused = sse.frame(max(1, len(frames) // 2) + 1, broken, event="error", status=status)
    stream = sse.spoil(frames, call.faults, refused)
    if call.faults.done:
        stream = sse.Stream((*stream.events, sse.NATIVE_DONE), stream.broken)
    blank = call.options.blank_lines and not call.faults.noblank
    return Events(stream, media="text/event-stream;charset=UTF-8", blank=blank)
