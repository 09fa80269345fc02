"""Budgets in money through a real Envoy: what vendors tell times the prices is what was spent, in every place that
shows it, to the last digit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import contextlib
from decimal import Decimal
import json
from pathlib import Path
import subprocess
import sys
import threading
from typing import Any

import pytest

from . import processes, scripted
from .conftest import check_logs
from .processes import Gateway, until
from .raw import Answer, Connection, ask, chat, head
from .scripted import Reply
from .test_metrics import scrape, total

CONFIG = """
providers:
  - {id: dear, type: openai, openaiCustomUrl: DEAR/v1}
  - {id: cheap, type: openai, openaiCustomUrl: CHEAP/v1, modelMapping: {"*": cheap-1}}
prices:
  dear: {m: {input: 3.1, cachedInput: 0.31, output: 12.7}}
  cheap: {cheap-1: {input: 0.7, output: 2.3}}
routes:
  - name: all
    provider: [{provider: dear}, {provider: cheap}]
    retry: {"on": [5xx]}
clients:
  - {name: sums, key: key-of-sums-0001, limits: [{usd: 100, per: month}]}
  - {name: spends, key: key-of-spends-0001, limits: [{usd: 0.01, per: month, zone: Asia/Shanghai}]}
  - {name: warned, key: key-of-warned-0001, limits: [{usd: 1, per: month, warnAt: 0.01}]}
  - {name: cut, key: key-of-cut-0001, limits: [{usd: 100, per: month}]}
  - {name: fails, key: key-of-fails-0001, limits: [{usd: 100, per: month}]}
usage: {store: usage.db}
"""
SSE = {"content-type": "text/event-stream"}
MILLION = Decimal(1_000_000)


def dear(input: int, cached: int, output: int) -> Decimal:
    return ((input - cached) * Decimal("3.1") + cached * Decimal("0.31") + output * Decimal("12.7")) / MILLION


def cheap(input: int, output: int) -> Decimal:
    return (input * Decimal("0.7") + output * Decimal("2.3")) / MILLION


def usage(input: int, cached: int, output: int) -> dict[str, Any]:
    details = {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output, **details}


def whole(**more: Any) -> Reply:
    message = {"index": 0, "message": {"role": "assistant", "content": "w"}, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [message], **more}
    return Reply(200, (json.dumps(answer).encode(),))


def event(**more: Any) -> bytes:
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, **more}).encode() + b"\n\n"
    )


SAID = tuple(
    event(choices=[{"index": 0, "delta": {"content": f"word {n} "}, "finish_reason": None}]) for n in range(20)
)
LAST = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])


def streamed(told: dict[str, Any]) -> Reply:
    return Reply(200, (*SAID, LAST, event(choices=[], usage=told), b"data: [DONE]\n\n"), SSE)


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[scripted.Vendor, scripted.Vendor]]:
    with scripted.vendor() as first, scripted.vendor() as second:
        yield first, second


@pytest.fixture(scope="module")
def gateway(
    vendors: tuple[scripted.Vendor, scripted.Vendor], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("money")
    path = directory / "gateway.yaml"
    path.write_text(CONFIG.replace("DEAR", vendors[0].url).replace("CHEAP", vendors[1].url))
    with processes.gateway(directory, "--config", str(path), "--workers", "2") as running:
        yield running
    check_logs(running)


def asked(gateway: Gateway, who: str, **more: Any) -> Answer:
    headers = {"authorization": f"Bearer key-of-{who}-0001"}
    return ask(gateway.port, f"/{who}/v1/chat/completions", chat("hello", "m", **more), headers=headers)


def admin(gateway: Gateway, path: str) -> Any:
    return json.load(processes.urlopen(f"{gateway.admin}{path}"))


def limit(gateway: Gateway, who: str) -> dict[str, Any]:
    found = [one for one in admin(gateway, "/limits")["limits"] if f"client {who}" in one["limit"]]
    return found[0] if found else {"used": "0"}


def logged(gateway: Gateway, who: str) -> list[dict[str, Any]]:
    return gateway.exchanges(f"/{who}/")


def same_everywhere(gateway: Gateway, who: str, cost: Decimal) -> None:
    """The log, the limit, `/usage`, `extproc usage` and `/metrics` say that a client spent `cost`."""
    assert sum(Decimal(line.get("cost", 0)) for line in logged(gateway, who)) == cost
    assert {line["currency"] for line in logged(gateway, who) if "cost" in line} == {"USD"}
    until(lambda: Decimal(limit(gateway, who)["used"]) == cost, "all is settled")

    def rows() -> Any:
        return admin(gateway, f"/usage?client={who}&by=model,provider")["rows"]

    until(lambda: sum(Decimal(row["cost"].get("USD", 0)) for row in rows()) == cost, "all is in the books")
    place = gateway.admin.removeprefix("http://")
    command = [sys.executable, "-m", "extproc", "usage", "--admin", place, "--client", who, "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    assert sum(Decimal(row["cost"].get("USD", 0)) for row in json.loads(shown.stdout)["rows"]) == cost
    metric = total(scrape(gateway), "ai_proxy_cost_total", client=who, currency="USD")
    assert abs(Decimal(metric) - cost) <= Decimal("1e-15")  # a scraper's numbers are floats


def test_sums_are_the_vendors_books_times_the_prices(
    gateway: Gateway, vendors: tuple[scripted.Vendor, scripted.Vendor]
) -> None:
    book = Decimal()
    for n in range(1, 8):
        counts = (1000 * n + 1, 300 * n + 7, 33 * n)
        book += 3 * dear(*counts)
        vendors[0].reply = whole(usage=usage(*counts))
        assert asked(gateway, "sums").status == 200
        vendors[0].reply = streamed(usage(*counts))
        told = asked(gateway, "sums", stream=True, stream_options={"include_usage": True})
        untold = asked(gateway, "sums", stream=True)
        assert (told.complete, untold.complete) == (True, True)
        assert (b'"usage"' in told.body, b'"usage"' in untold.body) == (True, False)
    until(lambda: len(logged(gateway, "sums")) == 21, "all are logged")
    same_everywhere(gateway, "sums", book)


def test_a_budget_is_spent_and_then_refused(gateway: Gateway, vendors: tuple[scripted.Vendor, scripted.Vendor]) -> None:
    counts = (1000, 100, 50)
    vendors[0].reply = whole(usage=usage(*counts))
    answers = []
    while (answer := asked(gateway, "spends", max_tokens=50)).status == 200:
        answers.append(answer)
        assert len(answers) < 20
    assert len(answers) == 3  # 0.003456 each: begins as long as less than 0.01 is used
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert "per month for client spends" in answer.error["message"]
    assert int(answer.headers["retry-after"]) > 60
    assert answer.headers["x-should-retry"] == "false"
    until(lambda: len(logged(gateway, "spends")) == 4, "all are logged")
    same_everywhere(gateway, "spends", 3 * dear(*counts))


def test_little_is_left_of_a_budget(gateway: Gateway, vendors: tuple[scripted.Vendor, scripted.Vendor]) -> None:
    """A worker learns within a second what the others let through, so not every answer knows."""
    vendors[0].reply = whole(usage=usage(1000, 100, 50))
    share = until(lambda: asked(gateway, "warned", max_tokens=50).headers.get("x-ai-budget"), "it is told")
    assert share.endswith("%")
    assert 1 <= int(share[:-1]) < 100


def test_a_cut_stream_and_one_that_its_client_leaves_cost_an_estimate(
    gateway: Gateway, vendors: tuple[scripted.Vendor, scripted.Vendor]
) -> None:
    body = json.dumps(chat("hello", "m", stream=True)).encode()
    headers = (("host", "any"), ("authorization", "Bearer key-of-cut-0001"), ("content-type", "application/json"),
               ("content-length", str(len(body))))  # fmt: skip
    for logs, cut_by in enumerate(("vendor_cut", "client_left")):
        read = threading.Event()
        vendors[0].reply = Reply(200, (*SAID, read), SSE, end="reset")
        with contextlib.closing(Connection(gateway.port).socket) as client:
            client.settimeout(60)
            client.sendall(head("POST", "/cut/v1/chat/completions", headers) + body)
            seen = b""
            while b"word 19" not in seen:
                seen += client.recv(10_000)
            if cut_by == "vendor_cut":
                read.set()
                while client.recv(10_000):
                    pass
        until(lambda logs=logs: len(logged(gateway, "cut")) > logs, "it is logged")
        read.set()
        line = logged(gateway, "cut")[-1]
        assert line["error"] == cut_by
        assert line["estimated"] is True
        assert Decimal(line["cost"]) == dear(line["prompt_tokens"], 0, line["completion_tokens"])
        assert line["completion_tokens"] > 0
    same_everywhere(gateway, "cut", sum((Decimal(line["cost"]) for line in logged(gateway, "cut")), Decimal()))


def test_a_failed_attempt_costs_what_its_vendor_told(
    gateway: Gateway, vendors: tuple[scripted.Vendor, scripted.Vendor]
) -> None:
    """And leaves no reservation: BerriAI/litellm#27639 (2026) lost them where a request failed."""
    first, second = vendors
    second.reply = whole(usage=usage(500, 0, 20))
    first.reply = Reply(503, (b'{"error":{"message":"late","type":"t","code":"c"}}',))
    assert asked(gateway, "fails").headers["x-ai-provider"] == "cheap"
    book = cheap(500, 20)
    told = {"error": {"message": "late", "type": "t", "code": "c"}, "usage": usage(900, 0, 10)}
    first.reply = Reply(503, (json.dumps(told).encode(),))
    assert asked(gateway, "fails").headers["x-ai-provider"] == "cheap"
    book += cheap(500, 20) + dear(900, 0, 10)
    until(lambda: len(logged(gateway, "fails")) == 4, "all attempts are logged")
    same_everywhere(gateway, "fails", book)


def test_a_price_changes_and_a_client_goes_and_comes_back_while_requests_are_under_way(
    vendors: tuple[scripted.Vendor, scripted.Vendor], tmp_path: Path
) -> None:
    """What began under a price costs that price; what a client had used is still used when it is back."""
    path = tmp_path / "gateway.yaml"
    began = CONFIG.replace("DEAR", vendors[0].url).replace("CHEAP", vendors[1].url)
    path.write_text(began)
    with processes.gateway(tmp_path, "--config", str(path), "--workers", "2") as gateway, ThreadPoolExecutor(1) as pool:

        def change(text: str, times: int) -> None:
            path.write_text(text)
            until(lambda: len(gateway.events("configuration changed")) == times, "the change is served")

        vendors[0].reply = whole(usage=usage(1000, 0, 100))
        assert asked(gateway, "sums").status == 200
        until(lambda: Decimal(limit(gateway, "sums")["used"]) == dear(1000, 0, 100), "it is settled")
        end = threading.Event()
        said = (*SAID, end, LAST, event(choices=[], usage=usage(2000, 0, 200)), b"data: [DONE]\n\n")
        vendors[0].replies = [Reply(200, said, SSE)]
        asked_before = len(vendors[0].requests)
        under_way = pool.submit(asked, gateway, "sums", stream=True, max_tokens=300)
        until(lambda: len(vendors[0].requests) > asked_before, "the vendor has it")
        gone = began.replace("  - {name: sums, key: key-of-sums-0001, limits: [{usd: 100, per: month}]}\n", "")
        change(gone.replace("input: 3.1,", "input: 6.2,").replace("output: 12.7", "output: 25.4"), 1)
        assert asked(gateway, "sums").status == 401
        assert asked(gateway, "cut").status == 200
        end.set()
        assert under_way.result(60).status == 200
        until(lambda: Decimal(limit(gateway, "cut")["used"]) == 2 * dear(1000, 0, 100), "the new price")
        change(began, 2)
        book = dear(1000, 0, 100) + dear(2000, 0, 200)
        until(lambda: Decimal(limit(gateway, "sums")["used"]) == book, "the old price, for what began under it")
        assert asked(gateway, "sums").status == 200
        until(lambda: sum("cost" in line for line in logged(gateway, "sums")) == 3, "all are logged")
        same_everywhere(gateway, "sums", book + dear(1000, 0, 100))
