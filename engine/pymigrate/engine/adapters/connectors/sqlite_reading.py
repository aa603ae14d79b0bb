"""SQLite's values as Arrow's, strictly: a column may hold anything, and what its type does not hold is refused with its row."""

import sqlite3
from collections.abc import Callable, Sequence

import pyarrow as pa

from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts, refused, shown
from pymigrate.engine.adapters.connectors.sqlite_types import is_numeric, is_text
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo, Kind
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type

Refuse = Callable[[int, str], DataRefused]
_STORED: dict[Kind, tuple[type, ...]] = {
    "bool": (int,),
    "int16": (int,),
    "int32": (int,),
    "int64": (int,),
    "uint64": (int, str),
    "float32": (float, int),
    "float64": (float, int),
    "decimal": (int, str),
    "bytes": (bytes,),
}


def to_batch(
    rows: Sequence[tuple[object, ...]], order: int, relation: str, columns: Sequence[ColumnInfo]
) -> pa.RecordBatch:
    """Rows, each with `order` values of its place before those of the columns. Raises DataRefused with the place."""
    values = list(zip(*rows, strict=True))
    arrays = [_array(column, values[order + at], rows, order, relation) for at, column in enumerate(columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def row_name(place: Sequence[object]) -> str:
    """A row by its rowid or key."""
    return ", ".join(map(str, place))


def check_unique(relation: str, last: Sequence[object], keys: Sequence[Sequence[object]]) -> None:
    """Raises DataRefused where the key of a view is not unique: what is read on after it would be lost."""
    before = tuple(last)
    for key in keys:
        if tuple(key) == before or None in key:
            raise DataRefused(f"{relation}, row {row_name(key)}: the key is NULL or occurs twice", field="key")
        before = tuple(key)


def undecodable(
    connection: sqlite3.Connection,
    statement: str,
    values: Sequence[object],
    relation: str,
    columns: Sequence[ColumnInfo],
    order: int,
) -> DataRefused:
    """The error for the first text that is not UTF-8, found by reading again."""
    connection.text_factory = bytearray
    try:
        for row in connection.execute(statement, values):
            for at, value in enumerate(row[order:]):
                if isinstance(value, bytearray) and not _is_utf8(value):
                    place = row_name([_decoded(part) for part in row[:order]])
                    return refused(relation, columns[at].name, place, f"{shown(_decoded(value))} is not UTF-8")
    finally:
        connection.text_factory = str
    return DataRefused(f"{relation}: a key is not UTF-8")


def _is_utf8(text: bytearray) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytearray) else str(value)


def _array(
    column: ColumnInfo, values: Sequence[object], rows: Sequence[tuple[object, ...]], order: int, relation: str
) -> pa.Array:
    def refuse(at: int, why: str) -> DataRefused:
        return refused(relation, column.name, row_name(rows[at][:order]), why)

    kind = column.type.kind
    # A column that is declared as text, and by the dataset as something else, holds that in writing.
    is_written = is_text(column.native_type) and kind != "bytes"
    allowed = (str,) if is_written else _STORED.get(kind, (str,))
    if (kind == "string" and is_numeric(column.native_type)) or (kind == "decimal" and not is_written):
        allowed = (int, float, str)
    types = set(map(type, values)) - {type(None)}
    if not types <= set(allowed):
        at = next(at for at, value in enumerate(values) if value is not None and type(value) not in allowed)
        why = f"{shown(repr(values[at]))} is stored as {_storage(values[at])}, and the column is {column.type}"
        raise refuse(at, f"{why}: declare the type that all values have")
    if is_written or str in allowed:
        if kind == "decimal" and float in types:
            values = _decimals(values, refuse)
        texts = values if types <= {str} else [None if value is None else str(value) for value in values]
        try:
            return read_texts(pa.array(texts, pa.string()), column.type)
        except Unreadable as error:
            raise refuse(error.row, str(error)) from error
    if kind == "bool":
        return _booleans(values, refuse)
    if kind in {"float32", "float64"}:
        return _floats(values, refuse, arrow_type(column.type))
    try:
        return pa.array(values, arrow_type(column.type))
    except (pa.ArrowInvalid, OverflowError):
        bits = int(kind.removeprefix("int"))
        at = next(
            at for at, v in enumerate(values) if isinstance(v, int) and not -(2 ** (bits - 1)) <= v < 2 ** (bits - 1)
        )
        raise refuse(at, f"{values[at]} does not fit {kind}") from None


def _decimals(values: Sequence[object], refuse: Refuse) -> list[object]:
    """Reals as the decimal numbers that were stored: SQLite keeps those of 15 digits, and no others for certain."""
    found: list[object] = []
    for at, value in enumerate(values):
        text = f"{value:.15g}" if isinstance(value, float) else value
        if isinstance(value, float) and float(text) != value:  # type: ignore[arg-type]  # a text
            raise refuse(
                at, f"{value!r} is a real of more than 15 digits, which no decimal number was: declare it as float64"
            )
        found.append(text)
    return found


def _booleans(values: Sequence[object], refuse: Refuse) -> pa.Array:
    for at, value in enumerate(values):
        if value not in {None, 0, 1}:
            raise refuse(at, f"{value} is neither 0 nor 1")
    return pa.array([None if value is None else bool(value) for value in values], pa.bool_())


def _floats(values: Sequence[object], refuse: Refuse, target: pa.DataType) -> pa.Array:
    if int in set(map(type, values)):
        for at, value in enumerate(values):
            if isinstance(value, int) and float(value) != value:
                raise refuse(at, f"{value} is no exact floating-point number")
        values = [None if value is None else float(value) for value in values]  # type: ignore[arg-type]  # checked above
    array = pa.array(values, pa.float64())
    if target == pa.float32():
        narrow = array.cast(pa.float32(), safe=False)
        for at, (wide, value) in enumerate(zip(array.to_pylist(), narrow.to_pylist(), strict=True)):
            if wide is not None and wide == wide and wide != value:
                raise refuse(at, f"{wide} does not fit float32")
        return narrow
    return array


def _storage(value: object) -> str:
    return {int: "an integer", float: "a real", str: "text", bytes: "a blob"}[type(value)]
