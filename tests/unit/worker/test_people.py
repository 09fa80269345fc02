"""The line of an exchange on a terminal."""

from typing import Any

import pytest
import structlog

from extproc.worker import logs
from extproc.worker.people import Line, level

CHAT = {
    "event": "exchange",
    "timestamp": "2026-11-30T12:01:07.123456",
    "method": "POST",
    "path": "/v1/chat/completions",
    "provider": "qwen",
    "model": "gpt-4-turbo",
    "upstream_model": "qwen3.8-max",
    "stream": True,
    "status": 200,
    "prompt_tokens": 9,
    "completion_tokens": 10,
    "total_tokens": 19,
    "duration_ms": 312.4,
}
TIME = {"event": "exchange", "timestamp": "2026-11-30T12:01:07.123456", "duration_ms": 3.2}
POST = {**TIME, "method": "POST", "path": "/v1/chat/completions"}
AWAY = {"provider": "q", "status": 503, "details": "no_healthy_upstream"}
SECOND = {"upstream_model": "gpt-4-turbo", "attempt": 2}


@pytest.mark.parametrize(
    ("values", "expected", "importance"),
    [
        (CHAT, "12:01:07 chat gpt-4-turbo→qwen3.8-max qwen 200 9+10 tok 312 ms", "info"),
        (
            {**CHAT, **SECOND, "client": "alice", "error": "cut", "request_id": "r-1"},
            "12:01:07 chat gpt-4-turbo qwen (attempt 2) 200 cut 9+10 tok 312 ms for alice r-1",
            "warning",
        ),
        (
            {**TIME, "method": "POST", "path": "/gw/v1/messages", "status": 401, "error": "invalid_api_key"},
            "12:01:07 messages 401 invalid_api_key 3 ms",
            "warning",
        ),
        ({**TIME, "method": "GET", "path": "/v1/models", "status": 200}, "12:01:07 GET models 200 3 ms", "info"),
        ({**POST, "path": "/x", "status": 404, "error": "unknown_url"}, "12:01:07 /x 404 unknown_url 3 ms", "info"),
        (
            {**POST, **AWAY, "path": "/v1/embeddings", "duration_ms": 12_345.0, "prompt_tokens": 7},
            "12:01:07 embeddings q 503 7 tok 12.3 s (no_healthy_upstream)",
            "error",
        ),
        ({**POST, "status": 429}, "12:01:07 chat 429 3 ms", "warning"),
        ({**POST, "error": "cut"}, "12:01:07 chat cut 3 ms", "warning"),
        ({**POST, "error": "client_left"}, "12:01:07 chat client_left 3 ms", "info"),
        ({**POST, "status": 200, "error": "vendor_cut"}, "12:01:07 chat 200 vendor_cut 3 ms", "warning"),
    ],
)  # fmt: skip
def test_an_exchange_in_one_line(values: dict[str, Any], expected: str, importance: str) -> None:
    assert Line(lambda *_: "another", colors=False)(None, "", dict(values)) == expected
    assert level(values) == importance
    colored = Line(lambda *_: "another", colors=True)(None, "", dict(values))
    assert colored != expected
    assert all(word in colored for word in expected.split())


def test_ids_are_there_where_something_failed_or_all_with_verbose() -> None:
    ids = {"request_id": "r-1", "upstream_request_id": "u-1", "worker": 0}

    def line(values: dict[str, Any], verbose: bool) -> str:
        return str(Line(lambda *_: "another", colors=False, verbose=verbose)(None, "", {**values, **ids}))

    assert "r-1" not in line(CHAT, False)
    assert line({**POST, "status": 404}, False).endswith(" 3 ms r-1")
    assert line(CHAT, True).endswith(" 312 ms r-1 vendor's u-1 worker 0")


def test_other_lines_are_as_they_were() -> None:
    assert Line(lambda *_: "another", colors=True)(None, "", {"event": "ready"}) == "another"


@pytest.mark.parametrize(("least", "shown"), [("info", 3), ("warning", 2), ("error", 1)])
def test_how_much_an_exchange_matters_decides_whether_it_is_shown(
    least: str, shown: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = structlog.get_config()
    logs.configure("console", least)
    structlog.configure(cache_logger_on_first_use=False)
    try:
        for status in (200, 429, 502):
            logs.often(
                "exchange",
                {name: value for name, value in CHAT.items() if name not in ("event", "timestamp")}
                | {"status": status},
            )
        logs.drain(5)
    finally:
        structlog.configure(**before)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == shown
    assert all("→qwen3.8-max qwen" in line for line in lines)
