"""What a collector of OpenTelemetry gets by OTLP/HTTP, in protobuf, at a real HTTP server."""

from collections.abc import Iterator

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.support.sink import Sink

PATH = "/v1/traces"


class Span(Struct, frozen=True, kw_only=True):
    """A span as it was sent, with ids in hexadecimal."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: list[tuple[str, str]]
    """The ids of trace and span of each."""
    attributes: dict[str, object]
    is_error: bool
    message: str
    start: int
    end: int
    """Nanoseconds of Unix time, both."""
    service: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


def spans(sink: Sink) -> list[Span]:
    """Return all spans that a sink was sent as a collector, the earliest first."""
    found = [
        span
        for request in sink.requests
        if (request.method, request.path) == ("POST", PATH)
        for span in decoded(request.headers["content-type"], request.body)
    ]
    return sorted(found, key=lambda span: span.start)


def decoded(content_type: str, body: bytes) -> Iterator[Span]:
    assert content_type == "application/x-protobuf"
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {one.key: value(one.value) for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield of(span, service=str(about["service.name"]))


def of(span: Sent, *, service: str) -> Span:
    return Span(
        name=span.name,
        kind=Sent.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        attributes={one.key: value(one.value) for one in span.attributes},
        is_error=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        service=service,
    )


def value(any_value: AnyValue) -> object:
    return getattr(any_value, any_value.WhichOneof("value") or "string_value")
