"""The official OpenAI SDK's Responses helpers, on vendors that have chat alone: every answer is one that it reads."""

from typing import Any

import httpx
import openai
from openai.types.responses import Response
import pytest

from .conftest import Sdk, Simulator

VENDORS = [("qwen", "gpt-4o", "通义千问"), ("openai-chat", "my-gpt", "GPT"), ("moonshot", "my-kimi", "Kimi")]
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PATCH: Any = {"type": "custom", "name": "patch", "description": "Edits a file."}
every_vendor = pytest.mark.parametrize(("vendor", "model", "name"), VENDORS, ids=[v for v, _, _ in VENDORS])


def streamed(client: openai.OpenAI, **asked: Any) -> tuple[Response, list[Any]]:
    """The final response as the SDK puts it together, and the events."""
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        return stream.get_final_response(), events


@every_vendor
def test_whole_and_streamed_say_the_same(sdk: Sdk, vendor: str, model: str, name: str) -> None:
    client = sdk(vendor)
    asked: dict[str, Any] = {"model": model, "input": "早上好", "instructions": "请用中文", "metadata": {"a": "b"}}
    whole = client.responses.create(**asked)
    final, events = streamed(client, **asked)
    assert whole.output_text == final.output_text == f"你好！我是{name}（模拟） 🎉 你说：早上好"
    for answer in (whole, final):
        assert (answer.status, answer.model, answer.error) == ("completed", model, None)
        assert (answer.instructions, answer.metadata, answer.store) == ("请用中文", {"a": "b"}, False)
        assert answer.usage
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
        Response.model_validate(answer.model_dump(), strict=False)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))


@every_vendor
def test_a_tool_and_its_result(sdk: Sdk, vendor: str, model: str, name: str) -> None:
    client = sdk(vendor)
    said: Any = [{"role": "user", "content": "use the tool get_weather"}]
    final, _ = streamed(client, model=model, input=said, tools=[TOOL])
    [call] = [item for item in final.output if item.type == "function_call"]
    assert (call.name, call.arguments) == ("get_weather", '{"city": "杭州"}')
    assert call.call_id
    back = [*said, *(item.to_dict() for item in final.output)]
    back.append({"type": "function_call_output", "call_id": call.call_id, "output": "晴"})
    answer = client.responses.create(model=model, input=back, tools=[TOOL])
    assert "工具返回：晴" in answer.output_text


@every_vendor
def test_a_freeform_tool(sdk: Sdk, vendor: str, model: str, name: str) -> None:
    asked: dict[str, Any] = {"model": model, "input": "use the tool patch", "tools": [PATCH]}
    final, events = streamed(sdk(vendor), **asked)
    [call] = [item for item in final.output if item.type == "custom_tool_call"]
    assert (call.name, call.input) == ("patch", "杭州")
    assert "".join(e.delta for e in events if e.type == "response.custom_tool_call_input.delta") == "杭州"
    whole = sdk(vendor).responses.create(**asked)
    assert [item.input for item in whole.output if item.type == "custom_tool_call"] == ["杭州"]


def test_thinking_comes_back_and_is_carried(sdk: Sdk, simulator: Simulator) -> None:
    client = sdk("qwen")
    asked: dict[str, Any] = {"model": "qwen-plus", "input": "想一想", "reasoning": {"effort": "high"}}
    final, _ = streamed(client, include=["reasoning.encrypted_content"], **asked)
    thought, message = final.output
    assert thought.type == "reasoning"
    assert thought.content
    assert thought.content[0].text.startswith("让我想一想")
    assert thought.encrypted_content
    assert message.type == "message"
    assert [item.type for item in client.responses.create(**asked).output] == ["reasoning", "message"]


def test_structured_output(sdk: Sdk) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form: Any = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    answer = sdk("openai-chat").responses.create(model="my-gpt", input="JSON 杭州", text=form)
    assert answer.output_text == '{"city": "JSON 杭州"}'


@pytest.mark.parametrize("vendor", ["qwen", "openai-chat"])
def test_refusals_before_the_answer(sdk: Sdk, vendor: str) -> None:
    client = sdk(vendor)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input="hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.RateLimitError) as limited:
        client.responses.create(model="gpt-4o", input="[[sim:status=429,retry_after=7]] hi", stream=True)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


@pytest.mark.parametrize("fault", ["error_frame", "end", "badjson"])
@pytest.mark.parametrize("vendor", ["qwen", "openai-chat"])
def test_a_failure_in_the_stream_is_told_and_never_looks_complete(sdk: Sdk, vendor: str, fault: str) -> None:
    """Python's SDK gives both events as they are."""
    types = []
    with sdk(vendor).responses.create(model="gpt-4o", input=f"[[sim:{fault}]] 你好", stream=True) as stream:
        try:
            types = [event.type for event in stream]
        except (openai.APIError, httpx.HTTPError):
            return
    assert types[-2:] == ["error", "response.failed"]


def test_what_is_not_sent_is_told(sdk: Sdk) -> None:
    raw = sdk("openai-chat").responses.with_raw_response.create(
        model="my-gpt", input="hi", truncation="auto", tools=[{"type": "web_search"}]
    )
    assert raw.headers["x-ai-dropped"] == "truncation,tools.web_search"


def test_an_image_reaches_the_vendor(sdk: Sdk, simulator: Simulator) -> None:
    content: Any = [
        {"type": "input_text", "text": "看 mark-responses-image"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
    ]
    answer = sdk("qwen").responses.create(model="gpt-4-vision", input=[{"role": "user", "content": content}])
    assert "我看到了 1 张图片" in answer.output_text
