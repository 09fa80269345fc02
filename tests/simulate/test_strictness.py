"""Every refusal, one row each."""

import ast
from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc import simulate
from extproc.simulate import Options
from tests.contract.processes import PATIENCE

from .conftest import KEY, Start

BEARER = {"authorization": f"Bearer {KEY}"}
API_KEY = {"api-key": KEY}
SSE = {"x-dashscope-sse": "enable", "accept": "text/event-stream"}
USER = {"role": "user", "content": "hi"}
TEXT = "/api/v1/services/aigc/text-generation/generation"
MULTI = "/api/v1/services/aigc/multimodal-generation/generation"
EMBED = "/api/v1/services/embeddings/text-embedding/text-embedding"
COMPATIBLE = "/compatible-mode/v1/chat/completions"
OPENAI = "/v1/chat/completions"
MOONSHOT = "/moonshot/v1/chat/completions"
AZURE = "/openai/deployments/d/chat/completions?api-version=2024-10-21"


def native(*, messages: Any = None, model: str = "qwen-plus", top: dict[str, Any] | None = None, **p: Any) -> Any:
    return {"model": model, "input": {"messages": messages or [USER]}, "parameters": p, **(top or {})}


def chat(model: str = "gpt-4o", messages: Any = None, **given: Any) -> Any:
    return {"model": model, "messages": messages or [USER], **given}


PARTS = [{"role": "user", "content": [{"text": "hi"}]}]
TOOL = {"type": "function", "function": {"name": "f"}}

NATIVE_ROWS: list[tuple[str, dict[str, str], Any, int, str]] = [
    (TEXT, {}, {"model": "qwen-plus", "messages": [USER]}, 400, "unknown top-level"),
    (TEXT, {}, {"model": "qwen-plus", "input": {}}, 400, 'Either "prompt" or "messages" must exist'),
    (TEXT, {}, {"model": "qwen-plus"}, 400, 'Either "prompt" or "messages" must exist'),
    (TEXT, {}, {"input": {"messages": [USER]}}, 400, "model"),
    (TEXT, {}, native(top={"stream": True}), 400, "unknown top-level fields: stream"),
    (TEXT, {}, native(model="gpt-4o"), 400, "Model not exist"),
    (TEXT, {}, native(top_p=1), 400, "top_p"),
    (TEXT, {}, native(top_p=0), 400, "top_p"),
    (TEXT, {}, native(frequency_penalty=0), 400, "unknown parameter: frequency_penalty"),
    (TEXT, {}, native(stream_options={}), 400, "unknown parameter: stream_options"),
    (TEXT, {}, native(max_tokens="7"), 400, "max_tokens"),
    (TEXT, {}, native(temperature=2), 400, "temperature"),
    (TEXT, {}, native(enable_search="yes"), 400, "enable_search"),
    (TEXT, {}, native(result_format="json"), 400, "result_format"),
    (TEXT, {}, native(tools=[TOOL]), 400, 'result_format must be "message"'),
    (TEXT, {}, native(response_format={"type": "json_object"}), 400, "json"),
    (TEXT, {}, native(model="qwen-vl-max"), 400, "url error, please check url"),
    (TEXT, {}, native(model="qwen3.6-plus"), 400, "url error, please check url"),
    (MULTI, {}, native(messages=PARTS), 400, "url error, please check url"),
    (MULTI, {}, native(model="qwen-vl-max"), 400, "must be a list"),
    (MULTI, {}, native(model="qwen-vl-max", messages=[{"role": "user", "content": [{"type": "text", "text": "a"}]}]),
     400, "must be a list"),
    (MULTI, SSE | {"accept": "application/json"}, native(model="qvq-max", messages=PARTS), 400, "accept"),
    (MULTI, {}, native(model="qvq-max", messages=PARTS), 400, "stream"),
    (MULTI, {}, native(model="qwen3-omni-flash", messages=PARTS), 400, "stream"),
    (TEXT, {}, native(model="qwq-plus"), 400, "stream"),
    (TEXT, {}, native(model="qwen3-235b-a22b-thinking-2507"), 400, "stream"),
    (TEXT, {}, native(model="qwen3-32b"), 400, "parameter.enable_thinking must be set to false"),
    (TEXT, {}, native(model="qwen3-30b-a3b", enable_thinking=True), 400, "enable_thinking must be set to false"),
    (TEXT, {}, native(messages=PARTS), 400, "valid string"),
    (TEXT, {}, native(messages=[{"role": "user", "content": None}]), 400, "valid string"),
    (TEXT, {}, native(messages=[{"role": "developer", "content": "x"}]), 400, "'developer' is not one of"),
    (TEXT, {}, native(messages=[{"role": "tool", "content": "x"}]), 400, "tool_call_id"),
    ("/api/v1/services/aigc/nothing", {}, native(), 400, "url error"),
    (EMBED, {}, {"model": "text-embedding-v3", "input": {"texts": ["x"] * 11}}, 400, "larger than 10"),
    (EMBED, {}, {"model": "text-embedding-v1", "input": {"texts": ["x"] * 26}}, 400, "larger than 25"),
    (EMBED, {}, {"model": "text-embedding-v3", "input": "x"}, 400, "Either"),
    (EMBED, {}, {"model": "text-embedding-v3", "input": {"texts": ["x"]}, "parameters": {"dimensions": 8}},
     400, "dimensions"),
    (TEXT, {"authorization": "Bearer nope"}, native(), 401, "Invalid API-key"),
    (TEXT, {"authorization": KEY}, native(), 401, "Invalid API-key"),
    (TEXT, {"x-api-key": "k"}, native(), 400, "foreign credential"),
    (TEXT, {"x-ai-proxy-route": "r"}, native(), 400, "internal header"),
    (TEXT, {"content-type": "text/plain"}, native(), 400, "content-type"),
    (TEXT, {}, native(messages=[{"role": "user", "content": "[[sim:nonsense]]"}]), 400, "unknown simulator marker"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "headers", "body", "status", "why"), NATIVE_ROWS)
def test_native(http: httpx.Client, path: str, headers: dict[str, str], body: Any, status: int, why: str) -> None:
    answer = http.post(path, headers=BEARER | headers, json=body)
    told = answer.json()
    assert (answer.status_code, set(told)) == (status, {"code", "message", "request_id"})
    assert why in told["message"]


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        (TEXT, {}, native(top_p=0.5, temperature=0, seed=0, stop=["x"], top_k=1, result_format="message")),
        (TEXT, {}, native(model="qwen3-32b", enable_thinking=False)),
        (TEXT, SSE | {"accept": "*/*"}, native()),
        (TEXT, SSE, native(model="qwq-plus", incremental_output=True)),
        (TEXT, {}, native(messages=[USER, {"role": "assistant", "content": None, "tool_calls": [{}]}, USER])),
        (MULTI, {}, native(model="qwen3.5-plus", messages=PARTS)),
        (MULTI, {}, native(model="qwen3.8-max", messages=PARTS, tool_choice="required", enable_thinking=False)),
        (TEXT, {}, native(response_format={"type": "json_schema", "json_schema": {"schema": {}}})),
        (EMBED, {}, {"model": "text-embedding-v2", "input": {"texts": ["x"] * 25}}),
    ],
)
def test_native_takes(http: httpx.Client, path: str, headers: dict[str, str], body: Any) -> None:
    answer = http.post(path, headers=BEARER | headers, json=body)
    assert answer.status_code == 200, answer.text


ROWS: list[tuple[str, dict[str, str], Any, int, str]] = [
    (COMPATIBLE, BEARER, chat("qwen-plus", top_p=1), 400, "top_p"),
    (COMPATIBLE, BEARER, chat("qwen-plus", [{"role": "developer", "content": "x"}]), 400, "developer"),
    (COMPATIBLE, BEARER, chat("qwq-plus"), 400, "stream"),
    (COMPATIBLE, BEARER, chat("qwen3-8b"), 400, "enable_thinking must be set to false"),
    (COMPATIBLE, BEARER, chat("gpt-4o"), 404, "does not exist"),
    (COMPATIBLE, {**BEARER, **SSE}, chat("qwen-plus"), 400, "native API"),
    (COMPATIBLE, {}, chat("qwen-plus"), 401, "Incorrect API key"),
    ("/compatible-mode/v1/embeddings", BEARER, {"model": "text-embedding-v4", "input": ["x"] * 11}, 400, "10"),
    ("/compatible-mode/v1/audio/speech", BEARER, {}, 404, "Invalid URL"),
    (OPENAI, BEARER, {"messages": [USER]}, 400, "model"),
    (OPENAI, BEARER, {"model": "gpt-4o"}, 400, "messages"),
    (OPENAI, BEARER, chat("qwen-plus"), 404, "does not exist"),
    (OPENAI, BEARER, chat(temperature=3), 400, "temperature"),
    (OPENAI, BEARER, chat(stream="yes"), 400, "stream"),
    (OPENAI, BEARER, chat(stream_options={"include_usage": True}), 400, "stream_options"),
    (OPENAI, BEARER, chat(messages=[{"role": "tool", "content": "x"}]), 400, "tool_call_id"),
    (OPENAI, BEARER, chat(messages=[{"role": "user", "content": [{"text": "x"}]}]), 400, "typed parts"),
    (OPENAI, {"authorization": "Bearer nope"}, chat(), 401, "Incorrect API key"),
    (OPENAI, {**BEARER, **API_KEY}, chat(), 400, "foreign credential"),
    (OPENAI, {**BEARER, "x-ai-proxy-model": "x"}, chat(), 400, "internal header"),
    ("/v1/v1/chat/completions", BEARER, chat(), 404, "Invalid URL"),
    ("//v1/chat/completions", BEARER, chat(), 404, "Invalid URL"),
    ("/nothing", BEARER, chat(), 404, "Invalid URL"),
    (AZURE, API_KEY, {"messages": []}, 400, "messages"),
    (AZURE, {"api-key": "nope"}, chat(), 401, "invalid subscription key"),
    (AZURE, BEARER, chat(), 400, "foreign credential"),
    (AZURE, {**API_KEY, **BEARER}, chat(), 400, "foreign credential"),
    (AZURE.partition("?")[0], API_KEY, chat(), 404, "Resource not found"),
    (AZURE.replace("2024-10-21", "2024-10-21%2000:00:00"), API_KEY, chat(), 404, "Resource not found"),
    (AZURE.replace("chat/", "v1/chat/"), API_KEY, chat(), 404, "Resource not found"),
    (AZURE.replace("/d/", "/no-such/"), API_KEY, chat(), 404, "does not exist"),
    ("/openai/v1/chat/completions", API_KEY, {"messages": [USER]}, 400, "model"),
    ("/openai/v1/chat/completions?api-version=2024-10-21", API_KEY, chat(), 400, "API version"),
    (MOONSHOT, BEARER, chat("kimi-k2.5", temperature=0.5), 400, "invalid temperature: only 1 is allowed"),
    (MOONSHOT, BEARER, chat("moonshot-v1-8k", temperature=1.5), 400, "invalid temperature"),
    (MOONSHOT, BEARER, chat("moonshot-v1-8k", [{"role": "developer", "content": "x"}]), 400, "developer"),
    (MOONSHOT, BEARER, chat("moonshot-v1-8k", [{"role": "user", "content": ""}]), 400, "must not be empty"),
    (MOONSHOT, BEARER, chat("gpt-4o"), 404, "does not exist"),
    (MOONSHOT, {}, chat("moonshot-v1-8k"), 401, "Invalid Authentication"),
    ("/moonshot/v1/responses", BEARER, {}, 404, "Invalid URL"),
]


@pytest.mark.parametrize(("path", "headers", "body", "status", "why"), ROWS)
def test_openai_form(http: httpx.Client, path: str, headers: dict[str, str], body: Any, status: int, why: str) -> None:
    answer = http.post(str(http.base_url).rstrip("/") + path, headers=headers, json=body)
    told = answer.json()
    assert (answer.status_code, why in told["error"]["message"]) == (status, True), told
    assert ("request_id" in told) == path.startswith("/compatible-mode")


ANTHROPIC = "/apps/anthropic/v1/messages"
VERSIONED = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
SCHEMA = {"type": "object"}

ELSEWHERE_ROWS: list[tuple[str, dict[str, str], Any, str]] = [
    ("", {"anthropic-beta": "context-management-2025-06-27"}, {}, "anthropic-beta"),
    ("?beta=true", {}, {}, "beta"),
    *(("", {}, {name: {}}, f"{name}: Extra inputs") for name in ("context_management", "speed", "mcp_servers")),
    ("", {}, {"thinking": {"type": "adaptive"}}, "Only 'enabled' and 'disabled' are supported for thinking"),
    ("", {}, {"system": [{"type": "text", "text": "s", **HOUR}]}, "cache_control.ttl"),
    ("", {}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "s", **HOUR}]}]}, "cache_control.ttl"),
    ("", {}, {"tools": [{"name": "f", "input_schema": SCHEMA, **HOUR}]}, "cache_control.ttl"),
    ("", {}, {"cache_control": {"type": "ephemeral", "scope": "global"}}, "cache_control.scope"),
    ("", {}, {"tools": [{"name": "f", "input_schema": SCHEMA, "defer_loading": True}]}, "defer_loading"),
    ("", {}, {"messages": [USER, {"role": "system", "content": "s"}]}, "messages.1.role"),
    ("", {}, {"messages": [{**USER, "output_config": {}}]}, "messages.0.output_config"),
]


@pytest.mark.parametrize(("query", "headers", "more", "why"), ELSEWHERE_ROWS)
def test_messages_at_dashscope(
    http: httpx.Client, query: str, headers: dict[str, str], more: dict[str, Any], why: str
) -> None:
    body = {"model": "qwen3.8-max", "max_tokens": 9, "messages": [USER]}
    assert http.post(ANTHROPIC, headers=VERSIONED, json=body).status_code == 200
    answer = http.post(ANTHROPIC + query, headers=VERSIONED | headers, json=body | more)
    told = answer.json()
    assert (answer.status_code, told["error"]["type"]) == (400, "invalid_request_error"), told
    assert why in told["error"]["message"]


def test_marks_with_a_time_are_for_qwen4(http: httpx.Client) -> None:
    body = {
        "model": "qwen4-max",
        "max_tokens": 9,
        "messages": [USER],
        "system": [{"type": "text", "text": "s", **HOUR}],
    }
    assert http.post(ANTHROPIC, headers=VERSIONED, json=body).status_code == 200


@pytest.mark.parametrize("body", [b"{", b'{"a": NaN}', b"[1]", b"\xff{}", b"[" * 100_000, b""])
def test_bad_json(http: httpx.Client, body: bytes) -> None:
    answer = http.post(OPENAI, headers={**BEARER, "content-type": "application/json"}, content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_chunked_bodies_are_refused_by_dashscope_alone(http: httpx.Client) -> None:
    def body(value: Any) -> Iterator[bytes]:
        yield json.dumps(value).encode()

    headers = {**BEARER, "content-type": "application/json"}
    assert http.post(TEXT, headers=headers, content=body(native())).status_code == 411
    assert http.post(OPENAI, headers=headers, content=body(chat())).status_code == 200


def test_only_known_methods(http: httpx.Client) -> None:
    assert http.get(OPENAI, headers=BEARER).status_code == 405
    assert http.get(TEXT, headers=BEARER).status_code == 405


def test_multipart_must_be_complete(http: httpx.Client) -> None:
    headers = {**BEARER, "content-type": "multipart/form-data; boundary=b"}
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    assert "not complete" in http.post("/v1/files", headers=headers, content=cut).json()["error"]["message"]


def test_keys_and_hosts_by_option(start: Start) -> None:
    sim = start(Options(keys={"openai": ("k1",)}, strict_host=True, openai_bases=("/v1", "/api/v3")))
    with httpx.Client(base_url=sim.url, trust_env=False, timeout=PATIENCE) as http:
        for path, headers, status in [
            (OPENAI, {"authorization": "Bearer k1", "host": "api.openai.com"}, 200),
            ("/api/v3/chat/completions", {"authorization": "Bearer k1", "host": "api.openai.com"}, 200),
            (OPENAI, {"authorization": "Bearer k1"}, 400),
            (OPENAI, {**BEARER, "host": "api.openai.com"}, 401),
            (AZURE, {**API_KEY, "host": "r.openai.azure.com"}, 200),
        ]:
            assert http.post(path, headers=headers, json=chat()).status_code == status


def test_the_referee_shares_nothing_with_the_gateway() -> None:
    for path in Path(simulate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                assert not name.startswith("extproc") or name.startswith("extproc.simulate"), (path.name, name)
