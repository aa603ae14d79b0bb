"""What follows when a task fails or loses its host: another try, later, or none; and what then fails with it.

A system that is away comes back and is waited for, and so is one whose secret is in rotation; everything else is tried so often. The
rest is for a person."""

import random
from dataclasses import replace
from datetime import timedelta

from pymigrate.engine.domain.advancing import Advancing
from pymigrate.engine.domain.run import Failure, RunAggregate, Task
from pymigrate.engine.domain.run_layout import RunLayout
from pymigrate.engine.domain.run_states import AFTERWARDS, PHASE_IN_HAND, LaneState, PhaseState, TaskKind, TaskState

RETRIES_MAX = 20
RETRIES_INTERNAL_MAX = 3
LOSSES_WITHOUT_DELAY = 2
OUTAGE_SECONDS_MAX = 86_400.0
OUTAGE_REASON = "SYSTEM_UNAVAILABLE"
# A login that is refused, and a secret that can't be read: of a run under way they were good when it was frozen.
LOGIN_REASONS = frozenset({"CREDENTIALS_REFUSED", "SECRETS_UNAVAILABLE", "SECRET_MISSING", "SECRET_REFUSED"})
WAITED_FOR = LOGIN_REASONS | {OUTAGE_REASON}
LOSSES_REASON = "HOST_LOST"
CONFLICT_REASON = "MERGE_CONFLICT"
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0
BACKOFF_DOUBLINGS_MAX = 10
RETRIABLE_REASONS = frozenset({"INTERNAL", "FENCE_LOST"})


class Retrying(Advancing):
    """A run's failures. `rng` draws the jitter of retries."""

    def __init__(
        self, aggregate: RunAggregate, rng: random.Random, layout: RunLayout | None = None, *, is_quiet: bool = False
    ) -> None:
        super().__init__(aggregate, layout, is_quiet=is_quiet)
        self._rng = rng

    def _lose(self, task: Task) -> bool:
        """At once with another host at first; one that keeps losing its hosts waits as one that keeps failing does."""
        failure = Failure(LOSSES_REASON, f"worker host {task.host} was lost", is_temporary=True)
        losses = task.retries - task.waits - LOSSES_WITHOUT_DELAY
        self._try_again(task, failure, self._backoff_seconds(losses) if losses >= 0 else 0.0)
        return True

    def _fail(self, task: Task, failure: Failure) -> None:
        if _is_waited_for(task, failure):
            self._try_again(task, failure, self._backoff_seconds(task.waits), is_wait=True)
        elif failure.is_temporary or failure.reason in RETRIABLE_REASONS:
            self._try_again(task, failure, self._backoff_seconds(task.retries - task.waits))
        else:
            self._give_up(task, failure)

    def _backoff_seconds(self, retries: int) -> float:
        longest: float = BACKOFF_FIRST_SECONDS * 2 ** min(retries, BACKOFF_DOUBLINGS_MAX)
        return min(BACKOFF_MAX_SECONDS, longest) * self._rng.uniform(0.5, 1.0)

    def _try_again(self, task: Task, failure: Failure, delay_seconds: float, *, is_wait: bool = False) -> None:
        if self._is_hopeless(task, failure, is_wait=is_wait):
            self._give_up(task, failure)
            return
        task.retries += 1
        task.waits += is_wait
        task.failing_since = task.failing_since or self._now
        self._step_task(task, TaskState.PENDING)
        self._touch(task.phase)
        task.failure = failure
        self._hold_back(task, self._now + timedelta(seconds=delay_seconds) if delay_seconds else None)
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            lane.failure, lane.retries = failure, lane.retries + 1
            self._step_lane(lane, LaneState.STALLED, failure)

    def _is_hopeless(self, task: Task, failure: Failure, *, is_wait: bool) -> bool:
        """What is waited for, is for so long. Everything else is tried so often, waits not counted."""
        if is_wait:
            since = task.failing_since or self._now
            return (self._now - since).total_seconds() > OUTAGE_SECONDS_MAX
        return task.retries - task.waits >= (RETRIES_INTERNAL_MAX if failure.reason == "INTERNAL" else RETRIES_MAX)

    def _give_up(self, task: Task, failure: Failure) -> None:
        self._step_task(task, TaskState.FAILED)
        task.failure = failure
        phase = self.aggregate.phases[task.phase]
        if task.kind is TaskKind.SEAL:
            self._emit("seal.failed", self._subject("phases", phase.id), phase.state, phase.state, failure)
            return
        if task.kind in AFTERWARDS:
            if phase.state is PhaseState.ROLLING_BACK:
                self._block(phase, failure)
            else:
                self._tell_left(phase, failure)
            return
        if task.datasets and task.kind is not TaskKind.PUBLISH:
            self._quarantine(task, failure)
        if task.kind is TaskKind.COPY:
            lane = self.aggregate.lanes[task.lane]
            lane.failure, lane.end_time = failure, self._now
            after = LaneState.CONFLICT if failure.reason == CONFLICT_REASON else LaneState.FAILED
            self._step_lane(lane, after, failure)
        if phase.state in PHASE_IN_HAND:
            self._fail_phase(phase, failure)

    def _quarantine(self, task: Task, failure: Failure) -> None:
        """What no try would mend keeps its dataset out of the target, and says which chunk it befell."""
        chunk = self.aggregate.lanes[task.lane].chunks + 1 if task.lane else 0
        told = replace(failure, message=f"chunk {chunk} of lane {task.lane}: {failure.message}") if chunk else failure
        for name in task.datasets:
            dataset = self.aggregate.datasets[task.phase, name]
            if dataset.quarantine is None:
                dataset.quarantine = told
                self._note(dataset)
                subject = f"{self._subject('phases', task.phase)}/datasets/{name}"
                self._emit("dataset.quarantined", subject, "", "quarantined", told)


def _is_waited_for(task: Task, failure: Failure) -> bool:
    """Whether it mends without the task. What is called outside databases reads its secrets for the first time when it is called."""
    is_of_step = task.kind in {TaskKind.STEP, TaskKind.UNDO} and not failure.is_temporary
    return failure.reason in WAITED_FOR and not is_of_step
