"""One gateway for all clients, with simulated vendors that play the scripts of their prompts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients import programs
from tests.contract import processes
from tests.contract.processes import Gateway

WAYS = ("qwen", "openai", "fallback")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("clients")
    with processes.simulator(directory / "simulator") as url:
        config = (programs.HERE / "gateway.yaml").read_text()
        config = config.replace("SIMULATOR", url).replace("CLOSED", f"http://127.0.0.1:{processes.free_port()}")
        (directory / "gateway.yaml").write_text(config)
        with processes.gateway(directory, "--config", str(directory / "gateway.yaml")) as running:
            yield running


@pytest.fixture(scope="session")
def clients() -> None:
    """The real programs, or a word that their recorded traffic stands in for them."""
    if (why := programs.installed()) is not None:
        pytest.skip(f"{why}: what the clients once sent is played in their place (test_recorded.py)")


Placing = Callable[[str], programs.Place]


@pytest.fixture
def place(gateway: Gateway, clients: None, tmp_path: Path) -> Placing:
    """A fresh home whose clients go one way through the gateway; in its work folder is `note.txt`."""

    def made(way: str) -> programs.Place:
        found = programs.Place(tmp_path, f"{gateway.base}/{way}")
        found.work.mkdir()
        (found.work / "note.txt").write_text("the secret is 4711\n")
        return found

    return made
