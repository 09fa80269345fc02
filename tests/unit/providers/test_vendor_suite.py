"""OpenAI's own SDK against every row of the table: through the core, to the stand-in that speaks as the vendor does.

The stand-ins are written from the vendors' documents and refuse what these say; so what arrives here was put right.
"""

import asyncio
from collections.abc import Mapping
import json
from typing import Any

import httpx
import openai
import pytest

from extproc.config.config import Config
from extproc.providers.vendors import ROWS, Row
from extproc.simulate.options import Options
from extproc.simulate.server import app
from extproc.simulate.table import ALL, Facts
from tests.unit.player import Play, cut

KEY = "sk-sim-vendor"
FACTS: Mapping[str, Facts] = {facts.name: facts for facts in reversed(ALL)}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def provider(row: Row) -> dict[str, Any]:
    """A provider of the row, its server called as the stand-in knows it."""
    given: dict[str, Any] = {"type": row.type, "apiTokens": [KEY]}
    if row.own_server:
        given["endpoint"] = f"http://{row.type}:80"
    return given | {key.name: "acc" for key in row.keys if key.required}


class Gateway(httpx.BaseTransport):
    """What stands between a client and a vendor, without Envoy: the core, and the stand-in behind it."""

    def __init__(self, row: Row | Mapping[str, Any]) -> None:
        given = provider(row) if isinstance(row, Row) else row
        self.config = Config.model_validate({"providers": [given]})
        self.vendors = httpx.ASGITransport(app=app(Options()))  # type: ignore[arg-type]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sources = [provider for provider in self.config.providers if provider.token_source is not None]
        play = Play(self.config, {provider.token_name: KEY for provider in sources})
        head = {k.lower(): v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
        head |= {":method": request.method, ":path": request.url.raw_path.decode(), ":authority": "gateway"}
        play.request(head, request.read() or None, {})
        if not play.answered:
            answer = asyncio.run(self._ask(play))
            body = answer.content
            names = {":status": str(answer.status_code), **{k.lower(): v for k, v in answer.headers.items()}}
            play.response(names, cut(body, range(97, len(body), 97)))
        seen = play.seen
        told = {name: value for name, value in seen.client.items() if not name.startswith(":")}
        return httpx.Response(seen.status, headers=told, content=seen.client_body)

    async def _ask(self, play: Play) -> httpx.Response:
        sent, body = play.seen.upstream or {}, play.seen.upstream_body or b""
        url = f"http://{sent[':authority']}{sent[':path']}"
        names = {name: value for name, value in sent.items() if not name.startswith((":", "x-ai-proxy-"))}
        async with httpx.AsyncClient(transport=self.vendors) as client:
            return await client.request(sent[":method"], url, headers=names, content=body)


every_row = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))


def client(row: Row) -> openai.OpenAI:
    http = httpx.Client(transport=Gateway(row))
    return openai.OpenAI(base_url="http://gateway/v1", api_key="the-client-s", max_retries=0, http_client=http)


def user(text: str) -> Any:
    return [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": text}]


@every_row
def test_a_whole_chat(row: Row) -> None:
    answer = client(row).chat.completions.create(model=row.example, messages=user("hi"), max_completion_tokens=50)
    (choice,) = answer.choices
    assert (choice.message.content or "").endswith("你说：hi")
    assert (choice.finish_reason, answer.model) == ("stop", row.example)
    assert answer.usage
    assert answer.usage.total_tokens >= answer.usage.prompt_tokens + 1


@every_row
def test_a_streamed_chat_with_usage(row: Row) -> None:
    options: Any = {"stream_options": {"include_usage": True}}
    chunks = list(client(row).chat.completions.create(model=row.example, messages=user("hi"), stream=True, **options))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices).endswith("你说：hi")
    assert choices[-1].finish_reason == "stop"
    if "stream_options" not in row.quirks.refuses or row.quirks.usage.at:
        assert any(chunk.usage for chunk in chunks)


@every_row
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_come_back(row: Row, stream: bool) -> None:
    ask: Any = {
        "model": row.example,
        "tools": [WEATHER],
        "tool_choice": "required",
        "seed": 3,
        "parallel_tool_calls": True,
    }
    sdk = client(row)
    if stream:
        with sdk.chat.completions.stream(messages=user("get_weather"), **ask) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = sdk.chat.completions.create(messages=user("get_weather"), **ask).choices[0].message
    (call,) = message.tool_calls or ()
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "杭州"})
    said: Any = {"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"})]}
    turns = [*user("get_weather"), said, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = sdk.chat.completions.create(model=row.example, messages=turns, tools=[WEATHER])
    assert "sunny" in (answer.choices[0].message.content or "")


@every_row
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_thinking_has_one_name_and_goes_back_with_its_turn(row: Row, stream: bool) -> None:
    facts = FACTS.get(row.type)
    sdk = client(row)
    ask: Any = {"model": row.example, "messages": user("hi"), "reasoning_effort": "high"}
    if stream:
        deltas = [c.choices[0].delta for c in sdk.chat.completions.create(stream=True, **ask) if c.choices]
        thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
        said = "".join(delta.content or "" for delta in deltas)
        assert not any(hasattr(delta, "reasoning") for delta in deltas)
    else:
        message = sdk.chat.completions.create(**ask).choices[0].message
        thought, said = getattr(message, "reasoning_content", "") or "", message.content or ""
        assert not hasattr(message, "reasoning")
    assert said.startswith("你好")
    assert bool(thought) == bool(facts and facts.thinks)
    again: Any = {"role": "assistant", "content": said, **({"reasoning_content": thought} if thought else {})}
    turns = [
        *user("hi"),
        again,
        {"role": "assistant", "content": "from another vendor"},
        {"role": "user", "content": "u"},
    ]
    answer = sdk.chat.completions.create(model=row.example, messages=turns, reasoning_effort="high")
    assert (answer.choices[0].message.content or "").endswith("你说：u")


@every_row
def test_a_refusal_has_its_class_and_words(row: Row) -> None:
    with pytest.raises(openai.RateLimitError, match="simulated error 429"):
        client(row).chat.completions.create(model=row.example, messages=user("hi [[sim:status=429]]"))


@every_row
def test_an_error_in_a_stream_is_raised(row: Row) -> None:
    ask = client(row).chat.completions.create
    with pytest.raises(openai.APIError, match="simulated error inside the stream"):
        list(ask(model=row.example, messages=user("hi [[sim:error_frame]]"), stream=True))


REFUSED = [
    (row, member)
    for row in ROWS.values()
    if (facts := FACTS.get(row.type))
    for member in (*facts.refuses.split(), *(f"messages.{name}" for name in facts.turns.split()))
]
VALUES: Mapping[str, Any] = {
    "stream_options": {"include_usage": True}, "logit_bias": {"1": 1}, "metadata": {"a": "b"}, "stop": ["x"], "n": 1,
    "audio": {"voice": "a", "format": "wav"}, "function_call": "auto", "functions": [{"name": "f"}], "seed": 7,
    "modalities": ["text"], "prediction": {"type": "content", "content": "x"}, "service_tier": "auto", "store": True,
    "logprobs": True, "top_logprobs": 1, "user": "u1", "verbosity": "low", "parallel_tool_calls": False,
    "max_completion_tokens": 100, "tool_choice": "auto", "frequency_penalty": 0.5, "presence_penalty": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(("row", "member"), REFUSED, ids=[f"{row.type} {member}" for row, member in REFUSED])
def test_what_a_vendor_refuses_does_not_reach_it(row: Row, member: str) -> None:
    """By the vendor's documents: the stand-in answers 400 to whoever sends it."""
    name = member.removeprefix("messages.")
    body: dict[str, Any] = {"model": row.example, "messages": [{"role": "user", "content": "hi"}]}
    if name == member:
        body[name] = VALUES[name]
        body |= {"stream": True} if name == "stream_options" else {}
        body |= {"tools": [WEATHER]} if name in ("tool_choice", "parallel_tool_calls") else {}
    else:
        role = "user" if name == "name" else "assistant"
        body["messages"] = [{"role": role, "content": "a", name: "x"}, {"role": "user", "content": "hi"}]
    answer = httpx.Client(transport=Gateway(row)).post("http://gateway/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    renamed = name in row.quirks.renames or name == "reasoning_content"
    assert renamed or member in answer.headers.get("x-ai-dropped", "").split(",")
