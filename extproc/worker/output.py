"""stderr for log lines: whoever says something never waits for whoever reads it.

Rule: what can be written without waiting is, where the system tells: a pipe or a terminal, opened anew so as not to
wait. Everything else goes into a queue, and a thread of its own writes: waking it costs more than the line. When nobody
reads and the queue is full, lines are lost, counted, and that is said as soon as somebody reads again. Processes share
one stderr, so a pipe gets no more at once than it takes whole, and only a line longer than that can be cut in two.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
import os
import select
import stat
import sys
import threading
from time import monotonic
from typing import Final

MOST_WAITING: Final = 4 << 20
"""Characters that wait to be written."""
_AT_ONCE: Final = 1 << 16
"""Bytes of one write into a file."""


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
        self._at_once: int | None = None
        self._most = select.PIPE_BUF  # bytes that others' lines never come between (POSIX, write)
        self._opened: object = None

    def open(self) -> None:
        """Write what `sys.stderr` is now without waiting, if that is possible. Opened once more: whether a write waits
        belongs to what was opened, which others have too. A file may wait for its disk, and lines of other processes
        would have another end of it."""
        if self._at_once is not None:
            os.close(self._at_once)
        self._at_once, self._opened = None, sys.stderr
        with suppress(OSError, AttributeError, ValueError):
            descriptor = sys.stderr.fileno()
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._most = _AT_ONCE
            else:
                self._most = select.PIPE_BUF
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._at_once = os.open(f"/proc/self/fd/{descriptor}", flags)

    def write(self, text: str) -> None:
        with self._lock:
            if self._at_once is not None and not (self._lines or self._writing or self._held) and text.isascii():
                text = self._rest(self._at_once, text)
                if not text:
                    return
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

    def _rest(self, descriptor: int, text: str) -> str:
        """What of a text could not be written at once."""
        if sys.stderr is not self._opened:
            return text
        with suppress(OSError):
            return text[os.write(descriptor, text.encode()) :]
        return text

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
        room = self._most
        while self._lines:
            line = self._lines[0]
            room -= len(line) if line.isascii() else len(line.encode(errors="replace"))
            if room < 0 and lines:
                break
            lines.append(self._lines.popleft())
            self._size -= len(line)
        return "".join(lines)
