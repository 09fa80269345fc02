"""A vendor that fails as a test says, and keeps what it was sent. What it must say well, the simulated vendors say."""

from collections.abc import Iterator, Mapping
import contextlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import socket
import struct
import threading
import time
from typing import Any


@dataclass(frozen=True)
class Reply:
    """`wait`: seconds before the head. `pieces`: the body, with `pause` seconds between. `end`: whole, or a reset after
    the pieces (`reset`; without pieces and status before the head), not before `seen` is set: what Envoy holds as a
    reset comes it does not send on."""

    status: int = 503
    pieces: tuple[bytes, ...] = (b'{"code":"ServiceUnavailable","message":"down","request_id":"r"}',)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    pause: float = 0.0
    end: str = "whole"
    seen: threading.Event | None = None


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


class Vendor:
    """`reply`: what everybody gets; `replies`: what the next ones get first. `handler.timeout`: seconds that a new
    connection may be silent."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                vendor.requests.append(Request(self.path, headers, body))
                reply = vendor.replies.pop(0) if vendor.replies else vendor.reply
                time.sleep(reply.wait)
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
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                    time.sleep(reply.pause)
                if reply.seen:
                    reply.seen.wait(60)
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
