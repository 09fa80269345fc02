"""The official Anthropic SDK for Python understands every answer, whichever vendor gave it."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from .conftest import Simulator
from .processes import PATIENCE, Gateway

VENDORS = [("qwen", "gpt-4o"), ("openai", "my-gpt"), ("openai-plain", "gpt-4o")]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

Claude = Callable[..., anthropic.Anthropic]

every_vendor = pytest.mark.parametrize(("provider", "model"), VENDORS, ids=str)


@pytest.fixture(scope="module")
def claude(gateway: Gateway) -> Iterator[Claude]:
    """The SDK, its requests taken by the route of one provider of `gateway.yaml`."""
    with anthropic.DefaultHttpxClient(trust_env=False, timeout=PATIENCE) as http:

        def client(provider: str) -> anthropic.Anthropic:
            return anthropic.Anthropic(
                base_url=gateway.url.removesuffix("/v1"),
                api_key="sk-the-client-s-own",
                max_retries=0,
                default_headers={"host": f"{provider}.test"},
                http_client=http,
            )

        yield client


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


@every_vendor
def test_a_chat_whole_and_streamed(claude: Claude, provider: str, model: str) -> None:
    client = claude(provider)
    whole = client.messages.create(model=model, max_tokens=500, messages=user("你好"))
    with client.messages.stream(model=model, max_tokens=500, messages=user("你好")) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert whole.content[0].text == text
    for message in (whole, streamed):
        assert message.model == model
        assert message.stop_reason == "end_turn"
        assert message.usage.input_tokens > 0
        assert message.usage.output_tokens > 0
    assert whole._request_id


@every_vendor
def test_tools_are_called_and_their_results_read(claude: Claude, provider: str, model: str) -> None:
    client = claude(provider)
    asked = user("get_weather 杭州")
    with client.messages.stream(model=model, max_tokens=500, messages=asked, tools=[WEATHER]) as stream:
        message = stream.get_final_message()
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use"
    assert call.name == "get_weather"
    assert isinstance(call.input, dict)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "下雨 ☔"}]}
    history = [*asked, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=model, max_tokens=500, messages=history, tools=[WEATHER])
    assert answer.stop_reason == "end_turn"
    assert "下雨 ☔" in answer.content[0].text


def test_thinking_is_a_block_of_its_own_and_may_come_back(claude: Claude) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    client = claude("qwen")
    with client.messages.stream(model="gpt-4o", max_tokens=2000, thinking=thinking, messages=user("你好")) as stream:
        message = stream.get_final_message()
    first, second = message.content
    assert first.type == "thinking"
    assert first.signature
    assert second.type == "text"
    history: Any = [*user("你好"), {"role": "assistant", "content": message.content}, *user("再见")]
    again = client.messages.create(model="gpt-4o", max_tokens=2000, thinking=thinking, messages=history)
    assert again.stop_reason == "end_turn"


def test_tokens_are_counted_and_models_listed(claude: Claude) -> None:
    client = claude("qwen")
    assert client.messages.count_tokens(model="gpt-4o", messages=user("hello there")).input_tokens == 7
    models = client.models.list()
    assert "gpt-4o" in [model.id for model in models]
    assert client.models.retrieve("gpt-4o").lifecycle == "active"


def test_errors_are_the_sdks_own(claude: Claude, simulator: Simulator) -> None:
    client = claude("qwen")
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="absent", max_tokens=5, messages=user("hi"))
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    assert refused.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: must be at least 1"):
        client.messages.create(model="gpt-4o", max_tokens=0, messages=user("hi"))
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list()
    assert not [r for r in simulator.requests("sk-the-client-s-own") if "/messages" in r["path"]]


def test_nothing_of_anthropic_s_betas_reaches_dashscope(claude: Claude) -> None:
    """What Claude Code 2.1.332 sends (run 2026-11-30), to DashScope's own Messages, which refuses all of it."""
    hour: Any = {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}
    body: Any = {
        "model": "gpt-4o",
        "max_tokens": 5000,
        "system": [{"type": "text", "text": "x-anthropic-billing-header: 1"}, {"type": "text", "text": "s", **hour}],
        "messages": [*user("你好"), {"role": "system", "content": "kurz", "output_config": {"effort": "low"}}],
        "tools": [{**WEATHER, **hour, "defer_loading": True, "eager_input_streaming": True}],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "extra_body": {"context_management": {"edits": []}, "output_config": {"effort": "low"}},
        "extra_headers": {"anthropic-beta": "context-management-2025-06-27"},
        "extra_query": {"beta": "true"},
    }
    client = claude("qwen-compatible")
    whole = client.messages.create(**body)
    with client.messages.stream(**body) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert (message.model, message.stop_reason) == ("gpt-4o", "end_turn")
