"""What keeps a MySQL or MariaDB table from being followed, and what to do about each."""

from collections.abc import Callable, Iterator, Sequence

from pymigrate.engine.adapters.connectors.mysql_catalog import MysqlCatalog
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.ports.relations import SourceRelation

SNAPSHOTS = frozenset({"innodb", "rocksdb"})
_SERVER = "SELECT @@global.read_only, @@global.log_bin, @@global.log_bin_trust_function_creators, CURRENT_USER(), CURRENT_ROLE()"
# Grants to roles are not among them.
_GRANTED = (
    "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = ? AND PRIVILEGE_TYPE = ? UNION ALL "
    "SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = ? AND PRIVILEGE_TYPE = ? AND ? LIKE TABLE_SCHEMA UNION ALL "
    "SELECT 1 FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = ? AND PRIVILEGE_TYPE = ? AND TABLE_SCHEMA = ? AND TABLE_NAME = ?"
)
_CASCADES = (
    "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND "
    "TABLE_NAME = ? AND (DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION'))"
)


class MysqlObstacles:
    """`query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Callable[[str, Sequence[object]], list[tuple[object, ...]]]) -> None:
        self._query = query
        self._catalog = MysqlCatalog(query)

    def of(self, relation: SourceRelation, table: Table) -> Iterator[Problem]:
        """Every obstacle to reading it while it changes, and to keeping writes out in the end."""
        name = relation.relation
        if self._catalog.kind(table) != "table":
            yield Problem(
                "source.relation",
                f"`{name}` is no table, and writes to it can't be blocked: name the tables that it shows",
            )
            return
        engine = self._catalog.engine(table)
        if engine not in SNAPSHOTS:
            yield Problem(
                "source.relation",
                f"`{name}` is stored by {engine}, which gives no snapshot to read while others write: ALTER TABLE {_shown(table)} "
                "ENGINE=InnoDB, or choose another downtime policy",
            )
        for owner, parent in self._query(_CASCADES, (table.schema, table.name)):
            if owner == table.name:
                yield Problem(
                    "source.relation",
                    f"rows of `{name}` change with those of `{parent}` by a foreign key, and no trigger of MySQL sees that: make the key "
                    "RESTRICT, or choose another downtime policy",
                )
        yield from self._of_server(name, table)

    def _of_server(self, name: str, table: Table) -> Iterator[Problem]:
        [(is_read_only, has_log, is_trusting, user, role)] = self._query(_SERVER, ())
        if is_read_only:
            yield Problem(
                "source.connection", "the server is read only, so that no write can be blocked on it: name the primary"
            )
        if role not in {None, "", "NONE"}:  # what a role may do is found out by doing it
            return
        person, _, host = str(user).rpartition("@")
        grantee = f"'{person}'@'{host}'"
        if not self._may(grantee, "TRIGGER", table):
            yield Problem(
                "source.relation",
                f"the user {user} may make no trigger on `{name}`, by which writes are blocked in the end: GRANT TRIGGER ON "
                f"{_shown(table)} TO {grantee}",
            )
        elif has_log and not is_trusting and not self._may(grantee, "SUPER", table):
            yield Problem(
                "source.connection",
                f"the server keeps a binary log and lets {user} make no trigger, by which writes are blocked in the end: SET GLOBAL "
                "log_bin_trust_function_creators = 1, or grant SUPER",
            )

    def _may(self, grantee: str, what: str, table: Table) -> bool:
        asked = (grantee, what, grantee, what, table.schema, grantee, what, table.schema, table.name)
        return bool(self._query(_GRANTED, asked))


def _shown(table: Table) -> str:
    """As it is written where double quotes are not asked for."""
    return f"`{table.schema}`.`{table.name}`"
