"""Following the stream while many write it at once: nothing is missed, though entries become visible in another order than numbered.

The negative control follows it by number alone, as one is tempted to, and misses some: so the harness does bring the danger about.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import psycopg
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.clock import START

WRITERS = 8
ENTRIES_EACH = 60
PAGE = 20
PAGES_MAX = 20_000
INSERT = """
    INSERT INTO feed_entry (xid, time, type, subject, actor, from_state, to_state, version, revision, detail)
    VALUES (pg_current_xact_id()::text::bigint, 0, 'create', %s, 'test', '', '', 1, '', '')
"""


def append(unit: Unit, subject: str) -> None:
    unit.audit.append(AuditEntry(START, "test", "create", subject, 1))


def write_in_order_but_commit_in_reverse(url: str, names: Sequence[str]) -> Iterator[None]:
    """Transactions that begin and number their entries in order, and commit the last first; it stops before each commit."""
    with ExitStack() as stack:
        connections = [stack.enter_context(psycopg.connect(url)) for _ in names]
        for connection, name in zip(connections, names, strict=True):
            connection.execute(INSERT, (name,))
        for connection in reversed(connections):
            yield
            connection.commit()


async def test_an_entry_that_commits_late_is_not_passed_over(postgres_database: str) -> None:
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    names = ["a", "b", "c"]
    cursor, last = "", 0
    seen: list[str] = []
    by_number: list[str] = []

    async def look() -> None:
        nonlocal cursor, last
        entries, cursor = await store.read(lambda unit: unit.feed.after(cursor, PAGE))
        seen.extend(entry.subject for entry in entries)
        trail = await store.read(lambda unit: unit.audit.list(last, PAGE))
        by_number.extend(entry.subject for entry in trail)
        last = trail[-1].sequence if trail else last

    for _ in write_in_order_but_commit_in_reverse(postgres_database, names):
        await look()
    await look()
    await store.close()
    assert seen == names
    assert by_number == ["c"], "whoever goes by the number alone never sees the other two"


async def test_an_entry_is_held_back_while_an_older_transaction_is_under_way(postgres_database: str) -> None:
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    with psycopg.connect(postgres_database) as older:
        older.execute(INSERT, ("old",))
        await store.transact(lambda unit: append(unit, "new"))
        assert await store.read(lambda unit: unit.feed.after("", PAGE)) == ([], "")
        assert await store.read(lambda unit: unit.feed.end()) == ""
        assert list(await store.transact(lambda unit: unit.outbox.claim("mail", PAGE, START, START))) == []
        older.rollback()
    entries, _ = await store.read(lambda unit: unit.feed.after("", PAGE))
    assert [entry.subject for entry in entries] == ["new"]
    await store.close()


def write_at_random(url: str, writer: int, ready: threading.Barrier) -> None:
    """Commits entries that were numbered some time before, as transactions of different lengths do."""
    rng = random.Random(writer)
    with psycopg.connect(url) as connection:
        ready.wait()
        number = 0
        while number < ENTRIES_EACH:
            for _ in range(rng.randint(1, 3)):
                connection.execute(INSERT, (f"{writer}-{number}",))
                connection.execute("SELECT count(*) FROM generate_series(1, %s)", (rng.choice([1, 1_000, 20_000]),))
                number += 1
            if rng.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()


def is_quiet(url: str) -> bool:
    """Whether no transaction is under way that is older than an entry; the server's own housekeeping has some, too."""
    with psycopg.connect(url) as connection:
        oldest = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        row = connection.execute(f"SELECT coalesce(max(xid), 0) < {oldest} FROM feed_entry").fetchone()
    return row is not None and bool(row[0])


def committed(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {subject for (subject,) in connection.execute("SELECT subject FROM feed_entry")}


@pytest.mark.parametrize("way", ["feed", "outbox", "number alone"])
async def test_followers_beside_many_writers_miss_nothing_unless_they_go_by_the_number(
    postgres_database: str, way: str
) -> None:
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    ready = threading.Barrier(WRITERS)
    writers = [
        threading.Thread(target=write_at_random, args=(postgres_database, number, ready)) for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    seen = await follow(store, way, writers, postgres_database)
    for writer in writers:
        writer.join()
    await store.close()
    missed = committed(postgres_database) - set(seen)
    assert len(seen) == len(set(seen)), "none comes twice"
    if way == "number alone":
        assert missed, "the control must miss some, or the test proves nothing"
    else:
        assert missed == set()


async def follow(store: PostgresStore, way: str, writers: Sequence[threading.Thread], url: str) -> list[str]:
    """Everything that is read until the writers have ended and nothing is left."""
    seen: list[str] = []
    cursor, last = "", 0
    for _ in range(PAGES_MAX):
        is_over = not any(writer.is_alive() for writer in writers) and is_quiet(url)
        if way == "feed":
            entries, cursor = await store.read(lambda unit, cursor=cursor: unit.feed.after(cursor, PAGE))  # type: ignore[misc]  # bound
            found = [entry.subject for entry in entries]
        elif way == "outbox":
            found = await store.transact(take)
        else:
            trail = await store.read(lambda unit, last=last: unit.audit.list(last, PAGE))  # type: ignore[misc]  # bound
            found = [entry.subject for entry in trail]
            last = trail[-1].sequence if trail else last
        seen.extend(found)
        if is_over and not found:
            return seen
    raise AssertionError("the writers never end")


def take(unit: Unit) -> list[str]:
    claims = unit.outbox.claim("mail", PAGE, START, START)
    unit.outbox.done("mail", [claim.entry.id for claim in claims])
    return [claim.entry.subject for claim in claims]


async def test_a_stream_that_was_restored_from_another_servers_dump_goes_on(postgres_database: str) -> None:
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    for subject in ("a", "b", "c"):
        await store.transact(lambda unit, name=subject: append(unit, name))  # type: ignore[misc]  # bound
    first = await store.transact(lambda unit: unit.outbox.claim("mail", 2, START, START.replace(year=2100)))
    await store.transact(lambda unit: unit.outbox.begin("late", ""))
    await store.close()
    with psycopg.connect(postgres_database) as dump:  # that server was far ahead of this one
        dump.execute("UPDATE feed_entry SET xid = xid + 1000000000")
        dump.execute("UPDATE feed_consumer SET xid = xid + 1000000000 WHERE name = 'mail'")
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    await store.transact(lambda unit: append(unit, "d"))
    entries, _ = await store.read(lambda unit: unit.feed.after("", PAGE))
    left = await store.transact(lambda unit: unit.outbox.claim("mail", PAGE, START, START.replace(year=2100)))
    late = await store.transact(take_as_late)
    await store.close()
    assert [entry.subject for entry in entries] == ["a", "b", "c", "d"]
    assert [claim.entry.subject for claim in first] == ["a", "b"]
    assert [claim.entry.subject for claim in left] == ["c", "d"]
    assert late == ["a", "b", "c", "d"]


def take_as_late(unit: Unit) -> list[str]:
    return [claim.entry.subject for claim in unit.outbox.claim("late", PAGE, START, START)]
