"""`telemetry`: under which names metrics are shown, where they and traces are sent.

Rule: shapes only.
"""

from typing import Annotated, Literal

from pydantic import Field

from extproc.providers.blocks import Block, OriginUrl


class Traces(Block):
    """Where Envoy sends its spans. `endpoint`: an OTLP receiver's address. `sample`: the share of requests that begin a
    trace; one that a client began is gone on with."""

    endpoint: OriginUrl
    protocol: Literal["grpc", "http"] = "grpc"
    sample: float = Field(default=1.0, ge=0, le=1)
    service: Annotated[str, Field(min_length=1, max_length=100)] = "ai-proxy"


class Telemetry(Block):
    """`semconv`: whose names the `gen_ai.*` metrics have: those of OpenTelemetry's core conventions, or of the
    repository that they moved to. `models`: names of models that have a place of their own in metrics, beside those
    that the rest of the configuration mentions. `otlp`: whether metrics are sent, where the environment says
    (`OTEL_EXPORTER_OTLP_…`)."""

    semconv: Literal["core", "genai-0.1"] = "core"
    models: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    otlp: bool = False
    traces: Traces | None = None
