"""What a configuration may say of retries, time limits and breakers acts: each key, alone and with its neighbours."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
import json
import threading
from typing import Any

import pytest

from . import processes
from .processes import Gateway, until
from .raw import Answer, ask, chat
from .scripted import Reply, Vendor, vendor
from .test_fallback import OPENAI, SSE

RETRIES = {
    "try": "{attempts: 1, perTryTimeout: 1500ms}",
    "first-byte": "{attempts: 1, firstByteTimeout: 1500ms}",
    "both": "{attempts: 1, perTryTimeout: 1500ms, firstByteTimeout: 1500ms}",
    "least": "{attempts: 1, perTryTimeout: 0.1ms}",
    "try-by-default": "{perTryTimeout: 1500ms, on: [connect]}",
    "again-on-timeout": "{attempts: 3, perTryTimeout: 1500ms, on: [timeout], backoff: {base: 1ms}}",
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
    "blanket": ", retryOnFailure: {enabled: true, maxRetries: 2, retryTimeout: 1500, retryOnStatus: ['500']}",
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
Ask = tuple[str, bool]


@pytest.fixture
def first(vendors: tuple[Vendor, Vendor]) -> Vendor:
    for one in vendors:
        one.requests.clear()
        one.replies, one.reply = [], Reply(200, GOOD)
    return vendors[0]


def timed_out(answer: Answer) -> bool:
    return (answer.status, answer.error["code"]) == (504, "upstream_timeout")


@pytest.fixture
def never(first: Vendor) -> Iterator[None]:
    """The vendor answers nobody before the test is over."""
    over = threading.Event()
    first.reply = Reply(200, GOOD, wait=over)
    yield
    over.set()


def together(port: int, asks: Iterable[Ask]) -> dict[Ask, Answer]:
    """The answers to chats whose text is host and stream, all asked at a time."""

    def one(asked: Ask) -> Answer:
        host, stream = asked
        return ask(port, body=chat(f"{host} {stream}", "a", stream=stream), host=host)

    with ThreadPoolExecutor(16) as threads:
        return dict(zip(asks, threads.map(one, asks), strict=True))


def attempts(vendor: Vendor) -> Counter[Ask]:
    words = [str(json.loads(seen.body)["messages"][0]["content"]).split() for seen in vendor.requests]
    return Counter((host, stream == "True") for host, stream in words)


NOT_WAITED_FOR: dict[Ask, int] = {
    ("try", False): 1,
    ("try-2", False): 1,
    ("first-byte", True): 1,
    ("first-byte-2", True): 1,
    ("both", False): 1,
    ("both", True): 1,
    ("least", False): 1,
    ("try-by-default", False): 1,
    ("m", False): 1,
    ("again-on-timeout", False): 3,
    ("blanket", False): 3,
}
"""What is asked → how often the vendor is."""


@pytest.mark.usefixtures("never")
def test_a_slow_vendor_is_not_waited_for(running: Gateway, first: Vendor) -> None:
    answers = together(running.port, NOT_WAITED_FOR)
    assert [asked for asked, answer in answers.items() if not timed_out(answer)] == []
    seen = attempts(first) | Counter({("least", False): 1})  # that one may end before the vendor sees it
    assert seen == NOT_WAITED_FOR


def test_a_limit_of_the_one_kind_is_none_of_the_other(running: Gateway, first: Vendor) -> None:
    event = b"data: " + GOOD[0].replace(b'"message"', b'"delta"') + b"\n\ndata: [DONE]\n\n"
    for reply, asks in (
        (Reply(200, GOOD, wait=2.0), [("first-byte", False), ("once", False)]),
        (Reply(200, (event,), SSE, wait=2.0), [("try", True)]),
    ):
        first.reply = reply
        assert {asked: answer.status for asked, answer in together(running.port, asks).items()} == dict.fromkeys(
            asks, 200
        )
    assert set(attempts(first).values()) == {1}


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("host", ["try", "m"])
def test_uploads_and_lists_have_the_limit_too(running: Gateway, first: Vendor, host: str) -> None:
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
    first.replies = [Reply(429, headers={"retry-after": "600"})]
    assert ask(running.port, body=chat("x"), host="hurry").status == 200


@pytest.mark.parametrize(("host", "refused"), [("narrow", 1), ("queue", 0), ("short-queue", 1)])
def test_breakers(running: Gateway, first: Vendor, host: str, refused: int) -> None:
    """At least so many of six at a time. Each of Envoy's two threads has a connection in any case."""
    go, statuses = threading.Event(), []
    first.reply = Reply(200, GOOD, wait=go)

    def one(_: Any) -> None:
        statuses.append(ask(running.port, body=chat("x"), host=host).status)

    with ThreadPoolExecutor(6) as threads:
        asked = threads.map(one, range(6))
        try:
            until(
                lambda: first.requests and statuses.count(503) >= refused, "the vendor has one, the others are refused"
            )
        finally:
            go.set()
        list(asked)
    assert set(statuses) == ({200, 503} if refused else {200})


def test_an_idle_connection_is_given_up_before_the_vendor_gives_it_up(running: Gateway, first: Vendor) -> None:
    closed = []

    def finish(handler: Any) -> None:
        closed.append(handler.client_address)

    first.handler.finish = finish  # type: ignore[method-assign]
    try:
        ask(running.port, body=chat("x"), host="vendor")
        assert ask(running.port, body=chat("x"), host="brief").status == 200
        kept, brief = (request.peer for request in first.requests)
        until(lambda: brief in closed, "Envoy closes the connection")
        assert kept not in closed
    finally:
        del first.handler.finish
