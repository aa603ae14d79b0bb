"""Merging in SQL targets: rows into a live relation by key, with everything that the way back needs, in one transaction.

The staging stays until the merge is sealed: it is what was written. Beside it lies what was merged: a row for each key that was inserted
or overwritten, with the columns as they were before. Undoing compares the first with what is there now and puts the second back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pymigrate.engine.adapters.connectors.target_compatibility import key_differences, merge_notes, merge_problems
from pymigrate.engine.adapters.connectors.target_declarations import SqlDeclarations
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_statements import (
    MERGED,
    MERGED_MARK,
    PUBLISHED,
    STAGING_MARK,
    Publication,
    Table,
    quote,
)
from pymigrate.engine.adapters.connectors.target_versions import SqlVersions
from pymigrate.engine.domain.errors import CannotUndo, DataRefused, MergeConflict, PermanentError, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import MergePolicy, Staging

ACTION = quote("__pymigrate_action")
INSERTED = "inserted"
OVERWRITTEN = "overwritten"
MADE = "made"
EXAMPLES_MAX = 10


class SqlMerging(SqlVersions, SqlDeclarations):
    """What of a Target in SQL merges rows."""

    def _merge_in(self, staging: Staging, existing: Found | None) -> None:
        """Merges the staging in and journals it, in the transaction that is open. Raises MergeConflict and DataRefused."""
        target = self._locate(staging.relation) if existing is None else existing.table
        self._execute(self.statements.touch, (staging.id,))
        with self._refusing(staging, DataRefused, "can't be merged in"):
            if existing is None:
                self._create(staging, target)
                self._declare(staging, target)
            self._lock_for_merge(target)
            self._clear(self._conflicts_table(staging))
            contested = self._settle_versions(staging)
            merged = self._note_merge(staging, target)
            conflicts = self._keep_conflicts(staging, merged)
            self._decide(staging, merged, conflicts)
            self._write_merge(staging, target, merged)
        original = self._origin(staging, existing)
        rows = self._count(self._staging_table(staging))
        values = (
            PUBLISHED,
            target.schema,
            target.name,
            original,
            merged.name,
            MERGED,
            rows,
            f"conflicts:{conflicts + contested}",
        )
        self._execute(self.statements.journal, (staging.id, *values))

    def _origin(self, staging: Staging, existing: Found | None) -> str:
        """MADE where the relation is there only because of this staging."""
        del staging
        return MADE if existing is None else ""

    def _record_conflicts(self, staging: Staging) -> None:
        """Keeps the conflicts of a merge that failed on them, for somebody to look at; in a transaction of its own."""
        existing = self._find(self._locate(staging.relation))
        if existing is not None and self._find(self._staging_table(staging)) is not None:
            self._clear(self._conflicts_table(staging))
            merged = self._note_merge(staging, existing.table)
            self._keep_conflicts(staging, merged)
            self._drop(merged)

    def _addition_problems(self, staging: Staging) -> Iterator[Problem]:
        """What stands against rows being merged in or appended, before one is copied."""
        if staging.merge and not staging.key:
            yield Problem("key", "a merge needs a key: name the columns that tell one row from another")
        yield from self._order_problems(staging)
        found = self._find(self._locate(staging.relation))
        table = found.table if found is not None and found.kind == "table" else None
        if staging.is_append and not self._tells_rows(table):
            text = f"nothing tells one row of `{staging.relation}` from another here: use `merge`, or another relation"
            yield Problem("target.load_mode", text)
        if table is None:
            return
        known = self._columns(table)
        folded = {name.lower() if self.folds_case else name for name in known}
        for column in staging.columns:
            if (column.name.lower() if self.folds_case else column.name) not in folded:
                text = f"`{staging.relation}` has no column `{column.name}`{nearest(column.name, known)}"
                yield Problem(f"source.columns.{column.name}", text)
        yield from merge_problems(staging, self._taking(staging, table), folds_case=self.folds_case)

    def _taking(self, staging: Staging, table: Table) -> Sequence[ColumnInfo]:
        """The columns of a table, as rows of the staging find them."""
        del staging
        return self._described(table)

    def _merge_notes(self, staging: Staging, existing: Found) -> Iterator[str]:
        """What differs without harm."""
        yield from merge_notes(staging, self._taking(staging, existing.table), folds_case=self.folds_case)
        yield from key_differences(staging, self._unique_columns(existing.table))

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
            f"SELECT {keys} FROM {merged.sql} m LEFT JOIN {target.sql} t ON {self._same_key(staging, 't', 'm')} "
            f"LEFT JOIN {written.sql} s ON {self._same_key(staging, 's', 'm')} WHERE {is_other} LIMIT {EXAMPLES_MAX}"
        )
        if changed:
            raise CannotUndo(
                f"{staging.relation} was written to since: rows with the keys {spelled(changed)} no longer are what was merged"
            )

    def _unmerge(self, staging: Staging, row: Publication) -> None:
        """Puts back what was overwritten and takes out what was inserted."""
        merged, target, written = self._merge_tables(staging, row)
        self._lock_for_merge(target)
        with self._refusing(staging, CannotUndo, "is referred to by others and can't be taken back"):
            if others := _others(staging):
                values = {quote(column): f"m.{quote(column)}" for column in others}
                same = f"{self._same_key(staging, 't', 'm')} AND m.{ACTION} = '{OVERWRITTEN}'"
                self._update(target, "t", values, f"{merged.sql} m", same)
            keys = ", ".join(map(quote, staging.key))
            inserted = f"SELECT {keys} FROM {merged.sql} WHERE {ACTION} = '{INSERTED}'"
            self._delete_keys(staging, target, "t", inserted)
            if row.original == MADE and not self._query(f"SELECT 1 FROM {target.sql} LIMIT 1"):
                self._drop(target)
        for table in (merged, written, self._conflicts_table(staging)):
            self._drop(table)

    def _seal_merge(self, staging: Staging, row: Publication) -> None:
        merged, _, written = self._merge_tables(staging, row)
        for table in (merged, written):
            self._drop(table)
        if staging.merge is not MergePolicy.QUARANTINE:
            self._drop(self._conflicts_table(staging))

    def _note_merge(self, staging: Staging, target: Table) -> Table:
        """Makes the table of what is to be inserted and overwritten, with the columns as they are now."""
        merged = self._own_table(staging, MERGED_MARK)
        self._fill(merged, self._due_rows(staging, target))
        return merged

    def _due_rows(self, staging: Staging, target: Table) -> str:
        source = self._staging_table(staging)
        columns = ", ".join(f"{'s' if name in staging.key else 't'}.{quote(name)}" for name in _names(staging))
        first = f"t.{quote(staging.key[0])} IS NULL"
        is_due = " OR ".join([first, *self._differences(staging, "t", "s")])
        return (
            f"SELECT {columns}, CASE WHEN {first} THEN '{INSERTED}' ELSE '{OVERWRITTEN}' END "
            f"AS {ACTION} FROM {source.sql} s LEFT JOIN {target.sql} t ON {self._same_key(staging, 't', 's')} WHERE {is_due}"
        )

    def _keep_conflicts(self, staging: Staging, merged: Table) -> int:
        """Both rows of each conflict, in a table of their own where there is any; how many there are."""
        [(found,)] = self._query(f"SELECT count(*) FROM {merged.sql} WHERE {ACTION} = '{OVERWRITTEN}'")
        if conflicts := int(str(found)):
            of = {side: ", ".join(f"{side}.{quote(name)}" for name in _names(staging)) for side in ("m", "s")}
            joined = f"{self._staging_table(staging).sql} s JOIN {merged.sql} m ON {self._same_key(staging, 's', 'm')}"
            for side, columns, rows in (
                ("existing", of["m"], f"{merged.sql} m"),
                ("incoming", of["s"], joined),
            ):
                self._keep_aside(
                    staging, f"SELECT '{side}' AS side, {columns} FROM {rows} WHERE m.{ACTION} = '{OVERWRITTEN}'"
                )
        return conflicts

    def _decide(self, staging: Staging, merged: Table, conflicts: int) -> None:
        """Leaves of what would be overwritten what the policy lets be. Raises MergeConflict where it does not settle it."""
        if not conflicts or staging.merge is MergePolicy.OVERWRITE:
            return
        if staging.merge is MergePolicy.FAIL:
            raise self._conflict(staging, merged, conflicts)
        stays = f"{ACTION} = '{OVERWRITTEN}'"
        if staging.merge is MergePolicy.LATEST:
            there, comes = self._order_of(staging, "m"), self._order_of(staging, "s")
            joined = (
                f"FROM {merged.sql} m JOIN {self._staging_table(staging).sql} s ON {self._same_key(staging, 's', 'm')}"
            )
            keys = ", ".join(f"m.{quote(name)}" for name in staging.key)
            equal = f"{joined} WHERE m.{ACTION} = '{OVERWRITTEN}' AND NOT ({self._is_other(comes, there)})"
            [(ties,)] = self._query(f"SELECT count(*) {equal}")
            if ties:
                found = self._query(f"SELECT {keys} {equal} ORDER BY {keys} LIMIT {EXAMPLES_MAX}")
                raise self._tie(staging, int(str(ties)), found)
            older = (
                f"SELECT {keys} {joined} WHERE m.{ACTION} = '{OVERWRITTEN}' AND ({comes} IS NULL OR {comes} < {there})"
            )
            self._delete_keys(staging, merged, "m", older)
            return
        self._execute(f"DELETE FROM {merged.sql} WHERE {stays}")

    def _tie(self, staging: Staging, rows: int, keys: Sequence[tuple[object, ...]]) -> MergeConflict:
        return MergeConflict(
            f"{staging.relation} holds {rows:,} rows with the same key, the same `{staging.order_column}` and other content, such as "
            f"{spelled(keys)}: none of the two is the later one; both sides of each are in `{self._conflicts_table(staging).name}`; "
            "mend one of them, or choose another conflict policy",
            field="conflict_policy",
        )

    def _write_merge(self, staging: Staging, target: Table, merged: Table) -> None:
        columns = ", ".join(map(quote, _names(staging)))
        of_source = ", ".join(f"s.{quote(name)}" for name in _names(staging))
        joined = f"FROM {self._staging_table(staging).sql} s JOIN {merged.sql} m ON {self._same_key(staging, 's', 'm')}"
        if others := _others(staging):
            values = {quote(name): f"w.{quote(name)}" for name in others}
            written = f"(SELECT {of_source} {joined} WHERE m.{ACTION} = '{OVERWRITTEN}') w"
            self._update(target, "t", values, written, self._same_key(staging, "t", "w"))
        self._execute(
            f"INSERT INTO {target.sql} ({columns}) SELECT {of_source} {joined} WHERE m.{ACTION} = '{INSERTED}'"
        )

    def _conflict(self, staging: Staging, merged: Table, conflicts: int) -> MergeConflict:
        keys = ", ".join(map(quote, staging.key))
        found = self._query(
            f"SELECT {keys} FROM {merged.sql} WHERE {ACTION} = '{OVERWRITTEN}' ORDER BY {keys} LIMIT {EXAMPLES_MAX}"
        )
        return MergeConflict(
            f"{staging.relation} holds {conflicts:,} rows with the same key and other content, such as {spelled(found)}: "
            f"both sides of each are in `{self._conflicts_table(staging).name}`; mend one of them, or choose another conflict policy",
            field="conflict_policy",
        )

    def _differences(self, staging: Staging, one: str, other: str) -> list[str]:
        """Conditions of which one holds where two rows differ in a column outside the key."""
        by_name = {column.name: column for column in staging.columns}
        return [
            self._is_other(
                self._compared(by_name[name], f"{one}.{quote(name)}"),
                self._compared(by_name[name], f"{other}.{quote(name)}"),
            )
            for name in _others(staging)
        ]

    def _merge_tables(self, staging: Staging, row: Publication) -> tuple[Table, Table, Table]:
        """What was merged, into what, and what was written."""
        return Table(row.schema, row.kept), Table(row.schema, row.name), self._staging_table(staging)

    def _staging_table(self, staging: Staging) -> Table:
        return self._own_table(staging, STAGING_MARK)

    def _count(self, table: Table) -> int:
        [(rows,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        return int(str(rows))

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


def spelled(rows: Sequence[tuple[object, ...]]) -> str:
    """Key values as people read them."""
    return ", ".join(str(row[0]) if len(row) == 1 else str(row) for row in rows)
