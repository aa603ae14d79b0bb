"""Names of keys and indexes that a target can't have: it has others like them, tells so, and publishes."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector
from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.domain.schema import TableIndex, TableSchema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.ports.target import Declaring, Target
from tests.integration.connectors.routes import postgres_spec
from tests.integration.connectors.target_harness import a_staging, numbered, published
from tests.servers import MariadbDatabase

LONG = "an index with a name of sixty-four characters, as MySQL has them"
TOLD = "the target can't have an index of that name"


def declared(key: str, indexes: Sequence[str]) -> Staging:
    """A staging whose source calls its key and its indexes so."""
    found = tuple(TableIndex(name, ("id",)) for name in indexes)
    schema = TableSchema("other", key=("id",), key_name=key, indexes=found)
    return a_staging(key=("id",), is_replace=True, schema=schema)


def notes_of(target: Target, staging: Staging) -> list[str]:
    """The notes about names, without their ends."""
    assert isinstance(target, Declaring)
    return [note.removesuffix(f": {TOLD}") for note in target.ddl(staging).notes if TOLD in note]


@pytest.mark.parametrize("kind", ["sqlite", "sqlalchemy"])
def test_sqlite_keeps_names_that_begin_with_its_own(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "warehouse.sqlite"
    if kind == "sqlite":
        target: Target = SqliteConnector().open_target(SystemSpec(kind, "w", {"path": str(path)}))
    else:
        target = SqlalchemyConnector().open_target(SystemSpec(kind, "w", {"url": f"sqlite:///{path}"}))
    with closing(target):
        for _ in range(2):
            staging = declared("sqlite_key", ["SQLite_by_id", "mine"])
            assert notes_of(target, staging) == [
                "the index `sqlite_key` is called `index_sqlite_key`",
                "the index `SQLite_by_id` is called `index_SQLite_by_id`",
            ]
            published(target, staging, numbered(1, 3))
            assert isinstance(target, Declaring)
            assert list(target.schema_notes(staging)) == []
            target.seal([staging])
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE tbl_name = 'orders'")}
        # While it is replaced, the first relation has them: the second one has others behind which there is a number.
        assert {"orders", "index_sqlite_key_2", "index_SQLite_by_id_2", "mine_2"} <= names


def test_mysql_keeps_names_for_its_own_keys_and_has_not_every_character(mariadb_database: MariadbDatabase) -> None:
    target = MysqlConnector().open_target(SystemSpec("mysql", "w", mariadb_database.options()))
    with closing(target):
        staging = declared("the key", ["Primary", "GEN_CLUST_INDEX", "ends  ", "\U0001f600 smiles", LONG])
        assert notes_of(target, staging) == [
            "the index `Primary` is called `index_Primary`",
            "the index `GEN_CLUST_INDEX` is called `index_GEN_CLUST_INDEX`",
            "the index `ends  ` is called `ends`",
            "the index `\U0001f600 smiles` is called `_ smiles`",
        ]
        published(target, staging, numbered(1, 3))
        assert isinstance(target, Declaring)
        assert list(target.schema_notes(staging)) == []
    names = {row[2] for row in mariadb_database.run("SHOW INDEX FROM orders")}
    assert names == {"PRIMARY", "index_Primary", "index_GEN_CLUST_INDEX", "ends", "_ smiles", LONG}


def test_postgres_has_no_longer_names_and_a_second_replacement_has_the_same(
    postgres_database: str,
) -> None:
    dsn = postgres_database

    def names() -> list[str]:
        with psycopg.connect(dsn) as connection:
            found = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'orders' ORDER BY 1")
            return [name for (name,) in found.fetchall()]

    with closing(PostgresConnector().open_target(postgres_spec(dsn))) as target:
        first = declared(LONG, [f"{LONG}, and more", f"{LONG}, and other", "pg_own"])
        cut = LONG[:63]
        assert notes_of(target, first) == [
            f"the index `{name}` is called `{cut}`" for name in (LONG, f"{LONG}, and more", f"{LONG}, and other")
        ]
        published(target, first, numbered(1, 3))
        before = names()
        assert set(before) == {cut, f"{cut[:61]}_2", f"{cut[:61]}_3", "pg_own"}
        second = replace(declared(LONG, ()), schema=first.schema)
        published(target, second, numbered(1, 5))
        assert names() == before
        target.rollback([second])
        assert names() == before
