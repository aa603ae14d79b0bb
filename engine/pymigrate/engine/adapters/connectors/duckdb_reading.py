"""DuckDB's values as Arrow's, exactly: how a column is selected, and how what the scan gives becomes an array.

What has no Arrow type of its own comes as DuckDB's text, and beside it, for types whose text is not exact by definition, whether the
text read again is the value: a value of which that is not so is refused with its row.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.duckdb_types import column_type
from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts, shown
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_type

DAY_MICROSECONDS = 86_400_000_000
_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_WRITTEN = frozenset({"json", "uuid"})
# Whose text is the value by definition.
_EXACT = re.compile(r"HUGEINT|UHUGEINT|BIGNUM|BIT|VARCHAR|JSON|UUID|ENUM\(.*\)", re.DOTALL)
_CHECKED = re.compile(
    r"INTERVAL|TIME_NS|TIMESTAMP_NS|TIME WITH TIME ZONE|(STRUCT|MAP|UNION)\(.*\)|.*\[\d*\]", re.DOTALL
)


class Inexact(Unreadable):
    """A value that its type's text does not give back."""

    def __init__(self, row: int, text: str, native: str) -> None:
        ValueError.__init__(self, f"{shown(text)} is not all there is to a value of the type {native}")
        self.row = row


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column is read: `expression` gives its values, `check` (empty: nothing to check) whether they are exact. The column's
    name is taken as one of the alias `source`."""

    column: ColumnInfo
    expression: str
    check: str = ""

    def array(self, values: pa.Array, is_exact: pa.Array | None) -> pa.Array:
        """Raises Unreadable for a value that the column's type does not hold."""
        at = -1 if is_exact is None else pc.index(is_exact, False).as_py()
        if at >= 0:
            raise Inexact(at, str(values[at].as_py()), self.column.native_type)
        if not _is_direct(self.column):
            texts = values.cast(pa.string())
            return texts if _is_written(self.column) else read_texts(texts, self.column.type)
        found = values.cast(arrow_type(self.column.type))
        if self.column.type.kind in _MOMENTS:
            _refuse_infinite(found, self.column.type)
        elif self.column.type.kind == "time":
            _refuse(pc.equal(found.view(pa.int64()), DAY_MICROSECONDS), self.column.type, "24:00:00")
        return found


def reading(alias: str, column: ColumnInfo) -> Reading:
    """How to read a column of the relation that the statement calls `alias`."""
    name, native = f"{alias}.{quote(column.name)}", column.native_type
    if _is_direct(column):
        if native in {"TIMESTAMP_S", "TIMESTAMP_MS"}:
            moment = f"TRY_CAST({name} AS TIMESTAMP)"
            return Reading(column, moment, f"({moment} IS NULL) = ({name} IS NULL)")
        return Reading(column, name)
    text = f"CAST({name} AS VARCHAR)"
    if not _CHECKED.fullmatch(native):
        return Reading(column, text)
    return Reading(column, text, f"{name} IS NULL OR TRY_CAST({text} AS {native}) IS NOT DISTINCT FROM {name}")


def is_known(native: str) -> bool:
    """Whether values of a native type can be read, as their own type or as text."""
    return column_type(native).kind != "string" or bool(_EXACT.fullmatch(native) or _CHECKED.fullmatch(native))


def _is_direct(column: ColumnInfo) -> bool:
    """Whether values come in the type that the column is to have."""
    return column_type(column.native_type) == column.type and column.type.kind not in {"string", *_WRITTEN}


def _is_written(column: ColumnInfo) -> bool:
    """Whether the text needs no reading: it is of the column's own type."""
    return column.type.kind in _WRITTEN and column_type(column.native_type) == column.type


def _refuse_infinite(values: pa.Array, kind: ColumnType) -> None:
    width = pa.int32() if kind.kind == "date" else pa.int64()
    most = np.iinfo(width.to_pandas_dtype()).max
    for limit, text in ((most, "infinity"), (-most, "-infinity")):
        _refuse(pc.equal(values.view(width), pa.scalar(int(limit), width)), kind, text)


def _refuse(mask: pa.BooleanArray, kind: ColumnType, what: str) -> None:
    at = pc.index(mask, True).as_py()
    if at >= 0:
        raise Unreadable(at, what, kind)


def arrays_of(
    readings: Sequence[Reading], batch: pa.RecordBatch, first: int
) -> list[tuple[Reading, pa.Array, pa.Array | None]]:
    """What a batch holds for each reading: values from column `first` on, and behind all of them the checks in the same order."""
    found: list[tuple[Reading, pa.Array, pa.Array | None]] = []
    check = first + len(readings)
    for at, each in enumerate(readings):
        found.append((each, batch.column(first + at), batch.column(check) if each.check else None))
        check += bool(each.check)
    return found
