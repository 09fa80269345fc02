"""Qwen Code (`qwen -p`), which speaks chat: it reads and edits files on every vendor."""

import pytest

from tests.clients.conftest import WAYS, Placing
from tests.clients.programs import call


@pytest.mark.parametrize("way", WAYS)
def test_it_reads_and_edits(place: Placing, way: str) -> None:
    at = place(way)
    note = str(at.work / "note.txt")
    edit = {"file_path": note, "old_string": "4711", "new_string": "4712"}
    done = at.qwen_code(f"Change the note. {call('read_file', {'file_path': note})} {call('edit', edit)}")
    assert done.code == 0, done.errors
    assert "工具返回" in done.text, done
    assert (at.work / "note.txt").read_text() == "the secret is 4712\n"


def test_an_error_is_told(place: Placing) -> None:
    done = place("qwen").qwen_code("[[sim:status=400]] hello")
    assert "simulated" in done.text + done.errors
