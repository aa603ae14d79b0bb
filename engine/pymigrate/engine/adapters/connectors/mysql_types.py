"""Column types between MySQL's declarations and PyMigrate's words.

What has no exact counterpart travels as MySQL's own text: decimals of more than 38 digits, bits, sets, enumerations and addresses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pymigrate.engine.domain.types import DECIMAL_PRECISION_MAX, ColumnType, Kind

_DECLARED = re.compile(r"(\w+)(?:\((.*)\))?((?: \w+)*)", re.DOTALL)
_INTEGERS: Mapping[str, tuple[Kind, Kind]] = {
    "tinyint": ("int16", "int16"),
    "smallint": ("int16", "int32"),
    "mediumint": ("int32", "int32"),
    "int": ("int32", "int64"),
    "bigint": ("int64", "uint64"),
    "year": ("int16", "int16"),
}
_KINDS: Mapping[str, Kind] = {
    "float": "float32",
    "double": "float64",
    "date": "date",
    "time": "time",
    "datetime": "timestamp",
    "timestamp": "timestamptz",
    "json": "json",
    "uuid": "uuid",
}
TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
BYTES = frozenset(
    {
        *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"),
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geometrycollection", "geomcollection"),
    }
)


@dataclass(frozen=True, slots=True)
class Declared:
    """A native type taken apart: its word, what stands in brackets, whether it is unsigned or filled up with zeros, its character set."""

    word: str
    arguments: str = ""
    is_unsigned: bool = False
    is_filled: bool = False
    charset: str = ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The arguments, where they are numbers."""
        return tuple(int(part) for part in self.arguments.split(",") if part.strip().isdigit())


def native_type(declared: str, charset: str) -> str:
    """The type as MySQL declares it, with the character set of a text, such as `varchar(40) charset latin1`."""
    return f"{declared} charset {charset}" if charset else declared


def parse(native: str) -> Declared:
    """Takes a native type apart."""
    declared, _, charset = native.rpartition(" charset ") if " charset " in native else (native, "", "")
    found = _DECLARED.match(declared)
    if found is None:
        return Declared(declared)
    marks = found[3].split()
    return Declared(found[1].lower(), found[2] or "", "unsigned" in marks, "zerofill" in marks, charset)


def column_type(native: str) -> ColumnType:
    """The type that holds a native type exactly; `string`, by its text, where no other does."""
    declared = parse(native)
    if declared.word in _INTEGERS:
        return ColumnType(_INTEGERS[declared.word][declared.is_unsigned])
    if declared.word == "decimal":
        precision, scale = declared.numbers
        return ColumnType("decimal", precision, scale) if precision <= DECIMAL_PRECISION_MAX else ColumnType("string")
    if declared.word in BYTES:
        return ColumnType("bytes")
    return ColumnType(_KINDS.get(declared.word, "string"))
