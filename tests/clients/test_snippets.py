"""What the console's "Set up" page shows, run as it stands: with a key put in the place of `YOUR_KEY`, nothing else."""

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

from extproc.console.snippets import KEY, Snippet, snippets
from tests.clients import programs
from tests.clients.conftest import Placing
from tests.contract.processes import PATIENCE, Gateway, environment
from tests.contract.test_node_sdk import HERE as NODE_SDK
from tests.contract.test_node_sdk import node

__all__ = ["node"]


def snippet(base: str, id: str, model: str = "qwen-plus") -> Snippet:
    [found] = [one for one in snippets(f"{base}/qwen", model, "any") if one.id == id]
    return found


def ran(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env=environment(), cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(gateway: Gateway) -> None:
    said = ran("bash", "-c", snippet(gateway.base, "curl").text)
    assert said.rstrip().endswith("data: [DONE]")
    events = [json.loads(line[6:]) for line in said.split("\n") if line.startswith("data: {")]
    assert "通义" in "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


@pytest.mark.parametrize("id", ["openai-python", "langchain"])
def test_python(gateway: Gateway, tmp_path: Path, id: str) -> None:
    (tmp_path / "snippet.py").write_text(snippet(gateway.base, id).text)
    assert ran(sys.executable, str(tmp_path / "snippet.py")).endswith("你说：你好")


def test_openai_for_node(gateway: Gateway, node: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NODE_SDK / "node_modules")
    (tmp_path / "snippet.mjs").write_text(snippet(gateway.base, "openai-node").text)
    assert ran(node, "snippet.mjs", cwd=tmp_path).endswith("你说：你好")


def exported(text: str) -> dict[str, str]:
    """What a shell has in its environment behind these lines."""
    command = ["bash", "-ec", f"{text}\nenv"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())


def test_claude_code(place: Placing) -> None:
    at = place("qwen")
    environ = exported(snippet(at.base.removesuffix("/qwen"), "claude-code").text) | {"IS_SANDBOX": "1"}
    done = at.run(programs.CLAUDE, "-p", "hello", environ=environ)
    assert done.code == 0, done.errors
    assert "通义" in done.text


def test_codex(place: Placing) -> None:
    at = place("qwen")
    shown = snippet(at.base.removesuffix("/qwen"), "codex")
    config = at.home / shown.file.removeprefix("~/")
    config.parent.mkdir()
    config.write_text(shown.text)
    variable = shown.run.partition("=")[0]
    options = ("exec", "--skip-git-repo-check", "--sandbox", "danger-full-access")
    done = at.run(programs.CODEX, *options, "hello", environ={variable: "any"})
    assert done.code == 0, done.errors
    assert "通义" in done.text


def test_qwen_code(place: Placing) -> None:
    at = place("qwen")
    shown = snippet(at.base.removesuffix("/qwen"), "qwen-code")
    done = at.run(programs.NODE, programs.QWEN, *shown.run.split()[1:], "-p", "hello", environ=exported(shown.text))
    assert done.code == 0, done.errors
    assert "通义" in done.text


@pytest.mark.parametrize("one", snippets("http://h:1", "m"), ids=lambda one: one.id)
def test_each_names_the_address_and_the_model(one: Snippet) -> None:
    assert "http://h:1" in one.text
    assert KEY in one.text + one.run
    if one.kind == "python":
        compile(one.text, one.id, "exec")
