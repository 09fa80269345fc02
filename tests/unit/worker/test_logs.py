"""What a crash leaves in the log: where it happened, and nothing of the client, the vendor or a key."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
import fcntl
import json
import os
from pathlib import Path
import re
import sys
import threading
from typing import IO, Any, cast

import pytest
import structlog

from extproc._pb import extproc_pb2 as pb
from extproc.exchange.exchange import Snapshot
from extproc.providers import Provider
from extproc.worker import logs, output, server
from tests.unit.player import config_of

SECRETS = ("sk-vendor", "client-key", "the prompt")
CONFIG = config_of({"providers": [{"id": "p", "type": "openai", "apiTokens": ["sk-vendor"]}]})
HEADERS = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
    "authorization": "Bearer client-key",
}
BODY = {"model": "m", "messages": [{"role": "user", "content": "the prompt"}]}


def _messages() -> list[bytes]:
    """Envoy's side of one exchange."""
    head = pb.ProcessingRequest()
    for name, value in HEADERS.items():
        header = pb.HeaderValue(key=name, raw_value=value.encode())
        head.request_headers.headers.headers.append(header.SerializeToString())
    body = pb.ProcessingRequest()
    body.request_body.body = json.dumps(BODY).encode()
    body.request_body.end_of_stream = True
    return [head.SerializeToString(), body.SerializeToString()]


def _crash(self: Provider, call: Any) -> None:
    key = call.token
    try:
        raise KeyError(f"it was {call.text!r}")
    except KeyError as error:
        raise ValueError(f"it was {key} {call.headers}") from error


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_crash_is_logged_without_what_was_in_it(
    format: logs.Format, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = structlog.get_config()
    logs.configure(format)
    monkeypatch.setattr(server, "log", structlog.get_logger("fresh"))
    monkeypatch.setattr(Provider, "body", _crash)
    try:
        talk = server.Processor(lambda: Snapshot(CONFIG, {})).begin()
        answers = [talk.answer(message) for message in _messages()]
        talk.end()
    finally:
        structlog.configure(**before)
    assert pb.ProcessingResponse.FromString(answers[-1]).immediate_response.status.code == 500
    logs.drain(5)
    logged = capsys.readouterr().err
    assert "an exchange failed unexpectedly" in logged
    assert "builtins.KeyError" in logged
    assert "builtins.ValueError" in logged
    assert "_crash" in logged, "where it happened"
    assert [s for s in SECRETS if s in logged] == []
    if format == "json":
        assert all(isinstance(json.loads(line), dict) for line in logged.splitlines())


class _Full:
    """A stderr whose disk is full."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        self.write("")

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def isatty(self) -> bool:
        return False


def test_a_line_that_cannot_be_written_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", _Full())
    logs.configure("json")
    log = structlog.get_logger("extproc.test")
    log.error("lost")
    logs.hold(True)
    log.error("held back, and lost")
    logs.hold(False)
    structlog.reset_defaults()


def test_a_line_for_machines_is_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    logs.drain(5)  # what tests before left on its way
    capsys.readouterr()
    logs.configure("json", worker=3)
    try:
        structlog.get_logger("fresh").info("x", path=Path("/a"), text="你 🐉", n=1.5, none=None)
        structlog.get_logger("fresh").info("x", model="cut \ud83d", n=7, none=None)
    finally:
        structlog.configure(**before)
    logs.drain(5)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    known = {"event": "x", "level": "info", "worker": 3, "none": None}
    assert first | known | {"path": "/a", "text": "你 🐉", "n": 1.5} == first
    assert second | known | {"model": r"cut \ud83d", "n": 7} == second


@pytest.mark.parametrize("level", ["info", "warning"])
@pytest.mark.parametrize("format", ["console", "json"])
def test_a_line_that_is_written_often_is_as_structlog_writes_it(
    format: logs.Format, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"path": "/v1/models", "status": 200, "duration_ms": 1.5, "model": "cut \ud83d"}
    before = structlog.get_config()
    logs.configure(format, level, worker=3)
    structlog.configure(cache_logger_on_first_use=False)
    try:
        logs.often("exchange", {**values})
        structlog.get_logger("fresh").info("exchange", **values)
    finally:
        structlog.configure(**before)
    logs.drain(5)
    often, other = (re.sub(r"\d{4}-[^ \"]+", "TIME", line) for line in capsys.readouterr().err.splitlines() or ("", ""))
    assert often == other
    assert ("models" in often) == (level == "info")


class _Pipe:
    """A stderr whose reader sleeps until it is woken."""

    def __init__(self) -> None:
        self.read = threading.Event()
        self.begun = threading.Event()
        self.text = ""

    def write(self, text: str) -> None:
        self.begun.set()
        self.read.wait(60)
        self.text += text


def test_nobody_waits_for_who_reads_the_log_and_lost_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, lost = _Pipe(), list[int]()
    monkeypatch.setattr("sys.stderr", pipe)
    monkeypatch.setattr(output, "MOST_WAITING", 1000)
    out = output.Output(lambda lines: (lost.append(lines), out.write(f"{lines} lost\n"))[0])
    out.write("first\n")
    assert pipe.begun.wait(60)  # and stays there
    for number in range(1000):
        out.write(f"{number:09}\n")
    pipe.read.set()
    out.drain(60)
    lines = pipe.text.splitlines()
    assert lines[:2] == ["first", "000000000"]
    assert [*map(int, lines[1:-1])] == [*range(1000 - lost[0])]
    assert lines[-1] == f"{lost[0]} lost"
    assert 800 < lost[0] < 1000


@contextmanager
def piped() -> Iterator[tuple[IO[str], output.Output]]:
    """What reads a stderr that is a pipe of one page, and what writes it. No fixture: pytest puts its own stderr in
    place between those and the test."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(reads) as reader, os.fdopen(writes, "w", buffering=1) as writer, redirect_stderr(writer):
        out = output.Output(lambda lines: None)
        out.open()
        yield reader, out


def test_a_line_that_a_pipe_has_room_for_wakes_nobody() -> None:
    with piped() as (reader, out):
        out.write("here\n")
        assert reader.readline() == "here\n"
        assert out._thread is None
        out.hold(True)
        out.write("held\n")
        assert list(out._lines) == ["held\n"]
        out.hold(False)
        assert reader.readline() == "held\n"


def test_lines_that_a_pipe_has_no_room_for_wait_in_their_order() -> None:
    with piped() as (reader, out):
        wanted = [f"{number:09} {'é' * (number % 7 == 3)}\n" for number in range(3000)]
        for line in wanted:
            out.write(line)
        assert [reader.readline() for _ in wanted] == wanted
        out.drain(60)
        out.write("again at once\n")
        assert reader.readline() == "again at once\n"


def test_lines_of_another_process_never_come_in_between() -> None:
    with piped() as (reader, out):
        other = os.dup(sys.stderr.fileno())
        ours, theirs = ([f"{who} {number:06} {'e' * 90}\n" for number in range(2000)] for who in "ab")
        for line in ours:
            out.write(line)

        def write() -> None:
            for line in theirs:
                os.write(other, line.encode())

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        read = [reader.readline() for _ in range(4000)]
        writing.join()
        os.close(other)
    assert [line for line in read if line[0] == "a"] == ours
    assert [line for line in read if line[0] == "b"] == theirs


def test_another_stderr_than_was_opened_has_its_lines() -> None:
    other = _Pipe()
    other.read.set()
    with piped() as (_, out), redirect_stderr(cast(IO[str], other)):
        out.write("there\n")
        out.drain(60)
        assert other.text == "there\n"


@pytest.mark.parametrize("closed", [None, _Full()])
def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch, closed: Any) -> None:
    monkeypatch.setattr("sys.stderr", closed)
    out = output.Output(lambda lines: None)
    out.write("lost\n")
    out.drain(60)
    pipe = _Pipe()
    pipe.read.set()
    monkeypatch.setattr("sys.stderr", pipe)
    out.write("there\n")
    out.drain(60)
    assert pipe.text == "there\n"


def test_lines_wait_while_something_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = _Pipe()
    pipe.read.set()
    monkeypatch.setattr("sys.stderr", pipe)
    out = output.Output(lambda lines: None)
    out.hold(True)
    out.write("a\n")
    assert pipe.text == ""
    out.hold(False)
    out.drain(60)
    assert pipe.text == "a\n"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("你好 👋", "你好 👋"),
        ("a\x9b31mb", "a\\x9b31mb"),  # what terminals take for ESC [
        ("a\nb\x1b[2J\x7f", "a\\nb\\x1b[2J\\x7f"),
        ("\u202e\u2028\u200b\ufeff", "\\u202e\\u2028\\u200b\\ufeff"),
        ("\ud800", "\\ud800"),
        ("a\x7f", "a\\x7f"),
        ('a"b\\c', 'a"b\\c'),
        ("x" * 1024, "x" * 1024),
        ("x" * 5000, "x" * 1024 + "…"),
    ],
)
@pytest.mark.parametrize("often", [True, False])
def test_what_is_not_ours_is_escaped_and_cut(
    given: str, line: str, often: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = structlog.get_config()
    logs.configure("json")
    try:
        if often:
            logs.often("exchange", {"request_id": given})
        else:
            structlog.get_logger("fresh").info("exchange", request_id=given)
    finally:
        structlog.configure(**before)
    logs.drain(5)
    assert json.loads(capsys.readouterr().err)["request_id"] == line
