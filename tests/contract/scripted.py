"""A vendor that fails as a test says, and keeps what it was sent. What it must say well, the simulated vendors say."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import socket
import struct
import threading
import time
from typing import Any

from .processes import PATIENCE


@dataclass(frozen=True)
class Reply:
    """`pieces`: the body, with `pause` seconds between; an event among them is waited for. `wait`: seconds before the
    head, or an event. `end`: whole, or a reset after the pieces (`reset`; without pieces before the head). Before a
    reset there must be an event for what its client is to see, since Envoy does not send on what it holds then."""

    status: int = 503
    pieces: tuple[bytes | threading.Event, ...] = (b'{"code":"ServiceUnavailable","message":"down","request_id":"r"}',)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float | threading.Event = 0.0
    pause: float = 0.0
    end: str = "whole"

    @property
    def body(self) -> bytes:
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))


def _wait(what: float | threading.Event) -> None:
    if isinstance(what, threading.Event):
        what.wait(PATIENCE)
    else:
        time.sleep(what)


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: tuple[str, int]


class Vendor:
    """`reply`: what everybody gets; `replies`: what the next ones get first; `chosen`: what certain requests get before
    that. `heads`: how many requests have begun."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self.chosen: Callable[[Request], Reply | None] = lambda _: None
        self.heads = 0
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                vendor.heads += 1
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body, self.client_address)
                vendor.requests.append(request)
                reply = vendor.chosen(request) or (vendor.replies.pop(0) if vendor.replies else vendor.reply)
                _wait(reply.wait)
                if reply.end == "reset" and not reply.pieces:
                    self._reset()
                    return
                with contextlib.suppress(OSError):
                    self._answer(reply)

            def _answer(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                if "content-length" in reply.headers or reply.status in (204, 304):
                    self.end_headers()
                    return
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in reply.pieces:
                    if not isinstance(piece, bytes):
                        _wait(piece)
                        continue
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                    time.sleep(reply.pause)
                if reply.end == "reset":
                    self._reset()
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def _reset(self) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.handler = Handler

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def vendor() -> Iterator[Vendor]:
    running = Vendor()
    threading.Thread(target=running.server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()
