"""What a PostgreSQL source must know of a relation beyond its columns: what kind it is, how it is ordered, and how large it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pymigrate.engine.adapters.connectors.postgres_catalog import PostgresCatalog
from pymigrate.engine.adapters.connectors.postgres_declared import PostgresDeclared
from pymigrate.engine.adapters.connectors.postgres_reading import column_type
from pymigrate.engine.adapters.connectors.source_values import declared_columns, missing
from pymigrate.engine.adapters.connectors.target_statements import Table, join_relation, quote, split_relation
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.relations import UNKNOWN, RelationInfo, SourceRelation

DEFAULT_SCHEMA = "public"
ALIAS = "source"
_UNIQUE = (
    "SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.place) FROM pg_index AS i "
    "CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place) "
    "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number "
    "WHERE i.indrelid = ?::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL "
    "AND i.indexprs IS NULL AND k.place <= i.indnkeyatts "
    "GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull) ORDER BY i.indexrelid"
)
_SIZES = (
    "SELECT c.relkind::text, c.relhassubclass, c.reltuples::bigint, "
    "CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE -1 END FROM pg_class AS c WHERE c.oid = ?::oid"
)


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """An expression that rows are ordered by, what it is called, and the type that its text is cast back to.

    The expression names the relation: a bare name in ORDER BY would mean the text of that name in the list of what is selected.
    """

    name: str
    sql: str
    native: str


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a relation's rows. `is_trusted` unless only the dataset says that the terms are unique and never NULL."""

    terms: tuple[OrderTerm, ...]
    is_trusted: bool = True

    @property
    def names(self) -> list[str]:
        """The terms' names, which a position carries with it."""
        return [term.name for term in self.terms]


class PostgresRelations:
    """Relations by `name` or `schema.name`. `query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Callable[[str, Sequence[object]], list[tuple[object, ...]]]) -> None:
        self._query = query
        self._catalog = PostgresCatalog(query)
        self._declared = PostgresDeclared(query)

    def names(self) -> list[str]:
        """All tables and views that users made, in order."""
        return sorted(join_relation(table, DEFAULT_SCHEMA) for table, _ in self._catalog.tables())

    def find(self, relation: str) -> Table:
        """Raises SourceMissing with the nearest name."""
        table = split_relation(relation, DEFAULT_SCHEMA)
        if self._catalog.kind(table) is None:
            raise missing(relation, self.names())
        return table

    def sketch(self, relation: SourceRelation) -> RelationInfo:
        """Columns, primary key, and the server's own idea of the size; no declarations, which a listing of thousands does without."""
        table = self.find(relation.relation)
        identifier = self._catalog.identifier(table)
        columns = declared_columns(relation, self.columns(table))
        rows, size = self._query(_SIZES, (identifier,))[0][2:]
        key = next((names for is_primary, names in self._unique(identifier) if is_primary), ())
        return RelationInfo(relation.relation, columns, key, max(int(str(rows)), UNKNOWN), int(str(size)))

    def describe(self, relation: SourceRelation) -> RelationInfo:
        """The same with everything that it declares."""
        info, table = self.sketch(relation), self.find(relation.relation)
        identifier = self._catalog.identifier(table)
        columns = declared_columns(relation, self._declared.columns(identifier, self.columns(table)))
        return replace(info, columns=columns, schema=self._declared.table(identifier, info.key))

    def identifier(self, table: Table) -> str:
        """The object identifier."""
        return self._catalog.identifier(table)

    def columns(self, table: Table) -> tuple[ColumnInfo, ...]:
        """Columns in order, each with the type that holds its values exactly."""
        return tuple(
            ColumnInfo(c.name, column_type(c.native_type), c.is_required, c.native_type)
            for c in self._catalog.columns(table)
        )

    def order(self, relation: SourceRelation, table: Table) -> Order:
        """By primary key; else by the dataset's key, where an index holds it; else by place. A view has no places: there the dataset's
        key is all there is. Raises InvalidDefinition for a view without one."""
        identifier = self._catalog.identifier(table)
        native = {column.name: column.native_type for column in self._catalog.columns(table)}

        def by(names: Sequence[str], *, is_trusted: bool = True) -> Order:
            return Order(tuple(OrderTerm(name, f"{ALIAS}.{quote(name)}", native[name]) for name in names), is_trusted)

        for is_primary, names in self._unique(identifier):
            if is_primary or set(names) == set(relation.key):
                return by(names)
        kind, has_children = self._query(_SIZES, (identifier,))[0][:2]
        if kind in {"r", "p", "m"}:
            place = OrderTerm("ctid", f"{ALIAS}.ctid", "tid")
            return Order(
                (OrderTerm("tableoid", f"{ALIAS}.tableoid", "oid"), place) if kind == "p" or has_children else (place,)
            )
        if not relation.key:
            what = "a foreign table" if kind == "f" else "a view"
            problem = f"`{relation.relation}` is {what}: name columns that together are unique, to read it in order"
            raise InvalidDefinition((Problem("key", problem),))
        return by(relation.key, is_trusted=False)

    def _unique(self, identifier: str) -> list[tuple[bool, tuple[str, ...]]]:
        """Columns that an index holds unique and that are never NULL, the primary key first."""
        found = self._query(_UNIQUE, (identifier,))
        unique = [
            (bool(primary), tuple(str(name) for name in names)) for primary, names in found if isinstance(names, list)
        ]
        return sorted(unique, key=lambda one: not one[0])
