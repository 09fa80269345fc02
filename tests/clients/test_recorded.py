"""What the clients once sent, played where they themselves may not run: every request is answered in their dialect."""

import json
from typing import Any

import httpx
import pytest

from tests.clients.conftest import WAYS
from tests.clients.record import RECORDED
from tests.contract.processes import PATIENCE, Gateway
from tests.unit import messages_rules
from tests.unit.responses_rules import check


def recorded(client: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDED / f"{client}.json").read_text())
    return found


def answers(gateway: Gateway, client: str, way: str) -> list[bytes]:
    got = []
    with httpx.Client(base_url=gateway.base, trust_env=False, timeout=PATIENCE) as http:
        for one in recorded(client):
            path = one["path"].replace("/qwen/", f"/{way}/", 1)
            answer = http.post(path, json=one["body"], headers={**one["headers"], "authorization": "Bearer any"})
            assert answer.status_code == 200, answer.text
            got.append(answer.content)
    return got


@pytest.mark.parametrize("way", WAYS)
def test_codex(gateway: Gateway, way: str) -> None:
    responses = [check(stream) for stream in answers(gateway, "codex", way)]
    calls = [[item["type"] for item in response["output"] if "call_id" in item] for response in responses]
    assert calls == [["function_call"], ["custom_tool_call"], []]
    assert {response["status"] for response in responses} == {"completed"}


@pytest.mark.parametrize("way", WAYS)
def test_qwen_code(gateway: Gateway, way: str) -> None:
    for stream in answers(gateway, "qwen-code", way):
        assert stream.rstrip().endswith(b"[DONE]")
        assert b'"finish_reason":"' in stream


@pytest.mark.parametrize("way", WAYS)
def test_claude_code(gateway: Gateway, way: str) -> None:
    messages = [messages_rules.check(stream) for stream in answers(gateway, "claude", way)]
    assert [message["stop_reason"] for message in messages] == ["tool_use", "end_turn"]
    [call] = [block for block in messages[0]["content"] if block["type"] == "tool_use"]
    assert (call["name"], call["input"].keys()) == ("Read", {"file_path"})
