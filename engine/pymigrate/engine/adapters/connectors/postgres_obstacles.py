"""What keeps a PostgreSQL table from being followed by logical decoding, and what to do about each."""

from collections.abc import Callable, Iterator, Sequence

from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.ports.relations import SourceRelation

FIELD = "catch_up.logical"
VERSION_MIN = 130_000
_SERVER = (
    "SELECT current_setting('wal_level'), current_setting('server_version_num')::int, "
    "current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots), "
    "current_setting('max_wal_senders')::int, pg_is_in_recovery(), current_user, current_database(), "
    "(SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), "
    "has_database_privilege(current_database(), 'CREATE')"
)
_TABLE = (
    "SELECT c.relkind::text, c.relpersistence::text, c.relreplident::text, pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner), "
    "has_schema_privilege(c.relnamespace, 'CREATE') FROM pg_class AS c WHERE c.oid = ?::oid"
)
_IDENTITY = (
    "SELECT a.attname::text FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::smallint[]) "
    "WHERE i.indrelid = ?::oid AND CASE WHEN ? = 'd' THEN i.indisprimary ELSE i.indisreplident END ORDER BY 1"
)


class Obstacles:
    """`query` gives all rows of a statement with `?` for its parameters."""

    def __init__(self, query: Callable[[str, Sequence[object]], list[tuple[object, ...]]]) -> None:
        self._query = query

    def of(self, relation: SourceRelation, table: Table, identifier: str, key: Sequence[str]) -> Iterator[Problem]:
        """Every obstacle."""
        yield from self._of_server()
        yield from self._of_table(relation, table, identifier, key)

    def _of_server(self) -> Iterator[Problem]:
        [(level, version, slots, senders, is_standby, user, database, may_replicate, may_create)] = self._query(
            _SERVER, ()
        )
        if level != "logical":
            yield Problem(
                FIELD,
                f"the server has wal_level={level}: set wal_level=logical in its configuration and restart it, or choose another "
                "downtime policy",
            )
        if int(str(version)) < VERSION_MIN:
            yield Problem(FIELD, "the server is older than PostgreSQL 13")
        if is_standby:
            yield Problem(
                "source.connection", "the server is a standby, on which nothing can be made: name the primary"
            )
        if int(str(slots)) <= 0 or int(str(senders)) <= 0:
            yield Problem(
                FIELD,
                "the server has no replication slot free: raise max_replication_slots and max_wal_senders, or drop slots that nobody reads",
            )
        if not may_replicate:
            yield Problem(
                "source.connection",
                f"the user `{user}` may not replicate: ALTER ROLE {user} REPLICATION lets it make a replication slot",
            )
        if not may_create:
            yield Problem(
                "source.connection",
                f"the user `{user}` may make no publication: GRANT CREATE ON DATABASE {database} TO {user} lets it",
            )

    def _of_table(
        self, relation: SourceRelation, table: Table, identifier: str, key: Sequence[str]
    ) -> Iterator[Problem]:
        [(kind, persistence, identity, *_)] = self._query(_TABLE, (identifier,))
        name = relation.relation
        if kind not in {"r", "p"}:
            yield Problem(
                "source.relation", f"`{name}` is no table, and its changes are in no log: name the tables that it shows"
            )
            return
        if persistence != "p":
            yield Problem(
                "source.relation", f"`{name}` is not in the log: ALTER TABLE {table.sql} SET LOGGED puts it there"
            )
        yield from self.of_owner(relation, table, identifier)
        if not key:
            yield Problem("key", f"`{name}` has no key: changes are told by it; declare a primary key")
        elif identity != "f":
            named = [str(column) for (column,) in self._query(_IDENTITY, (identifier, identity))]
            if set(named) != set(key):
                told = f"({', '.join(named)})" if named else "nothing"
                yield Problem(
                    "key",
                    f"changes of `{name}` tell {told}, and the key is ({', '.join(key)}): ALTER TABLE {table.sql} REPLICA IDENTITY FULL, "
                    "or USING INDEX with a unique index of the key",
                )

    def of_owner(self, relation: SourceRelation, table: Table, identifier: str) -> Iterator[Problem]:
        """What keeps writes from being blocked."""
        [(kind, _, _, is_owner, owner, may_create)] = self._query(_TABLE, (identifier,))
        name = relation.relation
        if kind not in {"r", "p"}:
            yield Problem(
                "source.relation",
                f"`{name}` is no table, and writes to it can't be blocked: name the tables that it shows",
            )
            return
        if not is_owner:
            yield Problem(
                "source.relation",
                f"`{name}` belongs to {owner}: the connection's user must own it, or be a member of that role",
            )
        if not may_create:
            yield Problem(
                "source.relation",
                f"the connection's user may make nothing in the schema `{table.schema}`, and so can't block writes in the end",
            )
