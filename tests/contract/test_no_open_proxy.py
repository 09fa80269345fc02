"""No open proxy, through a real Envoy: forms of a request that ask it for somebody else's host or another path."""

import pytest

from .conftest import Simulator
from .processes import Gateway
from .raw import Answer, Connection, ask, check_leaks

FORMS: dict[str, tuple[str, str]] = {
    # the first line and the Host of a request, and what makes it unwelcome
    "another host in absolute form": ("GET http://evil.test/v1/files HTTP/1.1", "openai-plain.test"),
    "another host over TLS": ("GET https://evil.test:443/v1/files HTTP/1.1", "openai-plain.test"),
    "another scheme": ("GET ftp://openai-plain.test/v1/files HTTP/1.1", "openai-plain.test"),
    "a tunnel": ("CONNECT evil.test:443 HTTP/1.1", "evil.test:443"),
    "a tunnel to a vendor": ("CONNECT openai-plain.test:443 HTTP/1.1", "openai-plain.test:443"),
    "asterisk": ("OPTIONS * HTTP/1.1", "openai-plain.test"),
    "TRACE": ("TRACE /v1/files HTTP/1.1", "openai-plain.test"),
    "an unknown method": ("PROPFIND /v1/files HTTP/1.1", "openai-plain.test"),
    "no slash": ("GET v1/files HTTP/1.1", "openai-plain.test"),
    "dots and parameters": ("GET /v1/files/..;/..;/admin HTTP/1.1", "openai-plain.test"),
    "dots encoded twice": ("GET /v1/files/%252e%252e/admin HTTP/1.1", "openai-plain.test"),
    "an encoded slash and dots": ("GET /v1/files/x%2f..%2f..%2fadmin HTTP/1.1", "openai-plain.test"),
    "a backslash": ("GET /v1/files/..\\admin HTTP/1.1", "openai-plain.test"),
    "an encoded line end": ("GET /v1/files/x%0d%0aHost:%20evil HTTP/1.1", "openai-plain.test"),
    "an encoded NUL": ("GET /v1/files/..%00/x HTTP/1.1", "openai-plain.test"),
    "dots in a vendor's own API": ("GET /api/v1/../../admin HTTP/1.1", "qwen-original.test"),
    "encoded dots in it": ("GET /api/v1/%2e%2e/admin HTTP/1.1", "qwen-original.test"),
    "parameters in it": ("GET /compatible-mode/..;/admin HTTP/1.1", "qwen-original.test"),
    "a path outside of it": ("GET /admin HTTP/1.1", "qwen-original.test"),
}


def said(gateway: Gateway, line: str, host: str) -> Answer:
    with Connection(gateway.port) as connection:
        connection.send(f"{line}\r\nhost: {host}\r\nauthorization: Bearer client\r\n\r\n".encode("latin-1"))
        answer = connection.answer()
    check_leaks(answer)
    return answer


@pytest.mark.parametrize("form", FORMS)
def test_an_unwelcome_form_is_an_error_and_reaches_nobody(gateway: Gateway, simulator: Simulator, form: str) -> None:
    before = len(simulator.requests(""))
    answer = said(gateway, *FORMS[form])
    assert 400 <= answer.status < 500, answer
    assert answer.error["type"] == "invalid_request_error"
    assert len(simulator.requests("")) == before


def test_absolute_form_names_the_gateway_and_the_vendor_sees_its_own_host(
    gateway: Gateway, simulator: Simulator
) -> None:
    line = "GET http://openai-plain.test/v1/models/absolute-form?a=http://evil.test HTTP/1.1"
    said(gateway, line, "evil.test")
    assert simulator.request("absolute-form")["headers"]["host"] == "api.openai.com"


def test_a_client_cannot_choose_the_cluster(gateway: Gateway, simulator: Simulator) -> None:
    for name in ("x-ai-proxy-cluster", "X-AI-Proxy-Cluster"):
        answer = ask(gateway.port, "/v1/models", method="GET", host="openai-plain", headers={name: "ai_proxy_extproc"})
        assert answer.status == 200
