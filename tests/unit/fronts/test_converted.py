"""From a vendor's bytes to a client's, however they are cut: what is streamed says what the whole answer says."""

from collections.abc import Callable
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.fronts import messages_request, responses_request
from extproc.fronts.converted import Converted
from extproc.fronts.messages_answer import MessagesWriter
from extproc.fronts.responses_answer import ResponsesWriter
from extproc.fronts.writer import Writer
from extproc.providers.openai_chat import ChatReader
from extproc.terms.call import CHAT_TARGET, Call
from extproc.terms.deltas import Delta
from extproc.terms.errors import ProxyError
from tests.unit import messages_rules, responses_rules
from tests.unit.fronts.anything import answers
from tests.unit.player import NONCE, NOW

Check = Callable[[bytes], dict[str, Any]]
FRONTS: dict[str, tuple[Callable[..., Writer], Any, Check]] = {
    "messages": (MessagesWriter, messages_request.Notes(), messages_rules.check),
    "responses": (ResponsesWriter, responses_request.Notes(), responses_rules.check),
}
ENDS = {
    "messages": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"},
    "responses": {"stop": None, "length": "max_output_tokens", "tool_calls": None, "content_filter": "content_filter"},
}


def converted(front: str) -> Converted:
    kind, notes, _ = FRONTS[front]
    call = Call(CHAT_TARGET, "POST", model="m", upstream_model="v", stream=True, now=NOW, nonce=NONCE)
    reader = ChatReader(lambda event: None)
    return Converted(reader, kind(call, "m", notes, reader), stream=True)


def chunk(delta: Delta) -> dict[str, Any]:
    """A delta as a vendor's chunk."""
    said: dict[str, Any] = {"content": delta.content, "reasoning_content": delta.reasoning, "refusal": delta.refusal}
    said["tool_calls"] = [
        {"index": index, "id": tool.id, "function": {"name": tool.name, "arguments": tool.arguments}}
        for index, tool in delta.tools.items()
    ]
    said = {name: value for name, value in said.items() if value}
    return {"id": "x", "choices": [{"index": 0, "delta": said, "finish_reason": delta.finish}]}


counts = st.integers(0, 10_000)
usages = st.none() | st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts},
    optional={
        "prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": counts}),
        "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": counts}),
    },
)
EXTRAS = [b": keep-alive\n\n", b'data: {"choices":[]}\n\n', b'data: {"choices":[{"index":0}]}\n\n']


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, dict[str, Any] | None, str]:
    """A vendor's stream with heartbeats and empty chunks anywhere, its usage, its finish."""
    deltas, usage = draw(answers()), draw(usages)
    pieces = [b"data: " + json.dumps(chunk(delta)).encode() + b"\n\n" for delta in deltas]
    for extra in draw(st.lists(st.sampled_from(EXTRAS), max_size=3)):
        pieces.insert(draw(st.integers(0, len(pieces))), extra)
    if usage is not None:
        pieces.append(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
    return b"".join([*pieces, *draw(st.sampled_from([[], [b"data: [DONE]\n\n"]]))]), usage, deltas[-1].finish or ""


def told(front: str, pieces: list[bytes]) -> bytes:
    """What a client is sent; the error that ends it, if one does, in its stream."""
    made, out = converted(front), []
    decoder = made.decoder(1 << 20)
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                out += made.event(event)
        for event in decoder.close():
            out += made.event(event)
        out += made.close()
    except ProxyError as error:
        out.append(made.failure(error))
    return b"".join(out)


@pytest.mark.parametrize("front", FRONTS)
@settings(max_examples=150, deadline=None)
@given(stream=streams(), data=st.data())
def test_any_stream_cut_anywhere(
    front: str, stream: tuple[bytes, dict[str, Any] | None, str], data: st.DataObject
) -> None:
    text, usage, finish = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    at_once = told(front, [text])
    assert told(front, pieces) == at_once
    answer = FRONTS[front][2](at_once)
    if usage is not None:
        assert tokens(answer["usage"]) == usage["prompt_tokens"] or cached(usage) > usage["prompt_tokens"]
        assert answer["usage"]["output_tokens"] == usage["completion_tokens"]
    if finish in ENDS[front] and not any("tool" in part["type"] or "refusal" in str(part) for part in parts(answer)):
        ended = answer.get("stop_reason", (answer.get("incomplete_details") or {}).get("reason"))
        refused = front == "messages" and ended == "refusal"  # whose words are text
        assert ended == ENDS[front][finish] or refused


def parts(answer: dict[str, Any]) -> list[Any]:
    return [*answer.get("content", ()), *answer.get("output", ())]


def cached(usage: dict[str, Any]) -> int:
    return int(usage.get("prompt_tokens_details", {}).get("cached_tokens", 0))


def tokens(usage: dict[str, Any]) -> int:
    """Of the prompt, with those of a cache, which one front counts apart."""
    return sum(
        usage.get(name, 0) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )


@pytest.mark.parametrize("front", FRONTS)
@settings(max_examples=100, deadline=None)
@given(stream=streams(), data=st.data())
def test_a_stream_that_breaks_off_anywhere_never_looks_complete(
    front: str, stream: tuple[bytes, dict[str, Any] | None, str], data: st.DataObject
) -> None:
    text = stream[0]
    end = text.index(b'"finish_reason": "')
    broken = text[: data.draw(st.integers(0, end))]
    answer = FRONTS[front][2](told(front, [broken]))
    assert answer["error"]
    assert answer.get("status", "failed") == "failed"
