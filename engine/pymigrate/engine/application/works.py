"""What a host is told to do: the contract's work messages, made from a run's frozen revision."""

import hashlib

from pymigrate.engine.domain.run import Task, TaskKind
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2

SHARED = "shared"
STAGING_DIGITS = 20


def affinity_of(target: connection_pb2.Connection) -> str:
    """Which hosts may write to a target: one alone for a file that admits one writer, otherwise any of the shared ones."""
    match target.WhichOneof("system"):
        case "duckdb":
            return f"file:{target.duckdb.path}"
        case "sqlite":
            return f"file:{target.sqlite.path}"
        case _:
            return SHARED


def reader_affinity(connection: connection_pb2.Connection) -> str:
    """Which hosts may look into a connection: a DuckDB file admits one process, even for reading."""
    return affinity_of(connection) if connection.WhichOneof("system") == "duckdb" else SHARED


def staging_id(run: str, phase: str, dataset: str, attempt: int) -> str:
    """Tells a dataset's staging in one attempt of one run from every other."""
    digest = hashlib.sha256(f"{run}/{phase}/{dataset}/{attempt}".encode()).hexdigest()
    return f"s{digest[:STAGING_DIGITS]}"


def inspection_work(revision: run_pb2.PlanRevision, phase: str, dataset: str) -> worker_pb2.InspectWork:
    """A look at both sides of a dataset before its run exists."""
    return worker_pb2.InspectWork(dataset=_dataset(revision, "", phase, dataset, 0))


def task_message(revision: run_pb2.PlanRevision, run: str, task: Task, lease_seconds: float) -> worker_pb2.Task:
    """A run's task, as its host is told."""
    message = worker_pb2.Task(id=task.id, fence=task.fence, lease_seconds=lease_seconds)
    datasets = [_dataset(revision, run, task.phase, dataset, task.attempt) for dataset in task.datasets]
    match task.kind:
        case TaskKind.COPY:
            inspection = revision.inspections[f"{task.phase}/{task.datasets[0]}"]
            message.copy.dataset.CopyFrom(datasets[0])
            message.copy.lane = f"{run}/lanes/{task.lane}"
            message.copy.source_state = inspection.source_state
        case TaskKind.VERIFY:
            suffix = f".{task.attempt}" if task.attempt > 1 else ""
            message.verify.dataset.CopyFrom(datasets[0])
            message.verify.lanes.append(f"{run}/lanes/{task.phase}.{task.datasets[0]}{suffix}")
        case TaskKind.PUBLISH:
            message.publish.datasets.extend(datasets)
        case TaskKind.ROLLBACK:
            message.rollback.datasets.extend(datasets)
    return message


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
    place = f"{phase}/{dataset_id}"
    if place in revision.inspections:
        work.schema.CopyFrom(revision.inspections[place].source)
    return work
