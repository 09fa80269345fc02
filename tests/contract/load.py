"""Clients that never pause: what becomes of every single request while something happens to the gateway."""

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass, field
import threading
from typing import Any

from .raw import Answer, ask, chat

CLIENTS = 6


@dataclass
class Outcome:
    """`answers`: all that came back, whole or not. `lost`: what broke before an answer's head."""

    answers: list[Answer] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def failed(self) -> list[Any]:
        """Everything but a whole 200."""
        return [*self.lost, *((a.status, a.body[:300]) for a in self.answers if a.status != 200 or not a.complete)]


@contextlib.contextmanager
def load(port: int, body: Callable[[int], Any] | None = None, **how: Any) -> Iterator[Outcome]:
    """`CLIENTS` clients that ask one request after another until the block ends. `body`: of the n-th request."""
    outcome, stop = Outcome(), threading.Event()

    def client(number: int) -> None:
        count = number
        while not stop.is_set():
            given = chat(f"load {count}") if body is None else body(count)
            try:
                outcome.answers.append(ask(port, body=given, **how))
            except (OSError, AssertionError) as error:
                outcome.lost.append(f"{type(error).__name__}: {error}")
            count += CLIENTS
            stop.wait(0.01)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield outcome
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(outcome.answers) + len(outcome.lost) > CLIENTS
