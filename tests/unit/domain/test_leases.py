"""Who has a task: one host at a time, which is listened to no longer than it has it."""

import random
from datetime import timedelta

from pymigrate.engine.domain.happenings import (
    Begun,
    Drained,
    Failed,
    Leased,
    Lost,
    Progressed,
    Renewed,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run_states import TaskKind, TaskState
from tests.property.simulated_runs import PERMANENT, START, aggregate_of
from tests.unit.domain.begun_runs import LATER, UNTIL, core_of, finish, lease


def test_a_lost_host_is_followed_by_another_at_once_under_a_higher_fence() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    first = task.fence
    assert core.apply(Lost(task.id), LATER)
    assert core.claimable(LATER) == [task]
    assert lease(core, "a").fence == first + 1


def test_a_host_that_lost_its_task_is_not_listened_to() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    stale = task.fence
    core.apply(Lost(task.id), LATER)
    lease(core, "a")
    assert not core.apply(Succeeded(task.id, stale), LATER)
    assert not core.apply(Progressed(task.id, stale, 9, 9, 9), LATER)
    assert task.state is TaskState.LEASED


def test_the_same_outcome_twice_counts_once() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    assert core.apply(Succeeded(task.id, task.fence), LATER)
    assert not core.apply(Succeeded(task.id, task.fence), LATER)


def test_staging_is_dropped_only_when_no_host_works_on_it_any_more() -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=2), random.Random(1))
    core.apply(Begun(), START)
    first, second = lease(core, "a"), lease(core, "a")
    core.apply(Failed(first.id, first.fence, PERMANENT), LATER)
    assert core.claimable(LATER) == []
    assert core.to_drain() == [second.id]
    core.apply(Drained(second.id, second.fence), LATER)
    assert second.state is TaskState.DROPPED
    assert [task.kind for task in core.claimable(LATER)] == [TaskKind.ROLLBACK]


def test_a_verification_that_drained_is_given_to_the_next_host() -> None:
    core = core_of(a=())
    finish(core, "a")
    task = lease(core, "a", TaskKind.VERIFY)
    assert core.apply(Progressed(task.id, task.fence, 0, 0, 0), LATER)
    assert core.apply(Drained(task.id, task.fence), LATER)
    assert core.claimable(LATER) == [task]


def test_a_lease_is_renewed_by_its_holder_alone() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    later = UNTIL + timedelta(seconds=10)
    assert core.apply(Renewed(task.id, task.fence, later), LATER)
    assert task.lease_expires == later
    assert not core.apply(Renewed(task.id, task.fence - 1, UNTIL), LATER)
    assert not core.apply(Renewed("no such task", 1, UNTIL), LATER)
    assert task.lease_expires == later


def test_what_is_leased_is_not_leased_again_and_what_is_free_is_not_lost() -> None:
    core = core_of(a=())
    (task,) = core.claimable(LATER)
    assert not core.apply(Lost(task.id), LATER)
    lease(core, "a")
    assert not core.apply(Leased(task.id, "workerHosts/other", UNTIL), LATER)
    assert task.host == "workerHosts/h"
