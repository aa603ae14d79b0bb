"""What every source asks of values: text read strictly as a type, and errors that name relation, column and row."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SourceMissing
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import SourceRelation, arrow_type

SHOWN_CHARACTERS_MAX = 60
_BOOLEANS = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False}
_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


class Unreadable(ValueError):
    """A text that its type does not hold; `row` counts from 0 within the array."""

    def __init__(self, row: int, text: str, column: ColumnType) -> None:
        super().__init__(f"{shown(text)} is no {column}")
        self.row = row


def read_texts(texts: pa.Array, column: ColumnType) -> pa.Array:
    """An array of texts as the type says, NULL staying NULL. Raises Unreadable for the first text that is not exactly a value."""
    if column.kind in {"string", "json"}:
        return texts
    try:
        return _cast(texts, column)
    except (pa.ArrowInvalid, ValueError) as error:
        low, high = 0, len(texts)  # texts[:low] can be read, texts[:high] can't
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _cast(texts.slice(low, middle - low), column)
                low = middle
            except (pa.ArrowInvalid, ValueError):
                high = middle
        raise Unreadable(low, str(texts[low].as_py()), column) from error


def _cast(texts: pa.Array, column: ColumnType) -> pa.Array:
    if column.kind == "bool":
        return pa.array([None if text is None else _BOOLEANS[text.lower()] for text in texts.to_pylist()], pa.bool_())
    if column.kind == "bytes":
        return pc.cast(texts, pa.binary())
    if column.kind == "uuid":
        if pc.all(pc.match_substring_regex(texts, _UUID)).as_py() is False:
            raise ValueError("not a uuid")
        return pc.utf8_lower(texts)
    if column.kind == "time":
        # Arrow reads no time from text, but a timestamp, whose day is then dropped.
        moments = pc.binary_join_element_wise("1970-01-01T", texts, "")
        return pc.cast(pc.cast(moments, pa.timestamp("us")), arrow_type(column))
    return pc.cast(texts, arrow_type(column))


def shown(text: str) -> str:
    """A value as an error shows it: quoted, and cut where it is long."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"
    return f"`{cut}`"


def refused(relation: str, column: str, row: int | str, why: str) -> DataRefused:
    """The error for a value; `row` is a line, a rowid or a key."""
    return DataRefused(f"{relation}, column `{column}`, row {row}: {why}", field=f"source.columns.{column}")


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
    return tuple(ColumnInfo(c.name, relation.columns.get(c.name, c.type), c.is_required, c.native_type) for c in found)
