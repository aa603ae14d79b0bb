"""Deliveries that were not confirmed in time: told once each, and no message about messages tells of itself."""

import asyncio
from typing import Any

import pytest

from pymigrate.engine.application.findings import Finding, finding_of
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.overdue import INTERVAL_SECONDS, Overdue
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.ports.metric_families import NOTIFICATIONS_AGREED
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics
from tests.unit.application.test_board import FailingStore
from tests.unit.domain.delivered import NOW, later, pending


class Ledger:
    """Deliveries, and who looks at them."""

    def __init__(self) -> None:
        self.store, self.clock = FailingStore(), ManualClock(NOW)
        self.metrics, self.bell = MemoryMetrics(), WorkBell()
        self.overdue = Overdue(self.store, NotificationMetrics(self.metrics), self.clock, self.bell)

    async def make(self, *deliveries: Delivery) -> None:
        await self.store.transact(lambda unit: unit.deliveries.insert(deliveries))

    async def happen(self, action: str) -> int:
        """Something happened; its number in the stream."""

        def work(unit: Unit) -> int:
            unit.audit.append(AuditEntry(NOW, "me", action, "environments/e/plans/p", 1))
            return unit.audit.list(0, 1_000)[-1].sequence

        return await self.store.transact(work)

    async def entries(self) -> list[AuditEntry]:
        found = await self.store.read(lambda unit: unit.audit.list(0, 1_000))
        return [entry for entry in found if entry.action == "notification.overdue"]

    def late(self) -> dict[tuple[str, ...], float]:
        return self.metrics.values[NOTIFICATIONS_AGREED]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def test_what_is_not_confirmed_in_time_is_told_once(ledger: Ledger) -> None:
    await ledger.make(pending(run="environments/e/plans/p/runs/r", confirm_by_time=later(60)))
    ledger.clock.advance(59)
    assert await ledger.overdue.step() == 0
    ledger.clock.advance(1)
    assert await ledger.overdue.step() == 1
    assert await ledger.overdue.step() == 0
    (entry,) = await ledger.entries()
    assert (entry.subject, entry.actor) == ("environments/e/deliveries/d1", "engine")
    assert finding_of(entry.detail) == Finding(
        rule="failures",
        value=60.0,
        bound=60.0,
        run="environments/e/plans/p/runs/r",
        text="What tells ann by mail was not accepted within 1 min: it is pending.",
    )
    assert (ledger.late(), ledger.bell.rung) == ({("e", "late"): 1.0}, 1)


async def test_what_was_confirmed_late_before_anybody_looked_is_told_with_how_long_it_took(ledger: Ledger) -> None:
    fields: dict[str, Any] = {"confirm_by_time": later(60), "state": DeliveryState.ACCEPTED}
    await ledger.make(pending(1, accept_time=later(75), **fields), pending(2, accept_time=later(60), **fields))
    ledger.clock.advance(80)
    await ledger.overdue.step()
    (entry,) = await ledger.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert found.text == "What tells ann by mail was not accepted within 1 min: it took 1 min 15 s."


async def test_what_only_tells_of_deliveries_is_counted_and_makes_no_entry_of_its_own(ledger: Ledger) -> None:
    about, other = await ledger.happen("notification.dead"), await ledger.happen("approve")
    await ledger.make(
        pending(1, entries=[about], confirm_by_time=NOW), pending(2, entries=[about, other], confirm_by_time=NOW)
    )
    assert await ledger.overdue.step() == 2
    assert [entry.subject for entry in await ledger.entries()] == ["environments/e/deliveries/d2"]
    assert ledger.late() == {("e", "late"): 2.0}


async def test_what_was_silenced_is_not_late(ledger: Ledger) -> None:
    await ledger.make(pending(state=DeliveryState.SUPPRESSED, confirm_by_time=NOW))
    assert await ledger.overdue.step() == 0
    assert await ledger.store.read(lambda unit: unit.deliveries.overdue(NOW, 9)) == []


async def test_a_failed_write_is_made_good_and_counted_once(ledger: Ledger) -> None:
    await ledger.make(pending(confirm_by_time=NOW))
    ledger.store.writes_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await ledger.overdue.step()
    assert (await ledger.entries(), ledger.late()) == ([], {})
    await ledger.overdue.step()
    assert (len(await ledger.entries()), ledger.late()) == (1, {("e", "late"): 1.0})


async def test_the_loop_goes_on_after_the_store_was_away(ledger: Ledger) -> None:
    await ledger.make(pending(confirm_by_time=NOW))
    ledger.store.reads_to_fail = 1
    looking = asyncio.create_task(ledger.overdue.run_loop())
    await ledger.clock.run_for(INTERVAL_SECONDS)
    looking.cancel()
    assert len(await ledger.entries()) == 1
