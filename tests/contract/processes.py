"""The programs under test as users start them: `python -m extproc …`, on ports of their own, ended by process id."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import random
import signal
import socket
import subprocess
import sys
import time
from typing import Any
import urllib.request

from extproc.envoy.process import find_envoy

ROOT = Path(__file__).parents[2]
PATIENCE = 180.0
"""Seconds until what never comes is given up: a guard against hanging, not a measure of anything."""
WORKER = "extproc.worker"


def environment(**more: str) -> dict[str, str]:
    """This process' environment without proxies, without anything that configures the gateway, and without `make`."""
    ours = ("_API_KEY", "_SERVICE_URL", "DEFAULT_AI_SERVICE", "_PROXY", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    return {k: v for k, v in os.environ.items() if not k.upper().endswith(ours)} | more


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a condition; its first true value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.02)
    return value


def _own_ports() -> Iterator[int]:
    """Each once, from the share of this process among pytest's workers: none is given twice before its user has it. All
    are below those that Linux gives to who asks for none."""
    first, after = 20_000, 32_000
    share = (after - first) // 12
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 12
    turn = random.randrange(share)
    while True:
        turn = (turn + 1) % share
        yield first + worker * share + turn


_PORTS = _own_ports()


def free_port() -> int:
    """One that nobody listens on, and that no other test is given."""
    while True:
        port = next(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def free_ports(count: int) -> int:
    """The first of so many free ports, one after the other."""
    found: list[int] = []
    while len(found) < count:
        port = free_port()
        found = [*found, port] if found and port == found[-1] + 1 else [port]
    return found[0]


@contextlib.contextmanager
def command(
    directory: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "extproc"),
) -> Iterator["Process"]:
    """`python -m extproc ARGUMENTS` with its output in files under `directory`; ended with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    out, err = directory / "stdout", directory / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env={"XDG_STATE_HOME": str(directory / "state"), **(environment() if environ is None else environ)},
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
        return children(self.popen.pid)

    def workers(self) -> list[int]:
        """Process ids of the worker processes, oldest first."""
        return [pid for pid, program in _programs(self.popen.pid) if program == WORKER]


def children(parent: int) -> dict[str, int]:
    """Process ids of a process' children by program: `envoy`, `simulate`; without workers."""
    return {program: pid for pid, program in _programs(parent) if program != WORKER}


def _programs(parent: int) -> list[tuple[int, str]]:
    found = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
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
        return [line for line in _whole_lines(self.process.errors) if not line.startswith("envoy: ")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return _named(self.log_lines(), name)

    def accesses(self, mark: str) -> list[dict[str, Any]]:
        """The lines of Envoy's access log that contain `mark`, such as a part of a path that a test chose."""
        return [json.loads(line) for line in _whole_lines(self.access_log.read_text()) if mark in line]

    def access(self, mark: str) -> dict[str, Any]:
        """The one line of Envoy's access log that contains `mark`; waited for."""
        until(lambda: self.accesses(mark), f"a line of the access log for {mark}")
        [entry] = self.accesses(mark)
        return entry

    def exchanges(self, path: str) -> list[dict[str, Any]]:
        """The log lines of exchanges whose path contains `path`, a mark that a test chose."""
        return [entry for entry in self.events("exchange") if path in entry.get("path", "")]

    def exchange(self, path: str) -> dict[str, Any]:
        """The one log line of the request whose path contains `path`; waited for."""
        until(lambda: self.exchanges(path), f"a log line for {path}")
        [entry] = self.exchanges(path)
        return entry


def _whole_lines(text: str) -> list[str]:
    """Without the one that is still being written."""
    return text[: text.rfind("\n") + 1].splitlines()


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
            return _named(_whole_lines(process.errors), "ready")

        said = until(ready, "the gateway is ready")[0]
        base = said["base_url"].removesuffix("/v1")
        yield Gateway(process, base, said["admin"], access_log)


@contextlib.contextmanager
def simulator(directory: Path, *options: str) -> Iterator[str]:
    """`extproc simulate` on a free port: its URL."""
    arguments = ("simulate", "--listen", "127.0.0.1:0", "--interval", "0", *options)
    with command(directory, *arguments) as process:
        yield until(lambda: process.stdout.read_text().strip(), "the simulated vendors listen")


@dataclass
class Envoy:
    """A running Envoy of its own, attached to a sidecar elsewhere."""

    popen: subprocess.Popen[bytes]
    admin: str
    port: int
    log: Path
    access_log: Path


@contextlib.contextmanager
def envoy(directory: Path, *options: str) -> Iterator[Envoy]:
    """Envoy with what `extproc envoy OPTIONS` prints, on free ports."""
    directory.mkdir(parents=True, exist_ok=True)
    bootstrap, admin, log, access_log = (directory / n for n in ("envoy.json", "admin", "envoy.log", "access.log"))
    places = ("--listen", "127.0.0.1:0", "--envoy-admin", "127.0.0.1:0", "--format", "json", "--workers", "1")
    with command(directory / "rendering", "envoy", *places, "--access-log", str(access_log), *options) as rendering:
        assert rendering.wait() == 0, rendering.errors
        bootstrap.write_text(rendering.stdout.read_text())
    command_line = [find_envoy(), "--config-path", str(bootstrap), "--admin-address-path", str(admin)]
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [*command_line, "--concurrency", "1", "--disable-hot-restart", "--log-level", "debug"],
            stdout=out,
            stderr=out,
        )
    try:
        address = until(lambda: admin.exists() and admin.read_text(), "Envoy's admin listens")

        def port() -> int | None:
            assert popen.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError, LookupError):
                urlopen(f"http://{address}/ready").close()  # it listens once it has asked the sidecar's health
                document = json.load(urlopen(f"http://{address}/listeners?format=json"))
                return int(document["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])
            return None

        yield Envoy(popen, address, until(port, "Envoy listens"), log, access_log)
    finally:
        popen.terminate()
        popen.wait(PATIENCE)


def urlopen(url: str, method: str = "GET") -> Any:
    """One request past any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(url, method=method), timeout=PATIENCE)
