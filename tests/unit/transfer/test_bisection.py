"""Which rows differ: exactly those, whatever was done to a staging, with a key and without."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.transfer import bisection
from pymigrate.engine.transfer.bisection import Batches, Found, Sides, bisect
from pymigrate.engine.transfer.checksum import RowHasher
from pymigrate.engine.transfer.mismatch import described

COLUMNS = (
    ColumnInfo("id", ColumnType("int64")),
    ColumnInfo("name", ColumnType("string")),
    ColumnInfo("price", ColumnType("float64")),
)
NAMES = [column.name for column in COLUMNS]
Row = tuple[object, ...]
BATCH_ROWS = 700


def many(count: int) -> list[Row]:
    """Rows with NULLs, empty texts and numbers of both zeros."""
    return [(at, (None, "", f"name {at}")[at % 3], (0.0, -0.0, at / 7)[at % 3]) for at in range(count)]


def batches_of(rows: Sequence[Row]) -> Iterator[Batches]:
    schema = arrow_schema(COLUMNS)
    for start in range(0, len(rows), BATCH_ROWS):
        part = rows[start : start + BATCH_ROWS]
        arrays = [pa.array([row[at] for row in part], field.type) for at, field in enumerate(schema)]
        yield [pa.RecordBatch.from_arrays(arrays, schema=schema)]


def compare(source: Sequence[Row], staging: Sequence[Row], key: tuple[str, ...] = ()) -> Found:
    """What differs; the source is as it was."""
    places = tuple(NAMES.index(name) for name in key)
    hasher = RowHasher()
    try:
        sides = Sides(lambda: batches_of(source), lambda: batches_of(staging), COLUMNS, places)
        found = bisect(sides, hasher, lambda rows, total: rows == len(source))
    finally:
        hasher.close()
    assert found is not None
    return found


def counted(batches: Sequence[pa.RecordBatch]) -> Counter[str]:
    return Counter(repr(tuple(row.values())) for batch in batches for row in batch.to_pylist())


def differences(source: Sequence[Row], staging: Sequence[Row]) -> tuple[Counter[str], Counter[str]]:
    """By the book: what is missing, and what is there too often."""
    there, here = Counter(map(repr, source)), Counter(map(repr, staging))
    return there - here, here - there


@pytest.mark.parametrize("key", [(), ("id",), ("name", "id")])
def test_every_kind_of_damage_is_found_and_nothing_else(key: tuple[str, ...]) -> None:
    source = many(30_000)
    staging = list(source)
    staging[4_711] = (4_711, "changed", staging[4_711][2])
    staging[6] = (6, "", 0.0)
    staging[9] = (9, None, -0.0)
    staging[100], staging[101] = (100, *staging[101][1:]), (101, *staging[100][1:])
    staging.append(staging[500])
    del staging[20_000]
    found = compare(source, staging, key)
    missing, surplus = differences(source, staging)
    assert found.is_whole
    assert (counted(found.missing), counted(found.surplus)) == (missing, surplus)
    assert found.rows == 6


def test_rows_are_named_by_key_with_what_is_the_matter() -> None:
    source = many(1_000)
    staging = [row for row in source if row[0] != 9]
    staging[3] = (3, "other", 1.5)
    staging += [staging[5], (77_777, None, None)]
    rows, examples = described(compare(source, staging, ("id",)), COLUMNS, ("id",))
    assert rows == 4
    assert [str(each) for each in examples] == [
        "3 (other values in name, price)",
        "5 (staged once too often)",
        "9 (not staged)",
        "77777 (staged once too often)",
    ]
    rows, examples = described(compare(source, staging), COLUMNS, ())
    assert rows == 3
    assert "(9, NULL, 0.0) (not staged)" in [str(each) for each in examples]


def test_a_row_that_is_long_is_cut_where_it_is_told() -> None:
    found = compare([(1, "x" * 500, None)], [])
    [told] = described(found, COLUMNS, ())[1]
    assert len(told.row) == 121


def test_sides_that_are_equal_have_no_difference_in_any_order() -> None:
    source = many(5_000)
    found = compare(source, source[::-1], ("id",))
    assert (found.rows, found.missing, found.surplus, found.is_whole) == (0, (), (), True)


def test_a_source_that_is_another_is_not_compared() -> None:
    hasher = RowHasher()
    sides = Sides(lambda: batches_of(many(10)), lambda: batches_of(many(9)), COLUMNS, ())
    try:
        assert bisect(sides, hasher, lambda rows, total: False) is None
    finally:
        hasher.close()


def test_too_many_to_mend_are_counted_and_only_the_first_are_held() -> None:
    found = compare(many(25_000), [])
    assert (found.rows, found.is_whole) == (25_000, False)
    assert sum(batch.num_rows for batch in found.missing) == bisection.ROWS_MAX


def test_an_empty_source_has_nothing_but_surplus_in_its_staging() -> None:
    found = compare([], many(3), ("id",))
    assert (found.rows, found.missing, counted(found.surplus)) == (3, (), Counter(map(repr, many(3))))


DAMAGE = st.lists(
    st.tuples(st.sampled_from(["change", "lose", "double", "swap", "empty", "add"]), st.integers(0, 10**6)),
    max_size=12,
)


def damaged(rows: Sequence[Row], damage: Sequence[tuple[str, int]]) -> list[Row]:
    found = list(rows)
    for kind, number in damage:
        at = number % len(found)
        row = found[at]
        match kind:
            case "change":
                found[at] = (row[0], f"changed {number}", row[2])
            case "lose" if len(found) > 1:
                del found[at]
            case "double":
                found.insert(number % 7, row)
            case "swap":
                other = (at + 1) % len(found)
                found[at], found[other] = (row[0], *found[other][1:]), (found[other][0], *row[1:])
            case "empty":
                found[at] = (row[0], "" if row[1] is None else None, row[2])
            case _:
                found.append((number, None, float("nan")))
    return found


@settings(max_examples=40, deadline=None)
@given(damage=DAMAGE, key=st.sampled_from([(), ("id",), ("price", "id")]), doubled=st.booleans())
def test_random_damage_is_found_to_the_row(damage: list[tuple[str, int]], key: tuple[str, ...], doubled: bool) -> None:
    source = many(1_500) + (many(40) if doubled and not key else [])
    staging = damaged(source, damage)
    found = compare(source, staging, key)
    missing, surplus = differences(source, staging)
    assert (counted(found.missing), counted(found.surplus)) == (missing, surplus)
    assert found.rows == max(missing.total(), surplus.total())
    mended = Counter(map(repr, staging)) - counted(found.surplus) + counted(found.missing)
    assert mended == Counter(map(repr, source))
