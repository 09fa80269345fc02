"""Compressed answers: decoded whatever the cuts, bounded, and refused where they are not what they say."""

import contextlib
import gzip
import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.text.compression import READABLE, Decompressor, Undecodable, decode
from tests.unit.player import cut

ENCODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes, "": bytes}
LIMIT = 1 << 22


def fed(encoding: str, chunks: list[bytes]) -> bytes:
    decompressor = Decompressor(encoding)
    return b"".join(piece for chunk in chunks for piece in decompressor.feed(chunk))


@pytest.mark.parametrize("encoding", ENCODERS)
@settings(max_examples=40, deadline=None)
@given(body=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_bytes_come_back_however_they_were_cut(encoding: str, body: bytes, cuts: list[int]) -> None:
    wire = ENCODERS[encoding](body)
    assert fed(encoding, cut(wire, [c % (len(wire) + 1) for c in cuts])) == body
    assert fed(encoding, [bytes([b]) for b in wire]) == body
    assert decode(encoding, wire, LIMIT) == body


def test_everything_that_is_readable_is_tried_here() -> None:
    assert set(READABLE) <= ENCODERS.keys()


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "Gzip"])
def test_names_of_encodings_have_no_case(encoding: str) -> None:
    assert decode(encoding, gzip.compress(b"x"), LIMIT) == b"x"


def test_members_may_follow_each_other() -> None:
    wire = gzip.compress(b"one ") + gzip.compress(b"two")
    assert decode("gzip", wire, LIMIT) == b"one two"
    assert fed("gzip", [bytes([b]) for b in wire]) == b"one two"
    edge = len(gzip.compress(b"one "))
    assert fed("gzip", [wire[:edge], wire[edge:]]) == b"one two"


def test_a_small_body_cannot_become_a_large_one() -> None:
    body = random.Random(1).randbytes(4 << 20)
    wire = gzip.compress(body, 1)
    with pytest.raises(Undecodable, match="longer than"):
        decode("gzip", wire, len(body) - 1)
    assert max(map(len, Decompressor("gzip").feed(wire))) <= 1 << 20


@pytest.mark.parametrize("cuts", [0, 100])
def test_nothing_becomes_more_than_a_hundred_times_as_long(cuts: int) -> None:
    """The first mebibyte is free: what is short may repeat itself."""
    wire = zlib.compress(b"x" * (2 << 20))
    assert decode("deflate", zlib.compress(b"x" * (1 << 20)), LIMIT)
    with pytest.raises(Undecodable, match="100 times"):
        fed("deflate", cut(wire, range(0, len(wire), len(wire) // cuts) if cuts else []))
    twelfth = b"".join(b"data: {%d}\n\n" % n for n in range(200_000))
    assert fed("deflate", [zlib.compress(twelfth)]) == twelfth


def test_a_body_that_is_not_compressed_has_the_limit_too() -> None:
    assert decode("", b"12345", 5) == b"12345"
    with pytest.raises(Undecodable):
        decode("", b"123456", 5)


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = b"x" * 1000
    assert decode("gzip", gzip.compress(body), 1000) == body
    with pytest.raises(Undecodable):
        decode("gzip", gzip.compress(body), 999)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "nonsense"])
def test_an_encoding_that_cannot_be_read_is_refused(encoding: str) -> None:
    with pytest.raises(Undecodable):
        Decompressor(encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@settings(max_examples=60, deadline=None)
@given(body=st.binary(min_size=1, max_size=300))
def test_bytes_that_are_not_what_they_say_raise_nothing_else(encoding: str, body: bytes) -> None:
    with contextlib.suppress(Undecodable):
        decode(encoding, body, LIMIT)
