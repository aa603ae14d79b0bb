"""Housekeeping: answers to calls and messages that have ended are forgotten in time, in small units, and nothing else is."""

from datetime import timedelta

import pytest

from pymigrate.engine.application.housekeeping import FORGOTTEN_MAX, Housekeeping
from pymigrate.engine.application.requests import KEPT_HOURS, Requests
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from tests.contract.store.deliveries import PROD, delivery, incident

KEPT_DAYS = 400
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still."""
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    """Nothing is kept."""
    return MemoryStore()


@pytest.fixture
def housekeeping(store: MemoryStore, clock: ManualClock) -> Housekeeping:
    """Messages are kept for KEPT_DAYS."""
    return Housekeeping(store, Requests(clock), clock, KEPT_DAYS)


def old(
    id: str, clock: ManualClock, days: float = KEPT_DAYS + 1, state: DeliveryState = DeliveryState.DEAD
) -> Delivery:
    return delivery(id, create_time=clock.now() - days * DAY, state=state)


async def left(store: MemoryStore) -> set[str]:
    found = await store.read(lambda unit: unit.deliveries.list(DeliveryFilter(PROD), None, 10**6))
    return {each.name.rpartition("/")[2] for each in found}


async def test_messages_are_kept_for_so_many_days_and_longer_while_something_is_to_be_done(
    store: MemoryStore, housekeeping: Housekeeping, clock: ManualClock
) -> None:
    made = [old("old", clock), old("young", clock, KEPT_DAYS), old("waits", clock, state=DeliveryState.WAITING)]
    await store.transact(lambda unit: unit.deliveries.insert(made))
    await housekeeping.step()
    assert await left(store) == {"young", "waits"}
    clock.advance(1)
    await housekeeping.step()
    assert await left(store) == {"waits"}


async def test_incidents_that_have_ended_are_kept_as_long(
    store: MemoryStore, housekeeping: Housekeeping, clock: ManualClock
) -> None:
    before = clock.now() - (KEPT_DAYS + 1) * DAY
    made = [incident("ended", open_time=before, next_time=None), incident("open", open_time=before)]
    await store.transact(lambda unit: unit.incidents.insert(made))
    await housekeeping.step()
    assert await store.read(lambda unit: unit.incidents.get("ended")) is None
    assert await store.read(lambda unit: unit.incidents.get("open")) is not None


async def test_answers_to_calls_are_kept_for_a_day(
    store: MemoryStore, housekeeping: Housekeeping, clock: ManualClock
) -> None:
    await store.transact(lambda unit: unit.requests.put("m", "1", b"", b"answer", clock.now()))
    clock.advance(KEPT_HOURS * 3_600)
    await housekeeping.step()
    assert await store.read(lambda unit: unit.requests.get("m", "1")) == (b"", b"answer")
    clock.advance(1)
    await housekeeping.step()
    assert await store.read(lambda unit: unit.requests.get("m", "1")) is None


async def test_more_than_fits_into_a_unit_is_forgotten_in_several(
    store: MemoryStore, housekeeping: Housekeeping, clock: ManualClock
) -> None:
    made = [old(str(number), clock) for number in range(2 * FORGOTTEN_MAX + 1)]
    await store.transact(lambda unit: unit.deliveries.insert(made))
    await housekeeping.step()
    assert await left(store) == set()
