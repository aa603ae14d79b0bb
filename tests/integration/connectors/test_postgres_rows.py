"""Rows by COPY, scanned or decoded in columns: bit for bit what the cursor gives, and nothing where the bytes are no such rows."""

from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.postgres_rows import PADDING, fields
from pymigrate.engine.adapters.connectors.postgres_source import PostgresSource
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk
from tests.contract.sources.systems import chunks_of, postgres_spec

TYPES = {
    "b": "boolean", "s": "smallint", "i": "integer", "l": "bigint", "r": "real", "d": "double precision", "n": "numeric(18,6)",
    "m": "numeric(9,0)", "w": "numeric(40,10)", "u": "numeric", "k": "numeric(38,10)", "t": "text", "v": "varchar(20)", "c": "char(5)",
    "y": "bytea", "x": "uuid", "j": "jsonb", "o": "json", "da": "date", "ti": "time", "ts": "timestamp", "tz": "timestamptz",
    "iv": "interval", "tt": "timetz", "ip": "inet", "ar": "integer[]", "ra": "int4range", "bi": "bit(5)",
}  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
MOMENTS = ["0001-01-01 00:00:00", "1999-12-31 23:59:59.999999", "2000-01-01 00:00:00", "290000-06-01 00:00:00.000001"]
VALUES = {
    "b": st.booleans().map(str), "s": st.integers(-(2**15), 2**15 - 1).map(str), "i": st.integers(-(2**31), 2**31 - 1).map(str),
    "l": st.integers(-(2**63), 2**63 - 1).map(str), "r": st.floats(width=32).map(repr), "d": st.floats().map(repr),
    "n": st.decimals(-(10**12) + 1, 10**12 - 1, places=6).map(str), "m": st.integers(-(10**9) + 1, 10**9 - 1).map(str),
    "w": st.sampled_from(["NaN", "-1234567890123456789012345678.0123456789", "0.0000000001"]),
    "u": st.sampled_from(["NaN", "1.10", "1e-30", "1234567890123456789012345678901234567890.5", "-0.0"]),
    "k": st.decimals(-(10**27), 10**27, places=10).map(str), "t": TEXT, "v": TEXT, "c": st.sampled_from(["", "a", "é ", "abcde"]),
    "y": st.binary(max_size=9).map(lambda value: "\\x" + value.hex()), "x": st.uuids().map(str),
    "j": st.sampled_from(['{"a": 1.10}', "null", "[]"]), "o": st.sampled_from(['{"a":  1.10}', '{"a":1,"a":2}']),
    "da": st.sampled_from(["0001-01-01", "1999-12-31", "2000-01-01", "9999-12-31", "20000-01-01"]),
    "ti": st.sampled_from(["00:00:00", "23:59:59.999999"]), "ts": st.sampled_from(MOMENTS), "tz": st.sampled_from(MOMENTS),
    "iv": st.sampled_from(["1 mon -2 days 03:00:00.000001", "00:00:00"]), "tt": st.sampled_from(["12:00:00+02", "23:59:59-15:59"]),
    "ip": st.sampled_from(["::1", "10.0.0.0/8"]), "ar": st.sampled_from(["{}", "{{1,NULL},{3,4}}"]),
    "ra": st.sampled_from(["empty", "[1,5)"]),
    "bi": st.sampled_from(["10101"]),
}  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1, max_size=5
)


def scanning(dsn: str) -> PostgresSource:
    """A source that asks the scanner from the first row on."""
    return PostgresSource(postgres_spec(dsn), scanned_rows_min=1)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_rows_by_copy_are_bit_for_bit_those_of_the_cursor(
    postgres_database: str, rows: Sequence[dict[str, str | None]]
) -> None:
    columns = ", ".join(f"{name} {native}" for name, native in TYPES.items())
    with psycopg.connect(postgres_database) as connection:
        connection.execute("DROP TABLE IF EXISTS t CASCADE")
        connection.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, must integer NOT NULL, {columns})".encode())
        connection.execute("CREATE VIEW v AS SELECT * FROM t")
        places = ", ".join(f"%s::{native}" for native in TYPES.values())
        for at, row in enumerate(rows):
            connection.execute(f"INSERT INTO t VALUES ({at}, {-at}, {places})".encode(), [row[name] for name in TYPES])
    with closing(PostgresConnector().open_source(postgres_spec(postgres_database))) as source:
        decoded = chunks_of(source, SourceRelation("t"))
        fetched = chunks_of(source, SourceRelation("v", key=("id",)))
    with closing(scanning(postgres_database)) as source:
        scanned = chunks_of(source, SourceRelation("t"))
        assert source.is_scanning
    other = _table(chunk.batches[0] for chunk in fetched)
    for chunks in (decoded, scanned):
        one = _table(batch for chunk in chunks for batch in chunk.batches)
        assert one.schema == other.schema
        for name in one.schema.names:
            assert _bits(one[name]) == _bits(other[name]), name


@pytest.mark.parametrize(
    ("native", "value", "why"),
    [
        ("numeric(9,2)", "NaN", "`NaN` is no decimal"),
        ("date", "infinity", "`infinity` is no date"),
        ("date", "0044-03-15 BC", "`a day before the year 1` is no date"),
        ("timestamptz", "-infinity", "`-infinity` is no timestamptz"),
        ("time", "24:00:00", "`24:00:00` is no time"),
        ("numeric(38,10)", "NaN", "`NaN` is no decimal"),
    ],
)
def test_what_no_type_holds_is_refused_with_its_row(postgres_database: str, native: str, value: str, why: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute(f"CREATE TABLE t (id integer PRIMARY KEY, x {native})".encode())
        connection.execute("INSERT INTO t SELECT n, NULL FROM generate_series(1, 9000) AS n")
        connection.execute("UPDATE t SET x = %s WHERE id = 8999", (value,))
    for source in (PostgresConnector().open_source(postgres_spec(postgres_database)), scanning(postgres_database)):
        with closing(source), pytest.raises(DataRefused, match=f"t, column `x`, row id=8999: {why}"):
            chunks_of(source, SourceRelation("t"))


@pytest.mark.parametrize("key", ["integer", "text", "timestamptz", "numeric", "uuid"])
def test_a_scan_is_gone_on_with_after_any_key(postgres_database: str, key: str) -> None:
    texts = {
        "integer": "n",
        "text": "'k' || n",
        "timestamptz": "now() + n * interval '1 us'",
        "numeric": "n / 7.0",
        "uuid": "md5(n::text)::uuid",
    }
    with psycopg.connect(postgres_database) as connection:
        connection.execute(f"CREATE TABLE t (k {key} PRIMARY KEY, n integer)".encode())
        connection.execute(f"INSERT INTO t SELECT {texts[key]}, n FROM generate_series(1, 3000) AS n".encode())
        ordered = [row[0] for row in connection.execute("SELECT n FROM t ORDER BY k")]
    relation = SourceRelation("t", chunk_bytes=8_000)
    with closing(scanning(postgres_database)) as source:
        chunks = chunks_of(source, relation)
        rest = chunks_of(source, relation, chunks[1].end)
        assert source.is_scanning
    assert _values(chunks, "n") == ordered
    assert _values(rest, "n") == ordered[chunks[0].rows + chunks[1].rows :]


def test_the_scanner_reads_under_the_snapshot_of_the_source(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id integer PRIMARY KEY)")
        connection.execute("INSERT INTO t SELECT n FROM generate_series(1, 2000) AS n")
        with closing(scanning(postgres_database)) as source:
            source.describe(SourceRelation("t"))
            connection.execute("INSERT INTO t SELECT n FROM generate_series(2001, 4000) AS n")
            connection.execute("DELETE FROM t WHERE id <= 1000")
            assert _values(chunks_of(source, SourceRelation("t")), "id") == list(range(1, 2001))
            assert source.is_scanning


def test_a_server_that_ends_the_scanners_session_leaves_the_process_standing(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id integer PRIMARY KEY)")
        connection.execute("INSERT INTO t SELECT n FROM generate_series(1, 3000) AS n")
        with closing(scanning(postgres_database)) as source:
            columns = source.describe(SourceRelation("t")).columns
            chunks = source.chunks(SourceRelation("t", chunk_bytes=500), columns, None)
            first = next(chunks)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pymigrate' "
                "AND query LIKE '%COPY%' AND datname = current_database()"
            )
            rows = first.rows + sum(chunk.rows for chunk in chunks)
            assert not source.is_scanning
    assert rows == 3000


def test_a_chunk_holds_as_many_rows_as_the_target_asks_for(postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE t (id integer PRIMARY KEY)")
        connection.execute("INSERT INTO t SELECT n FROM generate_series(1, 2500) AS n")
    with closing(PostgresConnector().open_source(postgres_spec(postgres_database))) as source:
        chunks = chunks_of(source, SourceRelation("t", chunk_rows=1000))
    assert [chunk.rows for chunk in chunks] == [1000, 1000, 500]


def test_rows_without_a_key_are_read_page_by_page_in_the_order_of_the_disk(postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE t (id integer, note text)")
        connection.execute("INSERT INTO t SELECT n, repeat('x', n % 300) FROM generate_series(1, 6000) AS n")
        connection.execute("DELETE FROM t WHERE id BETWEEN 1000 AND 4000")
        placed = [row[0] for row in connection.execute("SELECT id FROM t ORDER BY ctid")]
    relation = SourceRelation("t", chunk_bytes=20_000)
    with closing(PostgresConnector().open_source(postgres_spec(postgres_database))) as source:
        chunks = chunks_of(source, relation)
        rest = chunks_of(source, relation, chunks[2].end)
    found = _values(chunks, "id")
    assert found == placed
    done = sum(chunk.rows for chunk in chunks[:3])
    assert _values(rest, "id") == found[done:]
    with closing(scanning(postgres_database)) as source:
        assert _values(chunks_of(source, relation), "id") == placed
        assert _values(chunks_of(source, relation, chunks[2].end), "id") == found[done:]
        assert source.is_scanning


def test_large_numbers_keep_every_digit(postgres_database: str) -> None:
    texts = ["999999999999.999999", "-999999999999.999999", "0.000001", "-0.000001", "10000.0001", "0", "99990000"]
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE t (id integer PRIMARY KEY, x numeric(18,6))")
        connection.cursor().executemany("INSERT INTO t VALUES (%s, %s)", list(enumerate(texts)))
    for source in (PostgresConnector().open_source(postgres_spec(postgres_database)), scanning(postgres_database)):
        with closing(source):
            assert _values(chunks_of(source, SourceRelation("t")), "x") == [Decimal(text) for text in texts]


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\2\0\0\0\1a", b"\0\1\0\0\0\7a", b"\0\1\x7f\xff\xff\xffa", b"\0\1\0\0\0\0a"]
)
def test_bytes_that_are_no_rows_are_not_guessed_at(data: bytes) -> None:
    with pytest.raises(FailedPrecondition, match="something other than rows"):
        fields(data + PADDING, np.array([len(data)]), 1)


def _values(chunks: Sequence[SourceChunk], name: str) -> list[object]:
    return [value for chunk in chunks for batch in chunk.batches for value in batch[name].to_pylist()]


def _table(batches: object) -> pa.Table:
    return pa.Table.from_batches(list(batches)).combine_chunks()  # type: ignore[call-overload]  # an iterator of batches


def _bits(values: pa.ChunkedArray) -> list[object]:
    """Values as their bytes where equality is not that of bits."""
    if pa.types.is_floating(values.type):
        return [*map(repr, values.to_pylist()), values.to_numpy().tobytes()]
    if pa.types.is_temporal(values.type):
        width = pa.int32() if values.type == pa.date32() else pa.int64()
        return [each for part in values.chunks for each in part.view(width).to_pylist()]
    return list(values.to_pylist())
