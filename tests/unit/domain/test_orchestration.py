"""The decision core, step by step: who starts when, what a failure stops, what is published and what is told."""

import random

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import (
    Begun,
    Progressed,
    Retried,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.run_states import DesiredState, PhaseState, RunState, TaskKind
from tests.property.simulated_runs import PERMANENT, START, aggregate_of
from tests.unit.domain.begun_runs import LATER, TWICE, core_of, fail, finish, lease, phase, publish, state


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


def test_a_lane_that_put_rows_into_quarantine_tells_it_when_it_is_done() -> None:
    core = core_of(a=())
    task = lease(core, "a")
    core.apply(Progressed(task.id, task.fence, 1, 10, 100, quarantined_rows=3), LATER)
    core.apply(Succeeded(task.id, task.fence), LATER)
    assert core.aggregate.lanes[task.lane].quarantined_rows == 3
    [event] = [each for each in core.take()[1] if each.type == "dataset.quarantined"]
    assert event.failure is not None
    assert event.failure.message == "3 rows were refused and are in quarantine"


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


def test_a_copy_that_was_never_begun_leaves_nothing_to_drop() -> None:
    core = RunCore(aggregate_of({"a": ()}, datasets=2), random.Random(1))
    core.apply(Begun(), START)
    fail(core, "a")
    assert [task.kind for task in core.claimable(LATER)] == [TaskKind.ROLLBACK]
    waiting = core_of(a=())
    waiting.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    assert state(waiting) is RunState.CANCELLED
    assert not [task for task in waiting.aggregate.tasks.values() if task.kind is TaskKind.ROLLBACK]


def test_a_verification_that_differs_publishes_nothing() -> None:
    core = core_of(a=())
    finish(core, "a")
    fail(core, "a", TaskKind.VERIFY, Failure("VERIFICATION_FAILED", "10 rows against 9"))
    assert phase(core, "a") is PhaseState.FAILED
    assert not [task for task in core.aggregate.tasks.values() if task.kind is TaskKind.PUBLISH]


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
