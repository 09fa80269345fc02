"""Real containers: the stack of docker-compose.yml, brought up by the commands of docs/compose.md.

Rule: they run wherever a Docker API and `docker compose` answer; where none does they are skipped with the reason, or
fail if CONTAINERS=required. What a machine without an image registry must name otherwise, it says by the variables that
users have (PYTHON_IMAGE, ENVOY_IMAGE). Done in a copy of the checkout, with a project name and ports of its own.
"""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import re
import shutil
import subprocess
from typing import Any

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from tests.contract.processes import ROOT, environment, free_port, until

PROJECT = "ai-proxy-test"
KEY = "sk-planted-7f3a9c55e0d14b62"  # the only key, in .env: it must be found in the sidecar and nowhere else

testcontainers_config.ryuk_disabled = True  # every container here ends with a fixture; no image for that is needed


def no_engine() -> str | None:
    """Why no container can be run here."""
    try:
        DockerClient().client.ping()
        subprocess.run(["docker", "compose", "version"], check=True, capture_output=True)
    except Exception as error:
        return f"no containers here: {str(error)[:300]}"
    return None


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    if reason := no_engine():
        if os.environ.get("CONTAINERS") == "required":
            pytest.fail(f"CONTAINERS=required, but {reason}")
        pytest.skip(reason)


def commands(page: str, mark: str) -> str:
    """The block of commands behind `<!-- tested: MARK -->` of a page."""
    [code] = re.findall(rf"<!-- tested: {mark} -->\n```sh\n(.*?)```", (ROOT / page).read_text(), re.S)
    return str(code)


class Stack:
    """A checkout with `.env`, and what of it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gateway, self.page = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        more = {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_FILE": "docker-compose.yml:tests/containers/chat/compose.yaml",
            "EXTPROC_IMAGE": "ai-proxy-test:latest",
            "SIMULATE_IMAGE": "ai-proxy-test-simulate:latest",
            "GATEWAY_PORT": self.gateway.rpartition(":")[2],
            "NEXTCHAT_PORT": self.page.rpartition(":")[2],
            "LOG_FORMAT": "json",
        }
        self.environ = environment(**more)

    def run(self, script: str, *, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Commands as a document has them; its ports are ours."""
        for said, ours in (("http://127.0.0.1:8080", self.gateway), ("http://127.0.0.1:3000", self.page)):
            script = script.replace(said, ours)
        words = ["bash", "-ec", script]
        done = subprocess.run(
            words, cwd=self.directory, env=self.environ | more, text=True, capture_output=True, timeout=300
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done

    def logs(self, *services: str) -> str:
        words = ["docker", "compose", "--profile", "simulate", "logs", "--no-color", "--no-log-prefix", *services]
        done = subprocess.run(words, cwd=self.directory, env=self.environ, capture_output=True)
        return (done.stdout + done.stderr).decode(errors="replace").replace("\x1b[2K", "")

    def inspect(self, service: str) -> dict[str, Any]:
        """What `docker inspect` tells everybody who may ask."""
        [found] = json.loads(self.run(f"docker inspect {PROJECT}-{service}-1").stdout)
        return dict(found)

    def inside(self, service: str, command: str, *, check: bool = True) -> str:
        """What a shell in a container prints."""
        script = f"docker compose exec -T {service} sh -c '{command}'"
        return self.run(script, check=check).stdout.strip()

    def python(self, service: str, program: str, *, check: bool = True) -> str:
        return self.run(f"docker compose exec -T {service} python3 - <<'END'\n{program}\nEND", check=check).stdout

    def healthy(self, *services: str) -> None:
        for service in services:
            until(lambda s=service: self.inspect(s)["State"]["Health"]["Status"] == "healthy", f"{service} is healthy")

    def seen(self, mark: str) -> list[dict[str, Any]]:
        """The vendor's requests that contain `mark`."""
        program = "from urllib.request import urlopen\nprint(urlopen('http://127.0.0.1:9100/__sim__/requests').read().decode())"
        return [
            entry
            for entry in json.loads(self.python("simulate", program))
            if mark in json.dumps(entry, ensure_ascii=False)
        ]


def files() -> list[str]:
    """What a clone of this checkout would have, and what is about to be added."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def checkout(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A clone whose images are built; a key lies about where a careless build would take it in."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in files():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    for place in (".env", "deploy/config/notes.txt", "extproc/.env"):
        (directory / place).write_text(f"DASHSCOPE_API_KEY={KEY}\n")
    stack = Stack(directory)
    stack.run("docker compose --profile simulate build")
    for place in (".env", "deploy/config/notes.txt", "extproc/.env"):
        (directory / place).unlink()
    return stack


@pytest.fixture(scope="session")
def stack(checkout: Stack) -> Iterator[Stack]:
    """The stack without a key, as the page says; every vendor is simulated."""
    try:
        checkout.run(commands("docs/compose.md", "without a key"))
        yield checkout
    finally:
        checkout.run("docker compose --profile simulate down --volumes --timeout 1")
