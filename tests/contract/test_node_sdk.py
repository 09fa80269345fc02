"""Official SDKs for Node, OpenAI's and Anthropic's, and Vercel's `ai`: one smoke test of each front."""

import json
from pathlib import Path
import shutil
import subprocess
from typing import Any

import pytest

from .processes import PATIENCE, ROOT, Gateway, environment

HERE = ROOT / "tests" / "node"


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed: the Node SDK cannot referee here")
    if not all(Path(HERE, "node_modules", package).exists() for package in ("openai", "ai", "@anthropic-ai/sdk")):
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed and tests/node/node_modules is missing")
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, capture_output=True, timeout=600)
    return found


@pytest.mark.parametrize(("vendor", "model"), [("qwen", "gpt-4o"), ("moonshot", "my-kimi")])
def test_node(gateway: Gateway, node: str, vendor: str, model: str) -> None:
    command = [node, str(HERE / "smoke.mjs"), gateway.url, vendor, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["chat"]["content"].endswith("你说：早上好 👋")
    assert said["chat"]["model"] == model
    assert said["stream"] == {"content": said["chat"]["content"], "finish": "stop", "done": 1}
    assert said["tools"] == [{"name": "get_weather", "arguments": {"city": "杭州"}}]
    assert said["embedding"] is True
    assert said["error"]["class"] == "RateLimitError"
    assert said["error"]["status"] == 429
    assert said["error"]["retry"] == "7"
    assert "simulated error inside the stream" in said["broken"]


@pytest.mark.parametrize(("vendor", "model"), [("qwen", "gpt-4o"), ("moonshot", "my-kimi")])
def test_the_other_fronts(gateway: Gateway, node: str, vendor: str, model: str) -> None:
    command = [node, str(HERE / "fronts.mjs"), gateway.url.removesuffix("/v1"), vendor, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    called = [{"name": "get_weather", "input": {"city": "杭州"}}]
    assert said["anthropic"].pop("stop") == "tool_use"
    refused = said["anthropic"].pop("refused")
    assert (refused["class"], refused["status"]) == ("RateLimitError", 429)
    for name, told in said.items():
        text = "".join(told["whole"])
        assert text.endswith("你说：你好"), name
        assert "".join(told["streamed"]) == text, name
        assert told["tools"] == called, name
        assert told["broken"], name
        if name.startswith("ai-"):
            assert told["finish"] == "stop", name
            assert told["steps"] == ["tool-calls", "stop"], (name, told)
            assert "杭州: rain" in told["after"], (name, told)
