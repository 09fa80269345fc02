"""Scenarios played: repetitions of all arms by turns, each warmed up; and what is measured in other ways.

A measurement is what the load generator saw (`load`), CPU seconds and memory by role, and the messages that Envoy sent
its processor. `problem` says why one is of no use.
"""

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import threading
import time
from typing import Any, Final

from . import accounting, traffic
from .scenarios import IDLE, SOAK, WORKERS, Scenario
from .servers import Park, Server, Unavailable, messages_sent

Row = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How much of everything: repetitions, seconds of each and of warming up, streams, requests of the soak."""

    repetitions: int
    seconds: float
    warm: float
    streams: int
    soak: int


FULL: Final = Effort(5, 2.0, 0.6, 5_000, 200_000)
QUICK: Final = Effort(3, 0.7, 0.3, 1_000, 4_000)


def matrix(scenario: Scenario, park: Park, effort: Effort, directory: Path) -> Row:
    """Every arm's repetitions. Each repetition begins with another arm."""
    arms: dict[str, Row] = {arm: {"repetitions": []} for arm in scenario.arms}
    for repetition in range(effort.repetitions):
        turn = repetition % len(scenario.arms)
        for arm in (*scenario.arms[turn:], *scenario.arms[:turn]):
            if "problem" in arms[arm]:
                continue
            try:
                server = park.server(arm)
                ask = scenario.ask(arm, park.vendor.address)
                given: Row = {"connections": scenario.connections, "rate": scenario.rate}
                traffic.load(directory, server.address, ask, **given, duration=f"{effort.warm}s")
                row = measured(park, server, ask, directory, **given, duration=f"{effort.seconds}s")
                arms[arm]["repetitions"].append(row)
                if row["load"]["errors"] or not row["load"]["requests"]:
                    arms[arm]["problem"] = f"wrong answers: {row['load']['errors'] or 'none at all'}"
            except (Unavailable, OSError, AssertionError, traffic.Failed) as error:
                arms[arm]["problem"] = f"{type(error).__name__}: {error}"
    return {"name": scenario.name, "arms": arms}


def measured(park: Park, server: Server, ask: traffic.Ask, directory: Path, **how: Any) -> Row:
    """One load, and what it cost whom."""
    roles = server.roles() | ({} if server is park.vendor else park.vendor.roles())
    before, messages = {role: accounting.cpu_seconds(pids) for role, pids in roles.items()}, messages_sent(server)
    seen = traffic.load(directory, server.address, ask, **how)
    cpu = {role: round(accounting.cpu_seconds(pids) - before[role], 3) for role, pids in roles.items()}
    return {
        "load": seen,
        "cpu_seconds": cpu,
        "messages": (messages_sent(server) - messages) / max(1, seen["requests"] + seen["cancelled"]),
        "resident_mib": {role: round(accounting.resident_kib(pids) / 1024, 1) for role, pids in roles.items()},
        "peak_mib": {role: round(accounting.peak_kib(pids) / 1024, 1) for role, pids in roles.items()},
    }


def idle(park: Park, effort: Effort, directory: Path) -> Row:
    """Memory of open streams that have begun and are silent, per stream and role."""
    arms: dict[str, Row] = {}
    for arm in IDLE.arms:
        try:
            with park.fresh(arm) as server:
                ask, roles = IDLE.ask(arm, park.vendor.address), server.roles()
                with traffic.held(directory, server.address, ask, 50):  # everything is loaded that is loaded once
                    pass
                time.sleep(1)
                before = {role: accounting.resident_kib(pids) for role, pids in roles.items()}
                with traffic.held(directory, server.address, ask, effort.streams) as opened:
                    time.sleep(2)
                    after = {role: accounting.resident_kib(pids) for role, pids in roles.items()}
            arms[arm] = {
                "streams": opened,
                "kib_per_stream": {role: round((after[role] - before[role]) / max(1, opened), 1) for role in roles},
                "resident_mib": {role: [round(before[role] / 1024, 1), round(after[role] / 1024, 1)] for role in roles},
            }
            if opened < effort.streams:
                arms[arm]["problem"] = f"{opened} of {effort.streams} streams opened"
        except (Unavailable, OSError, AssertionError, traffic.Failed) as error:
            arms[arm] = {"problem": f"{type(error).__name__}: {error}"}
    return {"name": IDLE.name, "arms": arms}


def soak(park: Park, effort: Effort, directory: Path) -> Row:
    """Resident memory of a worker, each second, while streams come and every tenth client hangs up."""
    [arm] = SOAK.arms
    samples: list[float] = []
    try:
        with park.fresh(arm) as server:
            workers, over = server.roles()["worker"], threading.Event()

            def sample() -> None:
                while not over.wait(1 if effort.soak > 50_000 else 0.1):
                    with contextlib.suppress(OSError):  # a worker that ended: the load says so
                        samples.append(round(accounting.resident_kib(workers) / 1024, 2))

            sampler = threading.Thread(target=sample)
            sampler.start()
            try:
                ask = SOAK.ask(arm, park.vendor.address)
                given: Row = {"connections": SOAK.connections, "requests": effort.soak, "cancel": 10}
                row = measured(park, server, ask, directory, **given)
            finally:
                over.set()
                sampler.join()
        found: Row = {**row, "resident_mib": samples}
        if row["load"]["errors"]:
            found["problem"] = f"wrong answers: {row['load']['errors']}"
    except (Unavailable, OSError, AssertionError, traffic.Failed) as error:
        found = {"problem": f"{type(error).__name__}: {error}"}
    return {"name": SOAK.name, "arms": {arm: found}}


SHARE: Final = 0.2
"""Of a core that each worker may have where one is compared with two."""


def workers(park: Park, effort: Effort, directory: Path) -> Row:
    """One worker and two, by turns, each held to a fifth of a core: so that load and Envoy leave them what they may
    have, on any machine with two cores."""
    arms: dict[str, Row] = {arm: {"repetitions": []} for arm in WORKERS.arms}
    given: Row = {"connections": WORKERS.connections, "duration": f"{max(effort.seconds * 2, 2.5)}s"}
    for _ in range(effort.repetitions):
        for arm in WORKERS.arms:
            try:
                server = park.server(arm)
                with held_to(SHARE, server.roles()["worker"]):
                    row = measured(park, server, WORKERS.ask(arm, park.vendor.address), directory, **given)
                arms[arm]["repetitions"].append(row)
                if row["load"]["errors"]:
                    arms[arm]["problem"] = f"wrong answers: {row['load']['errors']}"
            except (Unavailable, OSError, AssertionError, traffic.Failed) as error:
                arms[arm]["problem"] = f"{type(error).__name__}: {error}"
    return {"name": WORKERS.name, "arms": arms}


@contextlib.contextmanager
def held_to(share: float, pids: Sequence[int], period: float = 0.05) -> Iterator[None]:
    """Let processes run for a share of the time only, each in its turn."""
    over = threading.Event()

    def hold(pid: int, delay: float) -> None:
        over.wait(delay)
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(period * (1 - share))
            os.kill(pid, signal.SIGCONT)
            over.wait(period * share)

    threads = [threading.Thread(target=hold, args=(pid, period * i / len(pids))) for i, pid in enumerate(pids)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
