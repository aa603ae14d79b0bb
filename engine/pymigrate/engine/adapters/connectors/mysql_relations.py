"""What a MySQL source must know of a relation: its columns and size, and in what order its rows are read.

Rows come in the order of a unique key. Where there is none, or one whose order is not that of its text, they come in the order of a
digest of the whole row: rows of the same digest are equal, so that it does not matter which of them comes first.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.mysql_reading import selected
from pymigrate.engine.adapters.connectors.mysql_types import Declared, column_type, parse
from pymigrate.engine.adapters.connectors.source_values import declared_columns, missing
from pymigrate.engine.adapters.connectors.target_statements import Table, quote, split_relation
from pymigrate.engine.domain.errors import SourceChanged
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation

DIGEST = "digest"
_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year"})
_MOMENTS = frozenset({"date", "time", "datetime", "timestamp"})
_CHARACTERS = frozenset({"char", "varchar"})
_BINARY = frozenset({"binary", "varbinary"})
ORDERLY = _NUMBERS | _MOMENTS | _CHARACTERS | _BINARY


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """A column that rows are ordered by: its name, its native type, and its collation where it is a text."""

    name: str
    declared: Declared
    collation: str = ""

    @property
    def sql(self) -> str:
        """As statements order and compare by it."""
        return quote(self.name)

    @property
    def text(self) -> str:
        """What to select for the term's text, from which `literal` makes the value again."""
        if self.declared.word in _BINARY:
            return f"HEX({self.sql})"
        return f"({self.sql} + 0)" if self.declared.is_filled and self.declared.word != "decimal" else self.sql

    def literal(self, text: str) -> str:
        """The value as a statement has it."""
        if self.declared.word in _NUMBERS:
            return text
        if self.declared.word in _BINARY:
            return f"x'{text}'"
        if self.declared.word in _MOMENTS:
            return f"'{text}'"
        encoded = f"CONVERT(x'{text.encode().hex()}' USING utf8mb4)"
        if self.declared.charset != "utf8mb4":
            encoded = f"CONVERT({encoded} USING {self.declared.charset})"
        return f"{encoded} COLLATE {self.collation}"


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a relation's rows: by the terms, or by `digest`, the expression of a row's digest."""

    terms: tuple[OrderTerm, ...]
    digest: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the terms, which a position carries with it."""
        return [term.name for term in self.terms] or [DIGEST]

    @property
    def sql(self) -> str:
        """The list of what statements order by."""
        return self.digest or ", ".join(term.sql for term in self.terms)

    @property
    def texts(self) -> list[str]:
        """What to select for a row's place."""
        return [self.digest] if self.digest else [term.text for term in self.terms]

    def above(self, place: Sequence[str]) -> str:
        """The condition for rows after a place. Spelled out, since a comparison of tuples makes no use of an index."""
        literals = [term.literal(text) for term, text in zip(self.terms, place, strict=True)]
        condition = ""
        for term, literal in reversed(list(zip(self.terms, literals, strict=True))):
            condition = (
                f"({term.sql} > {literal} OR ({term.sql} = {literal} AND {condition}))"
                if condition
                else f"{term.sql} > {literal}"
            )
        first = f"{self.terms[0].sql} >= {literals[0]} AND " if len(self.terms) > 1 else ""
        return f"({first}{condition})"

    def not_above(self, place: Sequence[str]) -> str:
        """The condition for rows up to a place."""
        first = self.terms[0]
        bound = f"{first.sql} <= {first.literal(place[0])}"
        return f"({bound} AND NOT {self.above(place)})" if len(self.terms) > 1 else f"({bound})"


class MysqlRelations:
    """Relations by `name`, in the connection's database, or `database.name`."""

    def __init__(self, catalog: MysqlCatalog, database: str) -> None:
        self._catalog = catalog
        self._database = database

    def find(self, relation: str) -> Table:
        """Raises SourceMissing with the nearest name."""
        table = split_relation(relation, self._database)
        if self._catalog.kind(table) is None:
            names = self._catalog.names(table.schema)
            prefix = "" if table.schema == self._database else f"{table.schema}."
            raise missing(relation, [f"{prefix}{name}" for name in names])
        return table

    def sketch(self, relation: SourceRelation) -> RelationInfo:
        """Columns, primary key, and the server's own idea of the size; no declarations, which a listing of thousands does without."""
        table = self.find(relation.relation)
        columns = declared_columns(relation, self._catalog.columns(table))
        rows, size = self._catalog.size(table)
        return RelationInfo(relation.relation, columns, self._catalog.primary_key(table), rows, size)

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The same with everything that it declares."""
        info, table = self.sketch(relation), self.find(relation.relation)
        declared = self._catalog.declared
        columns = declared_columns(relation, declared.columns(table, self._catalog.columns(table)))
        return replace(info, columns=columns, schema=declared.table(table, info.key, self._catalog.comment(table)))

    def order(self, table: Table) -> Order:
        """By the primary key, else by another unique key, else by the digest of the row."""
        columns = {column.name: column for column in self._catalog.columns(table)}
        collations = self._catalog.collations(table)
        for names in self._catalog.unique(table):
            terms = tuple(OrderTerm(name, parse(columns[name].native_type), collations.get(name, "")) for name in names)
            if all(term.declared.word in ORDERLY for term in terms):
                return Order(terms)
        return Order((), row_digest(list(columns.values())))


def row_digest(columns: Sequence[ColumnInfo]) -> str:
    """An expression for the digest of a row of these columns: equal for rows that are equal to the bit."""
    own = [ColumnInfo(c.name, column_type(c.native_type), c.is_required, c.native_type) for c in columns]
    parts = ", ".join(f"IF({quote(c.name)} IS NULL, '-', MD5({selected(c)}))" for c in own)
    return f"MD5(CONCAT({parts}))"


class Place(NamedTuple):
    """A row's place in the order, and how many rows of that place have been read: 0 for what is before the first of them."""

    texts: list[str]
    rows: int


def position(order: Order, place: Place) -> Position:
    """The place as a position, with what it is a place of."""
    return Position(json.dumps({"by": order.names, "at": place.texts, "rows": place.rows}))


def place_of(found: Position | None, order: Order, relation: SourceRelation) -> Place | None:
    """The place of a position. Raises SourceChanged where it is one of another order."""
    if found is None:
        return None
    place = json.loads(found)
    if place["by"] != order.names:
        raise SourceChanged(
            f"{relation.relation} has another key than when it was begun: begin it anew", field="source.relation"
        )
    return Place(place["at"], place["rows"])


def where(order: Order, span: SourceRange, relation: SourceRelation) -> str:
    """The condition for the rows of a range, empty for all. Of the first digest, rows that were read before are among them."""
    conditions = []
    if after := place_of(span.after, order, relation):
        conditions.append(f"{order.digest} >= '{after.texts[0]}'" if order.digest else order.above(after.texts))
    if until := place_of(span.until, order, relation):
        conditions.append(f"{order.digest} < '{until.texts[0]}'" if order.digest else order.not_above(until.texts))
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
