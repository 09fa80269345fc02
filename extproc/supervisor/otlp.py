"""Metrics sent by OpenTelemetry's own exporter (OTLP over HTTP or gRPC), where the standard variables say.

Rule: the same families as `/metrics`, as sums since the start. Sent in a thread; a collector that is away is the
exporter's to say and costs nothing else. Only who sends pays for importing this.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
import os
import time
from typing import Any, Final

import structlog

from extproc import __version__
from extproc.supervisor.families import Family, Labels

log = structlog.get_logger("extproc.otlp")

PACKAGE: Final = "opentelemetry.exporter"
INTERVAL_SECONDS: Final = 60.0
"""Where `OTEL_METRIC_EXPORT_INTERVAL` (milliseconds) does not say: OpenTelemetry's own default."""


def interval(environ: Mapping[str, str]) -> float:
    """Seconds between two reports."""
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    return int(text) / 1000 if text.isdecimal() and int(text) else INTERVAL_SECONDS


def protocol(environ: Mapping[str, str]) -> str:
    """`grpc`, or what the exporter for HTTP makes of it."""
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    return environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", general)


async def send(families: Callable[[], Iterable[Family]]) -> None:
    """Send all families again and again, and once more at the end."""
    exporter, started = await asyncio.to_thread(_exporter), time.time_ns()
    every = interval(os.environ)
    log.info("metrics are sent", protocol=protocol(os.environ), seconds=every)
    try:
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(_export, exporter, data(families(), started, time.time_ns()))
    finally:
        exporter.export(data(families(), started, time.time_ns()), timeout_millis=LAST_MILLISECONDS)
        exporter.shutdown(timeout_millis=LAST_MILLISECONDS)


LAST_MILLISECONDS: Final = 1000
"""How long a stop waits for the last report."""


def _export(exporter: Any, metrics: Any) -> None:
    exporter.export(metrics)


def _exporter() -> Any:
    # The supervisor starts processes, which gRPC's handlers of forks would disturb; ours only execute others.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    if protocol(os.environ) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http()


def data(families: Iterable[Family], started: int, now: int) -> Any:
    """Families as the exporter takes them; times in nanoseconds since 1970."""
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = []
    for family in families:
        if family.kind == "histogram":
            points: list[Any] = [_spread(family, labels, started, now) for labels in list(family.spreads)]
            shape: Any = export.Histogram(points, export.AggregationTemporality.CUMULATIVE)
        else:
            values = list(family.values.items())
            points = [
                export.NumberDataPoint(
                    _attributes(family, labels), started, now, value if isinstance(value, int) else float(value)
                )
                for labels, value in values
            ]
            shape = (
                export.Sum(points, export.AggregationTemporality.CUMULATIVE, is_monotonic=True)
                if family.kind == "counter"
                else export.Gauge(points)
            )
        if points:
            metrics.append(export.Metric(family.name, family.help, family.unit, shape))
    scope = InstrumentationScope("ai-proxy-envoy", __version__)
    resource = Resource.create({} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "ai-proxy"})
    return export.MetricsData([export.ResourceMetrics(resource, [export.ScopeMetrics(scope, metrics, "")], "")])


def _spread(family: Family, labels: Labels, started: int, now: int) -> Any:
    from opentelemetry.sdk.metrics import export

    spread = family.spreads[labels]
    counts = list(spread.counts)
    unknown = float("nan")  # the least and the most are not kept
    return export.HistogramDataPoint(
        _attributes(family, labels), started, now, sum(counts), spread.sum, counts, family.bounds, unknown, unknown
    )


def _attributes(family: Family, labels: Labels) -> dict[str, str]:
    return {name: value for name, value in zip(family.labels, labels, strict=True) if value}
