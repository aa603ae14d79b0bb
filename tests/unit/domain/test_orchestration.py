"""The decision core, step by step: who starts when, what a failure stops, what people ask."""

import random
from datetime import timedelta

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import (
    Begun,
    Drained,
    Failed,
    Leased,
    Lost,
    Progressed,
    Renewed,
    Retried,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.retrying import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MAX_SECONDS,
    OUTAGE_SECONDS_MAX,
    RETRIES_INTERNAL_MAX,
    RETRIES_MAX,
)
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, Point, RunState, TaskKind, TaskState
from tests.property.simulated_runs import PERMANENT, START, TEMPORARY, aggregate_of

LATER = START + timedelta(seconds=1)
UNTIL = START + timedelta(seconds=15)
TWICE = [kind for kind in (TaskKind.COPY, TaskKind.VERIFY, TaskKind.PREPARE) for _ in range(2)]
AWAY = Failure("SYSTEM_UNAVAILABLE", "away", is_temporary=True)
LOCKED = Failure("STORE_UNAVAILABLE", "locked", is_temporary=True)


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
    for kind in (*TWICE, TaskKind.PUBLISH):
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
        fail(core, "a", failure=LOCKED)
    assert phase(core, "a") is PhaseState.FAILED


def test_a_system_that_is_away_is_waited_for_a_day() -> None:
    core = core_of(a=())
    task = [fail(core, "a", failure=AWAY) for _ in range(RETRIES_MAX * 2)][-1]
    assert lane_state(core, task) is LaneState.STALLED
    task = lease(core, "a")
    core.apply(Failed(task.id, task.fence, AWAY), LATER + timedelta(seconds=OUTAGE_SECONDS_MAX + 1))
    assert phase(core, "a") is PhaseState.FAILED


@pytest.mark.parametrize("reason", ["CREDENTIALS_REFUSED", "SECRETS_UNAVAILABLE", "SECRET_MISSING", "SECRET_REFUSED"])
def test_a_secret_in_rotation_is_waited_for_a_day_and_uses_up_no_try(reason: str) -> None:
    core, refused = core_of(a=()), Failure(reason, "connection legacy: no")
    task = [fail(core, "a", failure=refused) for _ in range(RETRIES_MAX * 2)][-1]
    lane = core.aggregate.lanes[task.lane]
    assert (lane.state, lane.failure) == (LaneState.STALLED, refused)
    for _ in range(RETRIES_INTERNAL_MAX):
        task = fail(core, "a", failure=Failure("INTERNAL", "a defect"))
    assert lane.state is LaneState.STALLED
    task = lease(core, "a")
    core.apply(Failed(task.id, task.fence, refused), LATER + timedelta(seconds=OUTAGE_SECONDS_MAX + 1))
    assert phase(core, "a") is PhaseState.FAILED


def test_a_verification_and_a_publication_wait_for_a_secret_too() -> None:
    core = core_of(a=())
    finish(core, "a")
    for kind in (TaskKind.VERIFY, TaskKind.PUBLISH):
        for _ in range(RETRIES_MAX * 2):
            fail(core, "a", kind, Failure("CREDENTIALS_REFUSED", "no", is_temporary=True))
        finish(core, "a", kind)
    assert phase(core, "a") is PhaseState.PUBLISHED


def test_a_step_whose_secret_was_never_there_fails_at_once() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.phases["a"].steps = {"call": Point.BEFORE_START}
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    fail(core, "a", TaskKind.STEP, Failure("SECRET_MISSING", "env://NOWHERE leads to nothing"))
    assert phase(core, "a") is PhaseState.FAILED


def test_progress_tells_which_versions_of_secrets_a_lane_uses_and_that_it_took_another() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    for version in ("3", "3", "4"):
        used = {"vault://kv/legacy": version}
        core.apply(Progressed(task.id, task.fence, 1, 1, 1, secret_versions=used), LATER)
    core.apply(Progressed(task.id, task.fence, 2, 2, 2), LATER)
    assert core.aggregate.lanes[task.lane].secret_versions == {"vault://kv/legacy": "4"}
    told = [event for event in core.take()[1] if event.type == "secret.rotated"]
    assert [(event.subject, event.from_state, event.to_state) for event in told] == [
        (f"{core.run.name}/lanes/{task.lane}", "running", "running")
    ]


def test_progress_forgives_earlier_failures() -> None:
    core = core_of(a=())
    for _ in range(RETRIES_MAX * 2):
        task = lease(core, "a")
        chunks = core.aggregate.lanes[task.lane].chunks + 1
        core.apply(Progressed(task.id, task.fence, chunks, chunks, chunks), LATER)
        core.apply(Failed(task.id, task.fence, TEMPORARY), LATER)
    assert phase(core, "a") is PhaseState.STAGING


def test_a_lane_that_put_rows_into_quarantine_tells_it_when_it_is_done() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    core.apply(Progressed(task.id, task.fence, 1, 10, 100, quarantined_rows=3), LATER)
    core.apply(Succeeded(task.id, task.fence), LATER)
    assert core.aggregate.lanes[task.lane].quarantined_rows == 3
    [event] = [each for each in core.take()[1] if each.type == "dataset.quarantined"]
    assert event.failure is not None
    assert event.failure.message == "3 rows were refused and are in quarantine"


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


def test_a_retry_copies_into_a_staging_of_its_own_and_is_timed_anew() -> None:
    core = core_of(a=())
    first = lease(core, "a")
    core.apply(Failed(first.id, first.fence, PERMANENT), LATER + timedelta(seconds=9))
    assert core.aggregate.datasets["a", "d0"].copy_seconds == 9
    finish(core, "a", TaskKind.ROLLBACK)
    core.apply(Retried("me"), LATER)
    assert core.aggregate.datasets["a", "d0"].copy_seconds == 0
    second = lease(core, "a")
    assert second.id != first.id
    assert second.lane != first.lane
    assert second.attempt == first.attempt + 1


def test_a_copy_that_was_never_begun_leaves_nothing_to_drop() -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=2), random.Random(1))
    core.apply(Begun(), START)
    fail(core, "a")
    assert [task.kind for task in core.claimable(LATER)] == [TaskKind.ROLLBACK]
    waiting = core_of(a=())
    waiting.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    assert state(waiting) is RunState.CANCELLED
    assert not [task for task in waiting.aggregate.tasks.values() if task.kind is TaskKind.ROLLBACK]


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


@pytest.mark.parametrize("outcome", ["lost", "failed for now", "failed for good", "done"])
def test_a_failed_phase_does_not_start_again_whatever_becomes_of_its_other_lanes(outcome: str) -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=2), random.Random(1))
    core.apply(Begun(), START)
    first, second = lease(core, "a"), lease(core, "a")
    core.apply(Failed(first.id, first.fence, PERMANENT), LATER)
    match outcome:
        case "lost":
            core.apply(Lost(second.id), LATER)
        case "failed for now":
            core.apply(Failed(second.id, second.fence, TEMPORARY), LATER)
        case "failed for good":
            core.apply(Failed(second.id, second.fence, PERMANENT), LATER)
        case _:
            core.apply(Succeeded(second.id, second.fence), LATER)
    assert phase(core, "a") is PhaseState.FAILED
    assert [task.kind for task in core.claimable(LATER + timedelta(hours=1))] == [TaskKind.ROLLBACK]
    finish(core, "a", TaskKind.ROLLBACK)
    assert state(core) is RunState.FAILED


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


def test_a_verification_that_differs_publishes_nothing() -> None:
    core = core_of(a=())
    finish(core, "a")
    fail(core, "a", TaskKind.VERIFY, Failure("VERIFICATION_FAILED", "10 rows against 9"))
    assert phase(core, "a") is PhaseState.FAILED
    assert not [task for task in core.aggregate.tasks.values() if task.kind is TaskKind.PUBLISH]


def test_a_paused_run_finishes_what_is_leased_and_goes_no_further() -> None:
    core = core_of(a=())
    finish(core, "a")
    verification = lease(core, "a", TaskKind.VERIFY)
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    assert core.to_drain() == []
    core.apply(Succeeded(verification.id, verification.fence, b"found"), LATER)
    assert phase(core, "a") is PhaseState.PUBLISHING
    assert core.claimable(LATER) == []


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


@pytest.mark.parametrize(("reason", "is_tried_again"), [("INTERNAL", True), ("FENCE_LOST", True), ("X", False)])
def test_only_what_may_pass_is_tried_again(reason: str, is_tried_again: bool) -> None:
    core = core_of(a=())
    task = fail(core, "a", failure=Failure(reason, "what"))
    assert (task.state is TaskState.PENDING) == is_tried_again


def test_waits_between_tries_grow_to_their_bound_and_differ_between_runs() -> None:
    waits: dict[int, list[float]] = {}
    for seed in range(20):
        core = RunCore(aggregate_of({"a": ()}), random.Random(seed))
        core.apply(Begun(), START)
        for attempt in range(RETRIES_MAX):
            task = fail(core, "a", failure=TEMPORARY)
            assert task.not_before is not None
            waits.setdefault(attempt, []).append((task.not_before - LATER).total_seconds())
    for attempt, found in waits.items():
        most = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2**attempt)
        assert all(most / 2 <= wait <= most for wait in found)
        assert len(set(found)) > 1


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


def test_events_tell_who_asked_and_who_acts_otherwise() -> None:
    core = core_of(a=())
    core.apply(Steered(DesiredState.PAUSED, "ann"), LATER)
    lease_free = core.take()[1]
    assert {event.actor for event in lease_free if event.type in {"run.steered", "run.paused"}} == {"ann"}
    assert {event.actor for event in lease_free if event.type == "phase.ready"} == {"engine"}


def test_a_target_is_published_by_one_task_for_all_its_datasets() -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=3, targets=2), random.Random(1))
    core.apply(Begun(), START)
    for kind in (*[TaskKind.COPY] * 3, *[TaskKind.VERIFY] * 3, *[TaskKind.PREPARE] * 2):
        finish(core, "a", kind)
    tasks = {task.target: task.datasets for task in core.claimable(LATER)}
    assert tasks == {"target0": ("d0", "d2"), "target1": ("d1",)}


def test_what_one_rollback_leaves_blocked_the_other_does_not_hide() -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=2, targets=2), random.Random(1))
    core.apply(Begun(), START)
    for kind in (*TWICE, TaskKind.PUBLISH):
        finish(core, "a", kind)
    fail(core, "a", TaskKind.PUBLISH)
    fail(core, "a", TaskKind.ROLLBACK, Failure("CANNOT_UNDO", "changed since"))
    assert state(core) is RunState.RUNNING
    finish(core, "a", TaskKind.ROLLBACK)
    assert phase(core, "a") is PhaseState.ROLLBACK_BLOCKED
    assert state(core) is RunState.FAILED
    assert core.run.failure is not None
    assert core.run.failure.reason == "CANNOT_UNDO"


def test_the_cause_of_a_failed_run_is_the_failure_and_not_what_followed_from_it() -> None:
    core = core_of(a=("b",), b=())
    fail(core, "b")
    finish(core, "b", TaskKind.ROLLBACK)
    assert core.run.failure is not None
    assert core.run.failure.reason == PERMANENT.reason


def test_what_a_publication_could_not_declare_is_kept_beside_what_was_known() -> None:
    core = core_of(a=())
    [dataset] = core.aggregate.datasets.values()
    dataset.schema_notes = ("known",)
    finish(core, "a")
    finish(core, "a", TaskKind.VERIFY)
    task = lease(core, "a", TaskKind.PUBLISH)
    core.apply(Succeeded(task.id, task.fence, schema_notes={dataset.id: ("known", "found")}), LATER)
    assert list(dataset.schema_notes) == ["known", "found"]
