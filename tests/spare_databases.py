"""Empty PostgreSQL databases, again and again: one that was used is emptied and given to the next test under another name.

A new database costs a third of a second on a busy machine, which most tests of connectors would spend on nothing else. Whoever still knows
the old name, such as a host that a test left behind, finds no database under it, and writes nothing into the next test's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
from psycopg import sql

SPARES_MAX = 8
END_MILLISECONDS = 5_000
VERSION_MIN = 140_000  # the first with pg_database_owner, and with a limit of the wait for a backend's end
NUMBERS = count(1)
LEFT_OUTSIDE_SCHEMAS = """
SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
    OR EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
    OR EXISTS (SELECT FROM pg_subscription)
    OR EXISTS (SELECT FROM pg_publication)
    OR EXISTS (SELECT FROM pg_event_trigger)
    OR EXISTS (SELECT FROM pg_extension WHERE extname <> 'plpgsql')
    OR EXISTS (SELECT FROM pg_language WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql'))
    OR EXISTS (SELECT FROM pg_foreign_data_wrapper)
    OR EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pg_default_acl)
    OR EXISTS (SELECT FROM pg_cast WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_db_role_setting AS setting JOIN pg_database AS mine ON mine.oid = setting.setdatabase
               WHERE mine.datname = current_database())
    OR EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datacl IS NOT NULL)
"""


class Databases:
    """The databases of one cluster, whose superuser's DSN for a database `dsn` tells."""

    def __init__(self, dsn: Callable[[str], str]) -> None:
        self._dsn = dsn
        self._spares: list[str] = []

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of an empty database, whose name no other has had."""
        name = f"test_{next(NUMBERS)}"
        if not (self._spares and self._renamed(self._spares.pop(), name)):
            self._run(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield self._dsn(name)
        finally:
            spare = f"spare_{name}"
            if len(self._spares) < SPARES_MAX and self._renamed(name, spare) and self._is_emptied(spare):
                self._spares.append(spare)
            else:
                for left in (name, spare):
                    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                    self._run(statement.format(sql.Identifier(left)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _renamed(self, name: str, new: str) -> bool:
        """Ends everybody's connections to it first; False where somebody connects again at once, or the test has dropped it."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            if connection.info.server_version < VERSION_MIN:
                return False
            connection.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s",
                (END_MILLISECONDS, name),
            )
            statement = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new))
            try:
                connection.execute(statement)
            except (psycopg.errors.ObjectInUse, psycopg.errors.InvalidCatalogName):
                return False
        return True

    def _is_emptied(self, name: str) -> bool:
        """Drops every schema; False where a test has left what lies in none, and only the whole database's end does away with it."""
        with psycopg.connect(self._dsn(name), autocommit=True) as connection:
            if connection.execute(LEFT_OUTSIDE_SCHEMAS).fetchone() != (False,):
                return False
            schemas = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND NOT starts_with(nspname, 'pg_')"
            ).fetchall()
            for (schema,) in schemas:
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
            connection.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
            connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
            connection.execute("COMMENT ON SCHEMA public IS 'standard public schema'")
        return True
