"""The client that counts: every request it sends has a name and becomes exactly one thing.

Rule: `judge` believes nothing. It knows the text that each request must be answered with, piece by piece (`vendor.py`).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
import contextlib
from dataclasses import dataclass, field
import itertools
import json
import re
from typing import Any

from tests.contract.raw import checked_error

from .vendor import RAW, piece

ALLOWED = ("answered", "error", "cut", "left")
FORBIDDEN = ("lost", "incomplete", "duplicate", "malformed", "foreign")
"""`left`: the client itself hung up in mid-stream. `incomplete`: looks complete and is not."""

BOUND = 90.0
"""Seconds after which a request that has no end hangs, and counts as lost."""


@dataclass(frozen=True)
class Shape:
    """One kind of request. `host`: the route; `do`: what the first vendor does (`vendor.py`); `leave`: hang up after
    the first pieces."""

    host: str = "two"
    do: str = ""
    stream: bool = True
    pieces: int = 4
    pause: float = 0.02
    size: int = 0
    leave: bool = False

    def text(self, id: str) -> str:
        """The whole answer."""
        return "".join(piece(id, n, self.size) for n in range(self.pieces))

    def request(self, id: str) -> bytes:
        asked = f"{id} pieces={self.pieces} pause={self.pause} size={self.size} do={self.do}"
        message = {"role": "user", "content": asked}
        body = json.dumps({"model": "gpt-4o", "messages": [message], "stream": self.stream}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.host}.test\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer sk-client-{id}\r\nx-request-id: {id}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Got:
    """What came back. `complete`: the end that HTTP's framing promised was seen. `more`: bytes after that end."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    more: bytes = b""
    timed_out: bool = False
    left: bool = False


PLANTED = re.compile(rb"PLANTED|" + RAW + rb"|sk-client-|HTTP_STATUS|127\.0\.0\.1")
_PIECE = re.compile(r"(r\d{6})\.(\d+)")


def judge(shape: Shape, id: str, got: Got) -> str:
    """What became of a request: one of `ALLOWED` or `FORBIDDEN`."""
    if got.status is None or got.timed_out:
        return "lost"
    if PLANTED.search(got.body) or any(PLANTED.search(value.encode()) for value in got.headers.values()):
        return "foreign"
    found = re.findall(rb"(r\d{6})\.", bytes(got.body))
    if any(name != id.encode() for name in found):
        return "foreign"
    if got.more:
        return "duplicate"
    try:
        if got.headers.get("content-type", "").startswith("text/event-stream") and got.status == 200:
            return _judged_stream(shape, id, got)
        if not got.complete:
            return "left" if got.left else "cut"
        document = json.loads(got.body)
        if got.status >= 400:
            checked_error(document)
            return "error"
        said = document["choices"][0]["message"]["content"]
        if got.status != 200 or document["object"] != "chat.completion":
            return "malformed"
        return "answered" if said == shape.text(id) else _wrong(said, shape, id)
    except (ValueError, LookupError, TypeError, AssertionError):
        return "malformed"


def _judged_stream(shape: Shape, id: str, got: Got) -> str:
    *blocks, rest = bytes(got.body).split(b"\n\n")
    if rest and got.complete:
        return "malformed"
    events = [b"\n".join(r[5:].strip() for r in b.split(b"\n") if r.startswith(b"data:")) for b in blocks]
    done = [number for number, event in enumerate(events) if event == b"[DONE]"]
    documents = [json.loads(event) for event in events if event and event != b"[DONE]"]
    errors = [document for document in documents if "error" in document]
    said = "".join(
        choice["delta"].get("content") or "" for d in documents if "error" not in d for choice in d["choices"]
    )
    whole = shape.text(id)
    if not whole.startswith(said):
        return _wrong(said, shape, id)
    if len(done) > 1 or len(errors) > 1:
        return "duplicate"
    if done and done[0] != len(events) - 1:
        return "malformed"
    if errors:  # which programs skip that know no such event (NextChat): to them a clean end is the end
        checked_error(errors[0])
        return "incomplete" if got.complete or done else "error" if documents[-1] is errors[0] else "malformed"
    if done and said != whole:
        return "incomplete"
    if not got.complete:
        return "left" if got.left else "cut"
    return "answered" if done else "incomplete"


def _wrong(said: str, shape: Shape, id: str) -> str:
    """What a text is that is not the right one."""
    numbers = [int(number) for name, number in _PIECE.findall(said) if name == id]
    if len(numbers) != len(set(numbers)):
        return "duplicate"
    return "incomplete" if shape.text(id).startswith(said) else "malformed"


class Connection:
    """One connection to the gateway, kept while it may be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, data: bytes, got: Got, leave_after: int | None) -> None:
        """Send a request, fill in what comes."""
        with contextlib.suppress(OSError, EOFError):
            self.writer.write(data)
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            got.status = int(lines[0].split(" ")[1])
            got.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
            if got.headers.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                    await self._body(got, size)
                    await self.reader.readexactly(2)
                    if leave_after is not None and len(got.body) > leave_after:
                        got.left = True
                        return
                await self.reader.readexactly(2)
            else:
                await self._body(got, int(got.headers.get("content-length", 0)))
            got.complete = True

    async def _body(self, got: Got, size: int) -> None:
        """Also what there is of a body that breaks off."""
        while size:
            if not (data := await self.reader.read(min(size, 1 << 18))):
                raise EOFError
            got.body += data
            size -= len(data)

    @property
    def reusable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def close(self, got: Got, *, wait: bool = False) -> None:
        if wait and got.complete:  # asked to close: nothing may come any more
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.2):
                    got.more = await self.reader.read(1)
        self.writer.transport.abort() if got.left else self.writer.close()


@dataclass
class Count:
    """What became of the requests. `refused`: connections that nobody took; no request was sent on them.
    `longest`: seconds that one request took. `kinds`: the same, by the requests' kind."""

    verdicts: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    longest: float = 0.0
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    kinds: Counter[tuple[Shape, str]] = field(default_factory=Counter)

    def add(self, shape: Shape, id: str, got: Got) -> None:
        verdict = judge(shape, id, got)
        self.verdicts[verdict] += 1
        self.kinds[shape, verdict] += 1
        if len(kept := self.examples.setdefault(verdict, [])) < 3:
            told = {"id": id, "shape": repr(shape), "status": got.status, "complete": got.complete}
            kept.append(told | {"body": bytes(got.body[:400]).decode(errors="replace"), "timed_out": got.timed_out})

    @property
    def sent(self) -> int:
        return self.verdicts.total()


class Client:
    """Asks one request after another. With `keep`, on the same connection while the gateway keeps it."""

    _ids: Iterator[int] = itertools.count()

    def __init__(self, port: int, count: Count, *, keep: bool = False) -> None:
        self._port, self._count, self._keep = port, count, keep
        self._kept: Connection | None = None

    async def ask(self, shape: Shape) -> bool:
        """One request, counted; False when nobody takes connections."""
        id = f"r{next(self._ids):06}"
        connection, self._kept = self._kept, None
        if connection is None or not connection.reusable:
            try:
                connection = Connection(*await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20))
            except OSError:
                self._count.refused += 1
                return False
        got, clock = Got(), asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(BOUND):
                await connection.ask(shape.request(id), got, 100 if shape.leave else None)
        except TimeoutError:
            got.timed_out = True
        self._count.longest = max(self._count.longest, clock() - began)
        if self._keep and got.complete and got.headers.get("connection") != "close" and connection.reusable:
            self._kept = connection
        else:
            await connection.close(got, wait=got.headers.get("connection") == "close")
        self._count.add(shape, id, got)
        return True

    def close(self) -> None:
        if self._kept is not None:
            self._kept.writer.close()
