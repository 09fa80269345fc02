"""Several worker processes: all serve, one that dies takes its own exchanges at most, and all can be replaced."""

from collections.abc import Callable, Iterator
import contextlib
import json
import os
from pathlib import Path
import signal
import time

import pytest

from . import processes
from .conftest import Simulator
from .load import load
from .processes import Gateway, until
from .raw import ask, chat
from .test_life import alive, stream

Start = Callable[..., contextlib.AbstractContextManager[Gateway]]


@pytest.fixture
def start(simulator: Simulator, tmp_path: Path, placement: tuple[str, ...]) -> Start:
    """Starts a gateway with these top-level keys."""

    @contextlib.contextmanager
    def started(**keys: object) -> Iterator[Gateway]:
        provider: dict[str, object] = {"type": "qwen", "apiTokens": ["sk-sim-PLANTED"], "endpoint": simulator.url}
        provider["modelMapping"] = {"*": "qwen-max"}
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({"providers": [provider], **keys}))
        with processes.gateway(tmp_path / "run", "--config", str(path), *placement) as gateway:
            yield gateway

    return started


def test_every_worker_gets_streams_and_one_that_is_killed_is_started_again(start: Start) -> None:
    with start(workers=2) as gateway:
        first, second = gateway.process.workers()
        with load(gateway.port, lambda n: chat(f"x [[sim:interval=0.02]] {n}", stream=n % 2 == 0)) as outcome:
            served(gateway)
            os.kill(first, signal.SIGKILL)
            until(lambda: len(gateway.process.workers()) == 2 and first not in gateway.process.workers(), "a new one")
            served(gateway)
            os.kill(second, signal.SIGKILL)
            until(lambda: second not in gateway.process.workers(), "it is gone")
            served(gateway)
        assert outcome.lost == []
        # What was under way on the dead worker, one exchange per client at most, each time: an error, or a stream that
        # is seen to be cut.
        failed = [answer for answer in outcome.answers if answer.status != 200 or not answer.complete]
        assert len(failed) <= 12
        for answer in outcome.answers:
            if answer.status != 200:
                assert (answer.status, answer.error["code"], answer.complete) == (500, "internal_error", True)
            elif answer.headers["content-type"].startswith("text/event-stream"):
                assert answer.complete == answer.body.endswith(b"data: [DONE]\n\n")
            else:
                assert answer.complete
        said = "a worker ended: it is started again"
        until(lambda: len(gateway.events(said)) == 2, "both ends are said")
        assert [entry["reason"] for entry in gateway.events(said)] == ["killed by SIGKILL"] * 2


def served(gateway: Gateway) -> None:
    """Both workers have answered anew."""
    before = len(gateway.events("exchange"))

    def answered() -> bool:
        workers = [entry["worker"] for entry in gateway.events("exchange")[before:]]
        return min(workers.count(0), workers.count(1)) >= 5

    until(answered, "both workers serve")


def test_the_only_worker_is_killed_and_who_comes_next_waits_for_its_successor(start: Start) -> None:
    with start(workers=1) as gateway:
        [worker] = gateway.process.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: not alive(worker), "it is gone")
        began = time.monotonic()
        status = ask(gateway.port, body=chat("x")).status
        # Envoy's patience is about three seconds, in which a busy machine may not start a worker.
        assert status == 200 or time.monotonic() - began > 0.7
        until(lambda: ask(gateway.port, body=chat("x")).status == 200, "the successor serves")


@pytest.mark.parametrize("count", [1, 2])
def test_a_rolling_restart_fails_no_request(start: Start, simulator: Simulator, count: int) -> None:
    with start(workers=count) as gateway:
        before = gateway.process.workers()
        connection, rest, first = stream(gateway, "[[sim:hold]]")  # longer than its worker serves others
        with load(gateway.port) as outcome:
            until(lambda: len(outcome.answers) > 50, "they are served")
            gateway.process.popen.send_signal(signal.SIGHUP)
            until(lambda: gateway.events("all workers were replaced"), "all are replaced")
            since = len(outcome.answers)
            until(lambda: len(outcome.answers) > since + 50, "they are served on")
        assert outcome.failed() == []
        simulator.release()
        assert (first + b"".join(rest)).endswith(b"data: [DONE]\n\n")
        connection.close()
        until(lambda: not any(map(alive, before)), "the former ones end with their last stream")
        after = gateway.process.workers()
        assert len(after) == count
        assert not set(before) & set(after)


def test_workers_are_recycled_by_age(start: Start) -> None:
    with start(workers=2, recycle={"maxAge": 2}) as gateway, load(gateway.port) as outcome:
        before = set(gateway.process.workers())
        until(lambda: len(gateway.events("a worker is replaced")) >= 2, "both were replaced")
        until(lambda: len(before & set(gateway.process.workers())) < 2, "one of the former is gone")
    assert outcome.failed() == []
