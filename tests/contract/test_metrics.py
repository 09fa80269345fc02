"""What can be seen of a running gateway: metrics of all workers together, of which nothing is lost when one is
replaced, scraped and sent; and a trace from the client to the vendor.

Each placement is started once: two workers, a vendor that is away, and a receiver of OTLP.
"""

from collections.abc import Callable, Iterator
import json
import os
from pathlib import Path
import re
import signal
from typing import Any
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
import pytest

from tests.collector import Collector, attributes, collector
from tests.prometheus import prometheus

from . import processes
from .conftest import Simulator, check_logs
from .processes import Gateway, until
from .raw import ask, chat
from .test_life import alive

Samples = dict[str, float]


def scrape(gateway: Gateway) -> Samples:
    """Name and labels, without those that are empty, → value."""
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(f"{gateway.admin}/metrics", headers=accept)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=processes.PATIENCE
    ) as answer:
        text = answer.read().decode()
    return {
        " ".join((s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()) if v))): s.value
        for family in openmetrics(text)
        for s in family.samples
    }


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as listening:
        yield listening


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, receiver: Collector, tmp_path_factory: pytest.TempPathFactory, placement: tuple[str, ...]
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("seen")
    qwen = {
        "type": "qwen",
        "apiTokens": ["sk-sim-PLANTED-1", "sk-sim-PLANTED-2"],
        "endpoint": simulator.url,
        "modelMapping": {"m": "qwen-max"},
    }
    away = {"type": "openai", "apiTokens": ["sk-sim-PLANTED"], "endpoint": f"http://127.0.0.1:{processes.free_port()}"}
    routes: list[dict[str, Any]] = [
        {"name": "away", "match": {"models": ["gone"]}, "provider": "openai"},
        {"name": "main", "match": {"models": ["m", "new"]}, "provider": "qwen"},
    ]
    if "upstream" in placement:
        both = [{"provider": "openai"}, {"provider": "qwen"}]
        routes.append({"name": "both", "match": {"models": ["fallback"]}, "provider": both})
    telemetry = {"otlp": True, "traces": {"endpoint": receiver.grpc}}
    path = directory / "config.yaml"
    path.write_text(json.dumps({"providers": [qwen, away], "routes": routes, "workers": 2, "telemetry": telemetry}))
    sends = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    environ = processes.environment(**sends)
    with processes.gateway(directory / "run", "--config", str(path), *placement, environ=environ) as running:
        yield running
    check_logs(running)


def total(samples: Samples, name: str, **labels: str) -> float:
    wanted = {f"{k}={v}" for k, v in labels.items()}
    return sum(v for n, v in samples.items() if n.split(" ")[0] == name and wanted <= set(n.split(" ")[1:]))


def test_one_trace_leads_from_the_client_to_the_vendor(
    gateway: Gateway, receiver: Collector, simulator: Simulator, placement: tuple[str, ...]
) -> None:
    model = "fallback" if "upstream" in placement else "new"
    trace, mark = os.urandom(16), os.urandom(8).hex()
    headers = {"traceparent": f"00-{trace.hex()}-{'ab' * 8}-01", "authorization": "Bearer sk-the-client-s-own"}
    body = chat(f"CANARY {mark}", model=model)
    assert ask(gateway.port, "/v1/chat/completions?key=sk-PLANTED", body=body, headers=headers).status == 200
    attempts = 2 if model == "fallback" else 1

    def spans() -> list[Any]:
        """The request's, and those of its attempts; Envoy also tells of each question to the sidecar."""
        mine = [span for span in receiver.spans if span.trace_id == trace]
        found = [span for span in mine if attributes(span).get("upstream_cluster") != "ai_proxy_extproc"]
        return found if len(found) > attempts else []

    found = until(spans, "the trace is told")
    [root] = [span for span in found if span.parent_span_id == bytes.fromhex("ab" * 8)]
    children = [span for span in found if span.parent_span_id == root.span_id]
    assert len(found) == 1 + len(children) == 1 + attempts, [(span.name, attributes(span)) for span in found]
    said = attributes(root)
    assert said["gen_ai.provider.name"] == "qwen"
    assert said["url.path"] == "/v1/chat/completions"
    assert (said["ai_proxy.model"], said["gen_ai.request.model"]) == (model, model)
    assert int(said["gen_ai.usage.output_tokens"]) > 0
    assert len({child.span_id for child in children}) == attempts
    assert len({attributes(child)["upstream_address"] for child in children}) == attempts
    vendor_saw = simulator.request(mark)["headers"]["traceparent"].split("-")
    assert vendor_saw[1] == trace.hex()
    assert vendor_saw[2] in {child.span_id.hex() for child in children}
    assert not [secret for secret in ("CANARY", "PLANTED", "sk-") if secret in str(receiver.traces)]


def test_all_workers_are_summed_and_nothing_goes_down_when_they_are_replaced(
    gateway: Gateway, receiver: Collector
) -> None:
    def exchanges(**labels: str) -> Callable[[], float]:
        return lambda: total(scrape(gateway), "ai_proxy_exchanges_total", **labels)

    before = gateway.process.workers()
    for n in range(10):
        assert ask(gateway.port, body=chat("x", stream=n % 2 == 0, model="m")).status == 200
    assert ask(gateway.port, body=chat("x", model="nobody-knows")).status == 404
    assert ask(gateway.port, body=chat("x [[sim:status=429]]", model="m")).status == 429
    assert ask(gateway.port, body=chat("x", model="gone")).status == 503
    os.kill(gateway.process.popen.pid, signal.SIGHUP)  # at once: what was not told yet is told at the end
    until(lambda: exchanges(status="2xx", route="main", provider="qwen", model="qwen-max")() == 10, "all are counted")
    until(exchanges(status="4xx", model="qwen-max"), "and the refusals")
    until(lambda: not any(map(alive, before)), "the former ones are gone")
    assert ask(gateway.port, body=chat("x", model="m")).status == 200
    until(lambda: exchanges(status="2xx", model="qwen-max")() == 11, "the successors count on")
    until(
        lambda: total(scrape(gateway), "ai_proxy_envoy_answers_total", provider="openai", status="503") == 1,
        "Envoy's too",
    )
    until(lambda: total(scrape(gateway), "ai_proxy_envoy_failures_total", provider="openai") >= 1, "and its attempts")
    until(lambda: total(scrape(gateway), "ai_proxy_workers") == 2, "both are there")
    said = scrape(gateway)
    kind = {"route": "main", "provider": "qwen", "model": "qwen-max"}
    assert total(said, "ai_proxy_tokens_total", kind="input", **kind) > 10
    assert total(said, "ai_proxy_refusals_total", code="model_not_found") == 1
    assert total(said, "ai_proxy_key_rests_total") == total(said, "ai_proxy_keys", state="resting") == 0
    assert total(said, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="qwen-max") == 5
    assert total(said, "gen_ai_server_request_duration_seconds_count", gen_ai_request_model="qwen-max") == 12
    assert "nobody-knows" not in str(said)
    for worker in gateway.process.workers():
        os.kill(worker, signal.SIGKILL)
    assert exchanges(status="2xx", model="qwen-max")() == 11
    until(lambda: "ai_proxy.envoy.answers" in receiver.metrics(), "the same is sent")
    until(lambda: "gen_ai.server.request.duration" in receiver.metrics(), "all of it")


def test_a_real_prometheus_scrapes_us_and_answers_what_the_dashboard_asks(gateway: Gateway, tmp_path: Path) -> None:
    watch = processes.ROOT / "deploy" / "observability"
    with prometheus(tmp_path, gateway.admin.removeprefix("http://"), watch / "alerts.yaml") as real:
        until(lambda: real.value("ai_proxy_workers") == 2, "it has scraped")
        for panel in json.loads((watch / "dashboards" / "ai-proxy.json").read_text())["panels"]:
            for target in panel.get("targets", ()):
                asked = re.sub(r"\$(client|model)", ".*", target["expr"]).replace("$__rate_interval", "1m")
                assert real.get("query", query=asked) is not None, asked
        loaded = until(lambda: (real.get("rules") or {}).get("groups"), "rules are read")
        assert len(loaded[0]["rules"]) >= 10

        def health() -> set[str]:
            return {rule["health"] for group in real.get("rules")["groups"] for rule in group["rules"]}

        until(lambda: health() == {"ok"}, "rules are good")
        ours = total(scrape(gateway), "ai_proxy_exchanges_total", status="2xx")
        until(lambda: real.value('ai_proxy_exchanges_total{status="2xx"}') == ours, "it has the same numbers")
