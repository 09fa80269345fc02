""".ci/run with everything replaced that takes time: whatever ends it, what it started in the background ends too."""

from collections.abc import Iterator
from contextlib import suppress
import os
from pathlib import Path
import shutil
import signal
import subprocess

import pytest

from tests.contract.processes import ROOT, until

CONTAINERS = """#!/usr/bin/env bash
cd "$1" && : >env
setsid bash -c 'sleep 600 & echo $! >>"$STARTED"; wait' & echo $! | tee service.pid >>"$STARTED"
[ "$BACKGROUND" = 2 ] || { sleep 600 & echo $! >>"$STARTED"; wait; }
"""
"""An engine with a child; and, with a third process in the background, work that is not done yet."""
MAKE = """#!/usr/bin/env bash
echo "$1" >>"$MADE"
[ "$1" = helm ] || until [ "$(wc -l <"$STARTED")" = "$BACKGROUND" ]; do sleep 0.1; done
[ "$1" != "$FAILS" ] || exit 7
[ "$1" != "$KILLS" ] || { kill -TERM $PPID; sleep 1; }
"""


@pytest.fixture
def ci(tmp_path: Path) -> Iterator[Path]:
    """A checkout that holds .ci/run and fakes."""
    for path, text in ((".ci/containers", CONTAINERS), ("bin/make", MAKE), ("bin/redis-server", "")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "started").touch()
    yield tmp_path
    for process in started(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def started(ci: Path) -> list[int]:
    return [int(line) for line in (ci / "started").read_text().split()]


def lives(process: int) -> bool:
    """Not a zombie, which nobody may be there to bury."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize(
    ("fails", "kills", "background", "code"),
    [
        ("", "", 2, 0),
        ("check", "", 3, 7),
        ("containers", "", 2, 7),
        ("", "test", 3, -signal.SIGTERM),
    ],
    ids=["it ends well", "a test fails", "a container fails", "it is told to end"],
)
def test_nothing_that_was_started_stays(ci: Path, fails: str, kills: str, background: int, code: int) -> None:
    environ = {"PATH": f"{ci}/bin:{os.environ['PATH']}", "XDG_CACHE_HOME": f"{ci}/cache", "MADE": f"{ci}/made"}
    environ |= {"STARTED": f"{ci}/started", "FAILS": fails, "KILLS": kills, "BACKGROUND": str(background)}
    done = subprocess.run(
        [ci / ".ci/run"], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120
    )
    steps = ["helm", "check", "test", "test", "instructions", "containers"]
    assert (ci / "made").read_text().split() == steps[: 1 + steps.index(fails or kills or "containers")]
    assert done.returncode == code, done.stderr
    assert len(started(ci)) == background
    until(lambda: not [process for process in started(ci) if lives(process)], "all have ended")
    assert not list((ci / "cache/ai-proxy-containers").glob("*.pid"))
