"""The processes: starting, being ready, stopping, dying; and what they write while they live."""

from collections.abc import Iterator
import contextlib
import json
import os
from pathlib import Path
import queue
import signal
import socket
import subprocess
import sys
from typing import Any

import grpc
import pytest

from extproc import __version__
from extproc._pb import extproc_pb2 as pb

from . import processes
from .processes import Gateway, Process, until
from .raw import Connection, ask, chat, head

CHAT = "/v1/chat/completions"
PROVIDER = {"type": "qwen", "apiTokens": ["${NOT_SET_ANYWHERE}"], "modelMapping": {"*": "qwen-max"}}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"providers": [PROVIDER]}))
    return path


def admin(port: int, path: str) -> tuple[int, Any] | None:
    """Status and document of the admin port; None while it does not answer."""
    try:
        answer = ask(port, path, method="GET", leaks=())
    except (ConnectionRefusedError, AssertionError):
        return None
    return answer.status, answer.json


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()[:200]
    return False


# The admin port


def test_the_admin_port_answers(gateway: Gateway) -> None:
    port = int(gateway.admin.rpartition(":")[2])
    assert admin(port, "/healthz") is not None
    assert (admin(port, "/healthz") or [0])[0] == 200
    assert (admin(port, "/readyz") or [0])[0] == 200  # although one route lacks its context text
    status, document = admin(port, "/version") or (0, {})
    assert (status, document["version"]) == (200, __version__)


def test_ready_means_that_envoy_routes(config: Path, tmp_path: Path) -> None:
    listen, port = processes.free_port(), processes.free_port()
    arguments = ("--config", str(config), "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{port}")
    with processes.command(tmp_path, "run", "--simulate", *arguments) as run:
        seen: list[int] = []

        def ready() -> bool:
            assert run.popen.poll() is None, run.errors
            answer = admin(port, "/readyz")
            if answer is not None and answer[0] not in seen:
                seen.append(answer[0])
            return answer is not None and answer[0] == 200

        until(ready, "ready")
        assert ask(listen, body=chat("at the first attempt")).status == 200
        assert {503, 200} >= set(seen)
        assert run.end() == 0


# Stopping


SOON, ENDLESS = "[[sim:tokens=40,interval=0.05]]", "[[sim:tokens=100000,interval=0.05]]"


def stream(gateway: Gateway, marker: str) -> tuple[Connection, Iterator[bytes], bytes]:
    """A stream under way: its connection, the rest of it, and its first piece."""
    body = json.dumps(chat(f"x {marker}", stream=True)).encode()
    headers = {"host": "x.test", "content-type": "application/json", "content-length": str(len(body))}
    connection = Connection(gateway.port)
    connection.send(head("POST", CHAT, headers.items()), body)
    status, got = connection.head()
    assert status == 200
    pieces = connection.pieces(got)
    return connection, pieces, next(pieces)


def test_sigterm_lets_a_stream_finish_and_ends_with_0(config: Path, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, "--config", str(config), "--simulate") as gateway:
        children, workers = gateway.process.children(), gateway.process.workers()
        connection, rest, first = stream(gateway, SOON)
        gateway.process.popen.send_signal(signal.SIGTERM)
        text = first + b"".join(rest)
        assert text.endswith(b"data: [DONE]\n\n")
        assert text.count(b'"finish_reason":"stop"') == 1
        connection.close()
        assert gateway.process.wait() == 0
        assert children.keys() == {"envoy", "simulate"}
        assert workers
        assert not any(map(alive, (*children.values(), *workers)))


def test_a_start_can_be_broken_off(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the context's request, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({"provider": {**PROVIDER, "apiTokens": ["k"], "context": {"fileUrl": url}}}))
        port = processes.free_port()
        with processes.command(
            tmp_path, "run", "--config", str(path), "--listen", "127.0.0.1:0", "--admin", f"127.0.0.1:{port}"
        ) as process:
            until(lambda: admin(port, "/healthz"), "the admin port")
            status, document = admin(port, "/readyz") or (0, {})
            assert (status, document["reason"]) == (503, "starting")
            process.popen.send_signal(signal.SIGTERM)
            assert process.wait() == 0
            assert "context text not available" not in process.errors, "it waited for it"


def test_a_stop_is_bounded(config: Path, tmp_path: Path) -> None:
    options = ("--config", str(config), "--simulate", "--drain-seconds", "1")
    with processes.gateway(tmp_path, *options) as gateway:
        connection, rest, _ = stream(gateway, ENDLESS)
        gateway.process.popen.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            list(rest)
        connection.close()
        assert gateway.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_drain(config: Path, tmp_path: Path, number: signal.Signals) -> None:
    with processes.gateway(tmp_path, "--config", str(config), "--simulate", "--drain-seconds", "3600") as gateway:
        children = gateway.process.children()
        connection, rest, _ = stream(gateway, ENDLESS)
        gateway.process.popen.send_signal(number)
        until(lambda: "(again to stop now)" in gateway.process.errors, "the stop is said")
        next(rest)
        gateway.process.popen.send_signal(number)
        with pytest.raises(EOFError):
            list(rest)
        connection.close()
        assert gateway.process.wait() == 0
        assert not any(map(alive, children.values()))
        assert "Traceback" not in gateway.process.errors


def test_a_second_signal_ends_the_drain_of_the_sidecar_alone(config: Path, tmp_path: Path) -> None:
    listen = processes.free_port()
    options = ("--config", str(config), "--listen", f"127.0.0.1:{listen}", "--admin", "127.0.0.1:0")
    options += ("--drain-seconds", "3600")
    environ = processes.environment(NOT_SET_ANYWHERE="sk-sim-PLANTED")
    with processes.command(tmp_path, "serve", "--workers", "1", *options, environ=environ) as serve:
        until(lambda: "serving" in serve.errors, "the sidecar serves")
        with grpc.insecure_channel(f"127.0.0.1:{listen}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            said: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # an open stream
            said.put(pb.ProcessingRequest(request_headers=pb.HttpHeaders()).SerializeToString())
            next(channel.stream_stream("/envoy.service.ext_proc.v3.ExternalProcessor/Process")(iter(said.get, b"")))
            serve.popen.send_signal(signal.SIGTERM)
            until(lambda: "(again to stop now)" in serve.errors, "the stop is said")
            with pytest.raises(subprocess.TimeoutExpired):
                serve.wait(1)
            serve.popen.send_signal(signal.SIGTERM)
            assert serve.wait() == 0
            said.put(b"")
        lines = [line for line in serve.errors.splitlines() if "method_not_allowed" not in line]  # that exchange
        assert "again to stop now" in lines[-2]
        assert "stopped" in lines[-1]


def test_sigint_stops_too(config: Path, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, "--config", str(config), "--simulate") as gateway:
        gateway.process.popen.send_signal(signal.SIGINT)
        assert gateway.process.wait() in (0, 130)


# make run


def make_run(arguments: str, *flags: str) -> list[str]:
    """`make run` with this Python's installation, whatever its age."""
    return ["make", *flags, "-o", "install", f"BIN={Path(sys.executable).parent}", "run", f"ARGS={arguments}"]


def test_what_ends_make_ends_everything(tmp_path: Path) -> None:
    arguments = "--listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format json"
    with (tmp_path / "err").open("wb") as errors:
        make = subprocess.Popen(
            make_run(arguments), cwd=processes.ROOT, env=processes.environment(), stdout=errors, stderr=errors
        )
    running = Process(make, tmp_path / "err", tmp_path / "err")
    parts: list[int] = []
    try:
        until(lambda: '"event":"ready"' in running.errors, "ready")
        parts += running.children().values()
        parts += processes.children(parts[0]).values()
        assert len(parts) == 3
        running.end()
        until(lambda: not any(map(alive, parts)), "the sidecar, Envoy and the simulator end with make")
    finally:
        running.end()
        for pid in filter(alive, parts):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("arguments", "named"), [("--listen 127.0.0.1:1", True), ("--config my.yaml", False)])
def test_make_run_chooses_a_service_only_where_there_is_no_configuration(arguments: str, named: bool) -> None:
    command, environ = make_run(arguments, "-n"), processes.environment()
    shown = subprocess.run(command, cwd=processes.ROOT, env=environ, capture_output=True, text=True, check=True)
    assert ("DEFAULT_AI_SERVICE=" in shown.stdout) is named
    assert shown.stdout.rstrip().endswith(arguments)


# Dying


@pytest.mark.parametrize(("child", "name"), [("envoy", "Envoy"), ("simulate", "simulated vendors")])
def test_when_a_part_dies_all_stop_and_say_which(config: Path, tmp_path: Path, child: str, name: str) -> None:
    with processes.gateway(tmp_path, "--config", str(config), "--simulate") as gateway:
        children = gateway.process.children()
        os.kill(children[child], signal.SIGKILL)
        assert gateway.process.wait() == 1
        assert name in gateway.process.errors
        assert "Traceback" not in gateway.process.errors
        assert not any(map(alive, children.values()))


def test_nothing_outlives_a_killed_parent(config: Path, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, "--config", str(config), "--simulate") as gateway:
        children = [*gateway.process.children().values(), *gateway.process.workers()]
        gateway.process.popen.kill()
        until(lambda: not any(map(alive, children)), "the children end")


BAD: dict[str, tuple[str, str]] = {
    "an unknown key": ("providers:\n  - type: qwen\n    apiTokens: [sk-PLANTED]\n    modelMaping: {}\n", ":4: "),
    "a wrong type": ("providers:\n  - type: qwen\n    apiTokens: [sk-PLANTED]\n    qwenEnableSearch: maybe\n", ":4: "),
    "no such provider": (
        "providers:\n  - {type: qwen, apiTokens: [sk-PLANTED]}\nroutes:\n  - {name: a, provider: qwne}\n", ":4: "
    ),
    "not YAML": ("providers: [\n", ":"),
    "a missing key file": ("providers:\n  - type: qwen\n    apiTokens: ['file:nowhere.txt']\n", ":3: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["run", "serve", "check"])
def test_a_bad_configuration_ends_with_2_and_names_the_line(tmp_path: Path, command: str, name: str) -> None:
    text, line = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with processes.command(tmp_path / "out", command, "--config", str(path)) as process:
        assert process.wait() == 2
        assert f"{path}{line}" in process.errors
        assert "PLANTED" not in process.errors + process.stdout.read_text()
        assert "Traceback" not in process.errors


def test_without_any_service_the_environment_is_a_bad_configuration(tmp_path: Path) -> None:
    with processes.command(tmp_path, "run") as process:
        assert process.wait() == 2
        assert "DASHSCOPE_API_KEY" in process.errors


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_a_taken_port_is_said_plainly(config: Path, tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", flag: f"127.0.0.1:{port}"}
        options = [word for pair in ports.items() for word in pair]
        with processes.command(tmp_path, "run", "--simulate", "--config", str(config), *options) as process:
            assert process.wait() == 1
            assert str(port) in process.errors
            assert "Traceback" not in process.errors


@pytest.mark.parametrize("command", ["run", "serve", "simulate"])
def test_a_taken_port_is_one_line(config: Path, tmp_path: Path, command: str) -> None:
    options = () if command == "simulate" else ("--config", str(config), "--admin", "127.0.0.1:0")
    environ = processes.environment(NOT_SET_ANYWHERE="sk-sim-PLANTED")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with processes.command(tmp_path, command, *options, "--listen", address, environ=environ) as process:
            assert process.wait() == 1
    assert process.errors == f"extproc: cannot listen on {address} (--listen): Address already in use\n"


@pytest.mark.parametrize("command", ["run", "serve"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_one_port_for_two_is_one_line(config: Path, tmp_path: Path, command: str, host: str) -> None:
    listen, admin = f"{host}:{(port := processes.free_port())}", f"127.0.0.1:{port}"
    options = ("--config", str(config), "--listen", listen, "--admin", admin)
    environ = processes.environment(NOT_SET_ANYWHERE="sk-sim-PLANTED")
    with processes.command(tmp_path, command, *options, environ=environ) as process:
        assert process.wait() == 1
    assert process.errors == f"extproc: --listen {listen} and --admin {admin}: each needs a port of its own\n"


@pytest.mark.parametrize("command", ["run", "envoy"])
def test_what_envoy_refuses_is_one_sentence(config: Path, tmp_path: Path, command: str) -> None:
    options = ("--config", str(config), "--listen", "127.0.0.1:0", "--access-log", "/nowhere/access.log")
    options += ("--admin", "127.0.0.1:0") if command == "run" else ()
    environ = processes.environment(NOT_SET_ANYWHERE="sk-sim-PLANTED")
    with processes.command(tmp_path, command, *options, environ=environ) as process:
        assert process.wait() == 1
    lines = [line for line in process.errors.splitlines() if "starting" not in line and "stopped" not in line]
    complaint = "unable to open file '/nowhere/access.log': No such file or directory"
    assert lines[0] == f"extproc: Envoy refuses its configuration: {complaint}"
    assert lines[1:] == ([] if command == "run" else ["(if it names paths of another machine: --no-validate)"])


def test_what_envoy_refuses_of_a_provider_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    provider = "{id: p, type: openai, apiTokens: [sk-sim-PLANTED], tls: {caFile: ca.pem}}"
    (tmp_path / "gateway.yaml").write_text(f"providers: [{provider}]\nroutes: [{{name: r, provider: p}}]\n")
    options = ("--config", str(tmp_path / "gateway.yaml"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with processes.command(tmp_path, "run", *options, environ=processes.environment()) as process:
        assert process.wait() == 1
    (line,) = [line for line in process.errors.splitlines() if line.startswith("extproc: ")]
    assert line.startswith("extproc: Envoy refuses its configuration: ")
    assert "ca.pem" in line


def test_an_empty_access_log_is_none(config: Path, tmp_path: Path) -> None:
    with processes.gateway(tmp_path, "--config", str(config), "--simulate", "--access-log", "") as gateway:
        assert ask(gateway.port, body=chat("x")).status == 200
    with processes.command(tmp_path / "envoy", "envoy", "--config", str(config), "--access-log", "") as process:
        assert process.wait() == 0, process.errors
    assert "StdoutAccessLog" not in process.stdout.read_text()
