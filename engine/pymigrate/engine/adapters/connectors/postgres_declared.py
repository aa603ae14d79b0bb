"""What a PostgreSQL table declares, read from the catalogue: defaults, identity, comments, indexes, keys and foreign keys.

Names of columns are never cut out of a definition's text; where a definition is carried as text, it is what follows the table's name.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default
from pymigrate.engine.adapters.connectors.target_statements import Table, join_relation
from pymigrate.engine.domain.schema import ForeignKey, TableIndex, TableSchema
from pymigrate.engine.domain.types import ColumnInfo

SYSTEM = "postgres"
DEFAULT_SCHEMA = "public"
_USING = " USING "
_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
_COLUMNS = (
    "SELECT a.attname::text, a.attidentity::text <> '', a.attgenerated::text <> '', coalesce(pg_get_expr(d.adbin, d.adrelid), ''), "
    "coalesce(col_description(a.attrelid, a.attnum), ''), "
    "coalesce(pg_get_serial_sequence(?::oid::regclass::text, a.attname::text), '') <> '' "
    "FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE a.attrelid = ?::oid AND a.attnum > 0 AND NOT a.attisdropped"
)
_INDEXES = (
    "SELECT c.relname::text, i.indisunique, coalesce(k.contype::text, ''), pg_get_indexdef(i.indexrelid), "
    "array(SELECT a.attname::text FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS n (number, place) "
    "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = n.number ORDER BY n.place), "
    "(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n.place) FROM unnest(i.indkey::smallint[]) WITH ORDINALITY "
    "AS n (number, place) JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = n.number), coalesce(k.condeferrable, false) "
    "FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
    "LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('u', 'x') "
    "WHERE i.indrelid = ?::oid AND i.indisvalid AND NOT i.indisprimary ORDER BY 1"
)
_NAMES_OF = (
    "array(SELECT a.attname::text FROM unnest(k.{0}) WITH ORDINALITY AS n (number, place) "
    "JOIN pg_attribute AS a ON a.attrelid = k.{1} AND a.attnum = n.number ORDER BY n.place)"
)
_FOREIGN_KEYS = (
    f"SELECT k.conname::text, {_NAMES_OF.format('conkey', 'conrelid')}, n.nspname::text, c.relname::text, "
    f"{_NAMES_OF.format('confkey', 'confrelid')}, k.confdeltype::text, k.confupdtype::text, k.condeferrable, k.confmatchtype::text "
    "FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.confrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE k.conrelid = ?::oid AND k.contype = 'f' AND k.conparentid = 0 ORDER BY 1"
)
_TABLE = (
    "SELECT coalesce(obj_description(c.oid, 'pg_class'), ''), coalesce((SELECT k.conname::text FROM pg_constraint AS k "
    "WHERE k.conrelid = c.oid AND k.contype = 'p'), ''), c.relrowsecurity, c.relkind::text FROM pg_class AS c WHERE c.oid = ?::oid"
)
_OTHERS = (
    "SELECT 'the check constraint `' || k.conname || '`' FROM pg_constraint AS k WHERE k.conrelid = ?::oid AND k.contype = 'c' "
    "UNION ALL SELECT 'the trigger `' || t.tgname || '`' FROM pg_trigger AS t WHERE t.tgrelid = ?::oid AND NOT t.tgisinternal ORDER BY 1"
)
Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]


class PostgresDeclared:
    """`query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def columns(self, identifier: str, columns: Sequence[ColumnInfo]) -> tuple[ColumnInfo, ...]:
        """The columns with defaults, identity and comments."""
        found = {str(row[0]): row[1:] for row in self._query(_COLUMNS, (identifier, identifier))}
        return tuple(_completed(column, found[column.name]) for column in columns)

    def table(self, identifier: str, key: Sequence[str]) -> TableSchema:
        """Everything beside the columns."""
        [(comment, key_name, is_secured, kind)] = self._query(_TABLE, (identifier,))
        indexes, notes = self._indexes(identifier)
        foreign_keys, of_keys = self._foreign_keys(identifier)
        others = [f"{what} is not carried" for (what,) in self._query(_OTHERS, (identifier, identifier))]
        generated = [
            f"the column `{row[0]}` is generated in the source: the target's holds its values"
            for row in self._query(_COLUMNS, (identifier, identifier))
            if row[2]
        ]
        policies = ["row-level security is not carried"] if is_secured else []
        partitions = ["the source is partitioned, and the target is one table"] if kind == "p" else []
        return TableSchema(
            SYSTEM, str(comment), tuple(key), str(key_name), tuple(indexes), tuple(foreign_keys),
            (*notes, *of_keys, *others, *generated, *policies, *partitions),
        )  # fmt: skip

    def unique(self, identifier: str) -> list[frozenset[str]]:
        """Columns that an index of the whole table holds unique, whether they may be NULL or not."""
        found = self._query(
            "SELECT array_agg(a.attname::text) FROM pg_index AS i CROSS JOIN unnest(i.indkey::smallint[]) AS n (number) "
            "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = n.number WHERE i.indrelid = ?::oid AND i.indisunique "
            "AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid ORDER BY i.indexrelid",
            (identifier,),
        )
        return [frozenset(map(str, names)) for (names,) in found if isinstance(names, list)]

    def _indexes(self, identifier: str) -> tuple[list[TableIndex], list[str]]:
        indexes, notes = list[TableIndex](), list[str]()
        for name, is_unique, kind, definition, columns, spelled, is_deferrable in self._query(_INDEXES, (identifier,)):
            names = tuple(map(str, columns)) if isinstance(columns, list) else ()
            before, found, after = str(definition).partition(_USING)
            if kind == "x":
                notes.append(f"the exclusion constraint `{name}` is not carried")
            elif not found or _USING in f"{name}" or before.count('"') % 2:
                notes.append(f"the index `{name}` is not carried: its definition can't be told from its table's name")
            else:
                rest = f"USING {after}"
                is_plain = rest == f"USING btree ({spelled})"
                if is_deferrable:
                    notes.append(
                        f"the unique constraint `{name}` is deferrable in the source, and is checked at once in the target"
                    )
                indexes.append(
                    TableIndex(str(name), names, bool(is_unique), is_plain and kind == "u", "" if is_plain else rest)
                )
        return indexes, notes

    def _foreign_keys(self, identifier: str) -> tuple[list[ForeignKey], list[str]]:
        found, notes = list[ForeignKey](), list[str]()
        rows = self._query(_FOREIGN_KEYS, (identifier,))
        for name, columns, schema, relation, others, on_delete, on_update, is_deferrable, match in rows:
            if is_deferrable:
                notes.append(
                    f"the foreign key `{name}` is deferrable in the source, and is checked at once in the target"
                )
            if match == "f":
                notes.append(f"the foreign key `{name}` is MATCH FULL in the source, and MATCH SIMPLE in the target")
            found.append(
                ForeignKey(
                    str(name),
                    tuple(map(str, columns)) if isinstance(columns, list) else (),
                    join_relation(Table(str(schema), str(relation)), DEFAULT_SCHEMA),
                    tuple(map(str, others)) if isinstance(others, list) else (),
                    _ACTIONS.get(str(on_delete), ""),
                    _ACTIONS.get(str(on_update), ""),
                )
            )
        return found, notes


def _completed(column: ColumnInfo, row: Sequence[object]) -> ColumnInfo:
    is_identity, is_generated, default, comment, is_serial = row
    is_numbered = bool(is_identity) or (bool(is_serial) and str(default).startswith("nextval("))
    if is_generated or is_numbered:
        default = ""
    return replace(
        column,
        default=standard_default(str(default), column.type),
        native_default=str(default),
        is_identity=is_numbered,
        comment=str(comment),
    )
