"""How an existing table differs: every difference, as a problem where rows could not be kept exactly."""

from dataclasses import replace

import pytest

from pymigrate.engine.adapters.connectors.target_compatibility import (
    key_differences,
    merge_notes,
    merge_problems,
    replaced_differences,
)
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.staging import Staging, StagingId


def column(name: str, kind: str, native: str = "", *, is_required: bool = False, default: str = "") -> ColumnInfo:
    """A column."""
    return ColumnInfo(name, parse_type(kind), is_required, native or kind, default=default)


def staging(*columns: ColumnInfo) -> Staging:
    """What is to be written."""
    return Staging(StagingId("s"), "orders", columns)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("int16", "int64"),
        ("int64", "int64"),
        ("int32", "decimal(10,0)"),
        ("uint64", "decimal(20,0)"),
        ("decimal(10,2)", "decimal(12,2)"),
        ("decimal(10,2)", "decimal(12,4)"),
        ("float32", "float64"),
        ("json", "string"),
    ],
)
def test_a_wider_type_is_no_problem(given: str, kept: str) -> None:
    assert list(merge_problems(staging(column("a", given)), [column("a", kept)], folds_case=False)) == []


@pytest.mark.parametrize(
    ("given", "kept", "says"),
    [
        ("int64", "int32", "does not hold every number"),
        ("uint64", "int64", "values of the one"),
        ("int64", "decimal(18,0)", "does not hold every number"),
        ("decimal(12,4)", "decimal(12,2)", "rounded"),
        ("decimal(12,2)", "decimal(10,2)", "not fit"),
        ("float64", "float32", "rounded"),
        ("timestamptz", "timestamp", "values of the one"),
        ("string", "int32", "values of the one"),
    ],
)
def test_a_narrower_type_is_a_problem_at_its_column(given: str, kept: str, says: str) -> None:
    [problem] = merge_problems(staging(column("a", given)), [column("a", kept)], folds_case=False)
    assert problem.field == "source.columns.a"
    assert says in problem.description


def test_every_difference_is_told_not_the_first_alone() -> None:
    existing = [
        column("a", "int16"),
        column("needed", "string", is_required=True),
        column("filled", "string", is_required=True, default="'x'"),
        column("B", "float32"),
    ]
    wanted = staging(column("a", "int64"), column("b", "float64"))
    found = list(merge_problems(wanted, existing, folds_case=True))
    assert [problem.field for problem in found] == ["source.columns.a", "target.relation", "source.columns.b"]
    assert "`needed`" in found[1].description


def test_what_rows_may_pass_is_a_note() -> None:
    existing = [column("a", "int64", "bigint"), column("b", "string", is_required=True), column("c", "date")]
    found = list(merge_notes(staging(column("a", "int32"), column("b", "string")), existing, folds_case=False))
    assert [note.split("`")[1] for note in found] == ["a", "b", "c"]


def test_a_replacement_tells_what_becomes_of_each_column() -> None:
    wanted = staging(column("a", "int64", is_required=True), column("new", "string"), column("same", "string"))
    existing = [column("a", "int32", "integer"), column("gone", "string"), column("same", "string", "TEXT")]
    types = {"a": "bigint", "new": "text", "same": "text"}
    assert list(replaced_differences(wanted, existing, types)) == [
        "the column `a` of `orders` becomes bigint, and was integer",
        "the column `a` of `orders` no longer takes NULL",
        "the column `new` is new in `orders`",
        "the column `gone` of `orders` is gone afterwards: the source has none of this name",
    ]
    keyed = replace(wanted, key=("a",))
    assert len(list(replaced_differences(keyed, existing, types))) == 3


def test_a_key_that_nothing_holds_unique_is_told_with_what_is() -> None:
    wanted = replace(staging(column("a", "int64")), key=("a",))
    assert list(key_differences(wanted, [frozenset({"a"})])) == []
    assert list(key_differences(staging(column("a", "int64")), [])) == []
    [note] = key_differences(wanted, [frozenset({"b", "c"})])
    assert note == "nothing in `orders` holds the key (a) unique as it is, but (b, c)"
