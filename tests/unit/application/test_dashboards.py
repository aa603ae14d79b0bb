"""The whole picture: every plan, what is at risk with what to do next, what comes, and only what changed to whoever watches."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, time, timedelta
from typing import Any, TypeVar

import pytest

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.dashboard_milestones import plan_milestones
from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.kpi_outlook import End, Outlook, RiskLevel, RunOutlook
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.run import Entity, Failure, Lane, PhaseRun, Run, RunEvent
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import START
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import kpi_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import start

Result = TypeVar("Result")
RUN = f"{PLAN}/runs/r"
PHASE = f"{RUN}/phases/a"


class Scene:
    """A declared plan, and its run as a test says that it stands."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.dashboards = self.engine.dashboards

    async def declared(self) -> "Scene":
        await self.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
        return self

    def tell(self, *entities: Entity) -> None:
        """What a commit stored."""
        self.engine.kpis.observe(Change(RUN, self.engine.clock.now(), entities, is_whole=True))

    async def picture(self, environment: str = "") -> kpi_pb2.Dashboard:
        return await self.dashboards.dashboard(environment)

    async def risk(self, reason: str) -> kpi_pb2.Risk:
        """The one risk of this reason."""
        (found,) = [risk for risk in (await self.picture()).risks if risk.reason == reason]
        assert found.plan == PLAN
        return found

    async def milestone(self, kind: str) -> kpi_pb2.Milestone:
        """The one milestone of this kind."""
        (found,) = [each for each in (await self.picture()).milestones if each.kind == kind]
        assert found.plan == PLAN
        return found


@pytest.fixture
async def scene() -> Scene:
    return await Scene().declared()


def run(state: RunState = RunState.RUNNING, **fields: Any) -> Run:
    return Run(RUN, PLAN, "k", "h", START, "api", state=state, version=fields.pop("version", 1), **fields)


def a(state: PhaseState = PhaseState.STAGING, **fields: Any) -> PhaseRun:
    return PhaseRun("a", "sales", state=state, version=fields.pop("version", 1), **fields)


AWAY = Failure("SYSTEM_UNAVAILABLE", "legacy does not answer.")


async def test_a_plan_that_was_never_run_is_told_with_its_name(scene: Scene) -> None:
    picture = await scene.picture()
    assert [plan.plan for plan in picture.plans] == [PLAN]
    assert picture.plans[0].kpis.name == PLAN
    assert [found.name for found in picture.environments] == [ENVIRONMENT]
    assert (len(picture.risks), len(picture.milestones)) == (0, 0)


async def test_one_environment_is_told_alone_and_an_unknown_one_with_the_nearest(scene: Scene) -> None:
    scene.tell(run(), a())
    picture = await scene.picture(ENVIRONMENT)
    assert picture.plans[0].kpis.run == RUN
    with pytest.raises(NotFound, match="did you mean"):
        await scene.picture("environments/ee")


async def test_a_failed_run_is_critical_and_tells_how_to_go_on(scene: Scene) -> None:
    scene.tell(run(RunState.FAILED, failure=AWAY, end_time=START), a(PhaseState.FAILED, failure=AWAY, end_time=START))
    found = await scene.risk("RUN_FAILED")
    assert (found.subject, found.severity) == (RUN, kpi_pb2.RISK_SEVERITY_CRITICAL)
    assert found.since.ToDatetime(UTC) == START
    assert "legacy does not answer" in found.message
    assert f"pymigrate retry {RUN}" in found.message
    assert (await scene.risk("PHASE_FAILED")).subject == PHASE


async def test_a_blocked_rollback_is_critical_and_names_the_phase(scene: Scene) -> None:
    scene.tell(run(RunState.ROLLBACK_BLOCKED, end_time=START), a(PhaseState.ROLLBACK_BLOCKED, failure=AWAY))
    found = [risk for risk in (await scene.picture()).risks if risk.reason == "ROLLBACK_BLOCKED"]
    assert {risk.subject for risk in found} == {RUN, PHASE}
    assert all(risk.severity == kpi_pb2.RISK_SEVERITY_CRITICAL for risk in found)
    assert all(f"pymigrate rollback {RUN}" in risk.message for risk in found)


async def test_a_stalled_lane_tells_why(scene: Scene) -> None:
    scene.tell(run(), a(), Lane("a.orders", "a", "orders", state=LaneState.STALLED, failure=AWAY, version=1))
    found = await scene.risk("LANE_STALLED")
    assert (found.subject, found.severity) == (f"{RUN}/lanes/a.orders", kpi_pb2.RISK_SEVERITY_WARNING)
    assert "legacy does not answer" in found.message


async def test_a_gate_waits_from_the_moment_that_nothing_else_keeps_it_shut(scene: Scene) -> None:
    def b(**fields: Any) -> PhaseRun:
        return PhaseRun("b", "sales", ("a",), gates={"go": "before_start"}, version=fields.pop("version"), **fields)

    scene.tell(run(), a(), b(version=1))
    assert not (await scene.picture()).risks
    scene.tell(a(PhaseState.PUBLISHED, end_time=START, version=2))
    found = await scene.risk("GATE_WAITING")
    assert (found.subject, found.since.ToDatetime(UTC)) == (f"{RUN}/phases/b", START)
    assert f"pymigrate approve {RUN} b go" in found.message
    scene.tell(b(version=2, approvals={"go": "ann"}))
    assert not (await scene.picture()).risks


async def test_a_gate_before_publication_waits_once_what_is_to_be_published_can_be_looked_at(scene: Scene) -> None:
    scene.tell(run(), a(gates={"look": "before_publication"}))
    assert not (await scene.picture()).risks
    scene.tell(a(PhaseState.VERIFYING, gates={"look": "before_publication"}, version=2))
    assert "`look`" in (await scene.risk("GATE_WAITING")).message


def happened(sequence: int, kind: str, subject: str, minutes: int) -> RunEvent:
    return RunEvent(sequence, START + timedelta(minutes=minutes), kind, subject, "before", "after", "api")


@pytest.mark.parametrize(
    ("kind", "subject", "reason", "entities"),
    [
        ("run.paused", RUN, "RUN_PAUSED", [run(RunState.PAUSED), a()]),
        (
            "lane.stalled",
            f"{RUN}/lanes/a.orders",
            "LANE_STALLED",
            [run(), a(), Lane("a.orders", "a", "orders", state=LaneState.STALLED, version=1)],
        ),
        (
            "phase.verifying",
            PHASE,
            "GATE_WAITING",
            [run(), a(PhaseState.VERIFYING, gates={"look": "before_publication"})],
        ),
        (
            "staging.caught_up",
            PHASE,
            "GATE_WAITING",
            [run(), a(is_online=True, is_caught_up=True, gates={"look": "before_publication"})],
        ),
    ],
)
async def test_a_risk_is_told_since_the_newest_event_that_brought_it_in_whatever_order_they_come(
    scene: Scene, kind: str, subject: str, reason: str, entities: list[Entity]
) -> None:
    scene.tell(*entities)
    assert not (await scene.risk(reason)).HasField("since")
    first, second = happened(1, kind, subject, 1), happened(2, kind, subject, 5)
    other = happened(3, kind, f"{RUN}/phases/other", 9)
    scene.engine.kpis.observe(Change(RUN, START, (), (second, other)))
    scene.engine.kpis.observe(Change(RUN, START, (), (first, second)))
    assert (await scene.risk(reason)).since.ToDatetime(UTC) == second.time


async def test_a_run_waits_for_others_since_it_began_and_its_first_gate_since_the_last_of_them_succeeded(
    scene: Scene,
) -> None:
    scene.tell(run(waiting_for=("first",)), a(PhaseState.PENDING, gates={"go": "before_start"}))
    assert (await scene.risk("RUN_WAITING")).since.ToDatetime(UTC) == START
    scene.tell(run(version=2))
    assert (await scene.risk("GATE_WAITING")).since.ToDatetime(UTC) == START
    done = happened(1, "plan.succeeded", RUN, 7)
    scene.engine.kpis.observe(Change(RUN, START, (), (done,)))
    assert (await scene.risk("GATE_WAITING")).since.ToDatetime(UTC) == done.time


async def test_rows_in_quarantine_are_told_by_phase(scene: Scene) -> None:
    lane = Lane("a.orders", "a", "orders", state=LaneState.DONE, quarantined_rows=1_200, version=1)
    scene.tell(run(RunState.SUCCEEDED, end_time=START), a(PhaseState.PUBLISHED), lane)
    found = await scene.risk("ROWS_QUARANTINED")
    assert found.subject == PHASE
    assert "1,200 rows" in found.message


async def test_a_paused_run_and_one_that_waits_for_others_are_told(scene: Scene) -> None:
    scene.tell(run(RunState.PAUSED, waiting_for=("first",)), a(PhaseState.PENDING))
    assert "pymigrate resume" in (await scene.risk("RUN_PAUSED")).message
    assert "first" in (await scene.risk("RUN_WAITING")).message


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (RiskLevel.MODERATE, kpi_pb2.RISK_SEVERITY_WARNING),
        (RiskLevel.HIGH, kpi_pb2.RISK_SEVERITY_WARNING),
        (RiskLevel.BREACHED, kpi_pb2.RISK_SEVERITY_CRITICAL),
    ],
)
async def test_what_was_agreed_is_told_as_it_is_at_risk(scene: Scene, level: RiskLevel, severity: int) -> None:
    scene.tell(run(), a())
    scene.engine.kpis.put_outlook(RUN, RunOutlook(Outlook(level=level, reasons=("The shop is down too long.",))))
    found = await scene.risk("SLA_AT_RISK")
    assert (found.subject, found.severity) == (RUN, severity)
    assert "The shop is down too long." in found.message


@pytest.mark.parametrize(("expected", "severity"), [(130.0, "INFO"), (200.0, "WARNING")])
async def test_a_run_that_takes_longer_than_estimated_is_told(scene: Scene, expected: float, severity: str) -> None:
    scene.tell(run(), a())
    outlook = Outlook(estimated=Quantiles(100.0, 120.0), expected_seconds=expected)
    scene.engine.kpis.put_outlook(RUN, RunOutlook(outlook))
    found = await scene.risk("ESTIMATE_DRIFT")
    assert found.severity == kpi_pb2.RiskSeverity.Value(f"RISK_SEVERITY_{severity}")
    assert f"+{expected - 100:.0f}%" in found.message


async def test_the_worst_comes_first(scene: Scene) -> None:
    lane = Lane("a.orders", "a", "orders", state=LaneState.DONE, quarantined_rows=1, version=1)
    scene.tell(run(RunState.FAILED, end_time=START), a(PhaseState.FAILED, end_time=START), lane)
    severities = [risk.severity for risk in (await scene.picture()).risks]
    assert severities == sorted(severities, reverse=True)
    assert len(severities) == 3


async def test_ends_that_are_forecast_are_milestones(scene: Scene) -> None:
    scene.tell(run(), a())
    end, first = (End(START + timedelta(hours=at), START + timedelta(hours=at + 1)) for at in (2, 1))
    scene.engine.kpis.put_outlook(RUN, RunOutlook(Outlook(end=end), {"a": Outlook(end=first)}))
    picture = await scene.picture()
    assert [(found.kind, found.subject) for found in picture.milestones] == [
        ("PHASE_PUBLISHED", PHASE),
        ("RUN_ENDED", RUN),
    ]
    assert picture.milestones[1].time.p90.ToDatetime(UTC) == end.p90


async def test_a_published_run_is_sealed_when_it_says(scene: Scene) -> None:
    at = START + timedelta(days=7)
    scene.tell(run(RunState.SUCCEEDED, end_time=START, seal_time=at), a(PhaseState.PUBLISHED, end_time=START))
    found = await scene.milestone("RUN_SEALED")
    assert found.time.p50.ToDatetime(UTC) == found.time.p90.ToDatetime(UTC) == at
    scene.tell(a(PhaseState.SEALED, end_time=START, version=2))
    assert not (await scene.picture()).milestones


@pytest.mark.parametrize(("hour", "kind", "at"), [(22, "WINDOW_OPENS", 22), (0, "WINDOW_CLOSES", 23)])
async def test_the_window_of_a_run_under_way_opens_or_closes(scene: Scene, hour: int, kind: str, at: int) -> None:
    scene.tell(run(), a())
    newest = scene.engine.kpis.newest(PLAN)
    assert newest is not None
    calendars = {(PLAN, "a"): Calendar(windows=(WeeklyWindow(time(hour), time(23)),))}
    (found,) = plan_milestones(newest, kpi_pb2.Kpis(), {}, calendars, START)
    assert (found.kind, found.subject) == (kind, PHASE)
    assert found.time.p50.ToDatetime(UTC) == found.time.p90.ToDatetime(UTC) == START.replace(hour=at)


async def test_a_run_that_was_started_outside_its_declared_window_is_told_when_that_opens() -> None:
    engine = Engine()
    gated = phase("orders")
    gated.schedule.windows["night"].start, gated.schedule.windows["night"].end = "22:00", "23:00"
    await engine.declare({"a": gated})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    opens = [each for each in (await engine.dashboards.dashboard("")).milestones if each.kind == "WINDOW_OPENS"]
    assert [(each.subject, each.time.p50.ToDatetime(UTC)) for each in opens] == [(PHASE, START.replace(hour=22))]
    engine.clock.advance(timedelta(hours=22, minutes=10).total_seconds())
    closes = [each for each in (await engine.dashboards.dashboard("")).milestones if each.kind == "WINDOW_CLOSES"]
    assert [(each.subject, each.time.p50.ToDatetime(UTC)) for each in closes] == [(PHASE, START.replace(hour=23))]


async def test_whoever_watches_is_told_the_whole_and_then_what_changed(scene: Scene) -> None:
    watch = scene.dashboards.watch("", "")
    first = (await anext(watch)).message
    assert (first.is_change, len(first.dashboard.plans)) == (False, 1)
    scene.tell(run(RunState.FAILED, end_time=START), a(PhaseState.FAILED))
    await scene.engine.clock.run_for(1.0)
    second = (await anext(watch)).message
    assert second.is_change
    assert [plan.kpis.run for plan in second.dashboard.plans] == [RUN]
    assert [found.name for found in second.dashboard.environments] == [ENVIRONMENT]
    await watch.aclose()


async def test_a_plan_that_is_gone_is_told_by_its_name(scene: Scene) -> None:
    watch = scene.dashboards.watch(ENVIRONMENT, "")
    token = (await anext(watch)).message.resume_token
    await watch.aclose()
    engine = scene.engine
    await engine.store.transact(lambda unit: engine.plans.delete(unit, PLAN, "", ME, is_forced=True))
    resumed = scene.dashboards.watch(ENVIRONMENT, token)
    told = (await anext(resumed)).message
    assert (told.is_change, list(told.deleted_plans), len(told.dashboard.plans)) == (True, [PLAN], 0)
    await resumed.aclose()


async def test_a_token_of_another_engine_begins_with_the_whole(scene: Scene) -> None:
    for token in ("other.0", "start.99", "start.x", "x"):
        watch: AsyncGenerator[Any, None] = scene.dashboards.watch("", token)
        assert not (await anext(watch)).message.is_change
        await watch.aclose()


async def test_those_who_ask_while_somebody_looks_share_one_more_look_that_begins_after_they_asked() -> None:
    class Counting(MemoryStore):
        """Counts what is read."""

        reads = 0

        async def read(self, work: Callable[[Unit], Result]) -> Result:
            self.reads += 1
            await asyncio.sleep(0)  # others ask meanwhile
            return await super().read(work)

    store = Counting()
    scene = Scene()
    scene.engine = Engine(store)
    scene.dashboards = scene.engine.dashboards
    await scene.declared()
    scene.tell(run(), a())
    store.reads = 0
    await scene.picture()
    once, store.reads = store.reads, 0
    assert once > 0
    first = asyncio.create_task(scene.picture())
    await asyncio.sleep(0)
    assert store.reads == 1
    scene.tell(run(RunState.FAILED, end_time=START, version=2))
    late = await asyncio.gather(*[scene.picture() for _ in range(20)])
    await first
    assert store.reads == 2 * once
    assert all("RUN_FAILED" in {risk.reason for risk in picture.risks} for picture in late)


async def test_what_did_not_change_is_not_told_again(scene: Scene) -> None:
    scene.tell(run(RunState.SUCCEEDED, end_time=START - timedelta(days=400)), a(PhaseState.SEALED))
    watch = scene.dashboards.watch("", "")
    token = (await anext(watch)).message.resume_token
    await watch.aclose()
    await scene.picture()
    again = scene.dashboards.watch("", "")
    assert (await anext(again)).message.resume_token == token
    await again.aclose()
