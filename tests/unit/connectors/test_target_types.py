"""What a target says of its columns is what was declared."""

import pytest

from pymigrate.engine.adapters.connectors import duckdb_types, postgres_reading, postgres_values
from pymigrate.engine.domain.types import KINDS, ColumnType

TYPES = [ColumnType(kind) for kind in KINDS if kind != "decimal"] + [
    ColumnType("decimal", 38, 10),
    ColumnType("decimal", 5, 0),
]


@pytest.mark.parametrize("column", TYPES, ids=str)
def test_a_type_that_duckdb_was_given_is_read_back_from_its_name(column: ColumnType) -> None:
    assert duckdb_types.column_type(duckdb_types.native_type(column)) == column


@pytest.mark.parametrize("column", TYPES, ids=str)
def test_a_type_that_postgresql_was_given_is_read_back_from_its_name(column: ColumnType) -> None:
    # PostgreSQL has no unsigned integers: their digits are what it holds.
    expected = ColumnType("decimal", 20, 0) if column.kind == "uint64" else column
    assert postgres_reading.column_type(postgres_values.native_type(column)) == expected


@pytest.mark.parametrize(
    ("native", "expected"), [("UTINYINT", "int16"), ("TIMESTAMP_MS", "timestamp"), ("HUGEINT", "string")]
)
def test_other_types_of_duckdb_are_what_holds_them_exactly(native: str, expected: str) -> None:
    assert str(duckdb_types.column_type(native)) == expected
