"""Parts of a PostgreSQL relation that can be had in order at once, by COPY: scanned by DuckDB, and decoded here where that declines."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import structlog

from pymigrate.engine.adapters.connectors.chunk_sizes import RowPace
from pymigrate.engine.adapters.connectors.postgres_connection import SETTINGS
from pymigrate.engine.adapters.connectors.postgres_relations import Order, PostgresRelations
from pymigrate.engine.adapters.connectors.postgres_rows import Field, array_of, blocks, copied, copy_rows, fields
from pymigrate.engine.adapters.connectors.postgres_scanning import Declined, PostgresScan
from pymigrate.engine.adapters.connectors.postgres_spans import conditions, ordered, place_of, position_of, shown
from pymigrate.engine.adapters.connectors.source_values import Unreadable, refused
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk

log = structlog.get_logger(__name__)
COPIED_ROWS_MAX = 262_144
NEARLY_FULL = 0.9
TID_RANGES_FROM = 140_000
SCANNED_ROWS_MIN = 8_192  # a session and a scanner are not worth their while for fewer
Select = Callable[[Sequence[str]], str]


class PostgresCopying:
    """Reads over the connection that has the snapshot; over a scanner's under the same one, once `scanned_rows_min` rows are asked for."""

    def __init__(
        self,
        system: SystemSpec,
        connection: psycopg.Connection,
        relations: PostgresRelations,
        scanned_rows_min: int = SCANNED_ROWS_MIN,
    ) -> None:
        self._system = system
        self._connection = connection
        self._relations = relations
        self._scanned_rows_min = scanned_rows_min
        self._scan: PostgresScan | None = None
        self.is_scanning = True

    def steps(self, table: Table, order: Order, relation: SourceRelation, span: SourceRange) -> Sequence[str] | None:
        """Conditions that divide the range so that each part can be had in order at once, however many rows are asked for: none where an
        index has the order, pages where it is that of the disk. None where the server would sort the whole again for every part."""
        if not order.is_trusted:
            return None
        if order.names != ["ctid"]:
            return [""] if "tableoid" not in order.names else None
        if self._connection.info.server_version < TID_RANGES_FROM:
            return None
        [(size, block)] = self._connection.execute(
            "SELECT pg_relation_size(%s::oid), current_setting('block_size')", (self._relations.identifier(table),)
        ).fetchall()
        step = max(1, relation.chunk_bytes // int(str(block)))
        place = place_of(span.after, order, relation)
        first = int(place[0][1:].partition(",")[0]) if place else 0
        pages = range(first, int(str(size)) // int(str(block)) + 1, step)
        column = order.terms[0].sql
        return [f"{column} >= '({page},0)' AND {column} < '({page + step},0)'" for page in pages]

    def chunks(
        self,
        relation: SourceRelation,
        table: str,
        columns: Sequence[ColumnInfo],
        order: Order,
        span: SourceRange,
        steps: Sequence[str],
    ) -> Iterator[SourceChunk]:
        """By COPY, as many rows at a time as fit a chunk, in the binary form."""
        pace = RowPace(relation, COPIED_ROWS_MAX, NEARLY_FULL)
        held: list[pa.RecordBatch] = []
        last: list[object] = []
        for step in steps:
            is_more = True
            while is_more:
                rows = pace.rows
                condition = conditions(order, span, relation, step)

                def select(selection: Sequence[str], condition: str = condition, rows: int = rows) -> str:
                    return f"{ordered(table, selection, order, condition)} LIMIT {rows}"

                batches, place = self._scanned(select, columns, order, rows) or self._decoded(
                    select, relation.relation, columns, order
                )
                is_more = sum(batch.num_rows for batch in batches) == rows
                if batches:
                    held += batches
                    last = place
                    span = SourceRange(position_of(order, last), span.until)
                    if pace.fills(*batches):
                        yield chunk_of(held, order, last)
                        held = []
        if held:
            yield chunk_of(held, order, last)

    def _scanned(
        self, select: Select, columns: Sequence[ColumnInfo], order: Order, rows: int
    ) -> tuple[list[pa.RecordBatch], list[object]] | None:
        """What the scanner gives; None once it has declined anything, and where rows are too few to ask it."""
        if not self.is_scanning or rows < self._scanned_rows_min:
            return None
        try:
            if self._scan is None:
                self._scan = PostgresScan(self._system, self._connection, SETTINGS)
            return self._scan.rows(select, columns, order)
        except Declined as error:
            log.info("postgres.scan_left", reason=str(error))
            self.close()
            return None

    def close(self) -> None:
        """Gives up the scanner's session. May be called again."""
        self.is_scanning = False
        if self._scan is not None:
            self._scan.close()
            self._scan = None

    def _decoded(
        self, select: Select, relation: str, columns: Sequence[ColumnInfo], order: Order
    ) -> tuple[list[pa.RecordBatch], list[object]]:
        """The same from the source's own session, with the row named that is wrong."""
        query = select([*(f"{term.sql}::text" for term in order.terms), *map(copied, columns)])
        with refusing(relation):
            data, lengths = copy_rows(self._connection, f"COPY ({query}) TO STDOUT (FORMAT binary)")
            return _decoded(data, lengths, relation, columns, order)


def _decoded(
    data: bytes, lengths: Any, relation: str, columns: Sequence[ColumnInfo], order: Order
) -> tuple[list[pa.RecordBatch], list[object]]:
    """Batches, and the place of the last row."""
    batches, last = [], list[object]()
    for block, some in blocks(data, lengths):
        found = fields(block, some, len(order.terms) + len(columns))
        batches.append(_columns(found, relation, columns, order))
        last = _place_in(found, order, len(some) - 1)
    return batches, last


def _columns(found: Sequence[Field], relation: str, columns: Sequence[ColumnInfo], order: Order) -> pa.RecordBatch:
    arrays = []
    for column, field in zip(columns, found[len(order.terms) :], strict=True):
        try:
            arrays.append(array_of(column, field))
        except Unreadable as error:
            place = shown(order, _place_in(found, order, error.row))
            raise refused(relation, column.name, place, str(error)) from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _place_in(found: Sequence[Field], order: Order, row: int) -> list[object]:
    return [term.text_at(row) for term in found[: len(order.terms)]]


def chunk_of(batches: Sequence[pa.RecordBatch], order: Order, last: Sequence[object]) -> SourceChunk:
    """Batches as a chunk that ends with a row of these values of the order."""
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return SourceChunk(tuple(batches), rows, size, position_of(order, last))


@contextmanager
def refusing(relation: str) -> Iterator[None]:
    """What the server or the driver says of a value, as the refusal of the relation."""
    try:
        yield
    except (psycopg.DataError, UnicodeDecodeError) as error:
        raise DataRefused(f"{relation}: {error}") from error
