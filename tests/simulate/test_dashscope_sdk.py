"""DashScope's own SDK understands the native API."""

from collections.abc import Iterator
from http import HTTPStatus
import itertools
import json
from typing import Any

import dashscope
import pytest

from .conftest import KEY, Simulator

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(autouse=True)
def _pointed_at_the_simulator(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{sim.url}/api/v1")
    monkeypatch.setattr(dashscope, "api_key", KEY)
    return


def generate(text: str = "你好", **given: Any) -> Any:
    settings = {"model": "qwen-plus", "result_format": "message", "messages": [{"role": "user", "content": text}]}
    return dashscope.Generation.call(**{**settings, **given})


def message(answer: Any) -> Any:
    assert answer.status_code == HTTPStatus.OK, answer
    return answer.output.choices[0].message


def test_whole() -> None:
    answer = generate()
    assert "你说：你好" in message(answer).content
    assert answer.output.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_prompt_and_text_format() -> None:
    answer = dashscope.Generation.call(model="qwen-turbo", prompt="旧式")
    assert "你说：旧式" in answer.output.text


def test_stream_of_deltas() -> None:
    frames = list(generate(stream=True, incremental_output=True))
    whole = message(generate()).content
    assert "".join(message(frame).content for frame in frames) == whole
    assert [frame.output.choices[0].finish_reason for frame in frames] == ["null"] * (len(frames) - 1) + ["stop"]
    assert message(frames[-1]).content == ""
    assert [frame.usage.output_tokens for frame in frames][:3] == [1, 2, 3]


@pytest.mark.parametrize("given", [{}, {"incremental_output": False}])
def test_stream_of_whole_texts(given: dict[str, bool]) -> None:
    frames = list(generate(stream=True, **given))
    texts = [message(frame).content for frame in frames]
    assert texts[-1] == message(generate()).content
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))


def test_thinking() -> None:
    frames = list(generate(model="qwen3-32b", stream=True, incremental_output=True))
    assert "让我想一想" in "".join(message(frame).reasoning_content for frame in frames)
    assert "你说：你好" in "".join(message(frame).content for frame in frames)
    assert frames[-1].usage.output_tokens_details["reasoning_tokens"] > 0


def test_tools() -> None:
    whole = message(generate("查 get_weather", tools=[WEATHER]))
    [call] = whole.tool_calls
    assert call["id"] == ""
    assert json.loads(call["function"]["arguments"]) == {"city": "杭州"}
    frames = list(generate("查 get_weather", tools=[WEATHER], stream=True, incremental_output=True))
    parts = [message(frame).tool_calls[0] for frame in frames if message(frame).get("tool_calls")]
    assert "".join(part["function"]["arguments"] for part in parts) == call["function"]["arguments"]
    assert [bool(part["id"]) for part in parts] == [True] + [False] * (len(parts) - 1)
    assert frames[-1].output.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices(stream: bool) -> None:
    if not stream:
        assert [choice.index for choice in generate(n=2).output.choices] == [0, 1]
        return
    frames = list(generate(n=2, stream=True, incremental_output=True))
    assert {frame.output.choices[0].index for frame in frames} == {0, 1}


def test_multimodal() -> None:
    content = [{"image": "https://example.com/a.png"}, {"text": "看图"}]
    asked = {"model": "qwen-vl-max", "messages": [{"role": "user", "content": content}]}
    whole = dashscope.MultiModalConversation.call(**asked)
    text = message(whole).content[0]["text"]
    assert "1 张图片" in text
    assert whole.usage["image_tokens"] > 0
    assert "total_tokens" not in whole.usage
    frames = list(dashscope.MultiModalConversation.call(**asked, stream=True, incremental_output=True))
    assert "".join(part["text"] for frame in frames for part in message(frame).content) == text


def test_embeddings() -> None:
    answer = dashscope.TextEmbedding.call(model="text-embedding-v3", input=["甲", "乙"], dimension=64)
    assert [(row["text_index"], len(row["embedding"])) for row in answer.output["embeddings"]] == [(0, 64), (1, 64)]
    assert set(answer.usage) == {"total_tokens"}


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"api_key": "wrong"}, 401, "InvalidApiKey"),
        ({"top_p": 1}, 400, "InvalidParameter"),
        ({"model": "qwen3.5-plus"}, 400, "InvalidParameter"),
        ({"model": "qwq-plus"}, 400, "InvalidParameter"),
        ({"text": "[[sim:status=429]]"}, 429, "Throttling.RateQuota"),
        ({"text": "[[sim:inspect]]"}, 400, "DataInspectionFailed"),
        ({"text": "[[sim:arrearage]]"}, 400, "Arrearage"),
    ],
)
def test_errors(given: dict[str, Any], status: int, code: str) -> None:
    answer = generate(**given)
    assert (answer.status_code, answer.code) == (status, code)
    assert answer.request_id


def test_error_frame() -> None:
    frames = list(generate("[[sim:error_frame]]", stream=True, incremental_output=True))
    assert frames[0].status_code == HTTPStatus.OK
    assert (frames[-1].status_code != HTTPStatus.OK, frames[-1].code) == (True, "InternalError.Algo")
