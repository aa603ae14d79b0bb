"""An OTLP collector on loopback: decodes what it is sent, and tells the spans by name and the way from each up to the caller."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.sinks import HttpSink


@dataclass(frozen=True)
class Received:
    """A span as the collector has it."""

    name: str
    service: str
    pid: int
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    is_error: bool
    is_server: bool
    attributes: dict[str, object] = field(default_factory=dict)


class Collector(HttpSink):
    """Takes spans."""

    def spans(self) -> list[Received]:
        """Everything that it has taken."""
        return [span for posted in list(self.taken) for span in _decoded(posted.body)]

    def named(self, name: str) -> list[Received]:
        """The spans of that name."""
        return [span for span in self.spans() if span.name == name]

    def way_up(self, span: Received) -> list[str]:
        """The names of the spans above, the nearest first, and at last the id above the first of them that was received."""
        known = {each.span_id: each for each in self.spans()}
        names: list[str] = []
        while span.parent_id in known:
            span = known[span.parent_id]
            names.append(span.name)
        return [*names, span.parent_id]


def _decoded(body: bytes) -> Iterator[Received]:
    # Every test process loads this module; few decode anything.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        told = {each.key: each.value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    span.name,
                    told["service.name"].string_value,
                    told["process.pid"].int_value,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    span.kind == span.SPAN_KIND_SERVER,
                    {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes},
                )


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that takes everything."""
    server = Collector()
    yield server
    server.close()
