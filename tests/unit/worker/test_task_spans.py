"""The spans of a host's tasks and chunks, and what its log says of them."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import structlog

from pymigrate.engine.entrypoints.worker.task_spans import TaskSpans
from pymigrate.engine.ports.tracing import SpanContext, present_span
from pymigrate.engine.testing.tracing import RecordedTracing
from pymigrate.v1 import run_pb2, worker_pb2

ATTEMPT = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
RUN = "environments/e/plans/p/runs/r"
DONE = worker_pb2.FinishTaskRequest(result=worker_pb2.TaskResult())


def copy_task(traceparent: str = str(ATTEMPT)) -> worker_pb2.Task:
    """A lane to copy."""
    task = worker_pb2.Task(id=f"{RUN}/tasks/t", fence=3, traceparent=traceparent)
    task.copy.lane = f"{RUN}/lanes/l"
    return task


def ticking() -> tuple[RecordedTracing, TaskSpans]:
    """Spans by a clock that goes on by a second whenever it is asked."""
    seconds, tracing = count(), RecordedTracing()
    return tracing, TaskSpans(tracing, lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds)))


def progress(chunks: int, rows: int) -> worker_pb2.LaneProgress:
    """How far a lane got."""
    return worker_pb2.LaneProgress(chunks=chunks, rows=rows, bytes=rows * 10)


def test_every_chunk_is_a_span_below_its_task_and_the_task_below_the_attempt() -> None:
    tracing, spans = ticking()
    heard: list[int] = []
    with spans.of(copy_task()) as span:
        told = span.heard(lambda at: heard.append(at.chunks))
        for at in (progress(4, 40), progress(5, 50), progress(6, 75)):
            told(at)
        span.ended(DONE)
    assert heard == [4, 5, 6]
    first, second = tracing.named("chunk")
    assert (first.attributes, second.attributes) == (
        {"pymigrate.chunk": 5, "pymigrate.rows": 10, "pymigrate.bytes": 100},
        {"pymigrate.chunk": 6, "pymigrate.rows": 25, "pymigrate.bytes": 250},
    )
    assert first.end == second.start
    assert tracing.parents_of(second) == ["host copy", ATTEMPT.span_id]
    assert tracing.named("host copy")[0].failure == ""


def test_a_task_that_failed_or_that_nobody_waits_for_says_so() -> None:
    tracing, spans = ticking()
    with spans.of(copy_task()) as span:
        failure = run_pb2.Failure(reason="DATA_REFUSED", message="a row is refused")
        span.ended(worker_pb2.FinishTaskRequest(failure=failure))
    with spans.of(copy_task()) as span:
        span.ended(None)
    first, second = tracing.named("host copy")
    assert first.failure == "DATA_REFUSED: a row is refused"
    assert "lost" in second.failure


def test_a_task_that_raises_has_a_span_all_the_same() -> None:
    tracing, spans = ticking()
    with pytest.raises(ZeroDivisionError), spans.of(copy_task()):
        raise ZeroDivisionError
    assert tracing.named("host copy")[0].failure


def test_progress_of_other_work_is_no_chunk() -> None:
    tracing, spans = ticking()
    task = worker_pb2.Task(id=f"{RUN}/tasks/t", traceparent=str(ATTEMPT))
    task.catch_up.dataset.dataset_id = "d"
    with spans.of(task) as span:
        told = span.heard(lambda _: None)
        told(progress(1, 1))
        told(progress(2, 2))
        span.ended(DONE)
    assert [each.name for each in tracing.spans] == ["host catch_up"]


@pytest.mark.parametrize("traceparent", ["", "nonsense"])
def test_a_task_of_no_trace_has_no_spans(traceparent: str) -> None:
    tracing, spans = ticking()
    with spans.of(copy_task(traceparent)) as span:
        span.heard(lambda _: None)(progress(1, 1))
        span.ended(DONE)
    assert tracing.spans == []


def test_the_log_of_a_task_names_its_run_and_its_span_and_that_of_others_does_not() -> None:
    tracing, spans = ticking()
    others: list[object] = []
    with spans.of(copy_task()):
        context = present_span()
        assert context is not None
        assert structlog.contextvars.get_contextvars() == {
            "run": RUN,
            "trace_id": ATTEMPT.trace_id,
            "span_id": context.span_id,
        }
        other = threading.Thread(target=lambda: others.append(structlog.contextvars.get_contextvars()))
        other.start()
        other.join()
    assert others == [{}]
    assert structlog.contextvars.get_contextvars() == {}
    assert tracing.named("host copy")[0].context == context


def test_without_a_collector_the_log_names_the_engine_s_span() -> None:
    with TaskSpans().of(copy_task()) as span:
        span.heard(lambda _: None)(progress(1, 1))
        assert structlog.contextvars.get_contextvars()["span_id"] == ATTEMPT.span_id
