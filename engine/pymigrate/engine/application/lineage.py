"""Runs, phases and datasets as OpenLineage's run events: what was read, what was written, with its schema and its rows.

A dataset begins and ends with its phase, for that is when it is published, or not. Ids follow from names, creation time and attempt, so
that a repeated event is the same one.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from pymigrate.engine.application.lineage_names import dataset_name, source_uri
from pymigrate.engine.application.lineage_steps import Kind, LineageSteps, Step
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.run import DatasetRun, Failure, RunAggregate
from pymigrate.engine.domain.run_states import LaneState, TaskState
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.posts import Message
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import run_pb2

CONTENT_TYPE = "application/json"
SPEC = "https://openlineage.io/spec"
RUN_EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
IDS = uuid.UUID("6f0a3c1e-5d0b-5a56-9c55-3f0c9f1f7d11")
RUNS_FOLLOWED_MAX = 1_000
EVENTS_PAGE = 1_000
FACETS = {
    "parent": "1-0-1/ParentRunFacet.json#/$defs/ParentRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "jobType": "2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "schema": "1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
}
Document = dict[str, Any]


class Lineage:
    """Makes the messages. `instance` is what this engine is called outside: the namespace of its jobs."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._steps: dict[str, LineageSteps] = {}

    def messages(self, unit: Unit, entries: Sequence[FeedEntry]) -> list[list[Message]]:
        """For each entry of a run those that it gives: none, or the run's or the phase's and those of its datasets."""
        told = [(entry, self._step(unit, entry)) for entry in entries]
        needed = {entry.run for entry, step in told if step is not None}
        pictures = {run: picture for run in needed if (picture := _Picture.load(unit, run, self._instance)) is not None}
        return [
            [_message(each) for each in pictures[entry.run].documents(entry, step)]
            if step is not None and entry.run in pictures
            else []
            for entry, step in told
        ]

    def _step(self, unit: Unit, entry: FeedEntry) -> Step | None:
        if not entry.run:
            return None
        steps = self._steps.pop(entry.run, None)
        if steps is None or steps.sequence != entry.sequence - 1:
            steps = _replayed(unit, entry)
        if len(self._steps) >= RUNS_FOLLOWED_MAX:
            del self._steps[next(iter(self._steps))]
        self._steps[entry.run] = steps
        return steps.take(entry.sequence, entry.type, entry.subject, entry.from_state, entry.to_state)


def _replayed(unit: Unit, entry: FeedEntry) -> LineageSteps:
    """What came before an entry, from the store: this process has not seen it."""
    steps = LineageSteps()
    while steps.sequence < entry.sequence - 1:
        page = unit.runs.events(entry.run, steps.sequence, min(EVENTS_PAGE, entry.sequence - 1 - steps.sequence))
        if not page:
            break
        for event in page:
            steps.take(event.sequence, event.type, event.subject, event.from_state, event.to_state)
    return steps


class _Picture:
    """A run as it is stored, to tell documents of."""

    def __init__(self, aggregate: RunAggregate, revision: run_pb2.PlanRevision, instance: str) -> None:
        self._aggregate = aggregate
        self._revision = revision
        self._namespace = instance
        run = aggregate.run
        self._job = f"{last_segment(environment_of(run.name))}.{last_segment(run.plan)}"
        self._base = f"{instance}/{run.name}@{run.create_time.isoformat()}"
        self._producer = f"https://pymigrate.io/engine/{version('pymigrate')}"

    @classmethod
    def load(cls, unit: Unit, run: str, instance: str) -> "_Picture | None":
        """None for a run that is not there any more."""
        aggregate = unit.runs.load(run)
        if aggregate is None:
            return None
        return cls(aggregate, run_pb2.PlanRevision.FromString(unit.runs.revision(run) or b""), instance)

    def documents(self, entry: FeedEntry, step: Step) -> Iterable[Document]:
        """The run's or phase's own document, and for a phase one for each of its datasets."""
        records = [
            record for (phase, _), record in sorted(self._aggregate.datasets.items()) if step.phase in {"", phase}
        ]
        run_id, job = self._place(step, step.phase)
        own = self._document(entry.time, step.kind, run_id, job, "PHASE" if step.phase else "RUN", records, step)
        if step.phase:
            above = Step(step.kind, self._run_attempt(step))
            parent_id, parent_job = self._place(above, "")
            own["run"]["facets"]["parent"] = self._parent(parent_id, parent_job)
        if entry.failure is not None and step.kind is Kind.FAIL:
            own["run"]["facets"]["errorMessage"] = self._error(entry.failure)
        yield own
        if not step.phase or step.is_undoing:
            return
        failed = self._failed(step) if step.kind is Kind.FAIL else {}
        for record in records:
            kind = step.kind
            if kind is Kind.FAIL and record.id not in failed:
                kind = Kind.ABORT
            dataset_run, dataset_job = self._place(step, f"{step.phase}.{record.id}")
            document = self._document(entry.time, kind, dataset_run, dataset_job, "DATASET", [record], step)
            document["run"]["facets"]["parent"] = self._parent(run_id, job)
            if (failure := failed.get(record.id)) is not None:
                document["run"]["facets"]["errorMessage"] = self._error(failure)
            yield document

    def _run_attempt(self, step: Step) -> int:
        """Undoing a phase belongs to the run's last attempt."""
        return self._aggregate.run.attempt if step.is_undoing else step.attempt

    def _place(self, step: Step, part: str) -> tuple[str, str]:
        """The id of a run of a job, and the job's name."""
        job = ".".join(filter(None, (self._job, part, "rollback" if step.is_undoing else "")))
        return str(uuid.uuid5(IDS, f"{self._base}/{job}#{step.attempt}")), job

    def _document(
        self,
        time: datetime,
        kind: Kind,
        run_id: str,
        job: str,
        job_type: str,
        records: Sequence[DatasetRun],
        step: Step,
    ) -> Document:
        is_written = kind is Kind.COMPLETE and not step.is_undoing
        is_whole = job_type != "RUN"
        inputs = [] if step.is_undoing else [self._input(record, is_whole=is_whole) for record in records]
        processing = {"processingType": "BATCH", "integration": "PYMIGRATE", "jobType": job_type}
        return {
            "eventType": str(kind),
            "eventTime": time.isoformat().replace("+00:00", "Z"),
            "producer": self._producer,
            "schemaURL": RUN_EVENT,
            "run": {"runId": run_id, "facets": {"processing_engine": self._engine()}},
            "job": {
                "namespace": self._namespace,
                "name": job,
                "facets": {"jobType": self._facet("jobType", processing)},
            },
            "inputs": _distinct(inputs),
            "outputs": [
                self._output(record, step.attempt, is_whole=is_whole, is_written=is_written) for record in records
            ],
        }

    def _input(self, record: DatasetRun, *, is_whole: bool) -> Document:
        document = self._dataset(record.source_connection, record.source_relation)
        definition = self._revision.plan.phases[record.phase].datasets[record.id]
        if is_whole and not definition.transforms:  # what the run froze are the columns after the transforms
            document["facets"]["schema"] = self._schema(record)
        return document

    def _output(self, record: DatasetRun, attempt: int, *, is_whole: bool, is_written: bool) -> Document:
        document = self._dataset(record.target_connection, record.target_relation)
        if is_whole:
            document["facets"]["schema"] = self._schema(record)
        if is_written:
            document["outputFacets"] = {"outputStatistics": self._statistics(record, attempt)}
        return document

    def _dataset(self, connection: str, relation: str) -> Document:
        namespace, name = dataset_name(self._revision.connections[connection], relation)
        source = self._facet("dataSource", {"name": connection, "uri": source_uri(namespace, name)})
        return {"namespace": namespace, "name": name, "facets": {"dataSource": source}}

    def _statistics(self, record: DatasetRun, attempt: int) -> Document:
        """What its lanes committed: rows of the target, and bytes as the source counts them."""
        lanes = [
            lane
            for lane in self._aggregate.lanes.values()
            if (lane.phase, lane.dataset) == (record.phase, record.id) and lane.attempt <= attempt
        ]
        last = max((lane.attempt for lane in lanes), default=0)
        ours = [lane for lane in lanes if lane.attempt == last]
        rows = sum(lane.rows for lane in ours)
        if record.changes:  # what was written meanwhile came on top: what is there was counted at the end
            rows = run_pb2.Verification.FromString(record.verification).target_rows or rows
        counts = {"rowCount": rows, "size": sum(lane.bytes for lane in ours)}
        return self._facet("outputStatistics", counts)

    def _schema(self, record: DatasetRun) -> Document:
        inspection = self._revision.inspections[f"{record.phase}/{record.id}"]
        columns = [{"name": column.name, "type": column.type} for column in inspection.source.columns]
        return self._facet("schema", {"fields": columns})

    def _failed(self, step: Step) -> dict[str, Failure]:
        """The datasets that failed in an attempt of a phase, each with why."""
        aggregate, failed = self._aggregate, dict[str, Failure]()
        for task in aggregate.tasks.values():
            is_ours = (task.phase, task.attempt, task.state) == (step.phase, step.attempt, TaskState.FAILED)
            if is_ours and task.failure is not None:
                failed |= dict.fromkeys(task.datasets, task.failure)
        for lane in aggregate.lanes.values():
            is_ours = (lane.phase, lane.attempt) == (step.phase, step.attempt)
            if is_ours and lane.failure is not None and lane.state in {LaneState.FAILED, LaneState.CONFLICT}:
                failed[lane.dataset] = lane.failure
        return failed

    def _parent(self, run_id: str, job: str) -> Document:
        return self._facet("parent", {"run": {"runId": run_id}, "job": {"namespace": self._namespace, "name": job}})

    def _error(self, failure: Failure) -> Document:
        said = f"{failure.reason}: {failure.message}"
        return self._facet("errorMessage", {"message": said, "programmingLanguage": "PYTHON"})

    def _engine(self) -> Document:
        return self._facet("processing_engine", {"version": version("pymigrate"), "name": "PyMigrate"})

    def _facet(self, name: str, content: Mapping[str, Any]) -> Document:
        return {"_producer": self._producer, "_schemaURL": f"{SPEC}/facets/{FACETS[name]}", **content}


def _distinct(datasets: Iterable[Document]) -> list[Document]:
    """One source may be read by several datasets."""
    return list({(each["namespace"], each["name"]): each for each in datasets}.values())


def _message(document: Document) -> Message:
    return Message(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), CONTENT_TYPE)
