"""What the catalogue says of a PostgreSQL table that is replaced: what must be let go of, what is taken over, and what stays with it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.adapters.connectors.target_steps import Step

_OBJECTS = (
    "SELECT CASE c.relkind::text WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END, c.relname::text FROM pg_class AS c WHERE c.oid IN "
    "(SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = ?::oid UNION SELECT d.objid FROM pg_depend AS d "
    "JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' WHERE d.classid = 'pg_class'::regclass "
    "AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ?::oid AND d.deptype IN ('a', 'i')) ORDER BY 2"
)
_KEYS = (
    "SELECT n.nspname::text, c.relname::text, k.conname::text, pg_get_constraintdef(k.oid) FROM pg_constraint AS k "
    "JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE k.contype = 'f' AND k.conparentid = 0 AND {0} = ?::oid ORDER BY k.oid"
)
_NOTES = (
    "SELECT 'the trigger `' || t.tgname || '`' FROM pg_trigger AS t WHERE t.tgrelid = ?::oid AND NOT t.tgisinternal "
    "UNION ALL SELECT 'the policy `' || p.polname || '`' FROM pg_policy AS p WHERE p.polrelid = ?::oid "
    "UNION ALL SELECT 'the check constraint `' || k.conname || '`' FROM pg_constraint AS k WHERE k.conrelid = ?::oid AND k.contype = 'c' "
    "UNION ALL SELECT 'the publication `' || p.pubname || '`' FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid "
    "WHERE r.prrelid = ?::oid "
    "UNION ALL SELECT 'the grants on column `' || a.attname || '`' FROM pg_attribute AS a "
    "WHERE a.attrelid = ?::oid AND a.attacl IS NOT NULL"
)
_OWNERS = (
    "SELECT o.rolname::text, o.oid <> n.relowner FROM pg_class AS c JOIN pg_roles AS o ON o.oid = c.relowner "
    "JOIN pg_class AS n ON n.oid = ?::oid WHERE c.oid = ?::oid"
)
_GRANTS = (
    "SELECT coalesce(r.rolname::text, ''), string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), a.is_grantable FROM pg_class AS c "
    "CROSS JOIN aclexplode(c.relacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee "
    "WHERE c.oid = ?::oid AND a.grantee <> c.relowner GROUP BY 1, 3 ORDER BY 1, 3"
)
Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]


@dataclass(frozen=True, slots=True)
class StandingKey:
    """A foreign key that stands: the statements that drop it, and that declare it again by the names that its tables have now."""

    drop: str
    add: str


class PostgresReplaced:
    """`query` gives all rows of a statement with `?` for its parameters; tables are told by their object identifiers."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def objects(self, identifier: str) -> list[tuple[str, str]]:
        """Indexes and sequences that go with the table, with what they are."""
        return [(str(what), str(name)) for what, name in self._query(_OBJECTS, (identifier, identifier))]

    def foreign_keys(self, identifier: str) -> list[StandingKey]:
        """The table's own."""
        return self._keys("k.conrelid", identifier)

    def referring(self, identifier: str) -> list[StandingKey]:
        """Those of other tables that mean this one."""
        return self._keys("k.confrelid", identifier)

    def notes(self, identifier: str) -> Iterator[str]:
        """What stays with the table when another takes its place."""
        for (what,) in self._query(_NOTES, (identifier,) * 5):
            yield f"{what} of the table that is replaced stays with the kept copy"

    def rights(self, identifier: str, new: str, table: Table) -> Iterator[Step]:
        """Gives the new table the owner and the grants of the old one."""
        for owner, is_other in self._query(_OWNERS, (new, identifier)):
            if is_other:
                yield Step(f"ALTER TABLE {table.sql} OWNER TO {quote(str(owner))}", f"the owner {owner}")
        for grantee, privileges, is_grantable in self._query(_GRANTS, (identifier,)):
            role = quote(str(grantee)) if grantee else "PUBLIC"
            option = " WITH GRANT OPTION" if is_grantable else ""
            yield Step(f"GRANT {privileges} ON {table.sql} TO {role}{option}", f"the grant of {privileges} to {role}")

    def _keys(self, column: str, identifier: str) -> list[StandingKey]:
        found = []
        for schema, name, constraint, definition in self._query(_KEYS.format(column), (identifier,)):
            table = Table(str(schema), str(name)).sql
            found.append(
                StandingKey(
                    f"ALTER TABLE IF EXISTS {table} DROP CONSTRAINT IF EXISTS {quote(str(constraint))}",
                    f"ALTER TABLE {table} ADD CONSTRAINT {quote(str(constraint))} {definition}",
                )
            )
        return found
