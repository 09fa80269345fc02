"""What Envoy says at length, in one sentence."""

import pytest

from extproc.envoy.process import _complaint

BIND = "cannot bind '127.0.0.1:80': Address already in use"
RULE = "Proto constraint validation failed (FileAccessLogValidationError.Path: value length must be at least 1)"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (f"error initializing configuration '/tmp/x/envoy.json': {BIND}\n", BIND),
        (
            f"[2026-01-01 00:00:00.000][7][critical][main] [source/server/server.cc:449] error `{BIND}` initializing "
            f"config 'goo.gle/debugproto\n  /tmp/x/envoy.json'\n{BIND}\n",
            BIND,
        ),
        (f"error initializing configuration '/x': goo.gle/debugstr\nlog_format {{\n  a: \"b\"\n}}\n: {RULE}\n", RULE),
        (f"  key: \"cut\"\n}}\n: {RULE}` initializing config 'goo.gle/debugproto\n  /x'\n", RULE),
        ("[2026-01-01 00:00:00.000][7][warning][misc] [a.cc:1] old\nPARSE ERROR: --x\n", "PARSE ERROR: --x"),
        (
            "[2026-01-01 00:00:00.000][7][warning][misc] [a.cc:1] old\n",
            "[2026-01-01 00:00:00.000][7][warning][misc] [a.cc:1] old",
        ),
        ("", ""),
    ],
)
def test_the_first_useful_sentence(output: str, expected: str) -> None:
    assert _complaint(output) == expected
