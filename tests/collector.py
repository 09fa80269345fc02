"""An OTLP receiver of OpenTelemetry's own messages, over gRPC and HTTP, that keeps what comes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import contextlib
from dataclasses import dataclass, field
import gzip
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import threading
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass
class Collector:
    """`grpc`, `http`: its addresses."""

    grpc: str = ""
    http: str = ""
    traces: list[trace_pb.ExportTraceServiceRequest] = field(default_factory=list)
    reports: list[metrics_pb.ExportMetricsServiceRequest] = field(default_factory=list)

    @property
    def spans(self) -> list[Any]:
        """All spans, in the order in which they came."""
        return [
            span
            for request in list(self.traces)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """Name → metric of the last report."""
        reports = list(self.reports)
        found = reports[-1].resource_metrics if reports else ()
        return {m.name: m for resource in found for scope in resource.scope_metrics for m in scope.metrics}


def attributes(of: Any) -> dict[str, str]:
    """Of a span, a point or a resource, as text."""
    return {
        pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in of.attributes
    }


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Listens until the end of the block."""
    made = Collector()

    class Traces(TraceServiceServicer):
        def Export(self, request: Any, context: object) -> Any:
            made.traces.append(request)
            return trace_pb.ExportTraceServiceResponse()

    class Metrics(MetricsServiceServicer):
        def Export(self, request: Any, context: object) -> Any:
            made.reports.append(request)
            return metrics_pb.ExportMetricsServiceResponse()

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                made.traces.append(trace_pb.ExportTraceServiceRequest.FromString(body))
            else:
                made.reports.append(metrics_pb.ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(Traces(), server)
    add_MetricsServiceServicer_to_server(Metrics(), server)
    made.grpc = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    made.http = f"http://127.0.0.1:{web.server_port}"
    threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield made
    finally:
        server.stop(0)
        web.shutdown()
        web.server_close()
