"""HTTP/1.1 by hand: exactly the bytes a test wants, and whether the answer ended as HTTP says it must."""

from collections.abc import Callable, Iterable, Iterator, Mapping
import contextlib
from dataclasses import dataclass
import json
import socket
from typing import Any

from .processes import PATIENCE

LEAKS = (b"PLANTED", b"request_id", b"HTTP_STATUS", b'"output"', b"127.0.0.1")
"""What no client may ever read: keys, a native vendor's words, addresses behind the gateway."""


@dataclass(frozen=True)
class Answer:
    """`complete`: false when the connection broke before the end that the framing promised."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each server-sent event: JSON, or the text `[DONE]`."""
        rows = [row.removeprefix(b"data:").strip() for row in self.body.split(b"\n") if row.startswith(b"data:")]
        return ["[DONE]" if row == b"[DONE]" else json.loads(row) for row in rows]

    @property
    def text(self) -> str:
        """The text that a streamed chat said."""
        chunks = [event for event in self.events if event != "[DONE]" and "error" not in event]
        return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])

    @property
    def error(self) -> dict[str, Any]:
        """The error of a whole answer, checked to be one in OpenAI's form."""
        assert self.headers.get("content-type", "").startswith("application/json"), (self.headers, self.body[:300])
        return checked_error(self.json)


def checked_error(document: Any) -> dict[str, Any]:
    """The `error` of a document in OpenAI's form."""
    error: dict[str, Any] = document["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error.keys() >= {"message", "type", "param", "code"}, error
    return error


class Connection:
    """One client connection."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        """Send each piece as a write of its own; a server that hung up already is not an error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                self.socket.sendall(piece)

    def head(self) -> tuple[int, dict[str, str]]:
        while True:
            try:
                line = self._file.readline()
            except ConnectionResetError:
                line = b""
            assert line, "the connection was closed without an answer"
            status = int(line.split(b" ")[1])
            headers: dict[str, str] = {}
            while (line := self._file.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            if status != 100:
                return status, headers

    def pieces(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        """The body as it comes. Raises `EOFError` when it breaks off."""
        try:
            if headers.get("transfer-encoding") == "chunked":
                while size := int(self._line(), 16):
                    yield self._exactly(size)
                    self._line()
                self._line()
            else:
                yield self._exactly(int(headers.get("content-length", "0")))
        except ConnectionResetError:
            raise EOFError from None

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line.strip()

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def answer(self, reads: tuple[bytes, Callable[[], Any]] | None = None) -> Answer:
        """All that comes. `reads`: what is called once so much of the body was read."""
        status, headers = self.head()
        body, complete = bytearray(), True
        try:
            for piece in self.pieces(headers):
                body += piece
                if reads and reads[0] in body:
                    reads[1]()
                    reads = None
        except EOFError:
            complete = False
        return Answer(status, headers, bytes(body), complete)

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def head(method: str, path: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def ask(
    port: int,
    path: str = "/v1/chat/completions",
    body: Any = None,
    *,
    host: str = "qwen",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    leaks: Iterable[bytes] = LEAKS,
    reads: tuple[bytes, Callable[[], Any]] | None = None,
) -> Answer:
    """One request on a connection of its own. `body`: bytes, or a value sent as JSON; `host`: a provider of
    `gateway.yaml`; `reads`: as of `Connection.answer`. Whatever comes back is searched for leaks."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {
        "host": f"{host}.test",
        "content-type": "application/json",
        "authorization": "Bearer client",
        "content-length": str(len(data)),
        **(headers or {}),
    }
    with Connection(port) as connection:
        connection.send(head(method, path, given.items()), data)
        answer = connection.answer(reads)
    check_leaks(answer, leaks)
    return answer


def check_leaks(answer: Answer, leaks: Iterable[bytes] = LEAKS) -> None:
    everything = json.dumps(dict(answer.headers)).encode() + answer.body
    assert [leak for leak in leaks if leak in everything] == [], answer


def chat(text: str, model: str = "gpt-4o", **more: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
