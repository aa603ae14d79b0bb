"""What people ask of a run under way: to pause, to go on, to be cancelled, to be retried; and when it is too late for that."""

import random

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import (
    Begun,
    Drained,
    Failed,
    Retried,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState, TaskKind
from tests.property.simulated_runs import PERMANENT, START, aggregate_of
from tests.unit.domain.begun_runs import LATER, core_of, finish, lease, phase, publish, state


def test_only_a_failed_run_is_retried_and_a_running_one_is_left_alone() -> None:
    core = core_of(a=())
    assert not core.apply(Retried("me"), LATER)
    publish(core, "a")
    with pytest.raises(FailedPrecondition):
        core.apply(Retried("me"), LATER)


def test_a_paused_run_drains_its_lanes_and_hands_out_nothing() -> None:
    core = core_of(a=(), b=())
    task = lease(core, "a")
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    assert state(core) is RunState.PAUSED
    assert core.to_drain() == [task.id]
    core.apply(Drained(task.id, task.fence), LATER)
    assert core.aggregate.lanes[task.lane].state is LaneState.PENDING
    assert core.claimable(LATER) == []
    core.apply(Steered(DesiredState.RUNNING, "me"), LATER)
    assert {found.phase for found in core.claimable(LATER)} == {"a", "b"}


def test_a_run_can_start_paused() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.run.desired = DesiredState.PAUSED
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    assert state(core) is RunState.PAUSED
    assert core.claimable(LATER) == []


def test_pausing_twice_changes_nothing() -> None:
    core = core_of(a=())
    assert core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    assert not core.apply(Steered(DesiredState.PAUSED, "me"), LATER)


def test_a_cancelled_run_drops_what_is_staged_and_keeps_what_is_published() -> None:
    core = core_of(a=(), b=("a",), c=())
    publish(core, "a")
    task = lease(core, "b")
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    assert core.to_drain() == [task.id]
    core.apply(Drained(task.id, task.fence), LATER)
    finish(core, "b", TaskKind.ROLLBACK)
    assert state(core) is RunState.CANCELLED
    assert [phase(core, name) for name in "abc"] == [PhaseState.PUBLISHED, PhaseState.SKIPPED, PhaseState.SKIPPED]


def test_a_paused_run_can_be_cancelled() -> None:
    core = core_of(a=())
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    assert state(core) is RunState.CANCELLED


def test_a_run_that_has_ended_is_not_steered_any_more() -> None:
    core = core_of(a=())
    publish(core, "a")
    with pytest.raises(FailedPrecondition):
        core.apply(Steered(DesiredState.PAUSED, "me"), LATER)


def test_a_run_that_failed_while_it_was_held_is_handed_out_again_when_it_is_retried() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    core.apply(Failed(task.id, task.fence, PERMANENT), LATER)
    finish(core, "a", TaskKind.ROLLBACK)
    assert state(core) is RunState.FAILED
    core.apply(Retried("me"), LATER)
    assert state(core) is RunState.RUNNING
    assert [(found.phase, found.kind) for found in core.claimable(LATER)] == [("a", TaskKind.COPY)]


def test_a_publication_that_began_is_finished_though_the_run_is_cancelled() -> None:
    core = core_of(a=(), b=("a",))
    finish(core, "a")
    finish(core, "a", TaskKind.VERIFY)
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    finish(core, "a", TaskKind.PUBLISH)
    assert [phase(core, name) for name in "ab"] == [PhaseState.PUBLISHED, PhaseState.SKIPPED]
    assert state(core) is RunState.CANCELLED


def test_a_run_that_was_cancelled_when_only_its_end_was_left_succeeds() -> None:
    core = core_of(a=())
    finish(core, "a")
    finish(core, "a", TaskKind.VERIFY)
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    finish(core, "a", TaskKind.PUBLISH)
    assert state(core) is RunState.SUCCEEDED


def test_a_paused_run_finishes_what_is_leased_and_goes_no_further() -> None:
    core = core_of(a=())
    finish(core, "a")
    verification = lease(core, "a", TaskKind.VERIFY)
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    assert core.to_drain() == []
    core.apply(Succeeded(verification.id, verification.fence, b"found"), LATER)
    assert phase(core, "a") is PhaseState.PUBLISHING
    assert core.claimable(LATER) == []


@pytest.mark.parametrize("desired", list(DesiredState))
def test_nothing_is_asked_of_a_run_that_is_being_cancelled_but_its_end(desired: DesiredState) -> None:
    core = core_of(a=())
    lease(core, "a")
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    if desired is DesiredState.CANCELLED:
        assert not core.apply(Steered(desired, "me"), LATER)
    else:
        with pytest.raises(FailedPrecondition, match="being cancelled"):
            core.apply(Steered(desired, "me"), LATER)
    assert not core.apply(Retried("me"), LATER)
    assert state(core) is RunState.RUNNING


def test_a_run_that_ended_is_retried_and_steered_by_nobody_unless_it_failed() -> None:
    core = core_of(a=())
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    with pytest.raises(FailedPrecondition, match="cancelled; only a failed run"):
        core.apply(Retried("me"), LATER)
    with pytest.raises(FailedPrecondition, match="is cancelled and can't be made running"):
        core.apply(Steered(DesiredState.RUNNING, "me"), LATER)
