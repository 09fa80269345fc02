"""`serve` is a good guest in somebody else's event loop."""

import asyncio
import contextlib
import signal
import socket
from typing import Any

import httpx
import pytest

from extproc.simulate import Options, app, serve
from tests.contract.processes import PATIENCE

from .conftest import KEY


def test_it_stops_when_cancelled_and_leaves_signals_alone() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[int] = loop.create_future()
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        task = asyncio.create_task(serve("127.0.0.1", 0, Options(), ready.set_result))
        port = await asyncio.wait_for(ready, PATIENCE)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/__sim__/health")).json() == {"ok": True}
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(scenario())


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        asyncio.run(serve("127.0.0.1", taken.getsockname()[1], Options()))


def test_the_application_alone() -> None:
    async def ask() -> httpx.Response:
        transport: Any = httpx.ASGITransport(app(Options()))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.openai.com") as client:
            return await client.get("/v1/models", headers={"authorization": f"Bearer {KEY}"})

    assert asyncio.run(ask()).json()["object"] == "list"
