"""Spans that OpenTelemetry records."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pando_shared.errors import PandoError
from pando_shared.log_context import named_ids
from pando_shared.tracing import Kind, Span, Tracer, Value

_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_W3C = TraceContextTextMapPropagator()


class OtelSpan(Span):
    """A span of OpenTelemetry's."""

    def __init__(self, recorded: trace.Span):
        self.recorded = recorded

    @property
    def traceparent(self) -> str | None:
        here = self.recorded.get_span_context()
        if not here.is_valid:
            return None
        return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def set(self, **attributes: Value) -> None:
        self.recorded.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self.recorded.update_name(name)

    def link(self, traceparent: str | None) -> None:
        for there in _places([traceparent]):
            self.recorded.add_link(there)

    def fail(self, error_type: str) -> None:
        self.recorded.set_attribute("error.type", error_type)
        self.recorded.set_status(Status(StatusCode.ERROR))

    def failed_by(self, error: BaseException) -> None:
        kind = error.code if isinstance(error, PandoError) else type(error).__qualname__
        frames = "".join(traceback.format_tb(error.__traceback__))
        told = {"exception.type": type(error).__qualname__, "exception.stacktrace": frames}
        self.recorded.add_event("exception", told)
        self.fail(kind)

    def end(self) -> None:
        self.recorded.end()


class OtelTracer(Tracer):
    """Makes them with a tracer of OpenTelemetry's."""

    def __init__(self, tracer: trace.Tracer):
        self._tracer = tracer

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        links: Iterable[str | None],
        attributes: Mapping[str, Value],
    ) -> Iterator[Span]:
        begun = self.begin(name, kind, parent, links, attributes)
        token = otel_context.attach(trace.set_span_in_context(begun.recorded))
        try:
            yield begun
        except Exception as error:
            begun.failed_by(error)
            raise
        finally:
            otel_context.detach(token)
            begun.set(**named_ids())  # some, as a request's tenant, were found meanwhile
            begun.end()

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        links: Iterable[str | None],
        attributes: Mapping[str, Value],
    ) -> OtelSpan:
        recorded = self._tracer.start_span(
            name,
            context=None if parent is None else _context_at(parent),
            kind=_KINDS[kind],
            attributes={**named_ids(), **attributes},
            links=[Link(there) for there in _places(links)],
        )
        return OtelSpan(recorded)

    @contextmanager
    def continuing(self, traceparent: str | None) -> Iterator[None]:
        if traceparent is None:
            yield
            return
        token = otel_context.attach(_context_at(traceparent))
        try:
            yield
        finally:
            otel_context.detach(token)

    def current_span(self) -> Span:
        return OtelSpan(trace.get_current_span())

    def ids(self) -> Mapping[str, str]:
        here = trace.get_current_span().get_span_context()
        if not here.is_valid:
            return {}
        return {"trace_id": f"{here.trace_id:032x}", "span_id": f"{here.span_id:016x}"}


def _context_at(traceparent: str) -> Context:
    """An empty one, if it is none: then a new trace begins."""
    return _W3C.extract({"traceparent": traceparent}, context=Context())


def _places(traceparents: Iterable[str | None]) -> Iterator[SpanContext]:
    for traceparent in traceparents:
        if traceparent is not None:
            there = trace.get_current_span(_context_at(traceparent)).get_span_context()
            if there.is_valid:
                yield there
