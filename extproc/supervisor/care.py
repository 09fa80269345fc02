"""Tasks that must not end: whatever they fail of, they are begun again.

Rule: nothing ends in silence. A failure is said with its place, the task is begun again after a while, and as long as
it has not gone well for some time, `failing` knows it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

log = structlog.get_logger("extproc.care")

BACK_OFF: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a task is begun again, by how often it failed in a row."""
STEADY_SECONDS: Final = 10.0
"""What went well for so long does not fail any more."""


class Care:
    """Keeps tasks. `failing`: those that failed lately, and of what, for people."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` until it is done, or until the end of all."""
        task = asyncio.create_task(self._kept(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what is kept."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _kept(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            well = asyncio.get_running_loop().call_later(STEADY_SECONDS, self.failing.pop, name, None)
            try:
                await work()
            except Exception as error:
                failures = failures + 1 if name in self.failing else 1
                pause = BACK_OFF[min(failures, len(BACK_OFF)) - 1]
                self.failing[name] = type(error).__name__
                log.exception("a task failed unexpectedly: it is begun again", task=name, in_seconds=pause)
            else:
                self.failing.pop(name, None)
                return
            finally:
                well.cancel()
            await asyncio.sleep(pause)
