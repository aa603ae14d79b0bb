"""Merging in SQL targets: rows into a live relation by key, with everything that the way back needs, in one transaction.

The staging stays until the merge is sealed: it is what was written. Beside it lies what was merged: a row for each key that was inserted
or overwritten, with the columns as they were before. Undoing compares the first with what is there now and puts the second back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pymigrate.engine.adapters.connectors.target_dialect import Found, SqlDialect
from pymigrate.engine.adapters.connectors.target_statements import (
    CONFLICTS_MARK,
    MERGED,
    MERGED_MARK,
    PUBLISHED,
    STAGING_MARK,
    Publication,
    Table,
    marked,
    quote,
)
from pymigrate.engine.domain.errors import CannotUndo, DataRefused, MergeConflict, PermanentError, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.connector import MergePolicy, Staging

ACTION = quote("__pymigrate_action")
INSERTED = "inserted"
OVERWRITTEN = "overwritten"
MADE = "made"
EXAMPLES_MAX = 10


class SqlMerging(SqlDialect):
    """What of a Target in SQL merges rows."""

    def _merge_in(self, staging: Staging, existing: Found | None) -> None:
        """Merges the staging in and journals it, in the transaction that is open. Raises MergeConflict and DataRefused."""
        target = self._locate(staging.relation) if existing is None else existing.table
        self._execute(self.statements.touch, (staging.id,))
        with self._refusing(staging, DataRefused, "can't be merged in"):
            if existing is None:
                self._create(staging, target)
                self._before_swap(staging, target, None)
            self._lock_for_merge(target)
            merged = self._note_merge(staging, target)
            conflicts = self._keep_conflicts(staging, merged)
            if conflicts and staging.merge is MergePolicy.FAIL:
                raise self._conflict(staging, merged, conflicts)
            if staging.merge is MergePolicy.KEEP_EXISTING:
                self._execute(f"DELETE FROM {merged.sql} WHERE {ACTION} = '{OVERWRITTEN}'")
            self._write_merge(staging, target, merged)
        original = MADE if existing is None else ""
        rows = self._count(self._staging_table(staging))
        values = (PUBLISHED, target.schema, target.name, original, merged.name, MERGED, rows, f"conflicts:{conflicts}")
        self._execute(self.statements.journal, (staging.id, *values))

    def _record_conflicts(self, staging: Staging) -> None:
        """Keeps the conflicts of a merge that failed on them, for somebody to look at; in a transaction of its own."""
        existing = self._find(self._locate(staging.relation))
        if existing is not None and self._find(self._staging_table(staging)) is not None:
            merged = self._note_merge(staging, existing.table)
            self._keep_conflicts(staging, merged)
            self._drop(merged)

    def _merge_problems(self, staging: Staging) -> Iterator[Problem]:
        """What stands against a merge before a row is copied."""
        if not staging.key:
            yield Problem("key", "a merge needs a key: name the columns that tell one row from another")
        found = self._find(self._locate(staging.relation))
        if found is None or found.kind != "table":
            return
        known = self._columns(found.table)
        folded = {name.lower() if self.folds_case else name for name in known}
        for column in staging.columns:
            if (column.name.lower() if self.folds_case else column.name) not in folded:
                text = f"`{staging.relation}` has no column `{column.name}`{nearest(column.name, known)}"
                yield Problem(f"source.columns.{column.name}", text)

    def _check_merge(self, staging: Staging, row: Publication) -> None:
        """Raises CannotUndo unless every row that was merged still is as it was written."""
        merged, target, written = self._merge_tables(staging, row)
        for table in (merged, target, written):
            if self._find(table) is None:
                raise CannotUndo(
                    f"`{table.name}` is gone: what was merged into {staging.relation} can't be told any more"
                )
        keys = ", ".join(f"m.{quote(column)}" for column in staging.key)
        is_other = " OR ".join([f"t.{quote(staging.key[0])} IS NULL", *self._differences(staging, "t", "s")])
        changed = self._query(
            f"SELECT {keys} FROM {merged.sql} m LEFT JOIN {target.sql} t ON {_same_key(staging, 't', 'm')} "
            f"LEFT JOIN {written.sql} s ON {_same_key(staging, 's', 'm')} WHERE {is_other} LIMIT {EXAMPLES_MAX}"
        )
        if changed:
            raise CannotUndo(
                f"{staging.relation} was written to since: rows with the keys {_spelled(changed)} no longer are what was merged"
            )

    def _unmerge(self, staging: Staging, row: Publication) -> None:
        """Puts back what was overwritten and takes out what was inserted."""
        merged, target, written = self._merge_tables(staging, row)
        self._lock_for_merge(target)
        with self._refusing(staging, CannotUndo, "is referred to by others and can't be taken back"):
            if others := _others(staging):
                columns = ", ".join(f"{quote(column)} = m.{quote(column)}" for column in others)
                self._execute(
                    f"UPDATE {target.sql} AS t SET {columns} FROM {merged.sql} m WHERE {_same_key(staging, 't', 'm')} "
                    f"AND m.{ACTION} = '{OVERWRITTEN}'"
                )
            keys = ", ".join(map(quote, staging.key))
            self._execute(
                f"DELETE FROM {target.sql} WHERE ({keys}) IN (SELECT {keys} FROM {merged.sql} WHERE {ACTION} = '{INSERTED}')"
            )
            if row.original == MADE and not self._query(f"SELECT 1 FROM {target.sql} LIMIT 1"):
                self._drop(target)
        for table in (merged, written, self._conflicts_table(staging)):
            self._drop(table)

    def _seal_merge(self, staging: Staging, row: Publication) -> None:
        merged, _, written = self._merge_tables(staging, row)
        for table in (merged, written, self._conflicts_table(staging)):
            self._drop(table)

    def _note_merge(self, staging: Staging, target: Table) -> Table:
        """Makes the table of what is to be inserted and overwritten, with the columns as they are now."""
        merged, source = self._own_table(staging, MERGED_MARK), self._staging_table(staging)
        columns = ", ".join(f"{'s' if name in staging.key else 't'}.{quote(name)}" for name in _names(staging))
        first = f"t.{quote(staging.key[0])} IS NULL"
        is_due = " OR ".join([first, *self._differences(staging, "t", "s")])
        self._execute(
            f"CREATE TABLE {merged.sql} AS SELECT {columns}, CASE WHEN {first} THEN '{INSERTED}' ELSE '{OVERWRITTEN}' END "
            f"AS {ACTION} FROM {source.sql} s LEFT JOIN {target.sql} t ON {_same_key(staging, 't', 's')} WHERE {is_due}"
        )
        return merged

    def _keep_conflicts(self, staging: Staging, merged: Table) -> int:
        """Both rows of each conflict, in a table of their own where there is any; how many there are."""
        [(found,)] = self._query(f"SELECT count(*) FROM {merged.sql} WHERE {ACTION} = '{OVERWRITTEN}'")
        conflicts = int(str(found))
        table = self._conflicts_table(staging)
        self._drop(table)
        if conflicts:
            of = {side: ", ".join(f"{side}.{quote(name)}" for name in _names(staging)) for side in ("m", "s")}
            self._execute(
                f"CREATE TABLE {table.sql} AS SELECT 'existing' AS side, {of['m']} FROM {merged.sql} m "
                f"WHERE m.{ACTION} = '{OVERWRITTEN}' UNION ALL SELECT 'incoming', {of['s']} "
                f"FROM {self._staging_table(staging).sql} s JOIN {merged.sql} m ON {_same_key(staging, 's', 'm')} "
                f"WHERE m.{ACTION} = '{OVERWRITTEN}'"
            )
        return conflicts

    def _write_merge(self, staging: Staging, target: Table, merged: Table) -> None:
        columns = ", ".join(map(quote, _names(staging)))
        of_source = ", ".join(f"s.{quote(name)}" for name in _names(staging))
        joined = f"FROM {self._staging_table(staging).sql} s JOIN {merged.sql} m ON {_same_key(staging, 's', 'm')}"
        if others := _others(staging):
            changes = ", ".join(f"{quote(name)} = w.{quote(name)}" for name in others)
            self._execute(
                f"UPDATE {target.sql} AS t SET {changes} FROM (SELECT {of_source} {joined} WHERE m.{ACTION} = '{OVERWRITTEN}') w "
                f"WHERE {_same_key(staging, 't', 'w')}"
            )
        self._execute(
            f"INSERT INTO {target.sql} ({columns}) SELECT {of_source} {joined} WHERE m.{ACTION} = '{INSERTED}'"
        )

    def _conflict(self, staging: Staging, merged: Table, conflicts: int) -> MergeConflict:
        keys = ", ".join(map(quote, staging.key))
        found = self._query(
            f"SELECT {keys} FROM {merged.sql} WHERE {ACTION} = '{OVERWRITTEN}' ORDER BY {keys} LIMIT {EXAMPLES_MAX}"
        )
        return MergeConflict(
            f"{staging.relation} holds {conflicts:,} rows with the same key and other content, such as {_spelled(found)}: "
            f"both sides of each are in `{self._conflicts_table(staging).name}`; mend one of them, or choose another conflict policy",
            field="conflict_policy",
        )

    def _differences(self, staging: Staging, one: str, other: str) -> list[str]:
        """Conditions of which one holds where two rows differ in a column outside the key."""
        by_name = {column.name: column for column in staging.columns}
        return [
            f"{self._compared(by_name[name], f'{one}.{quote(name)}')} {self.distinct} "
            f"{self._compared(by_name[name], f'{other}.{quote(name)}')}"
            for name in _others(staging)
        ]

    def _merge_tables(self, staging: Staging, row: Publication) -> tuple[Table, Table, Table]:
        """What was merged, into what, and what was written."""
        return Table(row.schema, row.kept), Table(row.schema, row.name), self._staging_table(staging)

    def _conflicts_table(self, staging: Staging) -> Table:
        return self._own_table(staging, CONFLICTS_MARK)

    def _staging_table(self, staging: Staging) -> Table:
        return self._own_table(staging, STAGING_MARK)

    def _own_table(self, staging: Staging, mark: str) -> Table:
        table = self._locate(staging.relation)
        return Table(table.schema, marked(table.name, mark, staging.id, self.name_bytes_max))

    def _count(self, table: Table) -> int:
        [(rows,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        return int(str(rows))

    def _drop(self, table: Table) -> None:
        self._execute(f"DROP TABLE IF EXISTS {table.sql}")

    @contextmanager
    def _refusing(self, staging: Staging, kind: type[PermanentError], what: str) -> Iterator[None]:
        """What the system's own constraints and types forbid is a person's matter, and not tried again."""
        try:
            yield
        except Exception as error:
            cause = error if self._is_constraint(error) else error.__cause__
            if cause is None or not self._is_constraint(cause):
                raise
            raise kind(f"{staging.relation}: a row {what}: {str(cause).splitlines()[0]}") from error


def _names(staging: Staging) -> list[str]:
    return [column.name for column in staging.columns]


def _others(staging: Staging) -> list[str]:
    return [name for name in _names(staging) if name not in staging.key]


def _same_key(staging: Staging, one: str, other: str) -> str:
    return " AND ".join(f"{one}.{quote(name)} = {other}.{quote(name)}" for name in staging.key)


def _spelled(rows: Sequence[tuple[object, ...]]) -> str:
    return ", ".join(str(row[0]) if len(row) == 1 else str(row) for row in rows)
