"""What a plan costs and what other ways would, from what hosts find: requests that can't be, and plans of which little is known."""

import math
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.domain.durations import SPREADS, Basis
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotFound
from pymigrate.engine.testing.clock import START
from pymigrate.v1 import impact_pb2, plan_pb2
from tests.unit.application.analyzed import AWAY, GONE, OPEN_SECONDS, ROW_BYTES, ROW_SECONDS, ROWS, Analyzed
from tests.unit.application.engines import ENVIRONMENT, MEMORY_BYTES, PLAN, phase

COPY_SECONDS = OPEN_SECONDS + ROWS * ROW_SECONDS
YEAR = timedelta(days=366)
ImpactVariant, PhaseVariant = impact_pb2.ImpactVariant, impact_pb2.PhaseVariant


@pytest.fixture
async def analyzed() -> Analyzed:
    """A plan of two phases, one after the other."""
    found = Analyzed()
    await found.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
    return found


def at(moment: Any) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment)
    return found


def window(start: str, end: str) -> plan_pb2.Schedule:
    return plan_pb2.Schedule(windows={"w": plan_pb2.Window(start=start, end=end)})


def blackout(start: str, end: str) -> plan_pb2.Schedule:
    return plan_pb2.Schedule(blackouts={"b": plan_pb2.Blackout(start=start, end=end)})


def never_open() -> plan_pb2.Schedule:
    """A window that lies in a blackout."""
    found = window("02:00", "02:30")
    found.MergeFrom(blackout("2020-01-01", "2099-01-01"))
    return found


def scheduled(schedule: plan_pb2.Schedule, *datasets: str) -> plan_pb2.Phase:
    found = phase(*(datasets or ("orders",)))
    found.schedule.CopyFrom(schedule)
    return found


async def refused(call: Any) -> dict[str, str]:
    """Why a request can't be, by field."""
    with pytest.raises(InvalidDefinition) as error:
        await call
    return {problem.field: problem.description for problem in error.value.problems}


def middle_of(found: impact_pb2.Quantiles) -> float:
    assert 0 < found.p50 <= found.p90
    return found.p50


# What is told --------------------------------------------------------------------------------------------------------------------------


async def test_a_plan_is_measured_and_rehearsed_and_told_in_terms_of_the_business(analyzed: Analyzed) -> None:
    found = await analyzed.analyze(seed=5)
    assert (found.plan, found.draws, found.seed) == (PLAN, 20, 5)
    assert len(found.plan_hash) == 64
    assert found.analyze_time == found.start_time == at(START)
    assert middle_of(found.phases["a"].downtime_seconds) == pytest.approx(COPY_SECONDS, rel=0.15)
    assert found.phases["a"].datasets["orders"].copy_seconds.p50 == pytest.approx(COPY_SECONDS)
    assert found.phases["a"].datasets["orders"].basis == "measured"
    assert middle_of(found.summary.makespan_seconds) == pytest.approx(2 * COPY_SECONDS, rel=0.15)
    assert list(found.critical_path) == ["a", "b"]
    downtime, cost = found.summary.downtime_seconds, found.summary.costs["EUR"]
    assert cost.p50 == pytest.approx(downtime.p50, rel=0.02), "a second down costs a euro"
    assert (found.summary.users, found.summary.rows, found.summary.bytes) == (10, 2 * ROWS, 2 * ROWS * ROW_BYTES)
    assert [(system.system, system.effect) for system in found.departments["sales"].systems] == [("crm", "down")]
    assert found.resources.lanes_peak == 1
    assert 0 < found.resources.memory_bytes <= MEMORY_BYTES
    assert found.resources.network_bytes >= 2 * ROWS * ROW_BYTES
    assert list(found.unknowns) == []


async def test_phases_follow_one_another_and_the_last_one_ends_with_the_plan(analyzed: Analyzed) -> None:
    found = await analyzed.analyze()
    first, second = found.phases["a"], found.phases["b"]
    assert first.start_time.p50 == at(START)
    assert second.start_time.p50.ToNanoseconds() >= first.end_time.p50.ToNanoseconds()
    assert second.end_time.p50 == found.summary.end_time.p50
    assert first.slack_seconds == second.slack_seconds == 0
    assert {phase.critical_share for phase in found.phases.values()} == {1.0}


async def test_the_same_request_gives_the_same_answer_and_another_seed_another(analyzed: Analyzed) -> None:
    await analyzed.analyze()
    assert await analyzed.analyze(probe_seconds_max=-1) == await analyzed.analyze(probe_seconds_max=-1)
    other = await analyzed.analyze(probe_seconds_max=-1, seed=1)
    assert other.summary != (await analyzed.analyze(probe_seconds_max=-1)).summary


async def test_a_policy_decides_what_is_down(analyzed: Analyzed) -> None:
    await analyzed.analyze()
    read_only = PhaseVariant(downtime_policy=plan_pb2.DOWNTIME_POLICY_READ_ONLY)
    answer = await analyzed.compare({"v": ImpactVariant(phases={"a": read_only})})
    found = answer.variants["v"].phases["a"]
    assert found.downtime_seconds == impact_pb2.Quantiles()
    assert found.write_downtime_seconds == answer.base.phases["a"].write_downtime_seconds


async def test_every_rehearsal_that_is_asked_for_is_made(analyzed: Analyzed) -> None:
    assert (await analyzed.analyze(draws=1)).draws == 1
    assert (await analyzed.analyze(draws=0)).draws == 200


# Requests ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draws", [-1, 1_001])
async def test_draws_that_can_not_be_are_refused(analyzed: Analyzed, draws: int) -> None:
    assert await refused(analyzed.analyze(draws=draws)) == {"draws": "is 1 to 1,000; 0 means 200"}


@pytest.mark.parametrize("seconds", [0.5, 601, -2, math.inf, -math.inf, math.nan])
async def test_a_time_to_probe_that_can_not_be_is_refused(analyzed: Analyzed, seconds: float) -> None:
    told = await refused(analyzed.analyze(probe_seconds_max=seconds))
    assert told == {"probe_seconds_max": "is 1 to 600 seconds, or -1 to probe nothing"}


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        (at(START + YEAR + timedelta(seconds=1)), "more than a year ahead"),
        (at(START - YEAR - timedelta(seconds=1)), "more than a year back"),
        (Timestamp(seconds=10**15), "no moment"),
        (Timestamp(seconds=-(10**15)), "no moment"),
    ],
)
async def test_a_start_that_can_not_be_is_refused_of_the_plan_and_of_its_variants(
    analyzed: Analyzed, moment: Timestamp, says: str
) -> None:
    assert says in (await refused(analyzed.analyze(start_time=moment)))["start_time"]
    told = await refused(analyzed.compare({"late": ImpactVariant(start_time=moment)}))
    assert says in told["variants.late.start_time"]


async def test_a_start_within_a_year_is_that_of_the_rehearsals(analyzed: Analyzed) -> None:
    start = START + timedelta(days=100)
    found = await analyzed.analyze(start_time=at(start))
    assert found.start_time == found.phases["a"].start_time.p50 == at(start)
    assert found.analyze_time == at(START)


async def test_everything_that_is_wrong_with_a_request_is_told_at_once(analyzed: Analyzed) -> None:
    told = await refused(analyzed.analyze(draws=-1, probe_seconds_max=0.1, start_time=at(START + 2 * YEAR)))
    assert sorted(told) == ["draws", "probe_seconds_max", "start_time"]
    assert analyzed.looked == [], "nothing is looked at for what is refused"


@pytest.mark.parametrize("plan", [f"{ENVIRONMENT}/plans/q", f"{ENVIRONMENT}/plans/", "p", ""])
async def test_a_plan_that_is_not_there_is_told(analyzed: Analyzed, plan: str) -> None:
    with pytest.raises(NotFound, match=r"there is no|is no resource name"):
        await analyzed.analyze(plan)


async def test_the_nearest_name_is_told_of_a_plan_that_is_not_there(analyzed: Analyzed) -> None:
    with pytest.raises(NotFound, match="did you mean `p`"):
        await analyzed.analyze(f"{PLAN}p")


async def test_a_plan_without_phases_has_nothing_to_analyze() -> None:
    empty = Analyzed()
    await empty.declare({})
    assert (await refused(empty.analyze())).keys() == {"phases"}


async def test_variants_that_can_not_be_are_refused_before_anything_is_looked_at(analyzed: Analyzed) -> None:
    told = await refused(analyzed.compare({"v": ImpactVariant(phases={"c": PhaseVariant(lanes=2)})}))
    assert told.keys() == {"variants.v.phases.c"}
    assert analyzed.looked == []


# What is not known ---------------------------------------------------------------------------------------------------------------------


async def test_a_source_that_is_away_is_told_and_widens_the_bounds(analyzed: Analyzed) -> None:
    analyzed.failing["orders"] = AWAY
    found = await analyzed.analyze(draws=200)
    orders, items = found.phases["a"].datasets["orders"], found.phases["b"].datasets["items"]
    assert (orders.basis, orders.rows, orders.bytes) == ("assumed", -1, -1)
    assert "can't connect to legacy:5432" in list(orders.unknowns)
    assert "Of a/orders: can't connect to legacy:5432." in found.unknowns
    assert "How much phase a moves is not known." in found.unknowns
    assert orders.copy_seconds.p90 / orders.copy_seconds.p50 == pytest.approx(math.exp(1.2816 * 1.0), rel=0.01)
    assert items.copy_seconds.p90 / items.copy_seconds.p50 == pytest.approx(math.exp(1.2816 * 0.15), rel=0.01)
    wide, narrow = found.phases["a"].duration_seconds, found.phases["b"].duration_seconds
    assert wide.p90 / wide.p50 > 2 > narrow.p90 / narrow.p50
    assert (found.summary.rows, found.summary.bytes, found.resources.network_bytes) == (-1, -1, -1)
    assert found.summary.rating >= impact_pb2.IMPACT_RATING_MODERATE
    assert analyzed.probed.count("orders") == 0


async def test_declared_figures_stand_in_for_a_source_that_is_away_and_are_marked(analyzed: Analyzed) -> None:
    figures = phase("orders")
    figures.name = f"{PLAN}/phases/a"
    declared = figures.datasets["orders"].declared
    declared.rows, declared.bytes, declared.bytes_per_second = 5_000, 500_000, 1_000.0
    await analyzed.engine.update_phase(figures)
    analyzed.failing["orders"] = AWAY
    orders = (await analyzed.analyze()).phases["a"].datasets["orders"]
    assert (orders.basis, orders.rows, orders.bytes) == ("declared", 5_000, 500_000)
    assert orders.copy_seconds.p50 == pytest.approx(500, rel=0.01)
    assert orders.copy_seconds.p90 / orders.copy_seconds.p50 == pytest.approx(
        math.exp(1.2816 * SPREADS[Basis.DECLARED]), rel=0.01
    )
    assert [each for each in orders.unknowns if "declared" in each] == [
        "the rows of orders: 5,000 were declared",
        "how fast it is copied: 1,000 bytes a second were declared",
    ]


async def test_what_stands_against_a_dataset_is_told_and_the_rest_is_estimated(analyzed: Analyzed) -> None:
    analyzed.failing["orders"] = GONE
    found = await analyzed.analyze()
    assert "Of a/orders: there is no relation `gone`." in found.unknowns
    assert found.phases["b"].datasets["items"].basis == "measured"


async def test_a_probe_that_fails_leaves_statistics_and_says_why(analyzed: Analyzed) -> None:
    analyzed.failing["probe orders"] = AWAY
    orders = (await analyzed.analyze()).phases["a"].datasets["orders"]
    assert (orders.basis, orders.rows) == ("statistics", ROWS)
    assert "how long it takes: can't connect to legacy:5432" in list(orders.unknowns)


async def test_statistics_that_are_missing_widen_the_bounds_of_what_was_probed(analyzed: Analyzed) -> None:
    analyzed.rows["orders"] = -1
    found = await analyzed.analyze()
    orders = found.phases["a"].datasets["orders"]
    assert (orders.basis, orders.rows) == ("measured", -1)
    assert orders.copy_seconds.p90 / orders.copy_seconds.p50 == pytest.approx(math.exp(1.2816), rel=0.01)
    assert "Of a/orders: how many rows there are: the source does not tell." in found.unknowns
    assert found.summary.rows == -1


async def test_statistics_that_are_stale_are_told(analyzed: Analyzed) -> None:
    analyzed.rows["orders"] = 20_000
    await analyzed.analyze()
    analyzed.rows["orders"] = ROWS
    analyzed.failing["probe orders"] = AWAY
    orders = (await analyzed.analyze(probe_seconds_max=5)).phases["a"].datasets["orders"]
    assert orders.rows == ROWS
    assert "the rows of orders: 20,000 when it was measured, 1,000,000 as its source tells now" in list(orders.unknowns)


async def test_datasets_of_zero_rows_take_what_is_fixed() -> None:
    analyzed = Analyzed()
    await analyzed.declare({"a": phase("none", "nothing")})
    analyzed.rows = {"none": 0, "nothing": 0}
    found = await analyzed.analyze()
    assert (found.summary.rows, found.summary.bytes) == (0, 0)
    assert 0.5 < found.summary.makespan_seconds.p50 < 5
    assert [dataset.basis for dataset in found.phases["a"].datasets.values()] == ["measured"] * 2
    assert list(found.unknowns) == []


# Windows -------------------------------------------------------------------------------------------------------------------------------


async def test_a_window_that_is_long_enough_is_kept(analyzed: Analyzed) -> None:
    await analyzed.engine.update_phase(named(scheduled(window("02:00", "06:00"))))
    found = (await analyzed.analyze()).phases["a"]
    assert found.window.is_scheduled
    assert (found.window.fits, found.window.fit_share) == (True, 1.0)
    assert found.start_time.p50 == at(START + timedelta(hours=2))
    assert found.window.close_time == at(START + timedelta(hours=6))


async def test_a_window_that_is_shorter_than_any_chunk_does_not_fit_and_that_is_told(analyzed: Analyzed) -> None:
    analyzed.row_seconds = 0.3  # five minutes a chunk
    await analyzed.engine.update_phase(named(scheduled(window("02:00", "02:01"))))
    analyzed.rows["orders"] = 20_000
    found = await analyzed.analyze()
    orders = found.phases["a"]
    assert (orders.window.fits, orders.window.fit_share) == (False, 0.0)
    assert not orders.window.HasField("best_start_time")
    assert [breach.level for breach in orders.breaches] == ["window"]
    assert orders.rating == impact_pb2.IMPACT_RATING_CRITICAL
    assert found.summary.phases_in_window == 1
    assert not found.summary.HasField("best_start_time")


async def test_a_window_that_is_shorter_than_a_verification_is_refused(analyzed: Analyzed) -> None:
    await analyzed.engine.update_phase(named(scheduled(window("02:00", "02:01"))))
    analyzed.rows["orders"] = 20_000
    await analyzed.analyze()
    slow = 3_600.0
    await measured_verify(analyzed, slow)
    with pytest.raises(FailedPrecondition, match="no window of its phase is as long as it takes"):
        await analyzed.analyze(probe_seconds_max=-1)


async def test_a_phase_whose_window_never_opens_is_refused_with_where_to_look(analyzed: Analyzed) -> None:
    await analyzed.engine.update_phase(named(scheduled(never_open())))
    with pytest.raises(FailedPrecondition, match="would wait for ever: look at its schedule"):
        await analyzed.analyze()


async def test_nothing_is_probed_in_a_blackout_and_that_is_told(analyzed: Analyzed) -> None:
    await analyzed.engine.update_phase(named(scheduled(blackout("2026-01-01", "2026-01-02"))))
    found = await analyzed.analyze()
    orders = found.phases["a"].datasets["orders"]
    assert "orders" not in analyzed.probed
    assert "items" in analyzed.probed
    assert orders.basis == "statistics"
    assert "how long it takes: nothing is probed in a blackout" in list(orders.unknowns)
    assert found.phases["a"].start_time.p50 == at(START + timedelta(days=1))


# What-ifs ------------------------------------------------------------------------------------------------------------------------------


async def test_variants_are_told_beside_the_plan_with_what_differs(analyzed: Analyzed) -> None:
    await analyzed.analyze()
    parallel = ImpactVariant(phases={"b": PhaseVariant(dropped_dependencies=["a"])})
    without = ImpactVariant(phases={"b": PhaseVariant(is_left_out=True)})
    answer = await analyzed.compare({"parallel": parallel, "same": ImpactVariant(), "without": without})
    base = answer.base.summary.makespan_seconds.p50
    assert answer.variants["parallel"].summary.makespan_seconds.p50 == pytest.approx(base / 2, rel=0.15)
    assert list(answer.variants["without"].phases) == ["a"]
    assert answer.variants["same"].summary == answer.base.summary
    assert {row.variant for row in answer.differences} == {"parallel", "without"}
    told = {(row.variant, row.subject, row.measure): row for row in answer.differences}
    makespan = told["parallel", "plan", "makespan_seconds.p50"]
    assert makespan.difference == pytest.approx(makespan.value - base)


async def test_a_plan_and_a_variant_differ_by_what_was_changed_alone(analyzed: Analyzed) -> None:
    await analyzed.analyze()
    answer = await analyzed.compare({"without": ImpactVariant(phases={"b": PhaseVariant(is_left_out=True)})})
    assert answer.variants["without"].phases["a"].duration_seconds == answer.base.phases["a"].duration_seconds


async def test_comparing_probes_nothing_unless_it_is_asked_to(analyzed: Analyzed) -> None:
    await analyzed.compare({"v": ImpactVariant(lanes_max=3)})
    assert analyzed.probed == []
    await analyzed.compare({"v": ImpactVariant(lanes_max=3)}, probe_seconds_max=5)
    assert sorted(set(analyzed.probed)) == ["items", "orders"]


async def test_a_variant_that_reads_something_else_is_not_estimated_from_what_was_measured(analyzed: Analyzed) -> None:
    await analyzed.analyze()
    elsewhere = phase("orders")
    elsewhere.datasets["orders"].source.relation = "archive"
    answer = await analyzed.compare({"v": ImpactVariant(phases={"a": PhaseVariant(definition=elsewhere)})})
    assert answer.base.phases["a"].datasets["orders"].basis == "measured"
    assert answer.variants["v"].phases["a"].datasets["orders"].basis == "assumed"


async def test_a_variant_starts_when_it_says(analyzed: Analyzed) -> None:
    later = START + timedelta(days=3)
    answer = await analyzed.compare({"later": ImpactVariant(start_time=at(later))})
    assert (answer.base.start_time, answer.variants["later"].start_time) == (at(START), at(later))


async def test_a_variant_that_would_wait_for_ever_is_refused(analyzed: Analyzed) -> None:
    with pytest.raises(FailedPrecondition, match="would wait for ever"):
        await analyzed.compare({"v": ImpactVariant(schedule=never_open())})


def named(changed: plan_pb2.Phase) -> plan_pb2.Phase:
    changed.name = f"{PLAN}/phases/a"
    return changed


async def measured_verify(analyzed: Analyzed, seconds: float) -> None:
    """Comparing took so long when it was measured."""

    def work(unit: Any) -> None:
        measure = impact_pb2.DatasetMeasure.FromString(unit.measures.list(PLAN)["a/orders"])
        measure.verify.fixed_seconds = seconds
        unit.measures.put(PLAN, "a/orders", measure.SerializeToString())

    await analyzed.engine.store.transact(work)
