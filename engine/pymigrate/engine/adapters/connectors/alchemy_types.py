"""Column types between SQLAlchemy's and PyMigrate's. What is not known to pass exactly passes as the text that the server writes for it."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from pymigrate.engine.domain.types import DECIMAL_PRECISION_MAX, ColumnInfo, ColumnType, Kind

SMALLEST, SMALL, LARGE = 16, 32, 64


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column is read: as which type, and whether the server casts it to text on the way. `coerced` is the type by which the driver
    gives its own values, without SQLAlchemy's conversions."""

    type: ColumnType
    is_text: bool = False
    coerced: TypeEngine[Any] | None = None


def reading_of(kind: TypeEngine[Any], dialect: Dialect) -> Reading:
    """How a column of a reflected type is read."""
    if isinstance(kind, sa.Boolean):
        return Reading(ColumnType("bool"), coerced=None if dialect.supports_native_boolean else sa.Integer())
    if isinstance(kind, sa.Integer):
        return Reading(_integer(kind, dialect))
    if isinstance(kind, sa.Float):
        is_single = isinstance(kind, sa.REAL) and dialect.name == "postgresql"
        return Reading(ColumnType("float32" if is_single else "float64"))
    if isinstance(kind, sa.Numeric):
        return _numeric(kind, dialect)
    if isinstance(kind, sa.String) and not isinstance(kind, sa.Enum):
        return Reading(ColumnType("string"), coerced=sa.String())
    if isinstance(kind, sa.LargeBinary | sa.BINARY | sa.VARBINARY | sa.BLOB):
        return Reading(ColumnType("bytes"))
    # A dialect without types of its own for moments keeps any text in them.
    if not is_text_kept(dialect) and isinstance(kind, sa.DateTime):
        return Reading(ColumnType("timestamptz" if kind.timezone else "timestamp"))
    if not is_text_kept(dialect) and isinstance(kind, sa.Date):
        return Reading(ColumnType("date"))
    if not is_text_kept(dialect) and isinstance(kind, sa.Time) and not kind.timezone:
        return Reading(ColumnType("time"))
    word: Kind = "json" if isinstance(kind, sa.JSON) else "uuid" if isinstance(kind, sa.Uuid) else "string"
    return Reading(ColumnType(word), is_text=True)


def _integer(kind: sa.Integer, dialect: Dialect) -> ColumnType:
    """SQLite's integers have 64 bits whatever they are called; an unsigned one needs the next larger type."""
    bits = LARGE if isinstance(kind, sa.BigInteger) or dialect.name == "sqlite" else SMALL
    bits = SMALLEST if isinstance(kind, sa.SmallInteger) and bits == SMALL else bits
    if not getattr(kind, "unsigned", False):
        return ColumnType({SMALLEST: "int16", SMALL: "int32", LARGE: "int64"}[bits])  # type: ignore[arg-type]  # words for kinds
    return ColumnType({SMALLEST: "int32", SMALL: "int64", LARGE: "uint64"}[bits])  # type: ignore[arg-type]  # words for kinds


def _numeric(kind: "sa.Numeric[Any]", dialect: Dialect) -> Reading:
    precision, scale = kind.precision, kind.scale or 0
    is_known = precision is not None and 1 <= precision <= DECIMAL_PRECISION_MAX and 0 <= scale <= precision
    if is_text_kept(dialect) or not is_known or precision is None:
        return Reading(ColumnType("string"), is_text=True)
    return Reading(ColumnType("decimal", precision, scale))


def is_text_kept(dialect: Dialect) -> bool:
    """Whether decimals, dates and times are kept as text, since the system has no exact types for them."""
    return dialect.name == "sqlite"


def stored_type(column: ColumnInfo, dialect: Dialect) -> TypeEngine[Any]:
    """The type of a column that is made."""
    found: dict[str, TypeEngine[Any]] = {
        "bool": sa.Boolean(create_constraint=False),
        "int16": sa.SmallInteger(),
        "int32": sa.Integer(),
        "int64": sa.BigInteger(),
        "float32": sa.REAL(),
        "float64": sa.Double(),
        "bytes": sa.LargeBinary(),
    }
    if not is_text_kept(dialect):
        found |= {
            "uint64": sa.Numeric(20, 0),
            "decimal": sa.Numeric(column.type.precision or None, column.type.scale),
            "date": sa.Date(),
            "time": sa.Time(),
            "timestamp": sa.DateTime(),
            "timestamptz": sa.DateTime(timezone=True),
        }
    return found.get(column.type.kind, sa.Text())
