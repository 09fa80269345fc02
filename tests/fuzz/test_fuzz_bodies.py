"""Bodies of every provider, both ways, whole and streamed: whatever arrives, what leaves is well-formed and bounded."""

from collections.abc import Iterator
import json
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import msgspec
import pytest

from extproc.config import wording
from extproc.exchange.exchange import Exchange
from extproc.exchange.states import Streaming
from extproc.providers import Vendor
from extproc.terms.events import (
    Answer,
    BodyMode,
    Forward,
    Reply,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from tests.unit.player import Play, config_of, cut, exchange_of
from tests.unit.sse_reference import parse
from tests.unit.vectors import Vector, answer_bytes, ask, dump

from .effort import fuzzed
from .mutations import VECTORS, answers, bodies, cuts

HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "h", "content-type": "application/json"}
SSE = {":status": "200", "content-type": "text/event-stream"}
GROWTH = 200
"""Bytes that may leave for one that came: a character of a vendor's frame may become a chunk of its own."""


def well_formed(reply: Reply) -> Reply:
    """A reply that Envoy and a client can use."""
    if isinstance(reply, Answer):
        assert 200 <= reply.status <= 599
        document = json.loads(reply.body)
        assert reply.status < 400 or is_error(document)
    else:
        headers = dict(reply.set_headers)
        if reply.body is not None and "content-length" in headers:
            assert headers["content-length"] == str(len(reply.body))
        for name, value in headers.items():
            assert name == name.lower()
            value.encode("latin-1")
    for value in reply.metadata.values():
        assert not isinstance(value, str) or value.encode()
    return reply


def is_error(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def stream_is_well_formed(stream: bytes, *, ours: bool) -> None:
    """Each event is JSON or the end; behind an error is nothing, nor behind an end of `ours` (a vendor's own may come
    twice: what is only watched goes out as it came)."""
    over = False
    for data, _, _ in parse(stream):
        if not data:
            continue
        assert not over, "something follows the end"
        over = ours if data.strip() == b"[DONE]" else is_error(json.loads(data))


def play_answer(exchange: Exchange, headers: dict[str, str], pieces: list[bytes]) -> Iterator[bytes]:
    """The vendor's answer, as Envoy hands it over; what the client gets of it where it was read."""
    reply = well_formed(exchange.handle(ResponseHeaders(headers, False, {"response.code_details": "via_upstream"})))
    if isinstance(reply, Answer) or reply.response_mode is None:
        return
    if reply.response_mode is BodyMode.BUFFERED:
        pieces = [b"".join(pieces)]
    for number, piece in enumerate(pieces, 1):
        reply = well_formed(exchange.handle(ResponseBody(piece, number == len(pieces))))
        body = reply.body if isinstance(reply, Forward) else None
        yield piece if body is None else body
    exchange.close()


def asked(vector: Vector) -> Exchange:
    play, _ = ask(vector)
    return play.exchange


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
@fuzzed(3)
@given(data=st.data())
def test_any_answer_becomes_a_well_formed_one(data: st.DataObject, streams: bool) -> None:
    vector = data.draw(st.sampled_from([v for v in VECTORS if v.streams is streams]))
    answer = data.draw(answers(vector))
    pieces = [*cut(answer, data.draw(cuts(answer))), b""]
    given_headers = dict((vector.answer or {}).get("headers", {}))
    kind = "text/event-stream" if streams else "application/json"
    status = data.draw(st.sampled_from(["200", "200", str((vector.answer or {}).get("status", 200)), "400", "503"]))
    headers = {"content-type": kind, **given_headers, ":status": status}
    exchange = asked(vector)
    out, watched = [], False
    for piece in play_answer(exchange, headers, pieces):
        out.append(piece)
        watched |= isinstance(state := exchange._state, Streaming) and state.translator.only_watches
    assert sum(map(len, out)) <= GROWTH * len(answer) + 20_000
    read = exchange.record.complete and "original" not in json.dumps(vector.config) and not watched
    if streams and status == "200" and read and len(out) > 1:
        stream_is_well_formed(b"".join(out), ours="frames" in (vector.answer or {}))


@fuzzed(1)
@given(data=st.data())
def test_the_outcome_of_a_damaged_stream_does_not_depend_on_its_cuts(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from([v for v in VECTORS if v.streams and not (v.client or {}).get("unread")]))
    answer = data.draw(answers(vector))
    whole = b"".join(play_answer(asked(vector), SSE, [answer, b""]))
    pieces = [*cut(answer, data.draw(cuts(answer))), b""]
    assert b"".join(play_answer(asked(vector), SSE, pieces)) == whole


@fuzzed(3)
@given(data=st.data())
def test_any_request_becomes_a_well_formed_one(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(VECTORS))
    request = vector.request
    body = data.draw(bodies(request.get("body")))
    path = data.draw(st.sampled_from([request["path"], "/v1/embeddings", "/v1/responses", "/v1/completions"]))
    exchange = exchange_of(config_of(vector.config if "providers" in vector.config else one(vector)), vector.contexts)
    reply = well_formed(exchange.handle(RequestHeaders({**HEAD, ":path": path}, False)))
    if isinstance(reply, Answer):
        return
    reply = well_formed(exchange.handle(RequestBody(body)))
    sent = reply.body if isinstance(reply, Forward) else None
    if sent is not None:
        assert isinstance(json.loads(sent), dict)
        assert len(sent) <= 10 * len(body) + 100_000


def one(vector: Vector) -> dict[str, Any]:
    return {"providers": [{"id": "p", **vector.config["provider"]}]}


# Nothing grows for ever


PROVIDERS: dict[str, dict[str, Any]] = {
    "qwen": {"type": "qwen", "apiTokens": ["k"], "modelMapping": {"*": "v"}},
    "concat": {"type": "qwen", "apiTokens": ["k"], "reasoningContentMode": "concat"},
    "compatible": {"type": "qwen", "apiTokens": ["k"], "qwenEnableCompatible": True, "modelMapping": {"*": "v"}},
    "openai": {"type": "openai", "modelMapping": {"*": "v"}},
    "azure": {
        "type": "azure",
        "apiTokens": ["k"],
        "azureServiceUrl": "https://r?api-version=v",
        "modelMapping": {"*": "v"},
    },
    "moonshot": {"type": "moonshot", "apiTokens": ["k"]},
}  # fmt: skip


def native(message: Any, **more: Any) -> bytes:
    choice = {"finish_reason": "null", "message": message, **more}
    return (
        b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:"
        + dump({"output": {"choices": [choice]}, "request_id": "r"})
        + b"\n\n"
    )


def compatible(delta: Any, **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": None, "delta": delta, **more}
    return b"data: " + dump({"id": "x", "model": "v", "choices": [choice]}) + b"\n\n"


def call(number: int, **function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": number, "id": "", "type": "function", "function": function}]}


ENDLESS: dict[str, Any] = {
    "text": lambda frame, n: frame({"content": f"words {n % 7} " * 20}),
    "thinking": lambda frame, n: frame({"reasoning_content": f"words {n % 7} "}),
    "nothing": lambda frame, n: frame({"content": ""}),
    "comments": lambda frame, n: b": ping\n\n",
    "choices": lambda frame, n: frame({"content": "x"}, index=n),
    "tool calls": lambda frame, n: frame(call(n, name="f", arguments="{}")),
    "arguments": lambda frame, n: frame(call(0, name="f" if n == 0 else "", arguments=f"words {n % 7} ")),
    "arguments without a name": lambda frame, n: frame(call(0, arguments=f"words {n % 7} ")),
    "a held frame": lambda frame, n: frame({"content": "ab" * min(n + 1, 2)}, index=min(n, 2) // 2),
    "usage": lambda frame, n: frame({"content": "x"}, usage={"total_tokens": n}),
}
MANY = 3_000
MOST = 100_000
"""Bytes that an exchange may keep, however long its stream is."""


def kept(value: Any, seen: set[int]) -> int:
    """About how many bytes hang on an object of ours."""
    if id(value) in seen or isinstance(value, type):
        return 0
    seen.add(id(value))
    if isinstance(value, msgspec.Raw):  # does not know its own size
        return len(bytes(value))
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(kept(k, seen) + kept(v, seen) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return size + sum(kept(v, seen) for v in value)
    if type(value).__module__.startswith("extproc") and "config" not in type(value).__module__:
        names = [n for k in type(value).__mro__ for n in getattr(k, "__slots__", ())]
        return size + sum(kept(getattr(value, n, None), seen) for n in [*names, *getattr(value, "__dict__", {})])
    return size


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_an_endless_stream_is_not_remembered(name: str, kind: str) -> None:
    play = Play(config_of({"providers": [{"id": "p", **PROVIDERS[name]}]}))
    play.request(HEAD, dump({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}), {})
    exchange = play.exchange
    exchange.handle(ResponseHeaders(SSE, False))
    frame = native if name in ("qwen", "concat") else compatible
    before = 0
    for number in range(MANY):
        reply = exchange.handle(ResponseBody(ENDLESS[kind](frame, number), False))
        assert isinstance(reply, Forward)
        assert len(reply.body or b"") < 200_000
        if number == MANY // 2:
            before = kept(exchange, set())
    after = kept(exchange, set())
    assert after < max(before * 1.1, MOST), (before, after)


def test_vectors_of_every_provider_are_fuzzed() -> None:
    types = {json.dumps(v.config).partition('"type": "')[2].partition('"')[0] for v in VECTORS}
    assert types >= {name for name, block in wording.TYPES.items() if block is not Vendor}
    assert all(answer_bytes(v) is not None for v in VECTORS)
