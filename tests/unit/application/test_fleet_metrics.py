"""The fleet's series: what happens is counted once, where it happened, and where plans stand is told while there is something to tell."""

from datetime import timedelta

import pytest

from pymigrate.engine.application.fleet_counters import HISTOGRAMS_KEPT_SECONDS, FleetCounters
from pymigrate.engine.application.fleet_metrics import COLLECTOR, FleetMetrics
from pymigrate.engine.domain.kpi_outlook import End, Outlook, RiskLevel, RunOutlook
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports import metric_families as families
from pymigrate.engine.ports.metrics import Family, Labels
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.v1 import plan_pb2, run_pb2
from tests.unit.application.engines import ME, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, FailingStore, start

ENDED_KEPT_MAX = 16
SALES: Labels = ("e", "sales")
Values = dict[str, dict[Labels, float]]


class Measured:
    """An engine whose fleet is measured, with a host."""

    def __init__(self, engine: Engine, metrics: MemoryMetrics | None = None, *, is_owner: bool = True) -> None:
        self.engine = engine
        self.metrics = metrics or MemoryMetrics()
        self.counters = FleetCounters(self.metrics, ENDED_KEPT_MAX)
        self.fleet = FleetMetrics(engine.kpis, self.counters, lambda: is_owner)
        self.fleet.tell(self.metrics)
        engine.board.changes.follow(self.counters.observe)
        self.host = PlayedHost(engine)

    async def begun(self) -> None:
        """A run of two phases, of which nothing is done yet."""
        await self.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
        await self.host.register()
        await start(self.engine, "r", self.host)

    def read(self) -> Values:
        """What is told at a scrape."""
        return self.metrics.read(COLLECTOR)

    def counted(self, family: Family, labels: Labels = SALES) -> float:
        """What was counted."""
        return self.metrics.values[family][labels]


@pytest.fixture
def measured(engine: Engine) -> Measured:
    return Measured(engine)


async def test_counters_begin_at_zero_with_the_run_that_they_are_of(measured: Measured) -> None:
    await measured.begun()
    for family in (families.ROWS, families.BYTES, families.RETRIES, families.QUARANTINED_ROWS, families.CONFLICTS):
        assert measured.counted(family) == 0
    assert measured.metrics.values[families.VERIFICATIONS] == {("e", "verified"): 0, ("e", "failed"): 0}
    assert measured.metrics.values[families.RUNS_ENDED] == {("e", "succeeded"): 0, ("e", "failed"): 0}


async def test_rows_and_bytes_are_counted_as_they_are_committed(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.report(task, 1, 5)
    assert (measured.counted(families.ROWS), measured.counted(families.BYTES)) == (5, 50)
    await measured.host.report(task, 2, 8)
    await measured.host.report(task, 2, 8)
    assert (measured.counted(families.ROWS), measured.counted(families.BYTES)) == (8, 80)


async def test_a_run_that_succeeds_is_counted_with_its_phases_verifications_and_durations(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    measured.engine.clock.advance(7)
    await measured.host.finish(task)
    await measured.host.work()
    values, observed = measured.metrics.values, measured.metrics.observed
    assert measured.counted(families.ROWS) == 20
    assert values[families.RUNS_ENDED] == {("e", "succeeded"): 1, ("e", "failed"): 0}
    assert values[families.PHASES_ENDED] == {(*SALES, "published"): 2, (*SALES, "failed"): 0}
    assert values[families.VERIFICATIONS] == {("e", "verified"): 2, ("e", "failed"): 0}
    assert observed[families.RUN_DURATION] == {("e",): [7.0]}
    assert observed[families.LANE_DURATION] == {("e",): [7.0, 0.0]}
    assert observed[families.PHASE_DURATION]["e",][1] == 0.0
    assert len(observed[families.PHASE_DURATION]["e",]) == 2


async def test_a_lane_that_is_tried_again_is_an_error_and_a_retry(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.finish(task, run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="away", is_temporary=True))
    assert measured.metrics.values[families.ERRORS] == {(*SALES, "SYSTEM_UNAVAILABLE"): 1}
    assert measured.counted(families.RETRIES) == 1


async def test_a_run_that_fails_is_counted_with_its_reason(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.finish(task, run_pb2.Failure(reason="ROW_REFUSED", message="no date"))
    await measured.host.work()
    values = measured.metrics.values
    assert values[families.ERRORS] == {(*SALES, "ROW_REFUSED"): 1}
    assert values[families.RUNS_ENDED]["e", "failed"] == 1
    assert values[families.PHASES_ENDED][(*SALES, "failed")] == 1
    assert values[families.PHASES_ENDED][(*SALES, "skipped")] == 1


async def test_a_verification_that_differs_is_counted_as_failed(measured: Measured) -> None:
    await measured.begun()
    while (task := await measured.host.claim()) is not None and not task.HasField("verify"):
        await measured.host.finish(task)
    assert task is not None
    await measured.host.finish(task, run_pb2.Failure(reason="VERIFICATION_FAILED", message="3 rows differ"))
    assert measured.metrics.values[families.VERIFICATIONS] == {("e", "verified"): 0, ("e", "failed"): 1}


async def test_a_change_that_is_told_again_is_counted_once() -> None:
    store = FailingStore()
    measured = Measured(Engine(store))
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.report(task, 1, 5)
    store.answers_to_lose = 1
    with pytest.raises(Exception, match="lost while it committed"):
        await measured.host.report(task, 2, 8)
    await measured.host.report(task, 2, 8)
    assert measured.counted(families.ROWS) == 8


async def test_an_engine_that_takes_a_run_over_counts_from_where_it_stands(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.report(task, 1, 5)
    again = Measured(measured.engine.again())
    await again.engine.board.restore()
    assert again.counted(families.ROWS) == 0
    assert again.metrics.values[families.ERRORS] == {}


async def test_runs_that_are_still_to_be_read_after_a_start_are_counted_until_they_are(measured: Measured) -> None:
    await measured.begun()
    await measured.host.work()
    assert measured.read()[families.KPIS_BEHIND.name] == {("e",): 0}
    again = Measured(measured.engine.again())
    await again.engine.kpis.restore()
    assert again.read()[families.KPIS_BEHIND.name] == {("e",): 1}
    await again.engine.kpis.whole(RUN)
    assert again.read()[families.KPIS_BEHIND.name] == {("e",): 0}


async def test_histograms_go_some_while_after_the_last_run_of_their_environment(measured: Measured) -> None:
    await measured.begun()
    await measured.host.work()
    measured.engine.clock.advance(HISTOGRAMS_KEPT_SECONDS)
    measured.read()
    assert measured.metrics.observed[families.RUN_DURATION]
    measured.engine.clock.advance(1)
    measured.read()
    for family in (families.RUN_DURATION, families.PHASE_DURATION, families.LANE_DURATION):
        assert not measured.metrics.observed[family]
    assert measured.counted(families.ROWS) == 20


async def test_histograms_stay_while_a_run_is_under_way(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.finish(task)
    measured.engine.clock.advance(10 * HISTOGRAMS_KEPT_SECONDS)
    measured.read()
    assert len(measured.metrics.observed[families.LANE_DURATION]["e",]) == 1


async def test_a_run_under_way_is_told_with_its_plan_its_phases_and_its_lanes(measured: Measured) -> None:
    await measured.begun()
    task = await measured.host.claim()
    assert task is not None
    await measured.host.report(task, 1, 0)
    measured.engine.clock.advance(1)
    await measured.host.report(task, 2, 5)
    measured.engine.clock.advance(2)
    told = measured.read()
    assert told["pymigrate_plan_completion_ratio"] == {("e", "p"): 0.25}
    assert told["pymigrate_plan_rows"] == {("e", "p"): 5}
    assert told["pymigrate_plan_bytes"] == {("e", "p"): 50}
    assert told["pymigrate_plan_state"] == {("e", "p", "running"): 1}
    assert told["pymigrate_runs"]["e", "running"] == 1
    assert told["pymigrate_runs"]["e", "failed"] == 0
    assert told["pymigrate_lanes"]["e", "running"] == 1
    assert told["pymigrate_lanes"]["e", "stalled"] == 0
    assert told["pymigrate_phase_completion_ratio"] == {("e", "p", "a", "sales"): 0.5, ("e", "p", "b", "sales"): 0}
    assert told["pymigrate_phase_rows_per_second"]["e", "p", "a", "sales"] == 1.0
    assert told["pymigrate_phase_bytes_per_second"]["e", "p", "a", "sales"] == 10.0
    assert told["pymigrate_phase_downtime_seconds"]["e", "p", "a", "sales"] == 3.0
    assert told["pymigrate_phase_lag_seconds"] == {}
    assert told["pymigrate_plan_end_timestamp_seconds"] == {}


async def test_a_run_that_has_ended_leaves_its_plan_and_takes_its_phases_with_it(measured: Measured) -> None:
    await measured.begun()
    await measured.host.work()
    told = measured.read()
    assert told["pymigrate_plan_completion_ratio"] == {("e", "p"): 1.0}
    assert told["pymigrate_plan_state"] == {("e", "p", "succeeded"): 1}
    assert told["pymigrate_plan_end_timestamp_seconds"] == {("e", "p"): measured.engine.clock.now().timestamp()}
    assert sum(told["pymigrate_lanes"].values()) == 0
    assert {name: values for name, values in told.items() if name.startswith("pymigrate_phase_") and values} == {}


async def test_what_is_expected_of_a_run_is_told_beside_what_was_agreed_and_estimated(measured: Measured) -> None:
    await measured.begun()
    end = measured.engine.clock.now() + timedelta(seconds=100)
    told = Outlook(level=RiskLevel.MODERATE, end=End(end, end), estimated=Quantiles(80.0, 90.0), expected_seconds=100.0)
    measured.engine.kpis.put_outlook(RUN, RunOutlook(told, {"a": Outlook(budget_seconds=60.0)}))
    found = measured.read()
    assert found["pymigrate_plan_end_timestamp_seconds"] == {("e", "p"): end.timestamp()}
    assert found["pymigrate_plan_sla_risk_level"] == {("e", "p"): 2}
    assert found["pymigrate_plan_drift_ratio"] == {("e", "p"): 0.25}
    assert found["pymigrate_phase_downtime_budget_seconds"] == {("e", "p", "a", "sales"): 60.0}


async def test_an_agreement_that_is_broken_meanwhile_is_told_as_broken(measured: Measured) -> None:
    await measured.begun()
    assert await measured.host.claim() is not None
    phases = {"a": Outlook(budget_seconds=60.0)}
    measured.engine.kpis.put_outlook(RUN, RunOutlook(Outlook(level=RiskLevel.LOW), phases))
    assert measured.read()["pymigrate_plan_sla_risk_level"] == {("e", "p"): 1}
    measured.engine.clock.advance(61)
    assert measured.read()["pymigrate_plan_sla_risk_level"] == {("e", "p"): 4}


async def test_what_is_expected_of_a_run_that_has_ended_is_what_was_found_last(measured: Measured) -> None:
    await measured.begun()
    await measured.host.work()
    for drift in (0.5, 1.0):
        expected = Outlook(estimated=Quantiles(100.0, 100.0), expected_seconds=100.0 * (1 + drift))
        measured.engine.kpis.put_outlook(RUN, RunOutlook(expected, is_final=True))
        for _ in range(2):
            assert measured.read()["pymigrate_plan_drift_ratio"] == {("e", "p"): drift}


async def test_of_what_nothing_is_expected_or_agreed_nothing_is_told(measured: Measured) -> None:
    await measured.begun()
    found = measured.read()
    names = ("plan_sla_risk_level", "plan_drift_ratio", "phase_downtime_budget_seconds")
    assert [found[f"pymigrate_{name}"] for name in names] == [{}, {}, {}]


async def test_an_engine_that_does_not_own_the_fleet_tells_nothing_of_it_and_counts_what_it_does(
    engine: Engine,
) -> None:
    measured = Measured(engine, is_owner=False)
    await measured.begun()
    await measured.host.work()
    assert measured.read() == {}
    assert measured.counted(families.ROWS) == 20


async def test_a_run_that_is_steered_is_told_by_its_state(measured: Measured) -> None:
    await measured.begun()
    await measured.engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    assert measured.read()["pymigrate_plan_state"] == {("e", "p", "paused"): 1}


async def test_gates_that_wait_are_counted_by_environment_until_somebody_approves(measured: Measured) -> None:
    gated = phase("orders")
    gated.gates["go"].point = plan_pb2.GATE_POINT_BEFORE_START
    await measured.engine.declare({"a": gated, "b": phase("items", needs=["a"])})
    await measured.host.register()
    await start(measured.engine, "r", measured.host)
    assert measured.read()["pymigrate_gates_waiting"] == {("e",): 1}
    await measured.engine.runs.approve(RUN, "a", "go", ME)
    assert measured.read()["pymigrate_gates_waiting"] == {("e",): 0}


async def test_what_is_kept_of_runs_that_have_ended_is_bounded(measured: Measured) -> None:
    await measured.begun()
    await measured.host.work()
    for number in range(ENDED_KEPT_MAX + 3):
        await start(measured.engine, f"r{number}", measured.host)
        await measured.host.work()
    assert len(measured.counters.runs) <= ENDED_KEPT_MAX + 1
    assert measured.counted(families.ROWS) == 20 * (ENDED_KEPT_MAX + 4)
