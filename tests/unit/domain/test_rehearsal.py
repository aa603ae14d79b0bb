"""Whole plans in virtual time, through the real core and the real scheduler."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

import pytest

from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.precedence import Precedence
from pymigrate.engine.domain.rehearsal import Rehearsal, Rehearsed
from pymigrate.engine.domain.run import RunAggregate, Task
from pymigrate.engine.domain.run_states import PhaseState, RunState
from pymigrate.engine.domain.schedule import Limits, Place, Scheduler
from pymigrate.engine.domain.sharing import CopyShape
from tests.property.simulated_runs import PLAN, START, aggregate_of

TEN_DEPARTMENTS: dict[str, tuple[str, ...]] = {
    "hr": (),
    "finance": (),
    "legal": (),
    "crm": (),
    "sales": ("crm", "finance"),
    "stock": ("finance",),
    "shipping": ("stock", "sales"),
    "marketing": ("crm",),
    "support": ("sales", "hr"),
    "board": ("shipping", "support", "marketing", "legal"),
}


@dataclass
class Steady:
    """Every lane has ten chunks of a second; every other task takes a second. A source serves so many lanes at full speed."""

    chunks: int = 10
    full_speed_lanes: int = 1_000

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        return CopyShape(self.chunks, self.chunks * 100, self.chunks * 1_000, 1.0)

    def seconds(self, core: RunCore, task: Task) -> float:
        return 1.0

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        return max(1.0, source_lanes / self.full_speed_lanes)


def beside_one_another(phases: int) -> dict[str, tuple[str, ...]]:
    return {f"p{number}": () for number in range(phases)}


def rehearse(
    *aggregates: RunAggregate, limits: Limits | None = None, durations: Steady | None = None, start: datetime = START
) -> Rehearsed:
    cores = [RunCore(aggregate, random.Random(1)) for aggregate in aggregates]
    return Rehearsal(
        cores, limits or Limits(50), durations or Steady(), Scheduler(random.Random(2)), start, report_seconds=0.0
    ).run()


def test_ten_departments_with_complex_dependencies_take_as_long_as_their_critical_path() -> None:
    aggregate = aggregate_of(TEN_DEPARTMENTS)
    found = rehearse(aggregate)
    assert aggregate.run.state is RunState.SUCCEEDED
    # Ten seconds of copying, one of verification, one of publication, for each phase of the longest chain.
    chain = Precedence(TEN_DEPARTMENTS).criticality(dict.fromkeys(TEN_DEPARTMENTS, 12.0))
    assert found.makespan_seconds == chain.makespan == 4 * 12
    starts = {name: phase.start_time for name, phase in aggregate.phases.items()}
    assert starts["sales"] == START + timedelta(seconds=12)


def test_fewer_lanes_take_longer_and_are_never_exceeded() -> None:
    wide = beside_one_another(20)
    one = rehearse(aggregate_of(wide), limits=Limits(1))
    five = rehearse(aggregate_of(wide), limits=Limits(5))
    assert (one.lanes_peak, five.lanes_peak) == (1, 5)
    assert one.makespan_seconds > 4 * five.makespan_seconds
    assert one.chunks == five.chunks == 200


def test_a_source_that_serves_four_lanes_no_faster_than_two_is_rehearsed_so() -> None:
    wide = beside_one_another(4)
    shared = rehearse(aggregate_of(wide), durations=Steady(full_speed_lanes=2))
    alone = rehearse(aggregate_of(wide))
    assert alone.makespan_seconds == 12
    assert 20 <= shared.makespan_seconds <= 23


def test_lanes_drain_at_the_end_of_a_window_and_go_on_in_the_next() -> None:
    nights = Calendar(UTC, (WeeklyWindow(time(22), time(22, 1)),))
    aggregate = aggregate_of({"a": ()})
    found = rehearse(
        aggregate,
        limits=Limits(50, calendars={(PLAN, ""): nights}),
        durations=Steady(chunks=100),
        start=START.replace(hour=22),
    )
    assert aggregate.run.state is RunState.SUCCEEDED
    assert found.end - START.replace(hour=22) == timedelta(days=1, seconds=42)
    (lane,) = aggregate.lanes.values()
    assert (lane.chunks, lane.fence) == (100, 2)


def test_a_window_that_never_opens_is_told_and_not_waited_for() -> None:
    noon = Calendar(UTC, (WeeklyWindow(time(12), time(13)),))
    night = Calendar(UTC, (WeeklyWindow(time(22), time(23)),))
    with pytest.raises(FailedPrecondition, match="would wait for ever"):
        rehearse(aggregate_of({"a": ()}), limits=Limits(50, calendars={(PLAN, ""): noon, (PLAN, "a"): night}))


def test_a_plan_waits_for_the_plan_that_it_depends_on() -> None:
    first, second = aggregate_of({"a": ()}), aggregate_of({"a": ()})
    second.run.name, second.run.plan = "environments/e/plans/q/runs/r", "environments/e/plans/q"
    second.run.waiting_for = ("p",)
    found = rehearse(first, second)
    assert found.makespan_seconds == 24
    assert second.phases["a"].start_time == START + timedelta(seconds=12)


def test_gates_are_approved_when_they_are_waited_at() -> None:
    aggregate = aggregate_of({"a": (), "b": ("a",)})
    aggregate.phases["a"].gates = {"look": "before_publication"}
    aggregate.phases["b"].gates = {"go": "before_start"}
    assert rehearse(aggregate).makespan_seconds == 24
    assert aggregate.phases["b"].approvals == {"go": "rehearsal"}


def test_a_dataset_in_several_lanes_is_copied_in_parallel() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.datasets["a", "d0"] = replace(aggregate.datasets["a", "d0"], ranges=("..5", "5.."))
    found = rehearse(aggregate)
    assert found.lanes_peak == 2
    assert sorted(lane.part for lane in aggregate.lanes.values()) == [1, 2]


def test_the_lanes_at_work_are_told_over_time() -> None:
    found = rehearse(aggregate_of({"a": (), "b": (), "c": ("a",)}))
    assert found.lane_changes == [(0.0, 2), (10.0, 0), (12.0, 1), (22.0, 0)]


def test_a_large_plan_is_rehearsed_by_its_reports_and_not_by_its_chunks() -> None:
    aggregate = aggregate_of(beside_one_another(10))
    cores = [RunCore(aggregate, random.Random(1))]
    durations = Steady(chunks=100_000)
    found = Rehearsal(cores, Limits(50), durations, Scheduler(random.Random(2)), START, report_seconds=3_600.0).run()
    assert found.chunks == 1_000_000
    assert found.reports <= 10 * 30
    assert all(phase.state is PhaseState.PUBLISHED for phase in aggregate.phases.values())
