"""What a test's own process has recorded of traces, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pando_shared.otel_tracer import OtelTracer
from pando_shared.tracing import install

#: Of a client that traces its requests.
CLIENTS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENTS_TRACEPARENT = f"00-{CLIENTS_TRACE}-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class RecordedSpans:
    """Spans that have ended, in the order of their ends."""

    exporter: InMemorySpanExporter

    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.named(name)
        return found


def trace_of(span: ReadableSpan) -> str:
    """The id of its trace, in hex."""
    return f"{span.context.trace_id:032x}"


def links_of(span: ReadableSpan) -> set[str]:
    """The ids of the traces it is linked to."""
    return {f"{link.context.trace_id:032x}" for link in span.links}


def traceparent_of(trace: int) -> str:
    """A place in a trace of that number."""
    return f"00-{trace:032x}-{trace:016x}-01"


@contextmanager
def recording() -> Iterator[RecordedSpans]:
    """Spans of this process are recorded in the block."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    install(OtelTracer(provider.get_tracer("test")))
    try:
        yield RecordedSpans(exporter)
    finally:
        install(None)
        provider.shutdown()
