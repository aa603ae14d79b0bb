"""Traces over OpenTelemetry: spans are batched on a thread of their own and posted to a collector as OTLP over HTTP.

Imported only where a collector is named. A collector that is away costs nothing but spans: the queue is bounded, and the newest ones wait.
"""

import logging
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import requests
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, TraceFlags

from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.tracing import Span, SpanContext

QUEUE_SPANS_MAX = 8_192
BATCH_SPANS_MAX = 512
BATCH_MILLISECONDS = 1_000
POST_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 2.0
TRACES_PATH = "/v1/traces"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NOISY = "opentelemetry"


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go: a collector's base URL, the token that it asks for, and the share of new traces that are told, 0 to 1."""

    endpoint: str
    token: Secret | None = None
    ratio: float = 1.0


class OtlpTracing:
    """Hands spans to a collector. `service` is what the process is called there, `instance` which one it is; `clean` takes secrets out of
    what they say."""

    is_on = True

    def __init__(
        self,
        collector: Collector,
        service: str,
        instance: str,
        rng: random.Random | None = None,
        clean: Callable[[str], str] = str,
    ) -> None:
        _log_as_json()
        self._clean = clean
        self._rng = rng or random.Random()
        self._sampler = TraceIdRatioBased(collector.ratio)
        self._ids = _GivenIds()
        resource = Resource.create(
            {
                "service.name": service,
                "service.version": version("pymigrate"),
                "service.instance.id": instance,
                "process.pid": os.getpid(),
            }
        )
        # Sampled or not is decided before a span is made; what ends the provider is `close`, which does not wait for ever.
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=self._ids)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _exporter(collector),
                max_queue_size=QUEUE_SPANS_MAX,
                schedule_delay_millis=BATCH_MILLISECONDS,
                max_export_batch_size=BATCH_SPANS_MAX,
            )
        )
        self._tracer = self._provider.get_tracer("pymigrate", version("pymigrate"))

    def begin(self, parent: SpanContext | None) -> SpanContext:
        """A new place below `parent`; without one, a new trace that is sampled by the ratio."""
        span_id = f"{self._rng.getrandbits(64) or 1:016x}"
        if parent is not None:
            return SpanContext(parent.trace_id, span_id, parent.is_sampled)
        trace_id = self._rng.getrandbits(128) or 1
        decision = self._sampler.should_sample(None, trace_id, "").decision
        return SpanContext(f"{trace_id:032x}", span_id, decision is Decision.RECORD_AND_SAMPLE)

    def record(self, span: Span) -> None:
        """Queues a sampled span."""
        if not span.context.is_sampled:
            return
        parent = trace.INVALID_SPAN if span.parent is None else trace.NonRecordingSpan(_remote(span.parent))
        with self._ids.given(span.context):
            told = self._tracer.start_span(
                self._clean(span.name),
                trace.set_span_in_context(parent),
                SpanKind.SERVER if span.is_call else SpanKind.INTERNAL,
                {
                    name: self._clean(value) if isinstance(value, str) else value
                    for name, value in span.attributes.items()
                },
                start_time=_nanoseconds(span.start),
            )
        if span.failure:
            told.set_status(Status(StatusCode.ERROR, self._clean(span.failure)))
        told.end(_nanoseconds(max(span.start, span.end)))

    def close(self) -> None:
        """Posts what is queued, for CLOSE_SECONDS_MAX at most: a collector that hangs keeps no process."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS_MAX)


class _GivenIds(IdGenerator):
    """Ids that were known before their span is made."""

    def __init__(self) -> None:
        self._local = threading.local()

    def given(self, context: SpanContext) -> "_Given":
        return _Given(self._local, context)

    def generate_span_id(self) -> int:
        return int(self._local.context.span_id, 16)

    def generate_trace_id(self) -> int:
        return int(self._local.context.trace_id, 16)


class _Given:
    """The ids of the span that this thread is making."""

    def __init__(self, local: threading.local, context: SpanContext) -> None:
        self._local = local
        self._context = context

    def __enter__(self) -> None:
        self._local.context = self._context

    def __exit__(self, *_: object) -> None:
        del self._local.context


class _JsonLines(logging.Handler):
    """What OpenTelemetry logs, as the process logs everything. The library itself repeats a message once in twenty seconds at most."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(__name__).warning("tracing.trouble", message=record.getMessage(), source=record.name)


def _log_as_json() -> None:
    logger = logging.getLogger(NOISY)
    if not any(isinstance(handler, _JsonLines) for handler in logger.handlers):
        logger.addHandler(_JsonLines(logging.WARNING))
        logger.propagate = False


def _exporter(collector: Collector) -> OTLPSpanExporter:
    session = requests.Session()
    session.trust_env = False  # a proxy, or a netrc, that the environment names is for others than the collector
    headers = {} if collector.token is None else {"authorization": f"Bearer {collector.token.reveal()}"}
    return OTLPSpanExporter(
        endpoint=collector.endpoint.rstrip("/") + TRACES_PATH,
        headers=headers,
        timeout=POST_SECONDS_MAX,
        compression=Compression.Gzip,
        session=session,
    )


def _remote(context: SpanContext) -> trace.SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    return trace.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _nanoseconds(time: datetime) -> int:
    return (time - EPOCH) // MICROSECOND * 1_000
