"""Adding to live relations on MySQL, which commits at every change of a definition: all tables that a merge or an append needs are made,
empty, before its transaction, and dropped after it. Within it there are rows alone, so that it takes place whole or not at all.

The transaction is serializable: whatever it reads stays as it is until it ends, also where a row would have to be inserted. What a crash
leaves of tables is empty, or belongs to a transaction that ended; it goes with the next attempt, the rollback or the seal.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pymysql

from pymigrate.engine.adapters.connectors.mysql_kept import kept_as_given, lossy_columns
from pymigrate.engine.adapters.connectors.mysql_rows import DIGEST_TYPE, ROWS_MARK, MysqlRows
from pymigrate.engine.adapters.connectors.target_declarations import Kind
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_merging import MADE
from pymigrate.engine.adapters.connectors.target_statements import (
    APPENDED,
    APPENDED_MARK,
    MERGED,
    MERGED_MARK,
    REPAIR_MARK,
    Publication,
    Table,
    quote,
)
from pymigrate.engine.domain.errors import DataRefused, MergeConflict, Problem, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import MergePolicy, Staging

KEY_INDEX = "pymigrate_key"
DUPLICATE_INDEX = 1061
UNINDEXED_ROWS_MAX = 1_000
NOTED_MARK = "__pymigrate_noted_"
BROUGHT_MARK = "__pymigrate_brought_"
_OWN_MARKS = (MERGED_MARK, APPENDED_MARK, ROWS_MARK, NOTED_MARK, REPAIR_MARK, BROUGHT_MARK)
_LONG = frozenset({"string", "json", "bytes", "uuid"})


class MysqlAdditions(MysqlRows):
    """What of a Target on MySQL merges and appends."""

    _version: str
    _due: list[Table] | None  # what is dropped at the end of the transaction that is open

    @contextmanager
    def _locking(self) -> Iterator[None]:
        """Transactions that lock what they read."""
        self._isolate("SERIALIZABLE")
        try:
            yield
        finally:
            # A connection that is lost took it along.
            with suppress(SystemUnavailable, pymysql.err.Error):
                self._isolate("READ COMMITTED")

    def _isolate(self, level: str) -> None:
        self._execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")

    def _lock_for_merge(self, table: Table) -> None:
        """Every row and every gap."""
        self._query(f"SELECT count(*) FROM {table.sql} FOR UPDATE")

    def _drop(self, table: Table) -> None:
        """After the transaction, where one is open."""
        if self._due is None:
            super()._drop(table)
        else:
            self._due.append(table)

    def _taking(self, staging: Staging, table: Table) -> Sequence[ColumnInfo]:
        return kept_as_given(staging, self._described(table))

    def _addition_problems(self, staging: Staging) -> Iterator[Problem]:
        yield from super()._addition_problems(staging)
        found = self._find(self._locate(staging.relation))
        if found is None or found.kind != "table":
            return
        if (engine := self._catalog.engine(found.table)) != "innodb":
            text = f"`{staging.relation}` is a table of {engine or 'no engine'}, which has no transactions: only InnoDB's are added to"
            yield Problem("target.relation", text)
        leading = {name.lower() for name in self._catalog.leading(found.table)}
        if staging.key and not leading & {name.lower() for name in staging.key}:
            some = f"(SELECT 1 FROM {found.table.sql} LIMIT {UNINDEXED_ROWS_MAX + 1}) AS q"
            if int(str(self._query(f"SELECT count(*) FROM {some}")[0][0])) > UNINDEXED_ROWS_MAX:
                text = f"no index of `{staging.relation}` begins with a column of ({', '.join(staging.key)})"
                yield Problem("key", f"{text}: MySQL would compare every row with every other; make one")
        is_json_text = self._version.startswith("MariaDB")
        yield from lossy_columns(staging, self._described(found.table), is_json_text=is_json_text)

    def _make_room(self, staging: Staging) -> None:
        """Makes what an addition needs, and empties what an earlier one left."""
        found = self._find(self._locate(staging.relation))
        target = self._made(staging) if found is None or self._is_made_for(staging, found.table) else found.table
        self._drop_own(staging)
        if staging.is_append:
            self._make_noted_table(self._own_table(staging, APPENDED_MARK))
            self._execute(f"CREATE TABLE {self._rows_table(staging).sql} LIKE {target.sql}")
            return
        source, conflicts = self._staging_table(staging), self._conflicts_table(staging)
        self._index_staging(staging, source)
        self._execute(f"CREATE TABLE {self._rows_table(staging).sql} LIKE {source.sql}")
        merged, keys = self._own_table(staging, MERGED_MARK), ", ".join(map(quote, staging.key))
        options = f"ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {self._collation}"
        self._execute(
            f"CREATE TABLE {merged.sql} (INDEX {KEY_INDEX} ({keys})) {options} AS {self._due_rows(staging, target)} LIMIT 0"
        )
        # Each as the wider of the two sides has it: texts as staged, everything else as it is there.
        columns = ", ".join(
            f"{'s' if column.type.kind in _LONG else 'm'}.{quote(column.name)}" for column in staging.columns
        )
        self._drop(conflicts)
        self._execute(
            f"CREATE TABLE {conflicts.sql} {options} AS SELECT 'existing' AS side, {columns} FROM {merged.sql} m, {source.sql} s LIMIT 0"
        )

    def _make_noted_table(self, noted: Table) -> None:
        self._execute(
            f"CREATE TABLE {noted.sql} (content {DIGEST_TYPE} NOT NULL PRIMARY KEY, appended BIGINT NOT NULL, "
            "present BIGINT NOT NULL) ENGINE=InnoDB"
        )

    def _index_staging(self, staging: Staging, table: Table) -> None:
        try:
            self._execute(f"CREATE INDEX {KEY_INDEX} ON {table.sql} ({', '.join(map(quote, staging.key))})")
        except pymysql.err.MySQLError as error:
            if not error.args or error.args[0] != DUPLICATE_INDEX:
                raise

    def _made(self, staging: Staging) -> Table:
        """The relation, made for the staging's rows; its comment says so, whatever happens next."""
        table = self._locate(staging.relation)
        self._create(staging, table)
        if not self._declarations(staging.id, Kind.BUILT):
            self._declare(staging, table)
            self._remember(staging, Kind.BUILT, ["1"])
        return table

    def _is_made_for(self, staging: Staging, table: Table) -> bool:
        return self._identity(staging.id, table) == f"PyMigrate {staging.id}"

    def _origin(self, staging: Staging, existing: Found | None) -> str:
        return MADE if existing is None or self._is_made_for(staging, existing.table) else ""

    def _add_all(self, stagings: Sequence[Staging]) -> list[Staging]:
        """Merges and appends in the transaction that is open; gives those whose relation was made for them."""
        made = []
        for staging in stagings:
            existing = self._existing(staging)
            self._add(staging, existing)
            if self._origin(staging, existing) == MADE:
                made.append(staging)
        return made

    def _make_noted(self, noted: Table) -> None:
        """It is made already."""

    def _append_rows(self, staging: Staging, source: Table, target: Table, noted: Table) -> None:
        """By way of a table like the relation, which gives them what the relation would, except for numbers that MySQL counts."""
        columns = ", ".join(quote(column.name) for column in staging.columns)
        given = {column.name.lower() for column in staging.columns}
        counted = [name for name, extra in self._catalog.extras(target).items() if "auto_increment" in extra.lower()]
        if counted and counted[0].lower() not in given:
            [(last,)] = self._query(f"SELECT max({quote(counted[0])}) FROM {target.sql}")
            self._execute(f"INSERT INTO {target.sql} ({columns}) SELECT {columns} FROM {source.sql}")
            self._note_rows(target, noted, "" if last is None else f"WHERE {quote(counted[0])} > {last}")
            self._execute(f"UPDATE {noted.sql} SET present = appended")
            return
        for name in counted:
            if self._query(f"SELECT 1 FROM {source.sql} WHERE {quote(name)} IS NULL LIMIT 1"):
                raise DataRefused(f"{staging.relation}: NULL in `{name}`, for which MySQL would count a number")
        rows, written = self._rows_table(staging), ", ".join(map(quote, self._written(target)))
        self._execute(f"INSERT INTO {rows.sql} ({columns}) SELECT {columns} FROM {source.sql}")
        self._note_rows(rows, noted, "")
        self._count_present(target, noted)
        self._execute(f"INSERT INTO {target.sql} ({written}) SELECT {written} FROM {rows.sql}")
        self._execute(f"UPDATE {noted.sql} SET present = present + appended")
        [(changed,)] = self._query(
            f"SELECT count(*) FROM {noted.sql} n LEFT JOIN ({self._texts(target, noted)}) c ON c.content = n.content "
            "WHERE coalesce(c.found, 0) <> n.present"
        )
        if changed:
            raise DataRefused(
                f"{staging.relation}: {changed} of the rows that were appended did not arrive as they are: a trigger of the relation "
                "changes them or keeps them out; drop it, or append to another relation"
            )
        self._clear(rows)

    def _count_present(self, target: Table, noted: Table) -> None:
        self._update(noted, "n", {"present": "c.found"}, f"({self._texts(target, noted)}) c", "c.content = n.content")

    def _note_present(self, target: Table, noted: Table) -> None:
        """Noted as they were appended."""

    def _end_adding(self, stagings: Sequence[Staging]) -> None:
        """Drops what only the transaction needed, and a table of conflicts that holds none."""
        for staging in stagings:
            self._drop(self._rows_table(staging))
            conflicts = self._conflicts_table(staging)
            if self._find(conflicts) is not None and not self._query(f"SELECT 1 FROM {conflicts.sql} LIMIT 1"):
                self._drop(conflicts)

    def _withdraw_adding(self, stagings: Sequence[Staging], error: Exception) -> None:
        """Leaves nothing of an attempt but its conflicts."""
        if isinstance(error, MergeConflict):
            with self._locking():
                self._again(lambda: self._record_all_conflicts(stagings))
        self._end_adding(stagings)
        for staging in stagings:
            self._drop_own(staging)
            self._unmake(staging)

    def _unmake(self, staging: Staging) -> None:
        """Drops a relation that was made for rows which did not come; somebody else's rows keep it."""
        found = self._find(self._locate(staging.relation))
        if staging.is_addition and found is not None and self._is_made_for(staging, found.table):
            if not self._query(f"SELECT 1 FROM {found.table.sql} LIMIT 1"):
                self._drop(found.table)
            self._forget_declarations(staging, Kind.BUILT)

    def _drop_own(self, staging: Staging) -> None:
        """Every table that an addition or a repair may have made beside the staging, but for conflicts."""
        tables = ", ".join(self._own_table(staging, mark).sql for mark in _OWN_MARKS)
        self._execute(f"DROP TABLE IF EXISTS {tables}")

    def _room_for_undoing(self, staging: Staging, row: Publication) -> None:
        table = Table(row.schema, row.name)
        if row.identity == APPENDED and self._find(table) is not None:
            rows = self._rows_table(staging)
            self._drop(rows)
            self._execute(f"CREATE TABLE {rows.sql} LIKE {table.sql}")

    def _check_addition(self, staging: Staging, row: Publication) -> None:
        check = self._check_merge if row.identity == MERGED else self._check_append
        check(staging, row)

    def _undo_addition(self, staging: Staging, row: Publication) -> None:
        undo = self._unmerge if row.identity == MERGED else self._take_out
        undo(staging, row)

    def _drop_after_undoing(self, staging: Staging, row: Publication | None) -> None:
        """What a crash left."""
        self._drop_own(staging)
        self._drop(self._staging_table(staging))
        if row is not None and row.identity == MERGED:
            self._drop(self._conflicts_table(staging))
        if staging.merge is not None:
            self._end_adding([staging])
        if row is None or row.original == MADE:
            self._unmake(staging)

    def _drop_sealed(self, staging: Staging) -> None:
        self._drop_own(staging)
        self._drop(self._staging_table(staging))
        if staging.merge is not None and staging.merge is not MergePolicy.QUARANTINE:
            self._drop(self._conflicts_table(staging))
