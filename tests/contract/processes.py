"""The programs under test as users start them: `python -m extproc …`, on ports of their own, ended by process id."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0
WORKER = "extproc.worker"


def environment(**more: str) -> dict[str, str]:
    """This process' environment without proxies and without anything that configures the gateway."""
    ours = ("_API_KEY", "_SERVICE_URL", "DEFAULT_AI_SERVICE", "_PROXY")
    return {k: v for k, v in os.environ.items() if not k.upper().endswith(ours)} | more


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a condition; its first true value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of so many free ports, one after the other."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for port in range(first, first + count):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


@contextlib.contextmanager
def command(directory: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator["Process"]:
    """`python -m extproc ARGUMENTS` with its output in files under `directory`; ended with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    out, err = directory / "stdout", directory / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "extproc", *arguments],
            cwd=ROOT,
            env=dict(environment() if environ is None else environ),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    running = Process(process, out, err)
    try:
        yield running
    finally:
        running.end()


@dataclass
class Process:
    """A started program."""

    popen: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def errors(self) -> str:
        return self.stderr.read_text(errors="replace")

    def end(self) -> int:
        """SIGTERM, and SIGKILL if that is not heard; the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit code of a program that ends by itself."""
        return self.popen.wait(patience)

    def children(self) -> dict[str, int]:
        """Process ids of the children by program: `envoy`, `simulate`. Workers are apart: see `workers`."""
        return {program: pid for pid, program in self._programs() if program != WORKER}

    def workers(self) -> list[int]:
        """Process ids of the worker processes, oldest first."""
        return [pid for pid, program in self._programs() if program == WORKER]

    def _programs(self) -> list[tuple[int, str]]:
        found = []
        for pid in Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
                known = next((word for word in ("simulate", WORKER) if word in words), Path(words[0]).name)
                found.append((int(pid), known))
        return found


@dataclass
class Gateway:
    """A running `extproc run`, asked to log JSON."""

    process: Process
    base: str
    admin: str
    access_log: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """What a client is given as base URL."""
        return f"{self.base}/v1"

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def log_lines(self) -> list[str]:
        """What the sidecar wrote; Envoy's own lines carry a prefix."""
        return [line for line in self.process.errors.splitlines() if not line.startswith("envoy: ")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return _named(self.log_lines(), name)

    def exchanges(self, path: str) -> list[dict[str, Any]]:
        """The log lines of exchanges whose path contains `path`, a mark that a test chose."""
        return [entry for entry in self.events("exchange") if path in entry.get("path", "")]

    def exchange(self, path: str) -> dict[str, Any]:
        """The one log line of the request whose path contains `path`; waited for."""
        until(lambda: self.exchanges(path), f"a log line for {path}")
        [entry] = self.exchanges(path)
        return entry


def _named(lines: list[str], name: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [entry for entry in entries if entry.get("event") == name]


@contextlib.contextmanager
def gateway(directory: Path, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[Gateway]:
    """`extproc run` with free ports, once it says it is ready."""
    access_log = directory / "access.log"
    arguments = ("run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json")
    with command(directory, *arguments, "--access-log", str(access_log), *options, environ=environ) as process:

        def ready() -> list[dict[str, Any]]:
            assert process.popen.poll() is None, f"ended with {process.popen.returncode}: {process.errors}"
            return _named(process.errors.splitlines(), "ready")

        said = until(ready, "the gateway is ready")[0]
        base = said["base_url"].removesuffix("/v1")
        yield Gateway(process, base, said["admin"], access_log)


@contextlib.contextmanager
def simulator(directory: Path, *options: str) -> Iterator[str]:
    """`extproc simulate` on a free port: its URL."""
    arguments = ("simulate", "--listen", "127.0.0.1:0", "--interval", "0", *options)
    with command(directory, *arguments) as process:
        yield until(lambda: process.stdout.read_text().strip(), "the simulated vendors listen")
