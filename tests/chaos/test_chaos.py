"""The short form of `make chaos`, and that its client notices what may not be."""

from collections.abc import Mapping
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest

from tests.contract import processes

from . import limits, report
from .client import PLANTED, Got, Shape, judge

ID, OTHER = "r000001", "r000002"
SHAPE = Shape(pieces=2)
WHOLE = SHAPE.text(ID)
ERROR = {"error": {"message": "no", "type": "t", "param": None, "code": "c"}}
SSE = {"content-type": "text/event-stream"}


def events(*said: str | Mapping[str, Any]) -> bytes:
    def data(each: str | Mapping[str, Any]) -> str:
        if isinstance(each, str) and each != "[DONE]":
            each = {"choices": [{"delta": {"content": each}}]}
        return each if isinstance(each, str) else json.dumps(each)

    return b"".join(f"data: {data(each)}\n\n".encode() for each in said)


def whole(text: str) -> bytes:
    return json.dumps({"object": "chat.completion", "choices": [{"message": {"content": text}}]}).encode()


ONE, TWO = f"{ID}.0 ", f"{ID}.1 "
STREAMS = {
    "answered": (events(ONE, TWO, "[DONE]"), {}),
    "an error event": (events(ONE, ERROR), {"complete": False}),
    "incomplete: an error event, and a clean end": (events(ONE, ERROR), {}),
    "malformed: what follows an error": (events(ONE, ERROR, TWO), {"complete": False}),
    "cut": (events(ONE) + b"data: {", {"complete": False}),
    "left": (events(ONE), {"complete": False, "left": True}),
    "lost in mid-stream": (events(ONE), {"complete": False, "timed_out": True}),
    "incomplete: no end": (events(ONE, TWO), {}),
    "incomplete: too short": (events(ONE, "[DONE]"), {}),
    "incomplete: too short, then cut": (events(ONE, "[DONE]"), {"complete": False}),
    "duplicate piece": (events(ONE, ONE, TWO, "[DONE]"), {}),
    "duplicate end": (events(ONE, TWO, "[DONE]", "[DONE]"), {}),
    "duplicate answer": (events(ONE, TWO, "[DONE]"), {"more": b"H"}),
    "duplicate error": (events(ONE, ERROR, ERROR), {}),
    "malformed: what follows the end": (events(ONE, "[DONE]", TWO), {}),
    "malformed: the wrong order": (events(TWO, ONE, "[DONE]"), {}),
    "malformed: the wrong order, cut": (events(TWO), {"complete": False}),
    "malformed: half an event": (events(ONE) + b"data: {", {}),
    "malformed event": (events(ONE) + b"data: {]\n\n", {}),
    "malformed error": (events(ONE, {"error": {"message": "no"}}), {}),
    "foreign text": (events(ONE, f"{OTHER}.1 ", "[DONE]"), {}),
    "foreign: a key": (events(ONE, {"error": "sk-PLANTED"}), {}),
}
BODIES = {
    "answered": (200, whole(WHOLE), {}),
    "an error": (429, json.dumps(ERROR).encode(), {}),
    "cut": (200, whole(WHOLE)[:20], {"complete": False}),
    "lost": (None, b"", {"complete": False}),
    "incomplete": (200, whole(ONE), {}),
    "duplicate": (200, whole(ONE + WHOLE), {}),
    "malformed": (200, b"<html>", {}),
    "malformed error": (500, b"upstream connect error", {}),
    "malformed status": (302, whole(WHOLE), {}),
    "foreign": (200, whole(f"{OTHER}.0 "), {}),
}


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_is_judged(case: str) -> None:
    body, how = STREAMS[case]
    assert (
        judge(SHAPE, ID, Got(200, SSE, bytearray(body), **{"complete": True, **how})) in case.replace(":", "").split()
    )


@pytest.mark.parametrize("case", BODIES)
def test_a_whole_answer_is_judged(case: str) -> None:
    status, body, how = BODIES[case]
    got = Got(status, {"content-type": "application/json"}, bytearray(body), **{"complete": True, **how})
    assert judge(SHAPE, ID, got) in case.split()


def test_a_planted_header_is_foreign() -> None:
    assert PLANTED.search(b"sk-PLANTED-first")
    assert judge(SHAPE, ID, Got(500, {"x-key": "sk-PLANTED-first"}, bytearray(b"{}"), complete=True)) == "foreign"


def test_nothing_is_lost() -> None:
    """Some scenarios, small; `make chaos` plays all of them."""
    command = (sys.executable, "-m", "tests.chaos")
    environ = processes.environment(CHAOS="quick")
    ended = subprocess.run(command, cwd=processes.ROOT, env=environ, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("ok ") >= 5


def test_the_documents_say_what_was_measured() -> None:
    document = json.loads(report.DATA.read_text())
    for path, text in report.rendered(document).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make chaos`"
    assert {row["name"] for row in document["rows"]} == {scenario.name for scenario in report.SCENARIOS}
    assert [row["name"] for row in document["limits"]] == list(limits.SCENARIOS)


@pytest.mark.parametrize("name", ["limits", "limits-workers-killed"])
def test_a_limit_holds(name: str, tmp_path: Path) -> None:
    assert limits.play(name, tmp_path)["problems"] == []
