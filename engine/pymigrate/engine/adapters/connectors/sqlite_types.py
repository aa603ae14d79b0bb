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
_INTEGERS = re.compile(r"(UNSIGNED )?(BIG|TINY|SMALL|MEDIUM)?INT(EGER)?(2|4|8)?(\(\d+\))?")
_REALS = frozenset({"REAL", "DOUBLE", "DOUBLE PRECISION", "FLOAT"})
_TEXTS = re.compile(
    r"(N?VAR)?(CHAR|CHARACTER|NCHAR|VARCHAR|NVARCHAR|VARYING CHARACTER|NATIVE CHARACTER)(\(\d+\))?|TEXT|CLOB"
)


def native_type(column: ColumnType) -> str:
    """The declaration for a column of a target."""
    return _NATIVE[column.kind]


def column_type(declared: str) -> ColumnType:
    """The type that values of a declared column are expected to have; `string` where the declaration promises nothing exact."""
    word = " ".join(declared.upper().split())
    if _INTEGERS.fullmatch(word):
        return ColumnType("int64")
    if word in _REALS:
        return ColumnType("float64")
    if word in {"BLOB", "BINARY", "VARBINARY"}:
        return ColumnType("bytes")
    if word in {"BOOLEAN", "BOOL"}:
        return ColumnType("bool")
    return ColumnType("string")


def is_text(declared: str) -> bool:
    """Whether a declaration is of SQLite's text affinity."""
    return _TEXTS.fullmatch(" ".join(declared.upper().split())) is not None
