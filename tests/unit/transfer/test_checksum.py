"""Digests of rows in any order."""

import math
import struct
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.transfer.checksum import (
    FUNCTION,
    Checksum,
    OtherFunction,
    RowHasher,
    combine,
    grouped,
    is_continuable,
    sum_of,
)

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("price", pa.float64()), ("raw", pa.binary())])
ROW = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.floats(),
    st.none() | st.binary(),
)
ROWS = st.lists(ROW, min_size=1, max_size=20)


def batch(rows: list[Any], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    columns = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@cache
def hasher() -> RowHasher:
    """One for all examples: opening a DuckDB takes longer than hashing their rows."""
    return RowHasher()


def digest(*batches: pa.RecordBatch, start: str = "") -> str:
    checksum = Checksum(start, hasher())
    checksum.add(batches)
    return checksum.text()


def digest_of(kind: str, *values: object) -> str:
    schema = arrow_schema([ColumnInfo("value", parse_type(kind))])
    return digest(pa.RecordBatch.from_arrays([pa.array(values, schema.field(0).type)], schema=schema))


@pytest.mark.no_cover
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_count(rows: list[Any], rng: Any) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert digest(batch(rows)) == digest(batch(shuffled))


@pytest.mark.no_cover
@given(ROWS, ROW)
def test_a_doubled_row_is_seen_and_so_is_a_pair_of_them(rows: list[Any], row: Any) -> None:
    once = digest(batch([*rows, row]))
    assert digest(batch([*rows, row, row])) != once
    assert digest(batch([*rows, row, row, row])) != once


@pytest.mark.no_cover
@given(ROWS, ROW, ROW, st.integers(0, 3))
def test_cells_that_are_swapped_between_rows_are_seen(rows: list[Any], one: Any, two: Any, at: int) -> None:
    swapped_one, swapped_two = list(one), list(two)
    swapped_one[at], swapped_two[at] = two[at], one[at]
    before, after = batch([one, two]), batch([swapped_one, swapped_two])
    assume(repr(sorted(map(repr, (one, two)))) != repr(sorted(map(repr, (tuple(swapped_one), tuple(swapped_two))))))
    assume(not any(isinstance(row[2], float) and math.isnan(row[2]) for row in (one, two)))
    assert digest(batch(rows), before) != digest(batch(rows), after)


@pytest.mark.no_cover
@given(ROWS, st.integers(0, 20))
def test_a_digest_goes_on_from_its_text_wherever_the_rows_are_cut(rows: list[Any], at: int) -> None:
    whole = batch(rows)
    assert digest(whole.slice(at), start=digest(whole.slice(0, at))) == digest(whole)
    assert combine([digest(whole.slice(0, at)), digest(whole.slice(at))]) == digest(whole)


@pytest.mark.no_cover
@given(ROWS)
def test_the_sum_of_the_rows_hashes_is_the_digest(rows: list[Any]) -> None:
    hashes = hasher().each([batch(rows), batch(rows)])
    assert len(hashes) == 2 * len(rows)
    assert sum_of(hashes) == digest(batch(rows), batch(rows))


def test_no_rows_have_a_digest_too() -> None:
    assert digest() == digest(batch([])) == sum_of(hasher().each([])) == combine(["", ""]) == f"{FUNCTION}:{0:016x}"


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("float64", 0.0, -0.0),
        ("float32", 0.0, -0.0),
        ("string", "", None),
        ("bytes", b"", None),
        ("int64", 0, None),
        ("bool", False, None),
        ("string", "a", "a\0"),
        ("string", "a", "a "),
        ("string", "é", "e\u0301"),
        ("decimal(5,2)", Decimal("1.10"), Decimal("1.11")),
        ("decimal(38,10)", Decimal("1e27"), Decimal("1000000000000000000000000000.0000000001")),
        ("timestamp", datetime(2020, 1, 1), datetime(2020, 1, 1, 0, 0, 0, 1)),  # noqa: DTZ001  # a timestamp has no zone
        ("timestamptz", datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 1, tzinfo=UTC)),
        ("time", time(1), time(1, 0, 0, 1)),
        ("date", date(2020, 1, 1), date(2020, 1, 2)),
        ("uint64", 2**64 - 1, 2**63),
        ("int16", 1, -1),
    ],
)
def test_values_that_differ_in_a_bit_have_other_digests(kind: str, one: object, other: object) -> None:
    assert digest_of(kind, one) != digest_of(kind, other)
    assert digest_of(kind, one, other) == digest_of(kind, other, one)


def test_a_nan_is_itself_and_its_payload_counts() -> None:
    quiet, other = (
        struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in (0x7FF8000000000000, 0x7FF8000000000001)
    )
    assert digest_of("float64", quiet) == digest_of("float64", quiet)
    assert digest_of("float64", quiet) != digest_of("float64", other)


def test_neighbouring_texts_are_not_confused_and_a_columns_place_counts() -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    digests = {
        digest(batch([row], schema)) for row in [("ab", "c"), ("a", "bc"), ("c", "ab"), ("abc", ""), ("abc", None)]
    }
    assert len(digests) == 5


def test_rows_of_zeros_and_booleans_are_counted_in() -> None:
    assert len({digest_of("int64", *([0] * count)) for count in range(5)}) == 5
    assert len({digest_of("bool", *([False] * count)) for count in range(5)}) == 5


def test_a_digest_of_another_function_is_not_continued() -> None:
    assert not is_continuable("duckdb-hash-0.9.0:0000000000000001")
    assert is_continuable("")
    assert is_continuable(f"{FUNCTION}:0000000000000001")
    with pytest.raises(OtherFunction, match=r"duckdb-hash-0\.9\.0"):
        Checksum("duckdb-hash-0.9.0:0000000000000001")
    with pytest.raises(OtherFunction):
        combine([f"{FUNCTION}:0000000000000001", "md5:0000000000000001"])


def test_rows_without_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="without columns"):
        digest(pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([]))))


def test_batches_are_grouped_up_to_a_size() -> None:
    batches = [batch([(at, "x" * 10, 0.5, b"")]) for at in range(10)]
    groups = list(grouped(batches, bytes_max=3 * batches[0].nbytes))
    assert [len(group) for group in groups] == [3, 3, 3, 1]
    assert [one for group in groups for one in group] == batches
    assert list(grouped([])) == []
