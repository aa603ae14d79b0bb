"""A relation of a system: which to read, what it looks like, and its rows in short."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pymigrate.engine.domain.schema import UNDECLARED, TableSchema
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.file_formats import FileFormat
from pymigrate.engine.ports.http_format import HttpJsonFormat
from pymigrate.engine.ports.ranges import EVERYTHING, SourceRange

UNKNOWN = -1
CHUNK_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class SourceRelation:
    """A relation to read, or the part of it that `range` names. `columns` overrides or supplies types by name; `chunk_bytes` is what a
    chunk holds at about, and `chunk_rows` how many rows at most where the source can count them; 0: any number."""

    relation: str
    format: FileFormat | HttpJsonFormat | None = None
    columns: Mapping[str, ColumnType] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    chunk_bytes: int = CHUNK_BYTES
    chunk_rows: int = 0
    range: SourceRange = EVERYTHING


@dataclass(frozen=True, slots=True)
class RelationInfo:
    """What a relation looks like: columns in order, its own key, its size (`UNKNOWN` where the system does not tell), and what else it
    declares."""

    relation: str
    columns: tuple[ColumnInfo, ...]
    key: tuple[str, ...] = ()
    rows: int = UNKNOWN
    bytes: int = UNKNOWN
    is_exact_rows: bool = False
    schema: TableSchema = UNDECLARED


@dataclass(frozen=True, slots=True)
class RowsDigest:
    """Rows in short: how many, and the sum of their hashes modulo 2^64. Equal bits make equal hashes, whichever server computes them."""

    rows: int
    total: int
