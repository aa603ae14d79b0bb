"""How long the steps of a plan take: sizes and lanes, other lanes beside them, and the chance of a draw."""

import math
import random
import statistics
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from pymigrate.engine.domain.durations import (
    SPREADS,
    STEP_SECONDS_ASSUMED,
    Basis,
    Contention,
    DatasetModel,
    PlanDurations,
    Step,
)
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.run_states import TaskKind
from tests.property.simulated_runs import aggregate_of

SOURCE, TARGET = ("e", "legacy"), ("e", "warehouse")
TURNAROUND = 0.5
DRAWS = 4_000


def model(rows: int = 1_000, spread: float = 0.3, **changes: object) -> DatasetModel:
    """Ten milliseconds of copying a row, a hundredth of comparing one, 3 s of publishing; chunks of 100 rows."""
    found = DatasetModel(
        rows=rows,
        bytes=rows * 10,
        chunk_rows=100,
        copy=Step(2.0, 0.01),
        verify=Step(1.0, 0.0001),
        publish=Step(3.0, 0.0),
        basis=Basis.MEASURED,
        spread=spread,
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def durations(**models: DatasetModel) -> PlanDurations:
    """Of the datasets of phase `a`."""
    return PlanDurations({("a", name): each for name, each in models.items()}, turnaround_seconds=TURNAROUND)


def core(datasets: int = 2) -> RunCore:
    """A run of one phase, `a`, with datasets `d0`, `d1` and so on."""
    return RunCore(aggregate_of({"a": ()}, datasets=datasets), random.Random(1))


def task(kind: TaskKind, *datasets: str, detail: str = "") -> Task:
    return Task("t", kind, "a", 1, datasets or ("d0",), "warehouse", "shared", detail=detail)


def factors(found: PlanDurations) -> dict[str, float]:
    return {name: factor for (_, name), factor in found.factors.items()}


def drawn_factors(spread: float, draws: int = DRAWS) -> list[float]:
    """A dataset's factor in many draws."""
    plan = durations(d0=model(spread=spread))
    return [plan.drawn(random.Random(seed)).factors["a", "d0"] for seed in range(draws)]


# Steps ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "seconds"), [(0, 2.0), (100, 3.0), (-1, 2.0)])
def test_a_step_takes_its_fixed_seconds_and_some_for_each_row(rows: float, seconds: float) -> None:
    assert Step(2.0, 0.01).seconds(rows) == seconds


def test_a_step_that_takes_longer_does_so_as_a_whole() -> None:
    assert Step(2.0, 0.01).times(3.0) == Step(6.0, 0.03)


def test_lanes_of_a_dataset_share_its_rows_and_each_opens_by_itself() -> None:
    assert model().copy_seconds(1) == 12.0
    assert model().copy_seconds(4) == 18.0
    assert model().copy_seconds(0) == 12.0


def test_comparing_reads_every_row_unless_fewer_are_said() -> None:
    assert model().verify_seconds == pytest.approx(1.1)
    assert model(verified_rows=100.0).verify_seconds == pytest.approx(1.01)
    assert model(verified_rows=0.0).verify_seconds == 1.0


def test_what_was_learned_makes_each_step_longer_by_itself() -> None:
    found = model().calibrated(2.0, 3.0, 0.5)
    assert (found.copy, found.publish) == (Step(4.0, 0.02), Step(1.5))
    assert found.verify.fixed_seconds == 3.0
    assert found.verify.row_seconds == pytest.approx(0.0003)


def test_the_surer_a_basis_the_narrower_its_bounds() -> None:
    assert SPREADS.keys() == set(Basis)
    assert SPREADS[Basis.HISTORY] < SPREADS[Basis.MEASURED] < SPREADS[Basis.DECLARED] < SPREADS[Basis.STATISTICS]
    assert SPREADS[Basis.ASSUMED] == max(SPREADS.values())


# Limits of systems ---------------------------------------------------------------------------------------------------------------------


def test_a_lane_that_its_systems_limit_waits_for_a_part_of_a_chunk_first_which_no_other_lane_and_no_other_draw_has() -> (
    None
):
    limited = replace(durations(d0=model()), leads={("a", "d0"): 2.0})
    lanes = [replace(task(TaskKind.COPY), lane=f"a.d0.p{number}") for number in range(1, 101)]
    plain = durations(d0=model()).copy(core(), lanes[0]).fixed_seconds
    waits = [
        [limited.drawn(random.Random(seed)).copy(core(), lane).fixed_seconds - plain for lane in lanes]
        for seed in (1, 2)
    ]
    assert all(0 < wait < 2 for draw in waits for wait in draw)
    assert statistics.fmean(waits[0]) == pytest.approx(1.0, abs=0.2)
    assert len({*waits[0], *waits[1]}) == 200
    assert limited.copy(core(), lanes[0]).fixed_seconds - plain == pytest.approx(
        1.0
    )  # of one lane half of it, without a draw


# Contention ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lanes", "factor"), [(0, 1.0), (1, 1.0), (2, 1.2), (3, 1.6), (4, 2.0), (6, 3.0), (8, 4.0), (16, 8.0)]
)
def test_what_lanes_do_to_one_another_is_interpolated_and_beyond_the_last_shared(lanes: int, factor: float) -> None:
    assert Contention(((1, 1.0), (2, 1.2), (4, 2.0))).at(lanes) == pytest.approx(factor)


def test_what_is_known_of_many_lanes_alone_begins_with_one_that_nothing_disturbs() -> None:
    assert [Contention(((5, 3.0),)).at(lanes) for lanes in (1, 3, 5)] == [1.0, 2.0, 3.0]


def test_where_lanes_did_not_disturb_one_another_more_of_them_do_not_either() -> None:
    assert Contention(((1, 1.0), (4, 1.0))).at(50) == 1.0
    assert Contention().at(50) == 1.0


def test_no_lane_becomes_faster_by_others() -> None:
    found = Contention(((1, 1.0), (2, 0.7), (4, 0.9)))
    assert [found.at(lanes) for lanes in (2, 3, 4, 9)] == [1.0] * 4


def test_more_lanes_never_make_one_faster_where_what_was_measured_grows() -> None:
    found = Contention(((1, 1.0), (2, 1.1), (8, 3.0)))
    assert all(before <= after for before, after in pairwise(found.at(lanes) for lanes in range(1, 40)))


def test_lanes_of_a_pair_of_systems_that_nothing_is_known_of_do_not_disturb_one_another() -> None:
    known = {(SOURCE, TARGET): Contention(((1, 1.0), (2, 2.0)))}
    plan = PlanDurations({}, known)
    assert plan.slowdown(SOURCE, 2, TARGET, 2, 2) == 2.0
    assert plan.slowdown(SOURCE, 1, TARGET, 1, 4) == 4.0
    assert plan.slowdown(TARGET, 4, SOURCE, 4, 4) == 1.0


# Tasks ---------------------------------------------------------------------------------------------------------------------------------


def test_a_lane_copies_its_part_of_the_rows_chunk_by_chunk() -> None:
    run = core()
    run.aggregate.datasets["a", "d0"].ranges = ("..500", "500..")
    shape = durations(d0=model()).copy(run, task(TaskKind.COPY))
    assert (shape.chunks, shape.rows, shape.bytes) == (5, 500, 5_000)
    assert shape.fixed_seconds == TURNAROUND


def test_opening_and_closing_are_spread_over_the_chunks_so_that_lanes_disturb_them_too() -> None:
    run = core()
    run.aggregate.datasets["a", "d0"].ranges = ("..500", "500..")
    assert durations(d0=model()).copy(run, task(TaskKind.COPY)).chunk_seconds == pytest.approx(1.0 + 2.0 / 5)


@pytest.mark.parametrize("changes", [{"rows": 0}, {"rows": 0, "chunk_rows": 0.0}, {"rows": 10}, {"chunk_rows": 0.0}])
def test_a_lane_copies_one_chunk_at_least(changes: dict[str, float]) -> None:
    found = model(**{"rows": 1_000, **changes})  # type: ignore[arg-type]  # rows are whole here
    shape = durations(d0=found).copy(core(), task(TaskKind.COPY))
    assert shape.chunks == 1
    assert shape.chunk_seconds == pytest.approx(2.0 + found.rows * 0.01)


def test_a_dataset_without_rows_takes_what_opening_and_publishing_take() -> None:
    plan = durations(d0=model(rows=0))
    shape = plan.copy(core(), task(TaskKind.COPY))
    assert (shape.rows, shape.bytes, shape.chunk_seconds) == (0, 0, 2.0)
    assert plan.seconds(core(), task(TaskKind.VERIFY)) == 1.0 + TURNAROUND
    assert plan.seconds(core(), task(TaskKind.PUBLISH)) == 3.0 + TURNAROUND


def test_what_is_published_together_takes_as_long_as_all_of_it() -> None:
    plan = durations(d0=model(), d1=model(publish=Step(4.0)))
    assert plan.seconds(core(), task(TaskKind.PUBLISH, "d0", "d1")) == 7.0 + TURNAROUND
    assert plan.seconds(core(), task(TaskKind.VERIFY, "d1")) == pytest.approx(1.1 + TURNAROUND)


def test_an_online_dataset_takes_its_capture_and_each_round_of_changes() -> None:
    plan = durations(d0=model(catch_up=Step(0.3), capture_seconds=0.2))
    assert plan.seconds(core(), task(TaskKind.CATCH_UP)) == pytest.approx(0.3 + TURNAROUND)
    assert plan.seconds(core(), task(TaskKind.CAPTURE)) == pytest.approx(0.2 + TURNAROUND)


def test_a_call_outside_databases_takes_what_is_known_of_it_or_what_is_assumed() -> None:
    plan = replace(durations(d0=model()), step_seconds={("a", "index"): 9.0})
    assert plan.seconds(core(), task(TaskKind.STEP, detail="index")) == 9.0
    assert plan.seconds(core(), task(TaskKind.STEP, detail="tell")) == STEP_SECONDS_ASSUMED


def test_any_other_task_takes_a_turnaround() -> None:
    assert durations(d0=model()).seconds(core(), task(TaskKind.SEAL)) == TURNAROUND


# Draws ---------------------------------------------------------------------------------------------------------------------------------


def test_the_same_chance_gives_the_same_factors_and_another_one_others() -> None:
    plan = durations(d0=model(), d1=model())
    assert factors(plan.drawn(random.Random(7))) == factors(plan.drawn(random.Random(7)))
    assert factors(plan.drawn(random.Random(7))) != factors(plan.drawn(random.Random(8)))


def test_what_a_dataset_takes_in_a_draw_does_not_depend_on_which_others_there_are() -> None:
    alone = durations(d1=model()).drawn(random.Random(7))
    among = durations(d0=model(), d1=model(), z=model(spread=0.9)).drawn(random.Random(7))
    assert factors(alone)["d1"] == factors(among)["d1"]


def test_datasets_of_a_draw_differ_from_one_another() -> None:
    plan = durations(**{f"d{number}": model() for number in range(20)}).drawn(random.Random(7))
    assert len(set(factors(plan).values())) == 20


def test_half_of_all_draws_take_longer_than_the_median() -> None:
    assert statistics.median(drawn_factors(0.3)) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("spread", [0.06, 0.3, 1.0])
def test_draws_spread_as_the_model_says(spread: float) -> None:
    logarithms = [math.log(factor) for factor in drawn_factors(spread)]
    assert statistics.pstdev(logarithms) == pytest.approx(spread, rel=0.05)


def test_a_dataset_that_is_sure_takes_the_same_in_every_draw() -> None:
    assert set(drawn_factors(0.0, draws=10)) == {1.0}


def test_a_slow_day_is_slow_for_every_dataset_by_half() -> None:
    plan = durations(d0=model(), d1=model())
    logarithms = [
        [math.log(factor) for factor in factors(plan.drawn(random.Random(seed))).values()] for seed in range(DRAWS)
    ]
    assert statistics.correlation(*zip(*logarithms, strict=True)) == pytest.approx(0.5, abs=0.05)


def test_a_draw_makes_every_step_of_a_dataset_longer_alike() -> None:
    plan = durations(d0=model(), d1=model())
    drawn = plan.drawn(random.Random(7))
    factor = factors(drawn)["d0"]

    def longer(kinds: Iterable[TaskKind]) -> list[float]:
        return [
            (drawn.seconds(core(), task(kind)) - TURNAROUND) / (plan.seconds(core(), task(kind)) - TURNAROUND)
            for kind in kinds
        ]

    assert longer((TaskKind.VERIFY, TaskKind.PUBLISH)) == pytest.approx([factor] * 2)
    before, after = plan.copy(core(), task(TaskKind.COPY)), drawn.copy(core(), task(TaskKind.COPY))
    assert after.chunk_seconds == pytest.approx(before.chunk_seconds * factor)
    assert after.fixed_seconds - TURNAROUND == pytest.approx((before.fixed_seconds - TURNAROUND) * factor)
    assert (after.chunks, after.rows) == (before.chunks, before.rows)


def test_a_draw_leaves_what_it_was_drawn_from_as_it_is() -> None:
    plan = durations(d0=model())
    plan.drawn(random.Random(7))
    assert plan.factors == {}
