"""A gRPC server without an event loop: one thread takes what gRPC's core has done, answers, and waits for the next.

Rule: this thread waits for nothing else, and nothing here knows what is said. An answer that takes long is made by
another thread, so that the other streams go on: the interpreter changes between them all the time. HTTP/2, TLS, flow
control and keep-alive are the core's, as in every gRPC server. What is left out is `grpc.aio`, which for each message
wakes a second thread and makes several futures: three quarters of what a short exchange cost, and a leak
(grpc/grpc#43360, 2026). `cygrpc` is what grpcio's own servers are made of, but nobody promises that it stays:
pyproject.toml allows the versions that were tried.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
import sys
import threading
from typing import Any, Final, Protocol

import grpc
from grpc._cython import cygrpc
import structlog

log = structlog.get_logger("extproc.streams")

_NO_FLAGS: Final = 0
_APART_SECONDS: Final = 0.05

_THREADS: Final = 4
"""How many long answers are made at a time; more would only take the interpreter from each other."""

_SWITCH_SECONDS: Final = 0.0005
"""How often the interpreter changes between threads that want it. Measured with one long answer beside short ones, each
of which needs the interpreter a few times: 0.5 ms instead of Python's 7 ms (CPython 3.11)."""


class Later:
    """An answer that cannot be made yet: whoever can, tells how, from any thread."""

    __slots__ = ("_both", "_take", "_work")

    def __init__(self) -> None:
        self._both = threading.Lock()
        self._work: Work | None = None
        self._take: Callable[[Work], None] | None = None

    def tell(self, work: "Work") -> None:
        """Now it can, by this; called once."""
        with self._both:
            self._work, take = work, self._take
        if take is not None:
            take(work)

    def then(self, take: "Callable[[Work], None]") -> None:
        """Who is to take it; called once."""
        with self._both:
            self._take, work = take, self._work
        if work is not None:
            take(work)


Work = Callable[[], "bytes | Later"]
"""Makes an answer that takes long."""


class Talk(Protocol):
    """What is said on one stream. Calls come one after the other, and all but those of a `Work` from one thread, the
    same for all streams."""

    def answer(self, message: bytes) -> bytes | Work | Later:
        """The answer to a message, or who makes it in another thread; the next message is read when it is on its way.
        What is raised ends the stream with an error, which only `Refused` names, and behind an answer if it has one."""

    def end(self) -> None:
        """No more messages: the client has ended or reset the stream, or `answer` raised. Called once."""


class Refused(Exception):
    """A stream ends with an error. `last`: an answer that goes out before."""

    def __init__(self, code: grpc.StatusCode, details: str, last: bytes | None = None) -> None:
        super().__init__(details)
        self.code: int = code.value[0]
        self.last = last


@dataclass(frozen=True, slots=True)
class Method:
    """`begin`: who talks on a new stream. `unary`: the first answer is the last."""

    begin: Callable[[], Talk]
    unary: bool = False


class Server:
    """Serves `methods`, known by `/package.Service/Method`. `options`: as for `grpc.server`."""

    def __init__(self, methods: Mapping[str, Method], options: Sequence[tuple[str, int]]) -> None:
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        self._thread = threading.Thread(target=self._turn, name="streams", daemon=True)
        self._aside = Aside()
        self._due = 0
        """How much there is that the core will still report: open streams, the next stream, the end."""
        self._rounds = self._seen = 0
        self._busy = False

    def listen(self, address: str, credentials: "grpc.ServerCredentials | None" = None) -> int:
        """The port of an address. Raises `RuntimeError` if it cannot be had."""
        port = self._server.add_http2_port(address.encode(), credentials and credentials._credentials)
        if not port:
            raise RuntimeError("it is in use, or not ours")
        return int(port)

    def start(self) -> None:
        """Take streams from now on."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._server.start()
        self._thread.start()

    async def stop(self, grace: float) -> None:
        """Take no more streams, for good; those that are open may go on for `grace` seconds."""
        self._server.shutdown(self._queue, self._reported)
        await asyncio.to_thread(self._thread.join, grace)
        if self._thread.is_alive():
            self._server.cancel_all_calls()
            await asyncio.to_thread(self._thread.join)
        if not self._due:  # else the thread died, and nobody would see the core's end
            self._server.destroy()
        self._aside.stop()

    def turns(self) -> bool:
        """Whether the threads wait for something to do, or have done something since this was last asked."""
        seen, self._seen = self._seen, self._rounds
        moves = self._aside.moves()
        return self._thread.is_alive() and moves and (not self._busy or seen != self._seen)

    def _turn(self) -> None:
        self._due = 1  # the end, some day
        self._expect()
        while self._due:
            event = self._queue.poll()
            self._busy = True
            try:
                event.tag(event)
            except Exception:
                log.exception("a stream failed unexpectedly")
            event = None  # the last reference to a stream that is over, which nobody may hold while we wait
            self._busy = False
            self._rounds += 1

    def _expect(self) -> None:
        with suppress(ValueError):  # we are to stop
            self._server.request_call(self._queue, self._queue, self._begun)
            self._due += 1

    def _begun(self, event: Any) -> None:
        self._due -= 1
        if not event.success:  # we are to stop
            return
        self._expect()
        if (method := self._methods.get(event.call_details.method)) is None:
            unknown = _status(cygrpc.StatusCode.unimplemented, "there is no such method here")
            event.call.start_server_batch((_head(), unknown), self._reported)
        else:
            _Stream(event.call, method.begin(), self._reported, self._aside, unary=method.unary)
        self._due += 1

    def _reported(self, _: Any) -> None:
        self._due -= 1


def _head() -> Any:
    return cygrpc.SendInitialMetadataOperation((), _NO_FLAGS)


def _status(code: int, details: str) -> Any:
    return cygrpc.SendStatusFromServerOperation((), code, details.encode(errors="replace"), _NO_FLAGS)


def _after_a_while(work: Callable[[], None]) -> None:
    """Envoy drops of an HTTP/2 answer what it has not sent on when the end comes (1.40.0, 2026): it is given the time
    for what it was told last."""
    timer = threading.Timer(_APART_SECONDS, work)
    timer.daemon = True
    timer.start()


class Aside:
    """Where long answers are made."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "long answers")
        self._count = threading.Lock()
        self._given = self._done = self._seen = 0

    def run(self, work: Callable[[], None]) -> None:
        """Soon, in another thread. Called by one thread only."""
        self._given += 1
        self._pool.submit(self._run, work)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("a stream failed unexpectedly")
        finally:
            with self._count:
                self._done += 1

    def moves(self) -> bool:
        """Whether nothing waits for its turn, or something was done since this was last asked."""
        seen, self._seen = self._seen, self._done
        return self._given - self._done <= _THREADS or seen != self._seen

    def stop(self) -> None:
        self._pool.shutdown(wait=False)


class _Stream:
    """Reads a message, sends its answer, reads the next. The core alone holds it, so that it goes when it is over."""

    __slots__ = ("_aside", "_call", "_head", "_over", "_talk", "_unary")

    def __init__(self, call: Any, talk: Talk, over: Callable[[Any], None], aside: Aside, *, unary: bool) -> None:
        self._call = call
        self._talk = talk
        self._over = over
        self._aside = aside
        self._unary = unary
        self._head: tuple[Any, ...] = (_head(),)
        call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._received)

    def _received(self, event: Any) -> None:
        message = event.batch_operations[-1].message()
        if message is None:
            self._end(cygrpc.StatusCode.ok)
            return
        try:
            answer = self._talk.answer(message)
        except Exception as error:
            self._fail(error)
        else:
            if isinstance(answer, bytes):
                self._say(answer)
            elif isinstance(answer, Later):
                answer.then(self._later)
            else:
                self._aside.run(partial(self._later, answer))

    def _later(self, work: Work) -> None:
        """In another thread. Nothing of this stream happens until the core is told."""
        try:
            answer = work()
        except Exception as error:
            self._fail(error)
        else:
            if isinstance(answer, bytes):
                self._say(answer)
            else:
                answer.then(self._later)

    def _say(self, answer: bytes) -> None:
        said = cygrpc.SendMessageOperation(answer, _NO_FLAGS)
        if self._unary:
            self._end(cygrpc.StatusCode.ok, "", said)
            return
        operations = (*self._head, said, cygrpc.ReceiveMessageOperation(_NO_FLAGS))
        self._head = ()
        self._call.start_server_batch(operations, self._received)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, Refused) and error.last is not None:
            said, end = cygrpc.SendMessageOperation(error.last, _NO_FLAGS), partial(self._end, error.code, str(error))
            operations = (*self._head, said)
            self._head = ()
            self._call.start_server_batch(operations, lambda _: _after_a_while(end))
        elif isinstance(error, Refused):
            self._end(error.code, str(error))
        else:
            log.error("a stream failed unexpectedly", exc_info=error)
            self._end(cygrpc.StatusCode.internal, "the stream failed unexpectedly")

    def _end(self, code: int, details: str = "", *last: Any) -> None:
        self._call.start_server_batch((*self._head, *last, _status(code, details)), self._ended)

    def _ended(self, event: Any) -> None:
        try:
            self._talk.end()
        finally:
            self._over(event)
