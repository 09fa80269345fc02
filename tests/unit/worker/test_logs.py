"""What a crash leaves in the log: where it happened, and nothing of the client, the vendor or a key."""

import json
from pathlib import Path
import re
from typing import Any

import pytest
import structlog

from extproc._pb import extproc_pb2 as pb
from extproc.exchange.exchange import Snapshot
from extproc.providers import Provider
from extproc.worker import logs, server
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
        head.request_headers.headers.headers.add(key=name, raw_value=value.encode())
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
    logs.configure("json", worker=3)
    try:
        structlog.get_logger("fresh").info("x", path=Path("/a"), text="你 🐉", n=1.5, none=None)
        structlog.get_logger("fresh").info("x", model="cut \ud83d", n=7, none=None)
    finally:
        structlog.configure(**before)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    known = {"event": "x", "level": "info", "worker": 3, "none": None}
    assert first | known | {"path": "/a", "text": "你 🐉", "n": 1.5} == first
    assert second | known | {"model": "cut \ud83d", "n": 7} == second


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
        logs.often("exchange", values)
        structlog.get_logger("fresh").info("exchange", **values)
    finally:
        structlog.configure(**before)
    often, other = (re.sub(r"\d{4}-[^ \"]+", "TIME", line) for line in capsys.readouterr().err.splitlines() or ("", ""))
    assert often == other
    assert ("models" in often) == (level == "info")
