"""Figures, drifts and windows beyond the bounds of rules: told once for each crossing, and once more when it is over, whatever happens to
the engine in between."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.conditions import TICK_SECONDS, Conditions
from pymigrate.engine.application.findings import Finding, finding_of
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.notification_kinds import ALERT_RULES
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.domain.happenings import Lost, Steered
from pymigrate.engine.domain.kpi_outlook import Outlook, RunOutlook
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.run import Lane, PhaseRun, Run
from pymigrate.engine.domain.run_states import DesiredState, LaneState, PhaseState, RunState
from pymigrate.engine.ports.store import AuditEntry
from pymigrate.v1 import notification_pb2, plan_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.noticed import add
from tests.unit.application.test_board import FailingStore, start

RUN = f"{PLAN}/runs/r"
PHASE = f"{RUN}/phases/a"
MANY_ROWS = {"kpi": {"figure": "rows", "isAbove": True, "bound": 100}}
FEW_ROWS = {"kpi": {"figure": "rows", "bound": 100}}
RULE = f"{ENVIRONMENT}/alertRules/many"


class Watched:
    """A declared plan with a run of one lane, the rule `many`, and what looks at them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.bell = WorkBell()
        limits = LaneLimits(engine.store, engine.board, engine.lanes_max, engine.clock)
        self.conditions = Conditions(engine.store, engine.kpis, limits, engine.clock, self.bell)
        self.run = Run(RUN, PLAN, "k", "h", engine.clock.now(), "api", state=RunState.RUNNING, version=1)
        self.phase = PhaseRun("a", "sales", state=PhaseState.STAGING, version=1)
        self.lane = Lane("a.orders", "a", "orders", state=LaneState.RUNNING, version=1)

    async def declare(self, match: Mapping[str, Any], **fields: Any) -> None:
        """The plan, and a rule that watches it."""
        await self.engine.declare({"a": phase("orders")})
        await self.rule(match, **fields)
        self.tell()

    async def rule(self, match: Mapping[str, Any], **fields: Any) -> None:
        """The rule, as it is from now on."""
        document = {"match": match, **fields}

        def work(unit: Any) -> None:
            if unit.resources.get(RULE) is None:
                add(self.engine, unit, ALERT_RULES, "many", document)
                return
            changed = json_format.ParseDict({"name": RULE, **document}, notification_pb2.AlertRule())
            self.engine.catalog.update(unit, ALERT_RULES, changed, FieldMask(), ME)

        await self.engine.store.transact(work)

    async def no_rule(self) -> None:
        """The rule is deleted."""
        await self.engine.store.transact(lambda unit: self.engine.catalog.delete(unit, ALERT_RULES, RULE, "", ME))

    def tell(self, **lane: Any) -> None:
        """How far the lane is, which is what a commit stored."""
        self.lane = replace(self.lane, **lane, version=self.lane.version + 1)
        entities = (self.run, self.phase, self.lane)
        self.engine.board.changes.tell(Change(RUN, self.engine.clock.now(), entities, is_whole=True))

    def end(self, state: RunState = RunState.SUCCEEDED) -> None:
        """The run has ended."""
        self.run = replace(self.run, state=state, end_time=self.engine.clock.now(), version=self.run.version + 1)
        self.tell()

    async def look(self, seconds: float = 0.5) -> int:
        """A look after a while; how many entries it wrote."""
        self.engine.clock.advance(seconds)
        return await self.conditions.step()

    async def entries(self) -> list[AuditEntry]:
        """What was found so far."""
        found = await self.engine.store.read(lambda unit: unit.audit.list(0, 1_000))
        return [entry for entry in found if finding_of(entry.detail) is not None]

    async def told(self) -> list[str]:
        """The types of what was found so far."""
        return [entry.action for entry in await self.entries()]

    async def held(self) -> int:
        """How many conditions are kept."""
        found = await self.engine.store.read(lambda unit: unit.conditions.all())
        return sum(bool(condition.rule) for condition in found)

    async def kept(self) -> int:
        """How many conditions and notes of runs that are watched are kept."""
        return len(await self.engine.store.read(lambda unit: unit.conditions.all()))

    async def again(self) -> "Watched":
        """Another engine that goes on: this one was killed."""
        found = Watched(self.engine.again())
        found.run, found.phase, found.lane = self.run, self.phase, self.lane
        await found.engine.kpis.restore()
        return found


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


async def started(match: Mapping[str, Any], **schedule: Any) -> Watched:
    """A run of which the lane is copied, within a window from midnight to six; it is midnight."""
    engine = Engine()
    watched = Watched(engine)
    one = phase("orders")
    one.schedule.CopyFrom(plan_pb2.Schedule(windows={"night": plan_pb2.Window(start="00:00", end="06:00")}))
    await engine.declare({"a": one, "b": phase("items", needs=["a"])})
    await watched.rule({"windowClosesSeconds": 600, **match}, **schedule)
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    assert await host.claim() is not None
    return watched


@pytest.mark.parametrize(("match", "subject"), [({}, RUN), ({"phases": ["*"]}, PHASE)])
async def test_a_window_that_is_about_to_close_while_work_goes_on_is_told_once(
    match: dict[str, Any], subject: str
) -> None:
    watched = await started(match)
    assert await watched.look(6 * 3600 - 601) == 0
    assert await watched.look(TICK_SECONDS) == 1
    assert await watched.look(TICK_SECONDS) == 0
    (entry,) = await watched.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert (entry.action, entry.subject, found.figure, found.bound) == ("window.closing", subject, "", 600.0)
    assert found.value == 596.0
    assert found.text == f"The window of {subject} closes in 9 min 56 s, and work that needs it goes on."


async def test_each_window_is_told_on_its_own_and_nothing_in_between() -> None:
    watched = await started({})
    await watched.look(6 * 3600 - 300)
    assert await watched.look(600) == 0
    assert await watched.held() == 0
    assert await watched.look(23.9 * 3600) == 1
    assert await watched.told() == ["window.closing"] * 2


async def test_a_window_that_stays_about_to_close_is_told_again_after_the_interval() -> None:
    watched = await started({}, repeatIntervalSeconds=60)
    await watched.look(6 * 3600 - 300)
    assert await watched.look(60) == 1


async def test_no_window_is_told_of_work_that_is_done_or_has_not_begun() -> None:
    watched = await started({"phases": ["b"]})
    assert await watched.look(6 * 3600 - 300) == 0
    done = await started({})
    (task,) = [task for core in done.engine.board.active() for task in core.leased()]
    await done.engine.board.apply(RUN, Steered(DesiredState.CANCELLED, "people"))
    await done.engine.board.apply(RUN, Lost(task.id))
    host = PlayedHost(done.engine)
    await host.register()
    await host.work()
    assert await done.look(6 * 3600 - 300) == 0
