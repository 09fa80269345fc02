"""A worker's process: how it is started, and in words how it ended."""

import asyncio
import os
import signal
import sys

POLLS_ITSELF = {"GRPC_EXPERIMENTS": "-event_engine_listener"}
"""What a worker's environment tells gRPC's core: whoever waits for messages reads the sockets. Else a thread of the
core's own does and wakes it, which takes longer than our answer (docs/performance.md; grpcio 1.85)."""


class WorkerFailed(Exception):
    """A worker does not start. The message says why."""


async def started() -> asyncio.subprocess.Process:
    """A worker's process. Raises `WorkerFailed` where the system has no room for one."""
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "extproc.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours to handle
            env=POLLS_ITSELF | os.environ,
        )
    except OSError as error:
        raise WorkerFailed(f"no process can be started: {error.strerror or type(error).__name__}") from None


def why_ended(code: int | None, patience: float = 0.0) -> str:
    """In words. `code`: None for one that did not serve in so many seconds."""
    if code is None:
        return f"not ready after {patience:g} s"
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}  # not all have one: Linux' real-time signals
    return f"killed by {names.get(-code, f'signal {-code}')}"
