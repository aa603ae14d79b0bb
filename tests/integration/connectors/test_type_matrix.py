"""Every type of every source in every target, with values that systems like to spoil: what arrives is read by the target's own means.

The types are those of `type_matrix`, from which docs/types.md is generated: a type without values here fails.
"""

import json
import re
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from itertools import count
from pathlib import Path

import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog

from pymigrate.engine.adapters.connectors.type_matrix import SOURCES, TARGETS, SourceTypes
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from tests.integration.connectors.routes import CONNECTORS, moved, postgres_spec
from tests.servers import MariadbDatabase, PostgresCluster, empty_database
from tools.types_page import document

ROOT = Path(__file__).resolve().parents[3]
TEXTS = (
    "",
    " ",
    "NULL",
    "\\N",
    "a,b\"c'd",
    "line\nbreak\r\ttab",
    "Straße 𝄞 \U0001f468\u200d\U0001f469",
    "\u202eabc",
    "\\x41",
)
JSONS = ('{"b": 1.10, "a": 1e400, "a": null}', "[]", '"\\u00e4"', "-0.0", "12345678901234567890.123")
INTEGERS = {"int16": (-(2**15), 0, 2**15 - 1), "int32": (-(2**31), 0, 2**31 - 1), "int64": (-(2**63), -1, 2**63 - 1)}
FLOATS = ("0", "-0.0", "0.1", "1.7976931348623157e308", "5e-324", "Infinity", "-Infinity", "NaN", "9007199254740993")
NARROW = ("0", "-0.0", "0.1", "3.4028235e38", "1e-45", "Infinity", "-Infinity", "NaN", "16777216")
DATES = ("0001-01-01", "1582-10-10", "1969-12-31", "2000-02-29", "9999-12-31")
TIMES = ("00:00:00", "00:00:00.000001", "23:59:59.999999")
MOMENTS = ("0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2038-01-19 03:14:08", "9999-12-31 23:59:59.999999")
UUIDS = ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff")
POSTGRES: Mapping[str, Sequence[str]] = {
    "boolean": ("true", "false"),
    "smallint": tuple(map(str, INTEGERS["int16"])),
    "integer": tuple(map(str, INTEGERS["int32"])),
    "bigint": tuple(map(str, INTEGERS["int64"])),
    "numeric(12,2)": ("0.00", "-9999999999.99", "0.01"),
    "numeric(40,10)": ("NaN", "123456789012345678901234567890.1234567891", "-0.0000000001"),
    "numeric": ("NaN", "1.10", "1.1", "1e-30", "123456789012345678901234567890123456789012345678901234567890.5"),
    "real": NARROW,
    "double precision": FLOATS,
    "money": ("-1234.56",),
    "text": TEXTS,
    "character varying(40)": TEXTS,
    "character(5)": ("", "ab"),
    "name": ("x", ""),
    '"char"': ("x",),
    "bytea": ("", "\\x00ff5c27", "\\x0a0d09"),
    "date": DATES,
    "time without time zone": TIMES,
    "time with time zone": ("00:00:00+15:59", "23:59:59.999999-12:34:56", "24:00:00+00"),
    "timestamp without time zone": MOMENTS,
    "timestamp with time zone": tuple(f"{moment}+00" for moment in MOMENTS),
    "interval": ("1 mon -1 days +00:00:00.000001", "178000000 years", "-178000000 years", "00:00:00"),
    "uuid": UUIDS,
    "json": JSONS,
    "jsonb": ('{"b": 1.10, "a": 1e40}', "[1.0, 1.00]", "-0.0"),
    "xml": ("<a>&lt;\u00e4</a>",),
    "inet": ("10.0.0.1/8", "::ffff:1.2.3.4", "192.168.0.1"),
    "cidr": ("10.0.0.0/8", "2001:db8::/32"),
    "macaddr": ("08:00:2b:01:02:03",),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "bit(3)": ("101", "000"),
    "bit varying(8)": ("", "10101010"),
    "point": ("(1e-300,0.1)", "(Infinity,NaN)"),
    "line": ("{1,-1,0}",),
    "lseg": ("[(0,0),(1,0.1)]",),
    "box": ("(1,1),(0,0)",),
    "path": ("[(0,0),(1,1)]", "((0,0),(1,1))"),
    "polygon": ("((0,0),(1,1),(1,0))",),
    "circle": ("<(0,0),0.1>",),
    "tsvector": ("'it''s':1A 'x':2",),
    "tsquery": ("'a' & !'b'",),
    "int4range": ("empty", "[1,10)", "(,)"),
    "int8range": ("[1,9223372036854775807)",),
    "numrange": ("[1.10,2.20]", "(,1]"),
    "tsrange": ('["2020-01-01 00:00:00",infinity)',),
    "tstzrange": ('["2020-01-01 00:00:00+00",)',),
    "daterange": ("[2020-01-01,2020-02-01)",),
    "int4multirange": ("{}", "{[1,3),[5,7)}"),
    "oid": ("4294967295",),
    "pg_lsn": ("FFFFFFFF/FFFFFFFF",),
    "integer[]": ("{}", "{1,NULL,-1}", "{{{1,2},{3,4}}}", "[0:1]={1,2}"),
    "text[]": ('{"","NULL",NULL,"a,\\"b"}', "{{a,b},{c,d}}"),
    "numeric[]": ("{1.10,NaN}",),
    "an enumeration": ("good", "b'ad"),
    "a composite": ('(1,"a,b")', "(,)"),
    "a domain": ("7",),
}
MADE = {"an enumeration": "mood", "a composite": "pair", "a domain": "positive"}
MYSQL: Mapping[str, Sequence[str]] = {
    "tinyint(1)": ("0", "1", "-128", "127"),
    "tinyint": ("-128", "127"),
    "tinyint unsigned": ("255",),
    "smallint": ("-32768",),
    "smallint unsigned": ("65535",),
    "mediumint": ("-8388608",),
    "mediumint unsigned": ("16777215",),
    "int": ("-2147483648",),
    "int unsigned": ("4294967295",),
    "bigint": ("-9223372036854775808",),
    "bigint unsigned": ("18446744073709551615", "0"),
    "year": ("1901", "2155", "0"),
    "decimal(12,2)": ("-9999999999.99", "0.01"),
    "decimal(50,10)": ("1234567890123456789012345678901234567890.1234567891",),
    "float": ("0.1", "3.40282e38"),
    "double": ("0.1", "1.7976931348623157e308", "5e-324"),
    "bit(8)": (),
    "char(5)": ("ab", ""),
    "varchar(40)": TEXTS,
    "text": TEXTS,
    "enum('a','b')": ("a",),
    "set('a','b')": ("a,b", ""),
    "binary(4)": (),
    "varbinary(8)": (),
    "blob": (),
    "date": DATES[2:],
    "time(6)": TIMES,
    "datetime(6)": MOMENTS[1:],
    "timestamp(6)": ("1970-01-02 00:00:01.000001", "2038-01-19 03:14:07.999999"),
    "json": ('{"b": 1.10, "a": null}',),
    "uuid": UUIDS,
    "inet6": ("::1",),
    "point": (),
}
SQLITE: Mapping[str, Sequence[object]] = {
    "INTEGER": INTEGERS["int64"],
    "BIGINT": INTEGERS["int64"],
    "SMALLINT": (1, -1),
    "REAL": (0.1, 1e308, float("inf"), 5e-324),
    "DOUBLE PRECISION": (0.1, -1e308),
    "FLOAT": (0.1,),
    "BOOLEAN": (0, 1),
    "TEXT": TEXTS,
    "VARCHAR(40)": TEXTS,
    "CHAR(5)": ("longer than five", ""),
    "CLOB": TEXTS,
    "BLOB": (b"", b"\x00\xff", b"text"),
    "NUMERIC": (1, 0.1, "x"),
    "DECIMAL(12,2)": (1, 0.25, 12345678901234),
    "DATE": ("2020-01-01", "0000-00-00", "soon"),
    "DATETIME": ("2020-01-01 00:00:00",),
    "TIMESTAMP": ("2020-01-01T00:00:00Z",),
    "JSON": JSONS,
    "(none)": ("text", ""),
}
DUCKDB: Mapping[str, Sequence[str]] = {
    "BOOLEAN": ("true", "false"),
    "TINYINT": ("-128",),
    "SMALLINT": ("-32768",),
    "INTEGER": ("-2147483648",),
    "BIGINT": ("-9223372036854775808",),
    "HUGEINT": ("170141183460469231731687303715884105727",),
    "UTINYINT": ("255",),
    "USMALLINT": ("65535",),
    "UINTEGER": ("4294967295",),
    "UBIGINT": ("18446744073709551615",),
    "FLOAT": NARROW,
    "DOUBLE": FLOATS,
    "DECIMAL(12,2)": ("-9999999999.99", "0.01"),
    "VARCHAR": TEXTS,
    "BLOB": ("", "\\x00\\xFF"),
    "DATE": DATES,
    "TIME": TIMES,
    "TIME WITH TIME ZONE": ("00:00:00+15:59",),
    "TIMESTAMP": MOMENTS,
    "TIMESTAMP_S": ("2020-01-01 00:00:01",),
    "TIMESTAMP_MS": ("2020-01-01 00:00:01.001",),
    "TIMESTAMP_NS": ("2020-01-01 00:00:01.001002003",),
    "TIMESTAMP WITH TIME ZONE": tuple(f"{moment}+00" for moment in MOMENTS),
    "INTERVAL": ("1 month -1 day 00:00:00.000001",),
    "JSON": JSONS[:1] + JSONS[1:],
    "UUID": UUIDS,
    "BIT": ("10101",),
    "ENUM('a', 'b')": ("a",),
    "INTEGER[]": ("[1, NULL, -1]", "[]"),
    "STRUCT(a INTEGER)": ("{'a': 1}",),
    "MAP(VARCHAR, INTEGER)": ("{x=1}",),
}
VALUES: Mapping[str, Mapping[str, Sequence[object]]] = {
    "postgres": POSTGRES,
    "mysql": MYSQL,
    "sqlite": SQLITE,
    "duckdb": DUCKDB,
}
REFUSED_FLOATS = {
    "sqlite": frozenset({"NaN", "-0.0"}),
    "mysql": frozenset({"NaN", "-0.0", "Infinity", "-Infinity", "inf", "-inf"}),
}
ATTEMPTS = count(1)
ROUTES = [(source, target.kind) for source in SOURCES for target in TARGETS]


class Place:
    """Databases of a test's own, of every kind, and what they hold by their own means, as texts that mean the same everywhere."""

    def __init__(self, folder: Path, dsn: str, mariadb: MariadbDatabase | None = None) -> None:
        self.folder, self.dsn, self.mariadb = folder, dsn, mariadb

    def spec(self, kind: str, name: str = "given") -> SystemSpec:
        if kind == "postgres":
            return postgres_spec(self.dsn)
        if kind == "mysql":
            assert self.mariadb is not None
            return SystemSpec(kind, kind, self.mariadb.options())
        if kind == "iceberg":
            options = {"catalog_path": f"{self.folder}/catalog.db", "warehouse": f"{self.folder}/ice"}
            return SystemSpec(kind, kind, {**options, "catalog_name": "default"})
        if kind == "files":
            return SystemSpec(kind, kind, {"root": str(self.folder / "lake")})
        return SystemSpec(kind, kind, {"path": str(self.folder / f"{name}.{kind}")})

    def make(self, source: SourceTypes, rows: Mapping[str, Sequence[object]]) -> None:
        """A table `given` with a column `c<n>` for each type, and `id`."""
        natives = [native for native in source.natives if rows[native]]
        count = max(len(rows[native]) for native in natives)
        table = [[n, *(rows[native][n] if n < len(rows[native]) else None for native in natives)] for n in range(count)]
        getattr(self, f"_make_{source.kind}")(natives, table)

    def _make_postgres(self, natives: Sequence[str], table: Sequence[Sequence[object]]) -> None:
        types = [MADE.get(native, native) for native in natives]
        columns = ", ".join(f"c{at} {native}" for at, native in enumerate(types))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS given CASCADE")
            connection.execute(
                "DO $$ BEGIN CREATE TYPE mood AS ENUM ('good', 'b''ad'); CREATE TYPE pair AS (a integer, b text); "
                "CREATE DOMAIN positive AS integer CHECK (VALUE > 0); EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
            connection.execute(f"CREATE TABLE given (id integer PRIMARY KEY, {columns})".encode())
            marks = ", ".join(["%s", *(f"%s::text::{native}" for native in types)])
            connection.cursor().executemany(f"INSERT INTO given VALUES ({marks})".encode(), table)
            connection.execute("CREATE OR REPLACE VIEW seen AS SELECT * FROM given")

    def _make_mysql(self, natives: Sequence[str], table: Sequence[Sequence[object]]) -> None:
        assert self.mariadb is not None
        columns = ", ".join(f"c{at} {native} NULL" for at, native in enumerate(natives))
        with self.mariadb.cluster.connect(self.mariadb.name) as connection, connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute("DROP TABLE IF EXISTS given")
            cursor.execute(f"CREATE TABLE given (id int PRIMARY KEY, {columns}) CHARACTER SET utf8mb4")
            cursor.executemany(f"INSERT INTO given VALUES ({', '.join(['%s'] * (len(natives) + 1))})", table)
            connection.commit()

    def _make_sqlite(self, natives: Sequence[str], table: Sequence[Sequence[object]]) -> None:
        columns = ", ".join(f"c{at} {'' if native == '(none)' else native}" for at, native in enumerate(natives))
        with closing(sqlite3.connect(self.folder / "given.sqlite", isolation_level=None)) as connection:
            connection.execute("DROP TABLE IF EXISTS given")
            connection.execute(f"CREATE TABLE given (id INTEGER PRIMARY KEY, {columns})")
            connection.executemany(f"INSERT INTO given VALUES ({', '.join('?' * (len(natives) + 1))})", table)

    def _make_duckdb(self, natives: Sequence[str], table: Sequence[Sequence[object]]) -> None:
        columns = ", ".join(f"c{at} {native}" for at, native in enumerate(natives))
        with duckdb.connect(self.folder / "given.duckdb") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("DROP TABLE IF EXISTS given")
            connection.execute(f"CREATE TABLE given (id INTEGER PRIMARY KEY, {columns})")
            marks = ", ".join(["?", *(f"CAST(?::VARCHAR AS {native})" for native in natives)])
            connection.executemany(f"INSERT INTO given VALUES ({marks})", [list(row) for row in table])

    def texts(
        self, kind: str, relation: str, columns: Sequence[str], types: Sequence[ColumnType]
    ) -> list[list[object]]:
        """Rows by id, each value as its system spells it."""
        found: list[list[object]] = getattr(self, f"_texts_{kind}")(relation, columns, types)
        return found

    def _texts_postgres(self, relation: str, columns: Sequence[str], types: Sequence[ColumnType]) -> list[list[object]]:
        """As text; a cast takes the blanks off that fill up a character(n), which its own output does not."""
        terms = [
            f"encode({name}, 'hex')"
            if kind.kind == "bytes"
            else f"CASE WHEN num_nulls({name}) = 0 AND pg_typeof({name})::text = 'character' THEN concat({name}) ELSE {name}::text END"
            for name, kind in zip(columns, types, strict=True)
        ]
        with psycopg.connect(self.dsn, options="-c timezone=UTC -c extra_float_digits=1") as connection:
            statement = f"SELECT {', '.join(terms)} FROM {relation} ORDER BY id"
            return [list(row) for row in connection.execute(statement.encode())]

    def _texts_mysql(self, relation: str, columns: Sequence[str], types: Sequence[ColumnType]) -> list[list[object]]:
        assert self.mariadb is not None
        how = {"bytes": "hex({0})", "float32": "CONCAT(CAST({0} AS DOUBLE), '')"}
        terms = ", ".join(how.get(t.kind, "CONCAT({0}, '')").format(c) for c, t in zip(columns, types, strict=True))
        with self.mariadb.cluster.connect(self.mariadb.name) as connection, connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute(f"SELECT {terms} FROM {relation} ORDER BY id")
            return [[v.decode() if isinstance(v, bytes) else v for v in row] for row in cursor.fetchall()]

    def _texts_sqlite(self, relation: str, columns: Sequence[str], types: Sequence[ColumnType]) -> list[list[object]]:
        with closing(sqlite3.connect(self.folder / f"{relation}.sqlite")) as connection:
            return [list(row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM {relation} ORDER BY id")]

    def _texts_duckdb(self, relation: str, columns: Sequence[str], types: Sequence[ColumnType]) -> list[list[object]]:
        terms = ", ".join(
            f"hex({c})" if t.kind == "bytes" else f"CAST({c} AS VARCHAR)" for c, t in zip(columns, types, strict=True)
        )
        with duckdb.connect(self.folder / f"{relation}.duckdb") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return [list(row) for row in connection.execute(f"SELECT {terms} FROM {relation} ORDER BY id").fetchall()]

    def _texts_files(self, relation: str, columns: Sequence[str], types: Sequence[ColumnType]) -> list[list[object]]:
        parts = sorted((self.folder / "lake" / relation).glob("*.parquet"))
        rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
        return [[row[column] for column in columns] for row in sorted(rows, key=lambda row: row["id"])]

    def _texts_iceberg(self, relation: str, columns: Sequence[str], types: Sequence[ColumnType]) -> list[list[object]]:
        catalog = SqlCatalog("default", uri=f"sqlite:///{self.folder}/catalog.db")
        try:
            [table] = [name for space in catalog.list_namespaces() for name in catalog.list_tables(space)]
            rows = catalog.load_table(table).scan().to_arrow().to_pylist()
        finally:
            catalog.close()
        return [[row[column] for column in columns] for row in sorted(rows, key=lambda row: row["id"])]


def canonical(value: object, kind: str) -> object:
    """A value of a kind, whichever system spelled it."""
    if value is None:
        return None
    text = str(value)
    match kind:
        case "bool":
            return text.lower() in {"t", "true", "1"}
        case "int16" | "int32" | "int64" | "uint64":
            return int(text)
        case "decimal":
            return Decimal(text).as_tuple()
        case "float32":
            return struct.pack(">f", float(text))
        case "float64":
            return struct.pack(">d", float(text))
        case "bytes":
            return value.hex() if isinstance(value, bytes) else text.lower()
        case "time" | "timestamp" | "timestamptz":
            plain = re.sub(r"(\+00(:00)?|Z)$", "", text.replace("T", " "))
            whole, _, fraction = plain.partition(".")
            return f"{whole}.{fraction:0<6}"
        case "uuid":
            return text.lower()
    return text


@pytest.fixture(scope="module")
def database(postgres_clusters: Callable[[str], PostgresCluster]) -> Iterator[str]:
    """One for the module: every test makes its tables anew."""
    with empty_database(postgres_clusters("machine")) as dsn:
        yield dsn


@pytest.fixture
def place(tmp_path: Path, database: str) -> Place:
    return Place(tmp_path, database)


def fitting(source: SourceTypes, target: str) -> dict[str, Sequence[object]]:
    """The values that the target does not refuse."""
    values, refused = dict(VALUES[source.kind]), REFUSED_FLOATS.get(target, frozenset())
    for native, samples in values.items():
        if source.column_type(native).kind in {"float32", "float64"}:
            values[native] = [value for value in samples if str(value) not in refused]
    return values


def assert_same(
    place: Place, source: SourceTypes, target: str, relation: str = "given", path: CopyPath = CopyPath.ARROW
) -> None:
    """Copies the relation and compares every value."""
    wanted = SourceRelation(relation, key=("id",))
    with closing(CONNECTORS[source.kind]().open_source(place.spec(source.kind))) as opened:
        columns = [column for column in opened.describe(wanted).columns if column.name != "id"]
    names, types = [column.name for column in columns], [column.type for column in columns]
    expected = place.texts(source.kind, relation, names, types)
    with (
        closing(CONNECTORS[source.kind]().open_source(place.spec(source.kind))) as opened,
        closing(CONNECTORS[target]().open_target(place.spec(target, "arrived"))) as written,
    ):
        staging = moved(opened, written, wanted, f"m{next(ATTEMPTS)}", path, {relation: "arrived"})
        written.publish([staging])
    found = place.texts(target, "arrived", names, types)
    assert len(found) == len(expected)
    for at, column in enumerate(columns):
        given = [canonical(row[at], column.type.kind) for row in expected]
        arrived = [canonical(row[at], column.type.kind) for row in found]
        assert arrived == given, f"{column.native_type} in {target}"


@pytest.mark.parametrize(("source", "target"), ROUTES, ids=lambda part: getattr(part, "kind", part))
def test_every_type_arrives_as_it_was(
    source: SourceTypes, target: str, place: Place, request: pytest.FixtureRequest
) -> None:
    if "mysql" in {source.kind, target}:
        place.mariadb = request.getfixturevalue("mariadb_database")
    assert set(VALUES[source.kind]) == set(source.natives)
    place.make(source, fitting(source, target))
    relation = "seen" if source.kind == "postgres" else "given"
    assert_same(place, source, target, relation)


def test_every_type_passes_between_postgres_servers_undecoded(place: Place) -> None:
    infinite = {
        native: (*given, "infinity", "-infinity")
        if native.startswith(("date", "timestamp")) and native != "daterange"
        else given
        for native, given in POSTGRES.items()
    }
    place.make(SOURCES[0], infinite)
    assert_same(place, SOURCES[0], "postgres", path=CopyPath.POSTGRES_BINARY)


@pytest.mark.parametrize(
    ("native", "value"),
    [
        ("date", "infinity"),
        ("date", "0001-01-01 BC"),
        ("timestamp without time zone", "-infinity"),
        ("timestamp with time zone", "infinity"),
        ("time without time zone", "24:00:00"),
    ],
)
def test_what_has_no_place_is_refused_by_column_and_row_unless_it_is_asked_for_as_text(
    native: str, value: str, place: Place
) -> None:
    place.make(SOURCES[0], dict.fromkeys(SOURCES[0].natives, ()) | {native: (value,)})
    with closing(CONNECTORS["postgres"]().open_source(place.spec("postgres"))) as source:
        info = source.describe(SourceRelation("seen", key=("id",)))
        with pytest.raises(DataRefused, match=r"seen, column `c0`, row id=0"):
            list(source.chunks(SourceRelation("seen", key=("id",)), info.columns, None))
        written = SourceRelation("seen", key=("id",), columns={"c0": ColumnType("string")})
        [chunk] = source.chunks(written, source.describe(written).columns, None)
        assert chunk.batches[0].column("c0").to_pylist() == [value]


TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
PLAIN = TEXT.filter(lambda text: "\\" not in text)
DRAWN: Mapping[str, st.SearchStrategy[str]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "numeric(40,10)": st.decimals(-(10**20), 10**20, places=10).map(str),
    "numeric": st.decimals(-(10**30), 10**30).map(lambda number: format(number, "f")),
    "double precision": st.floats(allow_nan=False).filter(lambda number: number != 0.0).map(repr),
    "text": TEXT,
    "bytea": st.binary(max_size=20).map(lambda data: "\\x" + data.hex()),
    "timestamp without time zone": st.datetimes().map(str),
    "date": st.dates().map(str),
    "json": st.recursive(st.none() | st.integers() | PLAIN, st.lists, max_leaves=5).map(json.dumps),
    "text[]": st.lists(PLAIN.map(lambda text: json.dumps(text, ensure_ascii=False)) | st.just("NULL"), max_size=3).map(
        lambda items: f"{{{','.join(items)}}}"
    ),
}


@settings(
    max_examples=3,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.fixed_dictionaries({native: st.lists(one, min_size=1, max_size=30) for native, one in DRAWN.items()}))
def test_whatever_is_drawn_arrives_as_it_was(place: Place, drawn: dict[str, Sequence[object]]) -> None:
    nothing: Mapping[str, Sequence[object]] = dict.fromkeys(SOURCES[0].natives, ())
    place.make(SOURCES[0], {**nothing, **drawn})
    for target in TARGETS:
        if target.kind not in {"mysql", "iceberg"}:  # tried by the routes; here the suite's time counts
            assert_same(place, SOURCES[0], target.kind, "seen")


def test_the_page_is_what_the_connectors_say() -> None:
    assert (ROOT / "docs" / "types.md").read_text() == document()
