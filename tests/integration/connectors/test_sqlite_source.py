"""SQLite files as sources: loose typing, the tables that have no rowid, and files that are none."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.adapters.connectors.sqlite_source import SqliteSource
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk


class Legacy:
    """A database file that somebody else writes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("PRAGMA user_version = 1")

    def run(self, *statements: str, journal: str = "delete") -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            for statement in statements:
                connection.execute(statement)

    def open(self) -> SqliteSource:
        return SqliteSource(SystemSpec("sqlite", "legacy", {"path": str(self.path)}))

    def chunks(self, table: str, after: Position | None = None, key: str = "", **types: str) -> list[SourceChunk]:
        columns = {name: parse_type(text) for name, text in types.items()}
        relation = SourceRelation(table, None, columns, tuple(key.split()), chunk_bytes=1)
        with closing(self.open()) as source:
            return list(source.chunks(relation, source.describe(relation).columns, after))

    def rows(self, table: str, after: Position | None = None, key: str = "", **types: str) -> list[tuple[object, ...]]:
        found = self.chunks(table, after, key, **types)
        return [tuple(row.values()) for chunk in found for batch in chunk.batches for row in batch.to_pylist()]


@pytest.fixture
def legacy(tmp_path: Path) -> Legacy:
    return Legacy(tmp_path / "legacy.db")


def numbered(table: str, count: int = 40) -> str:
    return (
        f"WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) INSERT INTO {table} SELECT i FROM n"
    )


@pytest.mark.parametrize(
    ("declared", "value", "stored"),
    [
        ("INTEGER", "'one'", "text"),
        ("INTEGER", "1.5", "a real"),
        ("REAL", "'one'", "text"),
        ("TEXT", "x'00'", "a blob"),
        ("BLOB", "'one'", "text"),
        ("BOOLEAN", "'yes'", "text"),
        ("", "12", "an integer"),
        ("VARBINARY(8)", "12", "an integer"),
        ("NUMERIC", "x'00'", "a blob"),
    ],
)
def test_a_value_of_another_type_than_declared_is_refused_with_its_rowid(
    legacy: Legacy, declared: str, value: str, stored: str
) -> None:
    legacy.run(f"CREATE TABLE t (x {declared})", f"INSERT INTO t (rowid, x) VALUES (7, NULL), (41, {value})")

    with pytest.raises(DataRefused, match=f"^t, column `x`, row 41: .* is stored as {stored}, ") as found:
        legacy.chunks("t")
    assert found.value.field == "source.columns.x"


def test_declarations_become_types_that_hold_their_values(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (i INT, r DOUBLE PRECISION, s VARCHAR(5), b BLOB, f BOOL, d DATE)",
        "INSERT INTO t VALUES (9223372036854775807, 2, 'é', x'00ff', 1, '2024-02-29'), (-9223372036854775808, 0.1, '', x'', 0, NULL)",
    )

    with closing(legacy.open()) as source:
        kinds = [column.type.kind for column in source.describe(SourceRelation("t")).columns]

    assert kinds == ["int64", "float64", "string", "bytes", "bool", "string"]
    assert legacy.rows("t") == [
        (2**63 - 1, 2.0, "é", b"\x00\xff", True, "2024-02-29"),
        (-(2**63), 0.1, "", b"", False, None),
    ]


@pytest.mark.parametrize(
    ("declared", "type"),
    [
        ("BIGINT UNSIGNED", "int64"),
        ("INT8", "int64"),
        ("TINYINT(1)", "int64"),
        ("unsigned big int", "int64"),
        ("DOUBLE(10, 2)", "float64"),
        ("FLOAT(8)", "float64"),
        ("DOUBLE UNSIGNED", "float64"),
        ("LONGBLOB", "bytes"),
        ("VARBINARY(16)", "bytes"),
        ("bool", "bool"),
        ("CHARACTER VARYING(20)", "string"),
        ("DECIMAL(10,2)", "string"),
        ("TIMESTAMP", "string"),
        ("POINT", "string"),
        ("", "string"),
    ],
)
def test_a_declaration_has_a_type(legacy: Legacy, declared: str, type: str) -> None:
    legacy.run(f"CREATE TABLE t (x {declared})")

    with closing(legacy.open()) as source:
        [column] = source.describe(SourceRelation("t")).columns

    assert (str(column.type), column.native_type) == (type, declared)


@pytest.mark.parametrize("declared", ["DECIMAL(10,2)", "NUMERIC", "DATETIME", "DATE", "MONEY"])
def test_what_sqlite_keeps_as_a_number_or_a_text_travels_as_text(legacy: Legacy, declared: str) -> None:
    legacy.run(
        f"CREATE TABLE t (x {declared})", "INSERT INTO t VALUES (12), (12.50), ('2024-02-29'), ('7'), (NULL), (0.1)"
    )

    assert legacy.rows("t") == [("12",), ("12.5",), ("2024-02-29",), ("7",), (None,), ("0.1",)]


def test_reals_are_the_decimal_numbers_that_were_stored(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (d DECIMAL(10,2), r REAL)",
        "INSERT INTO t VALUES (12.5, 12.5), (3, 3), (0.1, 0.1), (-99999999.99, 1e6), (NULL, NULL)",
    )

    rows = [[str(value) for value in row] for row in legacy.rows("t", d="decimal(10,2)", r="decimal(10,2)")]

    assert rows == [["12.50"] * 2, ["3.00"] * 2, ["0.10"] * 2, ["-99999999.99", "1000000.00"], ["None"] * 2]


@pytest.mark.parametrize(
    ("type", "declared", "value", "why"),
    [
        ("int16", "INTEGER", "32768", "32768 does not fit int16"),
        ("int32", "INTEGER", "-2147483649", "-2147483649 does not fit int32"),
        ("uint64", "INTEGER", "-1", "`-1` is no uint64"),
        ("bool", "INTEGER", "2", "2 is neither 0 nor 1"),
        ("float64", "INTEGER", "9007199254740993", "no exact floating-point number"),
        ("float32", "REAL", "0.1", "0.1 does not fit float32"),
        ("decimal(4,2)", "TEXT", "'1.999'", "`1.999` is no decimal"),
        ("decimal(4,2)", "NUMERIC", "1.125", "`1.125` is no decimal"),
        ("decimal(4,2)", "NUMERIC", "100.5", "`100.5` is no decimal"),
        ("decimal(38,20)", "NUMERIC", "0.1 + 0.2", "a real of more than 15 digits"),
        ("decimal(4,2)", "REAL", "9e999", "`inf` is no decimal"),
        ("int64", "NUMERIC", "1.5", "stored as a real"),
        ("date", "DATE", "20240229", "stored as an integer"),
        ("timestamp", "TEXT", "'2024-01-01T00:00:00Z'", "is no timestamp"),
        ("timestamp", "TEXT", "'1.1.2024'", "is no timestamp"),
        ("timestamptz", "TEXT", "'2024-01-01 00:00:00'", "is no timestamptz"),
        ("date", "TEXT", "'2024-1-1'", "is no date"),
        ("time", "TEXT", "'24:00:00'", "is no time"),
        ("int64", "TEXT", "'0x1f'", "is no int64"),
        ("float64", "TEXT", "'1e999'", "is no float64"),
        ("bool", "TEXT", "'maybe'", "is no bool"),
        ("uuid", "TEXT", "'a0eebc99'", "is no uuid"),
        ("json", "TEXT", "'{'", "is no json"),
    ],
)
def test_a_value_that_the_declared_type_does_not_hold_is_refused(
    legacy: Legacy, type: str, declared: str, value: str, why: str
) -> None:
    legacy.run(f"CREATE TABLE t (x {declared})", f"INSERT INTO t (rowid, x) VALUES (5, NULL), (6, {value})")

    with pytest.raises(DataRefused, match=f"column `x`, row 6: .*{why}"):
        legacy.chunks("t", x=type)


def test_text_is_read_as_the_types_that_the_dataset_declares(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (p TEXT, at TEXT, n TEXT, f TEXT, whole NUMERIC, big INTEGER)",
        "INSERT INTO t VALUES ('12.30', '2024-02-29 12:00:00+01:00', '-7', 'true', 12, 5), (NULL, NULL, NULL, NULL, NULL, NULL)",
    )

    [first, second] = legacy.rows(
        "t", p="decimal(6,2)", at="timestamptz", n="int16", f="bool", whole="decimal(6,2)", big="uint64"
    )

    assert [str(value) for value in first] == ["12.30", "2024-02-29 11:00:00+00:00", "-7", "True", "12.00", "5"]
    assert second == (None,) * 6


def test_text_that_is_not_utf8_is_refused_with_its_row(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (x TEXT, y BLOB)",
        "INSERT INTO t (rowid, x, y) VALUES (1, 'good', x'ff'), (9, CAST(x'61ff' AS TEXT), x'ff')",
    )

    with pytest.raises(DataRefused, match="t, column `x`, row 9: `a\ufffd` is not UTF-8"):
        legacy.chunks("t")


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE t (i INTEGER PRIMARY KEY)",
        "CREATE TABLE t (i INTEGER)",
        "CREATE TABLE t (i INTEGER PRIMARY KEY DESC)",
        "CREATE TABLE t (i INTEGER NOT NULL PRIMARY KEY) WITHOUT ROWID",
    ],
)
def test_reading_on_gives_the_rest_in_every_kind_of_table(legacy: Legacy, table: str) -> None:
    legacy.run(table, numbered("t"))
    chunks, rows = legacy.chunks("t"), legacy.rows("t")

    assert sorted(rows) == [(number,) for number in range(1, 41)]
    assert len(chunks) > 2
    done = 0
    for chunk in chunks:
        done += chunk.rows
        assert legacy.rows("t", chunk.end) == rows[done:]


def test_a_table_without_rowid_is_read_by_a_key_of_several_columns_and_blobs(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (b BLOB, n REAL, x TEXT, PRIMARY KEY (n, b)) WITHOUT ROWID",
        "INSERT INTO t VALUES (x'02', 0.1, 'c'), (x'01', 0.1, 'b'), (x'09', -1, 'a')",
    )
    chunks = legacy.chunks("t")

    assert [row[2] for row in legacy.rows("t")] == ["a", "b", "c"]
    assert legacy.rows("t", chunks[-1].end) == []


def test_columns_that_are_called_rowid_do_not_hide_the_rowid(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (rowid TEXT, oid TEXT)", "INSERT INTO t VALUES ('z', 'a'), ('y', 'b'), ('x', 'c')")

    assert legacy.rows("t") == [("z", "a"), ("y", "b"), ("x", "c")]


def test_a_table_whose_columns_hide_every_name_of_the_rowid_is_refused(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (rowid TEXT PRIMARY KEY, oid TEXT, _rowid_ TEXT)")

    with pytest.raises(InvalidDefinition, match="hide its rowid"):
        legacy.chunks("t")


def test_a_view_is_read_by_the_key_that_the_dataset_names(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER)", numbered("t"), "CREATE VIEW v AS SELECT 100 - i AS k FROM t")
    chunks, rows = legacy.chunks("v", key="k", k="int64"), legacy.rows("v", key="k", k="int64")

    assert rows == [(number,) for number in range(60, 100)]
    assert legacy.rows("v", chunks[0].end, key="k", k="int64") == rows[chunks[0].rows :]
    with pytest.raises(InvalidDefinition, match="is a view: name columns that together are unique") as found:
        legacy.chunks("v")
    assert found.value.field == "key"


@pytest.mark.parametrize("keys", ["(1), (2), (2)", "(NULL), (1)"])
def test_a_view_whose_key_is_not_unique_is_refused(legacy: Legacy, keys: str) -> None:
    legacy.run("CREATE TABLE t (k INTEGER)", f"INSERT INTO t VALUES {keys}", "CREATE VIEW v AS SELECT k FROM t")

    with pytest.raises(DataRefused, match="the key is NULL or occurs twice"):
        legacy.chunks("v", key="k")


def test_a_view_of_what_is_gone_is_refused_and_still_listed(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (k INTEGER)", "CREATE VIEW v AS SELECT k FROM t", "DROP TABLE t")

    with closing(legacy.open()) as source:
        with pytest.raises(InvalidDefinition, match=r"no such table: main.t"):
            source.describe(SourceRelation("v"))
        assert [info.relation for info in source.relations("*", 10)] == ["v"]


@pytest.mark.parametrize("expression", ["abs(x)", "json_extract('{', '$')"])
def test_a_view_that_can_not_be_evaluated_is_no_damage(legacy: Legacy, expression: str) -> None:
    legacy.run(
        "CREATE TABLE t (x INTEGER)",
        f"INSERT INTO t VALUES ({-(2**63)})",
        f"CREATE VIEW v AS SELECT x, {expression} AS y FROM t",
    )

    with pytest.raises(FailedPrecondition, match="mend the view"):
        legacy.chunks("v", key="x")
    with closing(legacy.open()) as source:
        assert [info.relation for info in source.relations("*", 10)] == ["t", "v"]


def test_a_table_has_the_bytes_of_its_own_pages_whatever_else_the_file_holds(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE small (n INTEGER)", "INSERT INTO small VALUES (1)", "CREATE TABLE large (b BLOB)")
    legacy.run("INSERT INTO large VALUES (zeroblob(1000000))", "CREATE VIEW seen AS SELECT n FROM small")
    with closing(legacy.open()) as source:
        sizes = {name: source.describe(SourceRelation(name)).bytes for name in ("small", "large", "seen")}
    assert sizes["small"] == 4_096
    assert 1_000_000 <= sizes["large"] < sizes["seen"] == legacy.path.stat().st_size


def test_generated_columns_are_columns(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER, double INTEGER AS (2 * i) STORED)", "INSERT INTO t VALUES (4)")

    assert legacy.rows("t") == [(4, 8)]


def test_names_with_quotes_are_names(legacy: Legacy) -> None:
    legacy.run(
        'CREATE TABLE "odd ""name" ("a""b" TEXT, "select" TEXT)', "INSERT INTO \"odd \"\"name\" VALUES ('1', '2')"
    )

    assert legacy.rows('odd "name') == [("1", "2")]
    assert legacy.rows('main.odd "name') == [("1", "2")]


def test_a_missing_file_is_answered_with_the_nearest_name(legacy: Legacy) -> None:
    spec = SystemSpec("sqlite", "legacy", {"path": str(legacy.path.with_name("legaci.db"))})

    with pytest.raises(SourceMissing, match=r"there is no SQLite file .*; did you mean `legacy.db`\?") as found:
        SqliteConnector().open_source(spec)
    assert found.value.field == "source.connection"


def test_a_file_that_is_no_database_is_said_to_be_none(legacy: Legacy) -> None:
    legacy.path.write_bytes(b"something else entirely" * 100)

    with pytest.raises(SourceMissing, match="is not a SQLite database, or is damaged"):
        legacy.open()


def test_a_database_that_is_locked_is_unavailable(legacy: Legacy) -> None:
    with closing(sqlite3.connect(legacy.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SystemUnavailable, match="locked"):
            SqliteSource(SystemSpec("sqlite", "legacy", {"path": str(legacy.path)}), busy_seconds=0)


def test_a_damaged_page_ends_the_reading(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER, x TEXT)", "INSERT INTO t VALUES (1, 'x')")
    with legacy.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)

    with pytest.raises((SourceMissing, SystemUnavailable), match=r"damaged|can't be read"):
        legacy.chunks("t")


def test_the_state_sees_what_is_only_in_the_write_ahead_log(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER)", journal="wal")
    states = []
    with closing(sqlite3.connect(legacy.path)) as other:
        for number in range(3):
            with other:
                other.execute("INSERT INTO t VALUES (?)", (number,))
            with closing(legacy.open()) as source:
                states.append(source.state(SourceRelation("t")))

    assert len(set(states)) == 3


OTHERS = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO t VALUES (2, NULL)'); c.commit(); c.close()"


def test_whoever_leaves_a_file_with_a_log_leaves_the_log_to_who_reads(legacy: Legacy) -> None:
    """The last to close a file puts its log away: another process must not take itself for the last."""
    legacy.run("CREATE TABLE t (i INTEGER PRIMARY KEY, b BLOB)", "INSERT INTO t VALUES (1, x'00')", journal="wal")
    relation = SourceRelation("t")
    with closing(legacy.open()) as reading:
        with closing(legacy.open()) as source:
            source.state(relation)
            assert [c.rows for c in source.chunks(relation, source.describe(relation).columns, None)] == [1]
        subprocess.run([sys.executable, "-c", OTHERS, str(legacy.path)], check=True, timeout=60)
        assert legacy.path.with_name(f"{legacy.path.name}-wal").exists()
        assert reading.describe(relation).rows == 1


def test_a_source_reads_one_snapshot(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER)", "INSERT INTO t VALUES (1)", journal="wal")
    relation = SourceRelation("t")
    read: Callable[[SqliteSource], int] = lambda source: source.describe(relation).rows  # noqa: E731  # said once

    with closing(legacy.open()) as source:
        legacy.run("INSERT INTO t VALUES (2)", journal="wal")
        assert read(source) == 1
    with closing(legacy.open()) as source:
        assert read(source) == 2


def test_a_damaged_page_ends_the_splitting(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER, x TEXT)", "INSERT INTO t VALUES (1, 'x')")
    with closing(legacy.open()) as source:
        with legacy.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
        with pytest.raises((SourceMissing, SystemUnavailable), match=r"damaged|can't be read"):
            source.split(SourceRelation("t"), 2)


def test_a_file_that_was_taken_away_has_no_state(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i INTEGER)", "INSERT INTO t VALUES (1)")
    with closing(legacy.open()) as source:
        legacy.path.unlink()
        for ask in (source.state, source.describe):
            with pytest.raises(SourceMissing, match=r"the SQLite file .*legacy\.db is gone"):
                ask(SourceRelation("t"))
