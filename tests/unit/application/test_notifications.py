"""The router on stores: each entry is told once, whatever fails, and whoever can't be told is in the ledger."""

import asyncio
from datetime import timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.findings import Finding, finding_of
from pymigrate.engine.application.notification_kinds import ALERT_RULES, SILENCES
from pymigrate.engine.application.notifications import measure_routing
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.ports.metric_families import NOTIFIED_EVENTS, NOTIFIED_LAG
from pymigrate.engine.ports.store import Unit
from tests.unit.application.routed import ENVIRONMENT, ME, RUN, Scene


async def test_what_happens_is_told_by_the_rules_to_whom_it_concerns(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_engineers("ben", departments=["finance"])
    await scene.declare_rule()
    await scene.route()
    await scene.happen("phase.failed", "lane.failed")
    await scene.happen("phase.failed", phase="books")
    await scene.route()
    assert await scene.told() == [
        ("failures", "ann", ["phase.failed"]),
        ("failures", "ann", ["phase.failed"]),
        ("failures", "ben", ["phase.failed"]),
    ]
    first = (await scene.deliveries())[0]
    assert (first.state, first.severity, first.run) == (DeliveryState.WAITING, Severity.ERROR, RUN)
    assert first.version == 1


async def test_a_router_that_is_new_tells_nothing_of_what_was_before(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule("all", match={})
    scene.router = scene.another_router()
    await scene.happen("phase.failed")
    assert await scene.told() == []
    types = [entry.type for entry in await scene.entries()]
    assert types[:3] == ["create", "create", "create"]
    await scene.route()
    told = [each for _, _, each in await scene.told()]
    assert told == [["create"], ["create"], ["phase.failed"]]


async def test_each_entry_is_told_once_however_many_routers_there_are(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    await scene.route()
    await scene.happen("phase.failed")
    another = scene.another_router()
    await asyncio.gather(scene.router.step(), another.step())
    await another.step()
    assert await scene.told() == [("failures", "ann", ["phase.failed"])]


async def test_batches_of_any_size_come_to_the_same(scene: Scene) -> None:
    scene.entries_max = 2
    scene.router = scene.another_router()
    await scene.declare_engineers("ann", "ben")
    await scene.declare_rule(groupBy=["run"])
    await scene.route()
    await scene.happen(*["phase.failed", "lane.done"] * 4, "phase.skipped")
    await scene.route()
    types = [*["phase.failed"] * 4, "phase.skipped"]
    assert await scene.told() == [("failures", "ann", types), ("failures", "ben", types)]


async def test_a_group_that_waits_takes_in_what_comes_in_later_passes(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule(groupBy=["run"], groupWaitSeconds=30)
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    scene.clock.advance(10)
    await scene.happen("phase.skipped")
    await scene.route()
    assert await scene.told() == [("failures", "ann", ["phase.failed", "phase.skipped"])]
    scene.clock.advance(20)
    await scene.freeze()
    await scene.happen("phase.failed")
    await scene.route()
    (_, second) = await scene.deliveries()
    assert second.due_time == scene.clock.now() + timedelta(seconds=300)


async def test_more_messages_than_a_transaction_should_hold_are_made_in_several(scene: Scene) -> None:
    scene.messages_max = 10
    scene.router = scene.another_router()
    await scene.declare_engineers("ann", "ben", "cem")
    await scene.declare_rule()
    await scene.route()
    await scene.happen(*["phase.failed"] * 10)
    assert (await scene.router.step()).is_more
    assert len(await scene.deliveries()) == 12
    await scene.route()
    assert len(await scene.deliveries()) == 30


async def test_who_can_not_be_reached_is_told_of_in_the_stream_and_that_is_routed_like_anything_else(
    scene: Scene,
) -> None:
    await scene.declare_engineers("ann", addresses={})
    await scene.declare_engineers("ben", roles=["admin"])
    await scene.declare_rule()
    await scene.declare_rule("lost", match={"types": ["notification.*"]}, recipients={"roles": ["admin"]})
    await scene.route()
    await scene.happen("phase.failed", "phase.failed")
    await scene.route()
    assert await scene.told() == [
        ("failures", "ann", ["phase.failed", "phase.failed"]),
        ("lost", "ben", ["notification.undeliverable"]),
    ]
    entry = (await scene.entries())[-1]
    unreached = (await scene.deliveries())[0]
    assert (entry.type, entry.subject, entry.actor) == ("notification.undeliverable", unreached.name, "engine")
    found = finding_of(entry.detail)
    assert found == Finding(
        "failures", run=RUN, text="ann was not told by rule failures: ann has no address: declare one."
    )


async def test_notifications_of_notifications_that_reach_nobody_come_to_an_end(scene: Scene) -> None:
    await scene.declare_rule("all", match={"types": ["phase.*", "notification.*"]})
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    await scene.route()
    types = [entry.type for entry in await scene.entries()]
    assert types.count("notification.undeliverable") == 1
    assert await scene.told() == [("all", "", ["phase.failed", "notification.undeliverable"])]


async def test_what_is_silenced_is_suppressed(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    document = {
        "reason": "upkeep",
        "match": {"departments": ["retail"]},
        "startTime": "2025-12-31T23:00:00Z",
        "endTime": "2026-01-01T01:00:00Z",
    }
    await scene.declare(SILENCES, "upkeep", document)
    await scene.route()
    await scene.happen("phase.failed")
    await scene.happen("phase.failed", phase="books")
    await scene.route()
    assert [each.state for each in await scene.deliveries()] == [DeliveryState.SUPPRESSED, DeliveryState.WAITING]


async def test_the_same_again_is_not_told_and_another_engine_knows_it_from_the_ledger(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule(duplicateSeconds=3600)
    await scene.route()
    await scene.happen("phase.failed", "phase.failed")
    await scene.route()
    scene.clock.advance(60)
    scene.router = scene.another_router()
    await scene.happen("phase.failed", "phase.skipped")
    await scene.route()
    assert await scene.told() == [("failures", "ann", ["phase.failed"]), ("failures", "ann", ["phase.skipped"])]
    assert [each.duplicates for each in await scene.deliveries()] == [2, 0]


async def test_a_rule_with_escalations_opens_an_incident_and_adds_to_it(scene: Scene) -> None:
    await scene.declare_engineers("ann", "boss")
    await scene.declare_rule(
        groupBy=["run"], escalations=[{"afterSeconds": 600, "recipients": {"stakeholders": ["boss"]}}]
    )
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    (incident,) = await scene.incidents(scene.clock.now() + timedelta(seconds=600))
    assert len(incident.entries) == 2
    assert {each.incident for each in await scene.deliveries()} == {incident.id}
    assert await scene.incidents(scene.clock.now() + timedelta(seconds=599)) == []


async def test_an_hour_s_limit_holds_across_passes(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule(messagesPerHourMax=2)
    await scene.route()
    for _ in range(5):
        await scene.happen("phase.failed")
        await scene.route()
        await scene.freeze()
        scene.clock.advance(60)
    assert [each.entry_count for each in await scene.deliveries()] == [1, 1, 3]
    beyond = (await scene.deliveries())[-1]
    assert beyond.state is DeliveryState.WAITING
    assert beyond.due_time >= beyond.create_time + timedelta(minutes=50)


async def test_entries_are_counted_by_what_came_of_them(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    await scene.route()
    before = dict(scene.metrics.values[NOTIFIED_EVENTS])
    await scene.happen("phase.failed", "lane.done", "lane.done")
    await scene.route()
    counted = scene.metrics.values[NOTIFIED_EVENTS]
    assert {key: counted[key] - before.get(key, 0) for key in counted} == {("e", "told"): 1.0, ("e", "unmatched"): 2.0}


async def test_how_far_the_router_is_behind_is_told_at_each_scrape(scene: Scene) -> None:
    scene.entries_max = 2
    scene.router = scene.another_router()
    measure_routing(scene.metrics, scene.router)
    await scene.declare_rule()
    await scene.route()

    def lag() -> float:
        return scene.metrics.read("notification_routing")[NOTIFIED_LAG.name][()]

    assert lag() == 0.0
    await scene.happen("lane.done", "lane.done", "lane.done")
    scene.clock.advance(7)
    await scene.router.step()
    assert lag() == 7.0
    await scene.router.step()
    assert lag() == 0.0


async def test_rendering_is_woken_when_there_is_something_to_render(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule()
    await scene.route()
    assert scene.freezing.rung == 0
    await scene.happen("phase.failed")
    await scene.route()
    assert scene.freezing.rung == 1
    await scene.declare_rule("later", match={"types": ["lane.*"]}, groupBy=["run"], groupWaitSeconds=60)
    await scene.happen("lane.failed")
    await scene.route()
    assert (len(await scene.deliveries()), scene.freezing.rung) == (2, 1)


async def test_an_entry_that_can_not_be_told_is_in_the_ledger_and_keeps_no_other_waiting(scene: Scene) -> None:
    await scene.declare_engineers("ann")
    await scene.declare_rule(groupBy=["run"])
    await scene.route()

    def spoil(unit: Unit) -> None:
        rule = unit.resources.get(f"{ENVIRONMENT}/alertRules/failures")
        assert rule is not None
        message = ALERT_RULES.read(rule)
        del message.group_by[:]
        message.group_by.append("a word of a later version")
        scene.catalog.update(unit, ALERT_RULES, message, FieldMask(), ME, is_checked=True)

    await scene.store.transact(spoil)
    await scene.declare_rule("others", match={"types": ["lane.*"]}, order=-1)
    await scene.happen("phase.failed", "lane.failed")
    await scene.route()
    lost, told = await scene.deliveries()
    assert (lost.state, lost.rule, lost.failure and lost.failure.reason) == (
        DeliveryState.UNDELIVERABLE,
        "",
        "UNTELLABLE",
    )
    assert (told.rule, told.state) == ("others", DeliveryState.WAITING)
