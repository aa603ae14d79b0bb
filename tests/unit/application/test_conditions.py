"""Figures, drifts and windows beyond the bounds of rules: told once for each crossing, and once more when it is over, whatever happens to
the engine in between."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from pymigrate.engine.application.conditions import TICK_SECONDS
from pymigrate.engine.application.findings import Finding, finding_of
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.domain.kpi_outlook import Outlook, RunOutlook
from pymigrate.engine.domain.quantiles import Quantiles
from tests.unit.application.engines import Engine, phase
from tests.unit.application.test_board import FailingStore
from tests.unit.application.watched import FEW_ROWS, MANY_ROWS, PHASE, RUN, Watched


@pytest.fixture
def watched(engine: Engine) -> Watched:
    return Watched(engine)


async def test_a_figure_beyond_its_bound_is_told_with_what_was_found(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    assert await watched.look() == 1
    (entry,) = await watched.entries()
    assert (entry.action, entry.subject, entry.actor) == ("kpi.crossed", RUN, "engine")
    assert finding_of(entry.detail) == Finding(
        "many", "rows", 101.0, 100.0, RUN, f"`rows` of {RUN} is 101 rows, above 100 rows."
    )


async def test_a_crossing_is_told_once_however_often_it_is_looked_at(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    for rows in (101, 150, 200):
        watched.tell(rows=rows)
        await watched.look()
    await watched.look(TICK_SECONDS)
    assert await watched.told() == ["kpi.crossed"]


async def test_whoever_routes_is_woken_when_there_is_something_to_be_told(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    await watched.look()
    assert watched.bell.rung == 0
    watched.tell(rows=101)
    await watched.look()
    assert watched.bell.rung == 1


async def test_a_figure_that_is_back_far_enough_is_told_once_more_and_can_be_crossed_again(watched: Watched) -> None:
    await watched.declare(FEW_ROWS)
    await watched.look()
    watched.tell(rows=104)
    assert await watched.look() == 0  # within the hysteresis of 5 %
    watched.tell(rows=105)
    assert await watched.look() == 1
    assert await watched.held() == 0
    (_, entry) = await watched.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert (entry.action, found.value, found.rule) == ("kpi.recovered", 105.0, "many")
    assert found.text == f"`rows` of {RUN} is 105 rows again; it was below 100 rows."
    watched.tell(rows=99)
    await watched.look()
    assert await watched.told() == ["kpi.crossed", "kpi.recovered", "kpi.crossed"]


async def test_what_must_hold_is_told_when_it_has_though_nothing_changes_meanwhile(watched: Watched) -> None:
    await watched.declare({"kpi": {**MANY_ROWS["kpi"], "holdSeconds": 2}})
    watched.tell(rows=101)
    await watched.look()
    assert await watched.look(1.5) == 0
    assert await watched.look(0.5) == 1
    (entry,) = await watched.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert found.text.endswith("above 100 rows, and has been for 2.0 s.")


async def test_what_comes_back_before_it_has_held_is_never_told(watched: Watched) -> None:
    await watched.declare({"kpi": {**FEW_ROWS["kpi"], "holdSeconds": 2}})
    await watched.look()
    assert await watched.held() == 1
    watched.tell(rows=100)
    await watched.look()
    await watched.look(TICK_SECONDS)
    assert (await watched.told(), await watched.held()) == ([], 0)


async def test_what_stays_beyond_its_bound_is_told_again_after_the_interval(watched: Watched) -> None:
    await watched.declare(MANY_ROWS, repeatIntervalSeconds=60)
    watched.tell(rows=101)
    await watched.look()
    assert await watched.look(59.5) == 0
    assert await watched.look(0.5) == 1
    assert await watched.look(60) == 1
    assert await watched.told() == ["kpi.crossed"] * 3


async def test_an_engine_that_goes_on_tells_nothing_twice(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    await watched.look()
    again = await watched.again()
    again.tell()
    assert await again.look() == 0
    again.end()
    await again.look()
    assert await again.look() == 1
    assert await again.told() == ["kpi.crossed", "kpi.recovered"]


async def test_what_had_held_for_a_while_need_only_hold_for_the_rest_at_the_engine_that_goes_on(
    watched: Watched,
) -> None:
    await watched.declare({"kpi": {**MANY_ROWS["kpi"], "holdSeconds": 60}})
    watched.tell(rows=101)
    await watched.look()
    watched.engine.clock.advance(50)
    again = await watched.again()
    again.tell()
    assert await again.look() == 0
    assert await again.look(10) == 1


async def test_a_run_that_is_still_to_be_read_is_left_as_it_was(watched: Watched) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    await watched.look()
    again = await watched.again()
    again.run = replace(again.run, events=3)  # none of which this engine has seen
    again.tell()
    assert again.engine.kpis.behind() == {RUN}
    assert await again.look(TICK_SECONDS) == 0
    assert await again.held() == 1


@pytest.mark.parametrize("way", ["deleted", "paused", "changed"])
async def test_what_was_told_is_over_when_its_rule_goes(watched: Watched, way: str) -> None:
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    await watched.look()
    match way:
        case "deleted":
            await watched.no_rule()
        case "paused":
            await watched.rule(MANY_ROWS, isPaused=True)
        case _:
            await watched.rule({**MANY_ROWS, "plans": ["other*"]})
    assert await watched.look(TICK_SECONDS) == 1
    assert (await watched.told(), await watched.held()) == (["kpi.crossed", "kpi.recovered"], 0)


async def test_a_rule_that_is_declared_while_a_run_is_under_way_watches_it(watched: Watched) -> None:
    await watched.engine.declare({"a": phase("orders")})
    watched.tell(rows=101)
    assert await watched.look() == 0
    await watched.rule(MANY_ROWS)
    assert await watched.look(TICK_SECONDS) == 1


@pytest.mark.parametrize(("match", "count"), [({"plans": ["p*"]}, 1), ({"plans": ["q", "*x"]}, 0)])
async def test_only_plans_that_a_rule_means_are_watched(watched: Watched, match: dict[str, Any], count: int) -> None:
    await watched.declare({**MANY_ROWS, **match})
    watched.tell(rows=101)
    assert await watched.look() == count


@pytest.mark.parametrize("match", [{"phases": ["a"]}, {"departments": ["sal*"]}, {"phases": ["*"], "plans": ["p"]}])
async def test_a_rule_that_names_phases_or_departments_watches_each_phase_on_its_own(
    watched: Watched, match: dict[str, Any]
) -> None:
    await watched.declare({**MANY_ROWS, **match})
    watched.tell(rows=101)
    assert await watched.look() == 1
    (entry,) = await watched.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert (entry.subject, found.run) == (PHASE, RUN)


@pytest.mark.parametrize("match", [{"phases": ["b"]}, {"departments": ["hr"]}])
async def test_phases_that_a_rule_does_not_mean_are_not_watched(watched: Watched, match: dict[str, Any]) -> None:
    await watched.declare({**MANY_ROWS, **match})
    watched.tell(rows=101)
    assert await watched.look() == 0


@pytest.mark.parametrize(("expected_seconds", "drift"), [(130.0, "+30%"), (70.0, "-30%")])
async def test_an_estimate_that_lies_off_to_either_side_is_told(
    watched: Watched, expected_seconds: float, drift: str
) -> None:
    await watched.declare({"driftMin": 0.25})

    def expect(seconds: float) -> None:
        outlook = Outlook(estimated=Quantiles(100.0, 120.0), expected_seconds=seconds)
        watched.engine.kpis.put_outlook(RUN, RunOutlook(whole=outlook))

    assert await watched.look() == 0  # nothing is forecast yet
    expect(expected_seconds)
    assert await watched.look() == 1
    (entry,) = await watched.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert (entry.action, found.figure, found.bound) == ("drift.crossed", "drift.drift", 0.25)
    assert found.value == pytest.approx(0.3)
    assert found.text.endswith(f"where 1 min 40 s were estimated ({drift}).")
    expect(100.0)
    await watched.look()
    assert await watched.told() == ["drift.crossed", "drift.recovered"]


async def test_a_figure_that_goes_on_by_time_alone_is_looked_at_every_five_seconds(watched: Watched) -> None:
    await watched.declare({"kpi": {"figure": "throughput.now.rows_per_second", "bound": 10}})
    watched.tell(rows=1_000)
    assert [await watched.look(TICK_SECONDS) for _ in range(3)] == [0, 1, 0]


async def test_a_write_that_fails_is_made_good_by_the_next_look() -> None:
    store = FailingStore()
    watched = Watched(Engine(store))
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    store.writes_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await watched.look()
    assert (await watched.told(), watched.bell.rung) == ([], 0)
    assert await watched.look() == 1
    assert await watched.look(TICK_SECONDS) == 0


async def test_a_write_of_which_the_answer_was_lost_is_not_made_twice() -> None:
    store = FailingStore()
    watched = Watched(Engine(store))
    await watched.declare(MANY_ROWS)
    watched.tell(rows=101)
    store.answers_to_lose = 1
    with pytest.raises(StoreUnavailable):
        await watched.look()
    assert await watched.look() == 0
    assert await watched.told() == ["kpi.crossed"]


async def test_a_run_that_ended_while_the_store_was_away_is_looked_at_all_the_same() -> None:
    store = FailingStore()
    watched = Watched(Engine(store))
    await watched.declare(MANY_ROWS)
    await watched.look()
    watched.tell(rows=101)
    watched.end()
    store.writes_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await watched.look()
    await watched.look()
    await watched.look()
    assert await watched.told() == ["kpi.crossed", "kpi.recovered"]


async def test_the_loop_looks_at_changes_twice_a_second_and_goes_on_after_the_store_was_away() -> None:
    store = FailingStore()
    watched = Watched(Engine(store))
    await watched.declare(FEW_ROWS)
    store.writes_to_fail = 1
    looking = asyncio.create_task(watched.conditions.run_loop())
    for rows in (0, 200, 0, 200):
        watched.tell(rows=rows)
        await watched.engine.clock.run_for(0.5)
    looking.cancel()
    times = [entry.time for entry in await watched.entries()]
    assert await watched.told() == ["kpi.crossed", "kpi.recovered", "kpi.crossed", "kpi.recovered"][: len(times)]
    assert len(times) >= 2
    assert all(after - before >= timedelta(seconds=0.5) for before, after in pairwise(times))
