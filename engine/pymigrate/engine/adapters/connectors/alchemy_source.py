"""Any SQLAlchemy dialect as a source: reflected, streamed in the order of a key, under one snapshot where the dialect has one.

Statements are SELECTs that SQLAlchemy builds; every name is quoted by the dialect.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError

from pymigrate.engine.adapters.connectors.alchemy_types import Reading, reading_of
from pymigrate.engine.adapters.connectors.alchemy_values import array_of
from pymigrate.engine.adapters.connectors.chunk_sizes import RowPace
from pymigrate.engine.adapters.connectors.source_values import check_declared, check_there, missing
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    Problem,
    PyMigrateError,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.ranges import EVERYTHING, Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.source import SourceChunk

SNAPSHOTS = ("SNAPSHOT", "REPEATABLE READ", "SERIALIZABLE")
STREAMED_ROWS_MAX = 4_096


class AlchemySource:
    """See the port. A relation is a table or view of the default schema, or `schema.name`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection = self._connect()
        self._inspector = sa.inspect(self._connection)

    def version(self) -> str:
        """The dialect with its driver, and the server's version."""
        numbers = self._engine.dialect.server_version_info or ()
        return f"{self._engine.dialect.name} {'.'.join(map(str, numbers))} by {self._engine.dialect.driver}".replace(
            "  ", " "
        )

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views of the default schema."""
        with _translated():
            names = [name for name in self._names(None) if fnmatchcase(name, glob)][:limit]
            return [RelationInfo(name, tuple(self._columns(name)[0]), self._key(name)) for name in names]

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """Columns and primary key as they are reflected. The number of rows is not asked for: on many systems it takes a scan."""
        with _translated():
            found, _ = self._columns(relation.relation)
            check_declared(relation, [column.name for column in found])
            columns = tuple(
                ColumnInfo(c.name, relation.columns.get(c.name, c.type), c.is_required, c.native_type) for c in found
            )
            self._order(relation)
            return RelationInfo(relation.relation, columns, self._key(relation.relation))

    def state(self, relation: SourceRelation) -> str:
        """Nothing that every dialect tells."""
        del relation
        return ""

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """One range: the general path promises no order of text keys that two queries share."""
        self._columns(relation.relation)
        del parts
        return (EVERYTHING,)

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """In the order of the primary key, or of the dataset's key, after the key of the position. A key of other than integers and texts
        has the number of rows as its position, which are read and passed over."""
        place: dict[str, Any] = json.loads(after) if after else {"rows": 0, "key": None}
        with _translated():
            _, readings = self._columns(relation.relation)
            check_there(relation.relation, columns, readings)
            order = self._order(relation)
            statement = self._select(
                relation.relation, [column.name for column in columns], order, readings, place["key"]
            )
            streaming = self._connection.execution_options(stream_results=True, max_row_buffer=STREAMED_ROWS_MAX)
            result = streaming.execute(statement)
        try:
            skipped = 0 if place["key"] else int(place["rows"])
            done, last = int(place["rows"]) - skipped, tuple[object, ...]()
            pace, batches = RowPace(relation), list[pa.RecordBatch]()
            while rows := _fetched(result, min(pace.rows, skipped) or pace.rows):
                keys = [tuple(row[: len(order)]) for row in rows]
                _check_unique(relation.relation, order, last, keys)
                last, done = keys[-1], done + len(rows)
                if skipped:
                    skipped -= len(rows)
                    continue
                batches.append(_batch(relation.relation, columns, readings, order, rows))
                if pace.fills(batches[-1]):
                    yield _chunk(batches, done, last)
                    batches = []
            if batches:
                yield _chunk(batches, done, last)
        finally:
            result.close()

    def close(self) -> None:
        """Gives up the connection and its snapshot."""
        self._connection.close()
        self._engine.dispose()

    def _connect(self) -> Connection:
        with _translated():
            connection = self._engine.connect()
            dialect = self._engine.dialect
            try:
                levels = dialect.get_isolation_level_values(connection.connection.dbapi_connection)  # type: ignore[arg-type]  # of an open connection
            except NotImplementedError:
                levels = []
            if dialect.name == "sqlite":
                # Its driver begins no transaction before a SELECT; this one reads under one snapshot.
                connection.exec_driver_sql("BEGIN")
                return connection
            known = [level for level in SNAPSHOTS if level in levels]
            options: dict[str, Any] = {"isolation_level": known[0]} if known else {}
            if dialect.name == "postgresql":
                options["postgresql_readonly"] = True
            return connection.execution_options(**options)

    def _names(self, schema: str | None) -> list[str]:
        return sorted({*self._inspector.get_table_names(schema), *self._inspector.get_view_names(schema)})

    def _place(self, relation: str) -> tuple[str | None, str]:
        """Schema and name: a table of the whole name goes before one of a schema."""
        if relation in self._names(None):
            return None, relation
        schema, dot, name = relation.partition(".")
        if dot and name in self._names(schema):
            return schema, name
        raise missing(relation, self._names(None))

    def _columns(self, relation: str) -> tuple[list[ColumnInfo], dict[str, Reading]]:
        schema, name = self._place(relation)
        found, readings = list[ColumnInfo](), dict[str, Reading]()
        for column in self._inspector.get_columns(name, schema):
            reading = reading_of(column["type"], self._engine.dialect)
            readings[column["name"]] = reading
            native = repr(column["type"]).removesuffix("()")
            found.append(ColumnInfo(column["name"], reading.type, not column["nullable"], native))
        return found, readings

    def _key(self, relation: str) -> tuple[str, ...]:
        schema, name = self._place(relation)
        try:
            return tuple(self._inspector.get_pk_constraint(name, schema)["constrained_columns"])
        except NoSuchTableError:  # of a view
            return ()

    def _order(self, relation: SourceRelation) -> tuple[str, ...]:
        key = self._key(relation.relation) or relation.key
        if not key:
            problem = (
                f"`{relation.relation}` has no primary key: name columns that together are unique, to read it in order"
            )
            raise InvalidDefinition((Problem("key", problem),))
        return key

    def _select(
        self,
        relation: str,
        columns: Sequence[str],
        order: Sequence[str],
        readings: dict[str, Reading],
        after: Sequence[object] | None,
    ) -> "sa.Select[Any]":
        schema, name = self._place(relation)
        names = list(dict.fromkeys([*order, *columns]))
        table = sa.Table(name, sa.MetaData(), *(sa.Column(each) for each in names), schema=schema)
        chosen = [table.c[each].label(f"k{at}") for at, each in enumerate(order)]
        for at, each in enumerate(columns):
            reading = readings[each]
            value: sa.ColumnElement[Any] = sa.type_coerce(table.c[each], reading.coerced or _plain(reading))
            if reading.is_text:
                value = sa.cast(table.c[each], sa.Text())
            chosen.append(value.label(f"c{at}"))
        statement = sa.select(*chosen).order_by(*(table.c[each] for each in order))
        return statement if after is None else statement.where(_beyond([table.c[each] for each in order], after))


def _beyond(key: Sequence["sa.Column[Any]"], after: Sequence[object]) -> "sa.ColumnElement[bool]":
    """That a row comes after a key, spelled out, since not every system compares rows."""
    ways = []
    for at, column in enumerate(key):
        equal = [other == value for other, value in zip(key[:at], after[:at], strict=True)]
        ways.append(sa.and_(*equal, column > after[at]))
    return sa.or_(*ways)


def _plain(reading: Reading) -> sa.types.TypeEngine[Any]:
    """The type by which SQLAlchemy hands the driver's value through, or as a Decimal where it would be a float."""
    return sa.Numeric(asdecimal=True) if reading.type.kind == "decimal" else sa.types.NullType()


def _fetched(result: "sa.CursorResult[Any]", rows: int) -> list[Any]:
    with _translated():
        return list(result.fetchmany(rows))


def _batch(
    relation: str,
    columns: Sequence[ColumnInfo],
    readings: dict[str, Reading],
    order: Sequence[str],
    rows: Sequence[Any],
) -> pa.RecordBatch:
    places = [", ".join(map(str, row[: len(order)])) for row in rows]
    values = list(zip(*(row[len(order) :] for row in rows), strict=True))
    arrays = [
        array_of(relation, column, readings[column.name].type, values[at], places) for at, column in enumerate(columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _check_unique(
    relation: str, order: Sequence[str], last: tuple[object, ...], keys: Sequence[tuple[object, ...]]
) -> None:
    """Raises DataRefused where the key is none: the order of rows that share it is not the same in every reading."""
    for key in keys:
        if key == last or None in key:
            shown = ", ".join(map(str, key))
            raise DataRefused(f"{relation}, row {shown}: {', '.join(order)} is NULL or occurs twice", field="key")
        last = key


def _chunk(batches: list[pa.RecordBatch], done: int, last: tuple[object, ...]) -> SourceChunk:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    key = list(last) if all(type(value) in {int, str} for value in last) else None
    return SourceChunk(tuple(batches), rows, size, Position(json.dumps({"rows": done, "key": key})))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise translation(error) from error
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"the driver needs the Python package `{error.name}`: install it on the worker hosts"
        ) from error


def translation(error: SQLAlchemyError) -> PyMigrateError:
    """A driver's error as one of PyMigrate's, without statement and parameters."""
    if not isinstance(error, DBAPIError):
        return FailedPrecondition(f"SQLAlchemy: {error}")
    text = " ".join(str(error.orig).split())
    if isinstance(error, sa.exc.DataError):
        return DataRefused(f"the driver can't give or take a value: {text}")
    if isinstance(error, sa.exc.ProgrammingError | sa.exc.NotSupportedError):
        return FailedPrecondition(f"the database refused: {text}")
    return SystemUnavailable(f"the database is away or busy: {text}")
