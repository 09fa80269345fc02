"""The page that stands in for NextChat believes what NextChat believes of a stream."""

from http.server import BaseHTTPRequestHandler, HTTPServer
import threading
from typing import Any

import pytest

from tests.containers.chat.nextchat import NotAnswered, ask, texts

TWO = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"}}]}\n\n'
ERROR = b'data: {"error":{"message":"broken","code":"x"}}\n\n'
USAGE = b'data: {"choices":[],"usage":{}}\r\n\r\n'


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (TWO + b"data: [DONE]\n\n", "ab"),
        (TWO, "ab"),
        (TWO + ERROR, "ab"),
        (ERROR + TWO, "ab"),
        (b": comment\n\nevent: ping\ndata: {}\n\n" + USAGE + b"data: {half\n\n" + TWO, "ab"),
        (TWO + b"data: [DONE]\n\n" + TWO, "ab"),
        (TWO + b'data: {"choices":[{"delta":{"content":"c"}}]}', "ab"),
        (b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\ndata: {"choices":[{}]}\n\n', ""),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_is_shown(stream: bytes, said: str, size: int) -> None:
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert ["", *texts(chunks)][-1] == said


@pytest.mark.parametrize(
    ("status", "kind", "body", "error"),
    [
        (200, "text/event-stream", (TWO, b""), None),
        (200, "text/event-stream", (TWO + ERROR, b""), None),
        (200, "text/event-stream", (TWO,), "the connection broke"),
        (200, "text/event-stream; charset=utf-8", (ERROR, b""), "empty response"),
        (200, "application/json", (b'{"id":1}', b""), '{"id":1}'),
        (429, "application/json", (b'{"error":{"message":"slow down"}}', b""), "slow down"),
    ],
)
def test_what_is_an_error(status: int, kind: str, body: tuple[bytes, ...], error: str | None) -> None:
    class Gateway(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in body:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        said: list[str] = []
        failed = None
        try:
            said.extend(ask(f"http://127.0.0.1:{server.server_port}", "sk-x", {"messages": []}))
        except NotAnswered as raised:
            failed = str(raised)
    assert said == (["a", "ab"] if TWO in body[0] else [])
    assert failed is None if error is None else failed is not None and failed.startswith(error)
