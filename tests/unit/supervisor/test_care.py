"""Kept tasks: whatever they fail of, they are begun again, and it is known."""

import asyncio

import pytest
from structlog.testing import capture_logs

from extproc.supervisor import care
from extproc.supervisor.care import Care


@pytest.mark.parametrize("error", [OSError(24, "x"), ValueError("sk-secret"), RuntimeError(), MemoryError()])
async def test_what_fails_is_begun_again_said_and_known(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(care, "BACK_OFF", (0.0, 0.001))
    kept, done, known = Care(), asyncio.Event(), list[dict[str, str]]()

    async def work() -> None:
        known.append(dict(kept.failing))
        if len(known) < 4:
            raise error
        done.set()

    with capture_logs() as logs:
        kept.keep("a task", work)
        async with asyncio.timeout(60):
            await done.wait()
        await kept.end()
    assert known == [{}, *[{"a task": type(error).__name__}] * 3]
    assert [(line["task"], line["in_seconds"]) for line in logs] == [("a task", 0.0), *[("a task", 0.001)] * 2]
    assert kept.failing == {}


async def test_what_goes_well_for_a_while_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(care, "BACK_OFF", (0.0,))
    monkeypatch.setattr(care, "STEADY_SECONDS", 0.001)
    kept, begun = Care(), list[int]()

    async def work() -> None:
        begun.append(1)
        if len(begun) == 1:
            raise OSError
        await asyncio.Event().wait()

    with capture_logs():
        kept.keep("a task", work)
        async with asyncio.timeout(60):
            while len(begun) < 2 or kept.failing:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0)
    await kept.end()
