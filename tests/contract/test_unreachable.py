"""A vendor that cannot be reached leaves a trace: in the answer, in the gateway's log, in the access log."""

from collections.abc import Iterator
import json
import socket
import ssl
import threading
from typing import Any

import pytest

from tests.envoy.scripted import make_certificate, server_context

from . import processes
from .processes import Gateway, until
from .raw import ask, chat
from .scripted import Reply, Vendor, vendor
from .test_fallback import OPENAI

CONFIG = """\
providers:
  - {id: refused, type: openai, apiTokens: [sk-PLANTED-1], endpoint: "http://127.0.0.1:CLOSED"}
  - {id: nowhere, type: openai, apiTokens: [sk-PLANTED-2], endpoint: "http://vendor.invalid"}
  - {id: untrusted, type: openai, apiTokens: [sk-PLANTED-3], endpoint: "https://127.0.0.1:SECURE"}
  - {id: resets, type: openai, apiTokens: [sk-PLANTED-4], endpoint: "http://127.0.0.1:VENDOR"}
routes:
  - {name: to-refused, match: {hosts: [refused.test]}, provider: refused}
  - {name: to-nowhere, match: {hosts: [nowhere.test]}, provider: nowhere}
  - {name: to-untrusted, match: {hosts: [untrusted.test]}, provider: untrusted}
  - {name: to-resets, match: {hosts: [resets.test]}, provider: resets}
"""
FALLBACK = """\
  - {name: to-two, match: {hosts: [two.test]}, provider: [{provider: untrusted}, {provider: resets}]}
  - {name: past, match: {hosts: [past.test]}, provider: [{provider: nowhere}, {provider: resets}]}
"""
REASONS = {
    "refused": "Connection refused",
    "untrusted": "TLS: CERTIFICATE VERIFY FAILED: ",
    "resets": "the connection",
}
"""Provider → what of the reason must be there."""


class _Tls:
    """A TLS server that nobody knows."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._context = context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            try:
                self._context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()


@pytest.fixture(scope="module")
def closing() -> Iterator[Vendor]:
    with vendor() as one:
        yield one


@pytest.fixture(scope="module")
def running(placement: tuple[str, ...], closing: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("unreachable")
    secure = _Tls(server_context(make_certificate(directory, "api.openai.com")))
    places = {"CLOSED": processes.free_port(), "SECURE": secure.port, "VENDOR": closing.server.server_port}
    config = CONFIG + (FALLBACK if "upstream" in placement else "")
    for name, port in places.items():
        config = config.replace(name, str(port))
    path = directory / "gateway.yaml"
    path.write_text(config)
    with processes.gateway(directory, "--config", str(path), *placement) as gateway:
        yield gateway
    assert "PLANTED" not in gateway.process.errors + gateway.access_log.read_text()


def logged(gateway: Gateway, event: str, request_id: str) -> list[dict[str, Any]]:
    return [entry for entry in gateway.events(event) if entry.get("request_id") == request_id]


@pytest.mark.parametrize("provider", ["refused", "nowhere", "untrusted", "resets"])
def test_the_answer_and_the_logs_name_the_vendor_and_the_reason(
    running: Gateway, closing: Vendor, provider: str
) -> None:
    closing.reply = Reply(pieces=(), end="reset")
    mark = f"id-{provider}"
    answer = ask(running.port, body=chat("x"), host=provider, headers={"x-request-id": mark})
    assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")
    assert answer.error["message"] == f"the model vendor {provider} cannot be reached"
    assert answer.headers["x-request-id"] == mark
    assert answer.headers["x-ai-provider"] == provider
    assert answer.headers["retry-after"]
    [entry] = until(lambda: logged(running, "Envoy answered itself", mark), "a line about the answer")
    assert (entry["provider"], entry["status"], entry["level"]) == (provider, 503, "warning")
    if provider != "nowhere":
        attempts = until(lambda: logged(running, "attempt failed", mark), "a line about the attempt")
        assert {attempt["provider"] for attempt in attempts} == {provider}
        assert [a["reason"] for a in attempts if REASONS[provider] not in a["reason"]] == []
        assert attempts[0]["host"].startswith("127.0.0.1")
    line = running.access(mark)
    assert (line["route"], line["provider"]) == (f"to-{provider}", provider)


def test_why_the_first_attempt_of_a_fallback_failed(
    running: Gateway, closing: Vendor, placement: tuple[str, ...]
) -> None:
    if "upstream" not in placement:
        return  # a route has one vendor there
    closing.reply = Reply(200, (json.dumps(OPENAI).encode(),))
    answer = ask(running.port, body=chat("x"), host="two", headers={"x-request-id": "fell-back"})
    assert (answer.status, answer.headers["x-ai-provider"]) == (200, "resets")
    [attempt] = until(lambda: logged(running, "attempt failed", "fell-back"), "a line about the attempt")
    assert attempt["provider"] == "untrusted"
    assert REASONS["untrusted"] in attempt["reason"]
    assert not logged(running, "Envoy answered itself", "fell-back")
    line = running.access("fell-back")
    assert (line["route"], line["provider"], line["attempts"]) == ("to-two", "resets", 2)


def test_a_vendor_without_an_address_is_said_where_a_fallback_passes_it_over(
    running: Gateway, closing: Vendor, placement: tuple[str, ...]
) -> None:
    if "upstream" in placement:
        closing.reply = Reply(200, (json.dumps(OPENAI).encode(),))
        answer = ask(running.port, body=chat("x"), host="past", headers={"x-request-id": "passed-over"})
        assert (answer.status, answer.headers["x-ai-provider"]) == (200, "resets")
        assert not logged(running, "attempt failed", "passed-over")
    said = "a vendor has no address: requests pass it over"
    [entry] = until(lambda: running.events(said), "a line about the vendor")
    assert (entry["provider"], entry["host"], entry["reason"]) == ("nowhere", "vendor.invalid", "DNS")


def test_who_speaks_anthropic_s_api_gets_its_errors(running: Gateway) -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    answer = ask(running.port, "/v1/messages", body, host="refused", headers={"x-request-id": 'quo"ted'}, leaks=())
    assert answer.status == 503
    assert answer.json["error"]["type"] == "overloaded_error"
    assert answer.json["error"]["message"] == "the model vendor refused cannot be reached"
    assert answer.json["request_id"] == answer.headers["request-id"] == 'quo"ted'
