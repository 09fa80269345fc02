"""Bodies that come compressed although identity was asked for: one incremental decompressor per answer.

Rule: decoded bytes come in bounded pieces, so that a small chunk cannot become a large allocation, and nothing becomes
more than `RATIO` times itself. deflate reaches 1,032, event streams of short events 20 to 30.
"""

from collections.abc import Iterable, Iterator
import zlib

READABLE = ("gzip", "x-gzip", "deflate")
RATIO = 100
_FREE = 1 << 20
"""Decoded bytes before the ratio counts: what is short may repeat itself."""
_PIECE = 1 << 20
_AUTO = zlib.MAX_WBITS | 32  # gzip or zlib, by its header


class Undecodable(ValueError):
    """The bytes are not what their `content-encoding` says."""


class Decompressor:
    """Decodes one body. `encoding`: a `content-encoding` value, empty or `identity` for none.

    Raises `Undecodable` for an encoding that is not in `READABLE`.
    """

    def __init__(self, encoding: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", *READABLE):
            raise Undecodable(f"content-encoding {encoding[:40]!r} is not supported")
        self._zlib = None if encoding in ("", "identity") else zlib.decompressobj(_AUTO)
        self._undecided = encoding == "deflate"
        self._head = b""
        self._fed = self._made = 0

    @property
    def decodes(self) -> bool:
        """Whether bytes come out other than they go in."""
        return self._zlib is not None

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """The decoded bytes of `chunk`, in pieces of at most 1 MiB. Raises `Undecodable`."""
        return (chunk,) if self._zlib is None else self._decoded(chunk)

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        assert self._zlib is not None
        self._fed += len(chunk)
        if self._undecided:
            self._head += chunk
            if len(self._head) < 2:
                return
            chunk, self._undecided = self._head, False
            if not _has_zlib_header(chunk):  # many servers send "deflate" without it
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        while chunk:
            try:
                piece = self._zlib.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise Undecodable(str(error)) from None
            self._made += len(piece)
            if self._made > max(_FREE, RATIO * self._fed):
                raise Undecodable(f"it becomes more than {RATIO} times as long when it is decoded")
            yield piece
            chunk = self._zlib.unconsumed_tail
            if self._zlib.eof and self._zlib.unused_data:  # gzip members may follow each other
                chunk, self._zlib = self._zlib.unused_data, zlib.decompressobj(_AUTO)

    def close(self) -> None:
        """The body is over. Raises `Undecodable` when its compressed form is not."""
        if self._zlib is not None and not self._zlib.eof:
            raise Undecodable("the compressed body ends too early")


def _has_zlib_header(head: bytes) -> bool:
    return head[0] & 0x0F == 8 and (head[0] * 256 + head[1]) % 31 == 0


def decode(encoding: str, body: bytes, limit: int) -> bytes:
    """A whole body, decoded. Raises `Undecodable`, also when it is longer than `limit` bytes."""
    if not encoding and len(body) <= limit:
        return body
    out = bytearray()
    decompressor = Decompressor(encoding)
    for piece in decompressor.feed(body):
        out += piece
        if len(out) > limit:
            raise Undecodable(f"the decoded body is longer than {limit} bytes")
    decompressor.close()
    return bytes(out)
