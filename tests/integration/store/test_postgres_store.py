"""What the store on PostgreSQL does beyond the contract: engines beside each other, conflicts, lost connections, what it tells."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from functools import partial

import psycopg
import pytest
from sqlalchemy import event as listening
from structlog.testing import capture_logs

from pymigrate.engine.adapters.store.postgres import TRIES_MAX, PostgresStore
from pymigrate.engine.adapters.store.postgres_session import CONNECTIONS_MAX, connected, store_url
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    PyMigrateError,
    StaleWrite,
    StoreUnavailable,
)
from pymigrate.engine.domain.run import Lane, Run, RunAggregate
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit
from pymigrate.engine.testing.clock import START, ManualClock
from tests.integration.store.overlapping import opened, with_patience
from tests.servers import free_port

RUN = "environments/prod/plans/warehouse/runs/r1"
KILL_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def appending(subject: str) -> Callable[[Unit], None]:
    return lambda unit: unit.audit.append(AuditEntry(START, "test", "append", subject, 1))


def resource(name: str, parent: str = "") -> Resource:
    return Resource(name, "plans", parent, f"uid of {name}", 1, b"", START, START, "api")


async def subjects(store: PostgresStore) -> list[str]:
    return [entry.subject for entry in await store.read(lambda unit: list(unit.audit.list(0, 1_000)))]


async def new_run(store: PostgresStore) -> RunAggregate:
    aggregate = RunAggregate(Run(RUN, "p", "k", "h", START, "api"), lanes={"l": Lane("l", "p", "d")})
    await store.transact(lambda unit: unit.runs.insert(aggregate, b""))
    return aggregate


# Several engines


async def test_what_one_engine_commits_the_other_sees(store: PostgresStore, second: PostgresStore) -> None:
    await store.transact(appending("a"))
    assert await subjects(second) == ["a"]


async def test_of_two_engines_that_save_the_same_part_one_is_told_that_it_is_stale(
    store: PostgresStore, second: PostgresStore
) -> None:
    await new_run(store)
    copies = []
    for each in (store, second):
        loaded = await each.read(lambda unit: unit.runs.load(RUN))
        assert loaded is not None
        copies.append(loaded.lanes["l"])
    both_began = threading.Barrier(2)

    def save(unit: Unit, lane: Lane) -> None:
        unit.hosts.list()  # the snapshot is taken
        with_patience(both_began)
        unit.runs.save(RUN, [lane])

    outcomes = await asyncio.gather(
        *(each.transact(partial(save, lane=lane)) for each, lane in zip((store, second), copies, strict=True)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "StaleWrite"]
    assert sorted(lane.version for lane in copies) == [1, 2]


async def test_a_child_is_not_made_below_what_another_engine_deletes(
    store: PostgresStore, second: PostgresStore
) -> None:
    await store.transact(lambda unit: unit.resources.insert(resource("p")))
    both_looked = threading.Barrier(2)

    def make(unit: Unit) -> str:
        if unit.resources.get("p") is None:
            return "no parent"
        with_patience(both_looked)
        unit.resources.insert(resource("p/c", "p"))
        return "made"

    def delete(unit: Unit) -> str:
        if unit.resources.has_children("p"):
            return "has children"
        with_patience(both_looked)
        unit.resources.delete("p", 1)
        return "deleted"

    outcomes = await asyncio.gather(store.transact(make), second.transact(delete))
    assert tuple(outcomes) in {("made", "has children"), ("no parent", "deleted")}


async def test_the_same_object_made_by_two_engines_exists_already_for_one(
    store: PostgresStore, second: PostgresStore
) -> None:
    both_looked = threading.Barrier(2)

    def make(unit: Unit) -> None:
        assert unit.resources.get("p") is None or both_looked.broken
        with_patience(both_looked)
        unit.resources.insert(resource("p"))

    outcomes = await asyncio.gather(store.transact(make), second.transact(make), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [AlreadyExists.__name__, "NoneType"]


async def test_hosts_that_are_put_under_one_name_at_once_replace_each_other(
    store: PostgresStore, second: PostgresStore
) -> None:
    hosts = [HostRecord("workerHosts/a", "", pid, 1, "s", START) for pid in range(20)]
    await asyncio.gather(
        *(
            (store, second)[host.pid % 2].transact(partial(lambda unit, record: unit.hosts.put(record), record=host))
            for host in hosts
        )
    )
    assert len(await store.read(lambda unit: list(unit.hosts.list()))) == 1


async def test_entries_are_shared_between_engines_that_claim_in_one_name(
    store: PostgresStore, second: PostgresStore
) -> None:
    for number in range(20):
        await store.transact(appending(str(number)))

    def claim(unit: Unit) -> list[str]:
        return [claim.entry.subject for claim in unit.outbox.claim("mail", 3, START, START.replace(year=2100))]

    shares = await asyncio.gather(*((store, second)[number % 2].transact(claim) for number in range(14)))
    given = [subject for share in shares for subject in share]
    assert sorted(given, key=int) == [str(number) for number in range(20)]


async def test_an_engine_never_has_more_than_so_many_connections(postgres_database: str) -> None:
    store = await opened(postgres_database)
    made: list[object] = []
    listening.listen(store._engine, "connect", lambda *_: made.append(1))
    await asyncio.gather(*(store.transact(appending(str(number))) for number in range(200)))
    with psycopg.connect(postgres_database) as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pymigrate engine' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    assert 1 < row[0] <= CONNECTIONS_MAX
    assert len(made) < CONNECTIONS_MAX
    assert len(await subjects(store)) == 200
    await store.close()


# Conflicts and lost connections


async def test_a_unit_that_is_refused_again_and_again_ends_as_unavailable(postgres_database: str) -> None:
    clock = ManualClock()
    store = await PostgresStore.open(postgres_database, clock, random.Random(3))
    aggregate = await new_run(store)
    tries = 0

    def always_refused(unit: Unit) -> None:
        nonlocal tries
        tries += 1
        unit.runs.save(RUN, [aggregate.lanes["l"]])
        unit.runs._connection.exec_driver_sql(  # type: ignore[attr-defined]  # the database refuses, whatever is done
            "DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = 'serialization_failure'; END $$"
        )

    attempt = asyncio.ensure_future(store.transact(always_refused))
    while not attempt.done():
        await asyncio.sleep(0)
        clock.advance(1)
    with pytest.raises(StoreUnavailable, match=f"{TRIES_MAX} times"):
        await attempt
    assert tries == TRIES_MAX
    assert aggregate.lanes["l"].version == 1, "what was undone takes its versions back"
    await store.close()


async def test_connections_that_the_server_ended_are_made_again(store: PostgresStore, postgres_database: str) -> None:
    await asyncio.gather(*(store.transact(appending(str(number))) for number in range(20)))
    with psycopg.connect(postgres_database, autocommit=True) as other:
        other.execute(KILL_OTHERS)
    assert len(await subjects(store)) == 20
    with psycopg.connect(postgres_database, autocommit=True) as other:
        other.execute(KILL_OTHERS)
    await asyncio.gather(*(store.transact(appending(str(number))) for number in range(20, 40)))
    assert sorted(await subjects(store), key=int) == [str(number) for number in range(40)]


async def test_a_unit_whose_connection_is_lost_before_its_commit_is_done_again(
    store: PostgresStore, postgres_database: str
) -> None:
    aggregate = await new_run(store)
    tries = 0

    def work(unit: Unit) -> None:
        nonlocal tries
        tries += 1
        unit.runs.save(RUN, [aggregate.lanes["l"]])
        if tries == 1:
            with psycopg.connect(postgres_database, autocommit=True) as other:
                other.execute(KILL_OTHERS)
        unit.audit.append(AuditEntry(START, "test", "append", "once", 1))

    await store.transact(work)
    assert tries == 2
    assert aggregate.lanes["l"].version == 2
    assert await subjects(store) == ["once"]


async def test_a_connection_that_is_lost_while_it_commits_is_told_and_not_tried_again(
    store: PostgresStore, postgres_database: str
) -> None:
    aggregate = await new_run(store)
    tries = 0

    def work(unit: Unit) -> None:
        nonlocal tries
        tries += 1
        unit.runs.save(RUN, [aggregate.lanes["l"]])
        with psycopg.connect(postgres_database, autocommit=True) as other:
            other.execute(KILL_OTHERS)

    with pytest.raises(StoreUnavailable):
        await store.transact(work)
    assert tries == 1, "nobody knows whether it was committed"
    assert aggregate.lanes["l"].version == 1
    stored = await store.read(lambda unit: unit.runs.load(RUN))
    assert stored is not None


async def test_a_stale_write_is_the_callers_and_not_tried_again(store: PostgresStore) -> None:
    aggregate = await new_run(store)
    tries = 0
    aggregate.lanes["l"].version = 9

    def work(unit: Unit) -> None:
        nonlocal tries
        tries += 1
        unit.runs.save(RUN, [aggregate.lanes["l"]])

    with pytest.raises(StaleWrite):
        await store.transact(work)
    assert tries == 1


async def test_what_is_cancelled_before_its_turn_is_not_done(store: PostgresStore) -> None:
    are_busy, go_on = threading.Barrier(CONNECTIONS_MAX + 1), threading.Event()

    def hold(unit: Unit) -> None:
        are_busy.wait(30)
        assert go_on.wait(30)

    holding = [asyncio.ensure_future(store.transact(hold)) for _ in range(CONNECTIONS_MAX)]
    await asyncio.to_thread(are_busy.wait, 30)
    dropped = asyncio.ensure_future(store.transact(appending("dropped")))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.gather(dropped, return_exceptions=True)
    go_on.set()
    await asyncio.gather(*holding)
    assert await subjects(store) == []


# What it tells


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="can't be used right now"):
        await opened(f"postgresql://postgres@127.0.0.1:{free_port()}/store")


async def test_a_database_that_is_not_there_is_told(postgres: str) -> None:
    with pytest.raises(PyMigrateError, match="none_such"):
        await opened(postgres.rpartition("/")[0] + "/none_such")


@pytest.mark.parametrize(
    "url", ["nothing", "mysql://u:s3cret@h/d", "postgresql://u:s3cret@h", "postgresql://u:s3cret@h:x/d"]
)
async def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(FailedPrecondition, match="postgresql://user@host") as refused:
        await opened(url)
    assert "s3cret" not in str(refused.value)


async def test_a_value_that_the_database_refuses_fails_its_unit_and_is_not_told(store: PostgresStore) -> None:
    refused = HostRecord("workerHosts/a", None, 1, 1, "s3cret-session", START)  # type: ignore[arg-type]  # that is what it refuses
    with pytest.raises(PyMigrateError, match="null value") as error:
        await store.transact(lambda unit: unit.hosts.put(refused))
    assert "s3cret" not in str(error.value)
    await store.transact(appending("a"))
    assert await subjects(store) == ["a"]


async def test_a_commit_waits_for_the_servers_log_even_where_the_server_would_not(
    create_postgres_database: Callable[[], str],
) -> None:
    url = create_postgres_database()
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$"
        )
    engine = connected(store_url(url, ""))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "repeatable read"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "15s"
    engine.dispose()


async def test_what_the_driver_remarks_is_a_line_of_the_processs_log(store: PostgresStore) -> None:
    del store
    with capture_logs() as lines:
        logging.getLogger("psycopg").warning("error ignored terminating %s", "a pipeline")
    remark = {"event": "store.remark", "log_level": "debug", "message": "error ignored terminating a pipeline"}
    assert lines == [remark]
    assert not logging.getLogger("psycopg").propagate


def test_the_password_is_put_into_the_url_and_not_shown() -> None:
    url = store_url("postgresql://engine@db/store?sslmode=require", "s3cret/@")
    assert url.password == "s3cret/@"
    assert "s3cret" not in repr(url)
    assert url.query["sslmode"] == "require"
