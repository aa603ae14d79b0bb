"""A PostgreSQL database as a target: COPY and checkpoint in one transaction, publication under locks that are waited for briefly."""

import fnmatch
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pyarrow as pa
from psycopg import errors

from pymigrate.engine.adapters.connectors.postgres_catalog import PostgresCatalog
from pymigrate.engine.adapters.connectors.postgres_connection import bound, connect, first_line, translated
from pymigrate.engine.adapters.connectors.postgres_declaring import PostgresDeclaring, depended_on
from pymigrate.engine.adapters.connectors.postgres_passed import as_texts, refusing_rows, staged_type
from pymigrate.engine.adapters.connectors.postgres_values import (
    check_values,
    from_csv,
    select_list,
    to_copy,
)
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import (
    SCHEMA,
    Statements,
    Table,
    is_own,
    join_relation,
    quote,
    split_relation,
)
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX
from pymigrate.engine.domain.errors import (
    CannotUndo,
    InvalidDefinition,
    Problem,
)
from pymigrate.engine.domain.schema import SchemaPart
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Staging, StagingId

DEFAULT_SCHEMA = "public"
LOCK_SECONDS = 30.0
IDLE_SECONDS = 60.0
WAIT_SECONDS = 0.1
BATCH_BYTES_MAX = 16 << 20
COLUMNS_MAX = 1_600
KEY_COLUMNS_MAX = 32
# Any number that nobody else takes: it makes the creation of PyMigrate's own relations one after the other.
ADVISORY_LOCK = 7_049_162_250_061_941
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


class PostgresTarget(PostgresDeclaring):
    """See the port. `lock_seconds` is how long a statement waits for a lock before it gives up."""

    statements = Statements(f"{SCHEMA}.checkpoint", f"{SCHEMA}.publication")
    names_rows = True
    name_bytes_max = 63
    folds_case = False
    tells_rows_apart = True

    def __init__(self, system: SystemSpec, lock_seconds: float = LOCK_SECONDS) -> None:
        self._system = system
        self._lock_seconds = lock_seconds
        self._opened: psycopg.Connection | None = None
        self._catalog = PostgresCatalog(self._query)
        self._is_ready = False
        self._pause = threading.Event()
        self._server = self._connection.info.server_version

    def version(self) -> str:
        """Such as `PostgreSQL 15.14`."""
        return f"PostgreSQL {self._server // 10000}.{self._server % 10000}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views of the schemas that users make; the number of rows is the server's estimate."""
        named = {join_relation(table, DEFAULT_SCHEMA): (table, rows) for table, rows in self._catalog.tables()}
        theirs = [name for name in sorted(named) if named[name][0].schema != SCHEMA and not is_own(named[name][0].name)]
        matching = [name for name in theirs if fnmatch.fnmatchcase(name, glob)][:limit]
        return [RelationInfo(name, self._catalog.columns(named[name][0]), rows=named[name][1]) for name in matching]

    def close(self) -> None:
        """Closes the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _connection(self) -> psycopg.Connection:
        """The connection, opened again where it was lost."""
        if self._opened is None or self._opened.closed:
            self._opened = self._connect()
        return self._opened

    def _connect(self) -> psycopg.Connection:
        with translated():
            connection = connect(self._system)
            # Whoever is stopped in the middle of a transaction loses it, and with it the locks that a claim waits for.
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false)",
                (f"{self._lock_seconds * 1000:.0f}", f"{IDLE_SECONDS * 1000:.0f}"),
            )
            return connection

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self._asked, lambda expression: f"{expression}::text")

    def _asked(self, statement: str) -> list[tuple[object, ...]]:
        try:
            return self._query(statement)
        except (errors.UndefinedFunction, errors.DatatypeMismatch) as error:
            problem = Problem("references", f"the columns can't be compared: {first_line(error)}")
            raise InvalidDefinition((problem,)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated(), self._connection.transaction():
            yield

    def _wait(self) -> None:
        self._pause.wait(WAIT_SECONDS)

    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        with translated():
            return self._connection.execute(*bound(statement, parameters)).rowcount

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with translated():
            return self._connection.execute(*bound(statement, parameters)).fetchall()

    def _locate(self, relation: str) -> Table:
        return split_relation(relation, DEFAULT_SCHEMA)

    def _find(self, table: Table) -> Found | None:
        kind = self._catalog.kind(table)
        return None if kind is None else Found(table, kind)

    def _type_problems(self, staging: Staging) -> Iterator[Problem]:
        table = self._locate(staging.relation)
        if table.schema.startswith("pg_") or table.schema == "information_schema":
            yield Problem("target.relation", f"`{staging.relation}` is in a schema of PostgreSQL's own")
        if len(staging.columns) > COLUMNS_MAX:
            yield Problem("source.columns", f"PostgreSQL's tables have at most {COLUMNS_MAX} columns")
        for column in staging.columns:
            if column.name in _SYSTEM_COLUMNS:
                yield Problem(f"source.columns.{column.name}", "PostgreSQL has a column of this name in every table")
            if column.name in staging.key and column.type.kind == "json":
                yield Problem("key", f"`{column.name}` is json, which PostgreSQL can't compare")
        if len(staging.key) > KEY_COLUMNS_MAX:
            yield Problem("key", f"PostgreSQL's keys have at most {KEY_COLUMNS_MAX} columns")
        if dependents := self._catalog.dependents(table):
            yield depended_on(staging, dependents)

    def _has_own_relations(self) -> bool:
        self._is_ready = self._is_ready or self._find(Table(SCHEMA, "publication")) is not None
        return self._is_ready

    def _create(self, staging: Staging, table: Table) -> None:
        self._query("SELECT pg_advisory_xact_lock(?)", (ADVISORY_LOCK,))
        for schema in (SCHEMA, table.schema):
            # IF NOT EXISTS asks for the right to make schemas even where there is nothing to make.
            if not self._query("SELECT 1 FROM pg_namespace WHERE nspname = ?", (schema,)):
                self._execute(f"CREATE SCHEMA {quote(schema)}")
        for statement in self.statements.create:
            self._execute(statement)
        if self._find(table) is None:
            self._execute(self._create_statement(staging, table))
            for step in self._comment_steps(staging, table) if staging.schema.has(SchemaPart.COMMENTS) else ():
                self._execute(step.sql)

    def _insert(self, staging: Staging, table: Table, batches: Sequence[pa.RecordBatch], row: int) -> None:
        check_values(staging, batches, row)
        columns = ", ".join(quote(column.name) for column in staging.columns)
        with (
            refusing_rows(staging, row),
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table.sql} ({columns}) FROM STDIN (FORMAT binary)".encode()) as copy,
        ):
            for piece in to_copy(staging, batches):
                copy.write(piece)

    def _scan(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        """Over a connection of its own, so that a reader that pauses holds nobody up."""
        statement = (
            f"COPY (SELECT {select_list(staging.columns)} FROM {as_texts(staging, table)} t) TO STDOUT (FORMAT csv)"
        )
        with (
            translated(),
            self._connect() as connection,
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            block, rows = bytearray(), 0
            for row in copy:
                block += row
                rows += 1
                if rows == BATCH_ROWS_MAX or len(block) >= BATCH_BYTES_MAX:
                    yield from_csv(bytes(block), staging.columns)
                    block, rows = bytearray(), 0
            if rows:
                yield from_csv(bytes(block), staging.columns)

    def _rename(self, table: Table, name: str) -> None:
        self._execute(f"ALTER TABLE {table.sql} RENAME TO {quote(name)}")

    def _drop(self, table: Table) -> None:
        try:
            super()._drop(table)
        except errors.DependentObjectsStillExist as error:
            raise CannotUndo(f"{table.name} is what others are built on: {error.diag.message_detail}") from error

    def _give_up_transaction(self) -> None:
        if not self._connection.closed:
            self._execute("ROLLBACK")

    def _is_constraint(self, error: BaseException) -> bool:
        return isinstance(error, psycopg.IntegrityError | psycopg.DataError | psycopg.ProgrammingError)

    def _lock_for_merge(self, table: Table) -> None:
        self._execute(f"LOCK TABLE {table.sql} IN SHARE ROW EXCLUSIVE MODE")

    def _compared(self, column: ColumnInfo, reference: str) -> str:
        """json has no equality; as jsonb, spaces and the order of fields make no difference."""
        return f"({reference})::jsonb" if column.type.kind == "json" else reference

    def _ordered(self, column: ColumnInfo, reference: str) -> str:
        """Text by its bytes, whatever the database's language."""
        return f'{reference} COLLATE "C"' if column.type.kind == "string" else reference

    def _row_names(self, table: Table) -> tuple[str, ...]:
        """Where the row lies; in a partitioned table that takes the part, too."""
        del table
        return ("tableoid", "ctid")

    def _appended_text(self, table: Table, alias: str) -> str:
        """With the transaction that wrote the row: whoever changes it makes another of it."""
        return f"{alias}.xmin::text || ' ' || {super()._appended_text(table, alias)}"

    def _staged_value(self, staging: Staging, column: ColumnInfo) -> str:
        """Rows that pass undecoded have their own types in the staging."""
        return f"{quote(column.name)}::{staged_type(staging, column)}"

    def _append_rows(self, staging: Staging, source: Table, target: Table, noted: Table) -> None:
        """Noted as the server returns them."""
        columns = ", ".join(quote(column.name) for column in staging.columns)
        text = self._row_text(self._columns(target), "t")
        self._execute(
            f"WITH a AS (INSERT INTO {target.sql} AS t ({columns}) SELECT {columns} FROM {source.sql} RETURNING "
            f"(txid_current() % 4294967296)::text || ' ' || {text} AS content) "
            f"INSERT INTO {noted.sql} SELECT content, count(*), 0 FROM a GROUP BY content"
        )

    def _identity(self, staging: StagingId, table: Table) -> str:
        """The table's object identifier."""
        return self._catalog.identifier(table)

    def _fingerprint(self, table: Table) -> str:
        """The sum of the transactions that wrote the rows, by 64-bit numbers. Whatever is written later has a higher one, so that with an
        equal number of rows the sum can only grow. Within a transaction: ages count from its number once it has one, and are read three
        times as fast as the numbers themselves, which PostgreSQL casts through texts only."""
        [(own,)] = self._query("SELECT txid_current()")
        [(rows, ages)] = self._query(f"SELECT count(*), coalesce(sum(age(xmin)), 0) FROM {table.sql}")
        return f"transactions:{int(str(rows)) * int(str(own)) - int(str(ages))}"

    def _columns(self, table: Table) -> list[str]:
        return [column.name for column in self._catalog.columns(table)]
