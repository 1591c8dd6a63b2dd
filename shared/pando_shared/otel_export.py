"""Sending spans to a collector, by OTLP over HTTP, and saying so when none of it arrives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

log = logging.getLogger(__name__)

_LIBRARY = logging.getLogger("opentelemetry")


def make_provider(endpoint: str, service: str, worker_id: str | None) -> TracerProvider:
    """Records spans, and sends them in batches from a thread of its own.

    What OpenTelemetry itself reads from `OTEL_*` (sampler, headers, certificate, batch) holds too.
    """
    named = {"service.name": f"pando-{service}", "service.version": version("pando-shared")}
    if worker_id is not None:
        named["service.instance.id"] = worker_id
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(TellingExporter(exporter, endpoint)))
    return provider


class TellingExporter(SpanExporter):
    """Says once that spans do not arrive, and once that they do again: the library would say it
    several times a batch."""

    def __init__(self, exporter: SpanExporter, endpoint: str):
        self._exporter, self._endpoint = exporter, endpoint
        self._said = _FirstWords()
        self._arrives = True
        _LIBRARY.handlers[:] = [self._said]
        _LIBRARY.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._said.words = None
        result = self._exporter.export(spans)
        arrives = result is SpanExportResult.SUCCESS
        if self._arrives and not arrives:
            why = self._said.words or "no reason is known"
            log.warning("traces do not arrive at %s, and are dropped: %s", self._endpoint, why)
        elif arrives and not self._arrives:
            log.info("traces arrive at %s again", self._endpoint)
        self._arrives = arrives
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _FirstWords(logging.Handler):
    """What the exporter said first of an export: later it only says that it has given up. What
    else the library says, of each span that finds no room for one, is not kept."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("opentelemetry.exporter"):
            self.words = self.words or record.getMessage()
