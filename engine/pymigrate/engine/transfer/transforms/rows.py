"""A row as JSON text, for people: what a quarantine keeps of a row that was refused."""

import json
from collections.abc import Collection

import pyarrow as pa

HIDDEN = "[masked]"


def row_text(batch: pa.RecordBatch, row: int, hidden: Collection[str] = ()) -> str:
    """Column names with their values; numbers that JSON can't hold exactly, times and bytes (hexadecimal) are text. Hidden values are
    not shown."""
    values = {name: _plain(batch.column(at)[row].as_py()) for at, name in enumerate(batch.schema.names)}
    values |= {name: HIDDEN for name in hidden if values.get(name) is not None}
    return json.dumps(values, ensure_ascii=False)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)
