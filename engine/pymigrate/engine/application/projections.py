"""A run's records as the contract shows them, and back from the contract where a record comes from it."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar, overload

from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.domain.kpi_phase import UNDONE
from pymigrate.engine.domain.run import DatasetRun, Failure, Lane, PhaseRun, Run, RunAggregate, RunEvent
from pymigrate.engine.domain.run_states import DesiredState, Point, TaskKind, TaskState
from pymigrate.v1 import plan_pb2, run_pb2

T = TypeVar("T")
DESIRED = {
    run_pb2.DESIRED_STATE_UNSPECIFIED: DesiredState.RUNNING,
    run_pb2.DESIRED_STATE_RUNNING: DesiredState.RUNNING,
    run_pb2.DESIRED_STATE_PAUSED: DesiredState.PAUSED,
    run_pb2.DESIRED_STATE_CANCELLED: DesiredState.CANCELLED,
}
_GATES = {
    Point.BEFORE_START: plan_pb2.GATE_POINT_BEFORE_START,
    Point.BEFORE_PUBLICATION: plan_pb2.GATE_POINT_BEFORE_PUBLICATION,
}


def run_message(aggregate: RunAggregate, now: datetime) -> run_pb2.Run:
    """A run with its phases and datasets. `now` dates the copying that is under way. What was undone or failed counts for its phase, to be
    read there, and not for what the run has moved, as in its KPIs."""
    message = run_header(aggregate.run)
    for phase in aggregate.phases.values():
        message.phases[phase.id].CopyFrom(_phase(phase))
    lanes, seconds = _lanes_by_dataset(aggregate), _seconds_under_way(aggregate, now)
    for (phase_id, dataset_id), dataset in aggregate.datasets.items():
        part = _dataset(dataset, lanes.get((phase_id, dataset_id), []), seconds.get((phase_id, dataset_id), 0.0))
        message.phases[phase_id].datasets[dataset_id].CopyFrom(part)
        if aggregate.phases[phase_id].state not in UNDONE:
            message.rows += part.rows
            message.bytes += part.bytes
    message.lane_counts.CopyFrom(_lane_counts(lanes))
    expected = [dataset.rows_expected for dataset in aggregate.datasets.values()]
    message.rows_expected = -1 if any(rows < 0 for rows in expected) else sum(expected)
    return message


def run_header(run: Run) -> run_pb2.Run:
    """A run without its parts."""
    return run_pb2.Run(
        name=run.name,
        state=run_pb2.RunState.Value(f"RUN_STATE_{run.state.name}"),
        desired_state=run_pb2.DesiredState.Value(f"DESIRED_STATE_{run.desired.name}"),
        plan_hash=run.plan_hash,
        triggers=run.triggers,
        key=run.key,
        etag=f"{run.key[:12]}-{run.version}",
        managed_by=run.managed_by,
        failure=failure_message(run.failure),
        create_time=timestamp(run.create_time),
        end_time=timestamp(run.end_time),
        update_time=timestamp(run.update_time),
        waiting_for_plans=run.waiting_for,
        seal_time=timestamp(run.seal_time),
        lanes_max=run.lanes_max,
    )


def lane_message(run: str, lane: Lane) -> run_pb2.Lane:
    """A lane."""
    return run_pb2.Lane(
        name=f"{run}/lanes/{lane.id}",
        phase=lane.phase,
        dataset=lane.dataset,
        state=run_pb2.LaneState.Value(f"LANE_STATE_{lane.state.name}"),
        fence=lane.fence,
        chunks=lane.chunks,
        rows=lane.rows,
        bytes=lane.bytes,
        rows_expected=lane.rows_expected,
        host=lane.host,
        failure=failure_message(lane.failure),
        retries=lane.retries,
        start_time=timestamp(lane.start_time),
        end_time=timestamp(lane.end_time),
        part=lane.part,
        secret_versions=lane.secret_versions,
    )


def lane_messages(aggregate: RunAggregate) -> list[run_pb2.Lane]:
    """All lanes of a run, ordered by name."""
    return [lane_message(aggregate.run.name, aggregate.lanes[lane]) for lane in sorted(aggregate.lanes)]


def event_message(run: str, event: RunEvent) -> run_pb2.RunEvent:
    """Something that happened."""
    return run_pb2.RunEvent(
        sequence=event.sequence,
        id=f"{run}/events/{event.sequence}",
        time=timestamp(event.time),
        type=event.type,
        subject=event.subject,
        from_state=event.from_state,
        to_state=event.to_state,
        actor=event.actor,
        failure=failure_message(event.failure),
    )


@overload
def failure_message(failure: Failure) -> run_pb2.Failure: ...
@overload
def failure_message(failure: None) -> None: ...
@overload
def failure_message(failure: Failure | None) -> run_pb2.Failure | None: ...
def failure_message(failure: Failure | None) -> run_pb2.Failure | None:
    """A failure, or None."""
    if failure is None:
        return None
    return run_pb2.Failure(
        reason=failure.reason, message=failure.message, field=failure.field, is_temporary=failure.is_temporary
    )


def repair_warning(found: run_pb2.Verification) -> Failure | None:
    """What somebody should look into although the rows are mended; None where there was nothing to mend."""
    if not found.repaired_rows:
        return None
    rows = ", ".join(row.row for row in found.repaired)
    return Failure(
        "ROWS_REPAIRED",
        f"the target held {found.repaired_rows:,} rows otherwise than they were written, such as {rows}: they were copied again and "
        "compared; find out what changes rows there",
    )


def failure_record(message: run_pb2.Failure) -> Failure:
    """A failure as the core keeps it."""
    return Failure(message.reason or "INTERNAL", message.message, message.field, message.is_temporary)


def _phase(phase: PhaseRun) -> run_pb2.PhaseRun:
    return run_pb2.PhaseRun(
        state=run_pb2.PhaseState.Value(f"PHASE_STATE_{phase.state.name}"),
        attempt=phase.attempt,
        failure=failure_message(phase.failure),
        start_time=timestamp(phase.start_time),
        end_time=timestamp(phase.end_time),
        department=phase.department,
        dependencies=phase.dependencies,
        gates={
            name: run_pb2.GateRun(point=_GATES[Point(point)], approver=phase.approvals.get(name, ""))
            for name, point in phase.gates.items()
        },
    )


def _dataset(dataset: DatasetRun, lanes: list[Lane], seconds_under_way: float) -> run_pb2.DatasetRun:
    message = run_pb2.DatasetRun(
        rows=sum(lane.rows for lane in lanes),
        bytes=sum(lane.bytes for lane in lanes),
        rows_expected=dataset.rows_expected,
        path=dataset.path,
        path_reason=dataset.path_reason,
        delivery=run_pb2.Delivery.Value(f"DELIVERY_{dataset.delivery.upper() or 'UNSPECIFIED'}"),
        source=f"{dataset.source_connection}:{dataset.source_relation}",
        target=f"{dataset.target_connection}:{dataset.target_relation}",
        start_time=timestamp(dataset.start_time),
        end_time=timestamp(dataset.end_time),
        lanes=sorted(lane.id for lane in lanes),
        copy_seconds=dataset.copy_seconds + seconds_under_way,
        quarantine=failure_message(dataset.quarantine),
        conflicts=dataset.conflicts,
        schema_notes=dataset.schema_notes,
        lag_seconds=dataset.lag_seconds,
        changes=dataset.changes,
        quarantined_rows=sum(lane.quarantined_rows for lane in lanes),
    )
    if dataset.verification:
        message.verification.ParseFromString(dataset.verification)
        message.repaired_rows = message.verification.repaired_rows
    return message


def _lanes_by_dataset(aggregate: RunAggregate) -> dict[tuple[str, str], list[Lane]]:
    """The lanes of each dataset in the newest attempt of its phase."""
    found: dict[tuple[str, str], list[Lane]] = {}
    for lane in aggregate.lanes.values():
        if lane.attempt == aggregate.phases[lane.phase].attempt:
            found.setdefault((lane.phase, lane.dataset), []).append(lane)
    return found


def _lane_counts(lanes: Mapping[tuple[str, str], list[Lane]]) -> run_pb2.LaneCounts:
    """How many of these lanes stand where."""
    counts = Counter(lane.state.value for each in lanes.values() for lane in each)
    return run_pb2.LaneCounts(**counts)


def _seconds_under_way(aggregate: RunAggregate, now: datetime) -> dict[tuple[str, str], float]:
    """How long each dataset has been copied since its host was given it."""
    found: dict[tuple[str, str], float] = {}
    for task in aggregate.tasks.values():
        if task.kind is TaskKind.COPY and task.state is TaskState.LEASED and task.leased_time is not None:
            place = (task.phase, task.datasets[0])
            found[place] = found.get(place, 0.0) + max(0.0, (now - task.leased_time).total_seconds())
    return found


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment as the contract has it; None where there is none."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
