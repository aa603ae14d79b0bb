"""PostgreSQL databases as sources: the order of rows, every type, one snapshot, and what is refused."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.postgres_source import PostgresSource
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    SourceChanged,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.source import SourceChunk


class Legacy:
    """A database that somebody else writes to."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        parts = conninfo_to_dict(dsn)
        self.options = {name: str(parts[name]) for name in ("host", "port", "user")} | {
            "database": str(parts["dbname"])
        }
        self.opened: list[PostgresSource] = []

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def open(self, **options: str) -> PostgresSource:
        source = PostgresSource(SystemSpec("postgres", "legacy", {**self.options, **options}))
        self.opened.append(source)
        return source

    def chunks(
        self,
        table: str,
        after: Position | None = None,
        key: str = "",
        types: Mapping[str, str] | None = None,
        chunk_bytes: int = 1,
    ) -> list[SourceChunk]:
        columns = {name: parse_type(text) for name, text in (types or {}).items()}
        relation = SourceRelation(table, None, columns, tuple(key.split()), chunk_bytes)
        with closing(self.open()) as source:
            return list(source.chunks(relation, source.describe(relation).columns, after))

    def rows(
        self, table: str, after: Position | None = None, key: str = "", types: Mapping[str, str] | None = None
    ) -> list[tuple[object, ...]]:
        found = self.chunks(table, after, key, types)
        return [tuple(row.values()) for chunk in found for batch in chunk.batches for row in batch.to_pylist()]


@pytest.fixture
def legacy(postgres_database: str) -> Iterator[Legacy]:
    legacy = Legacy(postgres_database)
    yield legacy
    for source in legacy.opened:
        source.close()


ARRIVING = [
    ("smallint", "int16", "-32768", -32768),
    ("integer", "int32", "2147483647", 2147483647),
    ("bigint", "int64", "9223372036854775807", 2**63 - 1),
    ("boolean", "bool", "true", "True"),
    ("real", "float32", "'1e-45'", "1.401298464324817e-45"),
    ("double precision", "float64", "0.1", 0.1),
    ("double precision", "float64", "'-infinity'", "-inf"),
    ("text", "string", "'é\n'", "é\n"),
    ("varchar(5)", "string", "'abc'", "abc"),
    ("char(5)", "string", "'abc'", "abc  "),
    ("bytea", "bytes", "'\\x00ff'", b"\x00\xff"),
    ("date", "date", "'2024-02-29'", "2024-02-29"),
    ("date", "date", "'0001-01-01'", "0001-01-01"),
    ("time", "time", "'23:59:59.999999'", "23:59:59.999999"),
    ("time(3)", "time", "'01:00'", "01:00:00"),
    ("timestamp", "timestamp", "'1999-12-31 23:59:59.999999'", "1999-12-31 23:59:59.999999"),
    ("timestamp(0)", "timestamp", "'1969-12-31 23:59:59'", "1969-12-31 23:59:59"),
    ("timestamptz", "timestamptz", "'2024-06-01 12:00:00+02'", "2024-06-01 10:00:00+00:00"),
    ("numeric(38,10)", "decimal(38,10)", "'-1234567890123456789012345678.0123456789'", None),
    ("numeric(5)", "decimal(5,0)", "12345", "12345"),
    ("numeric", "string", "'1.10'", "1.10"),
    ("numeric", "string", "'NaN'", "NaN"),
    ("numeric(40,10)", "string", "1.5", "1.5000000000"),
    ("uuid", "uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", "json", "'{\"a\":  1.10}'", '{"a":  1.10}'),
    ("jsonb", "json", "'{\"a\":1.10}'", '{"a": 1.10}'),
    ("interval", "string", "'1 month 2 days 03:00'", "1 mon 2 days 03:00:00"),
    ("timetz", "string", "'12:00+02'", "12:00:00+02"),
    ("inet", "string", "'10.0.0.1/8'", "10.0.0.1/8"),
    ("varchar(3)[]", "string", "'{a,NULL}'", "{a,NULL}"),
    ("date[]", "string", "'{infinity}'", "{infinity}"),
    ("mood", "string", "'sad'", "sad"),
    ("bit(3)", "string", "B'101'", "101"),
]


def test_a_column_arrives_as_it_is(legacy: Legacy) -> None:
    for native, kind, value, read in ARRIVING:
        legacy.run("DROP TABLE IF EXISTS t", "DROP TYPE IF EXISTS mood")
        legacy.run("CREATE TYPE mood AS ENUM ('glad', 'sad')", f'CREATE TABLE t (i int PRIMARY KEY, "x%s" {native})')
        legacy.run(f"INSERT INTO t VALUES (1, {value}), (2, NULL)")

        with closing(legacy.open()) as source:
            assert str(source.describe(SourceRelation("t")).columns[1].type) == kind
        [(_, first), (_, second)] = legacy.rows("t")

        if read is None:
            assert first == Decimal(value.strip("'"))
        else:
            assert (native, first if not isinstance(read, str) else str(first)) == (native, read)
        assert second is None


REFUSED = [
    ("date", "infinity", "`infinity` is no date"),
    ("date", "-infinity", "`-infinity` is no date"),
    ("date", "0001-12-31 BC", "a day before the year 1"),
    ("timestamp", "infinity", "`infinity` is no timestamp"),
    ("timestamptz", "-infinity", "`-infinity` is no timestamptz"),
    ("timestamp", "0044-03-15 12:00 BC", "a day before the year 1"),
    ("timestamp", "294276-12-31 12:00", "a day that is too far away"),
    ("time", "24:00:00", "`24:00:00` is no time"),
    ("numeric(5,2)", "NaN", r"`NaN` is no decimal\(5,2\)"),
]


def test_a_value_that_no_type_holds_is_refused_with_its_key(legacy: Legacy) -> None:
    for native, value, what in REFUSED:
        legacy.run("DROP TABLE IF EXISTS t")
        legacy.run(f"CREATE TABLE t (a int, b text, x {native}, PRIMARY KEY (b, a))")
        legacy.run(f"INSERT INTO t VALUES (1, 'k', NULL), (2, 'k', '{value}')")

        with pytest.raises(DataRefused, match=f"t, column `x`, row b=k, a=2: .*{what}") as found:
            legacy.chunks("t")
        assert found.value.field == "source.columns.x"
        assert str(legacy.rows("t", types={"x": "string"})[1][2]).startswith(value.split(maxsplit=1)[0])


KEYS = [
    ("bigint", [str(number) for number in range(40)]),
    ("text", [f"'{number} %s é'" for number in range(40)]),
    ("char(8)", [f"'{number}'" for number in range(40)]),
    ("double precision", [*(f"{number}::float8 / 3" for number in range(40)), "'NaN'", "'-infinity'"]),
    ("numeric", [*(f"{number}.10" for number in range(40)), "'NaN'"]),
    ("timestamptz", [*(f"to_timestamp({number} + 0.000001)" for number in range(40)), "'infinity'"]),
    ("uuid", [f"md5('{number}')::uuid" for number in range(40)]),
    ("bytea", [f"decode(md5('{number}'), 'hex')" for number in range(40)]),
    ("boolean", ["true", "false"]),
    ("mood", ["'zestful'", "'glad'", "'sad'"]),
]


def test_reading_on_gives_the_rest_for_keys_of_every_type(legacy: Legacy) -> None:
    for native, values in KEYS:
        legacy.run("DROP TABLE IF EXISTS t", "DROP TYPE IF EXISTS mood")
        legacy.run("CREATE TYPE mood AS ENUM ('zestful', 'glad', 'sad')")
        legacy.run(f'CREATE TABLE t ("k%s" {native} PRIMARY KEY, at int)')
        legacy.run(f"INSERT INTO t VALUES {', '.join(f'({value}, {at})' for at, value in enumerate(values))}")

        relation = SourceRelation("t", chunk_bytes=1)
        with closing(legacy.open()) as source:
            columns = source.describe(relation).columns[1:]
            chunks = list(source.chunks(relation, columns, None))
            rows = [value for chunk in chunks for batch in chunk.batches for value in batch.column(0).to_pylist()]
            done = 0
            for chunk in chunks:
                done += chunk.rows
                rest = [
                    value
                    for more in source.chunks(relation, columns, chunk.end)
                    for batch in more.batches
                    for value in batch.column(0).to_pylist()
                ]
                assert rest == rows[done:]
        assert sorted(rows) == list(range(len(values)))


ORDERS = [
    ("CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))", "", "b a"),
    ("CREATE TABLE t (a int, b int)", "", "ctid"),
    ("CREATE TABLE t (a int, b int)", "b", "ctid"),
    ("CREATE TABLE t (a int, b int NOT NULL UNIQUE)", "b", "b"),
    ("CREATE TABLE t (a int, b int NOT NULL UNIQUE)", "", "ctid"),
    ("CREATE TABLE t (a int, b int UNIQUE)", "b", "ctid"),
    ("CREATE TABLE t (a int, b int NOT NULL UNIQUE DEFERRABLE)", "b", "ctid"),
    ("CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL UNIQUE)", "b", "a"),
    (
        "CREATE TABLE p (a int, b int); CREATE TABLE t () INHERITS (p); CREATE TABLE c () INHERITS (t)",
        "",
        "tableoid ctid",
    ),
    ("CREATE VIEW t AS SELECT 1 AS a, 2 AS b", "b", "b"),
    ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS a, 2 AS b", "", "ctid"),
]


def test_rows_are_ordered_by_what_is_sure_to_be_unique(legacy: Legacy) -> None:
    for table, key, by in ORDERS:
        legacy.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        legacy.run(*table.split("; "))
        if "VIEW" not in table:
            legacy.run("INSERT INTO t VALUES (1, 2)")

        [chunk] = legacy.chunks("t", key=key)

        assert chunk.end.startswith('{"by": [' + ", ".join(f'"{name}"' for name in by.split()) + "]")


def test_a_partitioned_table_without_a_key_is_read_whole(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (i int) PARTITION BY HASH (i)",
        *(
            f"CREATE TABLE t_{number} PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER {number})"
            for number in range(3)
        ),
        "INSERT INTO t SELECT generate_series(1, 300)",
    )
    chunks, rows = legacy.chunks("t"), legacy.rows("t")

    assert sorted(rows) == [(number,) for number in range(1, 301)]
    assert legacy.rows("t", chunks[0].end) == rows[chunks[0].rows :]
    with closing(legacy.open()) as source:
        assert [info.relation for info in source.relations("*", 10)] == ["t"]


def test_a_place_of_another_order_is_refused(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int)", "INSERT INTO t VALUES (1), (2)")
    [chunk] = legacy.chunks("t")
    legacy.run("ALTER TABLE t ADD PRIMARY KEY (i)")

    with pytest.raises(SourceChanged, match="t was read by ctid and has another order by now"):
        legacy.chunks("t", chunk.end)


def test_a_view_is_read_by_the_key_that_the_dataset_names(legacy: Legacy) -> None:
    legacy.run("CREATE VIEW v AS SELECT 100 - i AS k FROM generate_series(1, 50) AS i")
    chunks, rows = legacy.chunks("v", key="k"), legacy.rows("v", key="k")

    assert rows == [(number,) for number in range(50, 100)]
    assert legacy.rows("v", chunks[0].end, "k") == rows[chunks[0].rows :]
    with pytest.raises(InvalidDefinition, match="`v` is a view: name columns that together are unique") as found:
        legacy.chunks("v")
    assert found.value.field == "key"


@pytest.mark.parametrize("keys", ["(1), (2), (2)", "(NULL), (1)"])
def test_a_view_whose_key_is_not_unique_is_refused(legacy: Legacy, keys: str) -> None:
    legacy.run(f"CREATE VIEW v AS SELECT k FROM (VALUES {keys}) AS found (k)")

    with pytest.raises(DataRefused, match="the key is NULL or occurs twice"):
        legacy.chunks("v", key="k")


def test_a_view_that_can_not_be_evaluated_is_refused(legacy: Legacy) -> None:
    legacy.run(
        "CREATE FUNCTION odd(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
        "IF i > 20 THEN RAISE EXCEPTION 'odd enough'; END IF; RETURN i; END $$",
        "CREATE VIEW divided AS SELECT i, 1 / (i - 20) AS x FROM generate_series(1, 50) AS i",
        "CREATE VIEW raised AS SELECT i, odd(i) AS x FROM generate_series(1, 50) AS i",
    )

    with pytest.raises(DataRefused, match="division by zero"):
        legacy.chunks("divided", key="i")
    with pytest.raises(FailedPrecondition, match="can't be evaluated: odd enough"):
        legacy.chunks("raised", key="i")


def test_relations_of_other_schemas_have_their_schema_in_the_name(legacy: Legacy) -> None:
    legacy.run(
        'CREATE SCHEMA "Sales"', 'CREATE TABLE "Sales"."Orders" (i int)', 'INSERT INTO "Sales"."Orders" VALUES (7)'
    )

    assert legacy.rows("Sales.Orders") == [(7,)]
    with closing(legacy.open()) as source:
        assert [info.relation for info in source.relations("*", 10)] == ["Sales.Orders"]
        with pytest.raises(SourceMissing, match=r"did you mean `Sales.Orders`\?"):
            source.describe(SourceRelation("Sales.orders"))


def test_a_description_has_the_primary_key_and_what_the_statistics_say(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))", "INSERT INTO t SELECT 1, generate_series(1, 1000)")
    with closing(legacy.open()) as source:
        before = source.describe(SourceRelation("t"))
    legacy.run("ANALYZE t")
    with closing(legacy.open()) as source:
        after = source.describe(SourceRelation("t"))
        assert source.version().startswith("PostgreSQL ")

    assert (before.key, before.rows, before.is_exact_rows) == (("b", "a"), -1, False)
    assert (after.rows, after.is_exact_rows) == (1000, False)
    assert after.bytes >= 8192


def test_a_source_reads_one_snapshot(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int)", "INSERT INTO t VALUES (1)")
    relation = SourceRelation("t")
    with closing(legacy.open()) as source:
        columns = source.describe(relation).columns
        legacy.run("INSERT INTO t VALUES (2)")

        assert sum(chunk.rows for chunk in source.chunks(relation, columns, None)) == 1
    assert len(legacy.rows("t")) == 2


def test_settings_of_the_role_do_not_change_what_is_read(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (d date PRIMARY KEY, f float8[], b bytea, v interval)",
        "INSERT INTO t VALUES ('2024-02-01', '{0.1}', '\\x00', '1 day')",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database());"
        "EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -5', current_database());"
        "EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());"
        "EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database());"
        "EXECUTE format('ALTER DATABASE %I SET intervalstyle = ''iso_8601''', current_database()); END $$",
    )

    [row] = legacy.rows("t", types={"d": "string", "b": "string"})

    assert row == ("2024-02-01", "{0.1}", "\\x00", "1 day")


def test_rows_that_a_policy_would_hide_are_an_error(legacy: Legacy) -> None:
    legacy.run(
        "CREATE TABLE t (i int)",
        "INSERT INTO t VALUES (1), (2)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clerk') THEN CREATE ROLE clerk LOGIN; END IF; END $$",
        "GRANT SELECT ON t TO clerk",
        "CREATE POLICY first ON t FOR SELECT TO clerk USING (i = 1)",
    )
    source = legacy.open(user="clerk")
    relation = SourceRelation("t")

    with pytest.raises(FailedPrecondition, match=r"row-level security policy.* grant the connection's user the right"):
        list(source.chunks(relation, source.describe(relation).columns, None))


def test_text_of_a_database_without_an_encoding_must_be_utf8(legacy: Legacy) -> None:
    name = f"{legacy.options['database']}_ascii"
    with psycopg.connect(legacy.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0".encode())
    try:
        unencoded = Legacy(psycopg.conninfo.make_conninfo(legacy.dsn, dbname=name))
        with psycopg.connect(unencoded.dsn, client_encoding="latin1") as connection:
            connection.execute(b"CREATE TABLE t (x text)")
            connection.execute(b"INSERT INTO t VALUES (convert_from('\\xff', 'SQL_ASCII'))")
        with pytest.raises(DataRefused, match=r"^t: "):
            unencoded.chunks("t")
    finally:
        with psycopg.connect(legacy.dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_server_that_is_not_there_is_unavailable_and_the_password_unsaid(legacy: Legacy) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {**legacy.options, "port": str(port)}

    with pytest.raises(SystemUnavailable) as found:
        PostgresConnector().open_source(SystemSpec("postgres", "legacy", options, Secret("swordfish")))

    assert f"PostgreSQL at 127.0.0.1:{port}, database `{options['database']}`" in found.value.message
    assert "check that it runs" in found.value.message
    assert "swordfish" not in found.value.message


def test_an_unknown_database_is_unavailable_with_advice(legacy: Legacy) -> None:
    with pytest.raises(SystemUnavailable, match="check the connection's database"):
        legacy.open(database="nobody_knows")


def test_a_connection_that_is_cut_is_unavailable(legacy: Legacy) -> None:
    legacy.run("CREATE TABLE t (i int)", "INSERT INTO t SELECT generate_series(1, 1000)")
    source, relation = legacy.open(), SourceRelation("t", chunk_bytes=1)
    chunks = source.chunks(relation, source.describe(relation).columns, None)
    next(chunks)
    legacy.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pymigrate' AND datname = current_database()"
    )

    with pytest.raises(SystemUnavailable, match="does not answer as it should"):
        list(chunks)


def test_the_connector_opens_targets_too(legacy: Legacy) -> None:
    with closing(PostgresConnector().open_target(SystemSpec("postgres", "legacy", legacy.options))) as target:
        assert target.version().startswith("PostgreSQL ")
