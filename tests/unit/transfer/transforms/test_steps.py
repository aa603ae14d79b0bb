"""What each transform makes of its rows, and what it refuses."""

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, parse_type
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.transform import (
    CastAll,
    CastTo,
    Deduplicate,
    Lookup,
    Mask,
    Masked,
    MaskMethod,
    Merge,
    Missing,
    Plugin,
    Python,
    Split,
    TransformSpec,
)
from pymigrate.engine.testing.transforms import MarkingKind
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from tests.unit.transfer.transforms.lookups import open_countries
from tests.unit.transfer.transforms.pipelines import COLUMNS, Row, batch_of

ROOT = Path(__file__).parents[4]
KEY = b"0123456789abcdef"
STRING = parse_type("string")
BINDING = Binding(lambda name: MarkingKind(), open_countries)


def made(spec: TransformSpec, rows: list[Row], columns: tuple[ColumnInfo, ...] = COLUMNS) -> list[tuple[object, ...]]:
    """The rows that go on."""
    pipeline = Pipeline([spec], columns, BINDING.bind)
    try:
        return [tuple(row.values()) for row in pipeline.apply(batch_of(rows, columns)).batch.to_pylist()]
    finally:
        pipeline.close()


def refused(spec: TransformSpec, rows: list[Row], columns: tuple[ColumnInfo, ...] = COLUMNS) -> list[tuple[int, str]]:
    """The rows that do not, with their reasons."""
    pipeline = Pipeline([spec], columns, BINDING.bind)
    try:
        return [(each.row, each.reason) for each in pipeline.apply(batch_of(rows, columns)).refusals]
    finally:
        pipeline.close()


def problem(spec: TransformSpec, columns: tuple[ColumnInfo, ...] = COLUMNS) -> tuple[str, str]:
    """The first problem of binding it."""
    with pytest.raises(InvalidDefinition) as raised:
        Pipeline([spec], columns, BINDING.bind)
    return raised.value.problems[0].field, raised.value.problems[0].description


HOLDS = [
    ("string", "int64", "12", 12),
    ("string", "int64", "-9223372036854775808", -(2**63)),
    ("string", "uint64", "18446744073709551615", 2**64 - 1),
    ("string", "bool", "yes", True),
    ("string", "decimal(4,2)", "12.500", "12.50"),
    ("string", "float64", "1e3", 1000.0),
    ("string", "float64", "NaN", "nan"),
    ("string", "date", "2020-02-29", "2020-02-29"),
    ("string", "timestamp", "2020-02-29T01:02:03.000001", "2020-02-29 01:02:03.000001"),
    ("string", "timestamptz", "2020-02-29 01:02:03+02:00", "2020-02-28 23:02:03+00:00"),
    ("string", "time", "23:59", "23:59:00"),
    ("string", "json", '{"a": 1.10}', '{"a": 1.10}'),
    ("string", "uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("string", "bytes", "ä", "b'\\xc3\\xa4'"),
    ("float64", "int64", 3.0, 3),
    ("float64", "decimal(4,2)", 0.1, "0.10"),
    ("int64", "float64", 2**53, float(2**53)),
    ("int64", "string", 7, "7"),
    ("timestamp", "date", "2020-01-01 00:00:00", "2020-01-01"),
]
REFUSED = [
    ("string", "int64", "1.5"),
    ("string", "int64", " 1"),
    ("string", "int64", ""),
    ("string", "int64", "9223372036854775808"),
    ("string", "bool", "maybe"),
    ("string", "decimal(4,2)", "1.234"),
    ("string", "decimal(4,2)", "123.4"),
    ("string", "decimal(4,2)", "1e1"),
    ("string", "float64", "1e999"),
    ("string", "float64", "one"),
    ("string", "date", "2020-02-30"),
    ("string", "date", "2020-02-29 00:00"),
    ("string", "timestamp", "2020-02-29T01:02:03.0000001"),
    ("string", "timestamptz", "2020-02-29 01:02:03"),
    ("string", "json", "{"),
    ("string", "uuid", "1"),
    ("float64", "int64", 2.5),
    ("float64", "float32", 0.1),
    ("int64", "float64", 2**53 + 1),
    ("int64", "int16", 40_000),
    ("timestamp", "date", "2020-01-01 00:00:01"),
]


def _column(kind: str, value: object) -> tuple[tuple[ColumnInfo, ...], list[Row]]:
    given = datetime.fromisoformat(str(value)) if kind == "timestamp" else value
    return (ColumnInfo("v", parse_type(kind)),), [(given,), (None,)]


@pytest.mark.parametrize(("kind", "goal", "value", "expected"), HOLDS)
def test_a_cast_keeps_a_value_that_its_type_holds(kind: str, goal: str, value: object, expected: object) -> None:
    columns, rows = _column(kind, value)
    [(found,), (nothing,)] = made(CastAll({"v": CastTo(parse_type(goal))}), rows, columns)
    assert found == expected or str(found) == str(expected)
    assert nothing is None


@pytest.mark.parametrize(("kind", "goal", "value"), REFUSED)
def test_a_cast_refuses_a_value_rather_than_rounding_or_cutting_it(kind: str, goal: str, value: object) -> None:
    columns, rows = _column(kind, value)
    assert refused(CastAll({"v": CastTo(parse_type(goal))}), rows, columns) == [
        (0, f"the value is no {goal}, or not without losing a part of it")
    ]
    assert made(CastAll({"v": CastTo(parse_type(goal), is_lenient=True)}), rows, columns) == [(None,), (None,)]


def test_a_cast_that_could_not_keep_values_is_a_problem() -> None:
    columns = (ColumnInfo("v", ColumnType("date")),)
    field, said = problem(CastAll({"v": CastTo(ColumnType("timestamptz"))}), columns)
    assert (field, "derive a column" in said) == ("transforms[0].cast.columns.v.type", True)


def test_a_text_is_split_and_one_with_too_many_parts_is_refused() -> None:
    spec = Split("price", ", ", ["a", "b"])
    rows: list[Row] = [(1, None, "x, y"), (2, None, "x"), (3, None, "x, y, z"), (4, None, None), (5, None, "")]
    assert made(spec, rows) == [
        (1, None, "x", "y"),
        (2, None, "x", None),
        (4, None, None, None),
        (5, None, "", None),
    ]
    assert refused(spec, rows) == [(2, "has more than 2 parts")]
    assert problem(Split("id", ",", ["a"]))[0] == "transforms[0].split.column"
    assert problem(Split("price", ",", ["name"]))[0] == "transforms[0].split.into"


def test_a_separator_is_text_and_neither_a_pattern_nor_sql() -> None:
    spec = Split("price", "'||.", ["a", "b"])
    assert made(spec, [(1, None, "x'||.y")]) == [(1, None, "x", "y")]


def test_columns_are_merged_without_what_is_null() -> None:
    rows: list[Row] = [(1, "a", "b"), (2, None, "b"), (None, None, None)]
    assert made(Merge(["id", "name", "price"], " ", "all"), rows) == [("1 a b",), ("2 b",), (None,)]
    assert problem(Merge(["id"], "", "name"))[0] == "transforms[0].merge.into"
    assert problem(Merge(["id", "nme"], "", "x"))[1].endswith("did you mean `name`?")


def test_the_first_of_rows_that_are_alike_stays() -> None:
    rows: list[Row] = [(1, "a", None), (2, None, None), (3, "a", None), (4, None, "x")]
    assert made(Deduplicate(["name"]), rows) == [(1, "a", None), (2, None, None)]
    assert made(Deduplicate([]), [*rows, rows[0]]) == rows
    assert problem(Deduplicate(["nam"]))[0] == "transforms[0].deduplicate.columns"


def test_what_is_looked_up_is_added_and_what_is_not_found_is_refused_left_out_or_null() -> None:
    spec = Lookup("c", SourceRelation("countries"), {"id": "number"}, {"country": "name"})
    rows: list[Row] = [(4, "a", None), (3, "b", None), (2, "c", None), (None, "d", None)]
    found = [(4, "a", None, "Chile"), (2, "c", None, None)]
    assert made(spec, rows) == found
    assert refused(spec, rows) == [(1, "(id) is not in countries"), (3, "(id) is not in countries")]
    for missing, more in ((Missing.DROP, []), (Missing.NULL, [(3, "b", None, None), (None, "d", None, None)])):
        lenient = Lookup("c", SourceRelation("countries"), {"id": "number"}, {"country": "name"}, missing)
        assert sorted(made(lenient, rows), key=str) == sorted([*found, *more], key=str)
        assert refused(lenient, rows) == []


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        (
            Lookup("c", SourceRelation("countris"), {"id": "number"}, {"x": "name"}),
            "source",
            "did you mean `countries`",
        ),
        (Lookup("c", SourceRelation("countries"), {"id": "numer"}, {"x": "name"}), "keys.id", "did you mean `number`"),
        (Lookup("c", SourceRelation("countries"), {"name": "number"}, {"x": "name"}), "keys.name", "cast it first"),
        (Lookup("c", SourceRelation("countries"), {"id": "number"}, {"name": "name"}), "columns", "called `name`"),
    ],
)
def test_a_lookup_that_does_not_fit_is_a_problem_at_its_field(spec: Lookup, field: str, says: str) -> None:
    found = problem(spec)
    assert found[0] == f"transforms[0].lookup.{field}"
    assert says in found[1]


def test_a_lookup_in_which_a_key_occurs_twice_fails_the_dataset() -> None:
    with pytest.raises(DataRefused, match=r"doubled is not of one row: 1 values of \(number\)"):
        made(Lookup("c", SourceRelation("doubled"), {"id": "number"}, {"x": "name"}), [(1, "a", None)])


def test_masks_are_keyed_and_the_same_in_every_column_and_process() -> None:
    spec = Mask(
        {"id": Masked(MaskMethod.TOKENISE), "name": Masked(MaskMethod.HASH), "price": Masked(MaskMethod.REDACT)}, KEY
    )
    [(number, name, price), (other, *_)] = made(spec, [(42, "42", "9"), (None, None, None)])
    assert re.fullmatch("tok_[a-z2-7]{26}", str(number))
    assert re.fullmatch("[0-9a-f]{64}", str(name))
    assert (price, other) == ("[redacted]", None)
    swapped = Mask({"name": Masked(MaskMethod.TOKENISE)}, KEY)
    assert made(swapped, [(1, "42", None)])[0][1] == number
    assert made(Mask({"name": Masked(MaskMethod.TOKENISE)}, KEY[::-1]), [(1, "42", None)])[0][1] != number
    code = f"from pymigrate.engine.transfer.transforms.masking import token, hashed; print(token({KEY!r}, '42'), hashed({KEY!r}, '42'))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert said.stdout.split() == [number, name]


def test_a_pseudonym_is_what_the_contract_says_for_good() -> None:
    assert made(Mask({"name": Masked(MaskMethod.HASH)}, KEY), [(1, "Ada", None)])[0][1] == (
        "9bc245ae8032d0b6c5fca2e91bbe82682c2e07656f8ebc09906bf20ee6825e25"
    )
    assert (
        made(Mask({"name": Masked(MaskMethod.TOKENISE)}, KEY), [(1, "Ada", None)])[0][1]
        == "tok_hwzyaa7fa2pk2a2svvbn6vutau"
    )


def test_a_key_that_could_be_guessed_is_refused_and_shown_nowhere() -> None:
    spec = Mask({"name": Masked(MaskMethod.HASH)}, b"short")
    assert problem(spec)[0] == "transforms[0].mask.key"
    assert "short" not in repr(spec)
    assert made(Mask({"name": Masked(MaskMethod.REDACT, "gone")}), [(1, "a", None)]) == [(1, "gone", None)]


def test_what_a_package_brings_is_bound_with_its_settings() -> None:
    spec = Plugin("marking", {"column": "name", "mark": "> ", "refused": "b"})
    assert made(spec, [(1, "a", None), (2, "b", None)]) == [(1, "> a", None)]
    assert refused(spec, [(1, "a", None), (2, "b", None)]) == [(1, "is `b`")]
    assert problem(Plugin("marking", {"column": "x"}))[0] == "transforms[0].plugin.settings.column"


def python(function: str, **limits: float) -> Python:
    """A function of `functions`, with limits."""
    module = "tests.unit.transfer.transforms.functions"
    columns = {"size": parse_type("int64")} if function == "lengths" else {"name": STRING}
    return Python(
        f"{module}:{function}",
        {},
        columns,
        int(limits.get("memory", 256 << 20)),
        limits.get("seconds", 30.0),
    )


def test_a_function_refuses_rows_by_saying_so_by_raising_and_by_giving_what_its_type_does_not_hold() -> None:
    rows: list[Row] = [(1, "a", None), (2, "no", None), (3, "bad", None), (4, None, None)]
    assert made(python("shout"), rows) == [(1, "A", None), (4, None, None)]
    assert refused(python("shout"), rows)[0] == (1, "says no")
    assert refused(python("shout"), rows)[1][1].endswith("raises ValueError: a bad name")
    sized: list[Row] = [(1, "abc", None), (2, "half", None)]
    assert made(python("lengths"), sized) == [(1, "abc", None, 3)]
    assert refused(python("lengths"), sized)[0][1].endswith("gives a value that is no int64")


def test_a_function_sees_nothing_of_its_host_and_writes_nothing() -> None:
    [(_, seen, _)] = made(python("look_around"), [(1, "a", None)])
    assert "PYMIGRATE" not in str(seen)
    assert "HOME" not in str(seen)
    assert str(seen).endswith(" refused 1")
    assert not Path("/tmp/pymigrate-was-here").exists() or not Path("/tmp/pymigrate-was-here").read_text()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (python("hang", seconds=1.0), "takes longer than its 1 seconds a batch, with 1 rows"),
        (python("hoard"), "needs more than its 268,435,456 bytes of memory"),
        (python("crash"), "ended its process (SIGABRT)"),
        (python("leave"), "ended its process (exit code 3)"),
    ],
)
def test_a_function_that_hangs_hoards_or_crashes_ends_alone(spec: Python, says: str) -> None:
    with pytest.raises(DataRefused) as raised:
        made(spec, [(1, "a", None)])
    assert says in raised.value.message
    assert spec.function in raised.value.message


@pytest.mark.parametrize(
    ("function", "says"), [("no.such.module:x", "ModuleNotFoundError"), ("os:no_such_name", "AttributeError")]
)
def test_a_function_that_can_not_be_imported_is_a_problem_before_the_run(function: str, says: str) -> None:
    found = problem(Python(function, {}, {"name": STRING}, 256 << 20, 30))
    assert found[0] == "transforms[0].python.function"
    assert says in found[1]
