"""MySQL's values as Arrow's, exactly: how a column is selected, and how the texts that the server sends become an array.

The server is asked for a text that holds every bit of the value: a FLOAT is widened first, since its own text has six digits; a text of
a character set that UTF-8 may not hold whole is turned back on the server and compared; a number filled up with zeros comes without.
"""

from collections.abc import Sequence

import pyarrow as pa

from pymigrate.engine.adapters.connectors.mysql_types import BYTES, TEXTS, Declared, column_type, parse
from pymigrate.engine.adapters.connectors.source_values import Unreadable, first_failure, read_texts
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_type

# Character sets whose every character UTF-8 has, and whose every byte sequence that MySQL stores is a character.
_WHOLE = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1"})
_UNREADABLE = "x'FF'"  # no UTF-8 begins so
_STRING = ColumnType("string")
_MOMENTS = frozenset({"date", "time", "datetime", "timestamp"})


def selected(column: ColumnInfo) -> str:
    """What to select for a column: its value in a text that loses nothing, NULL where it is NULL."""
    name, declared = quote(column.name), parse(column.native_type)
    match declared.word:
        case "float":
            return f"({name} * 1e0)"
        case "double" if declared.arguments:
            return f"({name} * 1e0)"
        case "bit":
            width = declared.arguments or "1"
            is_text = column.type == _STRING
            return f"LPAD(BIN({name} + 0), {width}, '0')" if is_text else f"({name} + 0)"
        case "timestamp" if column.type.kind == "timestamptz":
            return f"CONCAT({name}, 'Z')"
        case word if word in TEXTS:
            return _text(name, declared)
    return f"({name} + 0)" if declared.is_filled and declared.word != "decimal" else name


def to_array(column: ColumnInfo, values: Sequence[bytes | None]) -> pa.Array:
    """Raises Unreadable for a value that the column's type does not hold."""
    declared, raw = parse(column.native_type), pa.array(values, pa.binary())
    if column.type.kind == "bytes" and declared.word in BYTES:
        return raw
    texts = _decoded(raw)
    if column.type == column_type(column.native_type):
        match declared.word:
            case "float" | "double":
                # The text is of a float64, and of nothing else: a FLOAT comes back as what it was.
                return texts.cast(pa.float64()).cast(arrow_type(column.type))
            case "json" | "uuid":
                return texts
    return read_texts(texts, column.type)


def advice(column: ColumnInfo) -> str:
    """What to do about a value that the column's type does not hold."""
    if parse(column.native_type).word in _MOMENTS and column.type != _STRING:
        return ": mend it, or declare the column as string to take it as MySQL writes it"
    return ""


def _text(name: str, declared: Declared) -> str:
    if declared.charset in _WHOLE:
        return name
    again = f"CONVERT(CONVERT({name} USING utf8mb4) USING {declared.charset})"
    same = f"CAST({again} AS BINARY) <=> CAST({name} AS BINARY)"
    return f"IF({same}, CAST(CONVERT({name} USING utf8mb4) AS BINARY), {_UNREADABLE})"


def _decoded(raw: pa.Array) -> pa.Array:
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid as error:
        row = first_failure(raw, lambda some: some.cast(pa.string()))
        text = raw[row].as_py().decode(errors="backslashreplace")
        raise Unreadable(row, text, _STRING) from error
