"""The way from Envoy to the sidecar: a Unix socket that is its owner's, mutual TLS whose files may change, and ports
that nobody else reaches unless somebody said so."""

from collections.abc import Iterator
import contextlib
import json
import os
from pathlib import Path
import re
import shutil
import signal
import socket
import ssl
import stat
from typing import Any

import pytest

from . import processes
from .conftest import Simulator
from .processes import Process, until
from .raw import ask, chat
from .test_tls import Authority

CONFIG = """
providers:
  - {id: p, type: openai, apiTokens: [sk-sim-PLANTED-port-0001], endpoint: SIM}
"""


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG.replace("SIM", simulator.url))
    return path


@contextlib.contextmanager
def serve(directory: Path, config: Path, *options: str) -> Iterator[Process]:
    """`extproc serve` once it says that it serves."""
    places = ("--config", str(config), "--admin", "127.0.0.1:0", "--log-format", "json")
    with processes.command(directory, "serve", "--workers", "1", *places, *options) as process:

        def serving() -> bool:
            assert process.popen.poll() is None, process.errors
            return '"serving"' in process.errors

        until(serving, "the sidecar serves")
        yield process


def refused(directory: Path, config: Path, *options: str) -> str:
    """Why `extproc serve` does not start."""
    places = ("--config", str(config), "--admin", "127.0.0.1:0")
    with processes.command(directory, "serve", *places, *options) as process:
        assert process.wait() == 1
        return process.errors


# Unix sockets


def test_a_unix_socket_serves_and_only_its_owner(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "sidecar.sock"
    with serve(tmp_path, config, "--listen", f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with processes.envoy(tmp_path / "envoy", "--config", str(config), "--sidecar", f"unix:{path}") as envoy:
            assert ask(envoy.port, body=chat("x")).status == 200
            assert ask(envoy.port, body=chat("x", stream=True)).text
        why = refused(tmp_path / "second", config, "--listen", f"unix:{path}")
        assert f"cannot listen on unix:{path}: it is in use" in why
        assert socket_answers(path)


def socket_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def test_the_mode_of_a_unix_socket_can_be_said(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "sidecar.sock"
    with serve(tmp_path, config, "--listen", f"unix:{path}", "--socket-mode", "660"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_each_worker_has_a_socket_and_leaves_none(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "sidecar.sock"
    with serve(tmp_path, config, "--listen", f"unix:{path}", "--workers", "2") as running:
        options = ("--config", str(config), "--sidecar", f"unix:{path}", "--workers", "2")
        with processes.envoy(tmp_path / "envoy", *options) as envoy:
            for _ in range(8):
                assert ask(envoy.port, body=chat("x")).status == 200
            assert {socket.name for socket in tmp_path.glob("*.sock*")} == {"sidecar.sock", "sidecar.sock.1"}
            running.popen.send_signal(signal.SIGHUP)
            until(lambda: "all workers were replaced" in running.errors, "a rolling restart")
            assert ask(envoy.port, body=chat("x")).status == 200
    assert list(tmp_path.glob("*.sock*")) == []


def test_a_unix_socket_may_be_written_as_a_url(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "sidecar.sock"
    with serve(tmp_path, config, "--listen", f"unix://{path}"):
        assert socket_answers(path)


def test_a_socket_that_a_killed_process_left_is_taken_over(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "sidecar.sock"
    with serve(tmp_path, config, "--listen", f"unix:{path}") as first:
        first.popen.kill()
        first.popen.wait()
        assert path.exists()
        with serve(tmp_path / "second", config, "--listen", f"unix:{path}"):
            assert socket_answers(path)


def test_what_is_no_socket_is_left_alone(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("precious")
    assert "not a socket" in refused(tmp_path, config, "--listen", f"unix:{path}")
    assert path.read_text() == "precious"
    assert "no directory" in refused(tmp_path, config, "--listen", f"unix:{tmp_path}/nowhere/socket")
    assert "at most 90 bytes" in refused(tmp_path, config, "--listen", f"unix:{tmp_path}/{'x' * 100}")


# Mutual TLS


class Files:
    """The files of both sides, and what replaces them in one move, as a renewal does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def renew(self, authority: Authority) -> None:
        for owner, name in (("sidecar", "sidecar.test"), ("envoy", "envoy.test")):
            certificate, key = authority.issue(authority.pem.parent, [name])
            self._put(Path(key), f"{owner}.key")
            self._put(Path(certificate), f"{owner}.crt")
        self._put(authority.pem, "ca.pem")

    def _put(self, source: Path, name: str) -> None:
        new = self.directory / f"{name}.new"
        shutil.copy(source, new)
        os.replace(new, self.directory / name)

    def serve_options(self) -> tuple[str, ...]:
        d = self.directory
        return ("--tls-cert", f"{d}/sidecar.crt", "--tls-key", f"{d}/sidecar.key", "--tls-client-ca", f"{d}/ca.pem")

    def envoy_options(self, port: int) -> tuple[str, ...]:
        d = self.directory
        files = ("--sidecar-tls-cert", f"{d}/envoy.crt", "--sidecar-tls-key", f"{d}/envoy.key")
        names = ("--sidecar-tls-ca", f"{d}/ca.pem", "--sidecar-tls-name", "sidecar.test")
        return ("--sidecar", f"127.0.0.1:{port}", *files, *names, "--sidecar-tls-secrets", f"{d}/secrets")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path / "certificates")
    found.renew(authority(tmp_path, "one"))
    return found


def authority(directory: Path, name: str) -> Authority:
    place = directory / name
    place.mkdir()
    return Authority.create(place, name)


def lets_in(port: int, context: ssl.SSLContext | None) -> bool:
    """Whether a client gets to speak HTTP/2, in the clear without a context."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        connection = plain if context is None else context.wrap_socket(plain, server_hostname="sidecar.test")
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        return connection.recv(9)[3:4] == b"\4"  # a SETTINGS frame
    return False


def client(ca: Path, identity: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        context.load_cert_chain(f"{identity}.crt", f"{identity}.key")
    return context


def port_of(process: Process) -> int:
    (line,) = re.findall(r'.*"serving".*', process.errors)
    return int(json.loads(line)["grpc"].rpartition(":")[2])


def test_without_a_certificate_of_the_right_authority_the_sidecar_says_nothing(
    config: Path, files: Files, tmp_path: Path
) -> None:
    stranger = authority(tmp_path, "stranger")
    stranger.issue(stranger.pem.parent, ["envoy.test"])
    ca = files.directory / "ca.pem"
    with serve(tmp_path, config, "--listen", "127.0.0.1:0", *files.serve_options()) as process:
        port = port_of(process)
        assert lets_in(port, client(ca, files.directory / "envoy"))
        assert not lets_in(port, client(ca, None))
        assert not lets_in(port, client(ca, stranger.pem.parent / "envoy.test"))
        assert not lets_in(port, client(stranger.pem, files.directory / "envoy"))  # nor does it pass for another
        assert not lets_in(port, None)
        with processes.envoy(tmp_path / "plain", "--config", str(config), "--sidecar", f"127.0.0.1:{port}") as envoy:
            assert ask(envoy.port, body=chat("never-translated")).status == 500  # it fails closed


def test_renewed_certificates_are_taken_on_both_sides_without_a_restart(
    config: Path, files: Files, tmp_path: Path, simulator: Simulator
) -> None:
    old, new = files.directory / "old", authority(tmp_path, "two")
    for name in ("envoy.crt", "envoy.key", "ca.pem"):
        old.mkdir(exist_ok=True)
        shutil.copy(files.directory / name, old / name)
    with (
        serve(tmp_path, config, "--listen", "127.0.0.1:0", *files.serve_options()) as first,
        processes.envoy(tmp_path / "envoy", "--config", str(config), *files.envoy_options(port_of(first))) as envoy,
    ):
        port = port_of(first)
        assert ask(envoy.port, body=chat("x")).status == 200
        before = serials(envoy.admin)
        assert before

        (files.directory / "sidecar.crt").write_text("not yet whole")
        assert lets_in(port, client(old / "ca.pem", old / "envoy"))
        until(lambda: "certificates not reloaded" in first.errors, "it says why the old ones stay")

        files.renew(new)
        renewed = client(new.pem, files.directory / "envoy")
        until(lambda: lets_in(port, renewed), "the sidecar has the new certificate")
        assert not lets_in(port, client(old / "ca.pem", old / "envoy"))
        until(lambda: "certificates reloaded" in first.errors, "it says so")
        assert ask(envoy.port, body=chat("x")).status == 200  # connections that are open stay

        until(lambda: serials(envoy.admin).isdisjoint(before), "Envoy has the new certificates")
        first.end()
        with serve(tmp_path / "again", config, "--listen", f"127.0.0.1:{port}", *files.serve_options()):
            until(lambda: ask(envoy.port, body=chat("x")).status == 200, "Envoy shows its new certificate")


def serials(admin: str) -> set[str]:
    """The serial numbers of the certificates that Envoy uses."""
    document: Any = json.load(processes.urlopen(f"http://{admin}/certs"))
    found = [c for entry in document["certificates"] for kind in ("ca_cert", "cert_chain") for c in entry.get(kind, [])]
    return {c["serial_number"] for c in found}


HALVES = [
    ("serve", "--tls-cert", "FILE"),
    ("serve", "--tls-client-ca", "FILE"),
    ("serve", "--listen", "unix:relative"),
    ("serve", "--socket-mode", "rw"),
    ("envoy", "--sidecar-tls-ca", "FILE"),
    ("envoy", "--sidecar-tls-name", "sidecar.test"),
    ("envoy", "--sidecar", "unix:relative"),
]


@pytest.mark.parametrize("arguments", HALVES, ids=" ".join)
def test_half_of_it_is_a_mistake(config: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    given = [str(config) if a == "FILE" else a for a in arguments]
    with processes.command(tmp_path, *given, "--config", str(config)) as process:
        assert process.wait() == 2
        assert "Error" in process.errors


# Nobody else


def test_admin_ports_and_the_sidecar_are_on_loopback_unless_told_otherwise(config: Path, tmp_path: Path) -> None:
    with processes.command(tmp_path, "envoy", "--config", str(config), "--format", "json") as rendering:
        assert rendering.wait() == 0
        bootstrap = json.loads(rendering.stdout.read_text())
    assert bootstrap["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    (sidecar, _) = bootstrap["static_resources"]["clusters"]
    assert '"address": "127.0.0.1"' in json.dumps(sidecar)


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens for TCP, as Linux writes them."""
    return {address.partition(":")[0] for address in _listening(pid)}


def listening_ports(pid: int) -> set[int]:
    return {int(address.partition(":")[2], 16) for address in _listening(pid)}


def _listening(pid: int) -> set[str]:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(link)))
    found = set()
    for kind in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            local, state, inode = row.split()[1], row.split()[3], row.split()[9]
            if state == "0A" and inode in inodes:
                found.add(local)
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, also as gRPC writes it


def test_nothing_of_a_run_listens_beyond_loopback(config: Path, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, "--config", str(config)) as gateway:
        children = gateway.process.children()
        for pid in (gateway.process.popen.pid, children["envoy"]):
            assert listening(pid) <= LOOPBACK
    with serve(tmp_path / "serve", config) as process:
        assert listening(process.popen.pid) <= LOOPBACK
