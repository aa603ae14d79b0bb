"""What is declared of departments, phases and datasets, as the business figures take it."""

from collections.abc import Sequence

from pymigrate.engine.application.kinds import DEPARTMENTS, children
from pymigrate.engine.application.schedules import calendar_of, schedules_of
from pymigrate.engine.domain.business import Move
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.reach import Effect
from pymigrate.engine.domain.resources import NOT_KNOWN, Load, ReadBack
from pymigrate.engine.domain.systems import Criticality, Department, Landscape, System
from pymigrate.engine.ports.relations import CHUNK_BYTES
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2

DUCKDB_CHUNK_BYTES = 64_000_000
_EFFECTS = {
    plan_pb2.DOWNTIME_POLICY_UNSPECIFIED: Effect.DOWN,
    plan_pb2.DOWNTIME_POLICY_OFFLINE: Effect.DOWN,
    plan_pb2.DOWNTIME_POLICY_READ_ONLY: Effect.READ_ONLY,
    plan_pb2.DOWNTIME_POLICY_ONLINE: Effect.LOAD,
}
_READ_BACK = {
    plan_pb2.VERIFICATION_LEVEL_UNSPECIFIED: ReadBack.SAMPLE,
    plan_pb2.VERIFICATION_LEVEL_COUNT: ReadBack.NOTHING,
    plan_pb2.VERIFICATION_LEVEL_SAMPLED: ReadBack.SAMPLE,
    plan_pb2.VERIFICATION_LEVEL_FULL: ReadBack.EVERYTHING,
    plan_pb2.VERIFICATION_LEVEL_NONE: ReadBack.NOTHING,
}


def landscape_of(unit: Unit, environment: str) -> Landscape:
    """The departments of an environment with their systems."""
    found = (DEPARTMENTS.held(resource) for resource in children(unit, "departments", environment))
    return Landscape({last_segment(department.name): read_department(department) for department in found})


def read_department(declared: environment_pb2.Department) -> Department:
    """A department as it is declared; what is left out has its default."""
    cost = declared.downtime_cost_per_hour
    return Department(
        systems={name: _system(system) for name, system in declared.systems.items()},
        users=declared.users,
        currency=cost.currency_code if declared.HasField("downtime_cost_per_hour") else "",
        hour_cost=cost.amount,
        read_only_share=declared.read_only_cost_share or 1.0,
        dependencies=tuple(declared.dependencies),
    )


def move_of(
    revision: run_pb2.PlanRevision,
    name: str,
    *,
    rows: int = NOT_KNOWN,
    size_bytes: int = NOT_KNOWN,
    unknowns: Sequence[str] = (),
) -> Move:
    """What a phase of a plan does, with how much it moves (-1: not known) and what of that is not known, each as a sentence."""
    phase = revision.plan.phases[name]
    datasets = phase.datasets.values()
    looked_up = {
        transform.lookup.source.connection
        for dataset in datasets
        for transform in dataset.transforms
        if transform.HasField("lookup")
    }
    return Move(
        department=phase.department,
        effect=_EFFECTS[phase.downtime_policy],
        sources=frozenset(dataset.source.connection for dataset in datasets),
        loaded=frozenset(looked_up.union(dataset.target.connection for dataset in datasets)),
        calendars=calendars_of(revision, name),
        rows=rows,
        bytes=size_bytes,
        unknowns=tuple(unknowns),
    )


def calendars_of(revision: run_pb2.PlanRevision, phase: str) -> tuple[Calendar, ...]:
    """The calendars of the environment, of the plan and of a phase of it, where they have any windows or blackouts."""
    schedules = schedules_of(revision, phase)
    return tuple(calendar_of(schedule) for schedule in schedules if schedule.windows or schedule.blackouts)


def load_of(
    revision: run_pb2.PlanRevision,
    phase: str,
    name: str,
    *,
    rows: int = NOT_KNOWN,
    size_bytes: int = NOT_KNOWN,
    target_row_bytes: float = 0.0,
    replaced_bytes: int = NOT_KNOWN,
) -> Load:
    """What a dataset needs that has so many rows and bytes (-1: not known), and so many bytes a row in the target (0: not known, as many
    as are read). `replaced_bytes` are those of the relation that it replaces; -1: not known, reckoned from that relation's rows."""
    dataset = revision.plan.phases[phase].datasets[name]
    source, target = (revision.connections[side.connection] for side in (dataset.source, dataset.target))
    place = f"{phase}/{name}"
    inspection = revision.inspections[place] if place in revision.inspections else run_pb2.Inspection()
    path = inspection.path or CopyPath.ARROW
    is_scanned = source.HasField("postgres") and path == CopyPath.ARROW
    row_bytes = target_row_bytes or (size_bytes / rows if rows > 0 and size_bytes >= 0 else 0.0)
    return Load(
        source=dataset.source.connection,
        target=dataset.target.connection,
        lanes=max(1, len(inspection.ranges) or dataset.lanes),
        chunk_bytes=chunk_bytes_of(dataset, target),
        bytes=size_bytes,
        target_bytes=_target_bytes(rows, size_bytes, target_row_bytes),
        kept_bytes=_kept_bytes(dataset, inspection, rows, row_bytes, replaced_bytes),
        source_sessions=2 if is_scanned else 1,
        read_back=_READ_BACK[dataset.verification],
    )


def chunk_bytes_of(dataset: plan_pb2.Dataset, target: connection_pb2.Connection) -> int:
    """What a chunk of a dataset holds at most."""
    return dataset.chunk_bytes or (DUCKDB_CHUNK_BYTES if target.HasField("duckdb") else CHUNK_BYTES)


def _target_bytes(rows: int, size_bytes: int, target_row_bytes: float) -> int:
    return round(rows * target_row_bytes) if rows >= 0 and target_row_bytes > 0 else size_bytes


def _kept_bytes(
    dataset: plan_pb2.Dataset, inspection: run_pb2.Inspection, rows: int, row_bytes: float, replaced_bytes: int
) -> int:
    """What of the target's rows is kept for the way back: all that are replaced, of a merge at most as many as come."""
    present = inspection.target_rows if inspection.is_target_present else 0
    match dataset.target.load_mode:
        case plan_pb2.LOAD_MODE_REPLACE if replaced_bytes >= 0:
            return replaced_bytes
        case plan_pb2.LOAD_MODE_REPLACE:
            kept = present
        case plan_pb2.LOAD_MODE_MERGE:
            kept = min(present, rows) if rows >= 0 else present
        case _:
            kept = 0
    if kept and row_bytes <= 0:
        return NOT_KNOWN
    return round(kept * row_bytes)


def _system(declared: environment_pb2.System) -> System:
    return System(
        connection=declared.connection,
        criticality=Criticality(declared.criticality or environment_pb2.CRITICALITY_MEDIUM),
        rto_seconds=float(declared.rto_seconds),
        availability_percent=declared.availability_percent,
        dependencies=tuple(declared.dependencies),
    )
