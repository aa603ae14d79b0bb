"""Lanes that share systems in a rehearsal: how fast each goes on, and where it stops."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta

import pytest

from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.domain.rehearsal import Rehearsal, Rehearsed
from pymigrate.engine.domain.run import RunAggregate, Task
from pymigrate.engine.domain.run_states import TaskKind
from pymigrate.engine.domain.schedule import Limits, Place, Scheduler
from pymigrate.engine.domain.sharing import CopyShape
from tests.property.simulated_runs import PLAN, START, aggregate_of

SOURCE = ("environments/e", "source")
TEN_SECONDS = CopyShape(10, 1_000, 10_000, 1.0)
Slowdown = Callable[[int, int, int], float]


@dataclass
class Shaped:
    """Copies by phase (ten chunks of a second otherwise); other tasks take so long; `slowed` by lanes on the source, on the target, and
    all work."""

    shapes: dict[str, CopyShape] = field(default_factory=dict)
    seconds_each: float = 0.0
    slowed: Slowdown = lambda reading, writing, lanes: 1.0

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        return self.shapes.get(task.phase, TEN_SECONDS)

    def seconds(self, core: RunCore, task: Task) -> float:
        return self.seconds_each

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        return self.slowed(source_lanes, target_lanes, lanes)


def one_at_a_time(reading: int, writing: int, lanes: int) -> float:
    return max(1.0, reading)


def rehearse(
    aggregate: RunAggregate,
    durations: Shaped,
    limits: Limits | None = None,
    start: datetime = START,
    report_seconds: float | None = None,
) -> Rehearsed:
    core = RunCore(aggregate, random.Random(1))
    scheduler = Scheduler(random.Random(2))
    return Rehearsal([core], limits or Limits(50), durations, scheduler, start, report_seconds).run()


def ends(found: Rehearsed) -> dict[str, float]:
    (phases,) = found.phases.values()
    return {name: times.end_seconds for name, times in phases.items()}


def test_two_lanes_on_a_source_that_serves_one_take_twice_as_long() -> None:
    assert rehearse(aggregate_of({"a": ()}), Shaped(slowed=one_at_a_time)).makespan_seconds == 10
    assert rehearse(aggregate_of({"a": (), "b": ()}), Shaped(slowed=one_at_a_time)).makespan_seconds == 20


def test_a_lane_that_ends_early_lets_the_other_go_on_faster() -> None:
    durations = Shaped({"b": replace(TEN_SECONDS, chunks=2)}, slowed=one_at_a_time)
    assert ends(rehearse(aggregate_of({"a": (), "b": ()}), durations)) == {"a": 12, "b": 4}


def test_a_lane_that_comes_later_slows_the_other_down_in_the_middle_of_a_chunk() -> None:
    durations = Shaped({"c": replace(TEN_SECONDS, chunks=1, chunk_seconds=2.5)}, slowed=one_at_a_time)
    aggregate = aggregate_of({"a": (), "b": ("c",), "c": ()})
    # c needs 5 s beside a, which is at 2.5 s of its work then; b and a take turns for the 7.5 s that a needs, and b goes on alone.
    assert ends(rehearse(aggregate, durations)) == {"c": 5, "a": 20, "b": 22.5}


def test_lanes_of_other_sources_are_not_slowed_down_by_a_source() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.datasets["b", "d0"].source_connection = "other"
    assert rehearse(aggregate, Shaped(slowed=one_at_a_time)).makespan_seconds == 10


def test_a_target_that_is_shared_slows_lanes_of_several_sources_down() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.datasets["b", "d0"].source_connection = "other"
    assert rehearse(aggregate, Shaped(slowed=lambda reading, writing, lanes: writing)).makespan_seconds == 20


def test_a_verification_and_a_lane_share_what_is_scarce_for_as_long_as_both_are_under_way() -> None:
    durations = Shaped({"b": replace(TEN_SECONDS, chunks=2)}, 5.0, lambda reading, writing, lanes: lanes)
    # Both copy until b ends at 4 s; b's verification takes until 14 s then, when a has 3 s left, and a's ends at 20 s beside b's
    # publication. That has 2 s left, which take 4 s beside a's verification; the rest of it and a's publication are alone.
    assert ends(rehearse(aggregate_of({"a": (), "b": ()}), durations)) == {"b": 24, "a": 32}


def test_a_verification_in_another_pair_of_systems_goes_on_at_its_own_speed() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.datasets["b", "d0"].source_connection = "other"
    durations = Shaped({"b": replace(TEN_SECONDS, chunks=2)}, 5.0, one_at_a_time)
    assert ends(rehearse(aggregate, durations)) == {"b": 12, "a": 20}


def test_a_verification_is_not_held_to_the_rate_of_its_source() -> None:
    limits = Limits(50, rates={SOURCE: Rate(bytes_per_second=500)})
    assert rehearse(aggregate_of({"a": ()}), Shaped(seconds_each=3.0), limits).makespan_seconds == 19 + 3 + 3


def test_what_is_done_outside_databases_counts_nowhere() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.phases["b"].steps = {"tell": "before_start"}
    durations = Shaped({"b": replace(TEN_SECONDS, chunks=0)}, 5.0, lambda reading, writing, lanes: 1.0 + (lanes > 1))
    # The step takes 5 s; b's verification and a's last 5 s of copying take until 15 s together, and b's publication and a's
    # verification until 25 s.
    assert ends(rehearse(aggregate, durations)) == {"b": 25, "a": 30}


def test_opening_and_closing_are_not_slowed_down() -> None:
    shape = replace(TEN_SECONDS, fixed_seconds=3.0)
    durations = Shaped({"a": shape, "b": shape}, slowed=one_at_a_time)
    assert rehearse(aggregate_of({"a": (), "b": ()}), durations).makespan_seconds == 23


def test_a_dataset_without_rows_takes_what_opening_takes() -> None:
    durations = Shaped({"a": CopyShape(0, 0, 0, 1.0, fixed_seconds=0.5)})
    assert rehearse(aggregate_of({"a": ()}), durations).makespan_seconds == 0.5


def test_a_lane_goes_no_faster_than_its_source_allows() -> None:
    limits = Limits(50, rates={SOURCE: Rate(bytes_per_second=500)})
    # Nine chunks are waited for, two seconds each; the last one takes what reading and writing it take.
    assert rehearse(aggregate_of({"a": ()}), Shaped(), limits).makespan_seconds == 19


def test_a_lane_of_a_single_chunk_waits_for_no_rate() -> None:
    limits = Limits(50, rates={SOURCE: Rate(bytes_per_second=500)})
    durations = Shaped({"a": replace(TEN_SECONDS, chunks=1)})
    assert rehearse(aggregate_of({"a": ()}), durations, limits).makespan_seconds == 1


def test_what_a_source_allows_is_shared_and_free_again_when_a_lane_ends() -> None:
    limits = Limits(50, rates={SOURCE: Rate(rows_per_second=100)})
    durations = Shaped({"b": CopyShape(1, 100, 1_000, 1.0)})
    # Until b's only chunk is done a has done half a chunk, and eight and a half more before its last one, a second each.
    assert ends(rehearse(aggregate_of({"a": (), "b": ()}), durations, limits)) == {"b": 1, "a": 10.5}


def test_a_rate_that_is_never_reached_changes_nothing() -> None:
    limits = Limits(50, rates={SOURCE: Rate(bytes_per_second=1e9)})
    assert rehearse(aggregate_of({"a": (), "b": ()}), Shaped(slowed=one_at_a_time), limits).makespan_seconds == 20


def test_reports_at_every_chunk_change_no_time() -> None:
    durations = Shaped({"b": replace(TEN_SECONDS, chunks=2)}, 1.0, one_at_a_time)
    told = rehearse(aggregate_of({"a": (), "b": ()}), durations, report_seconds=0.0)
    untold = rehearse(aggregate_of({"a": (), "b": ()}), durations)
    assert told.phases == untold.phases
    assert (told.chunks, told.reports) == (12, 12)
    assert (untold.chunks, untold.reports) == (12, 2)


# Windows ---------------------------------------------------------------------------------------------------------------------------


def nightly(seconds: int) -> Limits:
    """The plan's window is from ten o'clock at night for less than a minute."""
    return Limits(50, calendars={(PLAN, ""): Calendar(UTC, (WeeklyWindow(time(22), time(22, 0, seconds)),))})


NIGHT = START.replace(hour=22)


def test_a_lane_stops_at_the_end_of_the_chunk_that_it_is_at_when_the_window_closes() -> None:
    aggregate = aggregate_of({"a": ()})
    durations = Shaped({"a": CopyShape(10, 1_000, 10_000, 2.0)})
    found = rehearse(aggregate, durations, nightly(15), NIGHT)
    assert found.lane_changes == [(0.0, 1), (16.0, 0), (86_400.0, 1), (86_404.0, 0)]
    (lane,) = aggregate.lanes.values()
    assert (lane.chunks, lane.rows, lane.fence) == (10, 1_000, 2)


def test_a_lane_that_is_slowed_down_has_done_fewer_chunks_when_the_window_closes() -> None:
    found = rehearse(aggregate_of({"a": (), "b": ()}), Shaped(slowed=one_at_a_time), nightly(11), NIGHT)
    assert found.lane_changes == [(0.0, 2), (12.0, 0), (86_400.0, 2), (86_408.0, 0)]


def test_a_chunk_that_is_longer_than_the_window_is_finished_all_the_same() -> None:
    durations = Shaped({"a": CopyShape(2, 10, 10, 100.0)})
    found = rehearse(aggregate_of({"a": ()}), durations, nightly(30), NIGHT)
    assert found.lane_changes == [(0.0, 1), (100.0, 0), (86_400.0, 1), (86_500.0, 0)]


def test_opening_is_paid_for_again_in_the_next_window() -> None:
    durations = Shaped({"a": replace(TEN_SECONDS, fixed_seconds=4.0)})
    found = rehearse(aggregate_of({"a": ()}), durations, nightly(10), NIGHT)
    assert found.lane_changes == [(0.0, 1), (10.0, 0), (86_400.0, 1), (86_408.0, 0)]


def test_a_lane_that_no_window_is_long_enough_to_open_its_systems_for_is_told() -> None:
    durations = Shaped({"a": replace(TEN_SECONDS, fixed_seconds=20.0)})
    with pytest.raises(FailedPrecondition, match="would begin for ever"):
        rehearse(aggregate_of({"a": ()}), durations, nightly(10), NIGHT)


def test_a_verification_begins_anew_in_the_next_window() -> None:
    found = rehearse(aggregate_of({"a": ()}), Shaped(seconds_each=7.0), nightly(15), NIGHT)
    assert found.end == NIGHT + timedelta(days=1, seconds=14)


def test_a_verification_that_no_window_holds_is_told_and_not_repeated_for_ever() -> None:
    with pytest.raises(FailedPrecondition, match="no window of its phase"):
        rehearse(aggregate_of({"a": ()}), Shaped(seconds_each=60.0), nightly(15), NIGHT)


def test_a_publication_that_has_begun_is_finished_after_the_window() -> None:
    @dataclass
    class SlowPublication(Shaped):
        def seconds(self, core: RunCore, task: Task) -> float:
            return 60.0 if task.kind is TaskKind.PUBLISH else 1.0

    found = rehearse(aggregate_of({"a": ()}), SlowPublication(), nightly(15), NIGHT)
    assert found.makespan_seconds == 71
