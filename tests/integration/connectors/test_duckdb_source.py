"""DuckDB files as sources: what is DuckDB's own. The contract for every source is in tests/contract/sources."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source
from tests.contract.sources.systems import chunks_of, rows_of

Lay = Callable[..., Source]

EXACT: Mapping[str, tuple[str, str, list[str]]] = {
    "HUGEINT": ("string", "HUGEINT", [str(-(2**127)), str(2**127 - 1), "0"]),
    "UHUGEINT": ("string", "UHUGEINT", [str(2**128 - 1)]),
    "UBIGINT": ("uint64", "UBIGINT", [str(2**64 - 1)]),
    "TINYINT": ("int16", "TINYINT", ["-128"]),
    "UINTEGER": ("int64", "UINTEGER", [str(2**32 - 1)]),
    "DECIMAL(38,10)": ("decimal(38,10)", "DECIMAL(38,10)", ["-1234567890123456789012345678.0123456789"]),
    "INTERVAL": ("string", "INTERVAL", ["-1 month 2 days -03:04:05.000678", "00:00:00"]),
    "TIMESTAMP_NS": ("string", "TIMESTAMP_NS", ["2020-01-01 00:00:00.123456789", "infinity"]),
    "TIMETZ": ("string", "TIME WITH TIME ZONE", ["12:00:00.123456+02:03:04", "00:00:00-15:59:59"]),
    "TIME": ("time", "TIME", ["23:59:59.999999"]),
    "TIMESTAMP": ("timestamp", "TIMESTAMP", ["1969-12-31 23:59:59.999999"]),
    "TIMESTAMP_S": ("timestamp", "TIMESTAMP_S", ["2020-01-01 00:00:00"]),
    "BIT": ("string", "BIT", ["0101", "00000000001"]),
    "BIGNUM": ("string", "BIGNUM", ["-" + "9" * 60]),
    "UUID": ("uuid", "UUID", ["00000000-0000-0000-0000-00000000000a"]),
    "JSON": ("json", "JSON", ['{"a":1.10}', "null"]),
    "ENUM('a', 'B c')": ("string", "ENUM('a', 'B c')", ["B c"]),
    "DOUBLE[]": ("string", "DOUBLE[]", ["[nan, -0.0, 1e+300, NULL]"]),
    "VARCHAR[]": ("string", "VARCHAR[]", ["[NULL, 'NULL', 'a, b', '', ' x']", "[]"]),
    "INTEGER[2][]": ("string", "INTEGER[2][]", ["[[1, 2], [3, NULL]]"]),
    "STRUCT(a INTEGER, \"b c\" VARCHAR)": ("string", 'STRUCT(a INTEGER, "b c" VARCHAR)', ["{'a': 1, 'b c': 'x}'}"]),
    "MAP(INTEGER, VARCHAR)": ("string", "MAP(INTEGER, VARCHAR)", ["{1=a, 2=NULL}"]),
    "VARCHAR": ("string", "VARCHAR", ["", "naïve \U0001f600", "a\0b", "NULL"]),
}  # fmt: skip


@pytest.fixture
def lay(tmp_path: Path) -> Iterator[Lay]:
    """Runs statements on a new file, and opens it as a source."""
    opened: list[Source] = []

    def make(*statements: str, parameters: tuple[object, ...] = ()) -> Source:
        with duckdb.connect(tmp_path / "legacy.duckdb") as connection:
            for statement in statements:
                connection.execute(statement, list(parameters) if "?" in statement else None)
        opened.append(
            DuckdbConnector().open_source(SystemSpec("duckdb", "legacy", {"path": str(tmp_path / "legacy.duckdb")}))
        )
        return opened[-1]

    yield make
    for source in opened:
        source.close()


def test_a_table_that_no_block_holds_yet_is_not_taken_for_the_whole_file(lay: Lay, tmp_path: Path) -> None:
    lay("CREATE TABLE large AS SELECT hash(n) AS h FROM range(500000) r(n)").close()
    source = lay("CREATE TABLE constant AS SELECT 1 AS n FROM range(1000)", "CHECKPOINT")
    sizes = [source.describe(SourceRelation(name)).bytes for name in ("constant", "large")]
    assert sizes[0] <= 262_144 < 1_000_000 < sizes[1] <= (tmp_path / "legacy.duckdb").stat().st_size


def read(source: Source, relation: str = "t", **types: str) -> list[tuple[object, ...]]:
    asked = SourceRelation(relation, columns={name: parse_type(text) for name, text in types.items()})
    return rows_of(chunks_of(source, asked))


@pytest.mark.parametrize("native", EXACT)
def test_every_type_is_read_exactly_or_as_its_text(lay: Lay, native: str) -> None:
    kind, told, texts = EXACT[native]
    values = ", ".join(f"({_literal(text)}::{native})" for text in texts)
    source = lay(f"CREATE TABLE t (v {native})", f"INSERT INTO t VALUES {values}, (NULL)")

    [column] = source.describe(SourceRelation("t")).columns
    assert (str(column.type), column.native_type) == (kind, told)
    found = [value for (value,) in read(source)]
    assert found[-1] is None
    assert [value for (value,) in read(source, v="string")][:-1] == texts
    if kind in {"string", "uuid", "json"}:
        assert found[:-1] == texts


@pytest.mark.parametrize(
    ("native", "value", "why"),
    [
        ("DATE", "'infinity'", "`infinity` is no date"),
        ("TIMESTAMP", "'-infinity'", "`-infinity` is no timestamp"),
        ("TIMESTAMPTZ", "'infinity'", "`infinity` is no timestamptz"),
        ("TIMESTAMP_MS", "'infinity'", "`infinity` is no timestamp"),
        ("TIME", "'24:00:00'", "`24:00:00` is no time"),
        ("JSON[]", """['{"a": 1.10}'::JSON]""", r"is not all there is to a value of the type JSON\[\]"),
        ("UNION(a VARCHAR, b INTEGER)", "union_value(b := 1)", "is not all there is to a value of the type UNION"),
    ],
)
def test_what_is_not_proven_exact_is_refused_with_its_row(lay: Lay, native: str, value: str, why: str) -> None:
    source = lay(f"CREATE TABLE t (id INTEGER, v {native})", f"INSERT INTO t VALUES (1, NULL), (2, {value})")
    with pytest.raises(DataRefused, match=rf"t, column `v`, row rowid=1: .*{why}") as refused:
        read(source)
    assert refused.value.field == "source.columns.v"


def test_a_type_that_nobody_has_proven_is_refused_with_the_columns_name(lay: Lay) -> None:
    source = lay("CREATE TABLE t (id INTEGER, shape GEOMETRY)")
    with pytest.raises(InvalidDefinition, match="GEOMETRY, which is not read without a doubt") as refused:
        source.describe(SourceRelation("t"))
    assert refused.value.field == "source.columns.shape"
    assert [info.relation for info in source.relations("*", 10)] == ["t"]


def test_infinite_days_pass_as_text_where_the_dataset_says_so(lay: Lay) -> None:
    source = lay("CREATE TABLE t (v DATE)", "INSERT INTO t VALUES ('infinity'), ('0044-03-15 (BC)')")
    assert read(source, v="string") == [("infinity",), ("0044-03-15 (BC)",)]


def test_declared_types_are_read_strictly_from_the_text(lay: Lay) -> None:
    source = lay("CREATE TABLE t (v VARCHAR)", "INSERT INTO t VALUES ('12'), ('1O')")
    with pytest.raises(DataRefused, match="rowid=1: `1O` is no int64"):
        read(source, v="int64")


def test_rows_are_read_in_the_order_of_rowid_across_deleted_ones(lay: Lay) -> None:
    source = lay(
        "CREATE TABLE t AS SELECT range AS id FROM range(300000)",
        "DELETE FROM t WHERE id % 3 = 0 OR id BETWEEN 1000 AND 200000",
    )
    wanted = [(number,) for number in range(300_000) if number % 3 and not 1_000 <= number <= 200_000]
    relation = SourceRelation("t", chunk_bytes=30_000)
    chunks = chunks_of(source, relation)
    assert rows_of(chunks) == wanted
    assert len(chunks) > 10
    done = sum(chunk.rows for chunk in chunks[:4])
    assert rows_of(chunks_of(source, relation, chunks[3].end)) == wanted[done:]


def test_a_view_is_read_in_the_order_of_its_key(lay: Lay) -> None:
    source = lay(
        "CREATE TABLE t AS SELECT range AS id, 'n' || range AS name FROM range(5000)",
        "CREATE VIEW v AS SELECT name, -id AS number FROM t",
    )
    relation = SourceRelation("v", key=("number",), chunk_bytes=20_000)
    chunks = chunks_of(source, relation)
    assert rows_of(chunks) == [(f"n{number}", -number) for number in reversed(range(5_000))]
    assert rows_of(chunks_of(source, relation, chunks[1].end)) == rows_of(chunks[2:])
    assert len(source.split(relation, 4)) == 1
    with pytest.raises(InvalidDefinition, match="is a view: name columns that together are unique"):
        read(source, "v")


def test_a_key_of_a_view_that_is_not_unique_is_refused(lay: Lay) -> None:
    source = lay("CREATE VIEW v AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, 'c')) AS x (id, name)")
    with pytest.raises(DataRefused, match="row id=2: the key is NULL or occurs twice"):
        chunks_of(source, SourceRelation("v", key=("id",)))


def test_a_table_that_hides_its_rowid_is_read_by_its_key(lay: Lay) -> None:
    source = lay("CREATE TABLE t (rowid INTEGER, name VARCHAR)", "INSERT INTO t VALUES (2, 'b'), (1, 'a')")
    with pytest.raises(InvalidDefinition, match="has a column that hides its rowid"):
        read(source)
    assert rows_of(chunks_of(source, SourceRelation("t", key=("rowid",)))) == [(1, "a"), (2, "b")]


def test_a_view_of_what_is_gone_is_listed_and_says_why_it_cannot_be_read(lay: Lay) -> None:
    source = lay("CREATE TABLE t (id INTEGER)", "CREATE VIEW v AS SELECT * FROM t", "DROP TABLE t")
    assert [(info.relation, info.columns) for info in source.relations("*", 10)] == [("v", ())]
    with pytest.raises(InvalidDefinition, match=r"`v` can't be read: .*t does not exist"):
        source.describe(SourceRelation("v"))


def test_keys_schemas_and_required_columns_are_described(lay: Lay) -> None:
    source = lay(
        "CREATE SCHEMA sales",
        'CREATE TABLE sales."Orders" (id INTEGER, line INTEGER, note VARCHAR NOT NULL, PRIMARY KEY (line, id))',
    )
    info = source.describe(SourceRelation("sales.orders"))
    assert info.key == ("line", "id")
    assert [(c.name, c.is_required) for c in info.columns] == [("id", True), ("line", True), ("note", True)]
    assert [info.relation for info in source.relations("*", 10)] == ["sales.Orders"]


def test_wide_rows_do_not_make_large_batches(lay: Lay) -> None:
    source = lay("CREATE TABLE t AS SELECT repeat('x', 100000) AS v FROM range(300)")
    chunks = chunks_of(source, SourceRelation("t", chunk_bytes=1_000_000))
    assert sum(chunk.rows for chunk in chunks) == 300
    assert max(chunk.bytes for chunk in chunks) < 1_500_000


def test_a_missing_file_is_told_with_the_nearest_name_and_one_that_is_no_database_too(tmp_path: Path) -> None:
    (tmp_path / "legacy.duckdb").write_text("not a database" * 1000)
    connector = DuckdbConnector()
    with pytest.raises(SourceMissing, match=r"did you mean `legacy\.duckdb`"):
        connector.open_source(SystemSpec("duckdb", "legacy", {"path": str(tmp_path / "legcy.duckdb")}))
    with pytest.raises(InvalidDefinition, match="is not a DuckDB file"):
        connector.open_source(SystemSpec("duckdb", "legacy", {"path": str(tmp_path / "legacy.duckdb")}))


def test_a_file_is_read_beside_other_readers_but_not_beside_a_writer(lay: Lay, tmp_path: Path) -> None:
    path = tmp_path / "legacy.duckdb"
    source = lay("CREATE TABLE t AS SELECT 1 AS id")
    assert _elsewhere(f"duckdb.connect({str(path)!r}, read_only=True)") == ""
    assert "Conflicting lock" in _elsewhere(f"duckdb.connect({str(path)!r})")
    source.close()
    holding = f"import duckdb, sys; held = duckdb.connect({str(path)!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(SystemUnavailable, match=f"process {holder.pid}"):
            DuckdbConnector().open_source(SystemSpec("duckdb", "legacy", {"path": str(path)}))
        holder.stdin.close()


def test_source_and_target_of_one_process_share_the_file_when_the_target_is_first(tmp_path: Path) -> None:
    spec, connector = SystemSpec("duckdb", "both", {"path": str(tmp_path / "both.duckdb")}), DuckdbConnector()
    with duckdb.connect(tmp_path / "both.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS id")
    with closing(connector.open_target(spec)), closing(connector.open_source(spec)) as source:
        assert read(source) == [(1,)]
    with closing(connector.open_source(spec)), pytest.raises(SystemUnavailable, match="is being read by this worker"):
        connector.open_target(spec)
    connector.open_target(spec).close()


def test_a_source_is_unavailable_for_a_moment_while_an_indexed_table_of_its_file_is_being_replaced(
    tmp_path: Path,
) -> None:
    connector, system = DuckdbConnector(), SystemSpec("duckdb", "warehouse", {"path": str(tmp_path / "both.duckdb")})
    with closing(connector.open_target(system)), closing(connector.open_source(system)) as source:
        other = connector._opened(tmp_path / "both.duckdb", is_read_only=False)[0]
        other.execute("CREATE TABLE orders (id INTEGER)")
        other.execute("CREATE UNIQUE INDEX orders_key ON orders (id)")
        other.begin()
        other.execute("DROP INDEX orders_key")
        other.execute("ALTER TABLE orders RENAME TO kept")

        with pytest.raises(SystemUnavailable, match="is being written to"):
            source.describe(SourceRelation("orders"))

        other.commit()
        other.close()
        connector._release(tmp_path / "both.duckdb")


def test_a_file_whose_log_was_left_behind_is_read_whole_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "legacy.duckdb"
    dying = (
        f"import duckdb, os; c = duckdb.connect({str(path)!r}); c.execute('CREATE TABLE t AS SELECT range AS id FROM range(9)'); "
        "os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", dying], check=False)
    log = path.with_name("legacy.duckdb.wal")
    before = log.read_bytes()
    with closing(DuckdbConnector().open_source(SystemSpec("duckdb", "legacy", {"path": str(path)}))) as source:
        state = source.state(SourceRelation("t"))
        assert len(read(source)) == 9
        assert source.state(SourceRelation("t")) == state
    assert log.read_bytes() == before


def test_a_value_that_a_view_cannot_compute_is_refused_in_duckdbs_words(lay: Lay) -> None:
    source = lay(
        "CREATE VIEW v AS SELECT * FROM (VALUES (1, 'x'::VARCHAR)) AS x (id, t)",
        "CREATE VIEW w AS SELECT id, t::INTEGER AS t FROM v",
    )
    with pytest.raises((DataRefused, FailedPrecondition), match="Could not convert string 'x'"):
        chunks_of(source, SourceRelation("w", key=("id",)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.floats(),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
            st.none() | st.binary(max_size=20),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.dates(),
            st.none() | st.datetimes().map(lambda moment: moment.replace(fold=0)),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_whatever_a_table_holds_arrives_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("legacy") / "legacy.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t (f DOUBLE, s VARCHAR, b BLOB, i BIGINT, d DATE, m TIMESTAMP)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    with closing(DuckdbConnector().open_source(SystemSpec("duckdb", "legacy", {"path": str(path)}))) as source:
        found = read(source)
    assert [repr(row) for row in found] == [repr(row) for row in rows]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'" if "\0" not in text else f"{text!r}".replace("\\x00", "' || chr(0) || '")


def _elsewhere(opening: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", f"import duckdb; {opening}"], capture_output=True, text=True, check=False
    ).stderr
