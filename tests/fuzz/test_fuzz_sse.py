"""Framing: any bytes, cut anywhere, give events or `EventTooLong`; no byte is lost, and no more kept than allowed."""

from hypothesis import given
from hypothesis import strategies as st

from extproc.text.sse import Decoder, Event, EventTooLong, encode
from tests.unit.player import cut
from tests.unit.sse_reference import parse

from .effort import fuzzed
from .mutations import RAW

PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"data", b":", b" ", b"\n", b"\r", b"\r\n", b"id", b"event", b"data: {}", b": x", *RAW]),
)
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)
LIMITS = st.sampled_from([1, 2, 3, 7, 40, 1 << 20])


@fuzzed(5)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 400), max_size=8), limit=LIMITS, ids=st.booleans())
def test_any_bytes_are_events_or_too_long_and_none_is_lost(
    stream: bytes, cuts: list[int], limit: int, ids: bool
) -> None:
    decoder = Decoder(limit, id_starts_event=ids)
    events: list[Event] = []
    pieces = cut(stream, [c % (len(stream) + 1) for c in cuts])
    try:
        for piece in pieces:
            events.extend(decoder.feed(piece))
            assert len(decoder._buffer) <= limit
            assert sum(map(len, [*decoder._data, *decoder._comments, decoder._name])) <= limit
        events.extend(decoder.close())
    except EventTooLong:
        assert len(stream) > limit
        return
    assert b"".join(event.raw for event in events) == stream
    assert all(len(event.raw) <= limit for event in events)
    assert len(decoder._buffer) == 0
    seen = [(e.data, e.name, e.comments) for e in events if e.data or e.comments]
    assert seen == [block for block in parse(stream, id_starts_event=ids) if block[0] or block[2]]


@fuzzed(2)
@given(data=st.binary(max_size=30), name=st.sampled_from([b"", b"error", b"x y"]))
def test_what_is_encoded_is_read_again(data: bytes, name: bytes) -> None:
    # A line end within data is a line end of its own kind afterwards: only LF is kept as it is.
    data = data.replace(b"\r", b"")
    written = encode(data, name)
    read = [(d, n) for d, n, _ in parse(written) if d]
    assert read == ([(data, name)] if data else [])
