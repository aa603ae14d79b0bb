"""MySQL's own ways as a source, on a real MariaDB: its types, its zero dates, its keys and what goes wrong with a server."""

import socket
import struct
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    SourceChanged,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.source import Source
from tests.contract.sources.systems import chunks_of, rows_of
from tests.proxies import proxied
from tests.servers import MariadbDatabase

LOOSE = "SET sql_mode = ''"


class Legacy:
    """A database, and what is read of it."""

    def __init__(self, database: MariadbDatabase) -> None:
        self.database = database

    def run(self, *statements: str) -> None:
        """In one session."""
        with self.database.cluster.connect(self.database.name) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def open(self, password: str = "", **options: str) -> Source:
        secret = Secret(password) if password else None
        return MysqlConnector().open_source(
            SystemSpec("mysql", "legacy", {**self.database.options(), **options}, secret)
        )

    def rows(self, relation: str, **types: str) -> list[tuple[object, ...]]:
        declared = {name: parse_type(text) for name, text in types.items()}
        with closing(self.open()) as source:
            return rows_of(chunks_of(source, SourceRelation(relation, columns=declared)))

    def kinds(self, relation: str) -> dict[str, str]:
        with closing(self.open()) as source:
            return {column.name: str(column.type) for column in source.describe(SourceRelation(relation)).columns}


@pytest.fixture
def legacy(mariadb_database: MariadbDatabase) -> Legacy:
    return Legacy(mariadb_database)


COLUMNS: list[tuple[str, str, str, object]] = [
    ("tinyint(1)", "-128", "int16", -128),
    ("tinyint unsigned", "255", "int16", 255),
    ("smallint unsigned", "65535", "int32", 65535),
    ("mediumint", "-8388608", "int32", -8388608),
    ("int unsigned", "4294967295", "int64", 4294967295),
    ("bigint", "-9223372036854775808", "int64", -(2**63)),
    ("bigint unsigned", "18446744073709551615", "uint64", 2**64 - 1),
    ("int(7) zerofill", "42", "int64", 42),
    ("decimal(38,10)", "9999999999999999999999999999.0000000001", "decimal(38,10)", Decimal("9" * 28 + ".0000000001")),
    ("decimal(65,30)", "0.1", "string", "0.1" + "0" * 29),
    ("decimal(12,2)", "1.10", "decimal(12,2)", Decimal("1.10")),
    ("float", "16777217", "float32", 16777216.0),
    ("float", "0.1", "float32", struct.unpack("f", struct.pack("f", 0.1))[0]),
    ("float(7,3)", "1234.567", "float32", struct.unpack("f", struct.pack("f", 1234.567))[0]),
    ("double", "-2.2250738585072014e-308", "float64", -2.2250738585072014e-308),
    ("double(20,3)", "123456789.125", "float64", 123456789.125),
    ("date", "'9999-12-31'", "date", date(9999, 12, 31)),
    ("datetime(6)", "'1000-01-01 00:00:00.000001'", "timestamp", datetime.fromisoformat("1000-01-01T00:00:00.000001")),
    ("datetime", "'2024-02-29 23:59:59'", "timestamp", datetime.fromisoformat("2024-02-29T23:59:59")),
    ("timestamp(3)", "'2024-03-31 02:30:00.125'", "timestamptz", datetime(2024, 3, 31, 2, 30, 0, 125000, UTC)),
    ("time(6)", "'23:59:59.999999'", "time", time(23, 59, 59, 999999)),
    ("year", "2155", "int16", 2155),
    ("bit(1)", "b'1'", "string", "1"),
    ("bit(9)", "b'000000101'", "string", "000000101"),
    ("enum('a','B','it''s')", "'it''s'", "string", "it's"),
    ("set('x','y')", "'x,y'", "string", "x,y"),
    ("json", '\'{"a" : 1.10, "a": 2}\'', "json", '{"a" : 1.10, "a": 2}'),
    ("char(5)", "'ab'", "string", "ab"),
    ("varchar(9)", "''", "string", ""),
    ("longtext", "'NULL\\\\N \t\n\\'😀'", "string", "NULL\\N \t\n'😀"),
    ("varchar(9) character set latin1", "'é€'", "string", "é€"),
    ("varchar(9) character set cp1251", "'привет'", "string", "привет"),
    ("varchar(9) character set utf16", "'日本'", "string", "日本"),
    ("varchar(9) character set sjis", "'日本'", "string", "日本"),
    ("binary(3)", "x'0041'", "bytes", b"\0A\0"),
    ("varbinary(9)", "x'00ff5c0a'", "bytes", b"\x00\xff\\\n"),
    ("longblob", "x''", "bytes", b""),
    ("uuid", "'123E4567-e89b-12d3-a456-426655440000'", "uuid", "123e4567-e89b-12d3-a456-426655440000"),
    ("inet6", "'2001:DB8::1'", "string", "2001:db8::1"),
    ("point", "ST_GeomFromText('POINT(1 2)', 4326)", "bytes", struct.pack("<IBIdd", 4326, 1, 1, 1.0, 2.0)),
]


def test_every_type_arrives_as_it_is_and_null_as_null(legacy: Legacy) -> None:
    names = [f"c{at}" for at in range(len(COLUMNS))]
    declared = ", ".join(f"{name} {native} NULL" for name, (native, *_) in zip(names, COLUMNS, strict=True))
    legacy.run(
        f"CREATE TABLE t (id int PRIMARY KEY, {declared}) ROW_FORMAT=DYNAMIC",
        "SET time_zone = '+00:00'",
        f"INSERT INTO t VALUES (1, {', '.join(value for _, value, _, _ in COLUMNS)})",
        "INSERT INTO t (id) VALUES (2)",
    )
    kinds = legacy.kinds("t")
    [first, second] = legacy.rows("t")
    for name, (native, value, kind, expected), found in zip(names, COLUMNS, first[1:], strict=True):
        assert (native, kinds[name]) == (native, kind)
        assert (native, value, found) == (native, value, expected)
    assert second == (2, *[None] * len(COLUMNS))


def test_declared_types_are_read_from_what_mysql_writes(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (flag tinyint(1), bits bit(1), number bit(8), at datetime, raw varbinary(20), amount decimal(65,2), "
        "size int, day date)",
        "INSERT INTO t VALUES (1, b'0', b'11111111', '2024-01-01', 'héllo', 12.50, 7, '2024-02-29')",
    )
    types = {
        "flag": "bool", "bits": "bool", "number": "int32", "at": "string", "raw": "string", "amount": "decimal(38,2)",
        "size": "string", "day": "string",
    }  # fmt: skip
    expected = (True, False, 255, "2024-01-01 00:00:00", "héllo", Decimal("12.50"), "7", "2024-02-29")
    assert legacy.rows("t", **types) == [expected]


@pytest.mark.parametrize(
    ("native", "value", "why"),
    [
        ("date", "0000-00-00", "`0000-00-00` is no date: mend it, or declare the column as string"),
        ("date", "2024-02-00", "`2024-02-00` is no date"),
        ("datetime", "0000-00-00", "`0000-00-00 00:00:00` is no timestamp"),
        ("timestamp", "0000-00-00", "is no timestamptz: mend it, or declare the column as string"),
        ("time", "24:00:00", "`24:00:00` is no time"),
        ("time", "-00:00:01", "`-00:00:01` is no time"),
        ("time", "838:59:59", "`838:59:59` is no time"),
    ],
)
def test_what_only_mysql_takes_for_a_moment_is_refused_with_its_row_or_taken_as_text(
    legacy: Legacy, native: str, value: str, why: str
) -> None:
    legacy.run(
        LOOSE, f"CREATE TABLE t (id int PRIMARY KEY, v {native} NULL)", "INSERT INTO t VALUES (1, NULL), (2, NULL)"
    )
    legacy.run(LOOSE, f"INSERT INTO t VALUES (3, '{value}')")
    with pytest.raises(DataRefused, match="t, column `v`, row id=3: ") as refused:
        legacy.rows("t")
    assert why in refused.value.message
    assert refused.value.field == "source.columns.v"
    [_, _, (_, text)] = legacy.rows("t", v="string")
    assert str(text).startswith(value)


def test_bytes_that_are_no_text_are_refused_with_their_row(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (id int PRIMARY KEY, v varbinary(9))", "INSERT INTO t VALUES (1, 'a'), (2, x'ff41')")
    with pytest.raises(DataRefused, match=r"t, column `v`, row id=2: `\\xffA` is no string"):
        legacy.rows("t", v="string")


def test_text_that_utf8_does_not_hold_is_refused_rather_than_changed(legacy: Legacy) -> None:
    # 0x98 is no character of cp1251, and the server would send a question mark for it.
    legacy.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(9) CHARACTER SET cp1251)", "INSERT INTO t VALUES (1, x'98')"
    )
    with pytest.raises(DataRefused, match="t, column `v`, row id=1: "):
        legacy.rows("t")


def unsigned_zero(number: float) -> float:
    """MariaDB writes -0.0 as 0, so that nobody can tell the two apart there."""
    return number + 0.0


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False).map(unsigned_zero), min_size=1, max_size=30),
    narrow=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False).map(unsigned_zero), min_size=1, max_size=30
    ),
)
def test_floats_arrive_to_the_last_bit(legacy: Legacy, numbers: list[float], narrow: list[float]) -> None:
    values = [f"({at}, '{number!r}', NULL)" for at, number in enumerate(numbers)]
    values += [f"({100 + at}, NULL, '{number!r}')" for at, number in enumerate(narrow)]
    legacy.run(
        "CREATE OR REPLACE TABLE t (id int PRIMARY KEY, d double, f float)",
        f"INSERT INTO t VALUES {', '.join(values)}",
    )
    rows = legacy.rows("t")
    assert [struct.pack("d", row[1]) for row in rows if row[1] is not None] == [struct.pack("d", n) for n in numbers]
    assert [struct.pack("f", row[2]) for row in rows if row[2] is not None] == [struct.pack("f", n) for n in narrow]


KEYS = {
    "text of another character set": ("k varchar(20) CHARACTER SET latin1", "CONCAT('ä', n % 97, ' ', n)"),
    "text without regard to case": ("k varchar(20)", "CONCAT(IF(n % 2, 'a', 'B'), n)"),
    "bytes": ("k varbinary(20)", "UNHEX(MD5(n))"),
    "times": ("k datetime(6)", "TIMESTAMPADD(MICROSECOND, n * 1001, '2020-01-01')"),
    "moments": ("k timestamp(6)", "TIMESTAMPADD(MICROSECOND, n * 1001, '2020-01-01')"),
    "decimals": ("k decimal(20,5)", "n * -1.00001"),
    "zeros before them": ("k int(9) ZEROFILL", "n * 3"),
    "an enumeration": ("k enum('z','y','x'), m int", "ELT(1 + n % 3, 'z', 'y', 'x'), n"),
    "two columns": ("k varchar(9), m int", "n % 7, n"),
    "three columns": (
        "k int, m varchar(9), o date",
        "n % 5, CONCAT('x', n % 11), DATE_ADD('2020-01-01', INTERVAL n DAY)",
    ),
}


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_read_on_after_any_chunk_and_split(legacy: Legacy, key: str) -> None:
    columns, values = KEYS[key]
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    names = {"an enumeration": "k, m"}.get(key, names)
    legacy.run(
        f"CREATE TABLE t ({columns}, v int, PRIMARY KEY ({names}))",
        f"INSERT INTO t SELECT {values}, n FROM (SELECT seq AS n FROM seq_1_to_300) AS numbers",
    )
    relation = SourceRelation("t", chunk_bytes=1_000)
    with closing(legacy.open()) as source:
        chunks = chunks_of(source, relation)
        rows = rows_of(chunks)
        assert len(chunks) > 3
        assert sorted(row[-1] for row in rows) == list(range(1, 301))  # type: ignore[type-var]  # numbers
        done = 0
        for chunk in chunks:
            done += chunk.rows
            assert rows_of(chunks_of(source, relation, chunk.end)) == rows[done:]
        parts = [rows_of(chunks_of(source, replace(relation, range=span))) for span in source.split(relation, 4)]
    assert [row for part in parts for row in part] == rows
    assert len(parts) == 4


def test_equal_rows_of_a_table_without_a_key_are_all_read_and_read_on(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (a int, b text)", "INSERT INTO t SELECT seq % 3, 'x' FROM seq_1_to_500")
    legacy.run("INSERT INTO t VALUES (NULL, NULL), (NULL, '-')")
    relation = SourceRelation("t", chunk_bytes=600)
    with closing(legacy.open()) as source:
        chunks = chunks_of(source, relation)
        rows = rows_of(chunks)
        assert len(rows) == 502
        assert len(set(rows)) == 5
        done = 0
        for chunk in chunks:
            done += chunk.rows
            assert rows_of(chunks_of(source, relation, chunk.end)) == rows[done:]
        parts = [rows_of(chunks_of(source, replace(relation, range=span))) for span in source.split(relation, 3)]
    assert [row for part in parts for row in part] == rows


def test_a_view_is_read_like_a_table_without_a_key(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", "CREATE VIEW v AS SELECT a FROM t"
    )
    assert sorted(legacy.rows("v")) == [(1,), (2,)]


def test_a_source_reads_one_snapshot(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    relation = SourceRelation("t")
    with closing(legacy.open()) as source:
        columns = source.describe(relation).columns
        legacy.run("INSERT INTO t VALUES (2)")
        assert sum(chunk.rows for chunk in source.chunks(relation, columns, None)) == 1
    assert len(legacy.rows("t")) == 2


@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_a_table_without_snapshots_has_a_state_that_changes_with_its_rows(legacy: Legacy, engine: str) -> None:
    legacy.run(f"CREATE TABLE t (i int PRIMARY KEY, v text) ENGINE={engine}", "INSERT INTO t VALUES (1, 'a')")

    def state() -> str:
        with closing(legacy.open()) as source:
            return source.state(SourceRelation("t"))

    before = state()
    assert before == state() != ""
    legacy.run("UPDATE t SET v = 'b'")
    assert state() != before


def test_names_and_settings_of_the_server_change_nothing(legacy: Legacy) -> None:
    legacy.run('CREATE TABLE `it\'s "odd" % ?` (`a"b` int PRIMARY KEY, `select` text)')
    legacy.run("INSERT INTO `it's \"odd\" % ?` VALUES (1, 'x')")
    assert legacy.rows('it\'s "odd" % ?') == [(1, "x")]


def test_relations_of_other_databases_have_the_database_in_their_name(legacy: Legacy) -> None:
    other = f"{legacy.database.name}_other"
    legacy.run(
        f"CREATE DATABASE {other}", f"CREATE TABLE {other}.people (i int)", f"INSERT INTO {other}.people VALUES (7)"
    )
    try:
        assert legacy.rows(f"{other}.people") == [(7,)]
        with closing(legacy.open()) as source, pytest.raises(Exception, match=rf"did you mean `{other}.people`\?"):
            source.describe(SourceRelation(f"{other}.peopel"))
    finally:
        legacy.run(f"DROP DATABASE {other}")


@pytest.mark.parametrize("name", ["nowhere", "\U0001f600", "no.where", "."])
def test_what_is_not_there_is_missing_whatever_its_name(legacy: Legacy, name: str) -> None:
    with closing(legacy.open()) as source, pytest.raises(SourceMissing):
        source.describe(SourceRelation(name))


def test_rows_of_many_megabytes_arrive_whole(legacy: Legacy) -> None:
    with closing(legacy.open()) as source:
        assert source.version().startswith("MariaDB 1")
    legacy.run("CREATE TABLE t (i int PRIMARY KEY, a longtext, b longblob)")
    legacy.run("INSERT INTO t VALUES (1, REPEAT('ä', 5000000), REPEAT(x'00', 7000000)), (2, 'x', 'y')")
    rows = legacy.rows("t")
    assert [(row[0], len(str(row[1])), len(row[2])) for row in rows] == [(1, 5_000_000, 7_000_000), (2, 1, 1)]  # type: ignore[arg-type]  # bytes


def test_a_column_that_disappears_mid_run_is_named(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int PRIMARY KEY, gone int)", "INSERT INTO t VALUES (1, 2)")
    relation = SourceRelation("t")
    with closing(legacy.open()) as source:
        columns = source.describe(relation).columns
    legacy.run("ALTER TABLE t DROP COLUMN gone")
    with closing(legacy.open()) as source, pytest.raises(SourceChanged, match="column `gone` was there") as found:
        list(source.chunks(relation, columns, None))
    assert found.value.field == "source.columns.gone"


def test_a_key_that_changed_since_a_position_was_written_down_is_noticed(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int PRIMARY KEY, j int NOT NULL)", "INSERT INTO t VALUES (1, 2)")
    relation = SourceRelation("t")
    with closing(legacy.open()) as source:
        [chunk] = chunks_of(source, relation)
    legacy.run("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (j)")
    with closing(legacy.open()) as source, pytest.raises(SourceChanged, match="another key"):
        chunks_of(source, relation, chunk.end)


def test_a_view_that_fails_is_an_error_that_says_so(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int)", "INSERT INTO t VALUES (1)", "CREATE VIEW v AS SELECT i FROM t", "DROP TABLE t")
    with (
        closing(legacy.open()) as source,
        pytest.raises(FailedPrecondition, match="v: what is read can't be evaluated"),
    ):
        list(source.chunks(SourceRelation("v"), (), None))


def test_a_server_that_is_not_there_is_unavailable_and_the_password_unsaid(legacy: Legacy) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SystemUnavailable) as found:
        legacy.open(port=str(port), password="swordfish")
    assert f"MySQL at 127.0.0.1:{port}, database `{legacy.database.name}`" in found.value.message
    assert "check that it runs" in found.value.message
    assert "swordfish" not in found.value.message


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"database": "nobody_knows"}, "check the connection's database"),
        ({"ssl_mode": "require"}, "SSL is required but the server doesn't support it"),
    ],
)
def test_what_is_wrong_with_a_connection_is_said(legacy: Legacy, options: dict[str, str], advice: str) -> None:
    with pytest.raises(SystemUnavailable, match=advice):
        legacy.open(**options)


def test_a_password_beyond_latin_1_opens_the_server(legacy: Legacy) -> None:
    legacy.run(
        "CREATE USER 'żółw'@'%' IDENTIFIED BY 'пароль'", f"GRANT SELECT ON {legacy.database.name}.* TO 'żółw'@'%'"
    )
    try:
        legacy.run("CREATE TABLE t (i int)")
        with closing(legacy.open(user="żółw", password="пароль")) as source:
            assert [info.relation for info in source.relations("*", 10)] == ["t"]
    finally:
        legacy.run("DROP USER 'żółw'@'%'")


def test_a_column_that_the_user_may_not_read_is_not_there(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (i int, secret int)",
        "CREATE USER clerk@'%'",
        f"GRANT SELECT (i) ON {legacy.database.name}.t TO clerk@'%'",
    )
    try:
        with closing(legacy.open(user="clerk")) as source:
            columns = source.describe(SourceRelation("t")).columns
            assert [column.name for column in columns] == ["i"]
            with pytest.raises(SourceChanged, match="or hidden from the connection's user"):
                list(source.chunks(SourceRelation("t"), [replace(columns[0], name="secret")], None))
    finally:
        legacy.run("DROP USER clerk@'%'")


def test_a_connection_that_is_cut_is_unavailable_and_another_reading_goes_on(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (i int PRIMARY KEY, v text)", "INSERT INTO t SELECT seq, REPEAT('x', 20000) FROM seq_1_to_900"
    )
    relation = SourceRelation("t", chunk_bytes=100_000)
    with proxied(legacy.database.cluster.port) as proxy, closing(legacy.open(port=str(proxy.port))) as source:
        chunks = source.chunks(relation, source.describe(relation).columns, None)
        next(chunks)
        proxy.cut()
        with pytest.raises(SystemUnavailable, match="does not answer as it should"):
            list(chunks)
        proxy.mend()
        assert sum(chunk.rows for chunk in chunks_of(source, relation)) == 900


def test_a_reading_that_is_given_up_leaves_nothing_behind(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (i int PRIMARY KEY, v text)", "INSERT INTO t SELECT seq, REPEAT('x', 20000) FROM seq_1_to_900"
    )
    relation = SourceRelation("t", chunk_bytes=100_000)
    with closing(legacy.open()) as source:
        columns = source.describe(relation).columns
        for _ in range(3):
            chunks = source.chunks(relation, columns, None)
            next(chunks)
            chunks.close()  # type: ignore[attr-defined]  # it is a generator
        batch = next(source.chunks(relation, columns, None)).batches[0]
    assert batch.schema.field("v").type == pa.string()
