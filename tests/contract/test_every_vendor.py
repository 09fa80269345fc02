"""OpenAI's own SDK over every vendor, through one Envoy: each row of the table and each protocol of its own, against
the stand-in that refuses what the vendor's documents say it does."""

from collections.abc import Iterator, Mapping
import json
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
import httpx
import openai
import pytest
import yaml

from extproc.providers.vendors import ROWS, Row
from tests.unit.providers.test_protocol_suite import PLACES
from tests.unit.providers.test_vendor_suite import FACTS, KEY, REFUSED, VALUES, provider

from . import processes
from .processes import Gateway

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_HOSTS = {"ollama": {"ollamaServerHost": "ollama"}, "vllm": {"vllmServerHost": "vllm"}}
"""Servers of one's own that can be called by the name that the stand-in knows; others are plain OpenAI's to it."""
OWN = {name.replace(", ", "-").replace(" ", "-"): place for name, place in PLACES.items()}
NAMELESS = [row.type for row in ROWS.values() if row.own_server and row.type not in _HOSTS]
MODELS = {
    **{row.type: row.example for row in ROWS.values()},
    **dict.fromkeys(NAMELESS, "gpt-4o"),
    **{name: model for name, (_, model) in OWN.items()},
}


def blocks(simulator: str, account: str) -> list[dict[str, Any]]:
    found = [
        {**provider(row), **_HOSTS.get(row.type, {}), "id": row.type, "endpoint": simulator} for row in ROWS.values()
    ]
    for name, (given, _) in OWN.items():
        key = {"vertexAuthKey": account} if "vertexAuthKey" in given else {}
        found.append({**given, **key, "id": name, "endpoint": simulator})
    return found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("vendors")
    with processes.simulator(directory / "simulator") as simulator:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        account = {
            "type": "service_account",
            "client_email": "a@b.iam.gserviceaccount.com",
            "private_key": key.private_bytes(*form).decode(),
            "token_uri": f"{simulator}/token",
        }
        (directory / "account.json").write_text(json.dumps(account))
        providers = blocks(simulator, f"file:{directory / 'account.json'}")
        routes = [{"name": p["id"], "match": {"hosts": [f"{p['id']}.test"]}, "provider": p["id"]} for p in providers]
        (directory / "gateway.yaml").write_text(
            yaml.safe_dump({"providers": providers, "routes": routes, "workers": 1})
        )
        with processes.gateway(directory, "--config", str(directory / "gateway.yaml")) as running:
            yield running


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=processes.PATIENCE) as client:
        yield client


def sdk(gateway: Gateway, http: httpx.Client, name: str) -> openai.OpenAI:
    headers = {"host": f"{name}.test"}
    return openai.OpenAI(
        base_url=gateway.url, api_key="sk-client", max_retries=0, default_headers=headers, http_client=http
    )


def user(text: str) -> Any:
    return [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": text}]


@pytest.mark.parametrize("name", MODELS)
def test_a_vendor_behind_envoy(gateway: Gateway, http: httpx.Client, name: str) -> None:
    ask, model = sdk(gateway, http, name).chat.completions.create, MODELS[name]
    whole = ask(model=model, messages=user("hi"), max_completion_tokens=500)
    assert (whole.choices[0].message.content or "").endswith("你说：hi")
    assert (whole.model, whole.choices[0].finish_reason) == (model, "stop")
    chunks = list(ask(model=model, messages=user("hi"), stream=True))
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert said.endswith("你说：hi")
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
    tools: Any = {"tools": [WEATHER], "tool_choice": "auto"}
    message = ask(model=model, messages=user("get_weather"), **tools).choices[0].message
    (call,) = message.tool_calls or ()
    back: Any = [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    assert "sunny" in (
        ask(model=model, messages=[*user("get_weather"), *back], **tools).choices[0].message.content or ""
    )
    thought: Any = ask(model=model, messages=user("hi"), reasoning_effort="high").choices[0].message
    facts = FACTS.get(name)
    thinks = name in OWN or bool(facts and facts.thinks and name not in NAMELESS)
    assert bool(getattr(thought, "reasoning_content", None)) == thinks
    with pytest.raises(openai.RateLimitError, match="simulated error 429"):
        ask(model=model, messages=user("[[sim:status=429]]"))
    with pytest.raises((openai.APIError, httpx.RemoteProtocolError)):
        list(ask(model=model, messages=user("[[sim:error_frame]]"), stream=True))


ONE: Mapping[str, tuple[Row, str]] = {row.type: (row, member) for row, member in REFUSED if "." not in member}


@pytest.mark.parametrize(("row", "member"), ONE.values(), ids=list(ONE))
def test_a_member_that_a_vendor_refuses_is_named(gateway: Gateway, http: httpx.Client, row: Row, member: str) -> None:
    body: dict[str, Any] = {"model": row.example, "messages": user("hi"), member: VALUES[member]}
    body |= {"stream": True} if member == "stream_options" else {}
    body |= {"tools": [WEATHER]} if member in ("tool_choice", "parallel_tool_calls") else {}
    answer = http.post(f"{gateway.url}/chat/completions", json=body, headers={"host": f"{row.type}.test"})
    assert answer.status_code == 200, answer.text
    assert member in row.quirks.renames or member in answer.headers.get("x-ai-dropped", "")


def test_no_key_is_in_what_it_wrote(gateway: Gateway) -> None:
    assert KEY not in gateway.process.errors
    assert KEY not in gateway.access_log.read_text()
