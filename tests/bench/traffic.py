"""The load generator and the vendor (`traffic/`, Go): built once, asked by command line, answering in JSON."""

from collections.abc import Iterator, Mapping
import contextlib
from dataclasses import dataclass
import json
from pathlib import Path
import shutil
import subprocess
from typing import Any, Final

from tests.contract.processes import ROOT

SOURCE: Final = Path(__file__).parent / "traffic"
_PROGRAM: Final = ROOT / ".venv" / "bench" / "traffic"


def built() -> Path:
    """The program, built where its source is newer. Raises `SystemExit` without Go."""
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
    if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < newest:
        if shutil.which("go") is None:
            raise SystemExit("the load generator is written in Go, and there is no `go`: https://go.dev/doc/install")
        _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "build", "-o", str(_PROGRAM), "."], cwd=SOURCE, check=True)
    return _PROGRAM


class Failed(Exception):
    """The load generator itself failed."""


@dataclass(frozen=True)
class Ask:
    """A request, and what its answer must have. `wish`: what the vendor is asked for, see traffic/upstream.go."""

    request: bytes
    chunks: int
    end: str


def request(path: str, headers: Mapping[str, str], body: Any) -> bytes:
    text = json.dumps(body, ensure_ascii=False).encode()
    given = {"content-type": "application/json", "content-length": str(len(text)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + text


def _command(directory: Path, target: str, ask: Ask, options: Mapping[str, Any]) -> list[str]:
    file = directory / f"request-{abs(hash(ask))}"
    file.write_bytes(ask.request)
    given = {"target": target, "request": file, "chunks": ask.chunks, "end": ask.end, **options}
    return [str(_PROGRAM), "load", *(f"-{name}={value}" for name, value in given.items())]


def load(directory: Path, target: str, ask: Ask, **options: Any) -> dict[str, Any]:
    """What the load generator saw: see `result` in traffic/load.go. `options`: its flags."""
    done = subprocess.run(_command(directory, target, ask, options), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr[-500:])
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@contextlib.contextmanager
def held(directory: Path, target: str, ask: Ask, streams: int) -> Iterator[int]:
    """Open streams, as many as could be opened, until the block ends."""
    line = _command(directory, target, ask, {"connections": streams, "hold": "true"})
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as popen:
        assert popen.stdin is not None
        assert popen.stdout is not None
        try:
            yield int(json.loads(popen.stdout.readline() or '{"open": 0}')["open"])
        finally:
            popen.stdin.close()
