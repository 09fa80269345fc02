"""The official OpenAI SDK for Node: one smoke test of a chat, a stream and an error."""

import json
from pathlib import Path
import shutil
import subprocess
from typing import Any

import pytest

from .processes import ROOT, Gateway, environment

HERE = ROOT / "tests" / "node"


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed: the Node SDK cannot referee here")
    if not Path(HERE, "node_modules", "openai").exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed and tests/node/node_modules is missing")
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, capture_output=True, timeout=120)
    return found


@pytest.mark.parametrize(("vendor", "model"), [("qwen", "gpt-4o"), ("moonshot", "my-kimi")])
def test_node(gateway: Gateway, node: str, vendor: str, model: str) -> None:
    command = [node, str(HERE / "smoke.mjs"), gateway.url, vendor, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
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
