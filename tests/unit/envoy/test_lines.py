"""What of Envoy's standard error reaches our log."""

import json

import pytest

from extproc.envoy.lines import Lines, Told, told_by

WARNING = "[2026-11-30 18:00:00.123][23][warning][config] [source/common/config/x.cc:152] gRPC config: closed"
CRITICAL = "[2026-11-30 18:00:01.000][31][critical][backtrace] [./source/server/backtrace.h:129] Caught Aborted"
FRAME = "[2026-11-30 18:00:01.000][31][critical][backtrace] [./source/server/backtrace.h:121] #0: [0x7f00]"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([WARNING, WARNING], [WARNING, WARNING]),
        (
            ["[2026-11-30 18:00:00.123][23][warning][misc] no file"],
            ["[2026-11-30 18:00:00.123][23][warning][misc] no file"],
        ),
        (
            [CRITICAL, FRAME, "ActiveStream 0x1, body: sk-a-key", "", "  'authorization', 'Bearer sk-a-key'"],
            [CRITICAL, FRAME],
        ),
        # A dump might quote what looks like a line of the logger.
        ([CRITICAL, WARNING, FRAME], [CRITICAL, FRAME]),
        (["sk-a-key", WARNING, "data: {}"], [WARNING]),
    ],
    ids=["its logger", "without a place", "a dump", "a log line within a dump", "anything else"],
)
def test_only_lines_of_the_logger_are_shown(lines: list[str], expected: list[str]) -> None:
    said = Lines()
    assert [known for line in lines if (known := said.known(line)) is not None] == expected
    assert said.left_out == len(lines) - len(expected)


def test_a_warning_that_we_bring_about_at_each_start_is_not_shown() -> None:
    said = Lines()
    line = WARNING.replace("gRPC config: closed", "'CEL' formatter is always enabled and only requires explicit …")
    assert said.known(line) is None
    assert said.left_out == 0, "it was read, and no dump"


def test_a_long_line_is_cut() -> None:
    assert len(Lines().known(WARNING + "x" * 10_000) or "") == 1001


@pytest.mark.parametrize(
    ("flags", "words", "reason", "error"),
    [
        (
            "UF",
            "delayed_connect_error:_Connection_refused",
            "delayed connect error: Connection refused",
            "upstream_unavailable",
        ),
        (
            "UF",
            "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:cert:_expired:TLS_error_end",
            "TLS: CERTIFICATE VERIFY FAILED: cert: expired",
            "upstream_unavailable",
        ),
        (
            "UF",
            "TLS_error:_Secret_is_not_supplied_by_SDS",
            "TLS: Secret is not supplied by SDS",
            "upstream_unavailable",
        ),
        ("UF,URX", None, "no connection in time", "upstream_unavailable"),
        ("UT", "-", "no answer in time", "upstream_timeout"),
        ("UC", "", "the vendor closed the connection", "vendor_cut"),
        ("UR", "", "the vendor reset the connection", "vendor_cut"),
        ("UPE", "", "not HTTP, or broken off", "vendor_cut"),
        ("XX", None, "XX", None),
    ],
)
def test_why_an_attempt_failed(flags: str, words: str | None, reason: str, error: str | None) -> None:
    line = {"ai_proxy": "attempt", "provider": "p", "host": "h", "flags": flags, "reason": words, "other": "x"}
    assert told_by(json.dumps(line)) == Told("attempt", {"provider": "p", "host": "h", "reason": reason}, error)


@pytest.mark.parametrize(
    ("attempts", "error", "expected"),
    [
        (2, "client_left", (2, "client_left")),
        (0, "client_left", (1, "client_left")),  # before there was an attempt
        (1, "vendor_cut", (1, "vendor_cut")),
        (1, "stream_truncated", (1, None)),  # the sidecar's own word, which it knows
        (1, {"a": 1}, (1, None)),
        ("x", None, (None, None)),
    ],
)
def test_how_an_exchange_ended(attempts: object, error: object, expected: tuple[int | None, str | None]) -> None:
    said = told_by(json.dumps({"ai_proxy": "end", "request_id": "r", "attempts": attempts, "error": error}))
    assert said is not None
    assert (said.kind, said.request_id, said.attempt, said.error) == ("end", "r", *expected)


@pytest.mark.parametrize("line", ["", "{", "[1]", "{}", '{"ai_proxy": 1}', '{"ai_proxy": "else"}', "[2026] text"])
def test_what_our_loggers_did_not_write_is_none(line: str) -> None:
    assert told_by(line) is None
