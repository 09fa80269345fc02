"""Answers under the real Envoy: its own, the sidecar's, and the vendor's as the sidecar changes them.

What is asserted of ext_proc here are facts about Envoy that the wire layer relies on; they were observed on 1.40.
"""

from collections.abc import Iterator
import http.client
import json
from pathlib import Path
import threading

from envoy_data_plane.envoy.service.ext_proc import v3 as service
import pytest

from extproc.config.config import Config
from extproc.envoy.bootstrap import Options, bootstrap
from tests.contract.processes import PATIENCE, free_port
from tests.envoy.scripted import (
    JSON,
    LONGER,
    MAX_BODY,
    PIECES,
    SHORT,
    WHOLE,
    Gateway,
    Mode,
    Vendor,
    answer,
    buffered_response,
    on_body,
    on_headers,
    override,
    route_to,
    serving,
)

# Envoy's own replies


@pytest.mark.parametrize("cluster", ["refused", "untrusted", "misnamed"])
def test_a_vendor_out_of_reach_is_503(gateway: Gateway, cluster: str) -> None:
    gateway.sidecar.script = route_to(cluster)
    answered = gateway.ask()
    assert answered.status == 503
    assert answered.error()["code"] == "upstream_unavailable"
    for secret in (b"127.0.0.1", b"TLS", b"CERTIFICATE", b"refused", b"reset"):
        assert secret not in answered.body.replace(f"vendor {cluster} ".encode(), b"")
    attributes = gateway.sidecar.seen[-1].attributes["envoy.filters.http.ext_proc"].fields
    assert not attributes["response.code_details"].string_value.startswith("via_upstream")


@pytest.mark.parametrize(
    ("path", "headers", "anthropic"),
    [
        ("/v1/messages", {}, True),
        ("/v1/messages?beta=true", {}, True),
        ("/v1/messages/count_tokens", {}, True),
        ("/anthropic/v1/messages", {}, True),
        ("/gw/a//v1//messages", {}, True),
        ("/v1/v1/messages", {}, True),
        ("/v1/models", {"anthropic_version": "2023-06-01"}, True),
        ("/v1/models", {}, False),
        ("/v1/chat/completions?x=/v1/messages", {}, False),
        ("/v1/messagesx", {}, False),
        ("/v1/threads/t/messages", {}, False),
    ],
)
def test_envoys_own_errors_have_the_form_of_the_clients_front(
    gateway: Gateway, path: str, headers: dict[str, str], anthropic: bool
) -> None:
    gateway.sidecar.script = route_to("refused")
    answered = gateway.ask(path=path, **headers)
    assert answered.status == 503
    told = json.loads(answered.body)
    assert (told.get("type"), told["error"]["type"]) == (
        ("error", "overloaded_error") if anthropic else (None, "server_error")
    )
    assert bool(answered.headers.get("request-id")) == anthropic


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
        connection = http.client.HTTPConnection("127.0.0.1", envoy.listener_port, timeout=PATIENCE)
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
