"""`/metrics` of a running gateway: all workers together, and nothing is lost when one is replaced."""

from collections.abc import Callable, Iterator
import json
import os
from pathlib import Path
import signal
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
import pytest

from . import processes
from .conftest import Simulator
from .processes import Gateway, until
from .raw import ask, chat
from .test_life import alive

Samples = dict[str, float]


def scrape(gateway: Gateway) -> Samples:
    """Name and labels, without those that are empty, → value."""
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(f"{gateway.admin}/metrics", headers=accept)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        text = answer.read().decode()
    return {
        " ".join((s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()) if v))): s.value
        for family in openmetrics(text)
        for s in family.samples
    }


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path, placement: tuple[str, ...]) -> Iterator[Gateway]:
    qwen = {
        "type": "qwen",
        "apiTokens": ["sk-sim-PLANTED-1", "sk-sim-PLANTED-2"],
        "endpoint": simulator.url,
        "modelMapping": {"m": "qwen-max"},
    }
    away = {"type": "openai", "apiTokens": ["sk-sim-PLANTED"], "endpoint": f"http://127.0.0.1:{processes.free_port()}"}
    routes = [
        {"name": "away", "match": {"models": ["gone"]}, "provider": "openai"},
        {"name": "main", "match": {"models": ["m", "new"]}, "provider": "qwen"},
    ]
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"providers": [qwen, away], "routes": routes, "workers": 2}))
    with processes.gateway(tmp_path / "run", "--config", str(path), *placement) as running:
        yield running


def total(samples: Samples, name: str, **labels: str) -> float:
    wanted = {f"{k}={v}" for k, v in labels.items()}
    return sum(v for n, v in samples.items() if n.split(" ")[0] == name and wanted <= set(n.split(" ")[1:]))


def test_all_workers_are_summed_and_nothing_goes_down_when_they_are_replaced(gateway: Gateway) -> None:
    def exchanges(**labels: str) -> Callable[[], float]:
        return lambda: total(scrape(gateway), "ai_proxy_exchanges_total", **labels)

    before = gateway.process.workers()
    for n in range(10):
        assert ask(gateway.port, body=chat("x", stream=n % 2 == 0, model="m")).status == 200
    assert ask(gateway.port, body=chat("x", model="nobody-knows")).status == 404
    assert ask(gateway.port, body=chat("x [[sim:status=429]]", model="m")).status == 429
    os.kill(gateway.process.popen.pid, signal.SIGHUP)  # at once: what was not told yet is told at the end
    until(lambda: exchanges(status="2xx", route="main", provider="qwen", model="qwen-max")() == 10, "all are counted")
    until(exchanges(status="4xx"), "and the refusals")
    until(lambda: not any(map(alive, before)), "the former ones are gone")
    assert ask(gateway.port, body=chat("x", model="m")).status == 200
    until(lambda: exchanges(status="2xx")() == 11, "the successors count on")
    said = scrape(gateway)
    kind = {"route": "main", "provider": "qwen", "model": "qwen-max"}
    assert total(said, "ai_proxy_tokens_total", kind="input", **kind) > 10
    assert total(said, "ai_proxy_refusals_total", code="model_not_found") == 1
    assert total(said, "ai_proxy_key_rests_total") == total(said, "ai_proxy_keys", state="resting") == 0
    assert total(said, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="qwen-max") == 5
    assert total(said, "gen_ai_server_request_duration_seconds_count", gen_ai_request_model="qwen-max") == 12
    assert total(said, "ai_proxy_workers") == 2
    assert "nobody-knows" not in str(said)
    for worker in gateway.process.workers():
        os.kill(worker, signal.SIGKILL)
    assert exchanges(status="2xx")() == 11
