"""Parquet files as sources: large row groups, every type that can be carried, and those that can't."""

import datetime as dt
import decimal
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, SourceMissing
from tests.integration.connectors.source_files import Folder

UTC = dt.UTC
ID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def write(folder: Folder, table: pa.Table, group: int | None = None) -> None:
    pq.write_table(table, folder.path / "t.parquet", row_group_size=group)


def test_row_groups_that_are_larger_than_a_chunk_are_read_in_parts(folder: Folder) -> None:
    write(folder, pa.table({"i": range(5_000), "x": [f"{number:0200}" for number in range(5_000)]}), group=2_000)
    chunks = folder.chunks("t.parquet", chunk_bytes=50_000)
    rows = folder.rows("t.parquet", chunk_bytes=50_000)

    assert [row[0] for row in rows] == list(range(5_000))
    assert len(chunks) > 10
    done = 0
    for chunk in chunks:
        done += chunk.rows
        for chunk_bytes in (20_000, 10_000_000):
            assert folder.rows("t.parquet", chunk_bytes=chunk_bytes, after=chunk.end) == rows[done:]


def test_a_dictionary_that_is_small_in_the_file_does_not_make_large_chunks(folder: Folder) -> None:
    write(folder, pa.table({"x": ["a" * 10_000] * 2_000}))

    chunks = folder.chunks("t.parquet", chunk_bytes=100_000)

    assert max(sum(batch.nbytes for batch in chunk.batches) for chunk in chunks) < 300_000
    assert sum(chunk.rows for chunk in chunks) == 2_000


@pytest.mark.parametrize(
    ("values", "type", "read"),
    [
        (pa.array([1, None], pa.int8()), "int16", 1),
        (pa.array([255, None], pa.uint8()), "int16", 255),
        (pa.array([65535, None], pa.uint16()), "int32", 65535),
        (pa.array([2**32 - 1, None], pa.uint32()), "int64", 2**32 - 1),
        (pa.array([2**64 - 1, None], pa.uint64()), "uint64", 2**64 - 1),
        (pa.array([1.5, None], pa.float16()), "float32", 1.5),
        (pa.array([0.1, None], pa.float64()), "float64", 0.1),
        (pa.array([True, None]), "bool", True),
        (pa.array(["a", None], pa.large_string()), "string", "a"),
        (pa.array(["a", None], pa.string_view()), "string", "a"),
        (pa.array([None, None], pa.null()), "string", None),
        (pa.array([b"\xff", None]), "bytes", b"\xff"),
        (pa.array(["b", None]).dictionary_encode(), "string", "b"),
        (pa.array([7, None], pa.int32()).dictionary_encode(), "int32", 7),
        (pa.array([decimal.Decimal("-1.50"), None], pa.decimal128(38, 2)), "decimal(38,2)", decimal.Decimal("-1.50")),
        (pa.array([decimal.Decimal("1.5"), None], pa.decimal32(5, 1)), "decimal(5,1)", decimal.Decimal("1.5")),
        (pa.array([dt.date(1, 1, 1), None]), "date", dt.date(1, 1, 1)),
        (pa.array([3_600_000, None], pa.time32("ms")), "time", dt.time(1)),
        (pa.array([3_600_000_000_000, None], pa.time64("ns")), "time", dt.time(1)),
        (pa.array([1_000, None], pa.timestamp("ms")), "timestamp", dt.datetime.fromisoformat("1970-01-01T00:00:01")),
        (
            pa.array([1_000, None], pa.timestamp("ns")),
            "timestamp",
            dt.datetime.fromisoformat("1970-01-01T00:00:00.000001"),
        ),
        (
            pa.array([0, None], pa.timestamp("us", tz="Europe/Berlin")),
            "timestamptz",
            dt.datetime(1970, 1, 1, tzinfo=UTC),
        ),
        (pa.array([ID.bytes, None], pa.uuid()), "uuid", str(ID)),
        (pa.array(['{"a": 1.10}', None], pa.json_()), "json", '{"a": 1.10}'),
    ],
)
def test_a_column_arrives_as_it_is(folder: Folder, values: pa.Array, type: str, read: object) -> None:
    write(folder, pa.table({"a.b": values}))

    info = folder.describe("t.parquet")

    assert [(column.name, str(column.type)) for column in info.columns] == [("a.b", type)]
    assert (info.rows, info.is_exact_rows) == (2, True)
    assert folder.rows("t.parquet") == [(read,), (None,)]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([decimal.Decimal(1)], pa.decimal256(50, 0)),
        pa.array([b"12"], pa.binary(2)),
        pa.array([1], pa.duration("us")),
    ],
)
def test_a_column_that_can_not_be_carried_is_refused_by_its_name(folder: Folder, values: pa.Array) -> None:
    write(folder, pa.table({"id": [1], "nested": values}))

    with pytest.raises(DataRefused, match=r"t.parquet, column `nested`: Parquet's .* can't be carried") as found:
        folder.describe("t.parquet")
    assert found.value.field == "source.columns.nested"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([1_000, None, 1_001, 2_000], pa.timestamp("ns")), "timestamp"),
        (pa.array([1_000, None, 1_001, 2_000], pa.timestamp("ns", tz="UTC")), "timestamptz"),
        (pa.array([1_000, None, 1_001, 2_000], pa.time64("ns")), "time"),
    ],
)
def test_a_time_finer_than_a_microsecond_is_refused_with_its_row(folder: Folder, values: pa.Array, kind: str) -> None:
    write(folder, pa.table({"when": values}), group=2)

    with pytest.raises(DataRefused, match=f"t.parquet, column `when`, row 3: .* is no {kind}"):
        folder.rows("t.parquet")


def test_the_old_times_of_96_bits_are_read_beyond_what_nanoseconds_count(folder: Folder) -> None:
    texts = ["9999-12-31 23:59:59.999999", None, "0001-01-01 00:00:00", "1969-12-31 23:59:59.999999"]
    moments = [text and dt.datetime.fromisoformat(text) for text in texts]
    table = pa.table({"i": range(4), "when": pa.array(moments, pa.timestamp("us"))})
    pq.write_table(table, folder.path / "t.parquet", row_group_size=3, use_deprecated_int96_timestamps=True)

    assert folder.rows("t.parquet") == list(enumerate(moments))
    assert folder.rows("t.parquet", chunk_bytes=1) == list(enumerate(moments))


@pytest.mark.parametrize("nanosecond", [1_001, -1])
def test_an_old_time_finer_than_a_microsecond_is_refused_with_its_row(folder: Folder, nanosecond: int) -> None:
    table = pa.table({"when": pa.array([1_000, None, nanosecond, 2_000], pa.timestamp("ns"))})
    pq.write_table(table, folder.path / "t.parquet", row_group_size=2, use_deprecated_int96_timestamps=True)

    with pytest.raises(DataRefused, match=r"t.parquet, column `when`, row 3: .* finer than a microsecond"):
        folder.rows("t.parquet")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_that_is_not_utf8_is_refused_with_its_row(folder: Folder, kind: pa.DataType) -> None:
    raw = pa.array([b"good", None, b"\xff", b"good"])
    write(folder, pa.table({"x": pa.Array.from_buffers(pa.string(), 4, raw.buffers()).cast(kind)}))

    with pytest.raises(DataRefused, match=r"t.parquet, column `x`, row 3: `b'\\xff'` is no string"):
        folder.rows("t.parquet")


def test_a_file_with_two_columns_of_one_name_is_refused(folder: Folder) -> None:
    write(folder, pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]))

    with pytest.raises(DataRefused, match=r"t.parquet: the file has two columns `x`"):
        folder.describe("t.parquet")


@pytest.mark.parametrize(
    ("values", "type", "read"),
    [
        (pa.array(["12.50"]), "decimal(6,2)", decimal.Decimal("12.50")),
        (pa.array([3]), "int16", 3),
        (pa.array([3]), "decimal(6,2)", decimal.Decimal("3.00")),
        (pa.array([3]), "string", "3"),
        (pa.array([dt.date(2024, 1, 1)]), "timestamp", dt.datetime.fromisoformat("2024-01-01")),
        (pa.array([str(ID).upper()]), "uuid", str(ID)),
    ],
)
def test_a_declared_type_may_widen_and_read_text(folder: Folder, values: pa.Array, type: str, read: object) -> None:
    write(folder, pa.table({"x": values}))

    assert folder.rows("t.parquet", types={"x": type}) == [(read,)]


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (pa.array([0.1]), "float32"),
        (pa.array([0.1]), "decimal(6,2)"),
        (pa.array([decimal.Decimal("0.1")]), "float64"),
        (pa.array([0], pa.timestamp("us", tz="UTC")), "timestamp"),
        (pa.array([0], pa.timestamp("us")), "timestamptz"),
        (pa.array([0], pa.timestamp("us")), "date"),
        (pa.array([True]), "int16"),
    ],
)
def test_a_declared_type_that_may_lose_something_is_refused(folder: Folder, values: pa.Array, type: str) -> None:
    write(folder, pa.table({"x": values}))

    with pytest.raises(InvalidDefinition, match="does not hold exactly") as found:
        folder.describe("t.parquet", types={"x": type})
    assert found.value.field == "source.columns.x"


@pytest.mark.parametrize(
    ("value", "type"), [(40_000, "int16"), (2**53 + 1, "float64"), (-1, "uint64"), (1_000, "decimal(3,1)")]
)
def test_a_value_that_does_not_fit_the_declared_type_is_refused(folder: Folder, value: int, type: str) -> None:
    write(folder, pa.table({"x": [1, None, value]}))

    with pytest.raises(DataRefused, match=f"column `x`, row 3: `{value}` is no {type[:5]}"):
        folder.rows("t.parquet", types={"x": type})


def test_a_truncated_file_is_no_source(folder: Folder) -> None:
    write(folder, pa.table({"x": range(1_000)}))
    whole = (folder.path / "t.parquet").read_bytes()
    folder.write("t.parquet", whole[: len(whole) // 2])

    with pytest.raises(SourceMissing, match=r"t.parquet is not a Parquet file") as found:
        folder.describe("t.parquet")
    assert found.value.field == "source.relation"


def test_a_damaged_row_group_is_refused(folder: Folder) -> None:
    write(folder, pa.table({"x": [str(number) for number in range(10_000)]}))
    whole = bytearray((folder.path / "t.parquet").read_bytes())
    whole[4:2_000] = bytes(1_996)
    folder.write("t.parquet", bytes(whole))

    with pytest.raises(DataRefused, match=r"t.parquet, row group 0: the file is damaged"):
        folder.rows("t.parquet")
