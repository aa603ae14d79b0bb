"""SQLite databases as sources: read only, under one snapshot, in the order of rowid or primary key."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.adapters.connectors.source_values import (
    Unreadable,
    declared_columns,
    missing,
    read_texts,
    refused,
    shown,
)
from pymigrate.engine.adapters.connectors.sqlite_types import column_type
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, SourceMissing, SystemUnavailable
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import (
    Position,
    RelationInfo,
    SourceChunk,
    SourceRelation,
    SystemSpec,
    arrow_schema,
    arrow_type,
)

ROWS_AT_ONCE = 4_096
BUSY_SECONDS = 10.0
COUNTER_OFFSET = 24
COUNTER_BYTES = 4
_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
Refuse = Callable[[int, str], DataRefused]
_ROWIDS = ("rowid", "_rowid_", "oid")


class SqliteSource:
    """A database file. The first read takes the snapshot, which holds until the source is closed."""

    def __init__(self, system: SystemSpec) -> None:
        self._path = Path(system.options["path"])
        if not self._path.is_file():
            names = [entry.name for entry in self._path.parent.iterdir()] if self._path.parent.is_dir() else []
            raise SourceMissing(
                f"there is no SQLite file {self._path}{nearest(self._path.name, names)}", field="source.connection"
            )
        try:
            self._connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            raise _translated(self._path, error) from error

    def version(self) -> str:
        """`SQLite` and the library's version."""
        return f"SQLite {sqlite3.sqlite_version}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views."""
        names = [name for name in self._names() if fnmatchcase(name, glob)]
        return [self.describe(SourceRelation(name)) for name in names[:limit]]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns by their declarations, the primary key, and the exact number of rows."""
        table = self._table(relation.relation)
        rows = self._connection.execute(f"PRAGMA table_info({_quote(table)})").fetchall()
        found = [ColumnInfo(name, column_type(kind), bool(required), kind) for _, name, kind, required, _, _ in rows]
        key = tuple(name for _, name, _, _, _, place in sorted(rows, key=lambda row: row[5]) if place)
        columns = declared_columns(relation, found)
        count = self._connection.execute(f"SELECT count(*) FROM {_quote(table)}").fetchone()[0]
        return RelationInfo(relation.relation, columns, key, count, self._path.stat().st_size, is_exact_rows=True)

    def state(self, relation: SourceRelation) -> str:
        """Size, time of change and change counter of the file, and of its write-ahead log."""
        del relation
        parts = []
        for path in (self._path, self._path.with_name(f"{self._path.name}-wal")):
            if path.exists() and path.stat().st_size:
                status = path.stat()
                with path.open("rb") as file:
                    file.seek(COUNTER_OFFSET)
                    parts.append(f"{status.st_size}-{status.st_mtime_ns}-{file.read(COUNTER_BYTES).hex()}")
        return "+".join(parts)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of rowid; of a table without one, of its primary key; of a view, of the dataset's key."""
        table = self._table(relation.relation)
        order = self._order(table, relation)
        statement, values = _select(table, [column.name for column in columns], order, after)
        try:
            cursor = self._connection.execute(statement, values)
            yield from self._read(cursor, relation, columns, len(order))
        except sqlite3.OperationalError as error:
            if "decode" in str(error):
                raise DataRefused(f"{relation.relation}: {error}: text must be UTF-8") from error
            raise _translated(self._path, error) from error

    def close(self) -> None:
        """Ends the snapshot."""
        self._connection.close()

    def _read(
        self, cursor: sqlite3.Cursor, relation: SourceRelation, columns: Sequence[ColumnInfo], order: int
    ) -> Iterator[SourceChunk]:
        batches: list[pa.RecordBatch] = []
        last: Sequence[object] = ()
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            batches.append(_batch(rows, order, relation.relation, columns))
            last = rows[-1][:order]
            if sum(batch.nbytes for batch in batches) >= relation.chunk_bytes:
                yield _chunk(batches, last)
                batches = []
        if batches:
            yield _chunk(batches, last)

    def _names(self) -> list[str]:
        return [row[0] for row in self._connection.execute(_TABLES)]

    def _table(self, relation: str) -> str:
        names = self._names()
        name = relation.removeprefix("main.")
        if name not in names:
            raise missing(relation, names)
        return name

    def _order(self, table: str, relation: SourceRelation) -> list[str]:
        """SQL expressions that order the rows, each row once."""
        columns = self._connection.execute(f"PRAGMA table_info({_quote(table)})").fetchall()
        taken = {row[1].lower() for row in columns}
        is_view = (
            self._connection.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0] == "view"
        )
        if is_view:
            if not relation.key:
                raise InvalidDefinition(
                    (
                        Problem(
                            "key",
                            f"`{relation.relation}` is a view: name columns that together are unique, to read it in order",
                        ),
                    )
                )
            return [_quote(name) for name in relation.key]
        for name in _ROWIDS:
            if name in taken:
                continue
            try:
                self._connection.execute(f"SELECT {name} FROM {_quote(table)} LIMIT 0")
                return [name]
            except sqlite3.OperationalError:
                break  # a table without rowid has its rows under its primary key
        return [_quote(row[1]) for row in sorted(columns, key=lambda row: row[5]) if row[5]]


def _select(
    table: str, columns: Sequence[str], order: Sequence[str], after: Position | None
) -> tuple[str, list[object]]:
    values: list[object] = [_from_json(value) for value in json.loads(after)] if after else []
    places = ", ".join("?" * len(values))
    where = f" WHERE ({', '.join(order)}) > ({places})" if values else ""
    names = ", ".join([*order, *map(_quote, columns)])
    return f"SELECT {names} FROM {_quote(table)}{where} ORDER BY {', '.join(order)}", values


def _chunk(batches: list[pa.RecordBatch], last: Sequence[object]) -> SourceChunk:
    end = Position(json.dumps([_to_json(value) for value in last]))
    return SourceChunk(tuple(batches), sum(b.num_rows for b in batches), sum(b.nbytes for b in batches), end)


def _to_json(value: object) -> object:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def _from_json(value: object) -> object:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value


def _batch(
    rows: Sequence[tuple[object, ...]], order: int, relation: str, columns: Sequence[ColumnInfo]
) -> pa.RecordBatch:
    values = list(zip(*rows, strict=True))
    arrays = [_array(column, values[order + at], rows, order, relation) for at, column in enumerate(columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _array(
    column: ColumnInfo, values: Sequence[object], rows: Sequence[tuple[object, ...]], order: int, relation: str
) -> pa.Array:
    def refuse(at: int, why: str) -> DataRefused:
        place = rows[at][0] if order == 1 else rows[at][:order]
        return refused(relation, column.name, str(place), why)

    kind = column.type.kind
    allowed: tuple[type, ...] = {
        "int16": (int,), "int32": (int,), "int64": (int,), "uint64": (int, str), "bool": (int,), "bytes": (bytes,),
        "float32": (float, int), "float64": (float, int),
    }.get(kind, (str,))  # fmt: skip
    for at, value in enumerate(values):
        if value is not None and type(value) not in allowed:
            raise refuse(at, f"{shown(repr(value))} is stored as {_storage(value)}, and the column is {column.type}")
    if kind == "bool":
        return _booleans(values, refuse)
    if kind in {"float32", "float64"}:
        return _floats(values, refuse, arrow_type(column.type))
    if allowed == (str,) or kind == "uint64":
        texts = pa.array([None if value is None else str(value) for value in values], pa.string())
        try:
            return read_texts(texts, column.type)
        except Unreadable as error:
            raise refuse(error.row, str(error)) from error
    try:
        return pa.array(values, arrow_type(column.type))
    except (pa.ArrowInvalid, OverflowError):
        bits = int(kind.removeprefix("int"))
        at = next(
            at for at, v in enumerate(values) if isinstance(v, int) and not -(2 ** (bits - 1)) <= v < 2 ** (bits - 1)
        )
        raise refuse(at, f"{values[at]} does not fit {kind}") from None


def _booleans(values: Sequence[object], refuse: Refuse) -> pa.Array:
    for at, value in enumerate(values):
        if value not in {None, 0, 1}:
            raise refuse(at, f"{value} is neither 0 nor 1")
    return pa.array([None if value is None else bool(value) for value in values], pa.bool_())


def _floats(values: Sequence[object], refuse: Refuse, target: pa.DataType) -> pa.Array:
    for at, value in enumerate(values):
        if isinstance(value, int) and float(value) != value:
            raise refuse(at, f"{value} is no exact floating-point number")
    array = pa.array([None if value is None else float(value) for value in values], pa.float64())  # type: ignore[arg-type]  # checked above
    if target == pa.float32():
        narrow = array.cast(pa.float32(), safe=False)
        for at, (wide, value) in enumerate(zip(array.to_pylist(), narrow.to_pylist(), strict=True)):
            if wide is not None and wide == wide and wide != value:
                raise refuse(at, f"{wide} does not fit float32")
        return narrow
    return array


def _storage(value: object) -> str:
    return {int: "an integer", float: "a real", str: "text", bytes: "a blob"}[type(value)]


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _translated(path: Path, error: sqlite3.DatabaseError) -> SystemUnavailable | SourceMissing:
    if "not a database" in str(error) or "malformed" in str(error):
        return SourceMissing(f"{path} is not a SQLite database, or is damaged: {error}", field="source.connection")
    return SystemUnavailable(f"the SQLite file {path} can't be read: {error}")
