"""Claude Code (`claude -p`) works on every vendor: it chats, reads and edits files, and tells errors."""

import pytest

from tests.clients.conftest import WAYS, Placing
from tests.clients.programs import call


@pytest.mark.parametrize("way", WAYS)
def test_it_reads_and_edits(place: Placing, way: str) -> None:
    at = place(way)
    note = str(at.work / "note.txt")
    edit = {"file_path": note, "old_string": "4711", "new_string": "4712"}
    prompt = f"Change the note. {call('Read', {'file_path': note})} {call('Edit', edit)}"
    done = at.claude(prompt, "Read", "Edit")
    assert done.code == 0, done
    assert "工具返回" in done.text, done
    assert (at.work / "note.txt").read_text() == "the secret is 4712\n"


def test_a_chat(place: Placing) -> None:
    done = place("qwen").claude("早上好")
    assert done.code == 0, done
    assert "你好！我是通义千问（模拟）" in done.text


def test_an_error_is_told(place: Placing) -> None:
    done = place("qwen").claude("[[sim:status=400]] hello")
    assert done.code != 0
    assert "simulated" in done.text + done.errors
