"""What a dataset's durations are come by: measurements, statistics, declared figures and assumptions, and how sure each makes them."""

import math
from collections.abc import Mapping

import pytest

from pymigrate.engine.application.dataset_sizes import RECKONED_SPREAD, ROW_BYTES_ASSUMED, ROWS_ASSUMED
from pymigrate.engine.application.estimating import (
    FIXED_SECONDS,
    LANE_BYTES_PER_SECOND,
    Estimate,
    Learned,
    Place,
    durations_of,
    estimates_of,
)
from pymigrate.engine.domain.calibration import Calibration, TrackRecord
from pymigrate.engine.domain.durations import SPREADS, TURNAROUND_SECONDS, Basis, Step
from pymigrate.engine.domain.sampling import SAMPLED_BYTES_MAX, SAMPLED_ROWS_MAX
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2
from tests.unit.application.inquirers import a_revision

ORDERS = ("sales", "orders")
ROWS, ROW_BYTES = 1_000_000, 100
PAIR = (("environments/e", "legacy"), ("environments/e", "warehouse"))
LEVEL = plan_pb2.VerificationLevel


def nothing_learned(place: Place, basis: Basis) -> Mapping[str, Learned]:
    return {}


def a_measure(rows: int = ROWS, **changes: object) -> impact_pb2.DatasetMeasure:
    """Two microseconds of copying a row, one of comparing it, a tenth of publishing it."""
    found = impact_pb2.DatasetMeasure(
        rows=rows,
        bytes=rows * ROW_BYTES,
        copy=impact_pb2.StepMeasure(fixed_seconds=0.3, row_seconds=2e-6),
        verify=impact_pb2.StepMeasure(fixed_seconds=0.2, row_seconds=1e-6),
        publish=impact_pb2.StepMeasure(fixed_seconds=0.1, row_seconds=1e-7),
        chunk_rows=50_000,
        path="arrow",
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def a_look(rows: int = -1, size: int = -1, *, is_exact: bool = False) -> run_pb2.PlanRevision:
    """A dataset whose source tells so much."""
    revision = a_revision("orders")
    source = revision.inspections["sales/orders"].source
    source.rows, source.bytes, source.is_exact_rows = rows, size, is_exact
    return revision


def estimate(
    revision: run_pb2.PlanRevision,
    measure: impact_pb2.DatasetMeasure | None = None,
    name: str = "orders",
    **others: impact_pb2.DatasetMeasure,
) -> Estimate:
    """That of one dataset."""
    measures = {("sales", other): each for other, each in others.items()}
    if measure is not None:
        measures["sales", name] = measure
    return estimates_of(revision, measures, nothing_learned)["sales", name]


def declared(revision: run_pb2.PlanRevision, **figures: float) -> run_pb2.PlanRevision:
    """The revision with figures of its dataset."""
    for name, value in figures.items():
        setattr(revision.plan.phases["sales"].datasets["orders"].declared, name, value)
    return revision


def at_level(level: "LEVEL.ValueType", rows: int = ROWS) -> run_pb2.PlanRevision:
    revision = a_look(rows, rows * ROW_BYTES)
    revision.plan.phases["sales"].datasets["orders"].verification = level
    return revision


# Measurements --------------------------------------------------------------------------------------------------------------------------


def test_what_was_measured_is_taken_and_nothing_is_said() -> None:
    found = estimate(a_look(ROWS, ROWS * ROW_BYTES), a_measure())
    assert (found.basis, found.model.basis, found.model.spread) == (
        Basis.MEASURED,
        Basis.MEASURED,
        SPREADS[Basis.MEASURED],
    )
    assert (found.model.rows, found.model.bytes, found.model.chunk_rows) == (ROWS, ROWS * ROW_BYTES, 50_000)
    assert (found.model.copy, found.model.verify, found.model.publish) == (
        Step(0.3, 2e-6),
        Step(0.2, 1e-6),
        Step(0.1, 1e-7),
    )
    assert (found.unknowns, found.has_size, found.record) == ((), True, None)


def test_what_a_measurement_could_not_find_is_said() -> None:
    measure = a_measure()
    measure.unknowns.append("how long comparing takes")
    assert estimate(a_look(ROWS), measure).unknowns == ("how long comparing takes",)


def test_a_source_that_has_grown_somewhat_is_reckoned_with_the_rows_that_it_has_now() -> None:
    found = estimate(a_look(ROWS * 3 // 2, 1), a_measure())
    assert (found.model.rows, found.model.bytes) == (ROWS * 3 // 2, ROWS * 3 // 2 * ROW_BYTES)
    assert found.model.spread == SPREADS[Basis.MEASURED]


def test_what_was_copied_as_a_whole_counts_more_than_statistics() -> None:
    assert estimate(a_look(ROWS * 3 // 2), a_measure(is_whole=True)).model.rows == ROWS


def test_what_a_source_has_counted_counts_more_than_an_earlier_copy_of_the_whole() -> None:
    assert estimate(a_look(ROWS + 7, is_exact=True), a_measure(is_whole=True)).model.rows == ROWS + 7


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize(("told", "measured"), [(10, ROWS), (ROWS, 10)])
def test_of_statistics_that_are_out_of_date_that_is_said_and_bounds_are_wider(
    told: int, measured: int, is_whole: bool
) -> None:
    found = estimate(a_look(told), a_measure(measured, is_whole=is_whole))
    assert found.model.rows == ROWS, "the larger figure"
    assert found.unknowns == (
        f"the rows of orders: {measured:,} when it was measured, {told:,} as its source tells now",
    )
    assert found.model.spread == RECKONED_SPREAD > SPREADS[Basis.MEASURED]


def test_a_source_that_was_empty_when_it_was_measured_and_is_not_now_is_estimated_anew() -> None:
    empty = a_measure(0, is_whole=True)
    empty.copy.row_seconds = 0
    found = estimate(a_look(ROWS, ROWS * ROW_BYTES, is_exact=True), empty)
    assert (found.model.rows, found.basis) == (ROWS, Basis.STATISTICS)
    assert found.model.copy_seconds(1) > 1
    assert "the rows of orders: 0 when it was measured, 1,000,000 as its source tells now" in found.unknowns


def test_a_measurement_of_speed_without_a_size_is_no_sure_one() -> None:
    found = estimate(a_look(), a_measure(-1, bytes=-1))
    assert (found.basis, found.has_size, found.model.rows) == (Basis.MEASURED, False, ROWS_ASSUMED)
    assert found.model.spread == SPREADS[Basis.ASSUMED]


# Statistics ----------------------------------------------------------------------------------------------------------------------------


def test_a_dataset_that_was_not_measured_is_as_fast_as_its_like_byte_for_byte() -> None:
    revision = a_revision("items", "orders")
    revision.inspections["sales/orders"].source.bytes = ROWS * ROW_BYTES * 3
    found = estimate(revision, items=a_measure())
    assert found.basis == Basis.STATISTICS
    assert found.model.copy == Step(0.3, pytest.approx(6e-6))  # type: ignore[arg-type]  # compares as a float
    assert found.model.spread == SPREADS[Basis.STATISTICS]
    assert found.unknowns == ()


def test_of_several_that_are_alike_the_median_is_taken() -> None:
    slow, slower = a_measure(), a_measure()
    slow.copy.row_seconds, slower.copy.row_seconds = 3e-6, 90e-6
    found = estimate(a_revision("a", "b", "c", "orders"), a=a_measure(), b=slow, c=slower)
    assert found.model.copy.row_seconds == pytest.approx(3e-6)


@pytest.mark.parametrize("difference", ["path", "system", "empty"])
def test_what_travels_otherwise_or_had_no_rows_says_nothing_of_a_dataset(difference: str) -> None:
    revision, other = a_revision("items", "orders"), a_measure()
    match difference:
        case "path":
            other.path = "csv"
        case "system":
            revision.connections["files"].sqlite.path = "/legacy.db"
            revision.plan.phases["sales"].datasets["items"].source.connection = "files"
        case _:
            other = a_measure(0, is_whole=True)
    found = estimate(revision, items=other)
    assert found.unknowns == ("how fast it is copied: nothing like it was measured",)


def test_without_its_like_the_size_is_taken_with_the_speed_of_the_path() -> None:
    found = estimate(a_look(ROWS, ROWS * ROW_BYTES))
    assert found.basis == Basis.STATISTICS
    assert found.model.copy == Step(FIXED_SECONDS["copy"], ROW_BYTES / LANE_BYTES_PER_SECOND["arrow"])
    assert found.model.spread == SPREADS[Basis.STATISTICS]
    assert found.unknowns == ("how fast it is copied: nothing like it was measured",)


def test_rows_that_are_not_told_are_reckoned_from_bytes() -> None:
    found = estimate(a_look(-1, 5_000_000))
    assert (found.model.rows, found.model.bytes, found.has_size) == (50_000, 5_000_000, True)
    assert "the rows of orders: about 50,000 were reckoned from its 5,000,000 bytes" in found.unknowns


def test_rows_that_are_told_without_bytes_have_an_assumed_size() -> None:
    found = estimate(a_look(5_000))
    assert (found.model.rows, found.model.bytes) == (5_000, 5_000 * ROW_BYTES_ASSUMED)


@pytest.mark.parametrize("measure", [None, a_measure(0, is_whole=True)])
def test_a_dataset_of_zero_rows_takes_what_is_fixed(measure: impact_pb2.DatasetMeasure | None) -> None:
    found = estimate(a_look(0, 0, is_exact=True), measure)
    assert (found.model.rows, found.model.bytes, found.has_size) == (0, 0, True)
    assert found.model.copy_seconds(1) == FIXED_SECONDS["copy"]
    assert found.model.verify_seconds == FIXED_SECONDS["verify"]
    assert found.model.chunk_rows > 0


# Declared and assumed ------------------------------------------------------------------------------------------------------------------


def test_what_is_declared_is_taken_where_nothing_is_known_and_marked_as_such() -> None:
    found = estimate(declared(a_look(), rows=200, bytes=8_000))
    assert (found.model.rows, found.model.bytes, found.has_size) == (200, 8_000, True)
    assert (found.basis, found.model.spread) == (Basis.DECLARED, SPREADS[Basis.STATISTICS])
    assert "the rows of orders: 200 were declared" in found.unknowns


def test_declared_bytes_alone_are_as_many_rows_as_are_usual() -> None:
    found = estimate(declared(a_look(), bytes=8_000))
    assert (found.model.rows, found.model.bytes, found.basis) == (80, 8_000, Basis.DECLARED)
    assert "the rows of orders: 8,000 bytes were declared" in found.unknowns


def test_declared_rows_of_a_source_that_tells_its_bytes_have_those() -> None:
    found = estimate(declared(a_look(-1, 40_000), rows=200, bytes=8_000))
    assert (found.model.rows, found.model.bytes) == (200, 40_000)


def test_the_bytes_that_a_source_tells_count_more_than_declared_ones() -> None:
    assert estimate(declared(a_look(-1, 40_000), bytes=8_000)).model.bytes == 40_000


def test_what_is_known_counts_more_than_what_is_declared() -> None:
    figures = declared(a_look(ROWS, ROWS * ROW_BYTES), rows=200, bytes=8_000, bytes_per_second=1)
    found = estimate(figures, a_measure())
    assert (found.model.rows, found.basis, found.unknowns) == (ROWS, Basis.MEASURED, ())


def test_a_declared_speed_counts_more_than_that_of_its_like() -> None:
    revision = declared(a_revision("items", "orders"), bytes_per_second=1_000.0)
    found = estimate(revision, items=a_measure())
    assert (found.basis, found.model.spread) == (Basis.DECLARED, SPREADS[Basis.DECLARED])
    assert found.model.copy.row_seconds == pytest.approx(ROW_BYTES / 1_000)
    assert found.model.verify.row_seconds == pytest.approx(1e-6), "comparing is as fast as of its like"
    assert found.unknowns == ("how fast it is copied: 1,000 bytes a second were declared",)


def test_a_declared_speed_makes_an_assumed_size_no_surer() -> None:
    found = estimate(declared(a_look(), bytes_per_second=1_000.0))
    assert (found.has_size, found.model.spread) == (False, SPREADS[Basis.ASSUMED])


def test_of_what_nothing_is_known_that_is_said_and_it_is_never_taken_for_nothing() -> None:
    unseen = a_look()
    unseen.inspections["sales/orders"].path = ""
    for revision in (unseen, a_look()):
        found = estimate(revision)
        assert (found.basis, found.has_size) == (Basis.ASSUMED, False)
        assert (found.model.rows, found.model.spread) == (ROWS_ASSUMED, SPREADS[Basis.ASSUMED])
        assert found.unknowns == (
            "the rows of orders: 1,000,000 are assumed; declare its size, or let it be measured",
            "how fast it is copied: nothing like it was measured",
        )
        assert (found.measure.rows, found.measure.bytes, found.measure.replaced_bytes) == (-1, -1, -1)


def test_a_dataset_without_any_look_is_estimated_all_the_same() -> None:
    revision = a_look()
    del revision.inspections["sales/orders"]
    assert estimate(revision).basis == Basis.ASSUMED


# Online and verification ---------------------------------------------------------------------------------------------------------------


def test_an_online_dataset_catches_up_and_says_what_it_can_not_know() -> None:
    revision = a_look(ROWS)
    revision.plan.phases["sales"].downtime_policy = plan_pb2.DOWNTIME_POLICY_ONLINE
    online, offline = estimate(revision, a_measure()), estimate(a_look(ROWS), a_measure())
    assert online.model.catch_up.fixed_seconds > 0 < online.model.capture_seconds
    assert online.unknowns == ("how much changes in the source meanwhile: the tail is reckoned without changes",)
    assert (offline.model.catch_up, offline.model.capture_seconds) == (Step(), 0.0)


@pytest.mark.parametrize(
    ("level", "rows", "verified"),
    [
        (plan_pb2.VERIFICATION_LEVEL_FULL, 7 * ROWS, 7 * ROWS),
        (plan_pb2.VERIFICATION_LEVEL_SAMPLED, ROWS, ROWS),
        (plan_pb2.VERIFICATION_LEVEL_SAMPLED, 7 * ROWS, 2 * ROWS),
        (plan_pb2.VERIFICATION_LEVEL_UNSPECIFIED, 7 * ROWS, 2 * ROWS),
        (plan_pb2.VERIFICATION_LEVEL_SAMPLED, 700 * ROWS, 2 * SAMPLED_ROWS_MAX),
        (plan_pb2.VERIFICATION_LEVEL_COUNT, 7 * ROWS, 0),
        (plan_pb2.VERIFICATION_LEVEL_NONE, 7 * ROWS, 0),
    ],
)
def test_as_many_rows_are_compared_as_the_level_asks_for(level: "LEVEL.ValueType", rows: int, verified: float) -> None:
    assert rows == ROWS or rows * ROW_BYTES > SAMPLED_BYTES_MAX
    assert estimate(at_level(level, rows)).model.verified_rows == pytest.approx(verified)


def test_of_counting_what_was_measured_tells_what_rows_cost() -> None:
    assert estimate(at_level(plan_pb2.VERIFICATION_LEVEL_COUNT), a_measure()).model.verified_rows == ROWS


def test_what_passes_undecoded_is_compared_as_a_whole() -> None:
    revision = at_level(plan_pb2.VERIFICATION_LEVEL_SAMPLED, 7 * ROWS)
    revision.inspections["sales/orders"].path = "postgres_binary"
    assert estimate(revision).model.verified_rows == 7 * ROWS


def test_chunks_are_as_large_as_they_are_declared_or_assumed() -> None:
    revision = a_look(ROWS, ROWS * ROW_BYTES)
    assert estimate(revision).model.chunk_rows == 200_000
    revision.plan.phases["sales"].datasets["orders"].chunk_bytes = 1_000_000
    assert estimate(revision).model.chunk_rows == 10_000
    revision.plan.phases["sales"].datasets["orders"].chunk_bytes = 1
    assert estimate(revision).model.chunk_rows == 1


def test_chunks_of_a_limited_system_are_what_a_lane_may_read_in_a_second() -> None:
    revision = a_look(ROWS, ROWS * ROW_BYTES)
    revision.connections["legacy"].bytes_per_second_max = 1_000 * ROW_BYTES
    assert estimate(revision).model.chunk_rows == 1_000
    assert estimate(revision, a_measure()).model.chunk_rows == 1_000


# Lessons -------------------------------------------------------------------------------------------------------------------------------


def learned(factor: float, *, is_own: bool = True, runs: int = 3, spread: float = 0.02) -> Learned:
    return Learned(Calibration(factor, spread, TrackRecord(runs, 0.05, 0.9)), is_own)


def taught(**lessons: Learned) -> Estimate:
    revision = a_look(ROWS, ROWS * ROW_BYTES)
    return estimates_of(revision, {ORDERS: a_measure()}, lambda place, basis: lessons)[ORDERS]


def test_what_was_learned_of_a_step_makes_it_longer_and_leaves_what_was_measured() -> None:
    found = taught(copy=learned(2.0), publish=learned(0.5))
    assert found.model.copy == Step(0.6, 4e-6)
    assert found.model.publish == Step(0.05, 5e-8)
    assert found.model.verify == found.uncalibrated.verify
    assert found.uncalibrated.copy == Step(0.3, 2e-6)


def test_runs_of_the_dataset_itself_make_it_history_and_those_of_its_like_do_not() -> None:
    assert taught(copy=learned(1.0)).model.basis == Basis.HISTORY
    like = taught(copy=learned(1.0, is_own=False))
    assert (like.model.basis, like.basis) == (Basis.MEASURED, Basis.MEASURED)
    assert like.record == TrackRecord(3, 0.05, 0.9)


def test_the_bounds_are_those_of_the_step_that_takes_longest() -> None:
    assert taught(copy=learned(1.0)).model.spread == pytest.approx(
        math.sqrt((3 * 0.02**2 + SPREADS[Basis.MEASURED] ** 2) / 4)
    )
    assert taught(publish=learned(1.0)).model.spread == SPREADS[Basis.MEASURED]
    assert taught(publish=learned(1.0)).record is None


def test_a_lesson_is_asked_for_with_the_basis_that_was_found() -> None:
    asked: list[tuple[Place, Basis]] = []

    def lessons(place: Place, basis: Basis) -> Mapping[str, Learned]:
        asked.append((place, basis))
        return {}

    estimates_of(a_revision("items", "orders"), {ORDERS: a_measure()}, lessons)
    assert asked == [(("sales", "items"), Basis.STATISTICS), (ORDERS, Basis.MEASURED)]


# Together ------------------------------------------------------------------------------------------------------------------------------


def with_slowdowns(rows: int, **slowdowns: float) -> impact_pb2.DatasetMeasure:
    """A measurement with how many times slower a lane is among so many, as `of4=2.0`."""
    found = a_measure(rows)
    for name, factor in slowdowns.items():
        found.slowdowns[int(name.removeprefix("of"))] = factor
    return found


def test_what_datasets_of_a_pair_of_systems_found_of_one_another_is_weighed_by_their_size() -> None:
    revision = a_revision("items", "orders")
    revision.inspections["sales/items"].source.rows = revision.inspections["sales/orders"].source.rows = 3 * ROWS
    revision.inspections["sales/items"].source.rows = ROWS
    measures = {("sales", "items"): with_slowdowns(ROWS, of4=1.0), ORDERS: with_slowdowns(3 * ROWS, of2=1.5, of4=16.0)}
    found = durations_of(revision, estimates_of(revision, measures, nothing_learned))
    assert [found.contentions[PAIR].at(lanes) for lanes in (1, 2, 4)] == pytest.approx([1.0, 1.5, 8.0])


def test_a_pair_that_was_not_measured_bears_what_others_do() -> None:
    revision = a_revision("items", "orders")
    revision.connections["crm"].CopyFrom(revision.connections["legacy"])
    revision.plan.phases["sales"].datasets["items"].source.connection = "crm"
    found = durations_of(revision, estimates_of(revision, {ORDERS: with_slowdowns(ROWS, of2=3.0)}, nothing_learned))
    assert found.contentions[("environments/e", "crm"), PAIR[1]].at(2) == pytest.approx(3.0)


def test_lanes_do_not_disturb_one_another_where_nothing_was_measured() -> None:
    revision = a_revision("orders")
    found = durations_of(revision, estimates_of(revision, {ORDERS: a_measure()}, nothing_learned))
    assert found.contentions[PAIR].at(16) == 1.0


def test_what_lies_between_tasks_is_the_median_of_what_was_measured_or_assumed() -> None:
    revision = a_revision("a", "b", "c")
    measures = {("sales", name): a_measure(turnaround_seconds=seconds) for name, seconds in (("a", 0.5), ("b", 0.1))}
    measured = durations_of(revision, estimates_of(revision, measures, nothing_learned))
    assert measured.turnaround_seconds == pytest.approx(0.3)
    assert durations_of(revision, estimates_of(revision, {}, nothing_learned)).turnaround_seconds == TURNAROUND_SECONDS


def test_a_rehearsal_without_what_was_learned_takes_the_steps_as_they_were_measured() -> None:
    revision = a_revision("orders")
    estimates = estimates_of(revision, {ORDERS: a_measure()}, lambda place, basis: {"copy": learned(2.0)})
    assert durations_of(revision, estimates).models[ORDERS].copy == Step(0.6, 4e-6)
    assert durations_of(revision, estimates, is_calibrated=False).models[ORDERS].copy == Step(0.3, 2e-6)


def test_more_lanes_share_what_is_scarce_for_fewer_even_where_less_was_measured() -> None:
    measures = {ORDERS: with_slowdowns(ROWS, of8=4.0, of16=2.0)}
    found = durations_of(a_revision("orders"), estimates_of(a_revision("orders"), measures, nothing_learned))
    assert found.contentions[PAIR].at(16) == pytest.approx(4.0)  # between 2, as measured, and 8, as shared


# Limits of systems -----------------------------------------------------------------------------------------------------------------


def test_a_lane_whose_systems_are_limited_waits_for_at_most_its_share_of_a_second_before_its_first_chunk() -> None:
    revision = a_revision("orders", lanes=4)
    revision.connections["legacy"].bytes_per_second_max = 8_000_000
    found = durations_of(revision, estimates_of(revision, {ORDERS: a_measure()}, nothing_learned))
    assert found.leads == {ORDERS: pytest.approx(1.0)}
    revision.plan.phases["sales"].datasets["orders"].chunk_bytes = 500_000
    found = durations_of(revision, estimates_of(revision, {ORDERS: a_measure()}, nothing_learned))
    assert found.leads == {ORDERS: pytest.approx(0.25)}


def test_a_lane_whose_systems_limit_nothing_or_rows_alone_waits_for_nothing_before_its_first_chunk() -> None:
    revision = a_revision("orders")
    revision.connections["legacy"].rows_per_second_max = 10
    found = durations_of(revision, estimates_of(revision, {ORDERS: a_measure()}, nothing_learned))
    assert found.leads == {}
