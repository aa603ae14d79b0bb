"""Splitting relations that are hard to split: quoted line ends, text and composite keys, rows without a key, gaps and skew."""

import csv
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors import postgres_source
from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source
from tests.contract.sources.systems import chunks_of, postgres_spec, rows_of

TEXTS = st.text(st.sampled_from('ab",\n\r é\\'), max_size=6).map(lambda text: text.replace("\r", "\r\n"))


def parts_of(source: Source, relation: SourceRelation, parts: int) -> list[list[tuple[object, ...]]]:
    """The rows of each range. Together they are the relation's, in its order."""
    found = [rows_of(chunks_of(source, replace(relation, range=span))) for span in source.split(relation, parts)]
    assert [row for part in found for row in part] == rows_of(chunks_of(source, relation))
    return found


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=40), st.integers(1, 9), st.sampled_from(["\n", "\r\n"]))
def test_a_csv_file_is_never_cut_within_quotes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], parts: int, end: str
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("x", "y"), *rows])
    with closing(FilesConnector().open_source(SystemSpec("files", "c", {"root": str(folder)}))) as source:
        found = parts_of(source, SourceRelation("t.csv", chunk_bytes=20), parts)
    assert [row for part in found for row in part] == rows


def test_rows_of_a_split_file_are_counted_from_its_start_in_errors(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(100)) + "wrong\n")
    with closing(FilesConnector().open_source(SystemSpec("files", "c", {"root": str(tmp_path)}))) as source:
        relation = SourceRelation("t.csv", columns={"n": ColumnType("int64")})
        last = source.split(relation, 4)[-1]
        with pytest.raises(DataRefused, match="row 101"):
            chunks_of(source, replace(relation, range=last))


@pytest.fixture
def legacy(tmp_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(tmp_path / "legacy.db")


def opened(connection: sqlite3.Connection) -> Source:
    connection.commit()
    [(path,)] = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchall()
    return SqliteConnector().open_source(SystemSpec("sqlite", "c", {"path": path}))


def test_rowids_with_gaps_and_skew_are_split_by_rows(legacy: sqlite3.Connection) -> None:
    with closing(legacy):
        legacy.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        numbers = [*range(-50, 0), *range(10**15, 10**15 + 50), 2**63 - 1]
        legacy.executemany("INSERT INTO t VALUES (?, 'x')", [(number,) for number in numbers])
        with closing(opened(legacy)) as source:
            found = parts_of(source, SourceRelation("t"), 4)
    assert [len(part) for part in found] == [26, 26, 26, 23]


def test_a_table_without_rowid_is_split_by_its_whole_key(legacy: sqlite3.Connection) -> None:
    with closing(legacy):
        legacy.execute("CREATE TABLE t (a TEXT, b BLOB, n REAL, PRIMARY KEY (a, b)) WITHOUT ROWID")
        rows = [(f"{number % 3}", bytes([number]), number / 7) for number in range(100)]
        legacy.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        with closing(opened(legacy)) as source:
            found = parts_of(source, SourceRelation("t"), 5)
    assert [len(part) for part in found] == [20] * 5


def test_a_view_is_read_by_one_lane(legacy: sqlite3.Connection) -> None:
    with closing(legacy):
        legacy.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        legacy.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(100)])
        legacy.execute("CREATE VIEW v AS SELECT id FROM t")
        with closing(opened(legacy)) as source:
            assert len(parts_of(source, SourceRelation("v", key=("id",)), 5)) == 1


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE t (id bigint PRIMARY KEY, x text)",
        "CREATE TABLE t (id bigint, x text PRIMARY KEY)",
        "CREATE TABLE t (id bigint, x text, PRIMARY KEY (x, id))",
        'CREATE TABLE t (id bigint, x text COLLATE "C" UNIQUE NOT NULL)',
        "CREATE TABLE t (id bigint, x text)",
    ],
)
@pytest.mark.parametrize("is_sampled", [False, True])
def test_a_table_of_postgresql_is_split_by_whatever_orders_it(
    postgres_database: str, table: str, is_sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_sampled:
        monkeypatch.setattr(postgres_source, "SPLIT_ROWS_MAX", 2_000)
    with psycopg.connect(postgres_database) as connection:
        connection.execute(table.encode())
        connection.execute("INSERT INTO t SELECT n * n, chr(97 + n % 26) || n || '%é' FROM generate_series(1, 5000) n")
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("ANALYZE t")
    with closing(PostgresConnector().open_source(postgres_spec(postgres_database))) as source:
        found = parts_of(source, SourceRelation("t", chunk_bytes=10_000), 4)
    assert sum(map(len, found)) == 5_000
    assert len(found) == 4
    assert max(map(len, found)) < 3_500


def test_a_view_of_postgresql_is_read_by_one_lane(postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
        connection.execute("INSERT INTO t SELECT generate_series(1, 100)")
        connection.execute("CREATE VIEW v AS SELECT id FROM t")
    with closing(PostgresConnector().open_source(postgres_spec(postgres_database))) as source:
        assert len(parts_of(source, SourceRelation("v", key=("id",)), 4)) == 1
