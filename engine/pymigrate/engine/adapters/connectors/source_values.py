"""What every source asks of values: text read strictly as a type, and errors that name relation, column and row."""

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SourceChanged, SourceMissing
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_type
from pymigrate.engine.ports.relations import SourceRelation

SHOWN_CHARACTERS_MAX = 60
_BOOLEANS = ("true", "t", "1", "false", "f", "0")
_TRUE = 3  # of them are true
_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_INTEGER = "^[+-]?[0-9]+$"
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Digits that any float of the kind gives back, that some do, and the smallest number that has them.
_DIGITS_SURE = {"float32": 6, "float64": 15}
_DIGITS_MAX = {"float32": 9, "float64": 17}
_NORMAL_MIN = {"float32": 2.0**-126, "float64": 2.0**-1022}


class Unreadable(ValueError):
    """A text that its type does not hold; `row` counts from 0 within the array."""

    def __init__(self, row: int, text: str, column: ColumnType) -> None:
        super().__init__(f"{shown(text)} is no {column}{_advice(text, column)}")
        self.row = row


def first_failure(values: pa.Array, read: Callable[[pa.Array], object]) -> int:
    """Where the first value stands that `read` fails for; it fails for the whole."""
    low, high = 0, len(values)  # values[:low] can be read, values[:high] can't
    while high - low > 1:
        middle = (low + high) // 2
        try:
            read(values.slice(low, middle - low))
            low = middle
        except (pa.ArrowInvalid, ValueError):
            high = middle
    return low


def read_texts(texts: pa.Array, column: ColumnType) -> pa.Array:
    """An array of texts as the type says, NULL staying NULL. Raises Unreadable for the first text that is not exactly a value.

    A decimal number becomes the nearest float where that gives back every digit: 17 at most for float64, 9 for float32.
    """
    if column.kind == "string":
        return texts
    try:
        return _cast(texts, column)
    except (pa.ArrowInvalid, ValueError) as error:
        row = first_failure(texts, lambda some: _cast(some, column))
        raise Unreadable(row, str(texts[row].as_py()), column) from error


def _cast(texts: pa.Array, column: ColumnType) -> pa.Array:
    match column.kind:
        case "json":
            for text in texts.to_pylist():
                if text is not None:
                    orjson.loads(text)
            return texts
        case "bool":
            return _booleans(texts)
        case "bytes":
            return pc.cast(texts, pa.binary())
        case "uuid":
            _check(texts, _UUID)
            return pc.utf8_lower(texts)
        case "time":
            # Arrow reads no time from text, but a timestamp, whose day is then dropped.
            moments = pc.binary_join_element_wise("1970-01-01T", texts, "")
            return pc.cast(pc.cast(moments, pa.timestamp("us")), arrow_type(column))
        case "int16" | "int32" | "int64" | "uint64":
            _check(texts, _INTEGER)
        case "float32" | "float64":
            numbers = pc.cast(texts, arrow_type(column))
            _check_digits(texts, numbers, column.kind)
            return numbers
    return pc.cast(texts, arrow_type(column))


def _check(texts: pa.Array, pattern: str) -> None:
    if pc.all(pc.match_substring_regex(texts, pattern)).as_py() is False:
        raise ValueError("not of this form")


def _check_digits(texts: pa.Array, numbers: pa.Array, kind: str) -> None:
    """Raises ValueError for a text whose digits are not those of its number: there are too many, or it is too large or too small."""
    outside = pc.or_(pc.less(pc.abs(numbers), _NORMAL_MIN[kind]), pc.is_inf(numbers))
    is_doubtful = pc.or_(pc.greater(pc.utf8_length(texts), _DIGITS_SURE[kind]), outside)
    texts, numbers = pc.filter(texts, is_doubtful), pc.filter(numbers, is_doubtful)
    is_written_otherwise = pc.not_equal(pc.cast(numbers, pa.string()), texts)
    texts, numbers = pc.filter(texts, is_written_otherwise), pc.filter(numbers, is_written_otherwise)
    for text, number in set(zip(texts.to_pylist(), numbers.to_pylist(), strict=True)):
        digits_max = _DIGITS_MAX[kind]
        if f"{number:.{digits_max}g}" != text and not _gives_back(number, text, digits_max):
            raise ValueError("digits would be lost")


def _gives_back(number: float, text: str, digits_max: int) -> bool:
    """Whether the text is the number, rounded to as many digits as the text has."""
    exact = Decimal(text)
    if not exact.is_finite() or exact.is_zero():
        return True
    significant = "".join(map(str, exact.as_tuple().digits)).strip("0")
    if len(significant) > digits_max or number == 0 or math.isinf(number):
        return False
    last = Fraction(10) ** (exact.adjusted() - len(significant) + 1)
    return abs(Fraction(number) - Fraction(exact)) <= last / 2


def _advice(text: str, column: ColumnType) -> str:
    if column.kind not in _DIGITS_MAX or not _NUMBER.fullmatch(text):
        return ""
    return " that gives back all its digits: declare it as decimal or string"


def _booleans(texts: pa.Array) -> pa.Array:
    found = pc.index_in(pc.ascii_lower(texts), pa.array(_BOOLEANS))
    if found.null_count != texts.null_count:
        raise ValueError("neither true nor false")
    return pc.less(found, _TRUE)


def shown(text: str) -> str:
    """A value as an error shows it: quoted, and cut where it is long."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"
    return f"`{cut}`"


def refused(relation: str, column: str, row: int | str, why: str) -> DataRefused:
    """The error for a value; `row` is a line, a rowid or a key."""
    return DataRefused(f"{relation}, column `{column}`, row {row}: {why}", field=f"source.columns.{column}")


def as_now(relation: str, columns: Sequence[ColumnInfo], native: Mapping[str, str]) -> list[ColumnInfo]:
    """A run's columns with the native types that they have now, by name. Raises SourceChanged for one that is not there any more."""
    check_there(relation, columns, native)
    return [ColumnInfo(each.name, each.type, each.is_required, native[each.name]) for each in columns]


def check_there(relation: str, columns: Sequence[ColumnInfo], names: Container[str]) -> None:
    """Raises SourceChanged for a column that there was when the run was started, and that is not there any more."""
    for column in columns:
        if column.name not in names:
            raise SourceChanged(
                f"{relation}: column `{column.name}` was there when the run was started, and is gone now, or hidden from the connection's "
                "user: start another run",
                field=f"source.columns.{column.name}",
            )


def missing(relation: str, known: Iterable[str]) -> SourceMissing:
    """The error for a relation that is not there."""
    return SourceMissing(f"there is no `{relation}`{nearest(relation, known)}", field="source.relation")


def check_declared(relation: SourceRelation, known: Sequence[str]) -> None:
    """Raises InvalidDefinition for declared columns and keys that the relation does not have, with the nearest names."""
    problems = [
        Problem(f"source.columns.{name}", f"`{relation.relation}` has no column `{name}`{nearest(name, known)}")
        for name in relation.columns
        if name not in known
    ]
    problems += [
        Problem("key", f"`{relation.relation}` has no column `{name}`{nearest(name, known)}")
        for name in relation.key
        if name not in known
    ]
    if problems:
        raise InvalidDefinition(tuple(problems))


def declared_columns(relation: SourceRelation, found: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
    """The columns with the types that the dataset declares for them."""
    check_declared(relation, [column.name for column in found])
    return tuple(
        replace(column, type=declared, default=standard_default(column.native_default, declared))
        if (declared := relation.columns.get(column.name)) is not None
        else column
        for column in found
    )
