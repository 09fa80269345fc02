"""The official OpenAI SDK for Python understands every answer, whichever vendor gave it."""

import asyncio
import base64
from dataclasses import dataclass
import io
import json
from typing import Any

import httpx
import openai
from openai.lib.streaming.chat import ChunkEvent, ContentDoneEvent
import pytest

from .conftest import Sdk, Simulator
from .processes import PATIENCE, Gateway


@dataclass(frozen=True)
class Vendor:
    """A provider of `gateway.yaml`: how the simulated model calls itself, and the client's model names."""

    provider: str
    name: str
    chat: str
    upstream: str
    vision: str
    embedding: str

    def says(self, text: str) -> str:
        return f"你好！我是{self.name}（模拟） 🎉 你说：{text}"


VENDORS = [
    Vendor("qwen", "通义千问", "gpt-4o", "qwen-max", "gpt-4-vision", "text-embedding-3-small"),
    Vendor("qwen-compatible", "通义千问", "gpt-4o", "qwen-max", "gpt-4-vision", "text-embedding-3-small"),
    Vendor("openai", "GPT", "my-gpt", "gpt-4o", "gpt-4-vision", "text-embedding-3-large"),
    Vendor("openai-plain", "GPT", "gpt-4o", "gpt-4o", "gpt-4o", "text-embedding-3-small"),
    Vendor("azure-resource", "GPT（Azure）", "my-gpt", "d3", "gpt-4-vision", "text-embedding-3-small"),
    Vendor("moonshot", "Kimi", "my-kimi", "moonshot-v1-8k", "gpt-4-vision", "text-embedding-3-small"),
]
SPECIAL = [
    Vendor("azure-chat", "GPT（Azure）", "gpt-4o", "gpt-4o", "gpt-4o", "text-embedding-3-small"),
    Vendor("azure-deployment", "GPT（Azure）", "gpt-4o", "gpt-4o", "gpt-4o", "text-embedding-3-small"),
    Vendor("azure-v1", "GPT（Azure）", "my-gpt", "gpt-4o", "gpt-4o", "text-embedding-3-small"),
    Vendor("key-file", "GPT", "gpt-4o", "gpt-4o", "gpt-4o", "text-embedding-3-small"),
]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}

every_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda v: v.provider)


def user(text: Any) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("vendor", VENDORS + SPECIAL, ids=lambda v: v.provider)
def test_a_whole_chat_is_answered_under_the_name_the_client_asked_for(sdk: Sdk, vendor: Vendor) -> None:
    answer = sdk(vendor.provider).chat.completions.create(model=vendor.chat, messages=user("早上好"))
    [choice] = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == vendor.says("早上好")
    assert choice.finish_reason == "stop"
    assert choice.message.tool_calls is None
    assert answer.object == "chat.completion"
    assert answer.id
    assert answer.model == vendor.chat
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("vendor", VENDORS + SPECIAL, ids=lambda v: v.provider)
@pytest.mark.parametrize("wants_usage", [False, True], ids=["plain", "include_usage"])
def test_a_streamed_chat_adds_up_and_counts_tokens_only_when_asked(sdk: Sdk, vendor: Vendor, wants_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(
        sdk(vendor.provider).chat.completions.create(
            model=vendor.chat, messages=user("你好 👋"), stream=True, **options
        )
    )
    said = [chunk for chunk in chunks if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == vendor.says("你好 👋")
    assert said[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in said] == [None] * (len(said) - 1) + ["stop"]
    assert {chunk.model for chunk in said} == {vendor.chat}
    assert len({chunk.id for chunk in said}) == len({chunk.created for chunk in said}) == 1
    assert {chunk.object for chunk in said} == {"chat.completion.chunk"}
    counted = [chunk for chunk in chunks if chunk.usage]
    if wants_usage:
        assert counted == chunks[-1:]
        assert counted[0].usage
        assert counted[0].usage.total_tokens > 0
        assert vendor.provider == "moonshot" or counted[0].choices == []
    elif vendor.provider != "moonshot":  # Moonshot counts in its last chunk whether asked or not
        assert counted == []


@every_vendor
def test_tools_are_called_whole(sdk: Sdk, vendor: Vendor) -> None:
    answer = sdk(vendor.provider).chat.completions.create(
        model=vendor.chat, messages=user("get_weather 杭州"), tools=[WEATHER]
    )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or ()
    assert call.id
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "杭州"})


@every_vendor
def test_streamed_tool_calls_accumulate_in_the_sdk(sdk: Sdk, vendor: Vendor) -> None:
    with sdk(vendor.provider).chat.completions.stream(
        model=vendor.chat, messages=user("get_weather 和 get_time"), tools=[WEATHER, CLOCK]
    ) as stream:
        chunks = [event.chunk for event in stream if isinstance(event, ChunkEvent)]
        answer = stream.get_final_completion()
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls or []
    assert [c.function.name for c in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].function.arguments) == {"city": "杭州"}
    assert len({c.id for c in calls}) == 2
    assert all(c.id for c in calls)
    parts = [p for chunk in chunks if chunk.choices for p in chunk.choices[0].delta.tool_calls or ()]
    for index in (0, 1):
        first, *later = [p for p in parts if p.index == index]
        assert first.id
        assert first.type == "function"
        assert all(p.id is None and (p.function is None or p.function.name is None) for p in later)


@every_vendor
def test_a_conversation_with_a_tool_result_goes_on(sdk: Sdk, vendor: Vendor) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "杭州"}'}}
    messages: Any = [
        *user("get_weather"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "下雨 ☔"},
    ]
    answer = sdk(vendor.provider).chat.completions.create(model=vendor.chat, messages=messages, tools=[WEATHER])
    assert "工具返回：下雨 ☔" in (answer.choices[0].message.content or "")


@every_vendor
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_picture_of_300_kilobytes_arrives(sdk: Sdk, simulator: Simulator, vendor: Vendor, stream: bool) -> None:
    mark = f"picture {vendor.provider} {stream}"
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG" + bytes(300_000)).decode()
    content = [{"type": "text", "text": mark}, {"type": "image_url", "image_url": {"url": url}}]
    answer: Any = sdk(vendor.provider).chat.completions.create(
        model=vendor.vision, messages=user(content), stream=stream
    )
    if stream:
        text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        text = answer.choices[0].message.content
    assert "我看到了 1 张图片" in text
    assert url in json.dumps(simulator.request(mark)["body"])


@every_vendor
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_several_choices_keep_their_index(sdk: Sdk, vendor: Vendor, stream: bool) -> None:
    answer: Any = sdk(vendor.provider).chat.completions.create(
        model=vendor.chat, messages=user("两个"), n=2, stream=stream
    )
    texts = {0: "", 1: ""}
    if stream:
        for chunk in answer:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        texts = {choice.index: choice.message.content for choice in answer.choices}
    assert texts == {0: vendor.says("两个"), 1: f"{vendor.says('两个')}（第 2 个回答）"}


THINKERS = [
    ("qwen", "o1", {}),  # a model that only streams: a whole answer is gathered
    ("qwen-concat", "qwq-plus", {}),
    ("qwen-compatible", "gpt-4o", {"extra_body": {"enable_thinking": True}}),
    ("moonshot", "o1", {}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("provider", "model", "given"), THINKERS, ids=[t[0] for t in THINKERS])
def test_thinking_stays_apart_or_is_joined_as_configured(
    sdk: Sdk, provider: str, model: str, given: Any, stream: bool
) -> None:
    answer: Any = sdk(provider).chat.completions.create(model=model, messages=user("为什么"), stream=stream, **given)
    parts = [c.choices[0].delta for c in answer if c.choices] if stream else [answer.choices[0].message]
    thinking = "".join(getattr(part, "reasoning_content", None) or "" for part in parts)
    text = "".join(part.content or "" for part in parts)
    if provider == "qwen-concat":
        assert thinking == ""
        assert text.startswith("<think>让我想一想")
        assert text.count("<think>") == text.count("</think>\n") == 1
    else:
        assert thinking.startswith("让我想一想 🤔")
        assert "think" not in text
    assert text.endswith("你说：为什么")


@every_vendor
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_in_both_encodings(sdk: Sdk, vendor: Vendor, encoding: Any) -> None:
    answer = sdk(vendor.provider).embeddings.create(
        model=vendor.embedding, input=["一", "two"], encoding_format=encoding
    )
    assert [row.index for row in answer.data] == [0, 1]
    assert answer.model == vendor.embedding
    assert answer.usage.total_tokens > 0
    if encoding == "base64":
        assert all(isinstance(row.embedding, str) for row in answer.data)
    else:
        by_default = sdk(vendor.provider).embeddings.create(model=vendor.embedding, input=["一", "two"])
        for row, same in zip(answer.data, by_default.data, strict=True):  # the SDK asks for base64 and unpacks it
            assert row.embedding == pytest.approx(same.embedding, rel=1e-6)
            assert len(row.embedding) >= 1024


ERRORS: list[tuple[int, type[openai.APIStatusError]]] = [
    (400, openai.BadRequestError),
    (401, openai.InternalServerError),  # our key, not the client's: 502
    (403, openai.PermissionDeniedError),
    (404, openai.NotFoundError),
    (429, openai.RateLimitError),
    (500, openai.InternalServerError),
    (503, openai.InternalServerError),
]


@every_vendor
@pytest.mark.parametrize(("status", "kind"), ERRORS, ids=[str(status) for status, _ in ERRORS])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_vendor_error_raises_the_sdk_s_own_class(
    sdk: Sdk, vendor: Vendor, status: int, kind: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        sdk(vendor.provider).chat.completions.create(
            model=vendor.chat, messages=user(f"[[sim:status={status}]]"), stream=stream
        )
    error: Any = caught.value
    assert error.status_code == (502 if status == 401 else status)
    assert error.body["message"]
    assert error.response.headers["content-type"].startswith("application/json")
    assert error.response.headers["x-request-id"]


@every_vendor
def test_a_rate_limit_says_when_to_come_back(sdk: Sdk, vendor: Vendor) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        sdk(vendor.provider).chat.completions.create(model=vendor.chat, messages=user("[[sim:retry_after=7]]"))
    assert caught.value.response.headers["retry-after"] == "7"


@every_vendor
def test_an_error_inside_the_stream_raises(sdk: Sdk, vendor: Vendor) -> None:
    stream = sdk(vendor.provider).chat.completions.create(
        model=vendor.chat, messages=user("[[sim:error_frame=429]]"), stream=True
    )
    seen = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(stream)
    assert seen
    assert "simulated error inside the stream" in str(caught.value)
    assert all(chunk.choices[0].finish_reason is None for chunk in seen if chunk.choices)


@every_vendor
def test_a_model_that_the_vendor_lacks_is_an_error_the_sdk_knows(sdk: Sdk, vendor: Vendor) -> None:
    model = "no-such-model" if vendor.provider == "openai-plain" else "absent"
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        sdk(vendor.provider).chat.completions.create(model=model, messages=user("x"))


REFUSED: list[tuple[str, Any]] = [
    ("inspect", {"code": "content_filter"}),
    ("arrearage", {"type": "insufficient_quota"}),
]


@pytest.mark.parametrize(("marker", "expected"), REFUSED, ids=[marker for marker, _ in REFUSED])
def test_dashscope_s_refusals_carry_openai_s_words(sdk: Sdk, marker: str, expected: dict[str, str]) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        sdk("qwen").chat.completions.create(model="gpt-4o", messages=user(f"[[sim:{marker}]]"))
    body: Any = caught.value.body
    assert expected.items() <= body.items()


def test_azure_s_content_filter_keeps_its_inner_error(sdk: Sdk) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk("azure-resource").chat.completions.create(model="my-gpt", messages=user("[[sim:inspect]]"))
    body: Any = caught.value.body
    assert body["code"] == "content_filter"
    assert body["innererror"]["content_filter_result"]["hate"]["filtered"] is True


LISTS = [
    ("qwen", ["gpt-4o", "gpt-4-vision", "o1", "text-embedding-3-small", "absent"]),
    ("openai", ["my-gpt", "gpt-4-vision", "text-embedding-3-large", "absent"]),
    ("openai-plain", ["gpt-4o", "gpt-4o-mini", "gpt-5", "text-embedding-3-small", "whisper-1", "tts-1"]),
    ("qwen-concat", None),
    ("azure-deployment", ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]),
]


@pytest.mark.parametrize(("provider", "names"), LISTS, ids=[provider for provider, _ in LISTS])
def test_models_are_those_a_client_may_use(sdk: Sdk, provider: str, names: list[str] | None) -> None:
    listed = list(sdk(provider).models.list())
    assert all(model.object == "model" and model.id for model in listed)
    if names is not None:
        assert sorted(model.id for model in listed) == sorted(names)
    name = listed[0].id
    assert sdk(provider).models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError):
        sdk(provider).models.retrieve("nobody-has-this")


def test_model_lists_cost_no_vendor_call(sdk: Sdk, simulator: Simulator) -> None:
    sdk("qwen").models.list(extra_query={"mark": "no-vendor-call"})
    assert simulator.requests("no-vendor-call") == []


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "my-gpt"), ("azure-resource", "my-gpt"), ("qwen", "gpt-4o")]
)
def test_the_responses_api_streams(sdk: Sdk, provider: str, model: str) -> None:
    events: list[Any] = list(sdk(provider).responses.create(model=model, input="你好", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert {e.response.model for e in events if hasattr(e, "response")} == {model}
    deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert deltas == events[-1].response.output_text
    assert "你说：你好" in deltas


def test_the_responses_api_whole(sdk: Sdk) -> None:
    answer = sdk("openai").responses.create(model="my-gpt", input="你好")
    assert answer.model == "my-gpt"
    assert "你说：你好" in answer.output_text


@pytest.mark.parametrize("provider", ["openai", "azure-resource", "qwen", "moonshot"])
def test_an_upload_beyond_the_body_limit_streams_through(sdk: Sdk, simulator: Simulator, provider: str) -> None:
    name = f"big-{provider}.jsonl"
    size = 40 << 20 if provider == "openai" else 1 << 20
    stored = sdk(provider).files.create(file=(name, io.BytesIO(bytes(size))), purpose="batch")
    assert (stored.filename, stored.bytes) == (name, size)
    [uploaded] = [r for r in simulator.requests("/files") if r["method"] == "POST" and r["size"] > size][-1:]
    assert uploaded["status"] == 200
    assert sdk(provider).files.retrieve(stored.id).id == stored.id


def test_speech_is_binary_to_the_byte(sdk: Sdk) -> None:
    answer = sdk("openai-plain").audio.speech.create(model="tts-1", voice="alloy", input="你好")
    assert answer.content.startswith(b"ID3\x04\x00\xff\xfe")
    assert len(answer.content) == 7 + 32 * 64
    assert answer.response.headers["content-type"] == "audio/mpeg"


def test_structured_output_parses(sdk: Sdk) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    with sdk("qwen").chat.completions.stream(
        model="gpt-4o", messages=user("answer in json"), response_format=form
    ) as stream:
        done = [event for event in stream if isinstance(event, ContentDoneEvent)]
    assert json.loads(done[0].content).keys() == {"city"}


@pytest.mark.parametrize("key", [None, "sk-sim-of-the-client"])
def test_without_a_key_of_its_own_openai_gets_the_client_s(sdk: Sdk, key: str | None) -> None:
    client = sdk("openai-keyless", api_key=key or "sk-wrong")
    if key is None:
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="gpt-4o", messages=user("x"))
    else:
        assert client.chat.completions.create(model="gpt-4o", messages=user("x")).choices


PATHS = [
    ("azure-chat", "/openai/deployments/d1/chat/completions", "r1.openai.azure.com"),
    ("azure-deployment", "/openai/deployments/d2/chat/completions", "r2.openai.azure.com"),
    ("azure-resource", "/openai/deployments/gpt-4o/chat/completions", "r3.openai.azure.com"),
    ("azure-v1", "/openai/v1/chat/completions", "r4.openai.azure.com"),
    ("qwen", "/api/v1/services/aigc/text-generation/generation", "dashscope.aliyuncs.com"),
    ("qwen-compatible", "/compatible-mode/v1/chat/completions", "dashscope.aliyuncs.com"),
    ("openai-plain", "/v1/chat/completions", "api.openai.com"),
]


@pytest.mark.parametrize(("provider", "path", "host"), PATHS, ids=[row[0] for row in PATHS])
def test_the_vendor_sees_its_own_path_host_and_key_and_nothing_of_the_client(
    sdk: Sdk, simulator: Simulator, provider: str, path: str, host: str
) -> None:
    mark = f"where-{provider}"
    sdk(provider, default_headers={"x-api-key": "sk-of-the-client", "cookie": "a=b"}).chat.completions.create(
        model="gpt-4o", messages=user(mark)
    )
    seen = simulator.request(mark)
    headers = seen["headers"]
    assert (seen["path"], headers["host"]) == (path, host)
    key = headers["api-key"] if provider.startswith("azure") else headers["authorization"].removeprefix("Bearer ")
    assert key.startswith("sk-sim-PLANTED-")
    assert "client" not in json.dumps(headers)
    assert not headers.keys() & {"cookie", "x-api-key", "x-ai-proxy-cluster", "x-forwarded-for", "x-forwarded-proto"}
    assert not [name for name in headers if name.startswith(("x-envoy-", "x-ai-proxy-"))]
    assert ("api-version=2024-10-21" in seen["query"]) == (
        provider in ("azure-chat", "azure-deployment", "azure-resource")
    )


def test_all_keys_of_a_provider_are_used(sdk: Sdk, simulator: Simulator) -> None:
    for number in range(24):
        sdk("two-keys").chat.completions.create(model="qwen-max", messages=user(f"one-of-several-keys {number}"))
    keys = {r["headers"]["authorization"] for r in simulator.requests("one-of-several-keys")}
    assert keys == {"Bearer sk-sim-PLANTED-two-0001", "Bearer sk-sim-PLANTED-two-0002"}


async def test_fifty_streams_at_once_do_not_mix(gateway: Gateway) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:

        async def one(number: int) -> str:
            vendor = VENDORS[number % len(VENDORS)]
            client = openai.AsyncOpenAI(
                base_url=gateway.url,
                api_key="any",
                max_retries=0,
                http_client=http,
                default_headers={"host": f"{vendor.provider}.test"},
            )
            text = ""
            async for chunk in await client.chat.completions.create(
                model=vendor.chat, messages=user(f"第 {number} 个 [[sim:interval=0.01]]"), stream=True
            ):
                text += chunk.choices[0].delta.content or "" if chunk.choices else ""
            return text

        texts = await asyncio.gather(*map(one, range(50)))
    assert texts == [VENDORS[number % len(VENDORS)].says(f"第 {number} 个") for number in range(50)]
