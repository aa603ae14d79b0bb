"""When a run under way ends: from where it stands, with the speeds that it has shown, and what it waits for."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import CONNECTIONS
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotFound
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.v1 import connection_pb2, impact_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.application.analyzed import OPEN_SECONDS, ROW_BYTES, ROW_SECONDS, ROWS, Analyzed
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, phase

RUN = f"{PLAN}/runs/r"
COPY_SECONDS = OPEN_SECONDS + ROWS * ROW_SECONDS
NEAR = 0.2


async def started(analyzed: Analyzed, plan: str = PLAN) -> str:
    """Starts a run; its name."""
    request = run_pb2.StartRunRequest(parent=plan, run_id="r")
    return (await analyzed.played(analyzed.engine.runs.start(request, ME))).name


async def forecast(analyzed: Analyzed, run: str = RUN, **asked: int) -> impact_pb2.RunForecast:
    return await analyzed.engine.forecasts.forecast(impact_pb2.ForecastRunRequest(name=run, **asked))


async def running(phases: Mapping[str, plan_pb2.Phase] | None = None) -> Analyzed:
    """A run of a plan that was measured; one phase unless others are said."""
    analyzed = Analyzed()
    await analyzed.declare(dict(phases or {"a": phase("orders")}))
    await analyzed.analyze(draws=1)
    await started(analyzed)
    return analyzed


async def copied(analyzed: Analyzed, seconds: float, rows: int, chunks: int) -> worker_pb2.Task:
    """A host has had the first lane for so long and tells how far it is."""
    task = await analyzed.host.claim()
    assert task is not None
    analyzed.engine.clock.advance(seconds)
    await analyzed.host.report(task, chunks, rows)
    return task


def moment(found: impact_pb2.Moments) -> datetime:
    return found.p50.ToDatetime(UTC)


# From a fresh run ----------------------------------------------------------------------------------------------------------------------


async def test_a_run_that_has_just_begun_ends_as_it_was_estimated() -> None:
    analyzed = await running({"a": phase("orders"), "b": phase("items", needs=["a"])})
    found = await forecast(analyzed)
    assert found.name == RUN
    assert found.forecast_time.ToDatetime(UTC) == analyzed.engine.clock.now()
    assert found.remaining_seconds.p50 == pytest.approx(2 * COPY_SECONDS, rel=NEAR)
    assert found.remaining_seconds.p50 < found.remaining_seconds.p90
    assert (moment(found.end_time) - analyzed.engine.clock.now()).total_seconds() == pytest.approx(
        found.remaining_seconds.p50, abs=0.01
    )
    assert found.phases["a"].remaining_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)
    assert found.phases["b"].end_time == found.end_time
    assert found.phases["a"].downtime_seconds == found.phases["a"].write_downtime_seconds
    assert list(found.unknowns) == []


async def test_the_same_seed_gives_the_same_forecast() -> None:
    analyzed = await running()
    assert await forecast(analyzed) == await forecast(analyzed)
    assert await forecast(analyzed) != await forecast(analyzed, seed=3)


async def test_a_forecast_changes_nothing_of_the_run() -> None:
    analyzed = await running()
    before = await analyzed.engine.runs.get(RUN)
    await forecast(analyzed)
    assert await analyzed.engine.runs.get(RUN) == before
    assert await analyzed.host.work() == ["copy", "verify", "publish"]


@pytest.mark.parametrize("draws", [-1, 1_001])
async def test_draws_that_can_not_be_are_refused(draws: int) -> None:
    analyzed = await running()
    with pytest.raises(InvalidDefinition, match="is 1 to 1,000; 0 means 50"):
        await forecast(analyzed, draws=draws)


async def test_a_run_that_is_not_there_is_told() -> None:
    analyzed = await running()
    with pytest.raises(NotFound):
        await forecast(analyzed, f"{PLAN}/runs/other")


# Under way -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [3, 30, 300])
async def test_half_copied_lanes_take_as_long_for_the_rest_as_they_have_shown_whatever_their_chunks(
    chunks: int,
) -> None:
    analyzed = await running()
    await copied(analyzed, 60.0, ROWS * 3 // 10, chunks)
    found = await forecast(analyzed)
    assert found.remaining_seconds.p50 == pytest.approx(60 / 0.3 * 0.7, rel=NEAR), "half as fast as it was measured"
    assert found.remaining_seconds.p90 < 1.2 * found.remaining_seconds.p50, "what was shown is sure"


async def test_lanes_that_are_held_to_a_rate_go_on_with_rows_as_large_as_those_that_came() -> None:
    analyzed = Analyzed()
    await analyzed.declare({"a": phase("orders")})
    await analyzed.analyze(draws=1)
    slow = connection_pb2.Connection(name=f"{ENVIRONMENT}/connections/legacy", bytes_per_second_max=20_000)
    mask = FieldMask(paths=["bytes_per_second_max"])
    engine = analyzed.engine
    await engine.store.transact(lambda unit: engine.catalog.update(unit, CONNECTIONS, slow, mask, ME))
    await started(analyzed)
    told = (await forecast(analyzed)).remaining_seconds.p50
    assert told == pytest.approx(ROWS * ROW_BYTES / 20_000, rel=NEAR)
    await copied(analyzed, 60.0, ROWS * 3 // 10, 300)  # of ten bytes each
    assert (await forecast(analyzed)).remaining_seconds.p50 == pytest.approx(ROWS * 0.7 * 10 / 20_000, rel=NEAR)


async def test_what_has_passed_of_a_downtime_is_part_of_it() -> None:
    analyzed = await running()
    await copied(analyzed, 60.0, ROWS * 3 // 10, 30)
    found = await forecast(analyzed)
    downtime = found.phases["a"].downtime_seconds
    assert downtime.p50 == pytest.approx(60 + found.phases["a"].remaining_seconds.p50, rel=0.01)


async def test_remaining_time_falls_while_lanes_go_on() -> None:
    analyzed = await running()
    task = await copied(analyzed, 20.0, ROWS // 5, 20)
    before = (await forecast(analyzed)).remaining_seconds.p50
    analyzed.engine.clock.advance(20.0)
    await analyzed.host.report(task, 40, ROWS * 2 // 5)
    after = (await forecast(analyzed)).remaining_seconds.p50
    assert before - after == pytest.approx(20, rel=NEAR)


async def test_a_lane_that_has_only_begun_is_as_fast_as_it_was_estimated() -> None:
    analyzed = await running()
    await copied(analyzed, 0.6, 1_000, 1)
    assert (await forecast(analyzed)).remaining_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)


async def test_a_lane_with_more_rows_than_the_source_told_does_not_end_before_it_has_begun() -> None:
    analyzed = await running()
    await copied(analyzed, 150.0, ROWS * 3 // 2, 150)
    found = await forecast(analyzed)
    assert 0 < found.remaining_seconds.p50 < 10, "only comparing and publishing are left, as far as is known"


async def test_phases_that_have_ended_are_left_out() -> None:
    analyzed = await running({"a": phase("orders"), "b": phase("items", needs=["a"])})
    for _ in range(3):
        await analyzed.host.work(1)
    found = await forecast(analyzed)
    assert list(found.phases) == ["b"]
    assert found.remaining_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)


async def test_a_run_that_has_ended_has_nothing_left() -> None:
    analyzed = await running()
    await analyzed.host.work()
    ended = analyzed.engine.clock.now()
    analyzed.engine.clock.advance(1_000)
    found = await forecast(analyzed)
    assert moment(found.end_time) == ended
    assert found.HasField("remaining_seconds")
    assert (found.remaining_seconds.p50, dict(found.phases)) == (0, {})


async def test_a_phase_that_has_failed_is_left_out_and_the_others_go_on() -> None:
    analyzed = await running({"a": phase("orders"), "b": phase("items"), "c": phase("people", needs=["a"])})
    task = await analyzed.host.claim()
    assert task is not None
    await analyzed.host.finish(task, run_pb2.Failure(reason="DATA_REFUSED", message="row 7"))
    found = await forecast(analyzed)
    assert len(found.phases) == 1
    assert found.remaining_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)


async def test_a_run_that_is_being_cancelled_ends_when_its_work_is_undone() -> None:
    analyzed = await running()
    await copied(analyzed, 10.0, ROWS // 10, 10)
    await analyzed.engine.runs.steer(RUN, DesiredState.CANCELLED, ME)
    found = await forecast(analyzed)
    assert found.remaining_seconds.p50 < COPY_SECONDS
    assert dict(found.phases) == {}


# What it waits for ---------------------------------------------------------------------------------------------------------------------


async def test_a_paused_run_is_reckoned_as_if_it_were_resumed_now() -> None:
    analyzed = await running()
    await analyzed.engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    analyzed.engine.clock.advance(1_000)
    found = await forecast(analyzed)
    assert list(found.unknowns) == ["When the run is resumed: it is reckoned as if that were now."]
    assert found.remaining_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)
    assert (await analyzed.engine.runs.get(RUN)).state == run_pb2.RUN_STATE_PAUSED


@pytest.mark.parametrize("point", [plan_pb2.GATE_POINT_BEFORE_START, plan_pb2.GATE_POINT_BEFORE_PUBLICATION])
async def test_a_gate_is_reckoned_as_if_it_were_approved_at_once(point: "plan_pb2.GatePoint.ValueType") -> None:
    gated = phase("orders")
    gated.gates["look"].point = point
    analyzed = await running({"a": gated})
    found = await forecast(analyzed)
    assert list(found.unknowns) == [
        "When gate look of phase a is approved: it is reckoned as if that were at once.",
    ]
    assert found.remaining_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)


async def test_a_gate_that_is_approved_is_not_waited_for() -> None:
    gated = phase("orders")
    gated.gates["look"].point = plan_pb2.GATE_POINT_BEFORE_START
    analyzed = await running({"a": gated})
    await analyzed.engine.runs.approve(RUN, "a", "look", ME)
    assert list((await forecast(analyzed)).unknowns) == []


async def test_a_plan_that_is_waited_for_is_reckoned_as_if_it_had_succeeded() -> None:
    analyzed = await running()
    later = plan_pb2.Plan(phases={"a": phase("items")}, dependencies=["p"])
    waiting = await started(analyzed, await analyzed.add("later", later))
    found = await forecast(analyzed, waiting)
    assert "When plan p succeeds: it is reckoned as if it had." in list(found.unknowns)
    assert 0 < found.remaining_seconds.p50 < 2 * COPY_SECONDS
    assert list((await analyzed.engine.runs.get(waiting)).waiting_for_plans) == ["p"]


@pytest.mark.parametrize(
    ("others", "says"),
    [
        (1, "How much {0} takes of what is shared: it is left out."),
        (2, "How much {0} and {1} take of what is shared: they are left out."),
        (4, "How much {0}, {1}, {2} and others take of what is shared: they are left out."),
    ],
)
async def test_other_runs_are_left_out_and_that_is_told(others: int, says: str) -> None:
    analyzed = await running()
    names = []
    for number in range(others):
        plan = await analyzed.add(f"o{number}", plan_pb2.Plan(phases={"a": phase(f"of{number}")}))
        names.append(await started(analyzed, plan))
    assert list((await forecast(analyzed)).unknowns) == [says.format(*names)]


async def test_what_is_not_known_of_datasets_is_told_while_it_matters() -> None:
    analyzed = Analyzed()
    await analyzed.declare({"a": phase("orders")})
    await started(analyzed)
    told = ["Of a/orders: how fast it is copied: nothing like it was measured."]
    assert list((await forecast(analyzed)).unknowns) == told
    await analyzed.host.work()
    assert list((await forecast(analyzed)).unknowns) == []


async def test_a_window_that_is_closed_counts() -> None:
    late = phase("orders")
    late.schedule.windows["w"].start, late.schedule.windows["w"].end = "02:00", "06:00"
    analyzed = await running({"a": late})
    found = await forecast(analyzed)
    assert found.remaining_seconds.p50 == pytest.approx(7_200 + COPY_SECONDS, rel=0.01)
    assert found.phases["a"].downtime_seconds.p50 == pytest.approx(COPY_SECONDS, rel=NEAR)


async def test_a_run_that_would_wait_for_ever_is_refused_with_where_to_look() -> None:
    never = phase("orders")
    never.schedule.windows["w"].start, never.schedule.windows["w"].end = "02:00", "02:30"
    never.schedule.blackouts["b"].start, never.schedule.blackouts["b"].end = "2020-01-01", "2099-01-01"
    analyzed = Analyzed()
    await analyzed.declare({"a": never})
    await started(analyzed)
    with pytest.raises(FailedPrecondition, match="would wait for ever"):
        await forecast(analyzed)


async def test_many_forecasts_at_once_do_not_disturb_one_another() -> None:
    analyzed = await running()
    alone = await forecast(analyzed)
    assert await asyncio.gather(*(forecast(analyzed) for _ in range(5))) == [alone] * 5
