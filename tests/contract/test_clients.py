"""Clients with keys, through a real Envoy, refereed by the official SDK: who comes in, and where keys end."""

from collections.abc import Iterator
import hashlib
import json
from typing import Any

import httpx
import openai
import pytest

from . import processes
from .conftest import Simulator, check_logs
from .processes import Gateway
from .raw import Connection, ask, chat, check_leaks, chunked, head

ALICE, BOB, CAROL = "sk-PLANTED-client-alice", "sk-PLANTED-client-bob", "sk-PLANTED-client-carol"
CONFIG = """
corsOrigins: [https://chat.example.com]
providers:
  - {id: qwen, type: qwen, apiTokens: [sk-sim-PLANTED-clients-0001], endpoint: SIM, modelMapping: {gpt-4o: qwen-max}}
  - {id: moonshot, type: moonshot, apiTokens: [sk-sim-PLANTED-clients-0002], endpoint: SIM}
  - {id: own, type: openai, openaiCustomUrl: SIM/v1}
routes:
  - {name: moonshot, match: {headers: {authorization: Bearer moonshot}}, provider: moonshot}
  - {name: own, match: {hosts: [own.test]}, provider: own}
  - {name: qwen, provider: qwen}
clients:
  - {name: alice, key: "${ALICE}"}
  - {name: bob, key: "HASH", models: [gpt-4o, "qwen-vl*"], routes: [qwen]}
  - {name: carol, keyFile: carol.txt, routes: [moonshot]}
"""


@pytest.fixture(scope="module")
def guarded(
    simulator: Simulator, placement: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("clients")
    (directory / "carol.txt").write_text(f"{CAROL}\r\nsha256:{'0' * 64}\n")
    path = directory / "gateway.yaml"
    hashed = f"sha256:{hashlib.sha256(BOB.encode()).hexdigest()}"
    path.write_text(CONFIG.replace("SIM", simulator.url).replace("HASH", hashed))
    environ = processes.environment(ALICE=ALICE)
    with processes.gateway(directory, "--config", str(path), "--demo", *placement, environ=environ) as running:
        yield running
    check_logs(running)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=processes.PATIENCE) as client:
        yield client


def sdk(guarded: Gateway, http: httpx.Client, key: str, host: str = "any.test") -> openai.OpenAI:
    """The official client of whoever has the key."""
    headers = {"host": host}
    return openai.OpenAI(base_url=guarded.url, api_key=key, max_retries=0, default_headers=headers, http_client=http)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_the_sdk_with_a_valid_key_is_served_and_named(guarded: Gateway, http: httpx.Client) -> None:
    client = sdk(guarded, http, ALICE)
    completion = client.chat.completions.create(model="gpt-4o", messages=user("你好"))
    assert "通义千问" in (completion.choices[0].message.content or "")
    stream = client.chat.completions.create(model="gpt-4o", messages=user("你好"), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    http.get(f"{guarded.base}/named-alice", headers={"x-api-key": ALICE})
    assert guarded.exchange("/named-alice")["client"] == "alice"
    assert guarded.access("/named-alice")["client"] == "alice"


@pytest.mark.parametrize("size", [10, 100_000, 1_000_000])
def test_the_sdk_understands_the_refusal_of_a_wrong_key(guarded: Gateway, http: httpx.Client, size: int) -> None:
    client = sdk(guarded, http, "sk-the-client-s-own")
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=user("x" * size))
    assert caught.value.code == "invalid_api_key"
    assert caught.value.type == "authentication_error"
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    with pytest.raises(openai.AuthenticationError):
        client.files.create(file=b"x" * size, purpose="assistants")
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="gpt-4o", messages=user("x" * size), stream=True)


def test_the_sdk_understands_the_refusal_of_a_model(guarded: Gateway, http: httpx.Client) -> None:
    client = sdk(guarded, http, BOB)
    client.chat.completions.create(model="gpt-4o", messages=user("x"))
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="qwen-max", messages=user("x"))
    assert caught.value.code == "model_not_allowed"
    assert caught.value.param == "model"
    with pytest.raises(openai.PermissionDeniedError):
        client.files.create(file=b"x", purpose="batch")
    assert [model.id for model in client.models.list()] == ["gpt-4o"]


def test_azure_s_client_shows_its_key_in_its_own_header(guarded: Gateway) -> None:
    for header in ("api-key", "x-api-key"):
        answer = ask(guarded.port, body=chat("x"), headers={"authorization": "", header: ALICE})
        assert answer.status == 200


STRANGERS: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "a chat": ("POST", "/v1/chat/completions", chat("x"), {}),
    "a bad body": ("POST", "/v1/chat/completions", b"{", {}),
    "the models": ("GET", "/v1/models", None, {}),
    "one model": ("GET", "/v1/models/gpt-4o", None, {}),
    "the root": ("GET", "/", None, {}),
    "our own probe": ("GET", "/ai-proxy/probe", None, {}),
    "dots": ("GET", "/v1/../x", None, {}),
    "an upload": ("POST", "/v1/files", b"--b--", {"content-type": "multipart/form-data; boundary=b"}),
    "a compressed body": ("POST", "/v1/chat/completions", b"x", {"content-encoding": "gzip"}),
    "another method": ("TRACE", "/v1/models", None, {}),
    "OPTIONS that are no preflight": ("OPTIONS", "/v1/models", None, {}),
    "a spoofed cluster": ("POST", "/v1/chat/completions", chat("x"), {"x-ai-proxy-cluster": "qwen"}),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_stranger_is_401_whatever_it_asks_for(guarded: Gateway, simulator: Simulator, case: str) -> None:
    method, path, body, headers = STRANGERS[case]
    before = len(simulator.requests(""))
    for key in ("Bearer sk-PLANTED-nobody", "", f"Basic {ALICE}"):
        answer = ask(guarded.port, path, body, method=method, headers={"authorization": key, **headers})
        assert answer.status == 401, answer
        assert (answer.error["type"], answer.error["code"]) == ("authentication_error", "invalid_api_key")
    assert len(simulator.requests("")) == before


def test_a_stranger_s_endless_upload_is_answered_after_its_head(guarded: Gateway) -> None:
    headers = (("host", "any.test"), ("content-type", "application/json"), ("transfer-encoding", "chunked"))
    with Connection(guarded.port) as connection:
        connection.send(head("POST", "/v1/chat/completions", headers), *list(chunked([b"{"]))[:1])
        answer = connection.answer()
    check_leaks(answer)
    assert answer.status == 401


PREFLIGHT = {"origin": "https://chat.example.com", "access-control-request-method": "POST"}


def test_a_browser_s_preflight_needs_no_key_and_its_refusal_can_be_read(guarded: Gateway) -> None:
    preflight = ask(guarded.port, method="OPTIONS", headers={"authorization": "", **PREFLIGHT})
    assert preflight.status in (200, 204)
    assert preflight.headers["access-control-allow-origin"] == "https://chat.example.com"
    refused = ask(guarded.port, body=chat("x"), headers={"origin": "https://chat.example.com"})
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://chat.example.com"


VENDORS = [
    ("qwen", ALICE, {}, "any.test", "Bearer sk-sim-PLANTED-clients-0001"),
    ("own", ALICE, {}, "own.test", None),  # no key of ours: the client's is not sent in its place
    ("own-x", "", {"x-api-key": ALICE}, "own.test", None),
    ("moonshot", "moonshot", {"x-api-key": CAROL}, "any.test", "Bearer sk-sim-PLANTED-clients-0002"),
]


@pytest.mark.parametrize(("mark", "bearer", "more", "host", "sent"), VENDORS, ids=[v[0] for v in VENDORS])
def test_a_client_s_key_reaches_no_vendor(
    guarded: Gateway, simulator: Simulator, mark: str, bearer: str, more: dict[str, str], host: str, sent: str | None
) -> None:
    headers = {"host": host, "authorization": f"Bearer {bearer}", **more}
    model = "moonshot-v1-8k" if mark == "moonshot" else "gpt-4o"
    ask(guarded.port, body=chat(f"client-key-{mark}", model), headers=headers)
    seen = simulator.request(f"client-key-{mark}")["headers"]
    assert seen.get("authorization") == sent
    assert "x-api-key" not in seen
    assert "PLANTED-client-" not in json.dumps(seen)


def test_a_route_outside_a_client_s_is_not_there_for_it(guarded: Gateway) -> None:
    answer = ask(guarded.port, body=chat("x"), headers={"authorization": f"Bearer {CAROL}"})
    assert (answer.status, answer.error["code"]) == (404, "no_route")


def test_the_demo_says_why_there_is_none(guarded: Gateway) -> None:
    assert "No demo chat" in guarded.process.stdout.read_text()
