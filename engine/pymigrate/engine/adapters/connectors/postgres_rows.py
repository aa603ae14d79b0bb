"""COPY's binary rows as Arrow columns, without a Python object a value.

Every row comes as one message, so that the lengths of the messages tell where rows begin; fields are found by their lengths, one column
after the other over all rows, and taken out of the bytes as they came. That the last field of each row ends where the row does is checked.

See https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from pymigrate.engine.adapters.connectors.postgres_reading import is_read, moments, to_array
from pymigrate.engine.adapters.connectors.postgres_wire import copy_messages
from pymigrate.engine.adapters.connectors.source_values import Unreadable
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_type

HEADER_BYTES = 19  # signature, flags and the length of an extension, which no version has
TRAILER = b"\xff\xff"
PADDING = bytes(64)  # so that a NULL at the very end can be read as if it were something
BLOCK_ROWS = 8_192
DIGITS_MAX = 18  # that a 64-bit integer holds whatever they are
NEGATIVE, NAN = 0x4000, 0xC000
SPECIAL = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_POWERS = 10 ** np.arange(DIGITS_MAX + 1, dtype=np.int64)
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
_WIDTHS = {
    "bool": "u1", "int16": ">i2", "int32": ">i4", "int64": ">i8", "float32": ">u4", "float64": ">u8",
    "date": ">i4", "time": ">i8", "timestamp": ">i8", "timestamptz": ">i8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A column's values in the bytes of all rows: where each begins, how long it is, and which are NULL."""

    data: bytes
    starts: Any
    lengths: Any
    is_null: Any

    def numbers(self, kind: str, offset: int = 0) -> Any:
        """Numbers of a numpy type at an offset within each value; of a NULL whatever it is."""
        dtype = np.dtype(kind)
        places: Any = np.ndarray(len(self.data) - dtype.itemsize + 1, dtype, self.data, strides=(1,))
        return places[self.starts + offset]

    def fixed(self, kind: str) -> Any:
        """The same, of values that are nothing but the number."""
        width = np.dtype(kind).itemsize
        if not np.all((self.lengths == width) | self.is_null):
            raise _confused()
        return self.numbers(kind)

    def binary(self) -> pa.Array:
        """The bytes: every second of the pieces that values, and what is between them, cut the data into."""
        count = len(self.starts)
        cuts = np.empty(2 * count, np.int32)
        cuts[0::2], cuts[1::2] = self.starts, self.starts + self.lengths
        pieces = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, pa.py_buffer(cuts), pa.py_buffer(self.data)])
        mask = self.is_null if self.is_null.any() else None
        return pieces.take(pa.array(np.arange(0, 2 * count, 2), mask=mask))

    def text(self) -> pa.Array:
        """The bytes as text. Raises UnicodeDecodeError where they are not UTF-8."""
        values = self.binary()
        try:
            return values.cast(pa.string())
        except pa.ArrowInvalid:
            for row in range(len(self.starts)):
                self.text_at(row)
            raise

    def text_at(self, row: int) -> str:
        """One value as text."""
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].decode()


def copied(column: ColumnInfo) -> str:
    """What to select for a column: itself where its binary form is read here, its text otherwise."""
    name = quote(column.name)
    return name if _decoder(column) else f"{name}::text"


def copy_rows(connection: psycopg.Connection, statement: str) -> tuple[bytes, Any]:
    """The rows of a COPY … TO STDOUT (FORMAT binary), padded, and the length of each. Raises the driver's errors."""
    held = copy_messages(connection, statement)
    if held:
        held[0] = held[0][HEADER_BYTES:]
        if not held[0]:
            del held[0]
    if held and held[-1] == TRAILER:
        del held[-1]
    return b"".join([*held, PADDING]), np.fromiter(map(len, held), np.int64, len(held))


def blocks(data: bytes, lengths: Any) -> Iterator[tuple[bytes, Any]]:
    """The same rows in pieces that a processor's cache holds: every column is a walk through all of the bytes."""
    ends = np.cumsum(lengths)
    for first in range(0, len(lengths), BLOCK_ROWS):
        some = lengths[first : first + BLOCK_ROWS]
        yield data[int(ends[first] - lengths[first]) : int(ends[first + len(some) - 1])] + PADDING, some


def fields(data: bytes, lengths: Any, count: int) -> list[Field]:
    """The fields of the rows, of which each has so many. Raises FailedPrecondition where the bytes are not such rows."""
    ends = np.cumsum(lengths)
    at = ends - lengths
    nothing = np.zeros(len(lengths), bool)
    found = []
    try:
        if (Field(data, at, lengths, nothing).numbers(">i2") != count).any():
            raise _confused()
        at = at + 2
        for _ in range(count):
            size = Field(data, at, lengths, nothing).numbers(">i4").astype(np.int64)
            start, is_null = at + 4, size < 0
            if is_null.any():
                size[is_null] = 0
            found.append(Field(data, start, size, is_null))
            at = start + size
    except IndexError as error:
        raise _confused() from error
    if (at != ends).any():
        raise _confused()
    return found


def array_of(column: ColumnInfo, field: Field) -> pa.Array:
    """A column's values. Raises Unreadable for one that the type does not hold, UnicodeDecodeError for text that is not UTF-8."""
    decode = _decoder(column)
    if decode is not None:
        return decode(column.type, field)
    return to_array(column, field.text())


def _decoder(column: ColumnInfo) -> Callable[[ColumnType, Field], pa.Array] | None:
    """What reads the binary form of a column; None where it is read as text."""
    kind = column.type.kind
    if kind == "decimal" and column.type.precision <= DIGITS_MAX:
        is_same = column.native_type == f"numeric({column.type.precision},{column.type.scale})"
        return _decimals if is_same else None
    if kind == "uuid":
        return _uuids if column.native_type == "uuid" else None
    if not is_read(column):
        return None
    if kind in _WIDTHS:
        return _numbers
    return (lambda _, field: field.binary()) if kind == "bytes" else (lambda _, field: field.text())


def _numbers(kind: ColumnType, field: Field) -> pa.Array:
    values = field.fixed(_WIDTHS[kind.kind])
    match kind.kind:
        case "bool":
            return pa.array(values != 0, mask=field.is_null)
        case "float32" | "float64":
            return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=field.is_null).view(arrow_type(kind))
        case "int16" | "int32" | "int64":
            return pa.array(values.astype(values.dtype.newbyteorder("=")), arrow_type(kind), mask=field.is_null)
    return moments(kind, np.where(field.is_null, 0, values), field.is_null)


def _decimals(kind: ColumnType, field: Field) -> pa.Array:
    """From base 10,000: a count of digits, the weight of the first, the sign, the scale that is shown, and the digits."""
    digits, weights = field.numbers(">i2").astype(np.int64), field.numbers(">i2", 2).astype(np.int64)
    signs = field.numbers(">u2", 4)
    special = np.flatnonzero((signs >= NAN) & ~field.is_null)
    if special.size:
        raise Unreadable(int(special[0]), SPECIAL.get(int(signs[special[0]]), "a special number"), kind)
    total = np.zeros(len(digits), np.int64)
    digits[field.is_null] = 0
    for place in range(int(digits.max(initial=0))):
        is_there = digits > place
        digit = np.where(is_there, field.numbers(">i2", 8 + 2 * place), 0).astype(np.int64)
        exponent = np.where(is_there, 4 * (weights - place) + kind.scale, 0)
        total += digit * _POWERS[np.clip(exponent, 0, DIGITS_MAX)] // _POWERS[np.clip(-exponent, 0, DIGITS_MAX)]
    total = np.where(signs == NEGATIVE, -total, total)
    wide = np.empty((len(total), 2), np.int64)
    wide[:, 0], wide[:, 1] = total, total >> 63
    return _with_nulls(arrow_type(kind), pa.py_buffer(wide), field.is_null)


def _uuids(kind: ColumnType, field: Field) -> pa.Array:
    """In lower case with dashes."""
    del kind
    values = np.ascontiguousarray(field.fixed("V16")).view(np.uint8).reshape(-1, 16)
    digits = _HEX[values].view(np.uint8).reshape(-1, 32)
    texts = np.full((len(values), 36), ord("-"), np.uint8)
    for place, (first, last) in zip((0, 9, 14, 19, 24), itertools.pairwise((0, 8, 12, 16, 20, 32)), strict=True):
        texts[:, place : place + last - first] = digits[:, first:last]
    offsets = np.arange(0, 36 * len(values) + 1, 36, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(values), [_bitmap(field.is_null), pa.py_buffer(offsets), pa.py_buffer(texts)]
    )


def _with_nulls(kind: pa.DataType, values: pa.Buffer, is_null: Any) -> pa.Array:
    return pa.Array.from_buffers(kind, len(is_null), [_bitmap(is_null), values])


def _bitmap(is_null: Any) -> pa.Buffer | None:
    return pa.py_buffer(np.packbits(~is_null, bitorder="little")) if is_null.any() else None


def _confused() -> FailedPrecondition:
    return FailedPrecondition(
        "COPY gave something other than rows in its binary format: look at what is between the server and this host"
    )
