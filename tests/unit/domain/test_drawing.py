"""What many rehearsals say about a run."""

import random
from dataclasses import dataclass, replace

from pymigrate.engine.domain.drawing import Drawing, Draws, critical_path, drawn, gather, slacks
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rehearsed import PhaseTimes
from pymigrate.engine.domain.run import RunAggregate, Task
from pymigrate.engine.domain.schedule import Limits, Place
from pymigrate.engine.domain.sharing import CopyShape
from tests.property.simulated_runs import START, aggregate_of

DIAMOND: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


@dataclass
class Drawn:
    """Copies of ten seconds, longer by as much as was drawn; phase `c` takes twice as long. Everything else takes a second."""

    longer: float = 0.0

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        return CopyShape(10, 100, 1_000, (2.0 if task.phase == "c" else 1.0) + self.longer / 10)

    def seconds(self, core: RunCore, task: Task) -> float:
        return 1.0

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        return 1.0


def steady(rng: random.Random) -> Drawn:
    return Drawn()


def varied(rng: random.Random) -> Drawn:
    return Drawn(rng.uniform(0.0, 5.0))


def drawing_of(aggregate: RunAggregate, seed: int = 1, is_varied: bool = True) -> Drawing:
    def cores() -> list[RunCore]:
        return [RunCore(aggregate.copied(), random.Random(1))]

    return Drawing(cores, Limits(50), varied if is_varied else steady, START, seed)


def draws_of(aggregate: RunAggregate, draws: int = 10, seed: int = 1, is_varied: bool = True) -> Draws:
    return drawn(drawing_of(aggregate, seed, is_varied), aggregate, draws)


def test_the_same_seed_gives_the_same_draws_and_another_one_others() -> None:
    aggregate = aggregate_of(DIAMOND)
    assert draws_of(aggregate) == draws_of(aggregate)
    assert draws_of(aggregate).makespans != draws_of(aggregate, seed=2).makespans


def test_draws_that_are_found_apart_and_out_of_order_are_the_same() -> None:
    aggregate = aggregate_of(DIAMOND)
    drawing = drawing_of(aggregate)
    apart = [*drawing.part(range(5, 10)), *drawing.part(range(5))]
    assert gather(apart, aggregate, START) == draws_of(aggregate)


def test_every_draw_has_durations_of_its_own() -> None:
    assert len(set(draws_of(aggregate_of(DIAMOND)).makespans)) == 10


def test_a_drawn_run_leaves_what_it_was_drawn_from_unchanged() -> None:
    aggregate = aggregate_of(DIAMOND)
    before = aggregate.copied()
    draws_of(aggregate)
    assert aggregate == before


def test_the_critical_path_and_its_share_and_slack_are_told() -> None:
    found = draws_of(aggregate_of(DIAMOND), is_varied=False)
    assert found.critical_path == ("a", "c", "d")
    assert {name: phase.critical_share for name, phase in found.phases.items()} == {"a": 1, "b": 0, "c": 1, "d": 1}
    assert {name: phase.slacks[0] for name, phase in found.phases.items()} == {"a": 0, "b": 10, "c": 0, "d": 0}


def test_starts_and_ends_are_told_for_each_draw() -> None:
    found = draws_of(aggregate_of(DIAMOND), draws=2, is_varied=False)
    assert (found.phases["d"].starts, found.phases["d"].ends) == ([34.0, 34.0], [46.0, 46.0])
    assert found.makespans == [46.0, 46.0]


def test_the_lanes_are_those_of_the_draw_with_the_median_makespan() -> None:
    aggregate = aggregate_of({"a": ()})
    drawing = drawing_of(aggregate)
    draws = drawing.part(range(4))
    second = sorted(draws, key=lambda draw: draw.makespan_seconds)[1]
    assert gather(draws, aggregate, START).lane_changes == second.lane_changes


def test_the_most_lanes_at_once_are_told_in_all_and_by_connection_and_phase() -> None:
    aggregate = aggregate_of({"a": (), "b": ()})
    aggregate.datasets["a", "d0"].source_connection = "other"
    aggregate.datasets["b", "d0"].ranges = ("..5", "5..")
    found = draws_of(aggregate, draws=1)
    assert found.lanes_peak == 3
    assert found.connection_lanes_peak == {"other": 1, "source": 2, "target0": 3}
    assert {name: phase.lanes_peak for name, phase in found.phases.items()} == {"a": 1, "b": 2}


def test_a_connection_that_is_read_and_written_by_a_lane_counts_it_once() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.datasets["a", "d0"].source_connection = "target0"
    assert draws_of(aggregate, draws=1).connection_lanes_peak == {"target0": 1}


# Downtime ----------------------------------------------------------------------------------------------------------------------------


def downtimes(aggregate: RunAggregate) -> tuple[list[float], list[float]]:
    phase = draws_of(aggregate, draws=1, is_varied=False).phases["a"]
    return phase.downtimes, phase.write_downtimes


def test_the_sources_of_an_offline_phase_are_down_from_its_start_to_its_publication() -> None:
    assert downtimes(aggregate_of({"a": ()})) == ([12.0], [12.0])


def test_the_sources_of_a_read_only_phase_are_read_meanwhile() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.phases["a"].is_live = True
    assert downtimes(aggregate) == ([0.0], [12.0])


def test_the_sources_of_an_online_phase_are_written_to_until_it_is_verified() -> None:
    aggregate = aggregate_of({"a": ()})
    aggregate.phases["a"].is_live = aggregate.phases["a"].is_online = True
    found = draws_of(aggregate, draws=1, is_varied=False)
    # A second each for the capture, the changes, the verification and the publication.
    assert found.makespans == [14.0]
    assert (found.phases["a"].downtimes, found.phases["a"].write_downtimes) == ([0.0], [2.0])


# Pieces ------------------------------------------------------------------------------------------------------------------------------


def test_the_critical_path_follows_the_dependency_that_ended_last() -> None:
    phases = {"a": PhaseTimes(0, 5), "b": PhaseTimes(0, 7), "c": PhaseTimes(7, 9), "d": PhaseTimes(0, 8)}
    runs = aggregate_of({"a": (), "b": (), "c": ("a", "b"), "d": ()}).phases
    assert critical_path(phases, runs) == ("b", "c")


def test_a_path_ends_at_a_dependency_that_had_ended_before() -> None:
    runs = aggregate_of({"a": (), "b": ("a",)}).phases
    assert critical_path({"b": PhaseTimes(-3, 4)}, runs) == ("b",)


def test_slack_counts_from_the_start_of_the_rehearsal() -> None:
    runs = aggregate_of({"a": (), "b": ()}).phases
    assert slacks({"a": PhaseTimes(-100, 4), "b": PhaseTimes(0, 6)}, runs) == {"a": 2, "b": 0}


# Runs under way --------------------------------------------------------------------------------------------------------------------


def test_phases_that_had_ended_are_left_out_and_what_was_before_is_negative() -> None:
    aggregate = aggregate_of({"a": (), "b": ("a",)})
    before = RunCore(aggregate, random.Random(1))
    Drawing(lambda: [before], Limits(50), steady, START).draw(0)
    later = replace(drawing_of(before.aggregate), start=START.replace(hour=1))
    assert later.draw(0).phases == {}
