"""One simulator per session on a port of its own, in a thread; and clients that ignore the machine's proxies."""

import asyncio
from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
import threading
from typing import Any

import httpx
import openai
import pytest

from extproc.simulate import Options, serve
from tests.contract.processes import PATIENCE

KEY = "sk-sim-test"
VERSION = "2024-10-21"


@dataclass(frozen=True)
class Simulator:
    """A running simulator."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def simulator(options: Options) -> Iterator[Simulator]:
    """Run a simulator with `options` in a thread; leaving the block cancels `serve` and waits for it."""
    ports: list[int] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()

    def ready(port: int) -> None:
        ports.append(port)
        started.set()

    task = loop.create_task(serve("127.0.0.1", 0, options, ready))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    assert ports
    try:
        yield Simulator(ports[0])
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        loop.close()


@pytest.fixture(scope="session")
def sim() -> Iterator[Simulator]:
    with simulator(Options()) as running:
        yield running


@pytest.fixture(scope="session")
def http(sim: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sim.url, trust_env=False, verify=False, timeout=PATIENCE) as client:
        yield client


Start = Callable[[Options], Simulator]


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        yield lambda options: stack.enter_context(simulator(options))


def sdk(sim: Simulator, base: str, **settings: Any) -> openai.OpenAI:
    """The official OpenAI SDK, pointed at `base` of the simulator."""
    return openai.OpenAI(
        **{"api_key": KEY, "base_url": sim.url + base, "max_retries": 0, **settings},
        http_client=httpx.Client(trust_env=False, verify=False, timeout=PATIENCE),
    )


BASES = {"openai": "/v1", "compatible": "/compatible-mode/v1", "moonshot": "/moonshot/v1", "azure-v1": "/openai/v1"}
MODELS = {"openai": "gpt-4o", "compatible": "qwen-plus", "moonshot": "moonshot-v1-8k", "azure": "gpt-4o"}


@pytest.fixture(params=["openai", "compatible", "moonshot", "azure"])
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(vendor: str, sim: Simulator) -> openai.OpenAI:
    if vendor == "azure":
        return openai.AzureOpenAI(
            api_key=KEY,
            api_version=VERSION,
            azure_endpoint=sim.url,
            max_retries=0,
            http_client=httpx.Client(trust_env=False, verify=False, timeout=PATIENCE),
        )
    return sdk(sim, BASES[vendor])


@pytest.fixture
def model(vendor: str) -> str:
    return MODELS[vendor]
