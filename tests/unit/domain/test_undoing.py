"""The way back: rollback with descendants in reverse order, what blocks it, sealing, steps outside databases and gates."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.gates import waiting_gates
from pymigrate.engine.domain.happenings import (
    Approved,
    Begun,
    Failed,
    Leased,
    PlanSucceeded,
    Retried,
    RollbackAsked,
    SealAsked,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Failure, RunAggregate
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState, TaskKind
from tests.property.simulated_runs import PERMANENT, START, aggregate_of
from tests.unit.domain.begun_runs import LATER, fail, finish, lease, phase, publish, state

CHAIN = {"a": (), "b": ("a",), "c": ("b",), "other": ()}
CHANGED = Failure("CANNOT_UNDO", "it was changed since")


def core_of(
    dependencies: dict[str, tuple[str, ...]], adorn: Callable[[RunAggregate], None] = lambda _: None
) -> RunCore:
    aggregate = aggregate_of(dependencies)
    adorn(aggregate)
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    return core


def done(*phases: str) -> RunCore:
    """A run of the chain of which these phases are published."""
    core = core_of(dict(CHAIN))
    for name in phases:
        publish(core, name)
    return core


def undoing(core: RunCore) -> list[str]:
    """The phases that are undone right now."""
    return [task.phase for task in core.claimable(LATER) if task.kind is TaskKind.ROLLBACK]


def ask(core: RunCore, name: str = "") -> bool:
    return core.apply(RollbackAsked("ann", name), LATER)


def test_a_phase_takes_its_descendants_along_in_reverse_order_and_leaves_the_rest() -> None:
    core = done("a", "b", "c", "other")
    assert ask(core, "b")
    assert state(core) is RunState.ROLLING_BACK
    assert undoing(core) == ["c"]
    finish(core, "c", TaskKind.ROLLBACK)
    assert undoing(core) == ["b"]
    finish(core, "b", TaskKind.ROLLBACK)
    assert [phase(core, name) for name in ("a", "b", "c", "other")] == [
        PhaseState.PUBLISHED,
        PhaseState.ROLLED_BACK,
        PhaseState.ROLLED_BACK,
        PhaseState.PUBLISHED,
    ]
    assert state(core) is RunState.ROLLED_BACK
    assert not ask(core, "b"), "a second time there is nothing to undo"


def test_another_phase_of_the_same_run_can_be_rolled_back_later() -> None:
    core = done("a", "b", "c", "other")
    ask(core, "c")
    finish(core, "c", TaskKind.ROLLBACK)
    assert ask(core, "other")
    finish(core, "other", TaskKind.ROLLBACK)
    assert state(core) is RunState.ROLLED_BACK
    assert phase(core, "a") is PhaseState.PUBLISHED


def test_what_can_not_be_undone_blocks_whatever_it_needs_and_touches_nothing_of_it() -> None:
    core = done("a", "b", "c", "other")
    ask(core, "a")
    fail(core, "c", TaskKind.ROLLBACK, CHANGED)
    assert undoing(core) == []
    assert [phase(core, name) for name in "abc"] == [PhaseState.ROLLBACK_BLOCKED] * 3
    assert state(core) is RunState.ROLLBACK_BLOCKED
    causes = [core.aggregate.phases[name].failure for name in "abc"]
    assert [cause.reason for cause in causes if cause] == ["DEPENDENT_BLOCKED", "DEPENDENT_BLOCKED", "CANNOT_UNDO"]


def test_a_blocked_rollback_is_tried_again_when_it_is_asked_for_again() -> None:
    core = done("a", "b", "c", "other")
    ask(core, "b")
    fail(core, "c", TaskKind.ROLLBACK, CHANGED)
    assert ask(core, "b")
    assert state(core) is RunState.ROLLING_BACK
    for name in "cb":
        finish(core, name, TaskKind.ROLLBACK)
    assert state(core) is RunState.ROLLED_BACK


def test_what_is_left_blocked_of_a_cancelled_run_is_undone_when_it_is_asked_for_again() -> None:
    core = core_of({"a": (), "b": ()})
    publish(core, "b")
    for kind in (TaskKind.COPY, TaskKind.VERIFY):
        finish(core, "a", kind)
    fail(core, "a", TaskKind.PUBLISH)
    core.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    fail(core, "a", TaskKind.ROLLBACK)
    assert (state(core), phase(core, "a")) == (RunState.CANCELLED, PhaseState.ROLLBACK_BLOCKED)
    assert ask(core, "a")
    finish(core, "a", TaskKind.ROLLBACK)
    assert [phase(core, name) for name in "ab"] == [PhaseState.ROLLED_BACK, PhaseState.PUBLISHED]


def test_a_phase_rolled_back_while_the_run_goes_on_takes_along_what_began_and_skips_what_waits() -> None:
    core = done("a")
    assert ask(core, "a")
    assert state(core) is RunState.RUNNING
    finish(core, "a", TaskKind.ROLLBACK)
    publish(core, "other")
    assert [phase(core, name) for name in "abc"] == [PhaseState.ROLLED_BACK, PhaseState.ROLLED_BACK, PhaseState.SKIPPED]
    assert state(core) is RunState.FAILED


def test_lanes_of_a_phase_that_is_rolled_back_drain_before_its_staging_is_dropped() -> None:
    core = core_of(dict(CHAIN))
    task = lease(core, "a")
    ask(core, "a")
    assert core.to_drain() == [task.id]
    assert undoing(core) == []
    core.apply(Failed(task.id, task.fence, PERMANENT), LATER)
    assert undoing(core) == ["a"]


def test_a_run_that_is_rolled_back_whole_is_cancelled_first_and_everything_published_undone() -> None:
    core = done("a")
    lease(core, "b")
    assert ask(core)
    assert not ask(core)
    task = next(task for task in core.leased())
    core.apply(Failed(task.id, task.fence, PERMANENT), LATER)
    finish(core, "b", TaskKind.ROLLBACK)
    assert state(core) is RunState.ROLLING_BACK
    finish(core, "a", TaskKind.ROLLBACK)
    assert state(core) is RunState.ROLLED_BACK


def test_a_phase_that_is_not_there_is_told_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="did you mean `other`"):
        ask(done("a"), "othe")


def seal(core: RunCore, *phases: str) -> None:
    """Seals phases to the end."""
    assert core.apply(SealAsked("ann", phases), LATER)
    for name in phases or tuple(core.aggregate.phases):
        finish(core, name, TaskKind.SEAL)


def test_a_sealed_phase_is_never_undone_nor_is_what_it_needs() -> None:
    core = done("a", "b", "c", "other")
    seal(core, "b")
    assert phase(core, "b") is PhaseState.SEALED
    for name in ("a", "b"):
        with pytest.raises(FailedPrecondition, match="`b` is sealed"):
            ask(core, name)
    assert ask(core), "the run is undone as far as that goes"
    for name in ("c", "other"):
        finish(core, name, TaskKind.ROLLBACK)
    assert phase(core, "a") is PhaseState.PUBLISHED


def test_sealing_goes_on_after_the_runs_end_and_changes_nothing_the_second_time() -> None:
    core = done("a", "b", "c", "other")
    assert core.apply(SealAsked("ann"), LATER)
    assert core.is_active
    assert not core.apply(SealAsked("ann"), LATER)
    with pytest.raises(FailedPrecondition, match="sealed or being sealed"):
        ask(core, "a")
    for name in ("a", "b", "c", "other"):
        finish(core, name, TaskKind.SEAL)
    assert {phase.state for phase in core.aggregate.phases.values()} == {PhaseState.SEALED}
    assert not core.is_active


def test_a_seal_that_fails_leaves_the_phase_published_and_may_be_tried_again() -> None:
    core = done("a", "b", "c", "other")
    core.apply(SealAsked("ann", ("a",)), LATER)
    fail(core, "a", TaskKind.SEAL)
    assert phase(core, "a") is PhaseState.PUBLISHED
    seal(core, "a")
    assert phase(core, "a") is PhaseState.SEALED


def sealed_in_one_of_two_targets() -> RunCore:
    core = RunCore(aggregate_of({"a": ()}, datasets=2, targets=2), random.Random(1))
    core.apply(Begun(), START)
    for kind in (TaskKind.COPY, TaskKind.VERIFY, TaskKind.PREPARE, TaskKind.PUBLISH):
        finish(core, "a", kind)
        finish(core, "a", kind)
    core.apply(SealAsked("ann"), LATER)
    finish(core, "a", TaskKind.SEAL)
    fail(core, "a", TaskKind.SEAL)
    return core


def test_what_is_sealed_in_one_of_its_targets_is_not_undone_in_the_others() -> None:
    core = sealed_in_one_of_two_targets()
    with pytest.raises(FailedPrecondition, match="sealed or being sealed"):
        ask(core, "a")
    assert not ask(core), "nothing of the run is left that could be undone"
    assert phase(core, "a") is PhaseState.PUBLISHED


def test_what_is_sealed_in_one_of_its_targets_can_be_sealed_in_the_others_later() -> None:
    core = sealed_in_one_of_two_targets()
    assert core.apply(SealAsked("ann"), LATER)
    finish(core, "a", TaskKind.SEAL)
    finish(core, "a", TaskKind.SEAL)
    assert phase(core, "a") is PhaseState.SEALED


def test_only_what_is_published_is_sealed() -> None:
    core = core_of(dict(CHAIN))
    with pytest.raises(FailedPrecondition, match="only a published one"):
        core.apply(SealAsked("ann", ("a",)), LATER)


def test_a_run_is_to_be_sealed_when_its_window_is_over_and_not_after_a_rollback() -> None:
    def week(aggregate: RunAggregate) -> None:
        aggregate.run.rollback_window_seconds = 604_800

    core = core_of({"a": ()}, week)
    publish(core, "a")
    assert core.run.seal_time == LATER + timedelta(days=7)
    ask(core, "a")
    assert core.run.seal_time is None


# Gates -----------------------------------------------------------------------------------------------------------------------------


def gated(point: str) -> RunCore:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.phases["a"].gates = {"go": point}

    return core_of({"a": ()}, adorn)


def test_a_gate_before_the_start_holds_everything_until_it_is_approved() -> None:
    core = gated("before_start")
    assert core.claimable(LATER) == []
    assert core.apply(Approved("a", "go", "ann"), LATER)
    assert not core.apply(Approved("a", "go", "bob"), LATER)
    assert core.aggregate.phases["a"].approvals == {"go": "ann"}
    publish(core, "a")


def test_a_gate_before_publication_holds_what_is_verified() -> None:
    core = gated("before_publication")
    with pytest.raises(FailedPrecondition, match="approved when it is verified"):
        core.apply(Approved("a", "go", "ann"), LATER)
    finish(core, "a")
    finish(core, "a", TaskKind.VERIFY)
    assert phase(core, "a") is PhaseState.VERIFYING
    assert core.claimable(LATER) == []
    core.apply(Approved("a", "go", "ann"), LATER)
    finish(core, "a", TaskKind.PUBLISH)
    assert state(core) is RunState.SUCCEEDED


def moments(core: RunCore) -> list[tuple[str, str, str, str]]:
    """What was told of gates since the last call."""
    return [
        (event.subject.partition("/phases/")[2], event.type, event.from_state, event.to_state)
        for event in core.take()[1]
        if event.type.startswith("gate.")
    ]


def try_again(core: RunCore) -> None:
    """Undoes what is to be undone of what failed, and begins anew."""
    while left := core.claimable(LATER):
        finish(core, left[0].phase, left[0].kind)
    assert core.apply(Retried("ann"), LATER)


WAITS, APPROVED = ("gate.waiting", "pending", "waiting"), ("gate.approved", "waiting", "approved")


def test_a_gate_before_the_start_is_told_to_wait_once_nothing_else_holds_the_phase_up() -> None:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.phases["b"].gates = {"go": "before_start"}
        aggregate.run.waiting_for = ("crm",)

    core = core_of({"a": (), "b": ("a",)}, adorn)
    assert moments(core) == []
    core.apply(PlanSucceeded("crm"), LATER)
    assert moments(core) == []
    publish(core, "a")
    assert moments(core) == [("b/gates/go", *WAITS)]


def test_a_gate_before_publication_is_told_to_wait_when_the_last_dataset_is_verified() -> None:
    aggregate = aggregate_of({"a": ()}, datasets=2)
    aggregate.phases["a"].gates = {"go": "before_publication"}
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    for kind in (TaskKind.COPY, TaskKind.COPY, TaskKind.VERIFY):
        finish(core, "a", kind)
        assert moments(core) == []
    finish(core, "a", TaskKind.VERIFY)
    assert moments(core) == [("a/gates/go", *WAITS)]


def test_each_gate_is_told_once_whatever_happens_while_it_waits_and_by_whatever_engine() -> None:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.phases["a"].gates = {"books": "before_start", "ward": "before_start"}

    core = core_of({"a": (), "other": ()}, adorn)
    assert moments(core) == [("a/gates/books", *WAITS), ("a/gates/ward", *WAITS)]
    core.apply(Steered(DesiredState.PAUSED, "ann"), LATER)
    core.apply(Steered(DesiredState.RUNNING, "ann"), LATER)
    core = RunCore(core.aggregate.copied(), random.Random(2))
    core.apply(Begun(), LATER)
    publish(core, "other")
    assert moments(core) == []
    core.apply(Approved("a", "ward", "ann"), LATER)
    core.apply(Approved("a", "books", "ann"), LATER)
    assert moments(core) == [("a/gates/ward", *APPROVED), ("a/gates/books", *APPROVED)]
    publish(core, "a")
    assert moments(core) == []


def test_a_gate_that_was_approved_beforehand_is_never_told_to_wait() -> None:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.phases["b"].gates = {"go": "before_start"}

    core = core_of({"a": (), "b": ("a",)}, adorn)
    core.apply(Approved("b", "go", "ann"), LATER)
    publish(core, "a")
    publish(core, "b")
    assert moments(core) == [("b/gates/go", "gate.approved", "pending", "approved")]


def test_what_is_tried_again_waits_at_its_gate_again_and_is_told_again() -> None:
    core = gated("before_publication")
    for kind in (TaskKind.COPY, TaskKind.VERIFY):
        finish(core, "a", kind)
    core.apply(Approved("a", "go", "ann"), LATER)
    fail(core, "a", TaskKind.PUBLISH)
    try_again(core)
    assert moments(core) == [("a/gates/go", *WAITS), ("a/gates/go", *APPROVED)]
    for kind in (TaskKind.COPY, TaskKind.VERIFY):
        finish(core, "a", kind)
    assert moments(core) == [("a/gates/go", *WAITS)]


def test_a_phase_that_was_skipped_waits_before_its_start_when_the_run_is_tried_again() -> None:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.phases["b"].gates = {"go": "before_start"}

    core = core_of({"a": (), "b": ("a",)}, adorn)
    fail(core, "a")
    try_again(core)
    publish(core, "a")
    assert moments(core) == [("b/gates/go", *WAITS)]
    phases = core.aggregate.phases
    assert list(waiting_gates(core.run, phases["b"], phases)) == ["go"]


def test_an_unknown_gate_is_told_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="did you mean `go`"):
        gated("before_start").apply(Approved("a", "goo", "ann"), LATER)


def test_a_run_waits_for_the_plans_that_it_depends_on() -> None:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.run.waiting_for = ("crm", "erp")

    core = core_of({"a": ()}, adorn)
    assert core.claimable(LATER) == []
    assert core.apply(PlanSucceeded("crm"), LATER)
    assert not core.apply(PlanSucceeded("crm"), LATER)
    assert core.claimable(LATER) == []
    core.apply(PlanSucceeded("erp"), LATER)
    publish(core, "a")


# Steps outside databases -----------------------------------------------------------------------------------------------------------


def stepping(final: tuple[str, ...] = ()) -> RunCore:
    def adorn(aggregate: RunAggregate) -> None:
        steps = {"drain": "before_start", "lock": "before_start", "switch": "after_publication"}
        aggregate.phases["a"].steps, aggregate.phases["a"].final_steps = steps, final

    return core_of({"a": (), "b": ("a",)}, adorn)


def details(core: RunCore) -> list[tuple[TaskKind, str]]:
    return [(task.kind, task.detail) for task in core.claimable(LATER)]


def publish_with_steps(core: RunCore) -> None:
    for kind in (TaskKind.STEP, TaskKind.STEP, TaskKind.COPY, TaskKind.VERIFY, TaskKind.PUBLISH, TaskKind.STEP):
        finish(core, "a", kind)


def test_steps_are_done_in_order_before_the_first_lane_and_after_publication() -> None:
    core = stepping()
    assert details(core) == [(TaskKind.STEP, "drain")]
    finish(core, "a", TaskKind.STEP)
    assert details(core) == [(TaskKind.STEP, "lock")]
    finish(core, "a", TaskKind.STEP)
    for kind in (TaskKind.COPY, TaskKind.VERIFY, TaskKind.PUBLISH):
        finish(core, "a", kind)
    assert phase(core, "a") is PhaseState.PUBLISHING
    assert details(core) == [(TaskKind.STEP, "switch")]
    finish(core, "a", TaskKind.STEP)
    assert phase(core, "a") is PhaseState.PUBLISHED


def test_steps_are_undone_in_reverse_round_the_data() -> None:
    core = stepping()
    publish_with_steps(core)
    publish(core, "b")
    ask(core, "a")
    finish(core, "b", TaskKind.ROLLBACK)
    undone = []
    while tasks := core.claimable(LATER):
        (task,) = tasks
        undone.append(task.detail or str(task.kind))
        finish(core, "a", task.kind)
    assert undone == ["switch", "rollback", "lock", "drain"]
    assert phase(core, "a") is PhaseState.ROLLED_BACK


def test_a_step_that_fails_fails_the_phase_and_the_steps_before_it_are_undone() -> None:
    core = stepping()
    finish(core, "a", TaskKind.STEP)
    fail(core, "a", TaskKind.STEP)
    assert phase(core, "a") is PhaseState.FAILED
    # Whether the step that failed did something is not known, so it is undone as well.
    assert details(core) == [(TaskKind.UNDO, "lock")]
    finish(core, "a", TaskKind.UNDO)
    finish(core, "a", TaskKind.UNDO)
    assert state(core) is RunState.FAILED


def test_a_step_that_nothing_undoes_blocks_a_rollback_before_anything_is_touched() -> None:
    core = stepping(final=("switch",))
    publish_with_steps(core)
    publish(core, "b")
    ask(core, "a")
    finish(core, "b", TaskKind.ROLLBACK)
    assert core.claimable(LATER) == []
    assert phase(core, "a") is PhaseState.ROLLBACK_BLOCKED
    assert core.run.failure is not None
    assert core.run.failure.reason == "STEP_IS_FINAL"


def test_a_failed_phase_tells_which_of_its_steps_nothing_undoes() -> None:
    core = stepping(final=("lock",))
    finish(core, "a", TaskKind.STEP)
    finish(core, "a", TaskKind.STEP)
    fail(core, "a")
    left = [event for event in core.take()[1] if event.type == "staging.left"]
    assert [event.failure.reason for event in left if event.failure] == ["STEP_IS_FINAL"]
    finish(core, "a", TaskKind.ROLLBACK)
    assert details(core) == [(TaskKind.UNDO, "drain")]


# Several targets, several lanes ----------------------------------------------------------------------------------------------------


def staged(*, targets: int) -> RunCore:
    core = RunCore(aggregate_of({"a": ()}, datasets=targets, targets=targets), random.Random(1))
    core.apply(Begun(), START)
    for kind in (TaskKind.COPY, TaskKind.VERIFY):
        for _ in range(targets):
            finish(core, "a", kind)
    return core


def prepare(core: RunCore, target: str, *, is_prepared: bool) -> None:
    task = next(task for task in core.claimable(LATER) if task.target == target)
    core.apply(Leased(task.id, "workerHosts/h", LATER), LATER)
    core.apply(Succeeded(task.id, task.fence, is_prepared=is_prepared), LATER)


def test_of_several_targets_the_unprepared_publish_first_and_the_prepared_last() -> None:
    core = staged(targets=3)
    for target, is_prepared in (("target0", True), ("target1", False), ("target2", True)):
        prepare(core, target, is_prepared=is_prepared)
    assert [(task.target, task.is_prepared) for task in core.claimable(LATER)] == [("target1", False)]
    finish(core, "a", TaskKind.PUBLISH)
    assert {(task.target, task.is_prepared) for task in core.claimable(LATER)} == {("target0", True), ("target2", True)}
    finish(core, "a", TaskKind.PUBLISH)
    finish(core, "a", TaskKind.PUBLISH)
    assert state(core) is RunState.SUCCEEDED


def test_a_target_that_can_not_be_prepared_keeps_every_other_unpublished() -> None:
    core = staged(targets=2)
    prepare(core, "target0", is_prepared=True)
    fail(core, "a", TaskKind.PREPARE)
    assert phase(core, "a") is PhaseState.ROLLING_BACK
    assert {(task.kind, task.is_prepared) for task in core.claimable(LATER)} == {(TaskKind.ROLLBACK, True)}
    assert not any(task.kind is TaskKind.PUBLISH for task in core.aggregate.tasks.values())


def test_a_dataset_of_several_ranges_is_verified_when_its_last_lane_is_done() -> None:
    def adorn(aggregate: RunAggregate) -> None:
        aggregate.datasets["a", "d0"].ranges = ("..5", "5..9", "9..")

    core = core_of({"a": ()}, adorn)
    assert [lane.part for lane in core.aggregate.lanes.values()] == [1, 2, 3]
    for left in (2, 1, 0):
        finish(core, "a")
        assert sum(lane.state is LaneState.DONE for lane in core.aggregate.lanes.values()) == 3 - left
    assert [task.kind for task in core.claimable(LATER)] == [TaskKind.VERIFY]


def test_what_no_try_would_mend_quarantines_its_dataset_and_says_which_chunk() -> None:
    core = core_of({"a": (), "b": ()})
    fail(core, "a", failure=PERMANENT)
    found = core.aggregate.datasets["a", "d0"].quarantine
    assert found is not None
    assert found.message.startswith("chunk 1 of lane a.d0: ")
    assert core.aggregate.datasets["b", "d0"].quarantine is None
    assert "dataset.quarantined" in [event.type for event in core.take()[1]]
