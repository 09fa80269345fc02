"""What of Envoy's standard error reaches our log."""

import pytest

from extproc.envoy.lines import Lines

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


def test_a_long_line_is_cut() -> None:
    assert len(Lines().known(WARNING + "x" * 10_000) or "") == 1001
