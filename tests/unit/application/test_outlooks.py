"""What is expected of a run under way: its end, its downtime against what was agreed, and how far its estimate lies off."""

from datetime import UTC

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import DEPARTMENTS
from pymigrate.engine.application.outlooks import INTERVAL_SECONDS
from pymigrate.engine.domain.happenings import Failed, Succeeded
from pymigrate.engine.domain.run import Failure
from pymigrate.v1 import environment_pb2, kpi_pb2, plan_pb2, run_pb2
from tests.unit.application.analyzed import OPEN_SECONDS, ROW_SECONDS, ROWS, Analyzed
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, phase

RUN = f"{PLAN}/runs/r"
COPY_SECONDS = OPEN_SECONDS + ROWS * ROW_SECONDS
NEAR = 0.2
NAMES = (ENVIRONMENT, f"{ENVIRONMENT}/departments/sales", PLAN, f"{PLAN}/phases/a", f"{RUN}/phases/a")


async def agreed(engine: Engine, rto_seconds: int = 0, availability_percent: float = 0.0) -> None:
    """The department has agreed on how long its system may be down."""
    department = environment_pb2.Department(name=f"{ENVIRONMENT}/departments/sales")
    department.systems["crm"].connection = "legacy"
    department.systems["crm"].rto_seconds = rto_seconds
    department.systems["crm"].availability_percent = availability_percent
    await engine.store.transact(
        lambda unit: engine.catalog.update(unit, DEPARTMENTS, department, FieldMask(paths=["systems"]), ME)
    )


async def running(rto_seconds: int = 0, availability_percent: float = 0.0, **plan: object) -> Analyzed:
    """A run of a plan that was measured and estimated, whose first lane has begun."""
    analyzed = Analyzed()
    one = phase("orders")
    one.downtime_policy = plan_pb2.DOWNTIME_POLICY_OFFLINE
    await analyzed.declare({"a": one}, **plan)
    await agreed(analyzed.engine, rto_seconds, availability_percent)
    await analyzed.analyze(draws=1)
    request = run_pb2.StartRunRequest(parent=PLAN, run_id="r")
    await analyzed.played(analyzed.engine.runs.start(request, ME))
    await analyzed.engine.followups.step()
    assert await analyzed.host.claim() is not None
    return analyzed


async def looked(analyzed: Analyzed, name: str = PLAN) -> kpi_pb2.Kpis:
    """The KPIs after a look ahead."""
    analyzed.engine.clock.advance(INTERVAL_SECONDS)
    assert await analyzed.engine.outlooks.step() == RUN
    return await analyzed.engine.kpis.kpis(name)


async def test_a_run_under_way_is_told_with_its_end() -> None:
    analyzed = await running()
    assert not (await analyzed.engine.kpis.kpis(PLAN)).HasField("end_time")
    found = await looked(analyzed)
    left = found.end_time.p50.ToDatetime(UTC) - analyzed.engine.clock.now()
    assert left.total_seconds() == pytest.approx(COPY_SECONDS - INTERVAL_SECONDS, rel=NEAR)
    assert found.end_time.p50.ToDatetime(UTC) <= found.end_time.p90.ToDatetime(UTC)
    assert found.remaining_seconds.p50 == pytest.approx(left.total_seconds() + INTERVAL_SECONDS, abs=0.1)
    for name in NAMES:
        assert (await analyzed.engine.kpis.kpis(name)).end_time == found.end_time


async def test_downtime_is_told_beside_the_least_that_was_agreed() -> None:
    analyzed = await running(rto_seconds=100_000, availability_percent=99.0)
    await looked(analyzed)
    for name in NAMES:
        found = (await analyzed.engine.kpis.kpis(name)).downtime
        assert found.budget_seconds == 25_920.0
        assert found.used_seconds == INTERVAL_SECONDS
        assert found.expected_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)


async def test_nothing_agreed_is_no_budget_and_no_risk() -> None:
    found = await looked(await running())
    assert found.downtime.budget_seconds == -1.0
    assert found.sla_risk.level == kpi_pb2.SLA_RISK_LEVEL_UNSPECIFIED


@pytest.mark.parametrize(
    ("rto_seconds", "level"),
    [
        (round(COPY_SECONDS * 10), kpi_pb2.SLA_RISK_LEVEL_LOW),
        (round(COPY_SECONDS * 0.5), kpi_pb2.SLA_RISK_LEVEL_HIGH),
        (1, kpi_pb2.SLA_RISK_LEVEL_BREACHED),
    ],
)
async def test_the_risk_is_how_the_expected_downtime_lies_to_what_was_agreed(rto_seconds: int, level: int) -> None:
    analyzed = await running(rto_seconds=rto_seconds)
    await looked(analyzed)
    for name in NAMES:
        risk = (await analyzed.engine.kpis.kpis(name)).sla_risk
        assert risk.level == level, name
        assert bool(risk.reasons) == (level > kpi_pb2.SLA_RISK_LEVEL_LOW)


async def test_what_was_agreed_is_broken_as_soon_as_the_downtime_passes_it_without_another_look() -> None:
    analyzed = await running(rto_seconds=round(COPY_SECONDS * 10))
    await looked(analyzed)
    analyzed.engine.clock.advance(COPY_SECONDS * 10)
    risk = (await analyzed.engine.kpis.kpis(PLAN)).sla_risk
    assert risk.level == kpi_pb2.SLA_RISK_LEVEL_BREACHED
    assert "longer than the" in risk.reasons[0]


async def test_a_maintenance_window_is_the_budget_where_nothing_was_agreed() -> None:
    window = plan_pb2.Window(start="00:00", end="06:00")
    analyzed = await running(schedule=plan_pb2.Schedule(windows={"night": window}))
    assert (await looked(analyzed)).downtime.budget_seconds == 6 * 3_600


async def test_an_estimate_is_told_beside_what_happens() -> None:
    analyzed = await running()
    found = (await looked(analyzed)).drift
    assert found.estimated_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)
    assert found.expected_seconds == pytest.approx(COPY_SECONDS, rel=NEAR)
    assert found.drift == pytest.approx(found.expected_seconds / found.estimated_seconds.p50 - 1)


async def test_a_run_that_has_ended_keeps_its_drift_and_has_no_end_ahead() -> None:
    analyzed = await running(rto_seconds=100_000)
    await looked(analyzed)
    analyzed.engine.clock.advance(2 * COPY_SECONDS - INTERVAL_SECONDS)
    (task,) = [task for core in analyzed.engine.board.active() for task in core.leased()]
    await analyzed.engine.board.apply(RUN, Succeeded(task.id, task.fence))
    await analyzed.host.work()
    found = await looked(analyzed)
    assert not found.HasField("end_time")
    assert found.drift.expected_seconds == 2 * COPY_SECONDS
    assert found.drift.drift == pytest.approx(2 * COPY_SECONDS / found.drift.estimated_seconds.p50 - 1)
    assert found.drift.drift > 0
    assert (found.downtime.used_seconds, found.downtime.budget_seconds) == (2 * COPY_SECONDS, 100_000)
    analyzed.engine.clock.advance(INTERVAL_SECONDS)
    assert await analyzed.engine.outlooks.step() == ""
    again = analyzed.engine.again()
    await again.kpis.restore()
    await again.kpis.kpis(PLAN)
    assert await again.outlooks.step() == RUN
    assert (await again.kpis.kpis(PLAN)).drift == found.drift


async def test_what_has_ended_has_no_end_ahead_before_it_is_looked_at_again() -> None:
    analyzed = await running(rto_seconds=100_000)
    await looked(analyzed)
    (task,) = [task for core in analyzed.engine.board.active() for task in core.leased()]
    await analyzed.engine.board.apply(RUN, Succeeded(task.id, task.fence))
    await analyzed.host.work()
    for name in NAMES:
        found = await analyzed.engine.kpis.kpis(name)
        assert not found.HasField("end_time"), name
        assert not found.downtime.HasField("expected_seconds"), name
        assert not found.HasField("drift"), name
        assert found.downtime.budget_seconds == 100_000, name


async def test_what_a_run_waited_for_its_retry_is_no_drift() -> None:
    analyzed = await running()
    (task,) = [task for core in analyzed.engine.board.active() for task in core.leased()]
    await analyzed.engine.board.apply(RUN, Failed(task.id, task.fence, Failure("DATA_REFUSED", "bad")))
    await analyzed.host.work()
    assert (await looked(analyzed)).HasField("drift")
    analyzed.engine.clock.advance(86_400)
    await analyzed.played(analyzed.engine.runs.retry(RUN, ME))
    found = await looked(analyzed)
    assert found.HasField("end_time")
    assert not found.HasField("drift")


async def test_a_run_is_looked_at_again_only_after_a_while() -> None:
    analyzed = await running()
    await looked(analyzed)
    assert await analyzed.engine.outlooks.step() == ""
