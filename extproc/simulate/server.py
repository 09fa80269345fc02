"""The ASGI application and the port it is served on.

Rule: request in, vendor asked, faults applied, answer out; nothing here knows a vendor's form.
"""

import asyncio
from collections.abc import Callable, Generator
import contextlib
from dataclasses import replace
import logging
import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send
import uvicorn

from extproc.simulate import multipart, sse
from extproc.simulate.call import Answer, Call, Events, Store, Whole, answer
from extproc.simulate.delivery import deliver
from extproc.simulate.faults import Faults
from extproc.simulate.options import Options
from extproc.simulate.recorder import Recorder, readable
from extproc.simulate.refusal import Refusal
from extproc.simulate.vendors import OPENAI, TYPES, Vendor, check_headers, check_length, find

log = logging.getLogger("extproc.simulate")

HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>\n"
GARBAGE = b'{"id": "chatcmpl-sim", "choices": [<<< not JSON'
KEEP_ALIVE = 120
"""Seconds an idle connection lives: longer than a gateway's pool keeps it."""


class _Gone(Exception):
    """The client went away before its request was complete."""


async def _read(receive: Receive, is_json: bool) -> tuple[bytes, int]:
    """The body and its size; of large uploads only the beginning and the end are kept."""
    head, tail, size = bytearray(), bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        room = len(chunk) if is_json else max(0, multipart.HEAD - len(head))
        head += chunk[:room]
        tail += chunk[room:]
        del tail[: max(0, len(tail) - multipart.TAIL)]
        if not message.get("more_body", False):
            return bytes(head + tail), size


def _faulty(given: Answer, vendor: Vendor, faults: Faults) -> Answer:
    """`given` (Answer), or what the faults put in its place: Answer, or Refusal."""
    if faults.html is not None:
        page = HTML.format(f"{faults.html} Bad Gateway" if faults.html == 502 else str(faults.html))
        return Whole(faults.html, page.encode(), "text/html")
    if faults.garbage:
        return Whole(200, GARBAGE)
    if faults.inspect:
        raise vendor.inspection.with_traceback(None)
    if faults.arrearage:
        raise vendor.arrears.with_traceback(None)
    status = faults.status or (faults.error_frame if isinstance(given, Whole) else None)
    if status is not None:
        after = {"retry-after": str(faults.retry_after)} if faults.retry_after is not None else {}
        raise Refusal(status, f"simulated error {status}", headers=after)
    return given


def _answer(vendor: Vendor, call: Call, raw: list[tuple[str, str]]) -> Answer:
    try:
        check_headers(vendor, raw, call.options)
        check_length(vendor, call.method, dict(raw))
        declared = call.headers.get("content-length")
        if declared is not None and int(declared) != call.size:
            raise Refusal(400, f"content-length is {declared}, the body has {call.size} bytes")
        return _faulty(vendor.handle(call), vendor, call.faults)
    except Refusal as refusal:
        status = 200 if vendor.errors_in_200 else refusal.status
        named = {**vendor.error_headers(refusal), **refusal.headers}
        return answer(vendor.error(refusal, call.request_id), status, named)
    except ValueError as error:  # a marker that does not exist
        return answer(vendor.error(Refusal(400, f"simulator: {error}"), call.request_id), 400)


class _App:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.store = Store()
        self.recorder = Recorder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"].startswith("/__sim__/"):
            await deliver(self._control(scope), Faults(), Options(), {}, send, self.recorder.released)
            return
        with contextlib.suppress(_Gone):
            await self._exchange(scope, receive, send)

    def _control(self, scope: Scope) -> Answer:
        match scope["method"], scope["path"]:
            case "GET", "/__sim__/requests":
                query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
                return answer(self.recorder.found(query.get("mark", "")))
            case "DELETE", "/__sim__/requests":
                self.recorder.requests.clear()
                self.recorder.server_names.clear()
                return answer({"cleared": True})
            case "POST", "/__sim__/release":
                self.recorder.release()
                return answer({"released": True})
            case "GET", "/__sim__/tls":
                return answer({"server_names": list(self.recorder.server_names)})
            case "GET", "/__sim__/health":
                return answer({"ok": True})
        return answer({"error": "no such thing"}, 404)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers, path, query = dict(raw), scope["path"], scope["query_string"].decode("latin-1")
        found = find(path, headers.get("host", ""), self.options)
        entry = self.recorder.add(scope["method"], path, query, raw, found[0].name if found else None)
        released = self.recorder.released
        is_json = not headers.get("content-type", "").lower().startswith("multipart/")
        body, size = await _read(receive, is_json)
        entry |= {"body": readable(body), "size": size}
        vendor, api = found or (OPENAI, "")
        call = Call(
            vendor=vendor.name,
            method=scope["method"],
            path=path,
            raw_path=(scope.get("raw_path") or path.encode()).decode("latin-1"),
            api=api,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=headers,
            body=body,
            size=size,
            options=self.options,
            store=self.store,
            types=TYPES,
        )
        given = self._guarded(vendor, call, raw)
        if isinstance(given, Whole) and vendor.needs_length and "gzip" in headers.get("accept-encoding", ""):
            given = replace(given, gzip=True)  # DashScope compresses for whoever accepts it
        entry["status"] = 200 if isinstance(given, Events) else given.status
        named = {"x-request-id": call.request_id}
        work = deliver(given, call.faults, self.options, named, send, released)
        entry["finished"] = await _until_gone(work, receive)

    def _guarded(self, vendor: Vendor, call: Call, raw: list[tuple[str, str]]) -> Answer:
        try:
            return _answer(vendor, call, raw)
        except Exception:
            log.exception("the simulator failed at %s %s", call.method, call.path)
            return Whole(500, sse.dump({"error": {"message": "the simulator itself failed", "type": "bug"}}))


async def _until_gone(work: Any, receive: Receive) -> bool:
    """Run `work`, stopping when the client goes away: whether it came to its end."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    doing, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
        finished: bool = doing.done()
        if finished:
            doing.result()
        return finished
    finally:
        for task in (doing, watching):
            task.cancel()


def app(options: Options | None = None) -> ASGIApp:
    """The simulated vendors with `options` (Options): an ASGI application."""
    return _App(options or Options())


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # signals belong to whoever runs us


def _note_server_names(context: ssl.SSLContext, recorder: Recorder) -> None:
    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        recorder.server_names.append(name)

    context.sni_callback = note
    context.set_alpn_protocols(["http/1.1"])


def _bind(host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only where the protocol is spelled out; `create_server` leaves it 0,
    # and every answer then waits 40 ms for the client's delayed acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)
    except OSError:
        bound.close()
        raise
    return bound


async def serve(
    host: str, port: int, options: Options | None = None, ready: Callable[[int], None] | None = None
) -> None:
    """Serve on `host` (str) and `port` (int, 0 picks one) until cancelled.

    `ready` is called once with the port when connections are accepted. OSError when the port is taken.
    """
    chosen = options or Options()
    application = _App(chosen)
    bound = _bind(host, port)
    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=1,
        ssl_certfile=chosen.tls_cert,
        ssl_keyfile=chosen.tls_key,
    )

    def started() -> None:
        if ready is not None:
            ready(bound.getsockname()[1])

    server = _Server(config, started)
    config.load()
    if config.ssl is not None:
        _note_server_names(config.ssl, application.recorder)
    running = asyncio.ensure_future(server.serve(sockets=[bound]))
    try:
        await asyncio.shield(running)
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await running
        bound.close()
