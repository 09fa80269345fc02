"""The supervisor, with real worker processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

import pytest
from structlog.testing import capture_logs

from extproc.providers.blocks import Recycle
from extproc.supervisor import recycling, supervisor
from extproc.supervisor import worker as worker_module
from extproc.supervisor.recycling import due
from extproc.supervisor.spawning import WorkerFailed
from extproc.supervisor.supervisor import Logging, Workers
from extproc.supervisor.worker import Worker
from extproc.worker import channel
from extproc.worker.places import Address, Door, Place, UnixSocket, places, reserved

ORDER = Worker.order
ANY = Address("127.0.0.1", 0)


def order(generation: int = 1, content: str | None = None) -> channel.Load:
    text = content or json.dumps({"providers": [{"type": "openai", "apiTokens": ["sk-1"]}]})
    return channel.Load(generation, "/nowhere/c.yaml", {"/nowhere/c.yaml": text.encode()}, None, {})


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers(Logging("json", "info"), Door(ANY))
    yield made
    await made.stop(0.0, 0.0)


async def start(workers: Workers, stack: ExitStack, count: int = 1, load: channel.Load | None = None) -> list[Place]:
    where = [stack.enter_context(reserved(place)) for place in places(ANY, count)]
    await workers.start(where, load or order())
    return where


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):  # patience, not a measure: a busy machine starts a worker in many seconds
        while not condition():  # noqa: ASYNC110  processes tell nobody else
            await asyncio.sleep(0.02)


def children() -> list[int]:
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if b"extproc.worker" in _command(pid)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended just now
        return b""


def environment_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def connects(place: Place) -> bool:
    assert isinstance(place, Address)
    with socket.socket() as probe:
        return probe.connect_ex((place.host, place.port)) == 0


@pytest.mark.parametrize(
    ("recycle", "age", "memory", "expected"),
    [
        (None, 1e9, 1 << 40, None),
        (Recycle(), 1e9, 1 << 40, None),
        (Recycle(maxAge=60.0), 59.0, 0, None),
        (Recycle(maxAge=60.0), 60.0, 0, "it is 60 s old"),
        (Recycle(maxAge=1.0), 2.0, 0, "it is 2 s old"),
        (Recycle(maxMemory=100 << 20), 31.0, 101 << 20, "it holds 101 MiB"),
        (Recycle(maxMemory=100 << 20), 31.0, 100 << 20, None),
        (Recycle(maxMemory=100 << 20), 29.0, 101 << 20, None),  # or a limit too low would never let it serve
        (Recycle(maxAge=1.0, maxMemory=1), 0.5, 1 << 20, None),
    ],
)
def test_when_a_worker_is_due(recycle: Recycle | None, age: float, memory: int, expected: str | None) -> None:
    assert due(recycle, age, memory) == expected


def test_ports_are_consecutive() -> None:
    assert list(map(str, places(Address("::1", 9000), 3))) == ["[::1]:9000", "[::1]:9001", "[::1]:9002"]
    assert places(ANY, 2) == [ANY, ANY]
    assert list(map(str, places(UnixSocket("/s"), 3))) == ["unix:/s", "unix:/s.1", "unix:/s.2"]
    assert str(Address("::1", 9000)) == "[::1]:9000"


def test_there_is_a_core_and_this_process_holds_memory() -> None:
    assert recycling.cores() >= 1
    assert recycling.memory_of(os.getpid()) > 1 << 20
    assert recycling.memory_of(1 << 30) == 0


def test_a_port_is_reserved_from_strangers() -> None:
    with reserved(ANY) as place:
        with pytest.raises(OSError, match=f"cannot listen on {place} "), reserved(place):
            pass
        assert not connects(place)
    with reserved(place):
        pass


async def test_workers_serve_and_end(workers: Workers) -> None:
    with ExitStack() as stack:
        places = await start(workers, stack, 2)
        assert workers.serving == 2
        assert all(map(connects, places))
        pids = children()
        assert len(pids) == 2
        await workers.apply(order(2))
        await until(lambda: workers.oldest == 2)
        await workers.stop(0.0, 1.0)
        assert workers.serving == 0
        assert not any(map(connects, places))
        assert not set(pids) & set(children())


@pytest.mark.parametrize("own", [None, "-event_engine_dns"])
async def test_a_worker_s_core_polls_itself_unless_it_is_told_otherwise(
    own: str | None, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    if own is not None:
        monkeypatch.setenv("GRPC_EXPERIMENTS", own)
    with ExitStack() as stack:
        await start(workers, stack)
        environ = environment_of(*children())
    assert f"GRPC_EXPERIMENTS={own or '-event_engine_listener'}" in environ


async def test_a_start_that_fails_says_why_and_leaves_nothing(workers: Workers) -> None:
    with ExitStack() as stack, pytest.raises(WorkerFailed, match="must be a mapping"):
        await start(workers, stack, 2, order(content="provider: []\n"))
    assert children() == []


async def test_a_dead_worker_comes_back_where_it_was(workers: Workers) -> None:
    with ExitStack() as stack, capture_logs() as logs:
        (place,) = await start(workers, stack)
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: workers.serving == 1 and children() not in ([], [pid]))
        assert connects(place)
        [entry] = logs
        assert (entry["reason"], entry["worker"]) == ("killed by SIGKILL", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="real-time signals are Linux'")
async def test_one_that_ends_by_a_signal_without_a_name_comes_back(workers: Workers) -> None:
    with ExitStack() as stack, capture_logs() as logs:
        await start(workers, stack)
        (pid,) = children()
        os.kill(pid, 40)
        await until(lambda: workers.serving == 1 and children() not in ([], [pid]))
        assert [entry["reason"] for entry in logs] == ["killed by signal 40"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(24, "Too many open files"), "no process can be started: Too many open files"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "no process can be started: Resource temporarily"),
        (MemoryError(), "MemoryError"),
        (ValueError("a fault of ours"), "ValueError"),
    ],
)
async def test_one_that_cannot_be_started_is_tried_until_it_can(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF", (0.0, 0.01))
    real, tries, trouble = asyncio.create_subprocess_exec, list[int](), dict[str, str]()

    async def full(*command: str, **given: object) -> asyncio.subprocess.Process:
        tries.append(1)
        trouble.update(workers.trouble)
        if len(tries) < 5:
            raise error
        return await real(*command, **given)  # type: ignore[arg-type]

    with ExitStack() as stack, capture_logs() as logs:
        await start(workers, stack)
        monkeypatch.setattr(asyncio, "create_subprocess_exec", full)
        os.kill(*children(), signal.SIGKILL)
        await until(lambda: len(tries) == 5 and workers.serving == 1)
        said = [entry["reason"] for entry in logs if "reason" in entry]
        assert said[0] == "killed by SIGKILL"
        assert len(said) == 5
        assert all(each.startswith(reason) for each in said[1:])
        assert trouble["worker 0"].startswith(reason)
        assert workers.trouble == {}


async def test_a_worker_that_is_not_understood_is_killed_and_comes_back(workers: Workers) -> None:
    with ExitStack() as stack, capture_logs() as logs:
        await start(workers, stack)
        (pid,) = children()
        stdout = workers._slots[0].process.stdout
        assert stdout is not None
        stdout.feed_data(b"\0\0\0\1\xff")  # a report of one byte that is none
        await until(lambda: workers.serving == 1 and children() not in ([], [pid]))
        assert [entry["event"] for entry in logs][:2] == [
            "a worker is not understood: it is killed",
            "a worker ended: it is started again",
        ]


async def test_a_worker_that_is_asked_to_end_is_replaced_too(workers: Workers) -> None:
    with ExitStack() as stack, capture_logs() as logs:
        await start(workers, stack)
        (pid,) = children()
        os.kill(pid, signal.SIGTERM)
        await until(lambda: logs)
        assert logs[0]["reason"] == "exit code 0"


async def test_one_that_keeps_dying_is_said_each_time_and_slower(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF", (0.0, 0.01, 0.02, 0.03))
    with ExitStack() as stack, capture_logs() as logs:
        await start(workers, stack)
        await workers.apply(order(2, "provider: []\n"))  # a running one keeps what it has; a new one cannot start
        (pid,) = children()
        assert workers.serving == 1
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(logs) >= 5)
        kept, *died = logs
        assert "keeps the former configuration" in kept["event"]
        assert [entry["in_seconds"] for entry in died][:3] == [0.01, 0.02, 0.03]
        assert died[0]["log_level"] == "warning"
        assert died[-1]["log_level"] == "error"
        assert workers.serving == 0


async def test_a_worker_whose_loop_stands_still_is_killed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "PING_SECONDS", 0.05)
    with ExitStack() as stack, capture_logs() as logs:
        await start(workers, stack)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: len(logs) >= 2)  # a busy machine's next worker may be as slow
        assert [entry["event"] for entry in logs[:2]] == [
            "a worker does not answer: it is killed",
            "a worker ended: it is started again",
        ]


def test_the_supervisor_has_no_grpc() -> None:
    modules = "extproc.supervisor.run, extproc.supervisor.supervisor, extproc.supervisor.sidecar"
    code = f"import sys, {modules}; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_workers_tell_each_other_which_keys_rest(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        await start(workers, stack, 2)
        heard: list[tuple[int, channel.Order]] = []
        first, second = workers._slots.values()
        for worker in (first, second):
            monkeypatch.setattr(worker, "order", lambda message, index=worker.index: heard.append((index, message)))
        rest = channel.Rested("p", "f", time.monotonic() + 60, False)
        workers._pass_on(first, rest)
        assert heard == [(second.index, rest)]
        monkeypatch.undo()
        os.kill(first.process.pid, signal.SIGKILL)
        told: list[channel.Order] = []
        monkeypatch.setattr(Worker, "order", lambda self, message: (told.append(message), ORDER(self, message)))
        await until(lambda: workers.serving == 2 and rest in told)
