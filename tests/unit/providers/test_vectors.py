"""The wire contract, vector by vector: client request, vendor request, vendor answer, client answer.

Streamed answers are played whole, byte by byte, cut in two, and cut at random: the client must see the same bytes.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from tests.unit.player import cut
from tests.unit.vectors import Vector, answer_bytes, ask, check_client, check_upstream, load, params, reply

VECTORS = load()
STREAMS = [v for v in VECTORS if v.streams and v.client is not None and not v.client.get("unread")]
MANY_CUTS = 400
"""Streams up to this many bytes are cut in two at every place, longer ones at this many."""


@pytest.mark.parametrize("vector", params(VECTORS))
def test_vector(vector: Vector) -> None:
    play, body = ask(vector)
    check_upstream(vector, play, body)
    if vector.upstream is None:
        assert play.answered
        check_client(vector, play.seen, None)
    elif vector.answer is not None:
        vendor = answer_bytes(vector)
        check_client(vector, reply(play, vector, [vendor]), vendor)
        assert play.exchange.record.complete


def played(vector: Vector, chunks: list[bytes], *, empty_end: bool = True) -> bytes:
    play, _ = ask(vector)
    return reply(play, vector, chunks, empty_end=empty_end).client_body


@pytest.mark.parametrize("vector", params(STREAMS))
def test_a_stream_is_the_same_however_it_was_cut(vector: Vector) -> None:
    stream = answer_bytes(vector)
    whole = played(vector, [stream])
    assert played(vector, [stream], empty_end=False) == whole
    assert played(vector, [bytes([b]) for b in stream]) == whole, "byte by byte"
    assert played(vector, [bytes([b]) for b in stream], empty_end=False) == whole, "byte by byte, end on the last"
    step = max(1, len(stream) // MANY_CUTS)
    for place in range(1, len(stream), step):
        assert played(vector, cut(stream, [place])) == whole, f"cut at {place}"


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_random_cuts_change_nothing(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(STREAMS))
    stream = answer_bytes(vector)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert played(vector, cut(stream, places)) == played(vector, [stream])


def test_every_file_of_vectors_says_where_its_bytes_came_from() -> None:
    assert {v.source for v in VECTORS} <= {"documented", "observed in our simulator"}
