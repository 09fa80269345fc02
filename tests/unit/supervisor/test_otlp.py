"""Metrics sent by OpenTelemetry's exporters to a receiver of its own messages."""

import asyncio

import pytest

from extproc.supervisor import otlp
from extproc.supervisor.books import Books
from extproc.terms.tallies import SECONDS
from extproc.worker.channel import Counted
from tests.collector import Collector, attributes, collector
from tests.unit.supervisor.test_books import KEY, filled, tally


async def sent(kept: Books, to: Collector, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Reports come in until there are two, and one more at the end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.grpc if kind == "grpc" else to.http)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", kind)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
    sending = asyncio.create_task(otlp.send(kept.families))
    async with asyncio.timeout(60):
        while len(to.reports) < 2:  # noqa: ASYNC110  the receiver's threads tell nobody
            await asyncio.sleep(0.01)
    kept.count(1, Counted([(KEY, tally())], 0, {}))
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize("kind", ["grpc", "http/protobuf"])
async def test_all_families_arrive(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as to:
        await sent(filled((KEY, tally())), to, monkeypatch, kind)
    said = to.metrics()
    [point] = said["ai_proxy.exchanges"].sum.data_points
    assert said["ai_proxy.exchanges"].sum.is_monotonic
    assert said["ai_proxy.exchanges"].sum.aggregation_temporality == 2  # cumulative
    assert point.as_int == 4
    labels = {"client": "alice", "front": "messages", "route": "r", "provider": "p", "model": "qwen", "status": "2xx"}
    assert attributes(point) == labels
    [point] = said["gen_ai.server.request.duration"].histogram.data_points
    assert said["gen_ai.server.request.duration"].unit == "s"
    assert (point.count, point.sum, tuple(point.explicit_bounds)) == (2, 0.6, SECONDS)
    assert sum(point.bucket_counts) == 2
    assert said["ai_proxy.open"].gauge.data_points[0].as_int == 0
    [resource] = to.reports[-1].resource_metrics
    assert attributes(resource.resource)["service.name"] == "ai-proxy"


async def test_the_new_repository_s_names(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = filled((KEY, tally()))
    kept.semconv = "genai-0.1"
    with collector() as to:
        await sent(kept, to, monkeypatch, "http/protobuf")
    said = to.metrics()
    inference = "gen_ai.client.inference"
    assert "gen_ai.client.token.usage" not in said
    [point] = said[f"{inference}.usage.input_tokens"].sum.data_points
    assert (point.as_int, attributes(point)["gen_ai.token.modality"]) == (20, "unknown")
    assert said[f"{inference}.usage.cache_read.input_tokens"].sum.data_points[0].as_int == 8
    assert said[f"{inference}.usage.output_tokens"].sum.data_points[0].as_int == 14
    assert said[f"{inference}.operation.output_tokens"].histogram.data_points[0].count == 2
    assert "gen_ai.server.request.duration" in said


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (60.0, "http/protobuf")),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, (0.5, "grpc")),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "0", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"}, (60.0, "grpc")),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "often"}, (60.0, "http/protobuf")),
    ],
)
def test_the_standard_variables(environ: dict[str, str], expected: tuple[float, str]) -> None:
    assert (otlp.interval(environ), otlp.protocol(environ)) == expected
