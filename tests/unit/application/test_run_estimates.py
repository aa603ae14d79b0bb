"""What is estimated for runs that have started: once for each, whatever happens to it and to the engine meanwhile."""

import asyncio
from dataclasses import dataclass, field

import pytest

from pymigrate.engine.application.run_estimates import AT_ONCE_MAX, DRAWS, RunEstimates
from pymigrate.engine.domain.drawing import Drawing, Draws
from pymigrate.engine.domain.errors import NotFound, StoreUnavailable
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.testing.drawing import draw_at_once
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2
from tests.unit.application.analyzed import AWAY, OPEN_SECONDS, ROW_SECONDS, ROWS, Analyzed
from tests.unit.application.engines import ME, PLAN, Engine, phase

RUN = f"{PLAN}/runs/r"
COPY_SECONDS = OPEN_SECONDS + ROWS * ROW_SECONDS


@dataclass
class Drawn:
    """Draws at once, and counts how often it was asked; the first times fail as often as is said."""

    failures: int = 0
    asked: list[int] = field(default_factory=list)

    async def draw(self, drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
        self.asked.append(draws)
        if len(self.asked) <= self.failures:
            raise StoreUnavailable("the disk is full")
        return await draw_at_once(drawing, aggregate, draws)


def estimating(engine: Engine, drawn: Drawn | None = None) -> RunEstimates:
    return RunEstimates(engine.store, engine.board, engine.learning, engine.lanes_max, (drawn or Drawn()).draw)


async def start(analyzed: Analyzed, plan: str = PLAN) -> str:
    """Starts a run; its name."""
    request = run_pb2.StartRunRequest(parent=plan, run_id="r")
    return (await analyzed.played(analyzed.engine.runs.start(request, ME))).name


async def estimate(analyzed: Analyzed, run: str = RUN) -> impact_pb2.RunEstimate:
    return await analyzed.engine.learning.estimate_of(run)


@pytest.fixture
async def analyzed() -> Analyzed:
    """A plan of two phases, one after the other, which was measured."""
    found = Analyzed()
    await found.declare({"a": phase("items", "orders"), "b": phase("people", needs=["a"])})
    await found.analyze(draws=1)
    return found


async def test_a_run_gets_an_estimate_from_what_was_measured_before_it_started(analyzed: Analyzed) -> None:
    await start(analyzed)
    drawn = Drawn()
    await estimating(analyzed.engine, drawn).step()
    found = await estimate(analyzed)
    assert drawn.asked == [DRAWS]
    copying = found.phases["a"].datasets["orders"]
    assert copying.basis == "measured"
    assert copying.copy.estimated_seconds.p50 == pytest.approx(COPY_SECONDS, rel=0.01)
    assert copying.copy.estimated_seconds.p90 > copying.copy.estimated_seconds.p50
    downtime = found.phases["a"].downtime
    assert downtime.estimated_seconds == found.phases["a"].duration.estimated_seconds
    assert COPY_SECONDS < downtime.estimated_seconds.p50 < 2.5 * COPY_SECONDS
    assert downtime.uncalibrated_seconds == pytest.approx(downtime.estimated_seconds.p50, rel=0.15)
    assert found.makespan.estimated_seconds.p50 > downtime.estimated_seconds.p50
    assert list(found.unknowns) == []


async def test_what_is_published_together_is_shared_among_its_datasets(analyzed: Analyzed) -> None:
    await start(analyzed)
    await estimating(analyzed.engine).step()
    found = (await estimate(analyzed)).phases["a"].datasets
    shares = [dataset.publish.estimated_seconds.p50 for dataset in found.values()]
    assert shares == pytest.approx([0.2, 0.2], abs=0.05)


async def test_nothing_is_probed_or_looked_at_for_it(analyzed: Analyzed) -> None:
    await start(analyzed)
    analyzed.looked.clear()
    analyzed.probed.clear()
    await estimating(analyzed.engine).step()
    assert (analyzed.looked, analyzed.probed) == ([], [])


async def test_a_run_is_estimated_once(analyzed: Analyzed) -> None:
    await start(analyzed)
    drawn = Drawn()
    estimates = estimating(analyzed.engine, drawn)
    await estimates.step()
    before = await estimate(analyzed)
    analyzed.row_seconds *= 10
    await analyzed.analyze(draws=1, remeasures=True)
    await estimates.step()
    await estimating(analyzed.engine, drawn).step()
    assert await estimate(analyzed) == before
    assert len(drawn.asked) == 1


async def test_of_many_runs_that_start_at_once_a_few_are_estimated_at_each_look_the_first_ones_first(
    analyzed: Analyzed,
) -> None:
    requests = [
        run_pb2.StartRunRequest(parent=PLAN, run_id=f"r{number}", run=run_pb2.Run(triggers={"number": str(number)}))
        for number in range(AT_ONCE_MAX + 1)
    ]
    names = [(await analyzed.played(analyzed.engine.runs.start(request, ME))).name for request in requests]
    drawn = Drawn()
    estimates = estimating(analyzed.engine, drawn)
    await estimates.step()
    assert len(drawn.asked) == AT_ONCE_MAX
    assert (await estimate(analyzed, names[0])).phases
    await estimates.step()
    assert len(drawn.asked) == AT_ONCE_MAX + 1
    assert (await estimate(analyzed, names[-1])).phases


async def test_a_run_that_has_ended_before_the_look_gets_its_estimate_all_the_same(analyzed: Analyzed) -> None:
    await start(analyzed)
    await analyzed.host.work()
    run = await analyzed.engine.runs.get(RUN)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    await estimating(analyzed.engine).step()
    found = await estimate(analyzed)
    assert found.makespan.estimated_seconds.p50 > COPY_SECONDS
    assert found.makespan.actual_seconds == 0, "time stood still"


async def test_two_engines_that_look_at_once_keep_one_estimate(analyzed: Analyzed) -> None:
    await start(analyzed)
    another = analyzed.engine.again()
    await another.board.restore()
    await asyncio.gather(estimating(analyzed.engine).step(), estimating(another).step())
    assert await estimate(analyzed) == await another.learning.estimate_of(RUN)


async def test_a_run_whose_engine_died_is_estimated_by_the_next(analyzed: Analyzed) -> None:
    await start(analyzed)
    another = analyzed.engine.again()
    await another.board.restore()
    await estimating(another).step()
    assert (await another.learning.estimate_of(RUN)).phases.keys() == {"a", "b"}


async def test_a_run_that_would_wait_for_ever_gets_none_and_is_not_tried_again() -> None:
    analyzed = Analyzed()
    never = phase("orders")
    never.schedule.windows["w"].start, never.schedule.windows["w"].end = "02:00", "02:30"
    never.schedule.blackouts["b"].start, never.schedule.blackouts["b"].end = "2020-01-01", "2099-01-01"
    await analyzed.declare({"a": never})
    await start(analyzed)
    drawn = Drawn()
    estimates = estimating(analyzed.engine, drawn)
    await estimates.step()
    await estimates.step()
    assert len(drawn.asked) == 1
    with pytest.raises(NotFound, match="nothing was estimated"):
        await estimate(analyzed)


async def test_a_run_that_would_wait_for_ever_keeps_no_other_from_its_estimate(analyzed: Analyzed) -> None:
    never = phase("orders")
    never.schedule.windows["w"].start, never.schedule.windows["w"].end = "02:00", "02:30"
    never.schedule.blackouts["b"].start, never.schedule.blackouts["b"].end = "2020-01-01", "2099-01-01"
    stuck = plan_pb2.Plan(phases={"a": never})
    await start(analyzed, await analyzed.add("o", stuck))
    await start(analyzed)
    await estimating(analyzed.engine).step()
    assert (await estimate(analyzed)).phases


async def test_a_run_whose_estimate_could_not_be_made_for_now_gets_it_at_the_next_look(analyzed: Analyzed) -> None:
    await start(analyzed)
    await analyzed.host.work()
    estimates = estimating(analyzed.engine, Drawn(failures=1))
    with pytest.raises(StoreUnavailable):
        await estimates.step()
    await estimates.step()
    assert (await estimate(analyzed)).phases


async def test_the_gates_of_a_run_and_the_plans_that_it_waits_for_are_left_out_of_its_estimate() -> None:
    analyzed = Analyzed()
    gated = phase("orders")
    gated.gates["look"].point = plan_pb2.GATE_POINT_BEFORE_START
    await analyzed.declare({"a": gated})
    await start(analyzed)
    await estimating(analyzed.engine).step()
    assert (await estimate(analyzed)).makespan.estimated_seconds.p50 > 0


async def test_a_closed_window_counts_from_the_runs_creation_on() -> None:
    analyzed = Analyzed()
    late = phase("orders")
    late.schedule.windows["w"].start, late.schedule.windows["w"].end = "02:00", "06:00"
    await analyzed.declare({"a": late})
    await start(analyzed)
    analyzed.engine.clock.advance(3_600)
    await estimating(analyzed.engine).step()
    found = await estimate(analyzed)
    assert found.makespan.estimated_seconds.p50 > 2 * 3_600
    assert found.phases["a"].downtime.estimated_seconds.p50 < 3_600


async def test_what_was_not_known_is_kept_with_it() -> None:
    analyzed = Analyzed()
    await analyzed.declare({"a": phase("orders")})
    await start(analyzed)
    await estimating(analyzed.engine).step()
    found = await estimate(analyzed)
    assert list(found.unknowns) == ["Of a/orders: how fast it is copied: nothing like it was measured."]
    assert found.phases["a"].datasets["orders"].basis == "statistics"


async def test_a_source_that_was_away_when_the_plan_was_analyzed_does_not_matter_to_a_run() -> None:
    analyzed = Analyzed()
    await analyzed.declare({"a": phase("orders")})
    analyzed.failing["orders"] = AWAY
    await analyzed.analyze(draws=1)
    analyzed.failing.clear()
    await start(analyzed)
    await estimating(analyzed.engine).step()
    assert (await estimate(analyzed)).phases["a"].datasets["orders"].basis == "statistics"
