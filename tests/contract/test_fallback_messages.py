"""Anthropic's SDK on a route whose first vendor, native qwen, fails: OpenAI answers, the client sees one message."""

from collections.abc import Iterator
import json
from typing import Any

import anthropic
import pytest

from .processes import Gateway
from .scripted import Reply, Vendor
from .test_anthropic_sdk import WEATHER, user
from .test_fallback import FAILURES, first, running, second, streamed_or_not, vendors

__all__ = ["first", "running", "second", "vendors"]  # fixtures

THOUGHT = [
    *user("get_weather 杭州"),
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "要查天气", "signature": "YWktcHJveHk6x"},
            {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "杭州"}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "下雨 ☔"}]},
]


@pytest.fixture(scope="module")
def claude(running: Gateway) -> Iterator[Any]:
    """The SDK, by the host that names a route."""
    with anthropic.DefaultHttpxClient(trust_env=False, timeout=60) as http:

        def client(host: str) -> anthropic.Anthropic:
            return anthropic.Anthropic(
                base_url=running.url.removesuffix("/v1"),
                api_key="sk-the-client-s-own",
                max_retries=0,
                default_headers={"host": f"{host}.test", "anthropic-beta": "context-management-2025-06-27"},
                http_client=http,
            )

        yield client


def asked(client: anthropic.Anthropic, *, stream: bool, **given: Any) -> tuple[Any, Any]:
    """The message, and the headers that it came with."""
    body: Any = {"model": "gpt-4o", "max_tokens": 500, **given}
    if not stream:
        raw = client.messages.with_raw_response.create(**body)
        return raw.parse(), raw.headers
    with client.messages.stream(**body) as events:
        return events.get_final_message(), events.response.headers


@streamed_or_not
@pytest.mark.parametrize("failure", FAILURES)
def test_openai_answers_for_qwen(claude: Any, first: Vendor, failure: str, stream: bool) -> None:
    first.reply = FAILURES[failure]
    message, headers = asked(claude("two"), stream=stream, messages=user("你好 🐉"))
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text.endswith("你说：你好 🐉")
    assert (message.model, message.stop_reason) == ("gpt-4o", "end_turn")
    assert min(message.usage.input_tokens, message.usage.output_tokens) > 0
    assert (headers["x-ai-provider"], headers["x-ai-attempts"]) == ("openai", "2")
    assert headers["request-id"]
    [sent] = first.requests
    assert sent.path == "/api/v1/services/aigc/text-generation/generation"
    assert json.loads(sent.body)["input"]["messages"] == [{"role": "user", "content": "你好 🐉"}]


@streamed_or_not
def test_a_call_of_the_second_vendor(claude: Any, first: Vendor, stream: bool) -> None:
    first.reply = Reply(503)
    message, _ = asked(claude("two"), stream=stream, messages=user("get_weather 杭州"), tools=[WEATHER])
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert (call.name, message.stop_reason) == ("get_weather", "tool_use")
    assert isinstance(call.input, dict)


def test_each_vendor_gets_the_client_s_own_words(claude: Any, first: Vendor, second: Vendor) -> None:
    """Nothing that the attempt before made of them."""
    first.reply = Reply(503)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    system = [{"type": "text", "text": "简短"}]
    more = {"thinking": thinking, "max_tokens": 2000, "system": system, "extra_body": {"top_k": 5}}
    message, headers = asked(claude("seen"), stream=False, messages=THOUGHT, tools=[WEATHER], **more)
    assert (message.content[0].text, headers["x-ai-provider"]) == ("二", "second")
    assert headers["x-ai-dropped"] == "top_k,thinking"
    one, two = json.loads(first.requests[0].body), json.loads(second.requests[0].body)
    assert one["parameters"]["thinking_budget"] == 1024
    assert one["parameters"]["top_k"] == 5
    [system, question, call, result] = two["messages"]
    assert (system, question) == ({"role": "system", "content": "简短"}, THOUGHT[0])
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"city": "杭州"}
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "下雨 ☔"}
    assert call.keys() == {"role", "content", "tool_calls"}
    assert two.keys() == {"model", "max_tokens", "messages", "tools"}
    for request in (first.requests[0], second.requests[0]):
        assert not [name for name in request.headers if name.startswith("anthropic") or name == "x-api-key"]
        assert "client-s-own" not in request.headers["authorization"]


def test_when_no_vendor_answers_the_error_is_anthropic_s(claude: Any, first: Vendor, second: Vendor) -> None:
    first.reply = Reply(503)
    second.reply = Reply(429, (b'{"error": {"message": "slow down", "type": "rate_limit_error"}}',))
    with pytest.raises(anthropic.RateLimitError) as refused:
        asked(claude("seen"), stream=False, messages=user("x"))
    assert refused.value.body["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert refused.value.response.headers["retry-after"] == "1"
    assert refused.value.request_id
