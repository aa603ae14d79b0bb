"""What hosts do with a run's tasks: they lease them, and report progress and the end of each under its fence."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from pymigrate.engine.domain.happenings import Drained, Failed, Progressed, Renewed, Reported, Succeeded
from pymigrate.engine.domain.retrying import Retrying
from pymigrate.engine.domain.run import Failure, Lane, Task
from pymigrate.engine.domain.run_states import LaneState, PhaseState, TaskKind, TaskState

REFUSED_REASON = "DATA_REFUSED"
ROTATED = "secret.rotated"
CATCH_UP_SECONDS = 2.0


class Reporting(Retrying):
    """A run as its hosts tell of it."""

    def _lease(self, task: Task, host: str, until: datetime) -> bool:
        if task.state is not TaskState.PENDING:
            return False
        self._step_task(task, TaskState.LEASED)
        task.host, task.lease_expires, task.leased_time, task.not_before = host, until, self._now, None
        phase = self.aggregate.phases[task.phase]
        if phase.is_online and task.kind in {TaskKind.CAPTURE, TaskKind.CATCH_UP, TaskKind.VERIFY}:
            changing = self.aggregate.datasets[task.phase, task.datasets[0]]
            changing.fence += 1
            task.fence = changing.fence
            self._note(changing)
            return True
        if task.kind is not TaskKind.COPY:
            task.fence += 1
            return True
        lane = self.aggregate.lanes[task.lane]
        self._step_lane(lane, LaneState.RUNNING)
        lane.fence += 1
        lane.host = task.host
        lane.start_time = lane.start_time or self._now
        task.fence = lane.fence
        dataset = self.aggregate.datasets[lane.phase, lane.dataset]
        if dataset.start_time is None:
            dataset.start_time = self._now
            self._note(dataset)
        if phase.state is PhaseState.READY:
            self._step_phase(phase, PhaseState.STAGING)
        return True

    def _report(self, event: Reported) -> bool:
        task = self.aggregate.tasks.get(event.task)
        if task is None or task.state is not TaskState.LEASED or task.fence != event.fence:
            return False
        match event:
            case Succeeded():
                self._succeed(task, event)
            case Progressed():
                self._progress(task, event)
            case Renewed(until=until):
                task.lease_expires = until
            case Failed(failure=failure):
                self._fail(task, _placed(task, failure))
            case Drained():
                self._step_task(task, TaskState.PENDING)
                self._touch(task.phase)
                if task.lane:
                    self._step_lane(self.aggregate.lanes[task.lane], LaneState.PENDING)
            case _:
                assert_never(event)
        return True

    def _progress(self, task: Task, event: Progressed) -> None:
        if task.kind is TaskKind.CATCH_UP:
            dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
            if event.changes > dataset.changes:
                task.retries, task.waits, task.failing_since = 0, 0, None
            dataset.changes = max(dataset.changes, event.changes)
            if event.lag_seconds >= 0:  # else it is on the way, and is what it was
                dataset.lag_seconds = event.lag_seconds
            self._note(dataset)
        if not task.lane:  # a verification that drained has got nowhere
            return
        lane = self.aggregate.lanes[task.lane]
        if event.chunks > lane.chunks:
            task.retries, task.waits, task.failing_since = 0, 0, None
            lane.failure = None
        lane.chunks, lane.rows, lane.bytes = event.chunks, event.rows, event.bytes
        lane.quarantined_rows = event.quarantined_rows
        self._note_versions(lane, event.secret_versions)
        self._note(lane)

    def _note_versions(self, lane: Lane, versions: Mapping[str, str]) -> None:
        """Told once all lanes have left a version behind, nobody uses it any more."""
        if not versions or versions == lane.secret_versions:
            return
        is_rotated = any(lane.secret_versions.get(ref, version) != version for ref, version in versions.items())
        lane.secret_versions = dict(versions)
        if is_rotated:
            self._emit(ROTATED, self._subject("lanes", lane.id), lane.state, lane.state)

    def _succeed(self, task: Task, event: Succeeded) -> None:
        if task.kind is TaskKind.CATCH_UP:
            self._caught_up(task)
            return
        self._step_task(task, TaskState.DONE)
        match task.kind:
            case TaskKind.COPY:
                lane = self.aggregate.lanes[task.lane]
                self._step_lane(lane, LaneState.DONE)
                if lane.quarantined_rows:
                    said = Failure(REFUSED_REASON, f"{lane.quarantined_rows:,} rows were refused and are in quarantine")
                    subject = f"{self._subject('phases', task.phase)}/datasets/{lane.dataset}"
                    self._emit("dataset.quarantined", subject, TaskState.LEASED, TaskState.DONE, said)
                lane.end_time = self._now
                lane.failure = None
            case TaskKind.VERIFY:
                dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
                dataset.verification = event.verification
                dataset.verify_seconds = self._leased_seconds(task)
                dataset.end_time = self._now
                self._note(dataset)
                if event.warning is not None:
                    subject = f"{self._subject('phases', task.phase)}/datasets/{task.datasets[0]}"
                    self._emit("dataset.repaired", subject, TaskState.LEASED, TaskState.DONE, event.warning)
            case TaskKind.PREPARE:
                task.is_prepared = event.is_prepared
                self._add_publish_seconds(task)
            case TaskKind.PUBLISH:
                self._add_publish_seconds(task)
                for name, rows in event.conflicts.items():
                    dataset = self.aggregate.datasets[task.phase, name]
                    dataset.conflicts = rows
                    self._note(dataset)
                for name, notes in event.schema_notes.items():
                    dataset = self.aggregate.datasets[task.phase, name]
                    dataset.schema_notes = tuple(dict.fromkeys((*dataset.schema_notes, *notes)))
                    self._note(dataset)
            case TaskKind.STEP | TaskKind.UNDO:
                self._emit(f"step.{task.kind}", self._step_subject(task), TaskState.LEASED, TaskState.DONE)
            case TaskKind.CAPTURE | TaskKind.ROLLBACK | TaskKind.SEAL:
                pass
            case _:
                assert_never(task.kind)

    def _add_publish_seconds(self, task: Task) -> None:
        seconds = self._leased_seconds(task)
        for name in task.datasets:
            dataset = self.aggregate.datasets[task.phase, name]
            dataset.publish_seconds += seconds
            self._note(dataset)

    def _leased_seconds(self, task: Task) -> float:
        """How long the host has had it that it was given to last."""
        return 0.0 if task.leased_time is None else (self._now - task.leased_time).total_seconds()

    def _caught_up(self, task: Task) -> None:
        """It is done again and again until writes are blocked: the source goes on changing."""
        dataset = self.aggregate.datasets[task.phase, task.datasets[0]]
        dataset.lag_seconds = max(dataset.lag_seconds, 0.0)
        self._note(dataset)
        self._step_task(task, TaskState.PENDING)
        task.retries, task.waits, task.failing_since, task.failure = 0, 0, None, None
        self._hold_back(task, self._now + timedelta(seconds=CATCH_UP_SECONDS))
        self._touch(task.phase)

    def _step_subject(self, task: Task) -> str:
        return f"{self._subject('phases', task.phase)}/steps/{task.detail}"


def _placed(task: Task, failure: Failure) -> Failure:
    """A host tells a field relative to the dataset; the run tells it relative to the plan."""
    if not failure.field or not task.datasets or failure.field.startswith("phases."):
        return failure
    return replace(failure, field=f"phases.{task.phase}.datasets.{task.datasets[0]}.{failure.field}")
