"""How a stream ends: nothing is left with grpc.aio that it would never free (grpc/grpc#43360)."""

import asyncio
from typing import Any

import grpc
import pytest

from extproc.config import Config
from extproc.exchange import Snapshot
from extproc.server import Processor

CONFIG = Config.model_validate({"providers": [{"type": "openai"}], "routes": [{"name": "all", "provider": "openai"}]})


class Stream:
    """One whose only message is not there yet."""

    def __init__(self) -> None:
        self.coming: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.ended: list[str] = []

    async def read(self) -> Any:
        try:
            return await self.coming
        except asyncio.CancelledError:
            self.ended.append("broken off")
            raise
        finally:
            self.ended.append("read")

    async def write(self, _: object) -> None:
        raise AssertionError("nothing was asked")


async def _left(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_read_under_way_is_not_broken_off() -> None:
    stream = Stream()
    task = asyncio.create_task(Processor(lambda: Snapshot(CONFIG, {})).serve(None, stream))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await _left(task)
    assert stream.ended == []
    stream.coming.set_result(grpc.aio.EOF)
    await asyncio.sleep(0.01)
    assert stream.ended == ["read"]


async def test_a_stream_that_envoy_ended_waits_for_its_reset_before_it_gets_a_status() -> None:
    stream = Stream()
    stream.coming.set_result(grpc.aio.EOF)
    task = asyncio.create_task(Processor(lambda: Snapshot(CONFIG, {})).serve(None, stream))
    done, _ = await asyncio.wait({task}, timeout=0.1)
    assert not done
    await _left(task)
