"""A MySQL relation as bytes: lines that the server wrote for PostgreSQL's COPY, in the order of the relation's key.

A chunk ends with the row that fills it, so that chunks end at the same places whenever the rows are the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from pymigrate.engine.adapters.connectors import mysql_wire
from pymigrate.engine.adapters.connectors.chunk_sizes import growing
from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_lines import line, obstacle, too_long
from pymigrate.engine.adapters.connectors.mysql_relations import MysqlRelations, Order, Place, position, where
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk

PIECE_ROWS = 2_048
_NULL, _TWO, _THREE = 0xFB, 0xFC, 0xFD
Query = Callable[[str], list[tuple[object, ...]]]


class MysqlLines:
    """Relations by their lines. `query` gives all rows of a small result."""

    def __init__(self, catalog: MysqlCatalog, relations: MysqlRelations, query: Query) -> None:
        self._catalog = catalog
        self._relations = relations
        self._query = query

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """Lines, of relations with a key and of columns whose texts PostgreSQL reads as they are."""
        return {CopyPath.POSTGRES_TEXT: self._obstacle(relation)}

    def statement(
        self, relation: SourceRelation, table: Table, columns: Sequence[ColumnInfo], order: Order, span: SourceRange
    ) -> str:
        """Selects each row's line and place."""
        names = ", ".join([line(columns), *order.texts])
        return f"SELECT {names} FROM {table.sql}{where(order, span, relation)} ORDER BY {order.sql}"

    def _obstacle(self, relation: SourceRelation) -> str:
        table = self._relations.find(relation.relation)
        if self._relations.order(table).digest:
            return f"`{relation.relation}` has no key in whose order its rows could pass"
        columns = self._relations.describe(relation).columns
        if found := next(filter(None, map(obstacle, columns)), ""):
            return found
        [(most,)] = self._query("SELECT @@max_allowed_packet")
        condition = too_long(columns, int(str(most)))
        if condition and self._query(f"SELECT 1 FROM {table.sql} WHERE {condition} LIMIT 1"):
            return f"`{relation.relation}` has rows that are too long for the server to write in one piece"
        return ""


def chunks(rows: Iterator[list[bytes]], relation: SourceRelation, order: Order) -> Iterator[SourceChunk]:
    """The chunks of the statement's rows, as they come over the wire."""
    pieces: list[bytes] = []
    held: list[bytes] = []
    size = count = 0
    sizes = growing(relation.chunk_bytes)
    keep, most = held.append, next(sizes)
    row = b""
    for packet in rows:
        for row in packet:
            first = row[0]
            if first < _NULL:
                text = row[1 : first + 1]
            elif first == _TWO:
                text = row[3 : 3 + (row[1] | row[2] << 8)]
            elif first == _THREE:
                text = row[4 : 4 + (row[1] | row[2] << 8 | row[3] << 16)]
            else:
                text = _long_text(row, relation, order)
            keep(text)
            size += len(text)
            if size >= most:
                pieces.append(b"".join(held))
                count += len(held)
                held.clear()
                yield _chunk(pieces, count, size, row, order)
                pieces, size, count = [], 0, 0
                most = next(sizes)
        if len(held) >= PIECE_ROWS:
            pieces.append(b"".join(held))
            count += len(held)
            held.clear()
    if held:
        pieces.append(b"".join(held))
        count += len(held)
    if count:
        yield _chunk(pieces, count, size, row, order)


def _long_text(row: bytes, relation: SourceRelation, order: Order) -> bytes:
    text, *place = mysql_wire.values(row)
    if text is None:
        key = ", ".join(f"{name}={(value or b'').decode()}" for name, value in zip(order.names, place, strict=True))
        raise DataRefused(
            f"{relation.relation}, row {key}: it has become too long for the server to write in one piece: start another run, which "
            "takes another way, or raise the server's max_allowed_packet",
            field="source.relation",
        )
    return text


def _chunk(pieces: list[bytes], count: int, size: int, row: bytes, order: Order) -> SourceChunk:
    texts = [(value or b"").decode() for value in mysql_wire.values(row)[1:]]
    return SourceChunk((), count, size, position(order, Place(texts, 1)), tuple(pieces))
