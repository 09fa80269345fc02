"""What the rendered pods run, run: the same command lines, scripts, mounts and probes, with paths and ports of this
machine in place of the pod's. The vendor is the simulated one; Envoy is real."""

from collections.abc import Iterator, Mapping
import contextlib
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

from contract import processes
from contract.processes import until, urlopen
from contract.raw import Connection, ask, chat, head
from contract.test_tls import Authority
import pytest

from extproc.envoy.process import find_envoy

from .chart import Manifests, mounted, render

PORTS = ("8080", "8081", "9000", "9901", "9902")


class Volume:
    """A ConfigMap or Secret as the kubelet mounts it: links to a directory that is swapped as a whole."""

    def __init__(self, path: Path, content: Mapping[str, str]) -> None:
        self.path = path
        self._generation = 0
        path.mkdir(parents=True)
        self.swap(content)
        for name in content:
            (path / name).symlink_to(f"..data/{name}")

    def swap(self, content: Mapping[str, str]) -> None:
        self._generation += 1
        version = self.path / f"..{self._generation}"
        version.mkdir()
        for name, text in content.items():
            (version / name).write_text(text)
        (self.path / "..new").symlink_to(version.name)
        os.replace(self.path / "..new", self.path / "..data")


class Pod:
    """`port`: this machine's port for one of the pod's."""

    def __init__(self, root: Path, documents: Manifests) -> None:
        self._root = root
        self._ports = {port: str(processes.free_port()) for port in PORTS}
        (deployment,) = [d for d in documents if d["kind"] == "Deployment"]
        self._spec = deployment["spec"]["template"]["spec"]
        config, keys = mounted(documents)
        self.config = Volume(root / "etc" / "ai-proxy" / "config", config)
        self.keys = Volume(root / "etc" / "ai-proxy" / "keys", keys)
        (root / "run" / "ai-proxy").mkdir(parents=True)
        (root / "bin").mkdir()
        (root / "bin" / "envoy").symlink_to(find_envoy())
        (root / "bin" / "extproc").symlink_to(Path(sys.executable).parent / "extproc")
        self._environ = processes.environment(PATH=f"{root / 'bin'}:{os.environ['PATH']}")

    def port(self, number: int) -> int:
        return int(self._ports[str(number)])

    def container(self, name: str) -> dict[str, Any]:
        found = (*self._spec.get("initContainers", ()), *self._spec["containers"])
        return next(c for c in found if c["name"] == name)

    def here(self, text: str) -> str:
        """A text of the pod with what this machine has in place of paths and ports."""
        text = re.sub(r"/(etc|run)/ai-proxy\b", rf"{self._root}/\1/ai-proxy", text)
        text = text.replace("0.0.0.0:", "127.0.0.1:")
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self._ports[found[1]], text)

    def run(self, name: str, *command: str) -> subprocess.Popen[str]:
        """A container's process, or one beside it, whose output is in a file with its name."""
        container = self.container(name)
        words = command or (*container.get("command", ["extproc"]), *container["args"])
        with (self._root / f"{name}.log").open("a") as log:
            return subprocess.Popen(
                [*map(self.here, words)], env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
            )

    def log(self, name: str) -> str:
        return (self._root / f"{name}.log").read_text()

    def probe(self, name: str, kind: str) -> bool:
        container = self.container(name)
        get = container[f"{kind}Probe"]["httpGet"]
        (port,) = [p["containerPort"] for p in container["ports"] if p["name"] == get["port"]]
        with contextlib.suppress(OSError):
            return bool(urlopen(f"http://127.0.0.1:{self.port(port)}{get['path']}").status == 200)
        return False


@contextlib.contextmanager
def running(*started: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
        for process in started:
            process.wait(processes.PATIENCE)


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: a Unix socket's has a limit."""
    with tempfile.TemporaryDirectory(prefix="pod-") as directory:
        yield Path(directory)


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[str]:
    with processes.simulator(tmp_path / "vendor") as url:
        yield url


def values(vendor: str, **more: Any) -> dict[str, Any]:
    provider = {"type": "qwen", "apiTokens": ["file:../keys/a"], "modelMapping": {"*": "qwen-max"}, "endpoint": vendor}
    return {"config": {"providers": [provider]}, "keys": {"values": {"a": "sk-sim-first"}}, **more}


def keys_that_the_vendor_saw(vendor: str) -> set[str]:
    return {request["headers"].get("authorization", "") for request in json.load(urlopen(f"{vendor}/__sim__/requests"))}


def test_a_gateway_pod_lives_from_its_init_container_to_its_last_answer(
    root: Path, vendor: str, tmp_path: Path
) -> None:
    given = values(vendor, drainSeconds=600, workers=2)
    pod = Pod(root, render(given, tmp_path))
    bootstrap = pod.run("bootstrap")
    assert bootstrap.wait(processes.PATIENCE) == 0, pod.log("bootstrap")
    extproc = pod.run("extproc")
    with running(extproc):
        until(lambda: pod.probe("extproc", "startup") and pod.probe("extproc", "readiness"), "the sidecar is ready")
        envoy = pod.run("envoy")
        with running(envoy):
            until(lambda: pod.probe("envoy", "startup") and pod.probe("envoy", "readiness"), "Envoy is ready")
            gateway = pod.port(8080)
            assert ask(gateway, body=chat("hello")).status == 200
            assert keys_that_the_vendor_saw(vendor) == {"Bearer sk-sim-first"}
            statistics_and_no_more(pod)
            follows(pod, given, vendor, gateway, tmp_path)
            ends_with_its_last_answer(pod, envoy, gateway, vendor)
        assert pod.probe("extproc", "liveness"), "it ends after Envoy"
        extproc.terminate()
        assert extproc.wait(processes.PATIENCE) == 0, pod.log("extproc")


def statistics_and_no_more(pod: Pod) -> None:
    base = f"http://127.0.0.1:{pod.port(9902)}"
    assert b"envoy_http_downstream_rq_total" in urlopen(f"{base}/stats/prometheus").read()
    for method, path in (("GET", "/config_dump"), ("POST", "/quitquitquit"), ("POST", "/ready"), ("GET", "/stats")):
        with pytest.raises(OSError, match="404"):
            urlopen(f"{base}{path}", method)


def follows(pod: Pod, given: dict[str, Any], vendor: str, gateway: int, tmp_path: Path) -> None:
    """A swapped Secret and a swapped ConfigMap count without a restart."""
    pod.keys.swap({"a": "sk-sim-second"})
    until(lambda: ask(gateway, body=chat("x")) and "Bearer sk-sim-second" in keys_that_the_vendor_saw(vendor), "a key")
    other = {"id": "kimi", "type": "moonshot", "apiTokens": ["file:../keys/a"], "endpoint": vendor}
    providers = [*given["config"]["providers"], other]
    routes = [{"name": "k", "match": {"models": ["kimi-*"]}, "provider": "kimi"}, {"name": "q", "provider": "qwen"}]
    changed = {**given, "config": {"providers": providers, "routes": routes}}
    pod.config.swap(mounted(render(changed, tmp_path))[0])
    until(lambda: ask(gateway, body=chat("x", model="kimi-k2")).headers.get("x-ai-provider") == "kimi", "a provider")


def ends_with_its_last_answer(pod: Pod, envoy: subprocess.Popen[str], gateway: int, vendor: str) -> None:
    """The preStop script waits for an answer that lasts; nobody new is taken meanwhile; then SIGTERM cuts nothing."""
    body = json.dumps(chat("[[sim:hold]]", stream=True)).encode()
    headers = [("host", "gateway"), ("content-type", "application/json"), ("content-length", str(len(body)))]
    with Connection(gateway, timeout=processes.PATIENCE) as client:
        client.send(head("POST", "/v1/chat/completions", headers), body)
        status, answered = client.head()
        assert status == 200
        answer: list[bytes] = []
        reading = threading.Thread(target=lambda: answer.extend(client.pieces(answered)))
        reading.start()
        stop = pod.run("envoy", *pod.container("envoy")["lifecycle"]["preStop"]["exec"]["command"])
        until(lambda: not pod.probe("envoy", "readiness"), "the pod says that it is not ready")
        assert ask(gateway, body=chat("x")).status == 200, "until that is known, it serves"
        until(lambda: refused(gateway), "nobody new is taken")
        assert reading.is_alive()
        assert stop.poll() is None, "the answer is not waited for"
        urlopen(f"{vendor}/__sim__/release", "POST").close()
        reading.join(processes.PATIENCE)
        assert b"".join(answer).rstrip().endswith(b"[DONE]")
        assert stop.wait(processes.PATIENCE) == 0
        envoy.send_signal(signal.SIGTERM)
        assert envoy.wait(processes.PATIENCE) == 0


def refused(port: int) -> bool:
    try:
        Connection(port).close()
    except ConnectionRefusedError:
        return True
    return False


SERVICE = "ai-ai-proxy.prod.svc.cluster.local"


def envoys_certificates(pod: Pod, directory: Path) -> tuple[str, ...]:
    """A Secret as cert-manager writes it for the pod; the options of an Envoy with one of the same authority."""
    directory.mkdir()
    authority = Authority.create(directory, "authority")
    certificate, key = authority.issue(directory, [SERVICE])
    content = {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.pem}
    Volume(pod.config.path.parent / "tls", {name: Path(path).read_text() for name, path in content.items()})
    certificate, key = authority.issue(directory, ["gateway.test"])
    own = ("--sidecar-tls-cert", certificate, "--sidecar-tls-key", key, "--sidecar-tls-ca", str(authority.pem))
    return (*own, "--sidecar-tls-name", SERVICE, "--sidecar-tls-secrets", str(directory / "secrets"))


@pytest.mark.parametrize("safe", ["network policy", "mutual TLS"])
def test_a_sidecar_alone_serves_the_envoy_that_the_notes_speak_of(
    root: Path, vendor: str, tmp_path: Path, safe: str
) -> None:
    tls = safe == "mutual TLS"
    more = {"tls": {"existingSecret": "t"}} if tls else {"networkPolicy": {"from": [{"podSelector": {}}]}}
    pod = Pod(root, render(values(vendor, mode="separate", **more), tmp_path))
    own = envoys_certificates(pod, tmp_path / "certificates") if tls else ()
    extproc = pod.run("extproc")
    with running(extproc):
        until(lambda: pod.probe("extproc", "readiness"), "the sidecar is ready")
        config = str(pod.config.path / "gateway.yaml")
        sidecar = f"127.0.0.1:{pod.port(9000)}"
        options = ("--config", config, "--placement", "listener", "--sidecar", sidecar, *own)
        with processes.envoy(tmp_path / "envoy", *options) as envoy:
            assert ask(envoy.port, body=chat("hello")).status == 200
        extproc.terminate()
        assert extproc.wait(processes.PATIENCE) == 0, pod.log("extproc")
