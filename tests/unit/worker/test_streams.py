"""The gRPC server that has no event loop, judged by grpcio's own client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
import gc
import threading
import time
from typing import Any
import weakref

import grpc
import pytest

from extproc.worker.server import OPTIONS
from extproc.worker.streams import Later, Method, Refused, Server

PATH = "/a.Service/Talk"


class Echo:
    """Answers with the message, in a row; does as some messages say."""

    def __init__(self) -> None:
        self.ends = 0
        ECHOES.append(weakref.ref(self))

    def answer(self, message: bytes) -> Any:
        match message:
            case b"raise":
                raise ValueError("a secret")
            case b"refuse":
                raise Refused(grpc.StatusCode.NOT_FOUND, "not here")
            case b"break":
                raise Refused(grpc.StatusCode.ABORTED, "broken", b"<last>")
            case b"hold":
                GO.wait(60)
            case b"sleep":
                time.sleep(0.5)
            case b"long":
                return lambda: (GO.wait(60) and b"<long>") or b"nobody let it go"
            case b"later":
                later = Later()
                threading.Thread(target=lambda: later.tell(lambda: b"<later>")).start()
                return later
            case b"now":
                now = Later()
                now.tell(lambda: b"<now>")
                return now
            case b"long later":
                return lambda: self.answer(b"later")
            case b"later raise":
                failed = Later()
                failed.tell(lambda: self.answer(b"raise"))
                return failed
            case b"long raise" | b"long refuse":
                return lambda: self.answer(message[5:])
        return b"<" + message + b">"

    def end(self) -> None:
        self.ends += 1
        ENDED.append(self.ends)


ECHOES: list[Any] = []
ENDED: list[int] = []
GO = threading.Event()
"""Whether those go on that take long."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ECHOES.clear()
    ENDED.clear()
    GO.clear()


@asynccontextmanager
async def serving(*, stopped: bool = True) -> AsyncIterator[tuple[Server, grpc.Channel]]:
    server = Server({PATH: Method(Echo), "/a.Service/Once": Method(Echo, unary=True)}, [])
    port = server.listen("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            yield server, channel
    finally:
        if stopped:
            await server.stop(0)


class Said:
    """What a client says on a stream, as it goes."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)
        self._more = threading.Semaphore(len(messages))
        self._over = False

    def say(self, message: bytes) -> None:
        self._messages.append(message)
        self._more.release()

    def end(self) -> None:
        self._over = True
        self._more.release()

    def __iter__(self) -> Iterator[bytes]:
        while self._more.acquire() and not (self._over and not self._messages):
            yield self._messages.pop(0)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


async def told(work: Callable[[], Any]) -> Any:
    """grpcio's client waits, which the loop must not."""
    return await asyncio.to_thread(work)


async def test_each_message_has_its_answer_and_a_stream_ends_when_its_client_ends_it() -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            said = Said()
            call = channel.stream_stream(PATH)(iter(said))
            for n in range(100):
                said.say(b"%d" % n)
                assert next(call) == b"<%d>" % n
            assert ENDED == []
            said.end()
            assert list(call) == []
            assert call.code() == grpc.StatusCode.OK

        await told(talk)
    assert ENDED == [1]


async def test_messages_that_come_before_an_answer_wait_in_order() -> None:
    async with serving() as (_, channel):
        messages = [b"%d" % n * 100_000 for n in range(50)]  # more than a flow-control window
        answers = await told(lambda: list(channel.stream_stream(PATH)(iter(messages))))
    assert answers == [b"<" + message + b">" for message in messages]


@pytest.mark.parametrize(
    ("path", "messages", "code", "details"),
    [
        (PATH, [b"raise"], grpc.StatusCode.INTERNAL, "the stream failed unexpectedly"),
        (PATH, [b"long raise"], grpc.StatusCode.INTERNAL, "the stream failed unexpectedly"),
        (PATH, [b"m", b"long refuse"], grpc.StatusCode.NOT_FOUND, "not here"),
        (PATH, [b"refuse"], grpc.StatusCode.NOT_FOUND, "not here"),
        ("/a.Service/Once", [b"raise"], grpc.StatusCode.INTERNAL, "the stream failed unexpectedly"),
        ("/a.Service/Other", [], grpc.StatusCode.UNIMPLEMENTED, "there is no such method here"),
    ],
)
async def test_what_goes_wrong_ends_the_stream_with_an_error(
    path: str, messages: list[bytes], code: grpc.StatusCode, details: str
) -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            call = channel.stream_stream(path)(iter(messages))
            with pytest.raises(grpc.RpcError):
                list(call)
            assert (call.code(), call.details()) == (code, details)

        await told(talk)
        assert await told(lambda: list(channel.stream_stream(PATH)(iter([b"next"])))) == [b"<next>"]
    assert [1] * len(ENDED) == ENDED


async def test_a_stream_may_break_behind_an_answer() -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            call = channel.stream_stream(PATH)(iter([b"a", b"break", b"never answered"]))
            assert [next(call), next(call)] == [b"<a>", b"<last>"]
            with pytest.raises(grpc.RpcError):
                next(call)
            assert (call.code(), call.details()) == (grpc.StatusCode.ABORTED, "broken")

        await told(talk)
    assert ENDED == [1]


async def test_a_unary_method_has_one_answer() -> None:
    async with serving() as (_, channel):
        assert await told(lambda: channel.unary_unary("/a.Service/Once")(b"m", timeout=60)) == b"<m>"
    assert ENDED == [1]


async def test_a_stream_that_is_reset_ends_at_once() -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            call = channel.stream_stream(PATH)(iter(Said(b"m")))
            assert next(call) == b"<m>"
            call.cancel()
            until(lambda: ENDED)

        await told(talk)
    assert ENDED == [1]


async def test_nothing_is_left_of_a_stream_that_is_over() -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            for n in range(50):
                call = channel.stream_stream(PATH)(iter(Said(b"m")) if n % 2 else iter([b"m"]))
                next(call)
                call.cancel()
            until(lambda: len(ENDED) == 50)

        gc.disable()  # a cycle would stay until it comes by
        try:
            await told(talk)
            until(lambda: not any(echo() for echo in ECHOES))
        finally:
            gc.enable()


async def test_streams_that_are_open_at_the_stop_may_end_and_no_new_ones_begin() -> None:
    async with serving(stopped=False) as (server, channel):
        said = Said(b"before")
        call = channel.stream_stream(PATH)(iter(said))
        assert await told(lambda: next(call)) == b"<before>"
        stopping = asyncio.create_task(server.stop(60))
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.RpcError):
            await told(lambda: list(channel.stream_stream(PATH)(iter([b"m"]), timeout=1)))
        said.say(b"after")
        assert await told(lambda: next(call)) == b"<after>"
        said.end()
        await asyncio.wait_for(stopping, 60)
        assert call.code() == grpc.StatusCode.OK


async def test_a_stream_that_outlives_the_grace_ends_with_an_error() -> None:
    """A clean end would have Envoy let everything through."""
    async with serving(stopped=False) as (server, channel):
        call = channel.stream_stream(PATH)(iter(Said(b"m")))
        assert await told(lambda: next(call)) == b"<m>"
        await asyncio.wait_for(server.stop(0.1), 60)
        assert await told(call.code) != grpc.StatusCode.OK
    assert ENDED == [1]


async def test_a_stream_that_waits_behind_a_busy_one_at_the_stop_is_served() -> None:
    async with serving(stopped=False) as (server, channel):
        calls = [channel.stream_stream(PATH)(iter([b"hold"])) for _ in range(2)]
        await told(lambda: until(lambda: not server.turns()))
        await asyncio.sleep(0.5)  # the second is on its way as the first is served
        stopping = asyncio.create_task(server.stop(60))
        await asyncio.sleep(0.1)
        GO.set()
        await asyncio.wait_for(stopping, 60)
        assert [await told(lambda call=call: list(call)) for call in calls] == [[b"<hold>"], [b"<hold>"]]
    assert ENDED == [1, 1]


async def test_no_stream_is_lost_of_thousands_that_come_while_one_is_busy() -> None:
    server = Server({PATH: Method(Echo)}, OPTIONS)
    address = f"127.0.0.1:{server.listen('127.0.0.1:0')}"
    server.start()

    async def answers(channel: Any, message: bytes) -> list[bytes]:
        return [answer async for answer in channel.stream_stream(PATH)(iter([message]))]

    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        busy = asyncio.create_task(answers(channel, b"sleep"))
        await asyncio.sleep(0.1)
        many = await asyncio.gather(*(answers(channel, b"m") for _ in range(4000)))
        assert await busy == [b"<sleep>"]
    await server.stop(0)
    assert many == [[b"<m>"]] * 4000


@pytest.mark.parametrize(
    ("message", "more", "code"),
    [
        (b"x" * 5000, {}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (b"sleep", {"timeout": 0.2}, grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
    ids=["too long", "too late"],
)
async def test_what_the_core_breaks_off_does_not_end_cleanly(
    message: bytes, more: dict[str, float], code: grpc.StatusCode
) -> None:
    """A clean end would have Envoy let everything through."""
    server = Server({PATH: Method(Echo)}, [("grpc.max_receive_message_length", 4000)])
    port = server.listen("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.stream_stream(PATH)(iter(Said(b"m", message)), **more)
        with pytest.raises(grpc.RpcError):
            await told(lambda: list(call))
        assert call.code() == code
    await server.stop(0)
    assert ENDED == [1]


async def test_it_is_seen_that_the_thread_is_held_up() -> None:
    async with serving() as (server, channel):
        assert server.turns()
        call = channel.stream_stream(PATH)(iter([b"hold"]))
        await told(lambda: until(lambda: not server.turns()))
        GO.set()
        assert await told(lambda: next(call)) == b"<hold>"
        await told(lambda: until(server.turns))
        assert server.turns(), "nothing has happened since, for there is nothing to do"


async def test_other_streams_go_on_while_an_answer_takes_long() -> None:
    async with serving() as (server, channel):

        def talk() -> None:
            call = channel.stream_stream(PATH)(iter([b"m", b"long", b"after"]))
            assert next(call) == b"<m>"
            for _ in range(20):
                assert list(channel.stream_stream(PATH)(iter([b"a", b"b"]))) == [b"<a>", b"<b>"]
            for _ in range(2):
                until(server.turns)
            GO.set()
            assert list(call) == [b"<long>", b"<after>"]  # in order
            assert call.code() == grpc.StatusCode.OK

        await told(talk)
    assert ENDED == [1] * 21


async def test_an_answer_may_wait_for_somebody_elses_word() -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            said = [b"later", b"m", b"now", b"long later", b"m"]
            answers = [b"<later>", b"<m>", b"<now>", b"<later>", b"<m>"]
            assert list(channel.stream_stream(PATH)(iter(said))) == answers
            call = channel.stream_stream(PATH)(iter([b"later raise"]))
            with pytest.raises(grpc.RpcError) as raised:
                list(call)
            assert raised.value.code() == grpc.StatusCode.INTERNAL

        await told(talk)
    assert ENDED == [1, 1]


async def test_it_is_seen_that_all_long_answers_are_held_up() -> None:
    async with serving() as (server, channel):

        def talk() -> None:
            calls = [channel.stream_stream(PATH)(iter([b"long"])) for _ in range(9)]
            until(lambda: not server.turns())
            assert list(channel.stream_stream(PATH)(iter([b"m"]))) == [b"<m>"]
            GO.set()
            assert [list(call) for call in calls] == [[b"<long>"]] * 9
            until(server.turns)

        await told(talk)
    assert ENDED == [1] * 10


async def test_an_answer_that_takes_long_is_made_though_nobody_waits_any_more() -> None:
    async with serving() as (_, channel):

        def talk() -> None:
            call = channel.stream_stream(PATH)(iter(Said(b"m", b"long")))
            assert next(call) == b"<m>"
            call.cancel()
            GO.set()
            until(lambda: ENDED)

        await told(talk)
    assert ENDED == [1]


async def test_an_address_that_cannot_be_had_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        Server({}, []).listen("192.0.2.1:1")
