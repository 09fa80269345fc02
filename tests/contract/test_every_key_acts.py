"""What a configuration may say of retries, time limits and breakers acts: each key, alone and with its neighbours."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import json
import time
from typing import Any

import pytest

from . import processes
from .processes import Gateway, until
from .raw import Answer, ask, chat
from .scripted import Reply, Vendor, vendor
from .test_fallback import OPENAI, SSE

RETRIES = {
    "try": "{attempts: 1, perTryTimeout: 300ms}",
    "first-byte": "{attempts: 1, firstByteTimeout: 300ms}",
    "both": "{attempts: 1, perTryTimeout: 300ms, firstByteTimeout: 300ms}",
    "least": "{attempts: 1, perTryTimeout: 0.1ms}",
    "try-by-default": "{perTryTimeout: 300ms, on: [connect]}",
    "again-on-timeout": "{attempts: 3, perTryTimeout: 300ms, on: [timeout], backoff: {base: 1ms}}",
    "thrice": "{attempts: 3, on: [503], backoff: {base: 1ms, max: 1ms}}",
    "any": "{attempts: 2, on: [5xx], backoff: {base: 500ms}}",
    "reset": "{attempts: 2, on: [reset], backoff: {base: 0.1ms}}",
    "not-reset": "{attempts: 2, on: [connect]}",
    "hurry": "{attempts: 2, on: [429], backoff: {base: 1ms, retryAfterMax: 100ms}}",
    "once": "{attempts: 1}",
}
"""The `retry` of a route with one provider; with two the route is named `NAME-2`."""

PROVIDERS = {
    "vendor": "",
    "narrow": ", circuitBreakers: {maxRequests: 1}",
    "queue": ", circuitBreakers: {maxConnections: 1}",
    "short-queue": ", circuitBreakers: {maxConnections: 1, maxPendingRequests: 1}",
    "blanket": ", retryOnFailure: {enabled: true, maxRetries: 2, retryTimeout: 300, retryOnStatus: ['500']}",
    "brief": ", idleTimeout: 200ms",
}
"""Provider → its keys; each has a route of its name."""


def _config(places: tuple[str, str]) -> str:
    row = "  - {{id: {0}, type: openai, apiTokens: [sk-PLANTED-{0}], endpoint: {1}{2}}}"
    rows = [row.format(id, places[0], more) for id, more in PROVIDERS.items()]
    rows = [r if "outlier" in r else r[:-1] + ", outlierDetection: {consecutive5xx: 0}}" for r in rows]
    rows.append(row.format("other", places[1], ""))
    rows.append("routes:")
    for name, retry in RETRIES.items():
        rows.append(f"  - {{name: {name}, match: {{hosts: [{name}.test]}}, provider: vendor, retry: {retry}}}")
        two = "[{provider: vendor}, {provider: other}]"
        rows.append(f"  - {{name: {name}-2, match: {{hosts: [{name}-2.test]}}, provider: {two}, retry: {retry}}}")
    rows.append(
        f"  - {{name: m, match: {{hosts: [m.test], models: [~^a]}}, provider: vendor, retry: {RETRIES['try']}}}"
    )
    rows.extend(f"  - {{name: {id}, match: {{hosts: [{id}.test]}}, provider: {id}}}" for id in PROVIDERS)
    return "\n".join(["providers:", *rows, ""])


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[Vendor, Vendor]]:
    with vendor() as first, vendor() as second:
        yield first, second


@pytest.fixture(scope="module")
def running(vendors: tuple[Vendor, Vendor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("keys-act")
    path = directory / "gateway.yaml"
    path.write_text(_config((vendors[0].url, vendors[1].url)))
    with processes.gateway(directory, "--config", str(path)) as gateway:
        yield gateway


GOOD = (json.dumps(OPENAI).encode(),)
SLOW = Reply(200, GOOD, wait=1.0)


@pytest.fixture
def first(vendors: tuple[Vendor, Vendor]) -> Vendor:
    for one in vendors:
        one.requests.clear()
        one.replies, one.reply = [], Reply(200, GOOD)
    return vendors[0]


def timed_out(answer: Answer) -> bool:
    return (answer.status, answer.error["code"]) == (504, "upstream_timeout")


@pytest.mark.parametrize(
    ("host", "stream", "attempts"),
    [
        ("try", False, 1),
        ("try-2", False, 1),
        ("first-byte", True, 1),
        ("first-byte-2", True, 1),
        ("both", False, 1),
        ("both", True, 1),
        ("least", False, 1),
        ("try-by-default", False, 1),
        ("m", False, 1),
        ("again-on-timeout", False, 3),
        ("blanket", False, 3),
    ],
)
def test_a_slow_vendor_is_not_waited_for(
    running: Gateway, first: Vendor, host: str, stream: bool, attempts: int
) -> None:
    first.reply = SLOW
    answer = ask(running.port, body=chat("x", "a", stream=stream), host=host)
    assert timed_out(answer)
    assert len(first.requests) == attempts or host == "least"


@pytest.mark.parametrize(("host", "stream"), [("first-byte", False), ("try", True), ("once", False)])
def test_a_limit_of_the_one_kind_is_none_of_the_other(running: Gateway, first: Vendor, host: str, stream: bool) -> None:
    event = b"data: " + GOOD[0].replace(b'"message"', b'"delta"') + b"\n\ndata: [DONE]\n\n"
    first.reply = Reply(200, (event,), SSE, wait=0.6) if stream else Reply(200, GOOD, wait=0.6)
    answer = ask(running.port, body=chat("x", "a", stream=stream), host=host)
    assert (answer.status, len(first.requests)) == (200, 1)


@pytest.mark.parametrize("host", ["try", "m"])
def test_uploads_and_lists_have_the_limit_too(running: Gateway, first: Vendor, host: str) -> None:
    first.reply = SLOW
    if host == "try":
        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert timed_out(ask(running.port, "/v1/files", b"--b--", host=host, headers=headers))
    first.handler.do_GET = first.handler.do_POST  # type: ignore[attr-defined]
    assert timed_out(ask(running.port, "/v1/models", host=host, method="GET"))


TRIES: dict[str, tuple[Reply, int]] = {
    "thrice": (Reply(503), 3),
    "any": (Reply(500), 2),
    "reset": (Reply(pieces=(), end="reset"), 2),
    "not-reset": (Reply(pieces=(), end="reset"), 1),
    "once": (Reply(503), 1),
    "vendor": (Reply(503), 1),
    "blanket": (Reply(500), 3),
}


@pytest.mark.parametrize("host", TRIES)
def test_how_often_a_vendor_is_asked(running: Gateway, first: Vendor, host: str) -> None:
    first.reply, attempts = TRIES[host]
    assert ask(running.port, body=chat("x"), host=host).status >= 500
    assert len(first.requests) == attempts


def test_a_retry_after_beyond_the_limit_is_not_waited_for(running: Gateway, first: Vendor) -> None:
    first.replies = [Reply(429, headers={"retry-after": "5"})]
    started = time.monotonic()
    assert ask(running.port, body=chat("x"), host="hurry").status == 200
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(("host", "refused"), [("narrow", 1), ("queue", 0), ("short-queue", 1)])
def test_breakers(running: Gateway, first: Vendor, host: str, refused: int) -> None:
    """At least so many of six at a time. Each of Envoy's two threads has a connection in any case."""
    first.reply = Reply(200, GOOD, wait=1.0)

    def one(_: Any) -> int:
        return ask(running.port, body=chat("x"), host=host).status

    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(one, range(6)))
    assert set(statuses) <= {200, 503}
    assert (statuses.count(503) >= refused) if refused else statuses == [200] * 6


def test_an_idle_connection_is_given_up_before_the_vendor_gives_it_up(running: Gateway, first: Vendor) -> None:
    closed = []

    def finish(handler: Any) -> None:
        closed.append(handler.client_address)

    first.handler.finish = finish  # type: ignore[method-assign]
    try:
        ask(running.port, body=chat("x"), host="vendor")
        assert ask(running.port, body=chat("x"), host="brief").status == 200
        until(lambda: closed, "Envoy closes the connection")
        assert len(closed) == 1
    finally:
        del first.handler.finish
