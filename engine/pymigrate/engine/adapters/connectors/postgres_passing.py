"""A PostgreSQL relation as bytes: chunks are ranges of its pages, which need neither an order nor a look ahead.

Pages are those of one table; a partitioned one goes leaf by leaf. A position is a leaf and the first of its pages that is not yet read.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from pymigrate.engine.adapters.connectors.chunk_sizes import growing
from pymigrate.engine.adapters.connectors.postgres_relations import ALIAS, PostgresRelations
from pymigrate.engine.adapters.connectors.postgres_wire import copy_out, digest_statement, wire_expression
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import SourceChanged
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import EVERYTHING, Position, SourceRange, ranges_between
from pymigrate.engine.ports.relations import RowsDigest, SourceRelation
from pymigrate.engine.ports.source import SourceChunk

PAGES_VERSION = 140_000  # from here on a range of pages is read without reading the others
BY_PAGES = "pages"
MODULUS = 2**64
Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]
_LEAVES = (
    "WITH RECURSIVE tree (oid) AS (SELECT ?::oid UNION ALL SELECT i.inhrelid FROM pg_inherits AS i JOIN tree ON i.inhparent = tree.oid) "
    "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, coalesce(a.amname::text, ''), "
    "pg_relation_size(c.oid) / current_setting('block_size')::bigint, current_setting('block_size')::bigint "
    "FROM tree JOIN pg_class AS c ON c.oid = tree.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_am AS a ON a.oid = c.relam WHERE c.relkind <> 'p' ORDER BY c.oid"
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that holds rows itself, with the number of its pages and their size in bytes."""

    identifier: int
    table: Table
    kind: str
    pages: int
    page_bytes: int


class PostgresPages:
    """Relations by their pages, over the connection that has the snapshot."""

    def __init__(self, connection: psycopg.Connection, relations: PostgresRelations, query: Query) -> None:
        self._connection = connection
        self._relations = relations
        self._query = query

    def offers(self, relation: SourceRelation) -> Mapping[CopyPath, str]:
        """Binary rows, of tables alone and with the columns as they are."""
        return {CopyPath.POSTGRES_BINARY: self._obstacle(relation)}

    def split(self, relation: SourceRelation, parts: int) -> Sequence[SourceRange]:
        """Ranges of as many pages each."""
        leaves = self._leaves(relation)
        total = sum(leaf.pages for leaf in leaves)
        ends: list[Position] = []
        for number in range(1, parts):
            page = total * number // parts
            for leaf in leaves:
                if page < leaf.pages:
                    ends.append(_position(leaf.identifier, page))
                    break
                page -= leaf.pages
        return ranges_between(list(dict.fromkeys(ends)) if total >= parts else ())

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        """Ranges of pages of about `chunk_bytes`, the first ones smaller; those without rows are left out."""
        # Naming it takes the lock that keeps it from being written anew (VACUUM FULL, TRUNCATE) before its pages are counted.
        self._query(f"SELECT FROM {self._relations.find(relation.relation).sql} LIMIT 0", ())
        spans = list(self._spans(relation, SourceRange(after or relation.range.after, relation.range.until)))
        selected = ", ".join(map(wire_expression, self._native(relation, columns)))
        for leaf, begin, end in spans:
            for page, until in _ranges(begin, end, leaf.page_bytes, relation.chunk_bytes):
                pieces, rows = copy_out(
                    self._connection,
                    f"COPY (SELECT {selected} FROM ONLY {leaf.table.sql} AS {ALIAS} WHERE ctid >= '({page},0)' "
                    f"AND ctid < '({until},0)') TO STDOUT (FORMAT binary)",
                )
                if rows:
                    size = sum(map(len, pieces))
                    yield SourceChunk((), rows, size, _position(leaf.identifier, until), tuple(pieces))

    def digest(self, relation: SourceRelation, columns: Sequence[ColumnInfo], share: int) -> RowsDigest:
        """Of the relation's range, as it is under the snapshot."""
        table = self._relations.find(relation.relation)
        native = self._native(relation, columns)
        by_name = {column.name: wire_expression(column) for column in native}
        key = [by_name[name] for name in relation.key]
        rows, total = 0, 0
        for part in self._parts(relation, table):
            [(some, digest)] = self._query(digest_statement(list(by_name.values()), key, share, part), ())
            rows, total = rows + int(str(some)), total + int(str(digest))
        return RowsDigest(rows, total % MODULUS)

    def _parts(self, relation: SourceRelation, table: Table) -> Iterator[str]:
        """The relation's range as what statements select from."""
        if relation.range == EVERYTHING:
            yield f"{table.sql} AS {ALIAS}"
            return
        for leaf, begin, end in self._spans(relation, relation.range):
            yield (
                f"(SELECT * FROM ONLY {leaf.table.sql} WHERE ctid >= '({begin},0)' AND ctid < '({end},0)') AS {ALIAS}"
            )

    def _spans(self, relation: SourceRelation, span: SourceRange) -> Iterator[tuple[Leaf, int, int]]:
        """Ranges of pages, at most one a leaf."""
        leaves = self._leaves(relation)
        first, last = _place(span.after, leaves, relation), _place(span.until, leaves, relation)
        for at, leaf in enumerate(leaves):
            begin = first[1] if first and first[0] == at else 0
            end = last[1] if last and last[0] == at else leaf.pages
            if not (first and at < first[0]) and not (last and at > last[0]):
                yield leaf, begin, end

    def _obstacle(self, relation: SourceRelation) -> str:
        if self._connection.info.server_version < PAGES_VERSION:
            return "the source's server is older than 14"
        own = {column.name: column.type for column in self._relations.columns(self._relations.find(relation.relation))}
        if other := [name for name, kind in relation.columns.items() if own.get(name) != kind]:
            return f"column `{min(other)}` is declared as {relation.columns[min(other)]}, which is not its own type"
        leaves = self._leaves(relation)
        if not leaves or any(leaf.kind not in {"r", "m"} for leaf in leaves):
            return f"`{relation.relation}` is no table, and has no pages to read it by"
        return ""

    def _leaves(self, relation: SourceRelation) -> list[Leaf]:
        identifier = self._relations.identifier(self._relations.find(relation.relation))
        found = self._query(_LEAVES, (identifier,))
        return [
            Leaf(
                identifier=int(str(oid)),
                table=Table(str(schema), str(name)),
                kind=str(kind) if method == "heap" else "",
                pages=int(str(pages)),
                page_bytes=int(str(size)),
            )
            for oid, schema, name, kind, method, pages, size in found
        ]

    def _native(self, relation: SourceRelation, columns: Sequence[ColumnInfo]) -> list[ColumnInfo]:
        """The columns with the types that the run froze, which must still be theirs."""
        own = {column.name: column for column in self._relations.columns(self._relations.find(relation.relation))}
        for column in columns:
            if column.name not in own or own[column.name].native_type != column.native_type:
                raise SourceChanged(
                    f"{relation.relation}: column `{column.name}` was {column.native_type} when the run was started, and is "
                    f"{own[column.name].native_type if column.name in own else 'gone'} now: start another run",
                    field=f"source.columns.{column.name}",
                )
        return list(columns)


def _ranges(begin: int, end: int, page_bytes: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of pages, each about as large as a chunk may be."""
    for size in growing(chunk_bytes):
        if begin >= end:
            return
        until = min(begin + max(1, size // page_bytes), end)
        yield begin, until
        begin = until


def _position(identifier: int, page: int) -> Position:
    return Position(json.dumps({"by": BY_PAGES, "at": [identifier, page]}))


def _place(position: Position | None, leaves: Sequence[Leaf], relation: SourceRelation) -> tuple[int, int] | None:
    """The leaf's number and the page."""
    if position is None:
        return None
    place = json.loads(position)
    if place["by"] == BY_PAGES:
        for at, leaf in enumerate(leaves):
            if leaf.identifier == place["at"][0]:
                return at, int(place["at"][1])
    raise SourceChanged(
        f"{relation.relation} is stored in other tables than when it was begun: begin it anew", field="source.relation"
    )
