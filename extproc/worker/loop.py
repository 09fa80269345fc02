"""The event loop that every process of ours turns."""

import asyncio
from collections.abc import Callable, Coroutine
import sys


def on_loop(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `main` to its end, on uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
