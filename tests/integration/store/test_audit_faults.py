"""Whoever alters the tables of a store behind the engine's back is found out, on both databases, and the first place that does not hold is
named.

The owner of a database can take the triggers away, which is what these tests do; that the tables refuse anybody else is tested at the end.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pymigrate.engine.domain.audit_chain import Seal, link_hash
from pymigrate.engine.domain.audit_verification import FaultKind
from pymigrate.engine.ports.audit import AuditFilter
from tests.integration.store.audited import (
    FOREIGN_KEY,
    KEY,
    RUNS,
    Place,
    PostgresServer,
    SqliteFile,
    sealing,
    sequences,
    steps_and_deeds,
    verified,
    written,
)
from tests.servers import POSTGRES_PLACES, PostgresCluster, empty_database

SEALS = 3
RUN = RUNS[0]


@pytest.fixture(params=["sqlite", "postgres"])
def empty_place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_clusters: Callable[[str], PostgresCluster]
) -> Iterator[Place]:
    """Where there is no store yet."""
    if request.param == "sqlite":
        yield SqliteFile(tmp_path / "store")
        return
    with empty_database(postgres_clusters(POSTGRES_PLACES[0])) as url:
        yield PostgresServer(url)


@pytest.fixture
async def place(empty_place: Place) -> Place:
    """A trail that was sealed three times, and whose last eight entries are not."""
    store = await empty_place.opened()
    await written(store, SEALS, unsealed_rounds=1)
    await store.close()
    return empty_place


async def writers_chain(place: Place) -> str:
    """The chain that deeds are in; of one store that is not closed in between, which does one thing after the other, there is one."""
    ((chain,),) = place.run("SELECT DISTINCT chain FROM feed_entry WHERE chain IS NOT NULL")
    return str(chain)


async def test_a_trail_that_nobody_touched_holds(place: Place) -> None:
    verdict = await verified(place)
    assert verdict.fault is None
    assert (verdict.event_count, verdict.chain_count, verdict.seal_count, verdict.unsealed_count) == (32, 3, 3, 8)


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'eve'",
        "subject = 'environments/prod'",
        "time = time + 1",
        "detail = ''",
        "origin = NULL",
        "outcome = 'ABORTED'",
        "after_digest = ''",
        "hash = substr(hash, 2)",
    ],
)
async def test_an_altered_entry_is_found_and_named(place: Place, change: str) -> None:
    third = sequences(place, await writers_chain(place))[2]
    place.run(f"UPDATE feed_entry SET {change} WHERE id = ?", third)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.place) == (FaultKind.ALTERED, third, 3)


@pytest.mark.parametrize("change", ["to_state = 'done'", "failure = NULL", "actor = 'eve'", "revision = ''"])
async def test_an_altered_step_of_a_run_is_found_and_named(place: Place, change: str) -> None:
    third = sequences(place, RUN)[2]
    place.run(f"UPDATE feed_entry SET {change} WHERE id = ?", third)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.chain, fault.place) == (FaultKind.ALTERED, third, RUN, 3)


async def test_an_entry_that_is_removed_amid_its_chain_is_found_and_the_one_behind_it_named(place: Place) -> None:
    numbers = sequences(place, RUN)
    place.run("DELETE FROM feed_entry WHERE id = ?", numbers[4])
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.chain, fault.place) == (FaultKind.REMOVED, numbers[5], RUN, 5)


async def test_the_first_entry_of_a_chain_is_missed_too(place: Place) -> None:
    numbers = sequences(place, RUN)
    place.run("DELETE FROM feed_entry WHERE id = ?", numbers[0])
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.place) == (FaultKind.REMOVED, numbers[1], 1)


async def test_entries_that_changed_places_are_found(place: Place) -> None:
    first, second = sequences(place, RUN)[1:3]
    for old, new in ((first, -1), (second, first), (-1, second)):
        place.run("UPDATE feed_entry SET id = ? WHERE id = ?", new, old)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.chain, fault.place) == (FaultKind.REORDERED, second, RUN, 2)


async def test_the_sealed_end_of_a_chain_can_not_be_cut_off(place: Place) -> None:
    sealed = SEALS * 3
    gone = sequences(place, RUN)[sealed - 2 :]
    place.run(f"DELETE FROM feed_entry WHERE id IN ({', '.join(map(str, gone))})")
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.chain, fault.place) == (FaultKind.TRUNCATED, 0, RUN, sealed - 1)
    assert fault.seal == SEALS


async def test_a_whole_sealed_chain_is_missed(place: Place) -> None:
    place.run("DELETE FROM feed_entry WHERE run = ?", RUN)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.chain, fault.place, fault.seal) == (FaultKind.TRUNCATED, RUN, 1, 1)


async def test_a_chain_that_was_written_anew_with_right_hashes_is_found_by_its_seal(place: Place) -> None:
    store = await place.opened()
    passed = (await store.read(lambda unit: unit.seals.passed("", "", 99))).entries
    await store.close()
    chain = [each for each in passed if each.chain == RUN]
    previous = chain[0].hash
    for entry in chain[1:]:
        forged = entry._replace(principal="eve")
        previous = link_hash(previous, forged)
        place.run("UPDATE feed_entry SET actor = 'eve', hash = ? WHERE id = ?", previous, entry.sequence)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence, fault.chain, fault.seal) == (FaultKind.ALTERED, chain[2].sequence, RUN, 1)


async def test_an_entry_that_somebody_added_is_found(place: Place) -> None:
    columns = "xid, time, type, subject, actor, from_state, to_state, version, revision, detail, chain, place, hash"
    copied = columns.replace("actor", "'eve'").replace("place", "place + 1")
    chain = await writers_chain(place)
    place.run(
        f"INSERT INTO feed_entry ({columns}) SELECT {copied}"
        " FROM feed_entry WHERE chain = ? ORDER BY place DESC LIMIT 1",
        chain,
    )
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.chain, fault.place) == (FaultKind.ALTERED, chain, 9)


async def test_an_entry_without_a_link_is_no_entry_from_before_there_were_chains(place: Place) -> None:
    third = sequences(place, await writers_chain(place))[2]
    place.run("UPDATE feed_entry SET hash = NULL, chain = NULL, place = NULL, actor = 'eve' WHERE id = ?", third)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.sequence) == (FaultKind.ALTERED, third)


@pytest.mark.parametrize(
    ("statement", "seal"),
    [
        ("UPDATE audit_seal SET time = time + 1 WHERE number = 2", 2),
        ("UPDATE audit_seal SET root = previous WHERE number = 2", 2),
        ("UPDATE audit_seal SET signature = hash FROM audit_seal_head WHERE number = 2", 2),
        ("UPDATE audit_seal SET number = 9 WHERE number = 3", 9),
        ("DELETE FROM audit_seal WHERE number = 2", 3),
        ("UPDATE audit_seal_head SET place = place - 1 WHERE seal = 2", 2),
        ("DELETE FROM audit_seal_head WHERE seal = 2 AND chain LIKE 'writers%'", 2),
    ],
)
async def test_a_seal_that_was_altered_or_removed_is_found_and_named(place: Place, statement: str, seal: int) -> None:
    place.run(statement.replace("'writers%'", "'writers%%'") if isinstance(place, PostgresServer) else statement)
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.seal) == (FaultKind.SEAL_BROKEN, seal)


async def test_what_is_sealed_with_another_key_is_no_seal(place: Place) -> None:
    place.run("DELETE FROM audit_seal_head")
    place.run("DELETE FROM audit_seal")
    store = await place.opened()
    await sealing(store, key=FOREIGN_KEY).step()
    await store.close()
    fault = (await verified(place)).fault
    assert fault is not None
    assert (fault.kind, fault.seal) == (FaultKind.SEAL_BROKEN, 1)
    assert (await verified(place, key=FOREIGN_KEY)).fault is None


async def seals_of(place: Place) -> list[Seal]:
    store = await place.opened()
    found = await store.read(lambda unit: unit.seals.list(0, 9))
    await store.close()
    return list(found)


async def test_seals_that_were_cut_off_with_what_they_sealed_are_missed_by_who_kept_one(place: Place) -> None:
    known = (await seals_of(place))[-1]
    assert (await verified(place, known)).fault is None
    ((last,),) = place.run("SELECT entry FROM audit_seal WHERE number = 2")
    place.run("DELETE FROM feed_entry WHERE id > ?", last)
    place.run("DELETE FROM audit_seal_head WHERE seal = 3")
    place.run("DELETE FROM audit_seal WHERE number = 3")
    assert (await verified(place)).fault is None, "the store alone can not tell"
    fault = (await verified(place, known)).fault
    assert fault is not None
    assert (fault.kind, fault.seal) == (FaultKind.SEAL_BROKEN, 3)


async def test_a_trail_that_was_forged_with_the_engines_own_key_is_found_by_who_kept_a_seal(place: Place) -> None:
    known = (await seals_of(place))[-1]
    place.run("DELETE FROM audit_seal_head")
    place.run("DELETE FROM audit_seal")
    last = sequences(place, RUN)[-1]
    place.run("DELETE FROM feed_entry WHERE id = ?", last)
    store = await place.opened()
    for _ in range(SEALS):
        await sealing(store, key=KEY).step()
    await store.close()
    assert (await verified(place)).fault is None
    fault = (await verified(place, known)).fault
    assert fault is not None
    assert fault.kind is FaultKind.SEAL_BROKEN


async def test_what_is_cut_off_of_the_unsealed_end_shows_nowhere_and_how_much_is_unsealed_is_told(place: Place) -> None:
    last = sequences(place, RUN)[-1]
    place.run("DELETE FROM feed_entry WHERE id = ?", last)
    verdict = await verified(place)
    assert (verdict.fault, verdict.unsealed_count) == (None, 7)


async def test_a_store_that_is_opened_again_goes_on_with_its_chains(place: Place) -> None:
    for number in (4, 5):
        store = await place.opened()
        for work in steps_and_deeds(number):
            await store.transact(work)
        await store.close()
    verdict = await verified(place)
    assert (verdict.fault, verdict.chain_count, verdict.event_count) == (None, 3, 48)


REFUSED = [
    "UPDATE feed_entry SET actor = 'eve' WHERE id = 1",
    "UPDATE feed_entry SET hash = NULL",
    "DELETE FROM feed_entry WHERE id = 1",
    "DELETE FROM feed_entry",
]


@pytest.mark.parametrize("statement", [*REFUSED, "TRUNCATE feed_entry CASCADE"])
async def test_postgres_itself_changes_no_entry_and_takes_none_away(postgres_database: str, statement: str) -> None:
    place = PostgresServer(postgres_database)
    store = await place.opened()
    await written(store, 1)
    await store.close()
    with psycopg.connect(postgres_database) as connection, pytest.raises(psycopg.Error, match="only added to"):
        connection.execute(statement)
    assert (await verified(place)).fault is None


@pytest.mark.parametrize("statement", REFUSED)
async def test_sqlite_itself_changes_no_entry_and_takes_none_away(tmp_path: Path, statement: str) -> None:
    place = SqliteFile(tmp_path / "store")
    store = await place.opened()
    await written(store, 1)
    found = await store.read(lambda unit: unit.audit.find(AuditFilter(), 0, 99))
    await store.close()
    connection = sqlite3.connect(place.path)
    with pytest.raises(sqlite3.IntegrityError, match="only added to"):
        connection.execute(statement)
    connection.close()
    assert len(found.entries) == (await verified(place)).event_count
