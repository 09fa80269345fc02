"""Agents' libraries through the fronts: a chat, a tool that they call themselves, a stream, each on two vendors.

Of the two one speaks Messages itself.
"""

import asyncio
from typing import Any

import anthropic
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
import openai
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
import pytest

from .processes import Gateway

VENDORS = [("qwen", "gpt-4o"), ("moonshot", "my-kimi")]
every_vendor = pytest.mark.parametrize(("vendor", "model"), VENDORS, ids=[vendor for vendor, _ in VENDORS])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


def base(gateway: Gateway) -> str:
    return gateway.url.removesuffix("/v1")


def of_pydantic(gateway: Gateway, front: str, vendor: str, model: str) -> Any:
    settings: Any = {"api_key": "any", "max_retries": 0, "default_headers": {"x-vendor": vendor}}
    if front == "messages":
        claude = anthropic.AsyncAnthropic(base_url=base(gateway), **settings)
        return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=claude))
    gpt = openai.AsyncOpenAI(base_url=gateway.url, **settings)
    return OpenAIResponsesModel(model, provider=OpenAIProvider(openai_client=gpt))


@every_vendor
@pytest.mark.parametrize("front", ["messages", "responses"])
def test_pydantic_ai(gateway: Gateway, front: str, vendor: str, model: str) -> None:
    asked: list[str] = []
    agent = Agent(of_pydantic(gateway, front, vendor, model))

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "下雨 ☔"

    result = agent.run_sync("get_weather")
    assert asked == ["杭州"]
    assert "下雨 ☔" in result.output
    assert result.usage.input_tokens > 0
    assert result.usage.output_tokens > 0

    async def streamed() -> str:
        async with Agent(of_pydantic(gateway, front, vendor, model)).run_stream("你好") as stream:
            return await stream.get_output()

    assert asyncio.run(streamed()).startswith("你好")


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 下雨 ☔"


def of_langchain(gateway: Gateway, front: str, vendor: str, model: str) -> Any:
    settings: Any = {"api_key": "any", "max_retries": 0, "default_headers": {"x-vendor": vendor}}
    if front == "messages":
        return ChatAnthropic(model_name=model, base_url=base(gateway), **settings)
    return ChatOpenAI(model=model, base_url=gateway.url, use_responses_api=True, **settings)


@every_vendor
@pytest.mark.parametrize("front", ["messages", "responses"])
def test_langchain(gateway: Gateway, front: str, vendor: str, model: str) -> None:
    chat = of_langchain(gateway, front, vendor, model)
    able = chat.bind_tools([get_weather])
    called = able.invoke([HumanMessage("get_weather")])
    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "杭州"})
    assert called.usage_metadata["total_tokens"] > 0
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert "下雨 ☔" in able.invoke([HumanMessage("get_weather"), called, result]).text
    pieces = list(chat.stream("你好"))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.text.startswith("你好")
    assert whole.usage_metadata["output_tokens"] > 0
