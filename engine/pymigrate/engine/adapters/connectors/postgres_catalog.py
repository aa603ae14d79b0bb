"""What PostgreSQL's catalogue says of tables, by exact name."""

from collections.abc import Callable, Sequence

from pymigrate.engine.adapters.connectors.postgres_reading import column_type
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.types import ColumnInfo

_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_NAMED = "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relname = ?"


class PostgresCatalog:
    """`query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Callable[[str, Sequence[object]], list[tuple[object, ...]]]) -> None:
        self._query = query

    def tables(self) -> list[tuple[Table, int]]:
        """Tables and views outside PostgreSQL's own schemas, with the estimated number of rows, -1 where there is none."""
        found = self._query(
            "SELECT n.nspname, c.relname, c.reltuples::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.relkind::text = ANY (?) AND NOT c.relispartition AND left(n.nspname, 3) <> 'pg_' "
            "AND n.nspname <> 'information_schema'",
            (list(_KINDS),),
        )
        return [(Table(str(schema), str(name)), int(str(rows))) for schema, name, rows in found]

    def kind(self, table: Table) -> str | None:
        """`table`, or what else it is; None where there is nothing of that name."""
        found = self._query(f"SELECT c.relkind::text {_NAMED}", (table.schema, table.name))
        return _KINDS.get(str(found[0][0]), "relation of another kind") if found else None

    def identifier(self, table: Table) -> str:
        """The object identifier, which a rename does not change; empty where there is no such table."""
        found = self._query(f"SELECT c.oid::text {_NAMED}", (table.schema, table.name))
        return str(found[0][0]) if found else ""

    def columns(self, table: Table) -> tuple[ColumnInfo, ...]:
        """Columns in order."""
        found = self._query(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute AS a "
            f"WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = (SELECT c.oid {_NAMED}) ORDER BY a.attnum",
            (table.schema, table.name),
        )
        return tuple(
            ColumnInfo(str(name), column_type(str(native)), bool(required), str(native))
            for name, native, required in found
        )

    def dependents(self, table: Table) -> list[str]:
        """Views that mean this very table, whatever it is called."""
        found = self._query(
            f"WITH t AS (SELECT c.oid {_NAMED}) "
            "SELECT DISTINCT 'the view ' || r.ev_class::regclass::text FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid "
            "WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid IN (SELECT oid FROM t) AND r.ev_class <> d.refobjid ORDER BY 1",
            (table.schema, table.name),
        )
        return [str(text) for (text,) in found]
