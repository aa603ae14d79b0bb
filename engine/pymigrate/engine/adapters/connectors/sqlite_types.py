"""Column types between SQLite's declarations and PyMigrate's words.

SQLite keeps any value in any column; a declaration is a wish. What a declaration does not promise exactly travels as text.
"""

import re
from collections.abc import Mapping

from pymigrate.engine.domain.types import ColumnType, Kind

_NATIVE: Mapping[Kind, str] = {
    "bool": "BOOLEAN",
    "int16": "INTEGER",
    "int32": "INTEGER",
    "int64": "INTEGER",
    "uint64": "TEXT",
    "float32": "REAL",
    "float64": "REAL",
    "decimal": "TEXT",
    "string": "TEXT",
    "bytes": "BLOB",
    "date": "TEXT",
    "time": "TEXT",
    "timestamp": "TEXT",
    "timestamptz": "TEXT",
    "json": "TEXT",
    "uuid": "TEXT",
}
_SIZES = r"(\(\d+(,\d+)?\))?"
_INTEGERS = re.compile(
    rf"(UNSIGNED )?(BIG|TINY|SMALL|MEDIUM)? ?INT(EGER)?(2|4|8|16|32|64)?{_SIZES}( ?(UN)?SIGNED)?{_SIZES}"
)
_REALS = re.compile(rf"(REAL|DOUBLE( PRECISION)?|FLOAT[48]?){_SIZES}( ?(UN)?SIGNED)?{_SIZES}")
_BYTES = re.compile(rf"((TINY|MEDIUM|LONG)?BLOB|(VAR)?BINARY){_SIZES}")
_BOOLEANS = frozenset({"BOOLEAN", "BOOL"})


def native_type(column: ColumnType) -> str:
    """The declaration for a column of a target."""
    return _NATIVE[column.kind]


def column_type(declared: str) -> ColumnType:
    """The type that values of a declared column are expected to have; `string` where the declaration promises nothing exact."""
    word = _word(declared)
    if _INTEGERS.fullmatch(word):
        return ColumnType("int64")
    if _REALS.fullmatch(word):
        return ColumnType("float64")
    if _BYTES.fullmatch(word):
        return ColumnType("bytes")
    return ColumnType("bool" if word in _BOOLEANS else "string")


def is_text(declared: str) -> bool:
    """Whether a declaration is of SQLite's text affinity: numbers become text when they are stored."""
    word = _word(declared)
    return "INT" not in word and any(part in word for part in ("CHAR", "CLOB", "TEXT"))


def is_numeric(declared: str) -> bool:
    """Whether a declaration is of SQLite's numeric affinity: what looks like a number becomes one when it is stored, so that no text
    there reads like one. `ANY` is left out, which in a strict table is of none.

    See https://www.sqlite.org/datatype3.html, 3.1.
    """
    word = _word(declared)
    others = ("INT", "CHAR", "CLOB", "TEXT", "BLOB", "REAL", "FLOA", "DOUB")
    return word not in {"", "ANY"} and not any(part in word for part in others)


def _word(declared: str) -> str:
    return re.sub(r" ?([(,)]) ?", r"\1", " ".join(declared.upper().split()))
