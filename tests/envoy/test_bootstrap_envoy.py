"""The bootstrap under the real Envoy, with a scripted sidecar and a scripted vendor in place of everything else.

What is asserted of ext_proc here are facts about Envoy that the wire layer relies on; they were observed on 1.40.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
import datetime
import http.client
import ipaddress
import json
from pathlib import Path
import socket
import socketserver
import ssl
import threading
from typing import Any, ClassVar, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.service.ext_proc import v3 as service
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.google import protobuf
import grpc
import pytest

from extproc.bootstrap import Options, bootstrap
from extproc.config import Config
from extproc.envoy_process import EnvoyError, EnvoyProcess, validate
from extproc.placement import Placement
from extproc.places import Address, reserved_address
from tests.contract.processes import free_port

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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
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


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("envoy")
    certificate = make_certificate(directory, "*.vendor.test")
    sidecar, vendor, secure = Sidecar(), Vendor(), Vendor(server_context(certificate))
    tls_url = f"https://127.0.0.1:{secure.port}"
    config = Config.model_validate(
        {
            "maxBodyBytes": MAX_BODY,
            "corsOrigins": ["https://app.example.com", "https://*.example.org"],
            "providers": [
                {"id": "vendor", "type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"},
                {"id": "refused", "type": "openai", "endpoint": f"http://127.0.0.1:{free_port()}"},
                {"id": "untrusted", "type": "openai", "endpoint": tls_url},
                {"id": "misnamed", "type": "openai", "endpoint": tls_url, "tls": {"caFile": str(certificate)}},
                {
                    "id": "trusted",
                    "type": "openai",
                    "openaiCustomUrl": "https://api.vendor.test",
                    "endpoint": tls_url,
                    "tls": {"caFile": str(certificate)},
                },
            ],
            "routes": [{"name": "all", "provider": "vendor"}],
        }
    )
    log = directory / "access.log"
    options = Options(
        port=0,
        admin_port=0,
        sidecars=(f"127.0.0.1:{sidecar.port}",),
        access_log=str(log),
        placement="listener",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extproc.agreed._LEAST_BUFFER", 0)  # so that a body too large for Envoy is a small one
        patch.setattr("extproc.agreed._MARGIN", 64 << 10)
        text = bootstrap(config, options)
    with serving(text, directory) as envoy:
        yield Gateway(sidecar, vendor, secure, envoy.listener_port, log)
    sidecar.server.stop(0)
    vendor.shutdown()
    secure.shutdown()


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "gateway" in request.fixturenames:
        gateway: Gateway = request.getfixturevalue("gateway")
        gateway.vendor.reply = [OK]
        gateway.sidecar.script = route_to("vendor")


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


# The bootstrap as such


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"corsOrigins": ["*"]},
        {"corsOrigins": ["https://a.example", "https://*.example.org"], "maxBodyBytes": 1024},
        {"maxBodyBytes": 1 << 30},
        {"routes": [{"name": "r", "match": {"ingress": ["x"]}, "provider": "openai"}]},
        {
            "routes": [
                {
                    "name": "r",
                    "match": {"models": ["a", "b*", "c*d", "~^(e|f)$"], "hosts": ["*.a.test"], "services": ["s"]},
                    "provider": [{"provider": "openai", "model": "m"}, [{"provider": "openai", "weight": 2}]],
                    "retry": {"on": [429, "5xx", "timeout"], "firstByteTimeout": "5s", "perTryTimeout": "1m"},
                },
                {"name": "off", "match": {"pathPrefix": "/x"}, "provider": None},
            ]
        },
    ],
)
@pytest.mark.parametrize("placement", get_args(Placement))
@pytest.mark.parametrize("endpoint", [None, "http://[::1]:80", "https://127.0.0.1", "https://localhost:8443"])
def test_envoy_accepts_it(extra: dict[str, Any], endpoint: str | None, placement: Placement, tmp_path: Path) -> None:
    config = Config.model_validate({"providers": [{"type": "openai", "endpoint": endpoint}], **extra})
    options = Options(sidecars=("127.0.0.1:9000", "[::1]:9001"), access_log=None if extra else "/dev/stdout")
    options = replace(options, placement=placement)
    file = tmp_path / "bootstrap.json"
    file.write_text(bootstrap(config, options))
    validate(file)


def test_envoy_accepts_the_sample() -> None:
    validate(Path(__file__).parents[2] / "envoy" / "envoy.yaml")


def test_what_envoy_refuses_is_said(tmp_path: Path) -> None:
    file = tmp_path / "bootstrap.json"
    file.write_text('{"static_resources": {"listeners": [{"nonsense": 1}]}}')
    with pytest.raises(EnvoyError, match="nonsense"):
        validate(file)
    with pytest.raises(EnvoyError, match="nonsense"):
        Loop().run(EnvoyProcess(file).start())


# Where requests go


def test_everything_is_decided_in_the_body_phase(gateway: Gateway) -> None:
    body = b'{"translated":true}'
    headers = {
        **TO_VENDOR,
        ":authority": "api.vendor.test",
        ":path": "/api/v3/x?y=1",
        "authorization": "Bearer ours",
        "content-length": str(len(body)),
    }
    gateway.sidecar.script = route_to(
        "vendor", request_body=on_body("request_body", headers=headers, remove=("x-mine",), body=body, reroute=True)
    )
    # The second request is chunked: setting content-length suffices, Envoy drops transfer-encoding itself.
    for sent in (b"{}", iter([b"{", b"}"])):
        answered = gateway.ask(body=sent, authorization="Bearer theirs", x_mine="1", x_forwarded_for="1.2.3.4")
        assert (answered.status, answered.body) == (200, SHORT)
        (received,) = gateway.vendor.received
        assert received.line == "POST /api/v3/x?y=1 HTTP/1.1"
        assert received.body == body
        names = {name for name, _ in received.headers}
        assert names == {"host", "accept-encoding", "authorization", "content-length", "x-request-id"}
        assert received.header("host") == "api.vendor.test"
        assert received.header("authorization") == "Bearer ours"


@pytest.mark.parametrize("cluster", [None, "no-such-cluster"])
def test_a_request_without_a_provider_goes_nowhere(gateway: Gateway, cluster: str | None) -> None:
    gateway.sidecar.script = route_to(cluster) if cluster else on_nothing
    answered = gateway.ask(x_ai_proxy_cluster="vendor")
    assert answered.status == 500
    assert answered.error()["code"] == "internal_error"
    assert "x-ai-proxy-cluster" not in headers_of(gateway.sidecar.seen[0].request_headers)
    assert not gateway.vendor.received


def test_the_path_reaches_the_sidecar_raw(gateway: Gateway) -> None:
    gateway.ask(path="/a/../v1//x%2f%2E?q=1")
    assert headers_of(gateway.sidecar.seen[0].request_headers)[":path"] == "/a/../v1//x%2f%2E?q=1"


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_uploads_stream_past_whatever_the_limit(gateway: Gateway, size: int) -> None:
    mode = override(Mode.NONE, request=Mode.NONE)
    gateway.sidecar.script = route_to(
        "vendor", request_headers=on_headers("request_headers", mode, headers=TO_VENDOR, reroute=True)
    )
    answered = gateway.ask(path="/v1/files", body=b"x" * size, content_type="multipart/form-data; boundary=x")
    assert answered.status == 200
    assert len(gateway.vendor.received[0].body) == size
    assert "request_body" not in gateway.sidecar.phases()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/files", "application/json; charset=utf-8"),
        ("/v1/files", "application/vnd.x+json"),
        ("/v1/chat/completions?x=1", "text/plain"),
        ("/gw/v1/embeddings", "application/x-www-form-urlencoded"),
    ],
)
def test_json_is_read_by_type_or_by_api(gateway: Gateway, path: str, kind: str) -> None:
    gateway.ask(path=path, content_type=kind)
    assert "request_body" in gateway.sidecar.phases()


def test_tls_names(gateway: Gateway) -> None:
    gateway.sidecar.script = route_to("trusted")
    assert gateway.ask().status == 200
    assert gateway.secure.names == ["api.vendor.test"]


# Envoy's own replies


@pytest.mark.parametrize("cluster", ["refused", "untrusted", "misnamed"])
def test_a_vendor_out_of_reach_is_503(gateway: Gateway, cluster: str) -> None:
    gateway.sidecar.script = route_to(cluster)
    answered = gateway.ask()
    assert answered.status == 503
    assert answered.error()["code"] == "upstream_unavailable"
    for secret in (b"127.0.0.1", b"TLS", b"CERTIFICATE", b"refused", b"reset"):
        assert secret not in answered.body
    attributes = gateway.sidecar.seen[-1].attributes["envoy.filters.http.ext_proc"].fields
    assert not attributes["response.code_details"].string_value.startswith("via_upstream")


def test_a_vendor_that_speaks_no_http_is_502(gateway: Gateway) -> None:
    gateway.vendor.reply = [b"garbage\r\n\r\n"]
    answered = gateway.ask()
    assert (answered.status, answered.error()["code"]) == (502, "bad_upstream_response")


def test_limits(gateway: Gateway) -> None:
    assert gateway.ask(body=b"x" * MAX_BODY).status == 200
    assert gateway.ask(body=b"x" * (MAX_BODY + 1)).status == 200  # the sidecar's to refuse
    for body in (b"x" * 3 * MAX_BODY, iter([b"x" * MAX_BODY] * 3)):
        answered = gateway.ask(body=body)
        assert (answered.status, answered.error()["code"]) == (413, "request_too_large")
        assert "request_body" not in gateway.sidecar.phases()
        assert not gateway.vendor.received


def test_a_failing_sidecar_is_500(gateway: Gateway) -> None:
    def fail(_: service.ProcessingRequest) -> service.ProcessingResponse:
        raise RuntimeError

    gateway.sidecar.script = fail
    answered = gateway.ask()
    assert (answered.status, answered.error()["code"]) == (500, "internal_error")
    assert not gateway.vendor.received


def test_a_sidecar_that_is_down_is_500(tmp_path: Path) -> None:
    vendor = Vendor()
    config = Config.model_validate({"providers": [{"type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"}]})
    options = Options(port=0, admin_port=0, sidecars=(f"127.0.0.1:{free_port()}",), access_log=None)
    with serving(bootstrap(config, options), tmp_path) as envoy:
        connection = http.client.HTTPConnection("127.0.0.1", envoy.listener_port, timeout=20)
        connection.request("POST", "/v1/chat/completions", b"{}", {"x-ai-proxy-cluster": "openai"})
        response = connection.getresponse()
        assert response.status == 500
        assert json.loads(response.read())["error"]["code"] == "internal_error"
    assert not vendor.received


@pytest.mark.parametrize("status", [200, 400, 404, 413, 429, 500, 503, 504])
def test_the_sidecars_answers_pass_unchanged(gateway: Gateway, status: int) -> None:
    body = '{"error": {"message": "100 % ours %REQ(:path)%"}}'
    gateway.sidecar.script = lambda _: answer(status, body, headers={**JSON, "retry-after": "3"})
    answered = gateway.ask()
    assert (answered.status, answered.body.decode()) == (status, body)
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["retry-after"] == "3"


def test_what_an_answer_needs(gateway: Gateway) -> None:
    """Without a content type it is text/plain; without our `details` it is taken for Envoy's own."""
    gateway.sidecar.script = lambda _: answer(404, "{}")
    assert gateway.ask().headers["content-type"] == "text/plain"
    gateway.sidecar.script = lambda _: answer(404, "{}", details="", headers=JSON)
    assert gateway.ask().error()["code"] == "invalid_request"


# CORS


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("https://a.example.org.evil.test", False),
        ("https://appXexample.com", False),
    ],
)
def test_cors(gateway: Gateway, origin: str, allowed: bool) -> None:
    preflight = gateway.ask("OPTIONS", body=b"", origin=origin, access_control_request_method="POST")
    assert preflight.status == 200
    assert preflight.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert gateway.sidecar.phases() == [], "Envoy answers alone"

    vendors_word = b"\r\naccess-control-allow-origin: *\r\nalt-svc: h3\r\n\r\n"
    gateway.vendor.reply = [OK.replace(b"\r\n\r\n", vendors_word)]
    answered = gateway.ask(origin=origin)
    assert answered.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert "alt-svc" not in answered.headers

    gateway.sidecar.script = lambda _: answer(429, "{}", headers=JSON)
    refused = gateway.ask(origin=origin)
    assert refused.headers.get("access-control-allow-origin") == (origin if allowed else None)


# What the wire layer relies on: answers


@pytest.mark.parametrize("reply", [[WHOLE], PIECES], ids=["content-length", "chunked"])
def test_a_buffered_body_answer_may_change_everything(gateway: Gateway, reply: list[bytes]) -> None:
    gateway.vendor.reply = reply
    headers = {":status": "502", "content-length": str(len(LONGER)), **JSON}
    gateway.sidecar.script = buffered_response(
        on_body("response_body", headers=headers, remove=("x-vendor",), body=LONGER)
    )
    answered = gateway.ask()
    assert (answered.status, answered.body) == (502, LONGER)
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["content-length"] == str(len(LONGER))
    assert not {"x-vendor", "transfer-encoding"} & set(answered.headers)


def test_a_wrong_content_length_is_a_local_500(gateway: Gateway) -> None:
    gateway.vendor.reply = [WHOLE]
    gateway.sidecar.script = buffered_response(on_body("response_body", body=LONGER))
    assert gateway.ask().error()["code"] == "internal_error"
    for reply in (
        buffered_response(on_body("response_body", body=LONGER, remove=("content-length",))),
        buffered_response(on_body("response_body", body=LONGER), remove=("content-length",)),
    ):
        gateway.sidecar.script = reply
        answered = gateway.ask()
        assert answered.body == LONGER
        assert answered.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("phase", ["response_headers", "response_body"])
def test_an_immediate_answer_replaces_the_vendors(gateway: Gateway, phase: str) -> None:
    gateway.vendor.reply = [WHOLE]
    immediate = answer(502, '{"error":1}', headers=JSON)
    if phase == "response_body":
        gateway.sidecar.script = buffered_response(immediate)
    else:
        gateway.sidecar.script = route_to("vendor", response_headers=immediate)
    answered = gateway.ask()
    assert (answered.status, answered.body) == (502, b'{"error":1}')
    assert answered.headers["content-type"] == "application/json"
    assert "x-vendor" not in answered.headers  # none of the vendor's headers survives: a body answer keeps them


def test_an_error_keeps_its_headers(gateway: Gateway) -> None:
    gateway.vendor.reply = [
        b"HTTP/1.1 429 Slow down\r\nretry-after: 7\r\nx-request-id: theirs\r\ncontent-length: 11\r\n\r\n" + SHORT
    ]
    headers = {"content-length": str(len(LONGER)), **JSON}
    gateway.sidecar.script = buffered_response(on_body("response_body", headers=headers, body=LONGER))
    answered = gateway.ask()
    assert (answered.status, answered.body) == (429, LONGER)
    assert (answered.headers["retry-after"], answered.headers["x-request-id"]) == ("7", "theirs")


def test_an_error_without_a_body_gets_one_by_replacement(gateway: Gateway) -> None:
    """At `end_of_stream` a body override has no effect; CONTINUE_AND_REPLACE adds a body and keeps the headers."""
    gateway.vendor.reply = [b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nretry-after: 3\r\n\r\n"]
    gateway.sidecar.script = route_to(
        "vendor", response_headers=on_headers("response_headers", override(Mode.BUFFERED))
    )
    assert gateway.ask().body == b""
    assert gateway.sidecar.phases()[-1] == "response_headers"
    gateway.sidecar.script = route_to(
        "vendor", response_headers=on_headers("response_headers", body=LONGER, replaced=True, headers=JSON)
    )
    answered = gateway.ask()
    assert (answered.status, answered.body, answered.headers["retry-after"]) == (500, LONGER, "3")


def test_envoys_own_reply_can_be_replaced(gateway: Gateway) -> None:
    headers = {":status": "502", "content-length": str(len(LONGER))}
    gateway.sidecar.script = route_to(
        "refused",
        response_headers=on_headers("response_headers", override(Mode.BUFFERED)),
        response_body=on_body("response_body", headers=headers, body=LONGER),
    )
    answered = gateway.ask()
    assert (answered.status, answered.body) == (502, LONGER)


def test_a_streamed_answer(gateway: Gateway) -> None:
    def shout(request: service.ProcessingRequest) -> service.ProcessingResponse:
        chunk = request.response_body
        assert chunk is not None
        return on_body("response_body", body=chunk.body.upper() + (b"[END]" if chunk.end_of_stream else b""))

    for reply, text in (([WHOLE], b'{"OK":TRUE}[END]'), (PIECES, b"HELLO WORLD[END]")):
        gateway.vendor.reply = reply
        gateway.sidecar.script = route_to(
            "vendor",
            response_headers=on_headers("response_headers", override(Mode.STREAMED), remove=("content-length",)),
            response_body=shout,
        )
        answered = gateway.ask()
        assert answered.body == text
        assert "content-length" not in answered.headers


def test_a_buffered_answer_that_outgrows_the_buffer_is_an_error(gateway: Gateway) -> None:
    class Later(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            for piece in super().__iter__():
                yield piece
                threading.Event().wait(0.2)

    head = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n"
    gateway.vendor.reply = Later([head, b"x" * MAX_BODY, b"x" * MAX_BODY, b"x" * MAX_BODY])
    gateway.sidecar.script = buffered_response(on_body("response_body"))
    answered = gateway.ask()
    assert (answered.status, answered.error()["code"]) == (502, "bad_upstream_response")


# The log and the process


def test_the_access_log(gateway: Gateway) -> None:
    metadata = protobuf.Struct.from_dict(
        {"ai_proxy": {"route": "all", "provider": "vendor", "model": "mine", "total_tokens": 7}}
    )

    def script(request: service.ProcessingRequest) -> service.ProcessingResponse:
        response = route_to("vendor")(request)
        if request.request_body is not None:
            response.dynamic_metadata = metadata
            body = response.request_body
            assert body is not None
            assert body.response is not None
            assert body.response.header_mutation is not None
            body.response.header_mutation.set_headers += set_headers({":path": "/vendors/own"})
        return response

    gateway.sidecar.script = script
    gateway.ask(path="/v1/logged?secret=1", authorization="Bearer hidden", x_request_id="find-me")
    for _ in range(100):
        lines = [line for line in gateway.log.read_text().splitlines() if "find-me" in line]
        if lines:
            break
        threading.Event().wait(0.1)
    entry = json.loads(lines[0])
    assert entry["path"] == "/v1/logged"
    assert (entry["status"], entry["upstream"], entry["details"]) == (200, "vendor", "via_upstream")
    assert (entry["route"], entry["provider"], entry["model"], entry["total_tokens"]) == ("all", "vendor", "mine", 7)
    assert entry["prompt_tokens"] is None
    assert "hidden" not in lines[0]
    assert "secret" not in lines[0]


def test_draining_lets_a_request_end(tmp_path: Path) -> None:
    sidecar, vendor = Sidecar(), Vendor()
    sidecar.script = route_to("openai")
    vendor.reply = [OK[:-5], OK[-5:]]
    release = threading.Event()

    class Held(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            yield OK[:-5]
            release.wait(10)
            yield OK[-5:]

    vendor.reply = Held()
    config = Config.model_validate({"providers": [{"type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"}]})
    options = Options(port=0, admin_port=0, sidecars=(f"127.0.0.1:{sidecar.port}",), access_log=None)
    file = tmp_path / "bootstrap.json"
    file.write_text(bootstrap(config, options))
    envoy, loop = EnvoyProcess(file, concurrency=1), Loop()
    loop.run(envoy.start())
    connection = http.client.HTTPConnection("127.0.0.1", envoy.listener_port, timeout=20)
    connection.request("POST", "/v1/chat/completions", b"{}")
    response = connection.getresponse()
    stopping = asyncio.run_coroutine_threadsafe(envoy.drain_and_stop(20), loop.loop)
    with pytest.raises(TimeoutError):
        stopping.result(2)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", envoy.listener_port), timeout=5)
    release.set()
    assert response.read() == SHORT
    assert stopping.result(10) == 0
    sidecar.server.stop(0)
    vendor.shutdown()


def test_envoy_listens_where_a_port_is_held_for_it(tmp_path: Path) -> None:
    config = Config.model_validate({"providers": [{"type": "openai"}]})
    with reserved_address(Address("127.0.0.1", 0)) as held:
        with serving(bootstrap(config, Options(port=held.port, admin_port=0, access_log=None)), tmp_path) as envoy:
            assert envoy.listener_port == held.port
            with pytest.raises(OSError, match=f"cannot listen on {held} "), reserved_address(held):
                raise AssertionError
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((held.host, held.port))
