"""The one module that imports OpenTelemetry; `traces.py` imports it only when traces are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer

from dispatcher.telemetry.traces import parse_parents


class OtelBatchSpan:
    """See `BatchSpan`."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, transport: str, accepted: int, failed: int) -> None:
        """See `BatchSpan`."""
        span = self._span
        span.set_attribute("dispatcher.transport", transport)
        span.set_attribute("dispatcher.accepted", accepted)
        span.set_attribute("dispatcher.failed", failed)
        if not accepted:
            span.set_status(StatusCode.ERROR, "no message was accepted")
        span.end()


class OtelTracing:
    """See `Tracing`.

    Args:
        provider: where spans go; one that exports by the standard variables is made by `exporting`.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("dispatcher")

    @classmethod
    def exporting(cls, version: str) -> Self:
        """Over OTLP/HTTP, from a thread of its own; a collector that is away costs spans, never a message."""
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over these.
        resource = Resource.create({"service.version": version})
        if resource.attributes.get("service.name", "unknown_service").startswith("unknown_service"):  # type: ignore[union-attr]  # always text
            resource = resource.merge(Resource({"service.name": "fcm-dispatcher"}))
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def batch(self, project: str, stream: str, size: int, parents: Iterable[str]) -> OtelBatchSpan:
        """See `Tracing`."""
        span = self._tracer.start_span(
            f"send {stream}",
            kind=SpanKind.CLIENT,
            links=parse_parents(parents, _link),
            attributes={
                "messaging.system": "fcm",
                "messaging.operation.type": "send",
                "messaging.destination.name": project,
                "messaging.batch.message_count": size,
                "dispatcher.stream": stream,
            },
        )
        return OtelBatchSpan(span)

    def close(self) -> None:
        """See `Tracing`."""
        self._provider.shutdown()


def _link(trace: int, span: int, flags: int) -> Link:
    return Link(SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags)))
