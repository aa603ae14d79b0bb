"""Any SQLAlchemy dialect as a target whose SQL knows what PyMigrate's transactions are made of: the general path, row by row.

Types are SQLAlchemy's to compile; the statements of the protocol are those of every SQL target. What the dialect must know is tried before
the first row, in a transaction that is taken back: a table that outlives it tells of a dialect whose DDL commits by itself.
"""

import fnmatch
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pymigrate.engine.adapters.connectors import sqlite_values
from pymigrate.engine.adapters.connectors.alchemy_session import AlchemySession
from pymigrate.engine.adapters.connectors.alchemy_types import is_text_kept, reading_of, stored_type
from pymigrate.engine.adapters.connectors.alchemy_values import array_of, to_rows
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_inspection import Inspection
from pymigrate.engine.adapters.connectors.target_statements import Statements, Table, is_own, quote
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Staging, StagingId

OWN_PREFIX = "_pymigrate_"
MARK = "pymigrate_"
PROBE = f"{OWN_PREFIX}probe"
ROWS_AT_ONCE = 4_096
NAME_BYTES_MAX = 63
ADVISORY_LOCK = 0x70796D6967726174 % 2**63
COMMITTING = frozenset({"mysql", "mariadb", "oracle"})


class AlchemyTarget(AlchemySession):
    """See the port. A relation is a table of the default schema. Rows are appended by INSERT."""

    statements = Statements(f"{OWN_PREFIX}checkpoint", f"{OWN_PREFIX}publication")
    name_bytes_max = NAME_BYTES_MAX

    def version(self) -> str:
        """The dialect with its driver, and the server's version."""
        self._connection()
        numbers = ".".join(map(str, self._dialect.server_version_info or ())) or sa.__version__
        return f"{self._dialect.name} by {self._dialect.driver} {numbers}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views of the default schema with their exact numbers of rows."""
        with self._translated():
            inspector = sa.inspect(self._connection())
            names = sorted({*inspector.get_table_names(), *inspector.get_view_names()})
        theirs = [name for name in names if not (is_own(name) or name.startswith(OWN_PREFIX))]
        matching = [name for name in theirs if fnmatch.fnmatchcase(name, glob)][:limit]
        return [
            RelationInfo(name, self._described(Table("", name)), rows=self._count(Table("", name)), is_exact_rows=True)
            for name in matching
        ]

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self._query, lambda expression: f"CAST({expression} AS TEXT)")

    def _locate(self, relation: str) -> Table:
        return Table("", relation)

    def _find(self, table: Table) -> Found | None:
        with self._translated():
            inspector = sa.inspect(self._connection())
            kinds = {
                **dict.fromkeys(inspector.get_view_names(), "view"),
                **dict.fromkeys(inspector.get_table_names(), "table"),
            }
        wanted = table.name.lower() if self.folds_case else table.name
        for name, kind in kinds.items():
            if (name.lower() if self.folds_case else name) == wanted:
                return Found(Table("", name), kind)
        return None

    @property
    def folds_case(self) -> bool:  # type: ignore[override]  # by the dialect, rather than for all
        """SQLite takes names that differ in case for the same, even quoted."""
        return self._is_sqlite

    def _type_problems(self, staging: Staging) -> Iterator[Problem]:
        if self._dialect.name in COMMITTING:
            text = f"`{self._dialect.name}` commits before and after every DDL statement, so that no publication could be taken back"
            yield Problem("target.connection", f"{text}: use it as a source")
        if staging.relation.lower().startswith((OWN_PREFIX, "sqlite_")):
            yield Problem("target.relation", f"`{staging.relation}` is a name that is kept for others")

    def _has_own_relations(self) -> bool:
        self._is_ready = self._is_ready or self._find(Table("", self.statements.publication)) is not None
        return self._is_ready

    def prepare(self, staging: Staging) -> None:
        """Tries what the dialect must know, before anything else is made."""
        if not self._has_own_relations():
            self._probe()
        super().prepare(staging)

    def _probe(self) -> None:
        own = f"{PROBE}_{os.getpid()}_{threading.get_ident()}"
        try:
            with self._transaction():
                self._execute(f"CREATE TABLE {quote(own)} (a BIGINT NOT NULL PRIMARY KEY, b TEXT)")
                self._execute(f"INSERT INTO {quote(own)} VALUES (1, 'x') ON CONFLICT (a) DO NOTHING")
                self._query(f"SELECT 1 FROM {quote(own)} WHERE b {self.distinct} NULL LIMIT 1")
                self._execute(f"ALTER TABLE {quote(own)} RENAME TO {quote(own + '_2')}")
                raise _Enough
        except _Enough:
            left = [name for name in (own, f"{own}_2") if self._find(Table("", name))]
        except (FailedPrecondition, DataRefused) as error:
            raise FailedPrecondition(f"{self._dialect.name} can't be a target: {error.message}") from error
        if left:
            self._execute(f"DROP TABLE {quote(left[0])}")
            raise FailedPrecondition(
                f"{self._dialect.name} can't be a target: its DDL commits by itself, so that no publication could be taken back"
            )

    def _has_declarations(self) -> bool:
        return self._find(Table("", self.statements.declaration)) is not None

    def _create(self, staging: Staging, table: Table) -> None:
        if self._dialect.name == "postgresql":  # where two that make the same table at once both may fail
            self._query("SELECT pg_advisory_xact_lock(?)", (ADVISORY_LOCK,))
        for statement in self.statements.create:
            self._execute(statement)
        if self._find(table) is None:
            self._execute(self._create_statement(staging, table))

    def _insert(self, staging: Staging, table: Table, batches: Sequence[pa.RecordBatch], row: int) -> None:
        columns = [
            sa.Column(column.name, stored_type(column, self._dialect), key=f"c{at}")
            for at, column in enumerate(staging.columns)
        ]
        statement = sa.insert(sa.Table(table.name, sa.MetaData(), *columns))
        for batch in batches:
            if is_text_kept(self._dialect):
                found = sqlite_values.to_rows(staging, batch, row)
                rows = [{f"c{at}": value for at, value in enumerate(values)} for values in found]
            else:
                rows = to_rows(staging, batch, row)
            for first in range(0, len(rows), ROWS_AT_ONCE):
                try:
                    with self._translated():
                        self._connection().execute(statement, rows[first : first + ROWS_AT_ONCE])
                except (DataRefused, IntegrityError) as error:
                    text = error.message if isinstance(error, DataRefused) else str(error.orig)
                    where = f"rows {row + first + 1} to {row + min(first + ROWS_AT_ONCE, len(rows))}"
                    raise DataRefused(f"{staging.relation}, {where}: {text}") from error
            row += batch.num_rows

    def _scan(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        """Over a connection of its own, so that a reader that pauses holds nobody up; of SQLite, at once."""
        columns = [sa.Column(column.name, stored_type(column, self._dialect)) for column in staging.columns]
        chosen = sa.Table(table.name, sa.MetaData(), *columns)
        raw = is_text_kept(self._dialect)
        statement = sa.select(*(sa.type_coerce(c, sa.types.NullType()) if raw else c for c in chosen.c))
        with self._translated(), self._engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS_MAX)
            if self._is_sqlite:
                yield from self._pages(staging, table)
                return
            with streaming.execute(statement) as result:
                while rows := result.fetchmany(BATCH_ROWS_MAX):
                    yield self._batch(staging, rows)

    def _pages(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        columns = ", ".join(quote(column.name) for column in staging.columns)
        last: object = -(2**63)
        while rows := self._query(
            f"SELECT {columns}, rowid FROM {table.sql} WHERE rowid > {last} ORDER BY rowid LIMIT {BATCH_ROWS_MAX}"
        ):
            last = rows[-1][-1]
            yield sqlite_values.from_rows(staging, [row[:-1] for row in rows])

    def _batch(self, staging: Staging, rows: Sequence[Any]) -> pa.RecordBatch:
        places = [str(at) for at in range(1, len(rows) + 1)]
        arrays = [
            array_of(staging.relation, column, column.type, values, places)
            for column, values in zip(staging.columns, zip(*rows, strict=True), strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(staging.columns))

    def _rename(self, table: Table, name: str) -> None:
        self._execute(f"ALTER TABLE {table.sql} RENAME TO {quote(name)}")

    def _is_constraint(self, error: BaseException) -> bool:
        return isinstance(error, IntegrityError | DataRefused)

    def _lock_for_merge(self, table: Table) -> None:
        if not self._is_sqlite:
            self._execute(f"LOCK TABLE {table.sql} IN SHARE ROW EXCLUSIVE MODE")

    def _row_names(self, table: Table) -> tuple[str, ...]:
        """Those of the two systems that are known."""
        del table
        return {"sqlite": ("rowid",), "postgresql": ("tableoid", "ctid")}.get(self._dialect.name, ())

    def _row_text(self, columns: Sequence[str], alias: str) -> str:
        """SQLite's own text of a number has not every digit."""
        if not self._is_sqlite:
            return super()._row_text(columns, alias)
        return " || ',' || ".join(f"quote({alias}.{quote(name)})" for name in columns)

    def _addition_problems(self, staging: Staging) -> Iterator[Problem]:
        """A row's name tells it from others while a transaction lasts, and not whether it was added."""
        problems = list(super()._addition_problems(staging))
        yield from problems
        if staging.is_append and "target.load_mode" not in {problem.field for problem in problems}:
            yield Problem(
                "target.load_mode", f"`{self._dialect.name}` does not tell added rows from others: use `merge`"
            )

    def _ordered(self, column: ColumnInfo, reference: str) -> str:
        """Text by its bytes, whatever the database's language."""
        is_postgres_text = column.type.kind == "string" and self._dialect.name == "postgresql"
        return f'{reference} COLLATE "C"' if is_postgres_text else reference

    def _identity(self, staging: StagingId, table: Table) -> str:
        """The name of a check that is always true, which goes with the table when it is renamed."""
        if self._find(table) is None:
            return ""
        with self._translated():
            checks = sa.inspect(self._connection()).get_check_constraints(table.name)
        names = [str(check["name"]) for check in checks if str(check["name"]).startswith(MARK)]
        return names[0] if names else ""

    def _fingerprint(self, table: Table) -> str:
        """The sum of the hashes of all rows, in any order."""
        columns = ", ".join(quote(name) for name in self._columns(table))
        total = 0
        with self._translated(), self._run(f"SELECT {columns} FROM {table.sql}", ()) as result:
            while rows := result.fetchmany(ROWS_AT_ONCE):
                for row in rows:
                    digest = hashlib.blake2b(repr(tuple(row)).encode(errors="surrogatepass"), digest_size=8)
                    total += int.from_bytes(digest.digest(), "big")
        return f"sum-blake2b:{total % 2**64:016x}"

    def _columns(self, table: Table) -> list[str]:
        return [column.name for column in self._described(table)]

    def _described(self, table: Table) -> tuple[ColumnInfo, ...]:
        with self._translated():
            found = sa.inspect(self._connection()).get_columns(table.name)
        return tuple(
            ColumnInfo(
                column["name"],
                reading_of(column["type"], self._dialect).type,
                not column["nullable"],
                repr(column["type"]).removesuffix("()"),
            )
            for column in found
        )


class _Enough(Exception):
    """Takes the probe's transaction back."""
