"""Where a run and its parts stand in its trace. All of it follows from what the run keeps, so that every engine finds the same."""

from pymigrate.engine.domain.run import Run
from pymigrate.engine.ports.tracing import SpanContext, log_fields, read_traceparent


def call_place(run: Run) -> SpanContext | None:
    """The call that started the run; None: it belongs to no trace."""
    return read_traceparent(run.traceparent) if run.traceparent else None


def run_place(run: Run, attempt: int) -> SpanContext | None:
    """The run in one of its attempts."""
    return _below(run, "run", attempt)


def rollback_place(run: Run, sequence: int) -> SpanContext | None:
    """Undoing the run, which an event of this sequence ended."""
    return _below(run, "rollback", sequence)


def phase_place(run: Run, phase: str, attempt: int) -> SpanContext | None:
    """A phase in an attempt."""
    return _below(run, "phase", phase, attempt)


def attempt_place(run: Run, task: str, fence: int) -> SpanContext | None:
    """The host's hold on a task under a fence: what the host's own spans are below."""
    return _below(run, "task", task, fence)


def wait_place(run: Run, task: str, fence: int) -> SpanContext | None:
    """Waiting for a host, until the task was leased under the fence."""
    return _below(run, "wait", task, fence)


def run_log_fields(run: Run) -> dict[str, str]:
    """What a log line says of the run that it is about."""
    return {"run": run.name, **log_fields(run_place(run, run.attempt))}


def _below(run: Run, *words: object) -> SpanContext | None:
    call = call_place(run)
    return None if call is None else call.derived(run.name, *words)
