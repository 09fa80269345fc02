"""Framing: the decoder against a naive reading of the specification, however the bytes were cut."""

from collections.abc import Iterable
import re
import sys
import time
import tracemalloc

from hypothesis import example, given, settings
from hypothesis import strategies as st
import pytest

from extproc.text.sse import DONE, Decoder, Event, EventTooLong, encode
from tests.unit.player import cut
from tests.unit.sse_reference import parse

Block = tuple[bytes, bytes, tuple[bytes, ...]]

LIMIT = 1 << 20


def decode(chunks: Iterable[bytes], *, limit: int = LIMIT, id_starts_event: bool = False) -> list[Event]:
    decoder = Decoder(limit, id_starts_event=id_starts_event)
    out = [event for chunk in chunks for event in decoder.feed(chunk)]
    return out + list(decoder.close())


def blocks(events: Iterable[Event]) -> list[Block]:
    return [(e.data, e.name, e.comments) for e in events]


LINES = st.sampled_from(
    [
        b"",
        b":",
        b": ping",
        b":HTTP_STATUS/200",
        b"data",
        b"data:",
        b"data: ",
        b"data:  two",
        b"data:x",
        b"data: {",
        'data: 你好 "👋"'.encode(),
        b"data:a:b",
        b"data\xff: no field of ours",
        b"Data: no",
        b" data: no",
        b"event: result",
        b"event",
        b"id: 1",
        b"id",
        b"retry: 5",
        b"rubbish",
        b"\xef\xbb\xbfdata: a BOM that is not at the start",
        b"data: \xff\xfe",
        b"data: {}\n",
        b"event: x\n: y\ndata:{}\n",
        b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{}\n",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


def streams(ends: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda bom, lines, last: bom + b"".join(line + end for line, end in lines) + last,
        st.sampled_from([b"", b"\xef\xbb\xbf"]),
        st.lists(st.tuples(LINES, ends), max_size=25),
        st.one_of(LINES, st.just(b"")),
    )


STREAMS = st.one_of(streams(ENDS), streams(st.just(b"\n")))  # without CR an event may be found at once
NOISE = st.lists(
    st.sampled_from([b"\r", b"\n", b":", b" ", b"data", b"id", b"event", b"x", b"\xef\xbb\xbf", b"\0"])
).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def places(stream: bytes, cuts: list[int]) -> list[int]:
    return [c % (len(stream) + 1) for c in cuts]


@settings(max_examples=300, deadline=None)
@given(stream=st.one_of(STREAMS, NOISE, st.binary(max_size=200)), cuts=CUTS, ids=st.booleans())
@example(stream=b"\n\xef\xbb\xbfdata: a BOM that is not at the start\n", cuts=[], ids=False)
@example(stream=b"id: 1\nevent: x\n: y\ndata: {}\n\n", cuts=[], ids=True)
@example(stream=b"data: {}\n\n\xef\xbb\xbfdata: nor is this one\n", cuts=[], ids=False)
def test_the_decoder_reads_what_the_specification_says(stream: bytes, cuts: list[int], ids: bool) -> None:
    got = blocks(decode(cut(stream, places(stream, cuts)), id_starts_event=ids))
    # A browser would dispatch an event whose only data is empty; nobody here has a use for one.
    assert [b for b in got if b[0] or b[2]] == [b for b in parse(stream, id_starts_event=ids) if b[0] or b[2]]


@settings(max_examples=150, deadline=None)
@given(stream=st.one_of(STREAMS, NOISE), cuts=CUTS, ids=st.booleans())
def test_events_are_the_same_however_the_bytes_were_cut(stream: bytes, cuts: list[int], ids: bool) -> None:
    whole = decode([stream], id_starts_event=ids)
    assert decode(cut(stream, places(stream, cuts)), id_starts_event=ids) == whole
    assert decode([bytes([b]) for b in stream], id_starts_event=ids) == whole


@settings(max_examples=100, deadline=None)
@given(stream=STREAMS)
def test_a_stream_encoded_again_means_the_same(stream: bytes) -> None:
    events = decode([stream])
    data = [(e.data, e.name) for e in events if e.data]
    again = [(e.data, e.name) for e in decode([b"".join(encode(e.data, e.name) for e in events)]) if e.data]
    assert again == data


@settings(max_examples=150, deadline=None)
@given(stream=STREAMS, cuts=CUTS, limit=st.integers(1, 60))
def test_the_limit_does_not_depend_on_chunks_and_nothing_else_is_raised(
    stream: bytes, cuts: list[int], limit: int
) -> None:
    def outcome(chunks: list[bytes]) -> tuple[list[Block], bool]:
        decoder, out = Decoder(limit), []
        try:
            for chunk in chunks:
                for event in decoder.feed(chunk):
                    out.append(event)  # noqa: PERF402 - those before the error count
            out.extend(decoder.close())
        except EventTooLong:
            return blocks(out), True
        return blocks(out), False

    whole = outcome([stream])
    assert outcome(cut(stream, places(stream, cuts))) == whole
    assert outcome([bytes([b]) for b in stream]) == whole


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\n", [b"a"]),
        (b"data: a\r\r", [b"a"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata\n\n", [b"\n"]),
        (b"data: a\nretry: 1\nfoo\nid: 3\ndata: b\n\n", [b"a\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data: a\r", [b"a"]),
        ("data: 你👋\n\n".encode(), ["你👋".encode()]),
        (b"event: x\n\ndata: a\n\n", [b"a"]),
        (b"data: a\n\nevent: x\n\ndata: b\n\n", [b"a", b"b"]),
    ],
)
def test_data(stream: bytes, expected: list[bytes]) -> None:
    assert [e.data for e in decode([stream]) if e.data] == expected
    assert [e.data for e in decode([bytes([b]) for b in stream]) if e.data] == expected


def test_an_event_name_belongs_to_its_block_alone() -> None:
    assert [(e.name, e.data) for e in decode([b"event: x\ndata: 1\n\ndata: 2\n\n"])] == [(b"x", b"1"), (b"", b"2")]


def test_comments_are_read() -> None:
    events = decode([b"id:1\nevent:error\n:HTTP_STATUS/400\ndata:{}\n\n: ping\n\n"])
    assert blocks(events) == [(b"{}", b"error", (b"HTTP_STATUS/400",)), (b"", b"", (b"ping",))]


def test_a_new_id_starts_an_event_where_asked_for() -> None:
    stream = b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:a\nid:2\nevent:result\n:HTTP_STATUS/200\ndata:b\n"
    assert [e.data for e in decode([stream], id_starts_event=True)] == [b"a", b"b"]
    assert [e.data for e in decode([stream])] == [b"a\nb"]


def test_a_complete_event_comes_at_once() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"data: a\n")) == []
    assert [e.data for e in decoder.feed(b"\n")] == [b"a"]
    assert [e.data for e in decoder.feed(b"data: b\r\n\r\n")] == [b"b"]


def test_untouched_events_are_written_as_they_came() -> None:
    stream = b": c\r\nid: 7\r\ndata:  {}\r\n\r\ndata: x\n\n"
    assert b"".join(event.raw for event in decode([stream])) == stream


def test_our_own_events() -> None:
    assert DONE == b"data: [DONE]\n\n"
    assert encode(b"{}", b"x") == b"event: x\ndata: {}\n\n"
    assert parse(encode(b"a\nb"))[0][0] == b"a\nb"


@pytest.mark.parametrize("size", [16384, 65521, 1 << 21])
def test_an_event_has_a_limit(size: int) -> None:
    def stream(length: int) -> list[bytes]:
        event = b"data: " + b"x" * (length - len(b"data: \n\n")) + b"\n\n"
        assert len(event) == length
        return [b"data: a\n\n", *(event[i : i + size] for i in range(0, length, size))]

    assert len(decode(stream(LIMIT))) == 2
    with pytest.raises(EventTooLong):
        decode(stream(LIMIT + 1))


def test_an_endless_event_is_not_collected() -> None:
    decoder = Decoder(LIMIT)
    for _ in range(LIMIT // 65536):
        assert list(decoder.feed(b"x" * 65536)) == []
    with pytest.raises(EventTooLong):
        list(decoder.feed(b"x"))


def test_memory_does_not_grow_with_the_stream() -> None:
    decoder = Decoder()
    for _ in range(2000):
        list(decoder.feed(b"data: " + b"x" * 1000 + b"\n\ndat"))
        list(decoder.feed(b"a: y\n\n"))
    held = sum(sys.getsizeof(v) for v in vars(decoder).values())
    assert held < 20_000


def test_a_long_line_in_small_pieces_does_not_stall_everybody() -> None:
    """A megabyte of one line, a kilobyte at a time: searching it from its start for each piece takes seconds."""

    def took() -> float:
        decoder = Decoder()
        started = time.process_time()
        for _ in range(LIMIT // 1024 - 1):
            assert list(decoder.feed(b"x" * 1024)) == []
        return time.process_time() - started

    assert any(took() < 1 for _ in range(5))  # a busy machine's processors are slower at times


def test_many_short_lines_take_linear_time() -> None:
    """Half a mebibyte in one event, fed in small pieces, is read once and not once for each piece."""
    decoder = Decoder()
    line = b"data: x\n"
    for _ in range(LIMIT // len(line) // 2):
        assert list(decoder.feed(line)) == []
    (event,) = decoder.feed(b"\n")
    assert len(re.findall(b"x", event.data)) == LIMIT // len(line) // 2


@pytest.mark.parametrize("line", [b"data: xy\n", b":xy\n", b":\n"])
def test_an_event_has_no_endless_number_of_lines(line: bytes) -> None:
    """Two letters in a line of their own take ten times as much memory."""
    with pytest.raises(EventTooLong, match="lines"):
        decode([line * 100_001], limit=1 << 24)
    with pytest.raises(EventTooLong, match="lines"):
        decode([line * 1000] * 101, limit=1 << 24)
    assert len(decode([line * 100_000 + b"\n"], limit=1 << 24)) == 1


@pytest.mark.parametrize("size", [1 << 16, 999_983])
def test_a_long_event_is_copied_a_few_times_at_most(size: int) -> None:
    event = b"data: " + b"x" * (8 << 20) + b"\n\n"
    decoder = Decoder(16 << 20)
    tracemalloc.start()
    try:
        for at in range(0, len(event), size):
            for found in decoder.feed(event[at : at + size]):
                assert found.raw == event
        assert tracemalloc.get_traced_memory()[1] < 5 * len(event)
    finally:
        tracemalloc.stop()
