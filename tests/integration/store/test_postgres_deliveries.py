"""Deliveries and incidents of engines beside each other on one PostgreSQL: each made once, and claimed by one."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial

from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.ports.store import Unit
from tests.contract.store.deliveries import PROD, delivery, incident, pending
from tests.contract.store.records import NOW
from tests.integration.store.overlapping import with_patience


async def test_a_thread_that_two_engines_tell_at_once_has_one_open_delivery(
    store: PostgresStore, second: PostgresStore
) -> None:
    both_looked = threading.Barrier(2)

    def gather(unit: Unit, entry: int) -> None:
        waiting = unit.deliveries.newest(["t"]).get("t")
        with_patience(both_looked)
        if waiting is None:
            unit.deliveries.insert([replace(delivery(f"of {entry}"), thread="t", entries=[entry])])
        else:
            waiting.entries.append(entry)
            unit.deliveries.save([waiting])

    await asyncio.gather(*(each.transact(partial(gather, entry=entry)) for entry, each in enumerate((store, second))))
    (kept,) = await store.read(lambda unit: unit.deliveries.due(NOW, 9))
    assert sorted(kept.entries) == [0, 1]


async def test_what_two_engines_make_with_the_same_key_at_once_is_made_once(
    store: PostgresStore, second: PostgresStore
) -> None:
    both_looked = threading.Barrier(2)
    made = [replace(delivery(f"by {number}"), key="k") for number in range(2)]

    def make(unit: Unit, mine: Delivery) -> None:
        unit.hosts.list()  # the snapshot is taken
        with_patience(both_looked)
        unit.deliveries.insert([mine])

    await asyncio.gather(
        *(each.transact(partial(make, mine=mine)) for each, mine in zip((store, second), made, strict=True))
    )
    (kept,) = await store.read(lambda unit: unit.deliveries.due(NOW, 9))
    assert sorted(each.version for each in made) == [0, 1]
    assert [each.name for each in made if each.version] == [kept.name]


async def test_a_thread_of_which_two_engines_hear_at_once_has_one_open_incident(
    store: PostgresStore, second: PostgresStore
) -> None:
    both_looked = threading.Barrier(2)

    def open_one(unit: Unit, name: str) -> str:
        known = unit.incidents.open_of(["t"])
        with_patience(both_looked)
        if not known:
            unit.incidents.insert([replace(incident(name), thread="t")])
        return known["t"].id if known else name

    outcomes = await asyncio.gather(
        *(each.transact(partial(open_one, name=name)) for name, each in zip("ab", (store, second), strict=True))
    )
    assert len(set(outcomes)) == 1


async def test_a_delivery_is_claimed_by_one_of_two_engines(store: PostgresStore, second: PostgresStore) -> None:
    await store.transact(lambda unit: unit.deliveries.insert([pending(f"{number:02}") for number in range(60)]))

    def claim(unit: Unit) -> list[str]:
        claimed = unit.deliveries.claimable("smtp", PROD, NOW, 10)
        for each in claimed:
            each.state, each.lease_until = DeliveryState.SENDING, NOW + timedelta(seconds=30)
        unit.deliveries.save(claimed)
        return [each.name for each in claimed]

    shares = await asyncio.gather(*((store, second)[number % 2].transact(claim) for number in range(7)))
    assert sorted(len(share) for share in shares) == [0, 10, 10, 10, 10, 10, 10]
    assert len({name for share in shares for name in share}) == 60
