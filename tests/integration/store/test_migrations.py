"""The schema's revisions, on both databases: what they make, what they carry over, and several engines that start at once."""

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import DBAPIError

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.adapters.store.postgres_session import connected, store_url
from pymigrate.engine.adapters.store.run_tables import RunRow
from pymigrate.engine.adapters.store.unit import SqlUnit
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.run import Failure, Run
from pymigrate.engine.ports.store import AuditEntry
from pymigrate.engine.testing.clock import START
from tests.servers import POSTGRES_PLACES, PostgresCluster, empty_database

ENGINES = 6
RUN_COLUMNS_LATER = frozenset({"traceparent"})


@pytest.fixture(params=["sqlite", *POSTGRES_PLACES])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_clusters: Callable[[str], PostgresCluster]
) -> Iterator[Engine]:
    """An empty database."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'store'}")
        yield engine
        engine.dispose()
        return
    with empty_database(postgres_clusters(request.param)) as url:
        engine = connected(store_url(url, ""))
        yield engine
        engine.dispose()


def at_revision(connection: Connection, revision: str) -> None:
    config = schema.alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def upgrade(database: Engine) -> None:
    with database.begin() as connection:
        if database.dialect.name == "sqlite":  # as the store does: this driver would begin too late
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        schema.upgrade(connection)


def stored_schema(connection: Connection) -> dict[str, object]:
    inspector = inspect(connection)
    names = set(inspector.get_table_names()) - {schema.VERSION_TABLE}
    return {
        name: {
            "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)],
            "key": inspector.get_pk_constraint(name),
            "unique": sorted(inspector.get_unique_constraints(name), key=str),
            "foreign": sorted(inspector.get_foreign_keys(name), key=str),
            "checks": sorted(inspector.get_check_constraints(name), key=str),
            "indexes": sorted(map(in_words, inspector.get_indexes(name)), key=str),
        }
        for name in names
    }


def in_words(index: ReflectedIndex) -> dict[str, object]:
    """What an index says: the condition of a partial one is a clause that equals only itself."""
    return {**index, "dialect_options": {key: str(value) for key, value in index.get("dialect_options", {}).items()}}


def test_the_revisions_make_what_the_tables_say(database: Engine) -> None:
    with database.begin() as connection:
        assert schema.upgrade(connection) is None
        migrated = stored_schema(connection)
        RunRow.metadata.drop_all(connection)
        RunRow.metadata.create_all(connection)
        made = stored_schema(connection)
    assert migrated == made


def test_what_the_first_schema_kept_is_carried_over_in_the_order_of_its_times(database: Engine) -> None:
    with database.begin() as connection:
        at_revision(connection, "0001")
        unit = SqlUnit(connection)
        # This version's run statement writes what the first schema's table holds, without the columns that came later.
        stored = RunRow.from_domain("r", Run("r", "p", "k", "sha256:abc", START, "git", lanes_max=4))
        first = {name: value for name, value in stored.items() if name not in RUN_COLUMNS_LATER}
        connection.execute(RunRow.metadata.tables["run"].insert(), first)
        connection.execute(
            text(
                "INSERT INTO run_event (run, sequence, time, type, subject, from_state, to_state, actor, failure) VALUES"
                " ('r', 1, 10, 'run.running', 'r', 'pending', 'running', 'engine', NULL),"
                " ('r', 2, 30, 'run.failed', 'r', 'running', 'failed', 'engine', :failure)"
            ),
            {"failure": '{"reason":"X","message":"m","field":"","is_temporary":false}'},
        )
        connection.execute(
            text(
                "INSERT INTO audit (time, actor, action, subject, version, detail) VALUES"
                " (5, 'ann', 'create', 'plans/p', 1, ''), (20, 'ann', 'update', 'plans/p', 2, 'by hand')"
            )
        )
        assert schema.upgrade(connection) == "0001"
        trail = unit.audit.list(0, 9)
        events = unit.runs.events("r", 0, 9)
        carried = unit.runs.get("r")
        assert carried is not None
        assert (carried.traceparent, carried.lanes_max) == ("", 0), "its plan's limit is none of its own"
        assert not {"run_event", "audit"} & set(inspect(connection).get_table_names())
    assert [(entry.action, entry.version, entry.detail, entry.revision) for entry in trail] == [
        ("create", 1, "", ""),
        ("run.running", 0, "pending → running", "sha256:abc"),
        ("update", 2, "by hand", ""),
        ("run.failed", 0, "running → failed", "sha256:abc"),
    ]
    assert [(event.sequence, event.failure) for event in events] == [(1, None), (2, Failure("X", "m"))]
    with database.begin() as connection:
        entries, cursor = SqlUnit(connection).feed.after("", 9)
        assert len(entries) == 4
        SqlUnit(connection).audit.append(AuditEntry(START, "ann", "delete", "plans/p", 2))
    with database.connect() as connection, connection.begin():
        assert [entry.type for entry in SqlUnit(connection).feed.after(cursor, 9)[0]] == ["delete"]


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(database: Engine) -> None:
    with database.begin() as connection:
        at_revision(connection, "0001")
        connection.execute(text("CREATE TABLE feed_claim (x INTEGER)"))
        before = stored_schema(connection)
    with pytest.raises(DBAPIError, match="feed_claim"):
        upgrade(database)
    with database.begin() as connection:
        assert schema.stored_revision(connection) == "0001"
        assert stored_schema(connection) == before


async def opened(url: str) -> PostgresStore:
    return await PostgresStore.open(url, SystemClock(), random.Random(3))


async def test_engines_that_start_at_once_upgrade_once_and_all_go_on(postgres_database: str) -> None:
    stores = await asyncio.gather(*(opened(postgres_database) for _ in range(ENGINES)))
    for number, store in enumerate(stores):
        await store.transact(lambda unit, n=number: unit.audit.append(AuditEntry(START, "t", "a", str(n), 1)))  # type: ignore[misc]  # bound
    trail = await stores[0].read(lambda unit: list(unit.audit.list(0, 99)))
    assert [entry.subject for entry in trail] == [str(number) for number in range(ENGINES)]
    for store in stores:
        await store.close()


async def test_a_newer_schema_is_refused(postgres_database: str) -> None:
    await (await opened(postgres_database)).close()
    engine = connected(store_url(postgres_database, ""))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(FailedPrecondition, match=r"newer PyMigrate \(schema 9999"):
        await opened(postgres_database)


async def test_a_database_of_something_else_is_refused(postgres_database: str) -> None:
    engine = connected(store_url(postgres_database, ""))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE songs (title text)"))
    engine.dispose()
    with pytest.raises(FailedPrecondition, match=r"something else .*songs"):
        await opened(postgres_database)
