"""What every place that spans go to keeps to."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from pymigrate.engine.adapters.tracing import Collector as Target
from pymigrate.engine.adapters.tracing import OtlpTracing
from pymigrate.engine.ports.tracing import Span, SpanContext, Tracing
from pymigrate.engine.testing.tracing import RecordedTracing
from tests.collector import Collector

START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
CALLER = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
Told = tuple[str, str, str, str, float, bool]


class Place(Protocol):
    """A place, and what has come to it."""

    @property
    def tracing(self) -> Tracing:
        """The place."""
        ...

    def told(self) -> list[Told]:
        """Name, trace, id, parent, seconds and whether it failed, of each span."""
        ...


class InMemory:
    def __init__(self) -> None:
        self.tracing = RecordedTracing()

    def told(self) -> list[Told]:
        self.tracing.close()
        return [
            (
                span.name,
                span.context.trace_id,
                span.context.span_id,
                "" if span.parent is None else span.parent.span_id,
                (span.end - span.start).total_seconds(),
                bool(span.failure),
            )
            for span in self.tracing.spans
        ]


class OverOtlp:
    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self.tracing = OtlpTracing(Target(collector.url), "pymigrate-test", "t")

    def told(self) -> list[Told]:
        self.tracing.close()
        return [
            (span.name, span.trace_id, span.span_id, span.parent_id, span.seconds, span.is_error)
            for span in self._collector.spans()
        ]


@pytest.fixture(params=["memory", "otlp"])
def place(request: pytest.FixtureRequest, collector: Collector) -> Iterator[Place]:
    found = InMemory() if request.param == "memory" else OverOtlp(collector)
    yield found
    found.tracing.close()


def test_a_span_arrives_with_its_ids_its_times_and_its_failure(place: Place) -> None:
    context = CALLER.derived("run", 1)
    place.tracing.record(Span("run", context, CALLER, START, START + timedelta(seconds=1.5), {"rows": 3}, "it broke"))
    assert place.told() == [("run", CALLER.trace_id, context.span_id, CALLER.span_id, 1.5, True)]


def test_a_new_place_is_below_the_one_that_was_given(place: Place) -> None:
    context = place.tracing.begin(CALLER)
    assert context is not None
    assert (context.trace_id, context.is_sampled) == (CALLER.trace_id, True)
    assert context.span_id != CALLER.span_id


def test_places_without_a_parent_are_of_traces_of_their_own(place: Place) -> None:
    first, second = place.tracing.begin(None), place.tracing.begin(None)
    assert first is not None
    assert second is not None
    assert first.trace_id != second.trace_id
    place.tracing.record(Span("call", first, None, START, START))
    assert place.told() == [("call", first.trace_id, first.span_id, "", 0.0, False)]


def test_what_the_caller_does_not_want_to_see_is_dropped(place: Place) -> None:
    context = place.tracing.begin(SpanContext(CALLER.trace_id, CALLER.span_id, is_sampled=False))
    assert context is not None
    assert not context.is_sampled
    place.tracing.record(Span("call", context, CALLER, START, START))
    assert place.told() == []


def test_spans_of_many_threads_keep_their_own_ids(place: Place) -> None:
    def record(number: int) -> None:
        for at in range(50):
            context = CALLER.derived(number, at)
            place.tracing.record(Span(f"{number}.{at}", context, CALLER, START, START))

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {(f"{number}.{at}", CALLER.derived(number, at).span_id) for number in range(4) for at in range(50)}
    assert {(name, span_id) for name, _, span_id, *_ in place.told()} == expected


def test_closing_twice_and_recording_afterwards_does_no_harm(place: Place) -> None:
    place.tracing.record(Span("early", CALLER.derived("early"), CALLER, START, START))
    place.tracing.close()
    place.tracing.record(Span("late", CALLER.derived("late"), CALLER, START, START))
    place.tracing.close()
    assert [name for name, *_ in place.told()].count("early") == 1
