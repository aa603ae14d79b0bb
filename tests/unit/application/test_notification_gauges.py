"""Gauges of what is still to be sent or was given up."""

import asyncio

from pymigrate.engine.application.notification_gauges import COLLECTOR, INTERVAL_SECONDS, NotificationGauges
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.testing.metrics import MemoryMetrics
from tests.unit.application.engines import Engine
from tests.unit.application.noticed import declare_notices
from tests.unit.application.test_board import FailingStore
from tests.unit.domain.delivered import NOW, later, pending


async def gauged(engine: Engine) -> tuple[NotificationGauges, MemoryMetrics]:
    """An environment with a few deliveries, thirty seconds after NOW."""
    await declare_notices(engine)
    made = [
        pending(1),
        pending(2, due_time=later(20)),
        pending(3, state=DeliveryState.WAITING, due_time=later(500)),
        pending(4, state=DeliveryState.DEAD, due_time=later(-500)),
        pending(5, state=DeliveryState.ACCEPTED, accept_time=NOW),
    ]
    await engine.store.transact(lambda unit: unit.deliveries.insert(made))
    engine.clock.advance(30 - (engine.clock.now() - NOW).total_seconds())
    gauges, metrics = NotificationGauges(engine.store, engine.clock), MemoryMetrics()
    gauges.tell(metrics)
    return gauges, metrics


async def test_what_waits_what_was_given_up_and_how_old_the_oldest_is_are_told(engine: Engine) -> None:
    gauges, metrics = await gauged(engine)
    await gauges.step()
    assert metrics.read(COLLECTOR) == {
        "pymigrate_notifications_waiting": {("e", "pending"): 2, ("e", "sending"): 0, ("e", "waiting"): 1},
        "pymigrate_notifications_failed": {("e", "dead"): 1, ("e", "undeliverable"): 0},
        "pymigrate_notification_lag_seconds": {("e",): 30.0},
    }
    engine.clock.advance(1)
    assert metrics.read(COLLECTOR)["pymigrate_notification_lag_seconds"] == {("e",): 31.0}


async def test_what_only_waits_for_its_time_is_no_lag(engine: Engine) -> None:
    gauges, metrics = await gauged(engine)
    made = await engine.store.read(lambda unit: unit.deliveries.get_all([pending(1).name, pending(2).name]))
    for delivery in made:
        delivery.state, delivery.accept_time = DeliveryState.ACCEPTED, NOW
    await engine.store.transact(lambda unit: unit.deliveries.save(made))
    await gauges.step()
    assert metrics.read(COLLECTOR)["pymigrate_notification_lag_seconds"] == {("e",): 0.0}


async def test_the_loop_goes_on_after_the_store_was_away() -> None:
    store = FailingStore()
    engine = Engine(store)
    gauges, metrics = await gauged(engine)
    store.reads_to_fail = 1
    reading = asyncio.create_task(gauges.run_loop())
    await engine.clock.run_for(0)
    assert metrics.read(COLLECTOR)["pymigrate_notification_lag_seconds"] == {}
    await engine.clock.run_for(INTERVAL_SECONDS)
    assert metrics.read(COLLECTOR)["pymigrate_notification_lag_seconds"] == {("e",): 35.0}
    reading.cancel()
