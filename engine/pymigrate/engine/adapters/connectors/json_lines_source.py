"""JSON Lines files: an object a line. What the lines hold decides the types, unless the dataset declares them."""

import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts, refused, shown
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import JsonLinesFormat, Position, SourceChunk, arrow_schema

LINE_BYTES_MAX = 64 * 1024 * 1024
INT64 = range(-(2**63), 2**63)
EXACT_FLOAT = range(-(2**53), 2**53 + 1)
_NUMBERS = frozenset({"int", "long", "huge", "float", "digits"})


class Number(str):
    """A number with a point or an exponent, as it was written."""

    __slots__ = ()


class JsonLinesReader:
    """A file of objects. `columns` reads all of it once; an absent field is NULL."""

    def __init__(self, path: Path, relation: str, form: JsonLinesFormat, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._path = path
        self._relation = relation
        self._nulls = frozenset(form.null_values)
        self._rows = 0
        self._line_bytes_max = line_bytes_max

    def columns(self) -> tuple[ColumnInfo, ...]:
        """The fields in the order in which they first come, with a type that every value fits."""
        found: dict[str, set[str]] = {}
        self._rows = 0
        with self._path.open("rb") as file:
            while line := file.readline(self._line_bytes_max + 1):
                self._rows += 1
                for name, value in self._object(line, self._rows).items():
                    found.setdefault(name, set()).add(self._kind(value))
        return tuple(ColumnInfo(name, _inferred(kinds - {"null"})) for name, kinds in found.items())

    def declared(self, name: str, kind: ColumnType) -> None:
        """A value that the type does not hold is refused where it stands."""

    def rows(self) -> int:
        """Lines that were read by `columns`."""
        return self._rows

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, after: Position | None) -> Iterator[SourceChunk]:
        """Lines in the order of the file; a position is the offset and the number of lines before it."""
        place = json.loads(after) if after else {"offset": 0, "row": 0}
        offset, row = int(place["offset"]), int(place["row"])
        with self._path.open("rb") as file:
            file.seek(offset)
            while lines := _lines(file, chunk_bytes, self._line_bytes_max):
                objects = [self._object(line, row + at) for at, line in enumerate(lines, 1)]
                arrays = [self._array(column, objects, row) for column in columns]
                batch = pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))
                size = sum(map(len, lines))
                offset, row = offset + size, row + len(lines)
                yield SourceChunk((batch,), len(lines), size, Position(json.dumps({"offset": offset, "row": row})))

    def _object(self, line: bytes, row: int) -> dict[str, Any]:
        if len(line) > self._line_bytes_max:
            raise DataRefused(f"{self._relation}, line {row}: it has more than {self._line_bytes_max:,} bytes")
        if not line.strip():
            raise DataRefused(f"{self._relation}, line {row}: it is empty")
        try:
            value = json.loads(line, parse_float=Number, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise DataRefused(f"{self._relation}, line {row}: it is no JSON object: {error}") from error
        if not isinstance(value, dict):
            raise DataRefused(f"{self._relation}, line {row}: it is no JSON object")
        return value

    def _kind(self, value: Any) -> str:
        if value is None or (isinstance(value, str) and not isinstance(value, Number) and value in self._nulls):
            return "null"
        if isinstance(value, bool):
            return "bool"
        if isinstance(value, int):
            return "int" if value in EXACT_FLOAT else "long" if value in INT64 else "huge"
        if isinstance(value, Number):
            return "float" if _is_exact(value) else "digits"
        return "string" if isinstance(value, str) else "json"

    def _array(self, column: ColumnInfo, objects: Sequence[dict[str, Any]], row: int) -> pa.Array:
        kind = column.type.kind
        texts: list[str | None] = []
        for at, found in enumerate(objects):
            value = found.get(column.name)
            value_kind = self._kind(value)
            if value_kind == "null":
                texts.append(None)
            elif kind == "json":
                texts.append(_written(value))
            elif not _fits(value_kind, kind):
                what = {"bool": "true or false", "string": "text", "json": "JSON"}.get(value_kind, "a number")
                raise refused(
                    self._relation,
                    column.name,
                    row + at + 1,
                    f"{shown(_written(value))} is {what}, and the column is {column.type}",
                )
            else:
                texts.append(value if isinstance(value, str) else _written(value))
        try:
            array = pa.array(texts, pa.string())
        except UnicodeEncodeError as error:
            at = next(at for at, text in enumerate(texts) if text is not None and _has_surrogate(text))
            why = "half of a surrogate pair is no character"
            raise refused(self._relation, column.name, row + at + 1, why) from error
        try:
            return array if kind == "json" else read_texts(array, column.type)
        except Unreadable as error:
            raise refused(self._relation, column.name, row + error.row + 1, str(error)) from error


def _lines(file: io.BufferedReader, chunk_bytes: int, line_bytes_max: int) -> list[bytes]:
    """The next lines, about `chunk_bytes` of them, and no line further than it may be long."""
    lines, size = list[bytes](), 0
    while size < chunk_bytes and (line := file.readline(line_bytes_max + 1)):
        lines.append(line)
        size += len(line)
    return lines


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _fits(value_kind: str, kind: str) -> bool:
    """Whether a JSON value of that kind may be read as the column's type; the text is read strictly afterwards."""
    match kind:
        case "bool":
            return value_kind in {"string", "bool"}
        case "decimal":
            return value_kind in {"string", *_NUMBERS}
        case "int16" | "int32" | "int64" | "uint64":
            return value_kind in {"string", "int", "long", "huge"}
        case "float32" | "float64":
            return value_kind in {"string", "int", "float"}
    return value_kind == "string"


def _inferred(kinds: set[str]) -> ColumnType:
    if kinds <= {"int", "long"} and kinds:
        return ColumnType("int64")
    if kinds <= {"int", "float"} and kinds:
        return ColumnType("float64")
    if kinds == {"bool"}:
        return ColumnType("bool")
    return ColumnType("string") if kinds <= {"string"} else ColumnType("json")


def _is_exact(text: str) -> bool:
    """Whether a number is the shortest way to write a double, but for zeros at its end: nothing is lost in reading it as one."""
    return Decimal(repr(float(text))) == Decimal(text)


def _written(value: Any) -> str:
    """A value as JSON, numbers as they were written."""
    if isinstance(value, Number):
        return str.__str__(value)
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_written(v)}" for name, v in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
