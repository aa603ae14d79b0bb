"""What a host is told to do: the contract's work messages, made from a run's frozen revision."""

import hashlib
from typing import assert_never

from pymigrate.engine.application.dataset_definitions import CHUNK_BYTES_MIN
from pymigrate.engine.application.run_places import attempt_place
from pymigrate.engine.domain.run import Lane, RunAggregate, Task
from pymigrate.engine.domain.run_states import TaskKind
from pymigrate.engine.ports.relations import CHUNK_BYTES
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2

SHARED = "shared"
STAGING_DIGITS = 20
SCRATCH_DIGITS = 8
ADDING = frozenset({plan_pb2.LOAD_MODE_MERGE, plan_pb2.LOAD_MODE_APPEND})
NAME_BYTES_LEAST = 63
NAME_BYTES_MAX = {"mysql": 64, "files": 255, "iceberg": 200, "sqlite": 200, "duckdb": 200}


def affinity_of(target: connection_pb2.Connection) -> str:
    """Which hosts may write to a target: one alone for a file that admits one writer, otherwise any of the shared ones."""
    match target.WhichOneof("system"):
        case "duckdb":
            return f"file:{target.duckdb.path}"
        case "iceberg":
            return f"file:{target.iceberg.catalog_path}"
        case "sqlalchemy" if target.sqlalchemy.url.startswith("sqlite"):
            return f"file:{target.sqlalchemy.url}"
        case "sqlite":
            return f"file:{target.sqlite.path}"
        case _:
            return SHARED


def dataset_affinity(source: connection_pb2.Connection, target: connection_pb2.Connection) -> str:
    """Which hosts may move a dataset: the target's own; where any may write to the target, those that may read the source. A DuckDB file
    that is read on another file's host is opened read only there, and waited for while its own host writes to it."""
    writers = affinity_of(target)
    return reader_affinity(source) if writers == SHARED else writers


def reader_affinity(connection: connection_pb2.Connection) -> str:
    """Which hosts may look into a connection: a DuckDB file admits one process, even for reading."""
    return affinity_of(connection) if connection.WhichOneof("system") == "duckdb" else SHARED


def staging_id(run: str, phase: str, dataset: str, attempt: int) -> str:
    """Tells a dataset's staging in one attempt of one run from every other."""
    digest = hashlib.sha256(f"{run}/{phase}/{dataset}/{attempt}".encode()).hexdigest()
    return f"s{digest[:STAGING_DIGITS]}"


def publication_key(run: str, phase: str, target: str, attempt: int) -> str:
    """Tells a publication that takes place in several targets from every other."""
    digest = hashlib.sha256(f"{run}/{phase}/{target}/{attempt}".encode()).hexdigest()
    return f"p{digest[:STAGING_DIGITS]}"


def inspection_work(revision: run_pb2.PlanRevision, phase: str, dataset: str) -> worker_pb2.InspectWork:
    """A look at both sides of a dataset before its run exists."""
    definition = revision.plan.phases[phase].datasets[dataset]
    return worker_pb2.InspectWork(
        dataset=_dataset(revision, "", phase, dataset, 0),
        lanes_max=definition.lanes,
        relations={
            other.source.relation: other.target.relation
            for each in revision.plan.phases.values()
            for other in each.datasets.values()
            if (other.source.connection, other.target.connection)
            == (definition.source.connection, definition.target.connection)
        },
    )


def probe_work(revision: run_pb2.PlanRevision, phase: str, dataset: str, number: int) -> worker_pb2.ProbeWork:
    """A sample of an inspected dataset, to be copied into a scratch relation. Probes that are under way at once have other numbers: each
    has a scratch relation and a staging of its own, and always the same."""
    work = _dataset(revision, f"{revision.plan.name}/probes", phase, dataset, number)
    found = revision.inspections[f"{phase}/{dataset}"]
    digits = work.staging_id[1 : SCRATCH_DIGITS + 1]
    target = work.dataset.target
    target.relation = scratch_relation(target.relation, work.target.WhichOneof("system") or "", digits)
    target.load_mode = plan_pb2.LOAD_MODE_REPLACE
    work.dataset.ClearField("conflict_policy")
    return worker_pb2.ProbeWork(dataset=work, lanes=max(1, len(found.ranges)), dataset_bytes=max(0, found.source.bytes))


def held_chunk_bytes(revision: run_pb2.PlanRevision, phase: str, dataset_id: str) -> int:
    """What a chunk of a dataset holds at most whose systems limit bytes: a chunk is read at once, so that it is what one of the dataset's
    lanes may read in a second, and lanes go on evenly. 0: its systems limit none."""
    dataset = revision.plan.phases[phase].datasets[dataset_id]
    sides = [revision.connections[side.connection] for side in (dataset.source, dataset.target)]
    place = f"{phase}/{dataset_id}"
    lanes = max(1, len(revision.inspections[place].ranges)) if place in revision.inspections else 1
    rates = [int(side.bytes_per_second_max / lanes) for side in sides if side.bytes_per_second_max]
    return max(CHUNK_BYTES_MIN, min(dataset.chunk_bytes or CHUNK_BYTES, *rates)) if rates else 0


def scratch_relation(relation: str, system: str, digits: str) -> str:
    """The name of a relation's scratch relation, beside it: as long as the target allows."""
    separator = "/" if system == "files" else "."
    first, dot, name = relation.rpartition("/") if separator == "/" else relation.partition(".")
    if not (first and dot and name):
        first, dot, name = "", "", relation
    ending = f"_probe{digits}"
    kept = name.encode()[: NAME_BYTES_MAX.get(system, NAME_BYTES_LEAST) - len(ending)].decode(errors="ignore")
    return f"{first}{dot}{kept}{ending}"


def task_message(
    revision: run_pb2.PlanRevision, aggregate: RunAggregate, task: Task, lease_seconds: float
) -> worker_pb2.Task:
    """A run's task, as its host is told."""
    run = aggregate.run.name
    attempt = attempt_place(aggregate.run, task.id, task.fence)
    message = worker_pb2.Task(id=task.id, fence=task.fence, lease_seconds=lease_seconds, traceparent=str(attempt or ""))
    datasets = [_dataset(revision, run, task.phase, dataset, task.attempt) for dataset in task.datasets]
    key = publication_key(run, task.phase, task.target, task.attempt)
    prepared_key = key if task.is_prepared else ""
    match task.kind:
        case TaskKind.COPY:
            inspection = revision.inspections[f"{task.phase}/{task.datasets[0]}"]
            part = aggregate.lanes[task.lane].part
            message.copy.dataset.CopyFrom(datasets[0])
            message.copy.lane = f"{run}/lanes/{task.lane}"
            message.copy.source_state = inspection.source_state
            message.copy.range = inspection.ranges[part - 1] if part else ""
        case TaskKind.CAPTURE:
            message.capture.dataset.CopyFrom(datasets[0])
        case TaskKind.CATCH_UP:
            message.catch_up.dataset.CopyFrom(datasets[0])
        case TaskKind.VERIFY:
            message.verify.dataset.CopyFrom(datasets[0])
            inspection = revision.inspections[f"{task.phase}/{task.datasets[0]}"]
            lanes = _lanes(aggregate, task)
            message.verify.lanes.extend(f"{run}/lanes/{lane.id}" for lane in lanes)
            message.verify.ranges.extend(inspection.ranges[lane.part - 1] for lane in lanes if lane.part)
        case TaskKind.PREPARE:
            message.prepare.datasets.extend(datasets)
            message.prepare.key = key
        case TaskKind.PUBLISH:
            message.publish.datasets.extend(datasets)
            message.publish.prepared_key = prepared_key
        case TaskKind.ROLLBACK:
            message.rollback.datasets.extend(datasets)
            message.rollback.prepared_key = prepared_key
        case TaskKind.SEAL:
            message.seal.datasets.extend(datasets)
        case TaskKind.STEP | TaskKind.UNDO:
            step = revision.plan.phases[task.phase].steps[task.detail]
            message.step.call.CopyFrom(step.call if task.kind is TaskKind.STEP else step.undo)
            message.step.key = f"{run}/phases/{task.phase}/steps/{task.detail}/{task.kind}/{task.attempt}"
        case _:
            assert_never(task.kind)
    return message


def _lanes(aggregate: RunAggregate, task: Task) -> list[Lane]:
    """The lanes of the task's dataset in its attempt, in the order of their parts."""
    found = [
        lane
        for lane in aggregate.lanes.values()
        if (lane.phase, lane.dataset, lane.attempt) == (task.phase, task.datasets[0], task.attempt)
    ]
    return sorted(found, key=lambda lane: lane.part)


def _dataset(
    revision: run_pb2.PlanRevision, run: str, phase: str, dataset_id: str, attempt: int
) -> worker_pb2.DatasetWork:
    dataset: plan_pb2.Dataset = revision.plan.phases[phase].datasets[dataset_id]
    work = worker_pb2.DatasetWork(
        run=run,
        phase=phase,
        dataset_id=dataset_id,
        dataset=dataset,
        source=revision.connections[dataset.source.connection],
        target=revision.connections[dataset.target.connection],
        staging_id=staging_id(run, phase, dataset_id, attempt),
    )
    if held := held_chunk_bytes(revision, phase, dataset_id):
        work.dataset.chunk_bytes = held
    for transform in dataset.transforms:
        if transform.HasField("lookup") and transform.lookup.source.connection in revision.connections:
            name = transform.lookup.source.connection
            work.lookups[name].CopyFrom(revision.connections[name])
    place = f"{phase}/{dataset_id}"
    if place in revision.inspections:
        work.schema.CopyFrom(revision.inspections[place].source)
        work.path = revision.inspections[place].path
    return work
