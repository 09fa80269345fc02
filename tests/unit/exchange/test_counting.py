"""Use is always known: an estimate with the request, a running value with the answer, the vendor's word at last."""

import json
from typing import Any

import pytest

from extproc.exchange.exchange import Exchange
from extproc.terms.events import Forward, ResponseBody, ResponseHeaders
from tests.unit.exchange.test_watched import COUNTED, MAPPED, NATIVE, OPENAI, ORIGINAL, QWEN, sent
from tests.unit.exchanges import JSON, SSE, STREAMED, VIA
from tests.unit.vectors import dump, frames

CLAUDE = {"type": "claude", "apiTokens": ["sk-a"]}
TEXTS = ("a", "The quick brown fox jumps over the lazy dog. ", "a", "b")
CHOICES = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in TEXTS]
PIECES = [b"data: " + dump({"id": "c", "model": "v", "choices": [choice]}) + b"\n\n" for choice in CHOICES]
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":40,"total_tokens":70}}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def opened(exchange: Exchange, head: dict[str, str]) -> None:
    exchange.handle(ResponseHeaders({":status": "200", **head}, False, VIA))


def counts(exchange: Exchange, chunk: bytes) -> tuple[int, int, int] | None:
    reply = exchange.handle(ResponseBody(chunk, False))
    assert isinstance(reply, Forward)
    assert not reply.metadata
    return reply.counts


def asked(play: Any) -> Any:
    """What Envoy is told with the request."""
    return {n: v for n, v in play.seen.metadata.items() if "token" in n or n == "estimated"}


@pytest.mark.parametrize("provider", [OPENAI, COUNTED, MAPPED, QWEN, CLAUDE], ids=lambda p: p["type"])
def test_an_estimate_goes_with_the_request(provider: dict[str, Any]) -> None:
    play = sent(provider, STREAMED)
    told = asked(play)
    assert told["prompt_tokens"] == told["total_tokens"] > 0
    assert told["estimated"] is True
    assert play.exchange.record.usage.estimated


@pytest.mark.parametrize("provider", [OPENAI, COUNTED, MAPPED], ids=["unasked", "counted", "renamed"])
def test_a_running_value_goes_with_every_piece_that_changes_it(provider: dict[str, Any]) -> None:
    play = sent(provider, STREAMED)
    opened(play.exchange, SSE)
    before = play.exchange.record.usage.prompt_tokens
    seen = [counts(play.exchange, piece) for piece in PIECES]
    outputs = [output for _, output, _ in filter(None, seen)]
    assert len(outputs) == len(PIECES)
    assert outputs == sorted(outputs)
    assert 10 <= outputs[1] <= 16
    assert all(prompt == before and total == prompt + output for prompt, output, total in filter(None, seen))
    assert counts(play.exchange, b": ping\n\n") is None
    assert counts(play.exchange, FINISH[:20]) is None
    counts(play.exchange, FINISH[20:])
    assert counts(play.exchange, USAGE) == (30, 40, 70)
    reply = play.exchange.handle(ResponseBody(DONE, True))
    assert reply.metadata["total_tokens"] == 70
    assert reply.metadata["estimated"] is False


@pytest.mark.parametrize("provider", [OPENAI, COUNTED, MAPPED], ids=["unasked", "counted", "renamed"])
def test_what_is_cut_is_estimated(provider: dict[str, Any]) -> None:
    play = sent(provider, STREAMED)
    opened(play.exchange, SSE)
    for piece in PIECES:
        counts(play.exchange, piece)
    play.exchange.close()
    usage = play.exchange.record.usage
    assert usage.estimated
    assert 12 <= (usage.completion_tokens or 0) <= 20
    assert usage.total_tokens == (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


def test_what_the_vendor_told_before_a_cut_counts() -> None:
    play = sent(OPENAI, STREAMED)
    opened(play.exchange, SSE)
    for piece in (*PIECES, FINISH, USAGE):
        counts(play.exchange, piece)
    play.exchange.close()
    assert (play.exchange.record.usage.total_tokens, play.exchange.record.usage.estimated) == (70, False)


def test_anthropic_says_one_token_before_the_answer_has_begun() -> None:
    play = sent(CLAUDE, STREAMED)
    opened(play.exchange, SSE)
    begun = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}}
    said = {"type": "text_delta", "text": "The quick brown fox. "}
    piece = {"type": "content_block_delta", "index": 0, "delta": said}
    chunk = b"".join(b"data: " + dump(event) + b"\n\n" for event in (begun, piece, piece))
    assert counts(play.exchange, chunk) == (7, 12, 19)
    play.exchange.close()
    usage = play.exchange.record.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (7, 12, True)


def test_what_comes_behind_the_vendors_count_is_in_it_if_the_answer_ends_well() -> None:
    """OpenAI-compatible servers tell their use with the finish, or before it (vLLM with continuous usage, 2026)."""
    play = sent(COUNTED, STREAMED)
    opened(play.exchange, SSE)
    for piece in (PIECES[0], USAGE, PIECES[1], FINISH):
        play.exchange.handle(ResponseBody(piece, False))
    play.exchange.handle(ResponseBody(DONE, True))
    usage = play.exchange.record.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (30, 40, False)


@pytest.mark.parametrize("provider", [QWEN, ORIGINAL], ids=["converted", "original"])
def test_frames_that_count_themselves_are_not_estimated(provider: dict[str, Any]) -> None:
    body = {"model": "m", "input": {"messages": []}} if provider is ORIGINAL else STREAMED
    play = sent(provider, body, NATIVE) if provider is ORIGINAL else sent(provider, body)
    opened(play.exchange, SSE)
    said = frames([{"m": {"content": "你好"}, "usage": {"input_tokens": 10, "output_tokens": 2}}])
    assert counts(play.exchange, said) == (10, 2, 12)
    play.exchange.close()
    assert (play.exchange.record.usage.total_tokens, play.exchange.record.usage.estimated) == (12, False)


@pytest.mark.parametrize("status", [400, 429, 503])
def test_what_was_refused_has_used_nothing(status: int) -> None:
    play = sent(OPENAI, STREAMED)
    play.exchange.handle(ResponseHeaders({**JSON, ":status": str(status)}, False, VIA))
    reply = play.exchange.handle(ResponseBody(b'{"error":{"message":"no","type":"t"}}', True))
    told = {name: reply.metadata[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens", "estimated")}
    assert told == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "estimated": False}
    assert play.exchange.record.usage.total_tokens is None


def test_a_client_who_leaves_before_the_answer_is_charged_what_it_asked() -> None:
    play = sent(OPENAI, STREAMED)
    play.exchange.close()
    usage = play.exchange.record.usage
    assert usage.prompt_tokens == usage.total_tokens
    assert usage.estimated


def test_off_counts_nothing() -> None:
    play = sent({**OPENAI, "usage": {"passed": "off"}}, STREAMED)
    assert asked(play) == {}
    play.response(SSE, [*PIECES, FINISH, DONE])
    assert play.exchange.record.usage.total_tokens is None


def test_numbers_of_metadata_are_whole_and_not_negative() -> None:
    play = sent(OPENAI, {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    answer = {"choices": [], "usage": {"prompt_tokens": -4, "completion_tokens": 2.5, "total_tokens": 1e40}}
    play.response(JSON, [json.dumps(answer).encode()])
    told = {name: value for name, value in play.seen.metadata.items() if name.endswith("tokens")}
    assert told
    assert all(type(value) is int and value >= 0 for value in told.values())
