"""SQLite through DuckDB's scanner: bit for bit what the strict reader gives, and what it does not vouch for is left to that."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.sqlite_scanning import SqliteScan
from pymigrate.engine.adapters.connectors.sqlite_source import SqliteSource
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import SourceRelation
from tests.contract.sources.systems import chunks_of, rows_of

DECLARED = "id INTEGER PRIMARY KEY, i BIGINT, r REAL, t TEXT, v VARCHAR(20), b BLOB, f BOOLEAN, d DOUBLE PRECISION"
VALUES = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "r": st.floats(allow_nan=False),
    "t": st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    "v": st.sampled_from(["", "NULL", "a\0b", "\U0001f600"]),
    "b": st.binary(max_size=12),
    "f": st.booleans().map(int),
    "d": st.integers(-(2**60), 2**60) | st.sampled_from([-0.0, float("inf"), 5e-324, 0.1]),
}
LOOSE = st.sampled_from(["one", 1.5, b"\0\xff", 2**62, "12", ""])


def laid(path: Path, *statements: str, rows: Sequence[Sequence[object]] = (), journal: str = "delete") -> SystemSpec:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        for statement in statements:
            connection.execute(statement)
        if rows:
            connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return SystemSpec("sqlite", "legacy", {"path": str(path)})


def outcome(system: SystemSpec, relation: SourceRelation) -> tuple[object, ...]:
    """The rows as one table, with floats as their bits, or what the refusal says."""
    with closing(SqliteSource(system)) as source:
        try:
            batches = [batch for chunk in chunks_of(source, relation) for batch in chunk.batches]
        except DataRefused as refused:
            return "refused", refused.message
    columns = [pa.chunked_array([batch.column(at) for batch in batches]) for at in range(batches[0].num_columns)]
    return tuple(
        [repr(value) if isinstance(value, float) else value for value in column.to_pylist()] for column in columns
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1, max_size=6
    ),
    wrong=st.none() | st.tuples(st.sampled_from(sorted(VALUES)), LOOSE),
)
def test_the_scanner_and_the_strict_reader_give_the_same_or_refuse_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], wrong: tuple[str, object] | None
) -> None:
    if wrong is not None:
        rows[-1][wrong[0]] = wrong[1]
    place = tmp_path_factory.mktemp("legacy") / "legacy.db"
    system = laid(
        place,
        f"CREATE TABLE t ({DECLARED})",
        "CREATE VIEW s AS SELECT * FROM t",
        rows=[(at * 3 - 2, *(row[name] for name in VALUES)) for at, row in enumerate(rows)],
    )
    by_view = outcome(system, SourceRelation("s", key=("id",)))
    by_table = outcome(system, SourceRelation("t"))
    if by_table[0] == "refused":
        assert str(by_table[1]) == str(by_view[1]).replace("s, column", "t, column", 1)
    else:
        assert by_table == by_view


def test_what_the_scanner_refuses_in_the_middle_is_read_on_strictly_and_refused_with_its_row(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(at, at) for at in range(1, 30_001)]
    rows[25_000] = (25_001, "one")
    system = laid(tmp_path / "legacy.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n BIGINT)", rows=rows)
    with closing(SqliteSource(system)) as source:
        relation = SourceRelation("t", chunk_bytes=60_000)
        chunks = source.chunks(relation, source.describe(relation).columns, None)
        seen: list[int] = []
        with pytest.raises(DataRefused, match=r"t, column `n`, row 25001: .* is stored as text"):
            seen.extend(chunk.rows for chunk in chunks)
    assert 16_000 < sum(seen) <= 25_000


def test_a_scan_goes_on_after_a_position_and_strictly_within_a_range(tmp_path: Path) -> None:
    rows = [(at * 2 - 9_000, f"n{at}") for at in range(9_000)]
    system = laid(tmp_path / "legacy.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", rows=rows)
    relation = SourceRelation("t", chunk_bytes=20_000)
    with closing(SqliteSource(system)) as source:
        chunks = chunks_of(source, relation)
        assert rows_of(chunks) == rows
        assert rows_of(chunks_of(source, relation, chunks[3].end)) == rows_of(chunks[4:])
        part = SourceRelation("t", chunk_bytes=20_000, range=SourceRange(chunks[1].end, chunks[2].end))
        assert rows_of(chunks_of(source, part)) == rows_of(chunks[2:3])


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_what_is_written_after_the_snapshot_is_not_read(tmp_path: Path, journal: str) -> None:
    system = laid(
        tmp_path / "legacy.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
        rows=[(at, "old") for at in range(10)],
        journal=journal,
    )
    with closing(SqliteSource(system)) as source, closing(sqlite3.connect(tmp_path / "legacy.db", timeout=0)) as other:
        try:
            with other:
                other.execute("UPDATE t SET name = 'new'")
        except sqlite3.OperationalError:
            assert journal == "delete"  # whose readers hold writers up
        assert {name for _, name in rows_of(chunks_of(source, SourceRelation("t")))} == {"old"}


def test_an_index_that_holds_every_column_does_not_change_the_order(tmp_path: Path) -> None:
    rows = [(100 - at, f"n{at % 7}") for at in range(100)]
    system = laid(tmp_path / "legacy.db", "CREATE TABLE t (a BIGINT, b TEXT)", "CREATE INDEX x ON t (b, a)", rows=rows)
    with closing(SqliteSource(system)) as source:
        assert rows_of(chunks_of(source, SourceRelation("t"))) == rows


def test_text_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    system = laid(
        tmp_path / "legacy.db", "CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES ('good'), (CAST(x'ff61' AS TEXT))"
    )
    assert outcome(system, SourceRelation("t")) == ("refused", "t, column `x`, row 2: `\ufffda` is not UTF-8")


def test_the_largest_and_the_smallest_rowid_are_read(tmp_path: Path) -> None:
    rows = [(-(2**63), "a"), (0, "b"), (2**63 - 1, "c")]
    system = laid(tmp_path / "legacy.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", rows=rows)
    with closing(SqliteSource(system)) as source:
        assert rows_of(chunks_of(source, SourceRelation("t"))) == rows
        assert rows_of(chunks_of(source, SourceRelation("t", chunk_bytes=1))) == rows


def test_the_scanner_ends_before_the_first_chunk_that_it_does_not_vouch_for(tmp_path: Path) -> None:
    path = tmp_path / "legacy.db"
    blobs: list[tuple[object, ...]] = [(at, b"x") for at in range(20_000)]
    laid(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)", rows=blobs, journal="wal")
    columns = (
        ColumnInfo("id", parse_type("int64"), native_type="INTEGER"),
        ColumnInfo("b", parse_type("bytes"), native_type="BLOB"),
    )

    def scanned(write: str = "") -> int:
        with (
            closing(sqlite3.connect(path)) as connection,
            closing(sqlite3.connect(path)) as watch,
            closing(sqlite3.connect(path)) as other,
        ):
            version = watch.execute("PRAGMA data_version").fetchone()[0]
            if write:
                with other:
                    other.execute(write)
            scan = SqliteScan(path, connection, watch, version)
            return sum(
                batch.num_rows
                for batch, _ in scan.batches("t", columns, None, SourceRelation("t", chunk_bytes=100_000))
            )

    assert scanned() == 20_000
    assert scanned("UPDATE t SET b = 'text' WHERE id = 15000") == 0  # somebody has written since the snapshot
    assert 10_000 < scanned() <= 15_000
