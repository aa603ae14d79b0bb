"""What nobody acknowledges is told further, step by step, until somebody does or there is nobody left to tell."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.findings import finding_of
from pymigrate.engine.application.notification_kinds import ALERT_RULES, SILENCES
from pymigrate.engine.domain.delivering import acknowledge_incident
from pymigrate.engine.domain.delivery import Delivery, DeliveryState, Incident
from pymigrate.engine.ports.metric_families import NOTIFICATIONS
from pymigrate.engine.ports.store import Unit
from tests.unit.application.routed import ENVIRONMENT, ME, RUN, Scene

STEPS = [
    {"afterSeconds": 600, "recipients": {"stakeholders": ["boss"]}},
    {"afterSeconds": 1200, "recipients": {"roles": ["director"]}},
]


@pytest.fixture
async def scene(scene: Scene) -> Scene:
    """One with those who are told first, and those who are told when nobody acknowledges."""
    await scene.declare_engineers("ann")
    await scene.declare_engineers("boss", "head", roles=["director"])
    return scene


async def failed(scene: Scene, **more: Any) -> None:
    """A phase has failed, of which ann is told at once, and nobody acknowledges it."""
    rule: dict[str, Any] = {"groupBy": ["run"], "escalations": STEPS}
    await scene.declare_rule(**(rule | more))
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()


async def after(scene: Scene, seconds: float) -> list[tuple[str, int]]:
    """Who is told in which step, so much later."""
    scene.clock.advance(seconds)
    await scene.escalating.step()
    return [(each.stakeholder, each.escalation) for each in await scene.deliveries()]


async def the_incident(scene: Scene) -> Incident:
    def find(unit: Unit) -> Incident:
        found = unit.incidents.get(names.pop())
        assert found is not None
        return found

    names = {each.incident for each in await scene.deliveries() if each.incident}
    return await scene.store.read(find)


async def test_each_step_is_told_when_nobody_has_acknowledged_so_long_after_the_one_before(scene: Scene) -> None:
    await failed(scene)
    assert await after(scene, 599) == [("ann", 0)]
    assert await after(scene, 1) == [("ann", 0), ("boss", 1)]
    assert await after(scene, 1199) == [("ann", 0), ("boss", 1)]
    assert await after(scene, 1) == [("ann", 0), ("boss", 1), ("boss", 2), ("head", 2)]
    assert (await the_incident(scene)).next_time is None
    assert len(await after(scene, 100_000)) == 4


async def test_a_step_tells_of_everything_that_belongs_to_the_incident(scene: Scene) -> None:
    await failed(scene)
    await scene.happen("phase.skipped")
    await scene.route()
    await after(scene, 600)
    told = (await scene.deliveries())[-1]
    incident = await the_incident(scene)
    assert (told.entries, told.entry_count, told.incident) == (incident.entries, 2, incident.id)
    assert (told.state, told.rule, told.due_time) == (DeliveryState.WAITING, "failures", scene.clock.now())
    assert told.needs_acknowledgement
    assert len({each.key for each in await scene.deliveries()}) == 2


async def test_an_acknowledgement_ends_it(scene: Scene) -> None:
    await failed(scene)
    incident = await the_incident(scene)
    assert acknowledge_incident(incident, "ann", scene.clock.now())
    await scene.store.transact(lambda unit: unit.incidents.save([incident]))
    assert await after(scene, 600) == [("ann", 0)]


async def test_a_silence_that_has_begun_since_keeps_the_step_back_and_the_next_one_follows(scene: Scene) -> None:
    await failed(scene)
    document = {
        "reason": "upkeep",
        "match": {"phases": ["sales"]},
        "startTime": "2026-01-01T00:05:00Z",
        "endTime": "2026-01-01T00:25:00Z",
    }
    await scene.declare(SILENCES, "upkeep", document)
    await after(scene, 600)
    kept_back = (await scene.deliveries())[-1]
    assert (kept_back.stakeholder, kept_back.state) == ("boss", DeliveryState.SUPPRESSED)
    assert await after(scene, 1200) == [("ann", 0), ("boss", 1), ("boss", 2), ("head", 2)]
    assert (await scene.deliveries())[-1].state is DeliveryState.WAITING


async def test_who_is_in_quiet_hours_is_told_after_them_and_the_next_step_follows_that(scene: Scene) -> None:
    await scene.declare_engineers("late", roles=["x"], quietHours={"night": {"start": "00:00", "end": "01:00"}})
    steps = [{"afterSeconds": 600, "recipients": {"stakeholders": ["late"]}}, STEPS[1]]
    await failed(scene, escalations=steps)
    await after(scene, 600)
    begin = scene.clock.now() - timedelta(seconds=600)
    assert (await scene.deliveries())[-1].due_time == begin + timedelta(hours=1)
    assert (await the_incident(scene)).next_time == begin + timedelta(hours=1, seconds=1200)


async def test_a_step_that_reaches_nobody_is_in_the_ledger_and_the_next_one_follows(scene: Scene) -> None:
    steps = [{"afterSeconds": 600, "recipients": {"roles": ["nobody"]}}, STEPS[1]]
    await failed(scene, escalations=steps)
    await after(scene, 600)
    lost = (await scene.deliveries())[-1]
    assert (lost.stakeholder, lost.state, lost.escalation) == ("", DeliveryState.UNDELIVERABLE, 1)
    assert [entry.type for entry in await scene.entries()][-2:] == [
        "notification.escalated",
        "notification.undeliverable",
    ]
    assert await after(scene, 1200) == [("ann", 0), ("", 1), ("boss", 2), ("head", 2)]


async def test_the_stream_says_that_it_was_escalated_and_to_whom(scene: Scene) -> None:
    await failed(scene)
    await after(scene, 600)
    entry = (await scene.entries())[-1]
    found = finding_of(entry.detail)
    assert (entry.type, entry.subject) == ("notification.escalated", (await scene.deliveries())[-1].name)
    assert found is not None
    assert (found.rule, found.run, found.value) == ("failures", RUN, 600.0)
    assert found.text == "Nobody has acknowledged what rule failures told: step 1 tells boss."


async def test_what_escalates_of_deliveries_themselves_says_nothing_more(scene: Scene) -> None:
    await scene.declare_rule("lost", match={"types": ["notification.*"]}, escalations=STEPS)
    await scene.declare_rule(recipients={"roles": ["nobody"]})
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    before = len(await scene.entries())
    assert ("boss", 1) in await after(scene, 600)
    assert len(await scene.entries()) == before


@pytest.mark.parametrize("how", ["paused", "deleted", "shortened"])
async def test_an_incident_ends_with_its_rule(scene: Scene, how: str) -> None:
    await failed(scene)
    name = f"{ENVIRONMENT}/alertRules/failures"

    def change(unit: Unit) -> None:
        if how == "deleted":
            scene.catalog.delete(unit, ALERT_RULES, name, "", ME)
            return
        found = unit.resources.get(name)
        assert found is not None
        message = ALERT_RULES.read(found)
        message.is_paused = how == "paused"
        if how == "shortened":
            del message.escalations[:]
        scene.catalog.update(unit, ALERT_RULES, message, FieldMask(), ME)

    await scene.store.transact(change)
    assert await after(scene, 600) == [("ann", 0)]
    assert (await the_incident(scene)).next_time is None


async def test_escalations_are_counted_and_wake_the_rendering(scene: Scene) -> None:
    await failed(scene, escalations=[{"afterSeconds": 600, "recipients": {"roles": ["nobody"]}}, STEPS[1]])
    rung = scene.freezing.rung
    await after(scene, 600)
    assert scene.freezing.rung == rung
    assert scene.metrics.values[NOTIFICATIONS] == {("e", "undeliverable"): 1.0}
    await after(scene, 1200)
    assert scene.freezing.rung == rung + 1


async def test_the_loop_escalates_by_itself() -> None:
    scene = Scene()
    await scene.begin()
    await scene.declare_engineers("ann", "boss")
    await failed(scene, escalations=STEPS[:1])
    task = asyncio.create_task(scene.escalating.run_loop())
    await scene.clock.run_for(601)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    told: list[Delivery] = list(await scene.deliveries())
    assert [(each.stakeholder, each.escalation) for each in told][-1] == ("boss", 1)
