"""What a custom resource Run tells of the engine's run in figures, in so few bytes that the cluster's store bears a thousand of them."""

from collections.abc import Iterator

from pymigrate.v1 import custom_resource_pb2, run_pb2
from pymigrate.v1.shape import enum_word

PHASES_MAX = 20
PROBLEMS_MAX = 20
REASON_BYTES_MAX = 128
MESSAGE_BYTES_MAX = 1_024
ASIDE_BYTES_MAX = 256
CUT = "..."
FAILED = (run_pb2.PHASE_STATE_FAILED, run_pb2.PHASE_STATE_ROLLBACK_BLOCKED)
UNDER_WAY = (
    run_pb2.PHASE_STATE_READY,
    run_pb2.PHASE_STATE_STAGING,
    run_pb2.PHASE_STATE_VERIFYING,
    run_pb2.PHASE_STATE_PUBLISHING,
    run_pb2.PHASE_STATE_ROLLING_BACK,
)


def shortened(text: str, bytes_max: int) -> str:
    """The text on one line, or its beginning, as JSON holds it in so many bytes."""
    shown = "".join(each if each.isprintable() else " " for each in text[: bytes_max + 1])
    if _bytes(shown) <= bytes_max:
        return shown
    low, high = 0, len(shown)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _bytes(shown[:middle]) <= bytes_max - len(CUT) else (low, middle - 1)
    return shown[:low] + CUT


def _bytes(text: str) -> int:
    return len(text.encode()) + text.count('"') + text.count("\\")


def fill_figures(status: custom_resource_pb2.RunStatus, run: run_pb2.Run) -> None:
    """Everything of a run's status but its conditions."""
    status.name = run.name
    status.environment = run.name.split("/")[1]
    status.state = run.state
    status.plan_hash = run.plan_hash
    status.progress = progress(run)
    status.rows, status.rows_expected, status.bytes = run.rows, _known(run.rows_expected), run.bytes
    status.lanes.CopyFrom(_lanes(run, status.environment))
    status.ClearField("phases")
    status.phases.extend(_phases(run))
    status.ClearField("phase_counts")
    for phase in run.phases.values():
        status.phase_counts[enum_word(run_pb2.PhaseState.DESCRIPTOR, phase.state) or "pending"] += 1
    for field in ("failure", "start_time", "end_time", "dry_run"):
        status.ClearField(field)
    if run.HasField("failure"):
        status.failure.CopyFrom(_failure(run.failure))
    if run.HasField("create_time"):
        status.start_time.CopyFrom(run.create_time)
    if run.HasField("end_time"):
        status.end_time.CopyFrom(run.end_time)


def progress(run: run_pb2.Run) -> str:
    """The share of the expected rows that is committed: never all of it before it has succeeded, as counts of sources are estimates."""
    if run.state == run_pb2.RUN_STATE_SUCCEEDED:
        return "100%"
    if run.rows_expected <= 0:
        return ""
    return f"{min(99, max(0, run.rows) * 100 // run.rows_expected)}%"


def dry_run_report(problems: "list[tuple[str, str]]", expected: run_pb2.Run) -> custom_resource_pb2.DryRunReport:
    """What a check found: problems by field, and the run that there would be."""
    told = [shortened(f"{field}: {text}" if field else text, ASIDE_BYTES_MAX) for field, text in problems]
    datasets = sum(len(phase.datasets) for phase in expected.phases.values())
    rows = _known(expected.rows_expected)
    return custom_resource_pb2.DryRunReport(
        problems=told[:PROBLEMS_MAX], problem_count=len(told), rows_expected=rows, dataset_count=datasets
    )


def _known(rows: int) -> int:
    """As a status has it: what is not known is not in it, rather than -1."""
    return max(0, rows)


def _lanes(run: run_pb2.Run, environment: str) -> custom_resource_pb2.ResourceLanes:
    counts = run.lane_counts
    failed = counts.failed + counts.conflict
    total = counts.pending + counts.running + counts.done + counts.stalled + failed
    return custom_resource_pb2.ResourceLanes(
        limit=run.lanes_max,
        pending=counts.pending,
        running=counts.running,
        done=counts.done,
        stalled=counts.stalled,
        failed=failed,
        selector=f"pymigrate.io/environment={environment}",
        summary=f"{counts.running}/{total}",
    )


def _phases(run: run_pb2.Run) -> Iterator[custom_resource_pb2.ResourcePhase]:
    told = [(name, phase) for name, phase in sorted(run.phases.items()) if phase.state in {*FAILED, *UNDER_WAY}]
    told.sort(key=lambda each: each[1].state not in FAILED)
    for name, phase in told[:PHASES_MAX]:
        yield custom_resource_pb2.ResourcePhase(
            phase=name,
            state=phase.state,
            reason=shortened(phase.failure.reason, REASON_BYTES_MAX),
            message=shortened(phase.failure.message, ASIDE_BYTES_MAX),
        )


def _failure(failure: run_pb2.Failure) -> run_pb2.Failure:
    return run_pb2.Failure(
        reason=shortened(failure.reason, REASON_BYTES_MAX),
        message=shortened(failure.message, MESSAGE_BYTES_MAX),
        field=shortened(failure.field, ASIDE_BYTES_MAX),
        is_temporary=failure.is_temporary,
    )
