"""Codex (`codex exec`) works on every vendor: it chats, runs commands, edits files, thinks and tells errors."""

import pytest

from tests.clients.conftest import WAYS, Placing
from tests.clients.programs import call

PATCH = '*** Begin Patch\n*** Add File: new.txt\n+hello "patch" 🙂\n+\ttab \\ backslash\n*** Update File: note.txt\n@@\n-the secret is 4711\n+the secret is 4712\n*** End Patch\n'  # noqa: E501


@pytest.mark.parametrize("way", WAYS)
def test_a_command_and_a_freeform_patch(place: Placing, way: str) -> None:
    at = place(way)
    steps = (call("exec_command", {"cmd": "cat note.txt"}), call("apply_patch", {"input": PATCH}))
    done = at.codex(f"Read the note, then change it. {' '.join(steps)}")
    assert done.code == 0, done.errors
    assert "工具返回" in done.text, done
    assert "the secret is 4711" in done.errors + done.text, "the command's output"
    assert (at.work / "new.txt").read_text() == 'hello "patch" 🙂\n\ttab \\ backslash\n'
    assert (at.work / "note.txt").read_text() == "the secret is 4712\n"


def test_thinking_is_shown(place: Placing) -> None:
    done = place("qwen").codex("早上好")
    assert done.code == 0, done.errors
    assert "让我想一想" in done.errors + done.text
    assert "你好！我是通义千问（模拟）" in done.text


def test_a_model_with_tools_in_namespaces(place: Placing) -> None:
    """Its tools are `functions.exec` and the like, freeform too: JavaScript that calls others."""
    script = 'text(await tools.exec_command({cmd: "cat note.txt"}))'
    done = place("openai").codex(f"Read the note. {call('functions__exec', {'input': script})}", model="gpt-6.1-sol")
    assert done.code == 0, done.errors
    assert "4711" in done.errors + done.text


@pytest.mark.parametrize(
    ("marker", "words"),
    [("status=400", "simulated"), ("error_frame", "simulated"), ("end", "before its answer was complete")],
)
def test_an_error_is_told(place: Placing, marker: str, words: str) -> None:
    done = place("qwen").codex(f"[[sim:{marker}]] hello")
    assert done.code != 0
    assert words in done.errors + done.text
