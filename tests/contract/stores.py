"""A server that speaks Redis' protocol, to be stopped and started again: Valkey or Redis where the machine has one,
else fakeredis."""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import redis

from .processes import free_port, until

BINARY = shutil.which("valkey-server") or shutil.which("redis-server")
_FAKE = "import fakeredis; fakeredis.TcpFakeServer(('127.0.0.1', {port})).serve_forever()"


class Store:
    """`url`: its address, the same in every life. `keeps`: it writes down what it is told (`appendonly`, by its default
    once a second to the disk); else what it knew is gone after each."""

    def __init__(self, directory: Path, *, keeps: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/3"
        self._keeps = "yes" if keeps else "no"
        self._log = directory / "store.log"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        fake = (sys.executable, "-c", _FAKE.format(port=self.port))
        real = (BINARY or "", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        real += ("--appendonly", self._keeps)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                real if BINARY else fake, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self._answers, "the Redis server answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def freeze(self) -> None:
        """Still there, but it answers nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on with what it was asked."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """At once, as if its machine were gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[tuple[int, ...]]:
    """Three real nodes with a third of the slots each: their ports. Skips where there is no server."""
    if BINARY is None:
        pytest.skip("no redis-server and no valkey-server here")
    ports = tuple(free_port() for _ in range(3))
    started: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:
            place = directory / f"node-{port}"
            place.mkdir()
            more = ("--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            with (place / "log").open("wb") as log:
                command = (BINARY, "--port", str(port), *more)
                started.append(subprocess.Popen(command, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        nodes = [redis.Redis(port=port) for port in ports]
        for turn, node in enumerate(nodes):
            until(lambda node=node: _answers(node), "the node answers")
            node.execute_command("CLUSTER ADDSLOTSRANGE", turn * 16384 // 3, (turn + 1) * 16384 // 3 - 1)
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", turn + 1)
        for node, one in zip(nodes[1:], ports[1:], strict=True):
            bus = node.config_get("cluster-port")["cluster-port"]
            nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", one, bus)
        for node in nodes:
            until(lambda node=node: "cluster_state:ok" in _state(node), "the cluster is whole")
        yield ports
    finally:
        for process in started:
            process.kill()
            process.wait(10)


def _answers(node: redis.Redis) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(node.ping())
    return False


def _state(node: redis.Redis) -> str:
    """`CLUSTER INFO`, once the node knows all three."""
    said = node.execute_command("CLUSTER INFO")
    text = said.decode() if isinstance(said, bytes) else str(said)
    known = "cluster_known_nodes:3" in text.replace("\r", "") or "'cluster_known_nodes': '3'" in text
    return text.replace("'cluster_state': 'ok'", "cluster_state:ok") if known else ""


@contextlib.contextmanager
def store(directory: Path, *, started: bool = True, keeps: bool = False) -> Iterator[Store]:
    server = Store(directory, keeps=keeps)
    try:
        if started:
            server.start()
        yield server
    finally:
        server.stop()
