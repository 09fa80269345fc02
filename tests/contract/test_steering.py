"""Clients cannot steer Envoy: no header that its router reads has a request asked twice, cut short, or sent elsewhere.

They come from loopback, a private network, and without `x-forwarded-for`: as if from Envoy's own fleet.
"""

from collections.abc import Iterator
import json

import pytest

from . import processes
from .processes import Gateway
from .raw import ask, chat
from .scripted import Reply, Vendor, vendor
from .test_fallback import OPENAI

ROUTER_HEADERS = {
    "x-envoy-max-retries": "5",
    "x-envoy-retry-on": "5xx,gateway-error,reset,retriable-4xx,retriable-status-codes,retriable-headers",
    "x-envoy-retry-grpc-on": "unavailable,internal,cancelled,deadline-exceeded,resource-exhausted",
    "x-envoy-retriable-status-codes": "200,400,404,429,503",
    "x-envoy-retriable-header-names": "content-type",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-timeout-alt-response": "1",
    "x-envoy-upstream-stream-duration-ms": "1",
    "x-envoy-upstream-alt-stat-name": "steered",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-is-timeout-retry": "true",
    "x-envoy-attempt-count": "7",
    "x-envoy-decorator-operation": "steered",
    "x-envoy-original-path": "/steered",
    "x-envoy-original-host": "steered.test",
    "x-envoy-original-method": "DELETE",
    "x-envoy-original-url": "https://steered.test/",
    "x-envoy-original-dst-host": "127.0.0.1:1",
    "x-envoy-external-address": "203.0.113.7",
    "x-envoy-internal": "true",
    "x-envoy-force-trace": "1",
    "x-envoy-ip-tags": "steered",
    "x-envoy-downstream-service-cluster": "steered",
    "x-envoy-downstream-service-node": "steered",
    "x-envoy-peer-metadata": "steered",
    "x-envoy-peer-metadata-id": "steered",
    "x-envoy-overloaded": "1",
    "x-envoy-local-overloaded": "1",
    "x-envoy-ratelimited": "1",
    "x-envoy-degraded": "1",
    "x-envoy-immediate-health-check-fail": "1",
    "x-envoy-fault-abort-request": "418",
    "x-envoy-fault-abort-request-percentage": "100",
    "x-envoy-fault-delay-request": "5000",
    "x-envoy-fault-delay-request-percentage": "100",
    "x-envoy-fault-throughput-response": "1",
    "x-envoy-upstream-healthchecked-cluster": "steered",
}
"""Those of Envoy's documentation, and all that its binary names (1.36.4, 1.40.0; Istio's two)."""

OURS = {"x-ai-proxy-cluster": "other", "X-AI-Proxy-Cluster": "other", "x-ai-proxy-provider": "other"}

_PAIRS = ("x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names")
CASES = {
    **{name: {name: value} for name, value in {**ROUTER_HEADERS, **OURS}.items()},
    "retries": {name: ROUTER_HEADERS[name] for name in _PAIRS},
    "grpc": {name: ROUTER_HEADERS[name] for name in ("x-envoy-max-retries", "x-envoy-retry-grpc-on")},
    "hedged": {
        **{name: ROUTER_HEADERS[name] for name in _PAIRS},
        "x-envoy-hedge-on-per-try-timeout": "true",
        "x-envoy-upstream-rq-per-try-timeout-ms": "20",
    },
    "unusual case": {name.title(): value for name, value in ROUTER_HEADERS.items()},
    "everything": {**ROUTER_HEADERS, **OURS},
}

CONFIG = """\
providers:
  - {id: vendor, type: openai, apiTokens: [sk-PLANTED-vendor], endpoint: VENDORMORE}
  - {id: other, type: openai, apiTokens: [sk-PLANTED-other], endpoint: OTHERMORE}
routes:
  - {name: alone, match: {hosts: [alone.test]}, provider: vendor}
"""
EJECTS_NOBODY = ", outlierDetection: {consecutive5xx: 0}"
FALLBACK = "  - {name: two, match: {hosts: [two.test]}, provider: [{provider: vendor}, {provider: other}]}\n"


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[Vendor, Vendor]]:
    with vendor() as first, vendor() as second:
        yield first, second


@pytest.fixture(scope="module")
def running(
    placement: tuple[str, ...], vendors: tuple[Vendor, Vendor], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("steering")
    upstream = "upstream" in placement
    config = CONFIG.replace("MORE", EJECTS_NOBODY if upstream else "") + (FALLBACK if upstream else "")
    for name, one in zip(("VENDOR", "OTHER"), vendors, strict=True):
        config = config.replace(name, one.url)
    path = directory / "gateway.yaml"
    path.write_text(config)
    with processes.gateway(directory, "--config", str(path), *placement) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def fresh(vendors: tuple[Vendor, Vendor]) -> None:
    for one in vendors:
        one.requests.clear()
        one.replies, one.reply = [], Reply(200, (json.dumps(OPENAI).encode(),))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reply", ["slow", "failing", "refusing"])
def test_one_request_stays_one_and_time_limits_are_not_the_client_s(
    running: Gateway, vendors: tuple[Vendor, Vendor], case: str, reply: str
) -> None:
    first, other = vendors
    slow = Reply(200, (json.dumps(OPENAI).encode(),), wait=0.1)
    first.reply = {"slow": slow, "failing": Reply(503), "refusing": Reply(429)}[reply]
    answer = ask(running.port, body=chat("x"), host="alone", headers=CASES[case])
    assert answer.status == first.reply.status
    [request] = first.requests
    assert request.path == "/v1/chat/completions"
    assert not [name for name in request.headers if name.startswith(("x-envoy-", "x-ai-proxy-"))]
    assert other.requests == []


@pytest.mark.parametrize("limit", ["0", "9"])
def test_how_often_the_next_vendor_is_asked_is_the_route_s_to_say(
    running: Gateway, vendors: tuple[Vendor, Vendor], placement: tuple[str, ...], limit: str
) -> None:
    if "upstream" not in placement:
        return  # a route has one vendor there
    first, other = vendors
    first.reply = other.reply = Reply(503)
    steered = {"x-envoy-max-retries": limit, "x-envoy-attempt-count": "5"}
    answer = ask(running.port, body=chat("x"), host="two", headers=steered)
    assert (answer.status, answer.headers["x-ai-attempts"]) == (503, "2")
    assert [len(one.requests) for one in vendors] == [1, 1]
