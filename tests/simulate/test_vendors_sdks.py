"""The vendors' own SDKs against the stand-ins: what they cannot send, or cannot read, is no such vendor."""

import base64
from collections.abc import Iterator
import json
from typing import Any

import anthropic
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from google import genai
from google.genai import errors as google_errors
from google.genai import types
import httpx
import pytest

from extproc.simulate import aws
from tests.contract.processes import PATIENCE
from tests.simulate.conftest import KEY, Simulator

CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FACES = "你好"


# Anthropic


@pytest.fixture(scope="module")
def claude(sim: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.DefaultHttpxClient(trust_env=False, timeout=PATIENCE) as http:
        yield anthropic.Anthropic(base_url=sim.url, api_key=KEY, max_retries=0, http_client=http)


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


MOST: Any = {"model": "claude-sonnet-5-5", "max_tokens": 2000}
BUDGET: Any = {"model": "claude-haiku-4-5", "max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 1024}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_anthropics_sdk(claude: anthropic.Anthropic, stream: bool) -> None:
    def ask(**body: Any) -> Any:
        if not stream:
            return claude.messages.create(**body)
        with claude.messages.stream(**body) as events:
            return events.get_final_message()

    message = ask(**MOST, messages=said(FACES))
    assert (message.content[0].text[:2], message.stop_reason) == (FACES, "end_turn")
    assert message.usage.output_tokens > 3
    thought = ask(**BUDGET, messages=said("hi"))
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert thought.content[0].signature
    tool: Any = {"name": "get_weather", "input_schema": CITY}
    called = ask(**MOST, messages=said("get_weather"), tools=[tool], tool_choice={"type": "auto"})
    assert called.stop_reason == "tool_use"
    use = called.content[-1]
    assert (use.name, use.input) == ("get_weather", {"city": "杭州"})
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}
    history = [*said("get_weather"), {"role": "assistant", "content": called.content}, result]
    assert "sunny" in ask(**MOST, messages=history, tools=[tool]).content[0].text
    with pytest.raises(anthropic.RateLimitError, match="simulated error 429"):
        ask(**MOST, messages=said("[[sim:status=429]]"))


def test_anthropics_errors(claude: anthropic.Anthropic) -> None:
    wrong: list[tuple[Any, str]] = [
        ({**MOST, "extra_body": {"temperature": 0.5}, "messages": said("a")}, "sampling"),
        ({**MOST, "messages": said(" ")}, "non-whitespace"),
        ({**MOST, "messages": [*said("a"), {"role": "assistant", "content": "b"}]}, "prefill"),
        ({**MOST, "messages": [{"role": "assistant", "content": "b"}]}, "first message"),
        ({**MOST, "messages": said("a"), "stop_sequences": [" "]}, "stop_sequences"),
        ({**MOST, "max_tokens": 200_000, "messages": said("a"), "timeout": 9}, "128000"),
        ({**BUDGET, "tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": CITY}],
          "messages": said("a")}, "Thinking may not"),
        ({**MOST, "tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": CITY}],
          "messages": said("a")}, "forced tool use"),
        ({**MOST, "tools": [{"name": "a.b", "input_schema": CITY}], "messages": said("a")}, "pattern"),
    ]  # fmt: skip
    for body, words in wrong:
        with pytest.raises(anthropic.BadRequestError, match=words):
            claude.messages.create(**body)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="gpt-4o", max_tokens=3, messages=said("a"))
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="sk-other").messages.create(**MOST, messages=said("a"))
    with (
        pytest.raises(anthropic.APIStatusError, match="inside the stream"),
        claude.messages.stream(**MOST, messages=said("[[sim:error_frame]]")) as events,
    ):
        events.until_done()


# Google


@pytest.fixture(scope="module")
def google(sim: Simulator) -> genai.Client:
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=sim.url))


FLASH = "gemini-3.8-flash"
WEATHER = types.Tool(function_declarations=[types.FunctionDeclaration(name="get_weather", parameters_json_schema=CITY)])
ANY = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_googles_sdk(google: genai.Client, stream: bool) -> None:
    def ask(contents: Any, **config: Any) -> list[Any]:
        given = types.GenerateContentConfig(**config)
        if stream:
            return list(google.models.generate_content_stream(model=FLASH, contents=contents, config=given))
        return [google.models.generate_content(model=FLASH, contents=contents, config=given)]

    def parts(answers: list[Any]) -> list[Any]:
        return [part for one in answers for part in one.candidates[0].content.parts]

    told = ask(FACES, system_instruction="Be brief.", temperature=0.5)
    assert "".join(part.text for part in parts(told)).startswith(FACES)
    assert told[-1].candidates[0].finish_reason == "STOP"
    assert told[-1].usage_metadata.candidates_token_count > 3
    thought = ask("hi", thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level="low"))
    assert any(part.thought for part in parts(thought))
    assert thought[-1].usage_metadata.thoughts_token_count
    called = ask("get_weather", tools=[WEATHER], tool_config=ANY)
    (call,) = [part for part in parts(called) if part.function_call]
    assert call.function_call.args == {"city": "杭州"}
    assert call.thought_signature
    user = types.Content(role="user", parts=[types.Part(text="get_weather")])
    response = types.FunctionResponse(id=call.function_call.id, name="get_weather", response={"sky": "sunny"})
    turns = [user, types.Content(role="model", parts=[call]),
             types.Content(role="user", parts=[types.Part(function_response=response)])]  # fmt: skip
    assert "sunny" in "".join(part.text or "" for part in parts(ask(turns, tools=[WEATHER])))
    with pytest.raises(google_errors.ClientError, match="RESOURCE_EXHAUSTED"):
        ask("[[sim:status=429]]")


def test_googles_errors_and_embeddings(google: genai.Client, sim: Simulator) -> None:
    called = types.Part(function_call=types.FunctionCall(name="f", args={}))
    back = types.Part(function_response=types.FunctionResponse(name="f", response={}))
    says = [("user", types.Part(text="a")), ("model", called), ("user", back)]
    turns: Any = [types.Content(role=role, parts=[part]) for role, part in says]
    with pytest.raises(google_errors.ClientError, match="thought_signature"):
        google.models.generate_content(model=FLASH, contents=turns)
    other = genai.Client(api_key="other", http_options=types.HttpOptions(base_url=sim.url))
    with pytest.raises(google_errors.ClientError, match="API key not valid"):
        other.models.generate_content(model=FLASH, contents="a")
    told = google.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert [len(one.values or ()) for one in told.embeddings or ()] == [8, 8]
    raw = httpx.post(
        f"{sim.url}/v1beta/models/{FLASH}:generateContent",
        headers={"x-goog-api-key": KEY},
        json={"contents": [{"parts": [{"text": "a"}]}], "max_tokens": 3},
        trust_env=False,
        timeout=PATIENCE,
    )
    assert (raw.status_code, "Cannot find field" in raw.text) == (400, True)


# Amazon

NOVA = "amazon.nova-pro-v1:0"
PAIR = {"aws_access_key_id": next(iter(aws.SECRETS)), "aws_secret_access_key": next(iter(aws.SECRETS.values()))}


def bedrock(sim: Simulator, **keys: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    return boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=sim.url, config=config, **(keys or PAIR)
    )


def gathered(response: Any) -> tuple[str, str, dict[str, str], dict[str, int]]:
    """A stream's text, stop reason, the name and arguments of its call, and its usage."""
    text, call, stop, usage = "", {"name": "", "input": ""}, "", {}
    for event in response["stream"]:
        if delta := event.get("contentBlockDelta", {}).get("delta"):
            text += delta.get("text", "")
            call["input"] += delta.get("toolUse", {}).get("input", "")
        if start := event.get("contentBlockStart"):
            call |= {"name": start["start"]["toolUse"]["name"], "id": start["start"]["toolUse"]["toolUseId"]}
        stop = event.get("messageStop", {}).get("stopReason", stop)
        usage = event.get("metadata", {}).get("usage", usage)
    return text, stop, call, usage


def turn(text: str) -> Any:
    return {"role": "user", "content": [{"text": text}]}


def test_amazons_sdk(sim: Simulator) -> None:
    client = bedrock(sim)
    whole = client.converse(modelId=NOVA, messages=[turn(FACES)], inferenceConfig={"temperature": 0.5})
    assert whole["output"]["message"]["content"][0]["text"].startswith(FACES)
    text, stop, _, usage = gathered(client.converse_stream(modelId=NOVA, messages=[turn(FACES)]))
    assert (text[:2], stop, usage["inputTokens"] > 0) == (FACES, "end_turn", True)
    tools = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}], "toolChoice": {"any": {}}}
    asked = client.converse_stream(modelId=NOVA, messages=[turn("get_weather")], toolConfig=tools)
    _, stop, call, _ = gathered(asked)
    assert (stop, call["name"], json.loads(call["input"])) == ("tool_use", "get_weather", {"city": "杭州"})
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-5-5"
    thinking = {"thinking": {"type": "adaptive"}}
    thought = client.converse(modelId=arn, messages=[turn("hi")], additionalModelRequestFields=thinking)
    assert "reasoningContent" in thought["output"]["message"]["content"][0]


def test_amazons_errors(sim: Simulator) -> None:
    client = bedrock(sim)
    used: Any = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]}
    back: Any = {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "b"}]}}]}
    for messages, words in (
        ([turn("a"), turn("b")], "alternate"),
        ([turn("")], "blank"),
        ([turn("a"), used, back], "toolConfig"),
    ):
        with pytest.raises(ClientError, match=words) as refused:
            client.converse(modelId=NOVA, messages=messages)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(client.exceptions.ThrottlingException):
        client.converse(modelId=NOVA, messages=[turn("[[sim:status=429]]")])
    with pytest.raises(EventStreamError, match="inside the stream"):
        gathered(client.converse_stream(modelId=NOVA, messages=[turn("[[sim:error_frame=429]]")]))
    wrong = bedrock(sim, aws_access_key_id=PAIR["aws_access_key_id"], aws_secret_access_key="other")
    with pytest.raises(ClientError, match="does not match"):
        wrong.converse(modelId=NOVA, messages=[turn("a")])
    for key, status in ((KEY, 200), ("other", 403)):  # by a bearer key, which the SDK sends over TLS alone
        names = {"authorization": f"Bearer {key}"}
        url = f"{sim.url}/model/amazon.nova-pro-v1%3A0/converse"
        assert (
            httpx.post(
                url, headers=names, json={"messages": [turn("a")]}, trust_env=False, timeout=PATIENCE
            ).status_code
            == status
        )


def test_an_image_is_seen(sim: Simulator) -> None:
    image: Any = {"image": {"format": "png", "source": {"bytes": base64.b64decode("iVBORw0KGgo=")}}}
    answer = bedrock(sim).converse(modelId=NOVA, messages=[{"role": "user", "content": [image, {"text": "a"}]}])
    assert "1 张图片" in answer["output"]["message"]["content"][0]["text"]
