"""stderr for log lines: whoever says something never waits for whoever reads it.

Rule: a line goes into a queue, a thread of its own writes; when nobody reads and the queue is full, lines are lost,
counted, and that is said as soon as somebody reads again.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
import sys
import threading
from time import monotonic
from typing import Final

MOST_WAITING: Final = 4 << 20
"""Characters that wait to be written."""
_AT_ONCE: Final = 1 << 16
"""Characters of one write, as much as a pipe takes."""


class Output:
    """Takes lines of several threads, which can be held back while something else is written piece by piece. `lost`:
    says how many lines were."""

    def __init__(self, lost: Callable[[int], None]) -> None:
        self._say_lost = lost
        self._lock = threading.Lock()
        self._lines: deque[str] = deque()
        self._size = 0
        self._lost = 0
        self._held = False
        self._writing = False
        self._thread: threading.Thread | None = None
        self._wake = threading.Lock()  # a semaphore of one: taken, until there is something to do
        self._wake.acquire()
        self._asleep = False

    def write(self, text: str) -> None:
        with self._lock:
            if self._size > MOST_WAITING:
                self._lost += 1
                return
            self._lines.append(text)
            self._size += len(text)
            if self._asleep:
                self._asleep = False
                self._wake.release()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._turn, name="log", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """The thread writes every line at once."""

    def hold(self, on: bool) -> None:
        """Have lines wait from now on, or write those that waited."""
        if on:
            self.drain(0.2)
        with self._lock:
            self._held = on
            if not on and self._asleep:
                self._asleep = False
                self._wake.release()

    def drain(self, patience: float) -> None:
        """Back when every line is written, or after so many seconds."""
        end = monotonic() + patience
        while (self._lines or self._writing) and monotonic() < end:
            threading.Event().wait(0.002)

    def _turn(self) -> None:
        while True:
            with self._lock:
                text = self._taken()
                self._writing = bool(text)
                self._asleep = not text
            if not text:
                self._wake.acquire()
                continue
            with suppress(Exception):  # the disk is full, the reader gone, stderr closed: the next line is tried again
                sys.stderr.write(text)
            if self._lost and self._size < MOST_WAITING // 2:  # else it would be lost itself
                with self._lock:
                    lost, self._lost = self._lost, 0
                self._say_lost(lost)

    def _taken(self) -> str:
        """What is written next."""
        if self._held:
            return ""
        lines: list[str] = []
        size = 0
        while self._lines and size < _AT_ONCE:
            lines.append(line := self._lines.popleft())
            size += len(line)
        self._size -= size
        return "".join(lines)
