"""Column types in PyMigrate's words: the one vocabulary that sources, targets and definitions share."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "bool",
    "int16",
    "int32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "decimal",
    "string",
    "bytes",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "json",
    "uuid",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
DECIMAL_PRECISION_MAX = 38
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s?(\d{1,2})\)")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type. `precision` and `scale` count for `decimal` alone: 1-38 digits, of which 0-precision after the point."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column of a relation. `native_type` is the type in the system's own words, empty where there is none.

    `default` is the value of a row that gives none, where every system means the same by it (see `standard_defaults`), and
    `native_default` the same in the system's own words. `is_identity`: the system numbers such rows.
    """

    name: str
    type: ColumnType
    is_required: bool = False
    native_type: str = ""
    default: str = ""
    native_default: str = ""
    is_identity: bool = False
    comment: str = ""


def parse_type(text: str) -> ColumnType:
    """Reads a type such as `int64` or `decimal(12,2)`. Raises ValueError that says what is allowed."""
    if found := _DECIMAL.fullmatch(text):
        precision, scale = int(found[1]), int(found[2])
        if not (1 <= precision <= DECIMAL_PRECISION_MAX and scale <= precision):
            raise ValueError(
                f"{text}: precision must be 1 to {DECIMAL_PRECISION_MAX}, and scale no more than precision"
            )
        return ColumnType("decimal", precision, scale)
    for kind in KINDS:
        if kind == text and kind != "decimal":
            return ColumnType(kind)
    raise ValueError(
        f"{text!r} is no column type: use one of {', '.join(k for k in KINDS if k != 'decimal')} or decimal(p,s)"
    )
