"""OpenAI's own SDK against every protocol of its own: through the core, to stand-ins as strict as documented.

What OpenAI takes must be taken: whatever a history looks like, the stand-in refuses none of it.
"""

from collections.abc import Mapping
import json
from typing import Any

import httpx
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
import pytest

from extproc.simulate import aws
from tests.unit.providers.test_vendor_suite import KEY, Gateway

ACCOUNT = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": "x", "token_uri": "https://t"})
_PAIR = next(iter(aws.SECRETS.items()))
_VERTEX = {"type": "vertex", "vertexAuthKey": ACCOUNT, "vertexProjectId": "p-1"}
_SIGNED = {"type": "bedrock", "awsRegion": "us-east-1", "awsAccessKey": _PAIR[0], "awsSecretKey": _PAIR[1]}
_BEARER = {"type": "bedrock", "awsRegion": "eu-west-1", "apiTokens": [KEY]}
PLACES: Mapping[str, tuple[dict[str, Any], str]] = {
    "claude": ({"type": "claude", "apiTokens": [KEY]}, "claude-sonnet-5-5"),
    "claude, always thinks": ({"type": "claude", "apiTokens": [KEY]}, "claude-opus-5-5"),
    "claude, with a budget": ({"type": "claude", "apiTokens": [KEY]}, "claude-haiku-4-5"),
    "claude, either": ({"type": "claude", "apiTokens": [KEY]}, "claude-opus-4-6"),
    "gemini": ({"type": "gemini", "apiTokens": [KEY]}, "gemini-3.8-flash"),
    "gemini, old": ({"type": "gemini", "apiTokens": [KEY]}, "gemini-2.5-flash"),
    "vertex": (_VERTEX, "gemini-3.8-flash"),
    "vertex, region": ({**_VERTEX, "vertexRegion": "europe-west4"}, "gemini-3.8-flash"),
    "vertex, express": ({"type": "vertex", "apiTokens": [KEY]}, "gemini-3.8-flash"),
    "vertex, claude": ({**_VERTEX, "vertexRegion": "us"}, "claude-sonnet-5-5"),
    "vertex, old claude": ({**_VERTEX, "vertexRegion": "us-east5"}, "claude-haiku-4-5@20251001"),
    "bedrock, signed": (_SIGNED, "amazon.nova-pro-v1:0"),
    "bedrock, claude": (_BEARER, "eu.anthropic.claude-sonnet-5-5"),
    "bedrock, old claude": (_SIGNED, "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    "bedrock, arn": (_SIGNED, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5"),
}
everywhere = pytest.mark.parametrize(("provider", "model"), PLACES.values(), ids=list(PLACES))
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Client:
    """The SDK at one place, whole or streamed: what it made of an answer."""

    def __init__(self, provider: Mapping[str, Any], model: str, *, stream: bool = False) -> None:
        http = httpx.Client(transport=Gateway(provider))
        self.sdk = openai.OpenAI(base_url="http://g/v1", api_key="the-client-s", max_retries=0, http_client=http)
        self.model, self.stream = model, stream

    def ask(self, messages: Any, **body: Any) -> Any:
        """The answer's choice, usage beside it."""
        given: Any = {"model": self.model, "messages": messages, **body}
        if not self.stream:
            answer: Any = self.sdk.chat.completions.create(**given)
        else:
            given.pop("stream", None)
            # The SDK's helper wants strict tools; chunks put together by its own accumulator
            state: Any = ChatCompletionStreamState()
            options: Any = {"include_usage": True}
            for chunk in self.sdk.chat.completions.create(**given, stream=True, stream_options=options):
                state.handle_chunk(chunk)
            answer = state.get_final_completion()
        assert answer.model == self.model
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
        return answer.choices[0]


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


@everywhere
@both
def test_a_chat(provider: dict[str, Any], model: str, stream: bool) -> None:
    choice = Client(provider, model, stream=stream).ask(user("你好 🎉"), temperature=0.7, top_p=1, max_tokens=4000,
                                                        presence_penalty=0, frequency_penalty=0)  # fmt: skip
    assert choice.message.content.endswith("你说：你好 🎉")
    assert choice.finish_reason == "stop"


@everywhere
@both
def test_tools(provider: dict[str, Any], model: str, stream: bool) -> None:
    client = Client(provider, model, stream=stream)
    odd: Any = {"type": "function", "function": {"name": "f.g", "description": ""}}
    choice = client.ask(user("f.g and get_weather"), tools=[WEATHER, odd], parallel_tool_calls=True)
    assert choice.finish_reason == "tool_calls"
    calls = {call.function.name: json.loads(call.function.arguments) for call in choice.message.tool_calls}
    assert calls == (
        {"get_weather": {"city": "杭州"}, "f.g": {}} if len(calls) == 2 else {"get_weather": {"city": "杭州"}}
    )
    said: Any = {
        "role": "assistant",
        "tool_calls": [call.model_dump(include={"id", "type", "function"}) for call in choice.message.tool_calls],
    }
    back = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in reversed(said["tool_calls"])]
    again = client.ask([*user("get_weather"), said, *back], tools=[WEATHER, odd])
    assert "sunny" in again.message.content


@everywhere
@both
def test_thinking_and_forced_tools(provider: dict[str, Any], model: str, stream: bool) -> None:
    client = Client(provider, model, stream=stream)
    choice = client.ask(user("hi"), reasoning_effort="high", temperature=0.3)
    assert choice.message.reasoning_content.startswith("让我想一想")
    assert choice.message.content.startswith("你好")
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    for chosen in ("required", named, "auto", "none"):
        for effort in ({}, {"reasoning_effort": "low"}, {"reasoning_effort": "none"}):
            client.ask(user("hi"), tools=[WEATHER], tool_choice=chosen, parallel_tool_calls=False, **effort)


CALL = {"id": "call_1|x/y", "type": "function", "function": {"name": "f.g", "arguments": ""}}
OTHER = {"id": "call_2", "type": "function", "function": {"name": "h", "arguments": '{"a": 1}'}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
HISTORIES: Mapping[str, Any] = {
    "an assistant first": [{"role": "assistant", "content": "Welcome!"}, *user("hi")],
    "a system turn alone": [{"role": "system", "content": "Say hi."}],
    "a system turn later": [*user("a"), {"role": "system", "content": "c"}, *user("d")],
    "developer": [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, *user("hi")],
    "an empty system turn": [{"role": "system", "content": ""}, *user("hi")],
    "empty turns": [*user("a"), {"role": "assistant", "content": ""}, *user("b")],
    "an empty user turn": [*user("a"), {"role": "assistant", "content": "b"}, *user("")],
    "white space alone": [*user("a"), {"role": "assistant", "content": " \n"}, *user("  "), *user("c")],
    "two users": [*user("a"), *user("b")],
    "names": [{"role": "user", "name": "bob", "content": "hi"}],
    "the assistant last": [*user("a"), {"role": "assistant", "content": "The answer is "}],
    "calls from elsewhere": [
        *user("a"),
        {"role": "assistant", "content": "", "tool_calls": [CALL, OTHER]},
        {"role": "tool", "tool_call_id": "call_2", "content": "[1]"},
        {"role": "tool", "tool_call_id": CALL["id"], "content": [{"type": "text", "text": ""}]},
    ],
    "results and a word": [
        *user("a"),
        {"role": "assistant", "content": "x", "reasoning_content": "hm", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": ""},
        *user("go on"),
    ],
    "one id for two calls": [
        *user("a"),
        {"role": "assistant", "tool_calls": [OTHER]},
        {"role": "tool", "tool_call_id": "call_2", "content": "1"},
        {"role": "assistant", "tool_calls": [OTHER]},
        {"role": "tool", "tool_call_id": "call_2", "content": "2"},
    ],
    "an image": [{"role": "user", "content": [{"type": "text", "text": "look"}, PIXEL]}],
    "the old function call": [
        *user("a"),
        {"role": "assistant", "content": None, "function_call": {"name": "h", "arguments": "{}"}},
        {"role": "function", "name": "h", "content": "r"},
    ],
}  # fmt: skip


@everywhere
def test_any_history_is_taken(provider: dict[str, Any], model: str) -> None:
    client = Client(provider, model)
    for name, messages in HISTORIES.items():
        for more in ({}, {"tools": [WEATHER]}):
            try:
                assert client.ask(messages, **more).message.content
            except openai.APIError as error:
                pytest.fail(f"{name}, {more.keys() or 'without tools'}: {error}")


@everywhere
def test_other_members(provider: dict[str, Any], model: str) -> None:
    client = Client(provider, model)
    schema = {"type": "object", "properties": {"reply": {"type": "string"}}, "additionalProperties": False}
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    assert json.loads(client.ask(user("hi"), response_format=form).message.content)["reply"]
    client.ask(user("answer in json"), response_format={"type": "json_object"})
    stopped = client.ask(user("one STOP two"), stop=["STOP", "\n"])
    assert stopped.message.content.endswith("one ")
    cut = client.ask(user("hi"), max_completion_tokens=2)
    assert cut.finish_reason == "length"
    client.ask(user("hi"), seed=3, user="u", logit_bias={"1": 2}, metadata={"a": "b"}, store=False, service_tier="auto")
    client.ask(user("hi"), temperature=1.7, top_p=0.5)
    client.ask(user("hi"), reasoning_effort="minimal", max_tokens=100)
    client.ask(user("hi"), reasoning_effort="xhigh", max_tokens=100_000)


@everywhere
@both
def test_errors_have_their_class(provider: dict[str, Any], model: str, stream: bool) -> None:
    client = Client(provider, model, stream=stream)
    with pytest.raises(openai.RateLimitError, match="simulated error 429"):
        client.ask(user("[[sim:status=429]]"))
    with pytest.raises(openai.InternalServerError, match="simulated error 503"):
        client.ask(user("[[sim:status=503]]"))
    if stream:
        for fault in ("error_frame", "end", "badjson"):
            with pytest.raises(openai.APIError):
                client.ask(user(f"[[sim:{fault}]]"))
    else:
        with pytest.raises(openai.APIError):
            client.ask(user("[[sim:garbage]]"))


@everywhere
def test_a_wrong_key_is_said_to_be_the_gateways(provider: dict[str, Any], model: str) -> None:
    keys = {"apiTokens": ["sk-other"]} if "apiTokens" in provider else {}
    keys |= {"awsSecretKey": "other"} if "awsSecretKey" in provider else {}
    if keys:
        amazon = provider["type"] == "bedrock"  # says 403 of a key that is none
        words = "API Key|signature" if amazon else "refused the gateway's own key"
        with pytest.raises(openai.PermissionDeniedError if amazon else openai.InternalServerError, match=words):
            Client({**provider, **keys}, model).ask(user("hi"))
