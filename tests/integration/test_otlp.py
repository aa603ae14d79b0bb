"""What a collector costs the process that tells it: nothing when there is none, and a bounded queue when it is in trouble."""

import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from pymigrate.engine.adapters.tracing import BATCH_SPANS_MAX, QUEUE_SPANS_MAX, OtlpTracing
from pymigrate.engine.adapters.tracing import Collector as Target
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.tracing import Span, SpanContext
from tests.collector import Collector
from tests.sinks import Said

CALLER = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
START = datetime(2026, 1, 1, tzinfo=UTC)


def record(tracing: OtlpTracing, count: int) -> None:
    """So many spans, as fast as they can be made."""
    for number in range(count):
        tracing.record(Span("chunk", CALLER.derived(number), CALLER, START, START, {"number": number}))


def test_a_collector_that_hangs_keeps_a_bounded_queue_of_the_newest_spans(collector: Collector) -> None:
    over = threading.Event()
    collector.answer = lambda _: Said(hangs_until=over)
    tracing = OtlpTracing(Target(collector.url), "pymigrate-test", "t")
    record(tracing, BATCH_SPANS_MAX)
    collector.wait_for(lambda: bool(collector.asked))
    record(tracing, 3 * QUEUE_SPANS_MAX)
    over.set()
    collector.wait_for(lambda: 3 * QUEUE_SPANS_MAX - 1 in _numbers(collector))
    tracing.close()
    assert len(_numbers(collector)) <= QUEUE_SPANS_MAX + 2 * BATCH_SPANS_MAX


def test_trouble_is_logged_as_the_process_logs_and_without_the_token(collector: Collector) -> None:
    collector.answer = lambda _: Said(400)
    tracing = OtlpTracing(Target(collector.url, Secret("s3cret-token")), "pymigrate-test", "t")
    with capture_logs() as lines:
        record(tracing, 1)
        tracing.close()
    assert {line["event"] for line in lines} == {"tracing.trouble"}
    assert "s3cret-token" not in str(lines)
    assert collector.asked[0].headers["authorization"] == "Bearer s3cret-token"


def test_of_new_traces_the_share_that_was_asked_for_is_told(collector: Collector) -> None:
    shares = {}
    for ratio in (0.0, 0.25, 1.0):
        tracing = OtlpTracing(Target(collector.url, ratio=ratio), "pymigrate-test", "t")
        shares[ratio] = sum(tracing.begin(None).is_sampled for _ in range(4_000)) / 4_000
        assert tracing.begin(CALLER).is_sampled
        tracing.close()
    assert (shares[0.0], shares[1.0]) == (0.0, 1.0)
    assert 0.15 < shares[0.25] < 0.35


@pytest.mark.parametrize("module", ["serve", "worker"])
def test_without_a_collector_nothing_of_opentelemetry_is_imported(module: str) -> None:
    look = (
        f"import sys, pymigrate.engine.main.{module} as m\n"
        "from pymigrate.engine.main.secrets import build_secrets\n"
        "from pymigrate.engine.main.tracing import build_tracing\n"
        "from pymigrate.engine.ports.redaction import Redactor\n"
        "from pymigrate.engine.settings import Settings\n"
        "assert not build_tracing(Settings(), 's', 'i', build_secrets(Redactor())).is_on\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def _numbers(collector: Collector) -> list[int]:
    """The numbers of the spans that were told."""
    return [int(str(span.attributes["number"])) for span in collector.named("chunk")]
