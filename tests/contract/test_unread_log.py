"""A gateway whose output nobody reads: a pipe takes 64 KiB, which is two hundred exchanges."""

from collections.abc import Iterator
import contextlib
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

import httpx

from .processes import PATIENCE, ROOT, environment, simulator
from .raw import ask, chat

EXCHANGES = 600


@contextlib.contextmanager
def unread(directory: Path, config: Path) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, Any]]]:
    """`extproc run` whose stderr is a pipe, read until it is ready and not again; and what it said then."""
    options = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json", "--workers", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "extproc", "run", "--config", str(config), *options],
        cwd=ROOT,
        env={**environment(), "XDG_STATE_HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        ready = next(line for line in process.stderr if line.startswith(b"{") and b'"event":"ready"' in line)
        yield process, json.loads(ready)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_it_answers_on_and_no_line_is_lost_while_its_queue_has_room(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    with simulator(tmp_path / "simulator") as url:
        config.write_text(
            json.dumps(
                {
                    "providers": [
                        {"type": "qwen", "apiTokens": ["sk-sim-1"], "endpoint": url, "modelMapping": {"*": "qwen-plus"}}
                    ]
                }
            )
        )
        with unread(tmp_path, config) as (process, said):
            port = int(said["base_url"].removesuffix("/v1").rpartition(":")[2])
            for number in range(EXCHANGES):
                assert ask(port, f"/unread-{number}/v1/chat/completions", chat("x")).status == 200
            assert httpx.get(f"{said['admin']}/readyz", trust_env=False, timeout=PATIENCE).status_code == 200
            assert httpx.get(f"{said['admin']}/healthz", trust_env=False, timeout=PATIENCE).status_code == 200
            process.terminate()
            rest = process.communicate(timeout=PATIENCE)[1].splitlines()
    lines = [json.loads(line) for line in rest if line.startswith(b"{")]
    exchanges = [line["path"] for line in lines if line["event"] == "exchange"]
    assert sorted(exchanges) == sorted(f"/unread-{number}/v1/chat/completions" for number in range(EXCHANGES))
    assert sum(len(line) for line in rest) > 2 * (1 << 16)
