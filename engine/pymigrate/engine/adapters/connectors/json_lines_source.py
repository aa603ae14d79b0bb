"""JSON Lines files: an object a line. What the lines hold decides the types, unless the dataset declares them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import pyarrow as pa

from pymigrate.engine.adapters.connectors.json_values import KINDS, Number, array_of, decode
from pymigrate.engine.adapters.connectors.record_ends import end_of, record_ends
from pymigrate.engine.adapters.connectors.stored_files import StoredFile
from pymigrate.engine.adapters.connectors.text_stream import Place, TextStream, place_of, start_of
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.file_formats import JsonLinesFormat
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.source import SourceChunk

LINE_BYTES_MAX = 64 * 1024 * 1024
BATCH_BYTES = 1_000_000  # read at once: Python's objects take some ten times the room of their text
BOM = b"\xef\xbb\xbf"
INT64 = range(-(2**63), 2**63)
EXACT_FLOAT = range(-(2**53), 2**53 + 1)


class JsonLinesReader:
    """A file of objects. `columns` reads all of it once; an absent field is NULL. `declared` are the columns of a file without lines."""

    def __init__(
        self,
        file: StoredFile,
        relation: str,
        form: JsonLinesFormat,
        declared: Mapping[str, ColumnType],
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        self._file = file
        self._relation = relation
        self._declared = declared
        self._nulls = frozenset(form.null_values)
        self._rows = 0
        self._line_bytes_max = line_bytes_max

    def columns(self) -> tuple[ColumnInfo, ...]:
        """The fields in the order in which they first come, with a type that every value fits."""
        found = self.kinds()
        if not self._rows:
            return tuple(ColumnInfo(name, kind) for name, kind in self._declared.items())
        return inferred_columns(found)

    def kinds(self) -> dict[str, set[str]]:
        """What kinds of values each field has, in the order in which the fields first come."""
        found: dict[str, set[str]] = {}
        self._rows = 0
        with TextStream(self._file, start_of(self._file)) as stream:
            while lines := _lines(stream, BATCH_BYTES, self._line_bytes_max):
                objects = self._objects(lines, self._rows)
                self._rows += len(lines)
                stream.row = self._rows
                values: dict[str, list[Any]] = {}
                for name, value in chain.from_iterable(fields.items() for fields in objects):
                    values.setdefault(name, []).append(value)
                for name, some in values.items():
                    found.setdefault(name, set()).update(self._kinds(some))
        return found

    def declared(self, name: str, kind: ColumnType) -> None:
        """A value that the type does not hold is refused where it stands."""

    def rows(self) -> int:
        """Lines that were read by `columns`."""
        return self._rows

    def split(self, parts: int) -> Sequence[Position]:
        """At ends of lines."""
        return record_ends(self._file, 0, parts, has_quotes=False, counts_empty=True)

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange) -> Iterator[SourceChunk]:
        """Lines in the order of the file; a position is the offset and the number of lines before it."""
        place, until = place_of(span.after, start_of(self._file)), end_of(span)
        with TextStream(self._file, place) as stream:
            while True:
                batches, end = self._batches(stream, columns, min(chunk_bytes, until - place.offset), place)
                if not batches:
                    break
                yield SourceChunk(tuple(batches), end.row - place.row, end.offset - place.offset, end.position())
                place = end

    def _batches(
        self, stream: TextStream, columns: Sequence[ColumnInfo], chunk_bytes: int, place: Place
    ) -> tuple[list[pa.RecordBatch], Place]:
        """The next chunk's rows, and the place behind them."""
        schema, start, batches = arrow_schema(columns), place.offset, list[pa.RecordBatch]()
        while (left := chunk_bytes - (place.offset - start)) > 0:
            lines = _lines(stream, min(BATCH_BYTES, left), self._line_bytes_max)
            if not lines:
                break
            row, objects = place.row, self._objects(lines, place.row)
            arrays = [
                array_of(self._relation, column, [found.get(column.name) for found in objects], row, self._nulls)
                for column in columns
            ]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            place = place.after(b"".join(lines), len(lines))
            stream.row = place.row
        return batches, place

    def _objects(self, lines: Sequence[bytes], row: int) -> list[dict[str, Any]]:
        return [self._object(line, row + at) for at, line in enumerate(lines, 1)]

    def _object(self, line: bytes, row: int) -> dict[str, Any]:
        if len(line) > self._line_bytes_max:
            raise DataRefused(f"{self._relation}, line {row}: it has more than {self._line_bytes_max:,} bytes")
        if not line.strip():
            raise DataRefused(f"{self._relation}, line {row}: it is empty")
        try:
            value = decode((line.removeprefix(BOM) if row == 1 else line).decode())
        except (ValueError, RecursionError) as error:
            raise DataRefused(f"{self._relation}, line {row}: it is no JSON object: {error}") from error
        if not isinstance(value, dict):
            raise DataRefused(f"{self._relation}, line {row}: it is no JSON object")
        return value

    def _kinds(self, values: Sequence[Any]) -> set[str]:
        """The kinds of all values, numbers by what holds them."""
        kinds = set[str]()
        for type_ in set(map(type, values)):
            some: set[Any] = (
                {value for value in values if type(value) is type_} if type_ in {int, Number, str} else set()
            )
            if type_ is int:
                kinds |= {_size(min(some)), _size(max(some))}
            elif type_ is Number:
                kinds.add("float" if all(map(_is_exact, some)) else "digits")
            elif type_ is str and some <= self._nulls:
                kinds.add("null")
            else:
                kinds.add(KINDS[type_])
        return kinds


def inferred_columns(found: Mapping[str, set[str]]) -> tuple[ColumnInfo, ...]:
    """The columns by the kinds of values that were found."""
    return tuple(ColumnInfo(name, _inferred(kinds - {"null"})) for name, kinds in found.items())


def _lines(file: TextStream, chunk_bytes: int, line_bytes_max: int) -> list[bytes]:
    """The next lines, about `chunk_bytes` of them, and no line further than it may be long."""
    lines, size = list[bytes](), 0
    while size < chunk_bytes and (line := file.readline(line_bytes_max + 1)):
        lines.append(line)
        size += len(line)
    return lines


def _size(number: int) -> str:
    return "int" if number in EXACT_FLOAT else "long" if number in INT64 else "huge"


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
