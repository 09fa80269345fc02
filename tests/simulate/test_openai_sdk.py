"""The official OpenAI SDK understands every vendor that claims its form."""

import json
from typing import Any

import httpx
import openai
import pytest

from .conftest import KEY, Simulator, sdk

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=said("你好"))
    assert "你说：你好" in (answer.choices[0].message.content or "")
    assert "🎉" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_chat_says_the_same(client: openai.OpenAI, model: str, vendor: str) -> None:
    whole = client.chat.completions.create(model=model, messages=said("流式"))
    chunks = list(
        client.chat.completions.create(
            model=model, messages=said("流式"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    if vendor == "moonshot":
        assert chunks[-1].choices[0].usage["total_tokens"] == whole.usage.total_tokens  # type: ignore[attr-defined,union-attr]
    else:
        assert chunks[-1].choices == []
        assert chunks[-1].usage == whole.usage
    if vendor == "azure":
        assert chunks[0].choices == []
        assert chunks[0].prompt_filter_results  # type: ignore[attr-defined]
    else:
        assert chunks[0].choices[0].delta.role == "assistant"


def test_usage_is_streamed_only_when_asked(client: openai.OpenAI, model: str) -> None:
    chunks = client.chat.completions.create(model=model, messages=said("x"), stream=True)
    assert all(chunk.usage is None for chunk in chunks)


def test_tools(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": said("请用 get_weather"), "tools": [WEATHER]}
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "tool_calls"
    [call] = whole.message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "杭州", "days": 1}  # type: ignore[union-attr]
    parts = [
        c.choices[0].delta.tool_calls[0]
        for c in client.chat.completions.create(**asked, stream=True)
        if c.choices and c.choices[0].delta.tool_calls
    ]
    assert len(parts) > 3
    assert [part.id for part in parts] == [call.id] + [None] * (len(parts) - 1)
    assert "".join(p.function.arguments or "" for p in parts if p.function) == call.function.arguments  # type: ignore[union-attr]
    answered = [
        *asked["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "晴"},
    ]
    after = client.chat.completions.create(**{**asked, "messages": answered}).choices[0].message.content
    assert "工具返回：晴" in (after or "")


def test_n_stop_and_length(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=said("一二三"), n=2, max_tokens=4)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    stopped = client.chat.completions.create(model=model, messages=said("一二三"), stop=["二"])
    assert (stopped.choices[0].message.content or "").endswith("一")


def test_vision(client: openai.OpenAI, model: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content: Any = [{"type": "text", "text": "看图"}, picture, picture]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert "2 张图片" in (answer.choices[0].message.content or "")


def test_wrong_key(client: openai.OpenAI, model: str, vendor: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="wrong").chat.completions.create(model=model, messages=said("x"))
    body = caught.value.body
    assert isinstance(body, dict)
    expected = {
        "openai": {"code": "invalid_api_key", "type": "invalid_request_error"},
        "compatible": {"code": "invalid_api_key", "type": "invalid_request_error"},
        "moonshot": {"type": "invalid_authentication_error"},
        "azure": {"code": "401"},
    }[vendor]
    assert expected.items() <= body.items()


def test_embeddings(client: openai.OpenAI, vendor: str) -> None:
    name = "text-embedding-v3" if vendor == "compatible" else "moonshot-v1-embedding"
    name = name if vendor in ("compatible", "moonshot") else "text-embedding-3-small"
    packed = client.embeddings.create(model=name, input=["甲", "乙"], dimensions=8)
    plain = client.embeddings.create(model=name, input=["甲", "乙"], dimensions=8, encoding_format="float")
    assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data]
    assert [len(row.embedding) for row in plain.data] == [8, 8]


def test_models(client: openai.OpenAI, vendor: str) -> None:
    listed = [item.id for item in client.models.list()]
    assert listed
    if vendor != "azure":  # the SDK's Azure client has no GET models/{name} either
        assert client.models.retrieve(listed[0]).id == listed[0]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nobody")


def test_files(client: openai.OpenAI, vendor: str) -> None:
    content = b"abc\r\n" * 200_000
    made = client.files.create(file=("a.txt", content), purpose="batch")
    assert made.bytes == len(content)
    assert client.files.retrieve(made.id).filename == "a.txt"
    kept = client.files.content(made.id)
    if vendor == "moonshot":
        assert kept.json()["content"].startswith("abc")
    else:
        assert kept.content.startswith(b"abc\r\n")
    assert made.id in [item.id for item in client.files.list()]
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    assert client.files.retrieve("file-sim-1").bytes > 0


@pytest.mark.parametrize("base", ["/v1", "/compatible-mode/v1"])
def test_responses(sim: Simulator, base: str) -> None:
    model = "gpt-4o" if base == "/v1" else "qwen-plus"
    client = sdk(sim, base)
    whole = client.responses.create(model=model, input="你好")
    assert "你说：你好" in whole.output_text
    kinds, text = [], ""
    for event in client.responses.create(model=model, input="你好", stream=True):
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
        if event.type == "response.completed":
            assert event.response.output_text == whole.output_text
            assert event.response.model == model
    assert text == whole.output_text
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": WEATHER["function"]["parameters"]}]
    with client.responses.stream(model=model, input="get_weather", tools=tools) as stream:
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["function_call"]


def test_the_rest_of_openai(sim: Simulator) -> None:
    client = sdk(sim, "/v1")
    assert client.audio.speech.create(model="tts-1", voice="alloy", input="你好").content.startswith(b"ID3")
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF"))
    assert "4 字节" in heard.text
    assert client.moderations.create(input=["a", "b"]).results[1].flagged is False
    assert (client.images.generate(model="gpt-image-1", prompt="猫").data or [])[0].b64_json
    assert "你说：补全" in client.completions.create(model="gpt-4o", prompt="补全").choices[0].text
    pieces = client.completions.create(model="gpt-4o", prompt="补全", stream=True)
    assert "你说：补全" in "".join(piece.choices[0].text for piece in pieces)
    made = client.batches.create(input_file_id="file-sim-1", endpoint="/v1/embeddings", completion_window="24h")
    assert client.batches.cancel(made.id).status == "cancelling"


def test_azure_v1(sim: Simulator) -> None:
    headers: Any = {"api-key": KEY, "Authorization": openai.Omit()}
    client = sdk(sim, "/openai/v1")
    answer = client.chat.completions.create(model="gpt-4o", messages=said("v1"), extra_headers=headers)
    assert "你说：v1" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("whole", [True, False])
def test_compatible_thinking(sim: Simulator, whole: bool) -> None:
    client = sdk(sim, "/compatible-mode/v1")
    asked: dict[str, Any] = {"model": "qwen-plus", "messages": said("想"), "extra_body": {"enable_thinking": True}}
    if whole:
        message = client.chat.completions.create(**asked).choices[0].message
        assert "让我想一想" in message.reasoning_content  # type: ignore[attr-defined]
        return
    thoughts = ""
    for chunk in client.chat.completions.create(**asked, stream=True):
        thoughts += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
    assert "让我想一想" in thoughts


def test_moonshot_by_host(http: httpx.Client) -> None:
    answer = http.get("/v1/models", headers={"host": "api.moonshot.cn", "authorization": f"Bearer {KEY}"})
    assert "kimi-k2.5" in [item["id"] for item in answer.json()["data"]]
