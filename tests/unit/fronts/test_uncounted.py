"""Where a vendor tells no usage, or half of it, the client is told what the log has: an estimate, never zeros."""

import json
from typing import Any

import pytest

from tests.unit import messages_rules, responses_rules
from tests.unit.exchanges import HEAD, JSON, SSE
from tests.unit.player import Play, config_of

VENDOR = config_of({"providers": [{"id": "p", "type": "deepseek", "apiTokens": ["k"], "messagesApi": "convert"}]})
QUESTION = "How many tokens may a question have which is asked with so many words? 这个问题有多少个词元？"
ASKED: dict[str, dict[str, Any]] = {
    "messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": QUESTION}]},
    "responses": {"model": "m", "input": QUESTION},
}
MEMBERS = ["content", "reasoning_content", "refusal"]
SAID = "An answer of some words. 一个回答。🙂"
USAGES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "of the input": {"prompt_tokens": 7},
    "of the output": {"completion_tokens": 8},
    "of both": {"prompt_tokens": 7, "completion_tokens": 8},
}


@pytest.mark.parametrize("said", MEMBERS)
@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("front", ASKED)
def test_counts_that_a_vendor_does_not_tell(front: str, stream: bool, usage: str, said: str) -> None:
    play = Play(VENDOR)
    body = {**ASKED[front], "stream": stream}
    play.request({**HEAD, ":path": f"/v1/{front}"}, json.dumps(body).encode(), {})
    assert play.seen.upstream is not None
    known = USAGES[usage]
    last = {} if known is None else {"usage": known}
    member = "delta" if stream else "message"
    choice = {"index": 0, "finish_reason": "stop", member: {"role": "assistant", said: SAID}}
    answer = json.dumps({"id": "x", "choices": [choice], **last}).encode()
    if stream:
        play.response(SSE, [b"data: " + answer + b"\n\n", b"data: [DONE]\n\n"])
        rules = messages_rules if front == "messages" else responses_rules
        told = rules.check(play.seen.client_body)["usage"]
    else:
        play.response(JSON, [answer])
        told = json.loads(play.seen.client_body)["usage"]
    logged = play.seen.record.usage
    assert told["output_tokens"] == logged.completion_tokens
    assert told["output_tokens"] > 5
    assert logged.prompt_tokens is not None
    if front == "responses":
        assert told["input_tokens"] == logged.prompt_tokens
        assert told["total_tokens"] == told["input_tokens"] + told["output_tokens"]
    else:  # its own estimate, which `count_tokens` gives too, is the better one
        assert abs(told["input_tokens"] - logged.prompt_tokens) <= logged.prompt_tokens * 0.3
    assert logged.estimated is (usage != "of both")
