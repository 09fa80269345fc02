"""Other ways to configure: the environment alone, Higress' own files, context texts, browsers."""

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

import pytest

from . import processes
from .conftest import CONTEXT, FETCHED, Simulator, check_logs
from .processes import Gateway, until
from .raw import ask, chat

# The environment alone


@pytest.fixture(scope="session")
def from_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environ = processes.environment(DEFAULT_AI_SERVICE="qwen")
    with processes.gateway(tmp_path_factory.mktemp("environment"), "--simulate", environ=environ) as running:
        yield running
    check_logs(running)


SERVICES = [
    ("moonshot", "gpt-3", "Kimi"),
    ("moonshot", "anything", "Kimi"),
    ("openai", "gpt-4o", "GPT"),
    ("azure-openai", "gpt-4o", "GPT（Azure）"),
    ("qwen", "gpt-4-turbo", "通义千问"),
    ("anything else", "gpt-35-turbo", "通义千问"),
    ("sk-xxx", "anything", "通义千问"),
]


@pytest.mark.parametrize(("bearer", "model", "name"), SERVICES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_bearer_token_names_the_service_and_anything_else_gets_the_default(
    from_environment: Gateway, bearer: str, model: str, name: str, stream: bool
) -> None:
    headers = {"authorization": f"Bearer {bearer}"}
    answer = ask(from_environment.port, body=chat("你好", model, stream=stream), headers=headers)
    assert answer.status == 200, answer
    text = answer.text if stream else answer.json["choices"][0]["message"]["content"]
    assert text == f"你好！我是{name}（模拟） 🎉 你说：你好"
    assert stream or answer.json["model"] == model


def test_without_authorization_the_default_answers(from_environment: Gateway) -> None:
    answer = ask(from_environment.port, body=chat("你好"), headers={"authorization": ""})
    assert answer.status == 200


def test_a_start_says_which_services_are_absent(tmp_path: Path) -> None:
    environ = processes.environment(DEFAULT_AI_SERVICE="moonshot", MOONSHOT_API_KEY="sk-PLANTED-a, sk-PLANTED-b")
    with processes.command(tmp_path, "check", environ=environ) as checked:
        assert checked.wait() == 0
        said = checked.stdout.read_text() + checked.errors
    for variable in ("DASHSCOPE_API_KEY", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"):
        assert variable in said
    assert "PLANTED" not in said


# Higress' WasmPlugin


PLUGIN = """
apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata: {name: ai-proxy, namespace: higress-system}
spec:
  url: oci://example.com/ai-proxy:1.0.0
  phase: UNSPECIFIED_PHASE
  defaultConfig:
    provider: {type: qwen, apiTokens: [sk-sim-PLANTED-plugin-0001], modelMapping: {"*": qwen-turbo}, endpoint: SIM}
  matchRules:
  - ingress: [moonshot, higress-system/kimi]
    config:
      provider:
        {type: moonshot, apiToken: sk-sim-PLANTED-plugin-0002, modelMapping: {"*": moonshot-v1-8k}, endpoint: SIM}
  - ingress: [switched-off]
    configDisable: true
    config:
      provider: {type: openai, apiToken: sk-sim-PLANTED-plugin-0003, endpoint: SIM}
  - domain: ["*.openai.test", gpt.test]
    config:
      provider: {type: openai, apiTokens: [sk-sim-PLANTED-plugin-0004], endpoint: SIM}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: something-else}
data: {}
"""


@pytest.fixture(scope="session")
def from_plugin(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("plugin")
    path = directory / "wasmplugin.yaml"
    path.write_text(PLUGIN.replace("SIM}", f"'{simulator.url}'}}"))
    with processes.gateway(directory, "--config", str(path)) as running:
        yield running
    check_logs(running)


RULES = [
    ("Bearer moonshot", "nobody.test", "Kimi"),
    ("Bearer kimi", "nobody.test", "Kimi"),
    ("Bearer whatever", "nobody.test", "通义千问"),
    ("Bearer switched-off", "nobody.test", "通义千问"),
    ("", "nobody.test", "通义千问"),
    ("Bearer whatever", "a.openai.test", "GPT"),
    ("Bearer whatever", "gpt.test", "GPT"),
]


@pytest.mark.parametrize(("authorization", "host", "name"), RULES)
def test_a_wasm_plugin_s_rules_are_routes(from_plugin: Gateway, authorization: str, host: str, name: str) -> None:
    answer = ask(from_plugin.port, body=chat("你好"), headers={"host": host, "authorization": authorization})
    assert answer.status == 200, answer
    assert f"我是{name}（模拟）" in answer.json["choices"][0]["message"]["content"]


def test_a_rule_that_is_switched_off_reaches_no_vendor(simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "wasmplugin.yaml"
    path.write_text(
        PLUGIN.replace("SIM}", f"'{simulator.url}'}}").replace("spec:", "spec:\n  defaultConfigDisable: true")
    )
    environ = processes.environment(DEFAULT_AI_SERVICE="moonshot")
    with processes.gateway(tmp_path, "--config", str(path), environ=environ) as running:
        assert ask(running.port, body=chat("x")).status == 200
        answer = ask(running.port, body=chat("x"), headers={"authorization": "Bearer switched-off"})
    assert answer.status == 404
    assert answer.error["type"] == "invalid_request_error"


# Context texts


def system_messages(simulator: Simulator, mark: str) -> list[Any]:
    body = simulator.request(mark)["body"]
    messages = body.get("input", body)["messages"]
    return [(m["role"], m["content"]) for m in messages if m["role"] != "user"]


INSERTED = [
    ("context-file", CONTEXT, "qwen-plus"),
    ("context-http", FETCHED, "gpt-4o"),
    ("moonshot-file", "模拟文件 file-sim-manual 的内容 📄", "moonshot-v1-8k"),
]


@pytest.mark.parametrize(("provider", "text", "model"), INSERTED)
def test_a_context_text_goes_before_the_first_other_message(
    gateway: Gateway, simulator: Simulator, provider: str, text: str, model: str
) -> None:
    mark = f"with-context-{provider}"
    body = chat(mark, model)
    body["messages"].insert(0, {"role": "system", "content": "The client's own."})
    assert ask(gateway.port, body=body, host=provider).status == 200
    assert system_messages(simulator, mark) == [("system", "The client's own."), ("system", text)]


def test_a_missing_context_closes_its_route_for_chats_only(gateway: Gateway) -> None:
    for stream in (False, True):
        answer = ask(gateway.port, body=chat("x", "qwen-plus", stream=stream), host="context-missing")
        assert (answer.status, answer.error["code"]) == (503, "context_unavailable")
    embedding = {"model": "text-embedding-v3", "input": "x"}
    assert ask(gateway.port, "/v1/embeddings", embedding, host="context-missing").status == 200
    assert ask(gateway.port, body=chat("x"), host="qwen").status == 200


def test_a_context_that_comes_late_opens_its_route(gateway: Gateway, simulator: Simulator) -> None:
    late = gateway.access_log.parent / "late.txt"
    late.unlink(missing_ok=True)

    def served() -> bool:
        return ask(gateway.port, body=chat("late-context", "qwen-plus"), host="context-late").status == 200

    if not late.exists():
        assert not served()
    late.write_text("Better late.")
    until(served, "the text is there")
    assert system_messages(simulator, "late-context") == [("system", "Better late.")]


def test_readiness_falls_only_when_no_route_can_serve(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    text = tmp_path / "text.txt"
    provider = {"type": "qwen", "apiTokens": ["x"], "context": {"fileUrl": f"file://{text}", "refresh": 0.2}}
    path.write_text(json.dumps({"providers": [provider]}))
    port = processes.free_port()
    options = ("--config", str(path), "--listen", f"127.0.0.1:{processes.free_port()}", "--admin", f"127.0.0.1:{port}")
    with processes.command(tmp_path, "serve", "--workers", "1", *options):
        until(lambda: admin(port, "/readyz") == 503, "not ready")
        assert admin(port, "/healthz") == 200
        text.write_text("Here it is.")
        until(lambda: admin(port, "/readyz") == 200, "ready")


def admin(port: int, path: str) -> int | None:
    try:
        return ask(port, path, method="GET", leaks=()).status
    except ConnectionRefusedError:
        return None


# Browsers


PREFLIGHT = {
    "origin": "https://chat.example.com",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


def test_a_preflight_of_a_known_origin_is_answered(gateway: Gateway) -> None:
    answer = ask(gateway.port, method="OPTIONS", headers=PREFLIGHT)
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "https://chat.example.com"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("text", ["你好", "[[sim:status=429]]"])
def test_a_browser_may_read_answers_and_errors(gateway: Gateway, text: str) -> None:
    answer = ask(gateway.port, body=chat(text), headers={"origin": "https://chat.example.com"})
    assert answer.headers["access-control-allow-origin"] == "https://chat.example.com"


def test_other_origins_get_no_permission(gateway: Gateway) -> None:
    answer = ask(gateway.port, method="OPTIONS", headers=PREFLIGHT | {"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in answer.headers


# The list of models


def test_routes_by_model_make_one_list(gateway: Gateway, simulator: Simulator) -> None:
    answer = ask(gateway.port, "/v1/models", host="models", method="GET")
    assert answer.status == 200
    names = {model["id"] for model in answer.json["data"]}
    assert {"my-kimi", "my-gpt"} <= names
    for name in names:  # each is one that a client may use
        assert ask(gateway.port, body=chat("x", name), host="models").status == 200
    assert ask(gateway.port, "/v1/models/my-gpt", host="models", method="GET").json["id"] == "my-gpt"
    missing = ask(gateway.port, "/v1/models/qwen-max", host="models", method="GET")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
