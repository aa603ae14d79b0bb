"""What is tried again after a failure, how often and how long after; and what a retry does again."""

import random
from datetime import timedelta

import pytest

from pymigrate.engine.domain.happenings import (
    Begun,
    Failed,
    Lost,
    Progressed,
    Retried,
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
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.run_states import LaneState, PhaseState, Point, RunState, TaskKind, TaskState
from tests.property.simulated_runs import PERMANENT, START, TEMPORARY, aggregate_of
from tests.unit.domain.begun_runs import (
    AWAY,
    LATER,
    LOCKED,
    core_of,
    fail,
    finish,
    lane_state,
    lease,
    phase,
    publish,
    state,
)


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
