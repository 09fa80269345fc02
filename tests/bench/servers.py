"""What is measured, as processes: the vendor, Envoy with one processor or none, and the gateways of others.

Rule: all Envoys have the bootstrap that `extproc envoy` prints for one configuration, so that only the processor
differs. Everything is started when it is first asked for and ended by its process id, whatever happens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass
import json
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any
import urllib.error

from extproc.envoy.process import die_with_parent, find_envoy
from extproc.supervisor.spawning import POLLS_ITSELF
from tests.contract.processes import ROOT, command, environment, free_port, free_ports, until, urlopen

from . import peers, traffic
from .accounting import tree

KEY = "sk-bench"


class Unavailable(Exception):
    """Something to be measured cannot be had; the message says why."""


@dataclass(frozen=True)
class Server:
    """Something that takes requests. `roots`: who works for it, by role. `admin`: Envoy's, where there is one."""

    address: str
    roots: Mapping[str, int]
    admin: str | None = None

    def roles(self) -> dict[str, list[int]]:
        """Process ids by role. A sidecar's workers are apart from the process that supervises them."""
        found = {role: tree(pid) for role, pid in self.roots.items()}
        if "supervisor" in found:
            found["supervisor"], found["worker"] = found["supervisor"][:1], found["supervisor"][1:]
        return found


@contextlib.contextmanager
def started(
    log: Path, arguments: Sequence[str], environ: Mapping[str, str] | None = None, **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with its output in a file; ended with the block, or by the kernel if we die."""
    with log.open("wb") as out:
        popen = subprocess.Popen(
            list(map(str, arguments)),
            cwd=ROOT,
            env=environment() if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent(),
            start_new_session=True,  # Ctrl-C is ours to handle
            **more,
        )
    try:
        yield popen
    finally:
        popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(15)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _answers(url: str, popen: subprocess.Popen[bytes], log: Path, patience: float = 60) -> None:
    """Wait until a URL is answered, with whatever status below 500."""

    def answered() -> bool:
        if popen.poll() is not None:
            raise Unavailable(f"{log.stem} ended with {popen.returncode}: {log.read_text(errors='replace')[-800:]}")
        with contextlib.suppress(OSError):
            try:
                urlopen(url).close()
            except urllib.error.HTTPError as error:
                return error.code < 500
            return True
        return False

    until(answered, f"{url} is answered", patience)


class Park:
    """All servers of a run, each started once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, Server | Unavailable] = {}
        self._tool = traffic.built()

    def __enter__(self) -> "Park":
        out = self._log("vendor")
        vendor = self._stack.enter_context(started(out, [str(self._tool), "upstream"]))
        self.vendor = Server(until(lambda: out.read_text().strip(), "the vendor listens"), {"vendor": vendor.pid})
        self._config = self._directory / "config" / "bench.yaml"  # a directory of its own: it is watched
        self._config.parent.mkdir()
        self._config.write_text(json.dumps(configuration(f"http://{self.vendor.address}")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def server(self, arm: str) -> Server:
        """Raises `Unavailable`, each time, when it could not be started."""
        if arm not in self._servers:
            with contextlib.ExitStack() as stack:
                try:
                    self._servers[arm] = self._start(arm, stack)
                    self._stack.push(stack.pop_all())
                except (Unavailable, AssertionError, OSError, subprocess.SubprocessError) as error:
                    self._servers[arm] = Unavailable(f"{type(error).__name__}: {error}"[:1000])
        found = self._servers[arm]
        if isinstance(found, Unavailable):
            raise found
        return found

    @contextlib.contextmanager
    def fresh(self, arm: str) -> Iterator[Server]:
        """One of its own, for a while: memory is measured from the beginning."""
        with contextlib.ExitStack() as stack:
            yield self._start(arm, stack)

    def _start(self, arm: str, stack: contextlib.ExitStack) -> Server:
        kind, _, option = arm.partition("-")
        starts: dict[str, Callable[[str, contextlib.ExitStack], Server]] = {
            "direct": lambda _, __: self.vendor,
            "envoy": self._plain,
            "noop": self._noop,
            "tuned": lambda phases, stack: self._noop(phases, stack, environ=environment() | POLLS_ITSELF),
            "bare": lambda phases, stack: self._noop(phases, stack, "bare", environ=environment() | POLLS_ITSELF),
            "us": self._us,
            "litellm": self._litellm,
            "portkey": self._portkey,
        }
        return starts[kind](option, stack)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}-{time.monotonic_ns()}.log"

    def _plain(self, _: str, stack: contextlib.ExitStack) -> Server:
        return self._envoy(stack, (), "upstream", plain=True)

    def _noop(
        self, phases: str, stack: contextlib.ExitStack, *how: str, environ: Mapping[str, str] | None = None
    ) -> Server:
        port, log = free_port(), self._log(f"noop-{phases}")
        program = [sys.executable, "-m", "tests.bench.noop", str(port), phases, *how]
        popen = stack.enter_context(started(log, program, environ))
        until(lambda: "serving" in log.read_text(), "the do-nothing processor serves")
        envoy = self._envoy(stack, [port], "upstream")
        return Server(envoy.address, {**envoy.roots, "processor": popen.pid}, envoy.admin)

    def _us(self, option: str, stack: contextlib.ExitStack) -> Server:
        """`option`: `quiet` (no log lines), `listener` (the other placement), `two` (workers)."""
        workers = 2 if option == "two" else 1
        port, admin, log = free_ports(workers), free_port(), self._log(f"us-{option}")
        program = [
            *(sys.executable, "-m", "extproc", "serve", "--config", str(self._config)),
            *("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--workers", str(workers)),
            *("--log-format", "json", "--log-level", "warning" if option == "quiet" else "info"),
        ]
        popen = stack.enter_context(started(log, program))
        _answers(f"http://127.0.0.1:{admin}/readyz", popen, log)
        placement = "listener" if option == "listener" else "upstream"
        envoy = self._envoy(stack, range(port, port + workers), placement)
        return Server(envoy.address, {**envoy.roots, "supervisor": popen.pid}, envoy.admin)

    def _envoy(
        self, stack: contextlib.ExitStack, sidecars: Sequence[int], placement: str, *, plain: bool = False
    ) -> Server:
        port, admin, log = free_port(), free_port(), self._log("envoy")
        options = ["--listen", f"127.0.0.1:{port}", "--envoy-admin", f"127.0.0.1:{admin}", "--placement", placement]
        for sidecar in sidecars:
            options += ["--sidecar", f"127.0.0.1:{sidecar}"]
        options += ["--config", str(self._config), "--format", "json", "--access-log", "", "--no-validate"]
        with command(log.with_suffix(".rendering"), "envoy", *options) as rendering:
            assert rendering.wait(60) == 0, rendering.errors
            bootstrap = json.loads(rendering.stdout.read_text())
        path = log.with_suffix(".json")
        path.write_text(json.dumps(without_processor(bootstrap) if plain else bootstrap))
        program = [find_envoy(), "--config-path", str(path), "--concurrency", "1", "--disable-hot-restart"]
        popen = stack.enter_context(started(log, [*program, "--log-level", "warning"]))
        _answers(f"http://127.0.0.1:{admin}/ready", popen, log)
        return Server(f"127.0.0.1:{port}", {"envoy": popen.pid}, f"127.0.0.1:{admin}")

    def _litellm(self, _: str, stack: contextlib.ExitStack) -> Server:
        program = peers.installed("litellm")
        port, log = free_port(), self._log("litellm")
        config = self._directory / "litellm.yaml"
        config.write_text(json.dumps(peers.litellm_configuration(f"http://{self.vendor.address}/v1", KEY)))
        arguments = [*program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        # It does not start without a key for its clients; ours is what the load shows anyway.
        more = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        popen = stack.enter_context(
            started(log, [*arguments, "--num_workers", "1", "--telemetry", "False"], environment(**more))
        )
        _answers(f"http://127.0.0.1:{port}/health/liveliness", popen, log, 120)
        return Server(f"127.0.0.1:{port}", {"litellm": popen.pid})

    def _portkey(self, _: str, stack: contextlib.ExitStack) -> Server:
        program = peers.installed("portkey")
        port, log = free_port(), self._log("portkey")
        environ = environment(NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1,localhost")
        popen = stack.enter_context(started(log, [*program, f"--port={port}", "--headless"], environ))
        _answers(f"http://127.0.0.1:{port}/", popen, log)
        return Server(f"127.0.0.1:{port}", {"portkey": popen.pid})


def configuration(vendor: str) -> dict[str, Any]:
    """The gateway's: one provider per way of speaking, chosen by the host `ID.test`. `openai` passes as it came, and
    `counted` is read for its tokens."""
    kinds: dict[str, dict[str, Any]] = {
        "openai": {"type": "openai", "usage": {"passed": "off"}},
        "counted": {"type": "openai"},
        "renamed": {"type": "openai", "modelMapping": {"*": "another-model"}},
        "qwen": {"type": "qwen"},
        "compatible": {"type": "qwen", "qwenEnableCompatible": True, "usage": {"passed": "off"}},
    }
    return {
        "providers": [{"id": id, "apiTokens": [KEY], "endpoint": vendor, **kind} for id, kind in kinds.items()],
        "routes": [{"name": id, "match": {"hosts": [f"{id}.test"]}, "provider": id} for id in kinds],
    }


def without_processor(bootstrap: dict[str, Any]) -> dict[str, Any]:
    """A plain proxy to the vendor: the same bootstrap without what is there for the sidecar's sake."""
    [listener] = bootstrap["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"] = manager["http_filters"][-1:]  # the router
    clusters = bootstrap["static_resources"]["clusters"]
    [vendor] = [cluster for cluster in clusters if cluster["name"] == "openai"]
    for options in vendor["typed_extension_protocol_options"].values():
        options.pop("http_filters", None)
    bootstrap["static_resources"]["clusters"] = [vendor]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "openai", "timeout": "0s"}}
    manager["route_config"]["virtual_hosts"] = [{"name": "plain", "domains": ["*"], "routes": [route]}]
    return bootstrap


def messages_sent(server: Server) -> int:
    """How many messages Envoy sent to its processor so far."""
    if server.admin is None:
        return 0
    found = json.load(urlopen(f"http://{server.admin}/stats?format=json&filter=ext_proc.*stream_msgs_sent"))
    return sum(stat["value"] for stat in found["stats"] if "value" in stat)


def raise_file_limit() -> None:
    """As many files as we may have; the children inherit it."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
