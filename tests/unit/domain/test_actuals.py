"""What happened in a run, as its records and events tell it, and what disturbed it."""

import math
import random
from datetime import timedelta

import pytest

from pymigrate.engine.domain.actuals import Actual, DatasetActuals, PhaseActuals, RunActuals, actuals_of
from pymigrate.engine.domain.calendar import Calendar, LocalBlackout
from pymigrate.engine.domain.happenings import (
    Approved,
    Begun,
    CoreEvent,
    Drained,
    Failed,
    Leased,
    Lost,
    PlanSucceeded,
    Progressed,
    Retried,
    RollbackAsked,
    Steered,
    Succeeded,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_states import DesiredState, TaskKind
from tests.property.simulated_runs import PERMANENT, START, TEMPORARY, aggregate_of

COPY, VERIFY, PREPARE, PUBLISH = TaskKind.COPY, TaskKind.VERIFY, TaskKind.PREPARE, TaskKind.PUBLISH
ROLLBACK, CAPTURE, CATCH_UP = TaskKind.ROLLBACK, TaskKind.CAPTURE, TaskKind.CATCH_UP
PAUSED, RUNNING = Steered(DesiredState.PAUSED, "me"), Steered(DesiredState.RUNNING, "me")


class Told:
    """A run that is played second by second, and everything that it told."""

    def __init__(self, aggregate: RunAggregate) -> None:
        self.core = RunCore(aggregate, random.Random(1))
        self.now = START
        self.events: list[RunEvent] = []
        self.do(Begun())

    def do(self, event: CoreEvent) -> None:
        assert self.core.apply(event, self.now)
        self.events += self.core.take()[1]

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def lease(self, kind: TaskKind, dataset: str = "") -> Task:
        found = self.core.claimable(self.now)
        task = next(task for task in found if task.kind is kind and (not dataset or dataset in task.datasets))
        self.do(Leased(task.id, "workerHosts/h", self.now + timedelta(days=1)))
        return task

    def finish(self, kind: TaskKind, seconds: float, dataset: str = "", rows: int = 0) -> None:
        task = self.lease(kind, dataset)
        self.wait(seconds)
        if rows:
            self.core.apply(Progressed(task.id, task.fence, 1, rows, rows * 10), self.now)
        if kind is CATCH_UP:
            self.core.apply(Progressed(task.id, task.fence, 0, 0, 0, 0.5, 1), self.now)
        self.do(Succeeded(task.id, task.fence, b"found"))

    def go(self, copy: float = 8, verify: float = 3, publish: float = 2) -> None:
        """The next phase of one dataset, from its first lease to its publication."""
        self.finish(COPY, copy)
        self.finish(VERIFY, verify)
        self.finish(PUBLISH, publish)

    def found(self, *calendars: Calendar, **weights: float) -> RunActuals:
        given = {("a", dataset): weight for dataset, weight in weights.items()}
        return actuals_of(self.core.aggregate, self.events, {"a": calendars}, given)

    def phase(self, *calendars: Calendar) -> PhaseActuals:
        return self.found(*calendars).phases["a"]

    def dataset(self, name: str = "d0", **weights: float) -> DatasetActuals:
        return self.found(**weights).phases["a"].datasets[name]


def told(*, datasets: int = 1, targets: int = 1, is_live: bool = False, **gates: str) -> Told:
    """A run of one phase."""
    aggregate = aggregate_of({"a": ()}, datasets, targets)
    aggregate.phases["a"].gates, aggregate.phases["a"].is_live = gates, is_live
    return Told(aggregate)


def online() -> Told:
    """A run of one online phase that may be cut over."""
    aggregate = aggregate_of({"a": ()})
    phase, dataset = aggregate.phases["a"], aggregate.datasets["a", "d0"]
    phase.is_live = phase.is_online = True
    dataset.lag_seconds_max = 10.0
    run = Told(aggregate)
    run.finish(CAPTURE, 1)
    run.finish(COPY, 8)
    run.finish(CATCH_UP, 2)
    return run


def blackout(start_seconds: float, end_seconds: float) -> Calendar:
    start, end = (START.replace(tzinfo=None) + timedelta(seconds=each) for each in (start_seconds, end_seconds))
    return Calendar(blackouts=(LocalBlackout(start, end),))


def is_nothing(actual: Actual) -> bool:
    return math.isnan(actual.seconds) and not actual.disturbance


# How long --------------------------------------------------------------------------------------------------------------------------------


def test_an_offline_phase_is_down_from_its_first_lane_on_to_its_publication() -> None:
    run = told()
    run.wait(5)
    run.go()
    phase = run.phase()
    assert phase.duration == phase.downtime == phase.write_downtime == Actual(13)
    assert phase.end_time == START + timedelta(seconds=18)
    assert run.found().makespan == Actual(18)


def test_a_read_only_phase_keeps_writers_out_and_is_not_down() -> None:
    run = told(is_live=True)
    run.go()
    assert (run.phase().downtime, run.phase().write_downtime) == (Actual(0), Actual(13))


def test_an_online_phase_keeps_writers_out_from_its_verification_on() -> None:
    run = online()
    run.finish(VERIFY, 3)
    run.wait(4)
    run.finish(PUBLISH, 2)
    phase = run.phase()
    assert (phase.duration, phase.downtime, phase.write_downtime) == (Actual(19), Actual(0), Actual(9))


def test_a_phase_that_waits_for_a_lane_has_not_begun() -> None:
    run = Told(aggregate_of({"a": (), "b": ("a",)}))
    run.go()
    run.wait(7)
    run.go(copy=1)
    assert run.found().phases["b"].duration == Actual(6)


def test_the_copying_of_a_dataset_sums_up_its_lanes() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.datasets["a", "d0"].ranges = ("..5", "6..")
    run = Told(aggregate)
    first, second = run.lease(COPY), run.lease(COPY)
    run.wait(4)
    run.do(Succeeded(first.id, first.fence))
    assert is_nothing(run.dataset().copy)
    run.wait(2)
    run.do(Succeeded(second.id, second.fence))
    assert run.dataset().copy == Actual(10)


def test_each_step_of_a_dataset_lasts_as_long_as_a_host_had_it() -> None:
    run = told()
    run.finish(COPY, 8, rows=70)
    run.wait(100)
    run.finish(VERIFY, 3)
    run.wait(100)
    run.finish(PUBLISH, 2)
    assert run.dataset() == DatasetActuals(Actual(8), Actual(3), Actual(2), 70)


def test_what_is_published_together_is_shared_out_by_rows() -> None:
    run = told(datasets=2)
    run.finish(COPY, 1, "d0", rows=30)
    run.finish(COPY, 1, "d1", rows=10)
    run.finish(VERIFY, 1, "d0")
    run.finish(VERIFY, 1, "d1")
    run.finish(PUBLISH, 8)
    assert (run.dataset("d0").publish, run.dataset("d1").publish) == (Actual(6), Actual(2))


def test_what_is_published_together_is_shared_out_as_it_was_estimated() -> None:
    run = told(datasets=2)
    for dataset in ("d0", "d1"):
        run.finish(COPY, 1, dataset, rows=10)
    for dataset in ("d0", "d1"):
        run.finish(VERIFY, 1, dataset)
    run.finish(PUBLISH, 8)
    shares = {"d0": 0.1, "d1": 0.3}
    assert run.dataset("d0", **shares).publish.seconds == pytest.approx(2)
    assert run.dataset("d1", **shares).publish.seconds == pytest.approx(6)


def test_empty_relations_that_are_published_together_share_evenly() -> None:
    run = told(datasets=2)
    for kind in (COPY, VERIFY):
        for dataset in ("d0", "d1"):
            run.finish(kind, 1, dataset)
    run.finish(PUBLISH, 8)
    assert run.dataset("d0").publish == run.dataset("d1").publish == Actual(4)


def test_publishing_in_several_targets_counts_the_preparation_of_each() -> None:
    run = told(datasets=2, targets=2)
    for kind, seconds in ((COPY, 1), (VERIFY, 1), (PREPARE, 3), (PUBLISH, 2)):
        run.finish(kind, seconds, "d0")
        run.finish(kind, seconds + 1, "d1")
    assert (run.dataset("d0").publish, run.dataset("d1").publish) == (Actual(5), Actual(7))


# What has not happened -------------------------------------------------------------------------------------------------------------------


def test_of_a_run_that_has_just_begun_nothing_has_happened() -> None:
    found = told().found()
    phase = found.phases["a"]
    assert all(map(is_nothing, (found.makespan, phase.duration, phase.downtime, phase.write_downtime)))
    assert phase.end_time is None
    assert phase.datasets == {"d0": DatasetActuals()}


def test_of_a_phase_under_way_what_is_done_has_happened() -> None:
    run = told()
    run.finish(COPY, 8)
    run.lease(VERIFY)
    assert run.dataset().copy == Actual(8)
    assert is_nothing(run.dataset().verify)
    assert is_nothing(run.phase().duration)


def test_a_phase_that_failed_has_no_duration_and_the_run_no_makespan() -> None:
    run = told()
    run.finish(COPY, 8)
    task = run.lease(VERIFY)
    run.do(Failed(task.id, task.fence, PERMANENT))
    assert is_nothing(run.phase().duration)
    assert is_nothing(run.found().makespan)
    assert run.dataset().copy == Actual(8)


def test_what_was_undone_happened_all_the_same() -> None:
    run = told()
    run.go()
    before = run.found()
    run.wait(60)
    run.do(RollbackAsked("me", ""))
    run.finish(ROLLBACK, 5)
    assert run.found() == before


def test_a_phase_that_is_run_again_is_told_as_it_went_the_last_time() -> None:
    run = told()
    run.finish(COPY, 8)
    task = run.lease(VERIFY)
    run.do(Failed(task.id, task.fence, PERMANENT))
    run.finish(ROLLBACK, 1)
    run.do(Retried("me"))
    run.go(copy=4)
    assert run.phase().duration == Actual(9)
    assert run.dataset().copy == Actual(4)
    assert run.found().makespan.disturbance == "it was retried"


def test_of_a_publication_that_is_tried_again_only_the_last_attempt_counts() -> None:
    run = told(datasets=2, targets=2)
    for kind in (COPY, VERIFY, PREPARE):
        run.finish(kind, 50, "d0")
        run.finish(kind, 50, "d1")
    task = run.lease(PUBLISH, "d0")
    run.do(Failed(task.id, task.fence, PERMANENT))
    run.finish(ROLLBACK, 1)
    run.finish(ROLLBACK, 1)
    run.do(Retried("me"))
    for kind, seconds in ((COPY, 1), (VERIFY, 1), (PREPARE, 3), (PUBLISH, 2)):
        run.finish(kind, seconds, "d0")
        run.finish(kind, seconds, "d1")
    assert run.dataset("d0") == DatasetActuals(Actual(1), Actual(1), Actual(5))


# What disturbed it -----------------------------------------------------------------------------------------------------------------------


def test_a_phase_during_which_the_run_was_paused_is_disturbed_and_its_steps_are_not() -> None:
    run = told()
    run.finish(COPY, 8)
    run.do(PAUSED)
    run.wait(100)
    run.do(RUNNING)
    run.finish(VERIFY, 3)
    run.finish(PUBLISH, 2)
    assert run.phase().downtime == Actual(113, "the run was paused meanwhile")
    assert run.found().makespan == Actual(113, "it was paused")
    assert run.dataset() == DatasetActuals(Actual(8), Actual(3), Actual(2))


def test_a_pause_before_a_phase_disturbs_the_run_alone() -> None:
    run = Told(aggregate_of({"a": (), "b": ("a",)}))
    run.finish(COPY, 8)
    run.do(PAUSED)
    run.wait(10)
    run.do(RUNNING)
    run.finish(VERIFY, 3)
    run.finish(PUBLISH, 2)
    run.go()
    found = run.found()
    assert found.phases["a"].duration.disturbance
    assert found.phases["b"].duration == Actual(13)
    assert found.makespan.disturbance == "it was paused"


def test_a_pause_does_not_disturb_how_long_writers_are_kept_out_of_an_online_phase() -> None:
    run = online()
    run.do(PAUSED)
    run.finish(VERIFY, 3)
    run.finish(PUBLISH, 2)
    assert run.phase().write_downtime == Actual(5)
    assert run.phase().duration.disturbance


@pytest.mark.parametrize(("start", "end"), [(-5, 1), (4, 6), (12, 60)])
def test_a_phase_whose_window_was_closed_meanwhile_is_disturbed(start: float, end: float) -> None:
    run = told()
    run.go()
    assert run.phase(blackout(start, end)).downtime == Actual(13, "its window was closed meanwhile")


@pytest.mark.parametrize(("start", "end"), [(-5, 0), (13, 60)])
def test_a_window_that_is_closed_before_or_afterwards_disturbs_nothing(start: float, end: float) -> None:
    run = told()
    run.go()
    assert run.phase(blackout(start, end)).downtime == Actual(13)


def test_a_lane_that_drained_disturbs_its_dataset_and_its_phase() -> None:
    run = told(datasets=2)
    task = run.lease(COPY, "d0")
    run.wait(2)
    run.do(Drained(task.id, task.fence))
    for kind in (COPY, VERIFY):
        for dataset in ("d0", "d1"):
            run.finish(kind, 1, dataset)
    run.finish(PUBLISH, 1)
    assert run.dataset("d0").copy == Actual(3, "a lane was given to a host more than once")
    assert run.dataset("d1").copy == Actual(1)
    assert run.phase().duration.disturbance == "a lane was given to a host more than once"


def test_a_lane_that_lost_its_host_disturbs_its_dataset() -> None:
    run = told()
    task = run.lease(COPY)
    run.do(Lost(task.id))
    run.go()
    assert run.dataset().copy.disturbance


def test_a_comparison_that_was_done_again_lasts_as_long_as_the_last_one() -> None:
    run = told()
    run.finish(COPY, 8)
    task = run.lease(VERIFY)
    run.wait(50)
    run.do(Failed(task.id, task.fence, TEMPORARY))
    run.wait(60)
    run.finish(VERIFY, 3)
    run.finish(PUBLISH, 2)
    assert run.dataset().verify == Actual(3)
    assert run.phase().duration.disturbance == "a task had to be done again"


def test_a_publication_that_was_begun_twice_is_disturbed() -> None:
    run = online()
    run.finish(VERIFY, 3)
    task = run.lease(PUBLISH)
    run.do(Failed(task.id, task.fence, TEMPORARY))
    run.wait(60)
    run.finish(PUBLISH, 2)
    assert run.dataset().publish == Actual(2, "it was begun more than once")
    assert run.phase().write_downtime == Actual(65, "a task had to be done again")


def test_a_phase_that_a_person_approves_before_its_publication_is_disturbed() -> None:
    run = told(go="before_publication")
    run.finish(COPY, 8)
    run.finish(VERIFY, 3)
    run.wait(1_000)
    run.do(Approved("a", "go", "me"))
    run.finish(PUBLISH, 2)
    assert run.phase().downtime == Actual(1_013, "it waited for an approval")
    assert run.dataset().publish == Actual(2)


def test_an_approval_before_the_start_disturbs_the_run_and_not_the_phase() -> None:
    run = told(go="before_start")
    run.wait(1_000)
    run.do(Approved("a", "go", "me"))
    run.go()
    assert run.phase().duration == Actual(13)
    assert run.found().makespan == Actual(1_013, "it waited for an approval")


def test_a_run_that_waited_for_another_plan_is_disturbed() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.run.waiting_for = ("other",)
    run = Told(aggregate)
    run.wait(50)
    run.do(PlanSucceeded("other"))
    run.go()
    assert run.phase().duration == Actual(13)
    assert run.found().makespan == Actual(63, "it waited for another plan")


def test_what_disturbed_a_phase_disturbed_the_run() -> None:
    run = told()
    task = run.lease(COPY)
    run.do(Lost(task.id))
    run.go()
    assert run.found().makespan.disturbance == "phase `a`: a lane was given to a host more than once"
