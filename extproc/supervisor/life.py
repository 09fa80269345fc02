"""From the start of a program to its end: what signals mean, and what `/readyz` tells.

Rule: the first signal ends a start at once, and lets what is served finish; the second ends that too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
import signal

import structlog

from extproc.supervisor.quotas import Quotas
from extproc.supervisor.sidecar import Sidecar

log = structlog.get_logger("extproc.run")


class Life:
    """Where a program stands, as `/readyz` tells it. SIGTERM and SIGINT set `stop`; a start they break
    off, and the second one a stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.not_ready: Callable[[], str | None] = lambda: "starting"
        self.trouble: Callable[[], Mapping[str, str]] = dict
        self.quotas: Quotas | None = None
        self._started = False
        self._task = asyncio.current_task()

    def reason(self) -> str | None:
        """Why requests would not be served; None if they are."""
        return "stopping" if self.stop.is_set() else self.not_ready()

    def started(self, running: Sidecar) -> None:
        """From now on a signal means: finish what is under way."""
        self.not_ready, self.trouble, self._started = running.not_ready, running.trouble, True
        self.quotas = running.quotas

    def on_signal(self) -> None:
        if self._task is not None and (self.stop.is_set() or not self._started):
            self._task.cancel()
        self.stop.set()

    def broken_off(self) -> bool:
        """Whether a cancellation was ours."""
        if not self.stop.is_set() or self._task is None:
            return False
        self._task.uncancel()
        return True


@asynccontextmanager
async def living() -> AsyncIterator[Life]:
    """Until the end of the block, signals are the program's."""
    life = Life()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, life.on_signal)
    try:
        yield life
    except asyncio.CancelledError:
        if not life.broken_off():
            raise
    log.info("stopped")


async def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Do `work` until it ends or SIGTERM or SIGINT breaks it off."""
    async with living():
        await work


async def first_end(stop: asyncio.Event, parts: dict[str, Awaitable[int]]) -> str | None:
    """Wait for the stop signal or the first part to end; its name."""
    tasks = {asyncio.ensure_future(ended): name for name, ended in parts.items()}
    stopped = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return next((tasks[task] for task in done if task in tasks), None)
