"""Work that takes long is done in a thread, so that the loop turns meanwhile.

Rule: nobody waits for a thread that does not end: it is a daemon, and what it finds too late is nobody's any more.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
import threading
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T], patience: float | None) -> T:
    """What `work` gives or raises. Raises `TimeoutError` after so many seconds, None: never."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="aside", daemon=True).start()
    async with asyncio.timeout(patience):
        return await done
