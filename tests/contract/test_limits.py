"""Limits of use through a real Envoy with several workers: what is let through, what it costs, what a kill leaves."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
import contextlib
import json
import os
from pathlib import Path
import signal
import threading
from typing import Any

import httpx
import pytest
import redis

from . import processes, stores
from .processes import Gateway, until

CONFIG = """
providers:
  - {{id: main, type: qwen, apiTokens: [sk-sim-1], endpoint: "{url}"}}
  - {{id: spare, type: moonshot, apiTokens: [sk-sim-2], endpoint: "{url}", modelMapping: {{"*": kimi-k2.5}}}}
routes:
  - name: all
    provider: [{{provider: main}}, {{provider: spare}}]
    retry: {{"on": [429, 5xx]}}
clients:
  - {{name: few, key: key-of-few-0001, limits: [{{requests: 7, per: day}}]}}
  - {{name: tokens, key: key-of-tokens-0001, limits: [{{tokens: 2000, per: day}}]}}
  - {{name: slots, key: key-of-slots-0001, limits: [{{concurrent: 3}}]}}
  - {{name: sums, key: key-of-sums-0001, limits: [{{tokens: 100000000, per: month}}, {{requests: 100000, per: hour}}]}}
usage: {{store: usage.db}}
"""


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with processes.simulator(tmp_path_factory.mktemp("vendors")) as url:
        yield url


@pytest.fixture(scope="module")
def gateway(vendors: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("limits")
    path = directory / "c.yaml"
    path.write_text(CONFIG.format(url=vendors))
    with processes.gateway(directory, "--config", str(path), "--workers", "3") as running:
        yield running


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=64)
    with httpx.Client(base_url=gateway.base, trust_env=False, timeout=processes.PATIENCE, limits=limits) as client:
        yield client


def ask(http: httpx.Client, who: str, text: str = "hi", **more: Any) -> httpx.Response:
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": text}], **more}
    return http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer key-of-{who}-0001"})


def many(http: httpx.Client, count: int, who: str, **more: Any) -> list[httpx.Response]:
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda n: ask(http, who, **more), range(count)))


def three_at_a_time(vendors: str, ask_one: Callable[[int], httpx.Response]) -> None:
    """Of twelve, three are answered, and all others refused meanwhile."""
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask_one, n) for n in range(12)]
        until(lambda: sum(one.done() for one in asked) == 9, "nine are refused")
        assert [one.result().status_code for one in asked if one.done()] == [429] * 9
        httpx.post(f"{vendors}/__sim__/release", trust_env=False, timeout=processes.PATIENCE)
        assert sorted(one.result().status_code for one in asked) == [200] * 3 + [429] * 9


def admin(gateway: Gateway, path: str) -> Any:
    return httpx.get(f"{gateway.admin}{path}", trust_env=False, timeout=processes.PATIENCE).json()


def used(gateway: Gateway, limit: str) -> int:
    found = [one["used"] for one in admin(gateway, "/limits")["limits"] if limit in one["limit"]]
    return int(found[0]) if found else 0


def test_so_many_requests_over_all_workers_and_no_more(gateway: Gateway, http: httpx.Client) -> None:
    answers = many(http, 30, "few")
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 23
    refused = next(answer for answer in answers if answer.status_code == 429)
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("quota_exceeded", "rate_limit_error")
    assert "7 requests per day for client few" in error["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    good = next(answer for answer in answers if answer.status_code == 200)
    assert good.headers["x-ratelimit-limit-requests"] == "7"
    messages = http.post(
        "/v1/messages",
        json={"model": "qwen-plus", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
        headers={"x-api-key": "key-of-few-0001"},
    )
    assert messages.status_code == 429
    assert messages.json()["error"]["type"] == "rate_limit_error"


def test_never_more_tokens_than_the_limit_and_one_reservation(gateway: Gateway, http: httpx.Client) -> None:
    reserved = 300
    answers = many(http, 60, "tokens", text="[[sim:tokens=90]]", max_tokens=reserved)
    spent = sum(answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200)
    assert {answer.status_code for answer in answers} == {200, 429}
    assert spent <= 2000 + reserved + 20
    while (answer := ask(http, "tokens", "[[sim:tokens=90]]", max_tokens=reserved)).status_code == 200:
        spent += answer.json()["usage"]["total_tokens"]
    assert 2000 <= spent <= 2000 + reserved + 20
    until(lambda: used(gateway, "for client tokens") == spent, "all is settled")


def test_so_many_at_a_time_and_a_place_is_free_at_once(vendors: str, gateway: Gateway, http: httpx.Client) -> None:
    three_at_a_time(vendors, lambda _: ask(http, "slots", "[[sim:hold]]"))
    assert [ask(http, "slots").status_code for _ in range(6)] == [200] * 6


def test_fallbacks_are_one_request_and_sums_are_the_vendors(gateway: Gateway, http: httpx.Client) -> None:
    told = 0
    asked = [("hi", False), ("你好 [[sim:status=503@qwen]]", False), ("hi", True), ("x [[sim:tokens=40]]", True)]
    for text, stream in asked:
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        answer = ask(http, "sums", text, **more)
        assert answer.status_code == 200, answer.text
        if stream:
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            told += next(event["usage"]["total_tokens"] for event in events if event.get("usage"))
        else:
            told += answer.json()["usage"]["total_tokens"]
    assert ask(http, "sums", "[[sim:status=400]]").status_code == 400
    until(lambda: used(gateway, "tokens per month for client sums") == told, "all is settled")
    until(lambda: used(gateway, "requests per hour for client sums") == 5, "so are requests, which leases let through")


def test_workers_that_are_replaced_give_back_what_they_were_lent(gateway: Gateway, http: httpx.Client) -> None:
    limit = "tokens per month for client sums"
    known, former, over = used(gateway, limit), set(gateway.process.workers()), threading.Event()

    def go_on() -> int:
        told = 0
        while not over.is_set():
            answer = ask(http, "sums")
            assert answer.status_code == 200, answer.text
            told += answer.json()["usage"]["total_tokens"]
        return told

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(go_on)
        try:
            gateway.process.popen.send_signal(signal.SIGHUP)
            until(lambda: not former & set(gateway.process.workers()), "all are replaced", 120)
        finally:
            over.set()
        known += told.result(60)
    until(lambda: used(gateway, limit) == known, "all that was lent is back")


def test_what_is_killed_had_used_what_it_reserved_and_the_counts_survive_all(
    gateway: Gateway, http: httpx.Client
) -> None:
    before = used(gateway, "tokens per month for client sums")
    with ThreadPoolExecutor(8) as pool:
        stream = {"stream": True, "max_tokens": 50_000}
        for _ in range(6):
            pool.submit(ask, http, "sums", "[[sim:delay=600]]", **stream)
        until(lambda: used(gateway, "tokens per month for client sums") > before + 100_000, "they are reserved")
        for pid in gateway.process.workers():
            os.kill(pid, signal.SIGKILL)
    until(lambda: ask(http, "sums").status_code == 200, "there are workers again")
    known = used(gateway, "tokens per month for client sums")
    most = before + 6 * 50_000 + 3 * 100_000_000 // 16  # a worker is lent a sixteenth of what is left at most
    assert before + 100_000 < known < most
    path = gateway.process.stdout.parent / "c.yaml"
    assert ask(http, "slots").status_code == 200
    gateway.process.popen.kill()
    gateway.process.popen.wait()
    with processes.gateway(path.parent / "again", "--config", str(path), "--workers", "1") as again:
        known, least = used(again, "tokens per month for client sums"), known - 50_000
        assert least < known < most
        with httpx.Client(base_url=again.base, trust_env=False, timeout=30) as other:
            known += ask(other, "sums").json()["usage"]["total_tokens"]
        again.process.popen.terminate()  # at once: what its worker was lent is not used
        again.process.popen.wait(60)
    with processes.gateway(path.parent / "third", "--config", str(path), "--workers", "1") as third:
        assert used(third, "tokens per month for client sums") == known


def test_two_gateways_on_one_redis_let_through_as_much_as_one(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(processes.simulator(tmp_path / "simulator"))
        server = stack.enter_context(stores.store(tmp_path))
        path = tmp_path / "c.yaml"
        path.write_text(
            CONFIG.format(url=url).replace("store: usage.db", "onFailure: refuse")
            + f"redis: {{url: {server.url}, timeout: 100s}}\n"
        )
        places = [tmp_path / name for name in ("one", "two")]
        options = ("--config", str(path), "--workers", "1")
        both = [stack.enter_context(processes.gateway(place, *options)) for place in places]
        https = [
            stack.enter_context(httpx.Client(base_url=one.base, trust_env=False, timeout=processes.PATIENCE))
            for one in both
        ]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: ask(https[n % 2], "few"), range(24)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 17
        assert ask(https[1], "slots").status_code == 200
        server.stop()
        until(lambda: ask(https[0], "sums").status_code == 503, "nobody knows what is left")
        assert ask(https[0], "sums").json()["error"]["code"] == "limits_unknown"
        server.start()
        until(lambda: ask(https[0], "sums").status_code == 200, "it is known again")
        assert len(both[0].events("limits are not shared: Redis is away, requests go by onFailure")) == 1


EVERYBODY = """
limits:
  - {each: client, match: {models: [qwen-*]}, tokens: 100000000, per: month}
  - {inputTokens: 100000000, per: hour}
"""


def test_three_nodes_of_a_redis_cluster_count_as_one_server(tmp_path: Path) -> None:
    """A client's names are on one node, those of what is everybody's on another: two scripts of one request."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(processes.simulator(tmp_path / "simulator"))
        ports = stack.enter_context(stores.cluster(tmp_path))
        path = tmp_path / "c.yaml"
        place = f"redis: {{url: 'redis://127.0.0.1:{ports[0]}', timeout: 100s}}"
        path.write_text(CONFIG.format(url=url).replace("store: usage.db", "onFailure: refuse") + place + EVERYBODY)
        options = ("--config", str(path), "--workers", "2")
        both = [stack.enter_context(processes.gateway(tmp_path / name, *options)) for name in ("one", "two")]
        https = [
            stack.enter_context(httpx.Client(base_url=one.base, trust_env=False, timeout=processes.PATIENCE))
            for one in both
        ]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: ask(https[n % 2], "few"), range(24)))
            assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 17
            three_at_a_time(url, lambda n: ask(https[n % 2], "slots", "[[sim:hold]]"))
            told = sum(
                answer.json()["usage"]["total_tokens"]
                for answer in pool.map(lambda n: ask(https[n % 2], "sums"), range(20))
            )
        spent = [told]

        def settled() -> bool:
            """What is used and reserved, but for this request's own small reservation, is what vendors told."""
            answer = ask(https[0], "sums", max_tokens=1)
            before = spent[0]
            spent[0] += answer.json()["usage"]["total_tokens"]
            return before < 100_000_000 - int(answer.headers["x-ratelimit-remaining-tokens"]) <= before + 100

        until(settled, "all is settled")
        kept = [int(redis.Redis(port=port).dbsize()) for port in ports]
        assert sum(1 for size in kept if size) > 1, kept
        assert not any(one.events("limits are not shared: Redis is away, requests go by onFailure") for one in both)
