"""Engines that write and seal at once on one PostgreSQL: every chain stays whole, and no seal is made around a transaction under way."""

import asyncio
import random
from functools import partial

import psycopg

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.application.audit.verifying import Verifying
from pymigrate.engine.ports.store import Unit
from tests.contract.store.records import BoomError
from tests.integration.store.audited import KEY, PostgresServer, deed, sealing, verified

WRITERS, ENTRIES_EACH = 12, 15


def write(unit: Unit, number: int, *, is_failing: bool) -> None:
    unit.audit.append_all([deed(number), deed(number)])
    if is_failing:
        raise BoomError


async def test_chains_of_many_connections_stay_whole_while_units_fail_and_several_engines_seal(
    store: PostgresStore, second: PostgresStore
) -> None:
    rng = random.Random(5)
    is_done = asyncio.Event()

    async def seal(engine: PostgresStore) -> int:
        made = 0
        while not is_done.is_set():
            made += await sealing(engine, SystemClock()).step()
        return made

    async def writing(engine: PostgresStore) -> int:
        kept = 0
        for number in range(ENTRIES_EACH):
            is_failing = rng.random() < 0.3
            outcome = await asyncio.gather(
                engine.transact(partial(write, number=number, is_failing=is_failing)), return_exceptions=True
            )
            kept += 0 if isinstance(outcome[0], BoomError) else 2
        return kept

    sealers = [asyncio.create_task(seal(engine)) for engine in (store, second)]
    kept = await asyncio.gather(*(writing(engine) for engine in [store, second] * (WRITERS // 2)))
    is_done.set()
    made = await asyncio.gather(*sealers)
    await sealing(store, SystemClock()).step()
    verdict = await Verifying(store, KEY.is_signed).verify()
    assert (verdict.fault, verdict.event_count, verdict.unsealed_count) == (None, sum(kept), 0)
    assert verdict.seal_count >= sum(made) > 1
    assert verdict.chain_count > 1


async def test_no_seal_is_made_around_a_transaction_under_way(postgres_database: str, store: PostgresStore) -> None:
    with psycopg.connect(postgres_database) as older:
        older.execute("SELECT pg_current_xact_id()")
        await store.transact(lambda unit: unit.audit.append(deed(1)))
        assert await sealing(store).step() == 0
        older.rollback()
    assert await sealing(store).step() == 1
    assert (await verified(PostgresServer(postgres_database))).unsealed_count == 0


async def test_of_two_that_make_the_same_seal_one_is_let_through_and_the_other_finds_nothing_left(
    store: PostgresStore, second: PostgresStore
) -> None:
    await store.transact(lambda unit: unit.audit.append(deed(1)))
    made = await asyncio.gather(*(sealing(each).step() for each in (store, second)))
    assert sorted(made) == [0, 1]
    assert len(await store.read(lambda unit: unit.seals.list(0, 9))) == 1
