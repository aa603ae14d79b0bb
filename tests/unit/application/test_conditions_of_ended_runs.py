"""Figures of runs that end, or are retried: looked at once more, also by the engine that goes on, and then over."""

from dataclasses import replace

import pytest

from pymigrate.engine.application.conditions import TICK_SECONDS
from pymigrate.engine.application.findings import finding_of
from pymigrate.engine.domain.kpi_outlook import RunOutlook
from pymigrate.engine.domain.run_states import RunState
from tests.unit.application.engines import Engine, PlayedHost, phase
from tests.unit.application.test_board import start
from tests.unit.application.watched import MANY_ROWS, PHASE, RUN, Watched


@pytest.fixture
def watched(engine: Engine) -> Watched:
    return Watched(engine)


async def test_a_run_that_ends_is_looked_at_once_more_and_then_what_was_told_of_it_is_over(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    await watched.look()
    watched.tell(rows=101)
    watched.end()
    assert await watched.look() == 1
    assert await watched.look() == 1
    assert await watched.look(TICK_SECONDS) == 0
    assert await watched.told() == ["kpi.crossed", "kpi.recovered"]
    found = finding_of((await watched.entries())[-1].detail)
    assert found is not None
    assert (found.value, found.text) == (101.0, f"Nothing more is watched, since it is over, of {RUN}.")


async def test_what_the_last_step_of_a_run_crossed_is_told_by_the_engine_that_goes_on(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    await watched.look()
    watched.tell(rows=101)
    watched.end()
    watched.engine.clock.advance(60)
    again = await watched.again()
    again.tell()
    assert await again.look() == 1
    for _ in range(2):
        again = await again.again()
        again.tell()
        await again.look()
    assert await again.told() == ["kpi.crossed", "kpi.recovered"]
    assert await again.kept() == 0


async def test_what_the_last_step_crossed_is_found_in_the_figures_that_were_kept_of_the_run() -> None:
    engine = Engine()
    watched = Watched(engine)
    await engine.declare({"a": phase("orders")})
    await watched.rule({"phases": ["a"], "kpi": {"figure": "rows", "isAbove": True, "bound": 5}})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    await watched.look()
    await host.work()
    assert await engine.keeping.step() == [RUN]
    engine.clock.advance(60)
    again = await watched.again()
    kept = again.engine.kpis.run(RUN)
    assert kept is not None
    assert not kept.has_lanes
    assert await again.look() == 1
    (entry,) = await again.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert (entry.subject, found.value) == (PHASE, 10.0)


async def test_nothing_is_kept_of_a_run_that_no_rule_means(watched: Watched) -> None:
    await watched.declare({**MANY_ROWS, "plans": ["other"]})
    await watched.look()
    assert await watched.kept() == 0


async def test_a_run_that_begins_and_ends_between_two_looks_is_looked_at(watched: Watched) -> None:
    await watched.engine.declare({"a": phase("orders")})
    await watched.rule(MANY_ROWS)
    await watched.look()
    watched.tell(rows=101)
    watched.end()
    assert await watched.look() == 1


async def test_a_run_that_ended_before_this_engine_is_not_looked_at(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    watched.end()
    watched.engine.clock.advance(1)
    again = await watched.again()
    again.tell()
    assert await again.look(TICK_SECONDS) == 0


async def test_an_ended_run_of_which_something_changes_later_is_not_told_again(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    watched.end()
    await watched.look()
    await watched.look()
    watched.engine.kpis.put_outlook(RUN, RunOutlook(is_final=True))
    assert await watched.look() == 0


async def test_a_run_that_is_retried_is_watched_again(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    watched.end(RunState.FAILED)
    await watched.look()
    await watched.look()
    watched.run = replace(watched.run, state=RunState.RUNNING, end_time=None, version=watched.run.version + 1)
    watched.tell()
    await watched.look()
    assert await watched.told() == ["kpi.crossed", "kpi.recovered", "kpi.crossed"]


async def test_what_was_not_told_yet_ends_with_its_run_in_silence(watched: Watched) -> None:
    await watched.declare({"kpi": {**MANY_ROWS["kpi"], "holdSeconds": 60}})
    watched.tell(rows=101)
    await watched.look()
    watched.end()
    await watched.look()
    await watched.look()
    assert (await watched.told(), await watched.held()) == ([], 0)
