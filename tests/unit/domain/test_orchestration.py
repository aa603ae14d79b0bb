"""The decision core, step by step: who starts when, what a failure stops, what people ask."""

import random
from datetime import timedelta

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.orchestration import (
    BACKOFF_MAX_SECONDS,
    RETRIES_INTERNAL_MAX,
    RETRIES_MAX,
    Begun,
    Drained,
    Failed,
    Leased,
    Lost,
    Progressed,
    Retried,
    RunCore,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.run import (
    DesiredState,
    Failure,
    LaneState,
    PhaseState,
    RunState,
    Task,
    TaskKind,
    TaskState,
)
from tests.property.simulated_runs import PERMANENT, START, TEMPORARY, aggregate_of

LATER = START + timedelta(seconds=1)
UNTIL = START + timedelta(seconds=15)


def core_of(**dependencies: tuple[str, ...]) -> RunCore:
    """A run that has begun."""
    core = RunCore(aggregate_of(dependencies), random.Random(1))
    core.apply(Begun(), START)
    return core


def lease(core: RunCore, phase: str, kind: TaskKind = TaskKind.COPY) -> Task:
    """Leases the phase's task of a kind."""
    task = next(t for t in core.claimable(LATER + timedelta(hours=1)) if (t.phase, t.kind) == (phase, kind))
    assert core.apply(Leased(task.id, "workerHosts/h", UNTIL), LATER)
    return task


def finish(core: RunCore, phase: str, kind: TaskKind = TaskKind.COPY) -> None:
    """Leases the phase's task of a kind and does it."""
    task = lease(core, phase, kind)
    assert core.apply(Succeeded(task.id, task.fence, b"found"), LATER)


def publish(core: RunCore, phase: str) -> None:
    """Brings a phase to its end."""
    for kind in (TaskKind.COPY, TaskKind.VERIFY, TaskKind.PUBLISH):
        finish(core, phase, kind)


def fail(core: RunCore, phase: str, kind: TaskKind = TaskKind.COPY, failure: Failure = PERMANENT) -> Task:
    """Leases the phase's task of a kind and fails it."""
    task = lease(core, phase, kind)
    assert core.apply(Failed(task.id, task.fence, failure), LATER)
    return task


def state(core: RunCore) -> RunState:
    """Where the run stands."""
    return core.run.state


def lane_state(core: RunCore, task: Task) -> LaneState:
    """Where a copy's lane stands."""
    return core.aggregate.lanes[task.lane].state


def phase(core: RunCore, name: str) -> PhaseState:
    """Where a phase stands."""
    return core.aggregate.phases[name].state


def test_only_phases_without_unpublished_dependencies_start() -> None:
    core = core_of(a=(), b=("a",), c=())
    assert [phase(core, name) for name in "abc"] == [PhaseState.READY, PhaseState.PENDING, PhaseState.READY]
    publish(core, "a")
    assert phase(core, "b") is PhaseState.READY


def test_a_phase_goes_through_staging_verifying_and_publishing() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    assert phase(core, "a") is PhaseState.STAGING
    core.apply(Succeeded(task.id, task.fence), LATER)
    assert phase(core, "a") is PhaseState.VERIFYING
    finish(core, "a", TaskKind.VERIFY)
    assert phase(core, "a") is PhaseState.PUBLISHING
    finish(core, "a", TaskKind.PUBLISH)
    assert phase(core, "a") is PhaseState.PUBLISHED
    assert state(core) is RunState.SUCCEEDED


def test_what_a_verification_found_is_kept_with_its_dataset() -> None:
    core = core_of(a=())
    publish(core, "a")
    assert core.aggregate.datasets["a", "d0"].verification == b"found"


def test_a_failure_skips_descendants_and_leaves_siblings_to_go_on() -> None:
    core = core_of(a=(), b=("a",), c=("b",), d=())
    fail(core, "a")
    assert [phase(core, name) for name in "abc"] == [PhaseState.FAILED, PhaseState.SKIPPED, PhaseState.SKIPPED]
    publish(core, "d")
    assert phase(core, "d") is PhaseState.PUBLISHED
    finish(core, "a", TaskKind.ROLLBACK)
    assert state(core) is RunState.FAILED


def test_a_failure_tells_its_field_from_the_plan_on() -> None:
    core = core_of(a=())
    fail(core, "a")
    failure = core.aggregate.phases["a"].failure
    assert failure is not None
    assert failure.field == "phases.a.datasets.d0.key"


def test_the_run_ends_only_when_the_staging_of_what_failed_is_dropped() -> None:
    core = core_of(a=())
    fail(core, "a")
    assert state(core) is RunState.RUNNING
    finish(core, "a", TaskKind.ROLLBACK)
    assert state(core) is RunState.FAILED


def test_a_staging_that_can_not_be_dropped_is_told_and_keeps_nothing_waiting() -> None:
    core = core_of(a=())
    fail(core, "a")
    fail(core, "a", TaskKind.ROLLBACK)
    _, events = core.take()
    assert "staging.left" in [event.type for event in events]
    assert state(core) is RunState.FAILED


def test_a_phase_that_was_published_in_part_is_rolled_back() -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=2, targets=2), random.Random(1))
    core.apply(Begun(), START)
    for kind in (TaskKind.COPY, TaskKind.COPY, TaskKind.VERIFY, TaskKind.VERIFY, TaskKind.PUBLISH):
        finish(core, "a", kind)
    fail(core, "a", TaskKind.PUBLISH)
    assert phase(core, "a") is PhaseState.ROLLING_BACK
    finish(core, "a", TaskKind.ROLLBACK)
    finish(core, "a", TaskKind.ROLLBACK)
    assert phase(core, "a") is PhaseState.ROLLED_BACK
    assert state(core) is RunState.FAILED


def test_a_rollback_that_can_not_be_done_is_blocked_and_forbids_a_retry() -> None:
    core = core_of(a=())
    for kind in (TaskKind.COPY, TaskKind.VERIFY):
        finish(core, "a", kind)
    fail(core, "a", TaskKind.PUBLISH)
    fail(core, "a", TaskKind.ROLLBACK, Failure("CANNOT_UNDO", "changed since"))
    assert phase(core, "a") is PhaseState.ROLLBACK_BLOCKED
    with pytest.raises(FailedPrecondition, match="blocked"):
        core.apply(Retried("me"), LATER)


def test_a_retry_does_again_what_failed_and_was_skipped_and_keeps_what_is_published() -> None:
    core = core_of(a=(), b=("a",), c=())
    publish(core, "c")
    fail(core, "a")
    finish(core, "a", TaskKind.ROLLBACK)
    assert core.apply(Retried("me"), LATER)
    assert state(core) is RunState.RUNNING
    publish(core, "a")
    publish(core, "b")
    assert state(core) is RunState.SUCCEEDED
    assert core.aggregate.phases["c"].attempt == 1
    assert core.aggregate.phases["a"].attempt == 2


def test_a_retry_that_fails_again_skips_again() -> None:
    core = core_of(a=(), b=("a",))
    fail(core, "a")
    finish(core, "a", TaskKind.ROLLBACK)
    core.apply(Retried("me"), LATER)
    fail(core, "a")
    finish(core, "a", TaskKind.ROLLBACK)
    assert state(core) is RunState.FAILED
    assert phase(core, "b") is PhaseState.SKIPPED


def test_only_a_failed_run_is_retried_and_a_running_one_is_left_alone() -> None:
    core = core_of(a=())
    assert not core.apply(Retried("me"), LATER)
    publish(core, "a")
    with pytest.raises(FailedPrecondition):
        core.apply(Retried("me"), LATER)


def test_a_temporary_failure_stalls_the_lane_and_is_tried_again_later() -> None:
    core = core_of(a=())
    task = fail(core, "a", failure=TEMPORARY)
    assert lane_state(core, task) is LaneState.STALLED
    assert core.claimable(LATER) == []
    assert task.not_before is not None
    assert LATER < task.not_before <= LATER + timedelta(seconds=BACKOFF_MAX_SECONDS)
    assert core.next_wake(LATER) == task.not_before
    assert core.next_wake(task.not_before) is None
    finish(core, "a")
    assert lane_state(core, task) is LaneState.DONE


def test_a_lane_that_only_fails_temporarily_fails_for_good_in_the_end() -> None:
    core = core_of(a=())
    for _ in range(RETRIES_MAX + 1):
        fail(core, "a", failure=TEMPORARY)
    assert phase(core, "a") is PhaseState.FAILED


def test_progress_forgives_earlier_failures() -> None:
    core = core_of(a=())
    for _ in range(RETRIES_MAX * 2):
        task = lease(core, "a")
        chunks = core.aggregate.lanes[task.lane].chunks + 1
        core.apply(Progressed(task.id, task.fence, chunks, chunks, chunks), LATER)
        core.apply(Failed(task.id, task.fence, TEMPORARY), LATER)
    assert phase(core, "a") is PhaseState.STAGING


def test_an_error_that_nobody_expected_is_tried_a_few_times_only() -> None:
    core = core_of(a=())
    for _ in range(RETRIES_INTERNAL_MAX + 1):
        fail(core, "a", failure=Failure("INTERNAL", "KeyError: x"))
    assert phase(core, "a") is PhaseState.FAILED


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


def test_what_lies_on_the_critical_path_goes_first_and_priority_before_it() -> None:
    aggregate = aggregate_of({"short": (), "long": (), "after": ("long",), "urgent": ()})
    aggregate.phases["urgent"].priority = 1
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    assert [task.phase for task in core.claimable(LATER)] == ["urgent", "long", "short"]


def test_each_change_is_handed_over_once_with_its_events() -> None:
    core = core_of(a=())
    entities, events = core.take()
    assert core.run in entities
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert core.take() == ([], [])
