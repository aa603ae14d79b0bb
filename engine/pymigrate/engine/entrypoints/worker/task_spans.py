"""The spans of a host's tasks: one for each, below the attempt that the engine tells of, and one for each chunk of a lane."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog

from pymigrate.engine.domain.names import parent_of
from pymigrate.engine.ports.tracing import (
    NoTracing,
    Span,
    SpanContext,
    Tracing,
    log_fields,
    read_traceparent,
    within,
)
from pymigrate.v1 import worker_pb2

OnProgress = Callable[[worker_pb2.LaneProgress], None]
Now = Callable[[], datetime]
NOWHERE = NoTracing()
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
Attributes = dict[str, str | int | float | bool]


class TaskSpan:
    """A task under way on a thread of its own."""

    def __init__(self, task: worker_pb2.Task, context: SpanContext | None, tracing: Tracing, now: Now) -> None:
        self._task = task
        self._context = context
        self._tracing = tracing
        self._now = now
        self._start = self._since = now()
        self._last: worker_pb2.LaneProgress | None = None
        self._failure = "it was lost, or the host ended"

    def heard(self, on_progress: OnProgress) -> OnProgress:
        """The same, and every chunk of a lane is a span: from the end of the one before it to its own commit."""
        if self._context is None or not self._tracing.is_on or self._task.WhichOneof("work") != "copy":
            return on_progress

        def told(progress: worker_pb2.LaneProgress) -> None:
            self._tell_chunk(progress)
            on_progress(progress)

        return told

    def ended(self, outcome: worker_pb2.FinishTaskRequest | None) -> None:
        """The task's outcome; without one, nobody waits for it any more."""
        if outcome is not None:
            failure = outcome.failure
            self._failure = f"{failure.reason}: {failure.message}" if outcome.HasField("failure") else ""

    def close(self, parent: SpanContext | None) -> None:
        """Records the task's span."""
        if self._context is not None and self._tracing.is_on:
            kind = self._task.WhichOneof("work") or "unknown"
            span = Span(
                f"host {kind}",
                self._context,
                parent,
                self._start,
                self._now(),
                {"pymigrate.task": self._task.id, "pymigrate.fence": self._task.fence},
                self._failure,
            )
            self._tracing.record(span)

    def _tell_chunk(self, progress: worker_pb2.LaneProgress) -> None:
        """The first progress says how far the lane had got before."""
        last, since = self._last, self._since
        self._last, self._since = progress, self._now()
        if last is None or progress.chunks <= last.chunks:
            return
        context = self._tracing.begin(self._context)
        if context is not None:
            span = Span("chunk", context, self._context, since, self._since, _chunk(last, progress))
            self._tracing.record(span)


class TaskSpans:
    """Makes the spans of a host's tasks, and names their runs in its log. `now` tells the time; where nobody takes spans none is told."""

    def __init__(self, tracing: Tracing = NOWHERE, now: Now = lambda: NEVER) -> None:
        self._tracing = tracing
        self._now = now

    @contextmanager
    def of(self, task: worker_pb2.Task) -> Iterator[TaskSpan]:
        """A task, from its start to its end on this thread."""
        parent = read_traceparent(task.traceparent)
        context = None if parent is None else self._tracing.begin(parent)
        run = parent_of(task.id)
        fields = log_fields(context) | ({"run": run} if run else {})
        span = TaskSpan(task, context, self._tracing, self._now)
        with within(context), structlog.contextvars.bound_contextvars(**fields):
            try:
                yield span
            finally:
                span.close(parent)


def _chunk(last: worker_pb2.LaneProgress, progress: worker_pb2.LaneProgress) -> Attributes:
    return {
        "pymigrate.chunk": progress.chunks,
        "pymigrate.rows": progress.rows - last.rows,
        "pymigrate.bytes": progress.bytes - last.bytes,
    }
