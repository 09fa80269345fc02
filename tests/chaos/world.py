"""What a scenario happens in: a gateway with two vendors behind it, its clients, and what can be done to them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
import contextlib
from dataclasses import dataclass, field
import http.client
import itertools
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

from tests.contract import processes
from tests.contract.processes import Gateway

from .client import Client, Count, Shape


class Vendor:
    """The process of a vendor (`vendor.py`), on the same port in every life."""

    def __init__(self, *options: str) -> None:
        self.port, self._options = 0, options
        self._popen: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = (sys.executable, "-m", "tests.chaos.vendor", str(self.port), *self._options)
        self._popen = subprocess.Popen(command, cwd=processes.ROOT, stdout=subprocess.PIPE, text=True)
        assert self._popen.stdout is not None
        self.port = int(self._popen.stdout.readline())

    def stop(self) -> None:
        """At once, as if its machine were gone."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait(10)
            self._popen = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str = "/stats") -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()


def configuration(first: str, second: str, **more: Any) -> dict[str, Any]:
    """Routes by host: `alone` and `mapped` to the first vendor, in DashScope's protocol and in OpenAI's, both read by
    the sidecar; `two` and `read` the same, then the second vendor; `passed` to the first, its answers staying in Envoy
    unread; `counted` the same, read for their `usage`; `keys` with two keys, the first of which the vendor throttles;
    `slow` to two vendors, with little patience."""
    never = {"consecutive5xx": 0}
    qwen = {"type": "qwen", "modelMapping": {"*": "qwen-max"}, "endpoint": first, "outlierDetection": never}
    openai = {"type": "openai", "outlierDetection": never}
    providers = [
        {"id": "first", **qwen, "apiTokens": ["sk-PLANTED-first"]},
        {"id": "second", **openai, "endpoint": second, "apiTokens": ["sk-PLANTED-second"]},
        {"id": "mapped", **openai, "endpoint": first, "apiTokens": ["sk-PLANTED-m"], "modelMapping": {"*": "other"}},
        {"id": "passed", **openai, "endpoint": first, "apiTokens": ["sk-PLANTED-passed"], "usage": {"passed": "off"}},
        {"id": "counted", **openai, "endpoint": first, "apiTokens": ["sk-PLANTED-c"]},
        {
            "id": "keys",
            **qwen,
            "apiTokens": ["sk-PLANTED-key-1", "sk-PLANTED-key-2"],
            "retryOnFailure": {"enabled": True, "retryOnStatus": ["429"], "maxRetries": 3},
        },
    ]
    steps: dict[str, Any] = {
        "two": [{"provider": "first"}, {"provider": "second"}],
        "read": [{"provider": "mapped"}, {"provider": "second"}],
        "alone": "first",
        "mapped": "mapped",
        "passed": "passed",
        "counted": "counted",
        "keys": "keys",
    }
    routes: list[dict[str, Any]] = [
        {"name": name, "match": {"hosts": [f"{name}.test"]}, "provider": provider} for name, provider in steps.items()
    ]
    patience = {"firstByteTimeout": "400ms", "perTryTimeout": "1s"}
    routes.append({"name": "slow", "match": {"hosts": ["slow.test"]}, "provider": steps["two"], "retry": patience})
    return {"workers": 2, "providers": providers, "routes": routes, **more}


def replace(path: Path, document: Any) -> None:
    """As editors do: written beside, renamed onto."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    beside.rename(path)


def resident(*pids: int) -> float:
    """Resident memory of these processes together, in MiB."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@dataclass
class World:
    """`config`: the document that the gateway began with, in `path`. `amount`: 1 in a full run, less in a quick one."""

    gateway: Gateway
    first: Vendor
    second: Vendor
    config: dict[str, Any]
    path: Path
    amount: float
    count: Count = field(default_factory=Count)

    @property
    def envoy(self) -> int:
        return self.gateway.process.children()["envoy"]

    def workers(self) -> list[int]:
        return self.gateway.process.workers()

    def memory(self) -> tuple[float, float]:
        """MiB of all workers together, and of Envoy; zeros when they are gone."""
        try:
            return resident(*self.workers()), resident(self.envoy)
        except (OSError, LookupError):
            return 0.0, 0.0

    async def load(
        self, shapes: tuple[Shape, ...], total: int, clients: int, happening: Callable[[], Any] | None = None
    ) -> None:
        """So many requests, and more until what happens meanwhile has happened."""
        over = asyncio.Event()
        turns = itertools.count()

        async def client(number: int) -> None:
            one = Client(self.gateway.port, self.count, keep=number % 2 == 0)
            while (turn := next(turns)) < total or not over.is_set():
                if not await one.ask(shapes[turn % len(shapes)]):
                    await asyncio.sleep(0.05)
                    if over.is_set():
                        break
            one.close()

        async def event() -> None:
            try:
                if happening is not None:
                    await happening()
            finally:
                over.set()

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(client(number))
            group.create_task(event())

    async def until(self, condition: Callable[[], Any], what: str, patience: float = 60) -> Any:
        end = asyncio.get_running_loop().time() + patience
        while not (value := await asyncio.to_thread(condition)):
            assert asyncio.get_running_loop().time() < end, f"not within {patience} s: {what}"
            await asyncio.sleep(0.05)
        return value

    async def event(self, name: str, before: int = 0, patience: float = 60) -> None:
        """The sidecar says this once more than `before` times."""
        await self.until(lambda: len(self.gateway.events(name)) > before, f"the sidecar says: {name}", patience)

    async def changed(self, document: Any) -> None:
        """A new configuration, followed."""
        before = len(self.gateway.events("configuration changed"))
        replace(self.path, document)
        await self.event("configuration changed", before)


@contextlib.contextmanager
def vendors() -> Iterator[tuple[Vendor, Vendor]]:
    with contextlib.ExitStack() as stack:
        pair = Vendor(), Vendor("good")
        for vendor in pair:
            vendor.start()
            stack.callback(vendor.stop)
        yield pair


@contextlib.asynccontextmanager
async def world(directory: Path, amount: float, **more: Any) -> AsyncIterator[World]:
    """A fresh gateway with fresh vendors. `more`: further keys of the configuration; `providers` and `routes` come
    before the others."""
    with vendors() as (first, second):
        config = configuration(first.url, second.url)
        for key, value in more.items():
            config[key] = [*value, *config[key]] if key in ("providers", "routes") else value
        config = json.loads(json.dumps(config).replace('"FIRST"', f'"{first.url}"'))
        path = directory / "config" / "gateway.yaml"
        path.parent.mkdir(parents=True)
        replace(path, config)
        stack = contextlib.ExitStack()
        options = ("--config", str(path), "--drain-seconds", "20")
        gateway = await asyncio.to_thread(stack.enter_context, processes.gateway(directory / "run", *options))
        try:
            yield World(gateway, first, second, config, path, amount)
        finally:
            for pid in gateway.process.workers() if gateway.process.popen.poll() is None else []:
                os.kill(pid, signal.SIGCONT)
            await asyncio.to_thread(stack.close)
