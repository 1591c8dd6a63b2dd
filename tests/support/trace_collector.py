"""A collector of traces on this machine: takes OTLP over HTTP and keeps every span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from post_server import answering_posts


@dataclass(frozen=True)
class SentSpan:
    """A span as it came in; ids in hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[str]
    attributes: Mapping[str, str]
    failed: bool


@dataclass
class Collector:
    """What has come so far. `bodies` are the requests as they were."""

    url: str = ""
    spans: list[SentSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_sent(span, about["service.name"]) for span in scope.spans]

    def named(self, name: str) -> list[SentSpan]:
        return [span for span in self.spans if span.name == name]


def _sent(span: object, service: str) -> SentSpan:
    return SentSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        frozenset(link.trace_id.hex() for link in span.links),
        {pair.key: pair.value.string_value for pair in span.attributes},
        span.status.code == span.status.STATUS_CODE_ERROR,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        found = request.path == "/v1/traces"
        if found:
            collector.take(body)
        taken = ExportTraceServiceResponse().SerializeToString()
        request.send_response(200 if found else 404)
        request.send_header("Content-Type", "application/x-protobuf")
        request.send_header("Content-Length", str(len(taken)))
        request.end_headers()
        request.wfile.write(taken)

    with answering_posts(answer) as url:
        collector.url = url
        yield collector
