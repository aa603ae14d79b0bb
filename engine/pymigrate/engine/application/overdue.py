"""Deliveries that were not confirmed by the time that was agreed with those who are told: each becomes one entry of the stream."""

from collections.abc import Collection
from datetime import datetime

import structlog

from pymigrate.engine.application.about_deliveries import about_deliveries
from pymigrate.engine.application.findings import DELIVERY_OVERDUE, Finding
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.spelling import spell_seconds
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import AuditEntry, Store, Unit

log = structlog.get_logger(__name__)
INTERVAL_SECONDS = 1.0
AT_ONCE_MAX = 500


class Overdue:
    """Looks for them. `bell` is rung when there is something to be told."""

    def __init__(self, store: Store, metrics: NotificationMetrics, clock: Clock, bell: WorkBell) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._bell = bell

    async def run_loop(self) -> None:
        """Looks until it is cancelled. What the store does not do now is done later."""
        while True:
            count = 0
            try:
                count = await self.step()
            except PyMigrateError as error:
                log.warning("overdue.not_told", error=error.message)
            await self._clock.sleep(0.0 if count == AT_ONCE_MAX else INTERVAL_SECONDS)

    async def step(self) -> int:
        """One look; how many it found."""
        now = self._clock.now()
        if not await self._store.read(lambda unit: unit.deliveries.overdue(now, 1)):
            return 0
        found = await self._store.transact(lambda unit: _tell(unit, now))
        self._metrics.count_late(found)
        if found:
            self._bell.ring()
        return len(found)


def _tell(unit: Unit, now: datetime) -> Collection[Delivery]:
    """What is suppressed was not to be told; all of it is noted, so that it is looked at once."""
    found = unit.deliveries.overdue(now, AT_ONCE_MAX)
    unit.deliveries.note_overdue([delivery.name for delivery in found])
    late = [delivery for delivery in found if delivery.state is not DeliveryState.SUPPRESSED]
    silent = about_deliveries(unit, late)
    for delivery in late:
        if delivery.name not in silent:
            unit.audit.append(
                AuditEntry(now, ENGINE, DELIVERY_OVERDUE, delivery.name, 0, _found(delivery, now).detail())
            )
    return late


def _found(delivery: Delivery, now: datetime) -> Finding:
    by = delivery.confirm_by_time or now
    agreed = (by - delivery.due_time).total_seconds()
    took = ((delivery.confirm_time or now) - delivery.due_time).total_seconds()
    state = f"it is {delivery.state}" if delivery.confirm_time is None else f"it took {spell_seconds(took)}"
    whom = f"{delivery.stakeholder} by {delivery.channel}"
    text = f"What tells {whom} was not {delivery.confirm_state} within {spell_seconds(agreed)}: {state}."
    return Finding(delivery.rule, value=took, bound=agreed, run=delivery.run, text=text)
