"""PostgreSQL's values as Arrow's, exactly: how a column is selected, and how what the cursor gives becomes an array.

Dates and times come in the binary form that PostgreSQL stores, whose numbers neither a locale nor a driver touches; what has no
Arrow type of its own comes as PostgreSQL's text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.types import DECIMAL_PRECISION_MAX, ColumnInfo, ColumnType, Kind
from pymigrate.engine.ports.arrow_types import arrow_type

EPOCH_DAYS = 10_957  # from 1970 to 2000, where PostgreSQL's calendar begins to count
EPOCH_MICROSECONDS = EPOCH_DAYS * 86_400_000_000
DAY_MICROSECONDS = 86_400_000_000
FIRST_DAY = -719_162 - EPOCH_DAYS  # 0001-01-01
FIRST_MICROSECOND = FIRST_DAY * DAY_MICROSECONDS
_READ: dict[Kind, tuple[str, ...]] = {
    "bool": ("boolean",),
    "int16": ("smallint",),
    "int32": ("integer",),
    "int64": ("bigint",),
    "float32": ("real",),
    "float64": ("double precision",),
    "string": ("text", "character varying", "character", "bpchar"),
    "bytes": ("bytea",),
    "date": ("date",),
    "time": ("time without time zone",),
    "timestamp": ("timestamp without time zone",),
    "timestamptz": ("timestamp with time zone",),
}
_WRITTEN: dict[Kind, tuple[str, ...]] = {"json": ("json", "jsonb"), "uuid": ("uuid",)}
_KINDS = {name: kind for kinds in (_READ, _WRITTEN) for kind, names in kinds.items() for name in names}
_MOMENTS = frozenset({"date", "time", "timestamp", "timestamptz"})
_SIZE = re.compile(r"\(\d+\)(?!\[)")
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")


class Raw(Loader):
    """The bytes as they come."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        """A copy, since the buffer is the result's."""
        return bytes(data)


def column_type(native: str) -> ColumnType:
    """The type that holds a PostgreSQL type exactly, as `format_type` names it; `string`, by its text, where no other does."""
    if found := _NUMERIC.fullmatch(native):
        precision, scale = int(found[1]), int(found[2])
        if scale <= precision <= DECIMAL_PRECISION_MAX:
            return ColumnType("decimal", precision, scale)
    return ColumnType(_KINDS.get(_SIZE.sub("", native), "string"))


def keep_raw(context: psycopg.Cursor[tuple[object, ...]]) -> None:
    """Makes a cursor give dates and times as their bytes."""
    for name in ("date", "time", "timestamp", "timestamptz"):
        context.adapters.register_loader(name, Raw)


def selected(column: ColumnInfo) -> str:
    """What to select for a column: itself where its values are read as they are, its text otherwise."""
    name = quote(column.name)
    return name if _is_in(_READ, column) else f"{name}::text"


def to_array(column: ColumnInfo, values: Sequence[object]) -> pa.Array:
    """Raises Unreadable for a value that the column's type does not hold."""
    if _is_in(_READ, column):
        return (
            _moments_of(column.type, values)
            if column.type.kind in _MOMENTS
            else pa.array(values, arrow_type(column.type))
        )
    texts = pa.array(values, pa.string())
    return texts if _is_in(_WRITTEN, column) else read_texts(texts, column.type)


def is_read(column: ColumnInfo) -> bool:
    """Whether a column's own values are read, rather than their text."""
    return _is_in(_READ, column)


def _is_in(known: Mapping[Kind, tuple[str, ...]], column: ColumnInfo) -> bool:
    return _SIZE.sub("", column.native_type) in known.get(column.type.kind, ())


def _moments_of(kind: ColumnType, values: Sequence[object]) -> pa.Array:
    """Dates and times from the bytes of their big-endian numbers."""
    width = "i4" if kind.kind == "date" else "i8"
    is_null = np.fromiter((value is None for value in values), bool, len(values))
    nothing = bytes(np.dtype(width).itemsize)
    joined = b"".join(nothing if value is None else value for value in values)  # type: ignore[misc]  # Raw gives bytes
    return moments(kind, np.frombuffer(joined, f">{width}"), is_null)


def moments(kind: ColumnType, numbers: Any, is_null: Any) -> pa.Array:
    """Dates and times from numbers that count from 2000 on; those of NULLs are 0. Raises Unreadable for what no calendar here holds."""
    width = "i4" if kind.kind == "date" else "i8"
    numbers = numbers.astype(np.int64)
    if kind.kind == "time":
        _refuse(numbers >= DAY_MICROSECONDS, kind, "24:00:00")
    else:
        limit = np.iinfo(width)
        epoch, first = (EPOCH_DAYS, FIRST_DAY) if width == "i4" else (EPOCH_MICROSECONDS, FIRST_MICROSECOND)
        _refuse(numbers == limit.max, kind, "infinity")
        _refuse(numbers == limit.min, kind, "-infinity")
        _refuse(numbers < first, kind, "a day before the year 1")
        _refuse(numbers > limit.max - epoch, kind, "a day that is too far away")
        numbers = numbers + epoch
    return pa.array(numbers.astype(width), mask=is_null).view(arrow_type(kind))


def _refuse(mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]", kind: ColumnType, what: str) -> None:
    found = np.flatnonzero(mask)
    if found.size:
        raise Unreadable(int(found[0]), what, kind)
