"""The decision core and phases whose sources are written to: what is kept first, when writes are blocked, and what is always undone."""

import random
from datetime import datetime, timedelta

import pytest

from pymigrate.engine.domain.calendar import Calendar, LocalBlackout
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import (
    Approved,
    Begun,
    Drained,
    Failed,
    Leased,
    Lost,
    Progressed,
    RollbackAsked,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.reporting import CATCH_UP_SECONDS
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.run_states import DesiredState, PhaseState, RunState, TaskKind, TaskState
from pymigrate.engine.domain.schedule import Limits, Scheduler
from tests.property.simulated_runs import PERMANENT, START, TEMPORARY, aggregate_of

LATER = START + timedelta(seconds=1)
UNTIL = START + timedelta(days=1)
CLOSED = Calendar(blackouts=(LocalBlackout(datetime(2000, 1, 1), datetime(2100, 1, 1)),))  # noqa: DTZ001 (local by definition)


def core_of(datasets: int = 1, gates: dict[str, str] | None = None) -> RunCore:
    """A run of one online phase that has begun."""
    aggregate = aggregate_of({"a": ()}, datasets=datasets)
    aggregate.phases["a"].is_online = True
    aggregate.phases["a"].gates = gates or {}
    for dataset in aggregate.datasets.values():
        dataset.lag_seconds_max = 10.0
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    return core


def tasks(core: RunCore, kind: TaskKind) -> list[Task]:
    return [task for task in core.aggregate.tasks.values() if task.kind is kind]


def lease(core: RunCore, kind: TaskKind) -> Task:
    task = next(task for task in core.claimable(UNTIL) if task.kind is kind)
    assert core.apply(Leased(task.id, "workerHosts/h", UNTIL), LATER)
    return task


def finish(core: RunCore, kind: TaskKind, lag_seconds: float = 0.5) -> Task:
    task = lease(core, kind)
    if kind is TaskKind.CATCH_UP:
        core.apply(Progressed(task.id, task.fence, 0, 0, 0, lag_seconds, 7), LATER)
    assert core.apply(Succeeded(task.id, task.fence, b"found"), LATER)
    return task


def copied(**more: object) -> RunCore:
    """A run whose lanes are done."""
    core = core_of(**more)  # type: ignore[arg-type]  # as core_of has them
    while any(task.kind is TaskKind.CAPTURE for task in core.claimable(UNTIL)):
        finish(core, TaskKind.CAPTURE)
    while any(task.kind is TaskKind.COPY for task in core.claimable(UNTIL)):
        finish(core, TaskKind.COPY)
    return core


def state(core: RunCore) -> PhaseState:
    return core.aggregate.phases["a"].state


def test_nothing_is_read_before_what_changes_is_kept_of_every_dataset() -> None:
    core = core_of(datasets=2)
    assert {task.kind for task in core.claimable(UNTIL)} == {TaskKind.CAPTURE}
    finish(core, TaskKind.CAPTURE)
    assert {task.kind for task in core.claimable(UNTIL)} == {TaskKind.CAPTURE}
    finish(core, TaskKind.CAPTURE)
    assert [task.kind for task in core.claimable(UNTIL)] == [TaskKind.COPY, TaskKind.COPY]


def test_an_online_phase_goes_through_the_states_of_every_other() -> None:
    core = copied()
    assert state(core) is PhaseState.STAGING
    finish(core, TaskKind.CATCH_UP)
    assert state(core) is PhaseState.VERIFYING
    finish(core, TaskKind.VERIFY)
    assert state(core) is PhaseState.PUBLISHING
    finish(core, TaskKind.PUBLISH)
    assert core.run.state is RunState.SUCCEEDED
    record = core.aggregate.datasets["a", "d0"]
    assert (record.lag_seconds, record.changes) == (0.5, 7)


def test_catching_up_is_done_again_until_every_dataset_is_close_enough() -> None:
    core = copied(datasets=2)
    slow = finish(core, TaskKind.CATCH_UP, lag_seconds=11.0)
    assert slow.not_before == LATER + timedelta(seconds=CATCH_UP_SECONDS)
    other = next(task for task in tasks(core, TaskKind.CATCH_UP) if task is not slow)
    core.apply(Leased(other.id, "workerHosts/h", UNTIL), LATER)
    core.apply(Succeeded(other.id, other.fence), LATER)
    assert state(core) is PhaseState.STAGING
    core.apply(Leased(slow.id, "workerHosts/h", UNTIL), LATER)
    core.apply(Progressed(slow.id, slow.fence, 0, 0, 0, 1.0, 9), LATER)
    assert state(core) is PhaseState.STAGING
    core.apply(Succeeded(slow.id, slow.fence), LATER)
    assert state(core) is PhaseState.VERIFYING
    assert {task.state for task in tasks(core, TaskKind.CATCH_UP)} == {TaskState.DROPPED}


def test_a_gate_before_publication_is_waited_at_while_it_catches_up_and_not_while_writes_are_blocked() -> None:
    core = core_of(gates={"go": "before_publication"})
    with pytest.raises(FailedPrecondition, match="approved when it has caught up"):
        core.apply(Approved("a", "go", "me"), LATER)
    finish(core, TaskKind.CAPTURE)
    finish(core, TaskKind.COPY)
    with pytest.raises(FailedPrecondition, match="approved when it has caught up"):
        core.apply(Approved("a", "go", "me"), LATER)
    for _ in range(3):
        finish(core, TaskKind.CATCH_UP)
        assert state(core) is PhaseState.STAGING
    told = [event.type for event in core.take()[1]]
    assert (told.count("staging.caught_up"), told.count("gate.waiting")) == (1, 1)
    task = lease(core, TaskKind.CATCH_UP)
    core.apply(Approved("a", "go", "me"), LATER)
    assert state(core) is PhaseState.STAGING  # the round that is under way ends first
    core.apply(Succeeded(task.id, task.fence), LATER)
    assert state(core) is PhaseState.VERIFYING


def test_every_host_that_has_a_datasets_changes_has_a_fence_above_all_before_it() -> None:
    core = core_of()
    fences = []
    task = lease(core, TaskKind.CAPTURE)
    fences.append(task.fence)
    core.apply(Lost(task.id), LATER)
    fences.append(finish(core, TaskKind.CAPTURE).fence)
    finish(core, TaskKind.COPY)
    task = lease(core, TaskKind.CATCH_UP)
    fences.append(task.fence)
    core.apply(Drained(task.id, task.fence), LATER)
    fences.append(finish(core, TaskKind.CATCH_UP).fence)
    fences.append(lease(core, TaskKind.VERIFY).fence)
    assert fences == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "kind", [TaskKind.CAPTURE, TaskKind.COPY, TaskKind.CATCH_UP, TaskKind.VERIFY, TaskKind.PUBLISH]
)
def test_whatever_fails_what_was_begun_is_undone(kind: TaskKind) -> None:
    core = core_of()
    for before in (TaskKind.CAPTURE, TaskKind.COPY, TaskKind.CATCH_UP, TaskKind.VERIFY, TaskKind.PUBLISH):
        if before is kind:
            break
        finish(core, before)
    task = lease(core, kind)
    core.apply(Failed(task.id, task.fence, PERMANENT), LATER)
    finish(core, TaskKind.ROLLBACK)
    assert core.run.state is RunState.FAILED
    assert not core.has_open_tasks


@pytest.mark.parametrize("is_leased", [False, True])
@pytest.mark.parametrize("kind", [TaskKind.CAPTURE, TaskKind.CATCH_UP])
def test_a_run_that_is_cancelled_while_it_follows_its_source_undoes_what_was_begun(
    kind: TaskKind, is_leased: bool
) -> None:
    core = copied() if kind is TaskKind.CATCH_UP else core_of()
    task = lease(core, kind) if is_leased else None
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    if task is not None:
        assert core.to_drain() == [task.id]
        core.apply(Drained(task.id, task.fence), LATER)
    if is_leased or kind is TaskKind.CATCH_UP:
        finish(core, TaskKind.ROLLBACK)
    assert core.run.state is RunState.CANCELLED
    assert not core.has_open_tasks


def test_a_phase_that_catches_up_can_be_rolled_back() -> None:
    core = copied(gates={"go": "before_publication"})
    finish(core, TaskKind.CATCH_UP)
    core.apply(RollbackAsked("me", "a"), LATER)
    finish(core, TaskKind.ROLLBACK)
    assert state(core) is PhaseState.ROLLED_BACK


def test_a_pause_holds_what_follows_the_source_but_nothing_once_writes_are_blocked() -> None:
    core = copied()
    task = lease(core, TaskKind.CATCH_UP)
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    assert core.to_drain() == [task.id]
    core.apply(Drained(task.id, task.fence), LATER)
    assert core.claimable(UNTIL) == []
    core.apply(Steered(DesiredState.RUNNING, "me"), LATER)
    finish(core, TaskKind.CATCH_UP)
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    finish(core, TaskKind.VERIFY)
    finish(core, TaskKind.PUBLISH)
    assert core.run.state is RunState.SUCCEEDED


def test_a_window_that_closes_does_not_stop_what_has_blocked_writes() -> None:
    core = copied()
    finish(core, TaskKind.CATCH_UP)
    closed = Limits(1, calendars={(core.run.plan, "a"): CLOSED})
    scheduler = Scheduler(random.Random(1))
    assert [task.kind for _, task in scheduler.grants([core], closed, LATER)] == [TaskKind.VERIFY]
    lease(core, TaskKind.VERIFY)
    assert scheduler.to_drain([core], closed, LATER) == []


def test_catching_up_that_keeps_failing_is_given_up_and_one_that_gets_on_is_not() -> None:
    core = copied()
    for changes in range(1, 51):
        task = lease(core, TaskKind.CATCH_UP)
        core.apply(Progressed(task.id, task.fence, 0, 0, 0, 100.0, changes), LATER)
        core.apply(Failed(task.id, task.fence, TEMPORARY), LATER)
    assert state(core) is PhaseState.STAGING
    while state(core) is PhaseState.STAGING:
        task = lease(core, TaskKind.CATCH_UP)
        core.apply(Failed(task.id, task.fence, Failure("INTERNAL", "what")), LATER)
    assert state(core) is PhaseState.FAILED
