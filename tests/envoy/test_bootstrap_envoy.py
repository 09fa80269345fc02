"""The bootstrap under the real Envoy, with a scripted sidecar and a scripted vendor in place of everything else.

What is asserted of ext_proc here are facts about Envoy that the wire layer relies on; they were observed on 1.40.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
import http.client
import json
from pathlib import Path
import socket
import threading
from typing import Any, get_args

from envoy_data_plane.envoy.service.ext_proc import v3 as service
from envoy_data_plane.google import protobuf
import pytest

from extproc.config.config import Config
from extproc.envoy.bootstrap import Options, bootstrap
from extproc.envoy.placement import Placement
from extproc.envoy.process import EnvoyError, EnvoyProcess, validate
from extproc.worker.places import Address, reserved_address
from tests.contract.processes import PATIENCE, until
from tests.envoy.scripted import (
    JSON,
    OK,
    SHORT,
    TO_VENDOR,
    Gateway,
    Loop,
    Mode,
    Sidecar,
    Vendor,
    answer,
    headers_of,
    on_body,
    on_headers,
    on_nothing,
    override,
    route_to,
    serving,
    set_headers,
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

    def logged() -> list[str]:
        return [
            line for line in gateway.log.read_text().splitlines(keepends=True) if "find-me" in line and "\n" in line
        ]

    lines = until(logged, "it is logged")
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
            release.wait(PATIENCE)
            yield OK[-5:]

    vendor.reply = Held()
    config = Config.model_validate({"providers": [{"type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"}]})
    options = Options(port=0, admin_port=0, sidecars=(f"127.0.0.1:{sidecar.port}",), access_log=None)
    file = tmp_path / "bootstrap.json"
    file.write_text(bootstrap(config, options))
    envoy, loop = EnvoyProcess(file, concurrency=1), Loop()
    loop.run(envoy.start())
    connection = http.client.HTTPConnection("127.0.0.1", envoy.listener_port, timeout=PATIENCE)
    connection.request("POST", "/v1/chat/completions", b"{}")
    response = connection.getresponse()
    stopping = asyncio.run_coroutine_threadsafe(envoy.drain_and_stop(PATIENCE), loop.loop)
    with pytest.raises(TimeoutError):
        stopping.result(2)

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", envoy.listener_port), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused, "it takes no more connections")
    release.set()
    assert response.read() == SHORT
    assert stopping.result(PATIENCE) == 0
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
