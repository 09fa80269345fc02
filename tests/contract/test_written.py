"""What the processes write while they live: a line for each exchange, and nothing that is secret."""

import contextlib
import json
import os
from pathlib import Path
import re
from typing import Any

import pytest

from . import processes
from .conftest import SECRETS, Simulator
from .processes import Gateway
from .raw import ask, chat

CHAT = "/v1/chat/completions"


REQUESTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "whole": ("POST", chat("CANARY", "gpt-4"), {
        "route": "default", "provider": "qwen", "model": "gpt-4", "upstream_model": "qwen-max", "status": 200}),
    "streamed": ("POST", chat("CANARY", "gpt-4", stream=True), {
        "route": "default", "provider": "qwen", "model": "gpt-4", "upstream_model": "qwen-max", "status": 200,
        "stream": True}),
    "refused": ("POST", chat("CANARY [[sim:status=429]]", "gpt-4"), {
        "route": "default", "provider": "qwen", "model": "gpt-4", "upstream_model": "qwen-max", "status": 429}),
    "broken": ("POST", chat("CANARY [[sim:error_frame]]", "gpt-4", stream=True), {
        "route": "default", "provider": "qwen", "status": 200}),
    "mistaken": ("POST", b'{"CANARY": ', {"status": 400}),
    "listed": ("GET", None, {"status": 200}),
}  # fmt: skip


@pytest.fixture(scope="module")
def life(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """The whole life of a gateway: started, asked one of each of `REQUESTS` under a path of its own, stopped."""
    directory = tmp_path_factory.mktemp("life")
    provider = {
        "type": "qwen",
        "apiTokens": ["sk-sim-PLANTED"],
        "modelMapping": {"gpt-4": "qwen-max"},
        "endpoint": simulator.url,
    }
    (directory / "config.yaml").write_text(json.dumps({"providers": [provider]}))
    with processes.gateway(directory, "--config", str(directory / "config.yaml")) as running:
        for name, (method, body, _) in REQUESTS.items():
            path = f"/{name}{CHAT}" if method == "POST" else f"/{name}/v1/models"
            ask(running.port, path, body, method=method, headers={"authorization": "Bearer the-client-s-own"})
        assert running.process.end() == 0
    return running


@pytest.mark.parametrize("name", REQUESTS)
def test_one_log_line_per_exchange(life: Gateway, name: str) -> None:
    entry = life.exchange(f"/{name}/")
    expected = REQUESTS[name][2]
    assert {key: entry.get(key) for key in expected} == expected
    assert 0 <= entry["duration_ms"] < 10_000
    assert entry["method"] == REQUESTS[name][0]
    if expected["status"] == 200 and name != "listed":
        assert entry["prompt_tokens"] > 0
    if name in ("whole", "streamed"):
        assert entry["completion_tokens"] > 0
        assert "error" not in entry
    if expected.get("stream"):
        assert 0 < entry["first_chunk_ms"] <= entry["duration_ms"]
    if name in ("refused", "broken", "mistaken"):
        assert entry["error"]


@pytest.mark.parametrize("name", REQUESTS)
def test_one_access_log_line_per_request(life: Gateway, name: str) -> None:
    lines = [json.loads(line) for line in life.access_log.read_text().splitlines()]
    [entry] = [line for line in lines if f"/{name}/" in line["path"]]
    expected = {k: v for k, v in REQUESTS[name][2].items() if k != "stream"}
    assert {key: entry.get(key) for key in expected} == expected
    if name in ("whole", "streamed"):
        assert entry["prompt_tokens"] > 0
        assert entry["completion_tokens"] > 0


def test_there_is_no_other_exchange(life: Gateway) -> None:
    assert len(life.events("exchange")) == len(REQUESTS)


def test_every_line_of_the_sidecar_is_json(life: Gateway) -> None:
    for line in life.log_lines():
        assert json.loads(line)["event"]


def test_with_json_asked_for_envoy_s_lines_are_json_too(life: Gateway) -> None:
    assert [line for line in life.process.errors.splitlines() if not line.startswith("{")] == []


def test_no_log_holds_a_key_or_a_body(life: Gateway) -> None:
    for file in (life.process.stderr, life.process.stdout, life.access_log):
        text = file.read_text()
        assert [secret for secret in SECRETS if secret in text] == []


def test_envoy_knows_no_key(gateway: Gateway) -> None:
    envoy = gateway.process.children()["envoy"]
    words = Path(f"/proc/{envoy}/cmdline").read_bytes().decode().split("\0")
    assert "PLANTED" not in Path(words[words.index("--config-path") + 1]).read_text()
    dumps = [dump for port in listening(envoy) - {gateway.port} if (dump := config_dump(port))]
    assert dumps
    for dump in dumps:
        assert "PLANTED" not in dump
        assert "qwen-original" in dump


def listening(pid: int) -> set[int]:
    """The TCP ports a process listens on."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(entry)))
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def config_dump(port: int) -> str:
    with contextlib.suppress(AssertionError, OSError):
        return ask(port, "/config_dump", method="GET", leaks=()).body.decode()
    return ""
