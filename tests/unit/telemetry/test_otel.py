"""A span for each batch, linked to its producers."""

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dispatcher.telemetry.otel import OtelTracing

PARENTS = [
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "",
    "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00",
]


@pytest.fixture
def exported():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = OtelTracing(provider)
    yield tracing, exporter
    tracing.close()


def test_a_batch_is_one_span_with_a_link_to_each_producer(exported):
    tracing, exporter = exported
    tracing.batch("demo-a", "bulk", 3, PARENTS).end("v1", 2, 1)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.parent) == ("send bulk", None)
    assert [link.context.trace_id for link in span.links] == [
        0x0AF7651916CD43DD8448EB211C80319C,
        0x0AF7651916CD43DD8448EB211C80319D,
    ]
    assert span.attributes["messaging.batch.message_count"] == 3
    assert span.attributes["dispatcher.transport"] == "v1"
    assert (span.attributes["dispatcher.accepted"], span.attributes["dispatcher.failed"]) == (2, 1)
    assert span.status.is_unset


def test_a_batch_of_which_nothing_was_accepted_is_an_error(exported):
    tracing, exporter = exported
    tracing.batch("demo-a", "high", 1, []).end("batch", 0, 1)
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.status.description == "no message was accepted"
