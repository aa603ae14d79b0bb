"""Which columns of a MySQL table that is there keep which values exactly, for rows that are merged into it or appended.

MySQL rounds moments to the digits of its column and numbers to those of a FLOAT(M,D), takes the spaces off a CHAR, fills up a BINARY, folds
an ENUM and writes JSON anew, all of it in silence, whatever its mode. Such columns are refused before a row is copied. What does not fit
(a long text, a number out of range, a character that the column's set has not) MySQL refuses itself, with its row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pymigrate.engine.adapters.connectors.mysql_types import Declared, parse
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo, Kind
from pymigrate.engine.ports.staging import Staging

MOMENT_DIGITS = 6
_WHOLE = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_TEXTS = frozenset({"varchar", "tinytext", "text", "mediumtext", "longtext"})
_BYTES = frozenset({"varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
# The words that hold a kind, beside those that are compared by their sizes elsewhere.
_KEPT: Mapping[Kind, frozenset[str]] = {
    "bool": _WHOLE,
    "int16": _WHOLE | {"decimal"},
    "int32": _WHOLE | {"decimal"},
    "int64": _WHOLE | {"decimal"},
    "uint64": _WHOLE | {"decimal"},
    "decimal": frozenset({"decimal"}),
    "float32": frozenset({"float", "double"}),
    "float64": frozenset({"double"}),
    "string": _TEXTS,
    "json": _TEXTS,
    "bytes": _BYTES,
    "date": frozenset({"date"}),
    "time": frozenset({"time"}),
    "timestamp": frozenset({"datetime"}),
    "timestamptz": frozenset({"datetime", "timestamp"}),
    "uuid": frozenset({"uuid", "char", "varchar"}),
}
# Kinds that have no word of their own in MySQL: PyMigrate keeps them under these.
_STANDING_IN: Mapping[Kind, frozenset[str]] = {
    "bool": _KEPT["bool"],
    "timestamptz": frozenset({"datetime"}),
    "uuid": _KEPT["uuid"],
}
_MOMENTS = frozenset({"time", "datetime", "timestamp"})


def kept_as_given(staging: Staging, existing: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
    """The columns that are there, with the type of the one that comes where MySQL has no word for it and theirs keeps it."""
    given = {column.name.lower(): column for column in staging.columns}
    return tuple(_as_given(old, given.get(old.name.lower())) for old in existing)


def _as_given(old: ColumnInfo, column: ColumnInfo | None) -> ColumnInfo:
    if column is None or parse(old.native_type).word not in _STANDING_IN.get(column.type.kind, frozenset()):
        return old
    return replace(old, type=column.type)


def lossy_columns(staging: Staging, existing: Sequence[ColumnInfo], *, is_json_text: bool) -> Iterator[Problem]:
    """Columns that would change values in silence. `is_json_text`: the server keeps JSON as the text that it is."""
    there = {column.name.lower(): column for column in existing}
    for column in staging.columns:
        old = there.get(column.name.lower())
        if old is not None and (why := _loss(column, parse(old.native_type), is_json_text=is_json_text)):
            text = f"`{staging.relation}` has the column as {old.native_type}, which {why}"
            yield Problem(f"source.columns.{column.name}", text)


def _loss(column: ColumnInfo, old: Declared, *, is_json_text: bool) -> str:
    if old.word == "json" and column.type.kind in {"json", "string"}:
        return "" if is_json_text else "drops doubled names, spaces and zeros of a JSON text"
    if old.word not in _KEPT[column.type.kind]:
        return f"does not keep every {column.type} as it is"
    if old.word in _MOMENTS and old.numbers != (MOMENT_DIGITS,):
        return f"rounds to {old.arguments or 'no'} digits of a second: it must have {MOMENT_DIGITS}"
    if old.word in {"float", "double"} and old.arguments:
        return "rounds"
    return ""
