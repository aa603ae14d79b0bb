"""Appending in SQL targets: rows are added to a live relation, and a rollback takes out exactly those, with or without a key.

What was added is noted by the text of whole rows, as the relation stores them. Where the system keeps something that tells a row from an
older one with the same content (PostgreSQL the transaction that wrote it, SQLite its rowid), that is part of the text, and a row that was
changed since is never mistaken for another. Where it keeps nothing (DuckDB), rows of equal content are one row, so many times: besides
how often a text was added it is noted how often it was there then, and fewer than that mean a change (what is taken out of an earlier
append is counted off). Appends to a relation are numbered for that.
"""

from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_merging import EXAMPLES_MAX, MADE, SqlMerging, spelled
from pymigrate.engine.adapters.connectors.target_statements import (
    APPENDED,
    APPENDED_MARK,
    PUBLISHED,
    Publication,
    Table,
    quote,
)
from pymigrate.engine.domain.errors import CannotUndo, DataRefused, MergeConflict
from pymigrate.engine.ports.staging import Staging


class SqlAppending(SqlMerging):
    """What of a Target in SQL appends rows."""

    def _append(self, staging: Staging, existing: Found | None) -> None:
        """Adds the staging's rows and journals it, in the transaction that is open. Raises MergeConflict and DataRefused."""
        source = self._staging_table(staging)
        target = self._locate(staging.relation) if existing is None else existing.table
        noted = self._own_table(staging, APPENDED_MARK)
        self._execute(self.statements.touch, (staging.id,))
        with self._refusing(staging, DataRefused, "can't be appended"):
            if existing is None:
                self._create(staging, target)
                self._declare(staging, target)
            self._lock_for_merge(target)
            self._refuse_present_keys(staging, source, target)
            self._make_noted(noted)
            self._append_rows(staging, source, target, noted)
        rows = self._count(source)
        [(added,)] = self._query(f"SELECT coalesce(sum(appended), 0) FROM {noted.sql}")
        if int(str(added)) != rows:
            raise DataRefused(
                f"{staging.relation}: {rows:,} rows were appended and {int(str(added)):,} arrived: a trigger or a rule of the "
                "relation keeps some out; switch it off, or append to another relation"
            )
        self._note_present(target, noted)
        original = self._origin(staging, existing)
        number = len(self._query(self.statements.appends, (target.schema, target.name))) + 1
        values = (PUBLISHED, target.schema, target.name, original, noted.name, APPENDED, rows, f"append:{number}")
        self._execute(self.statements.journal, (staging.id, *values))

    def _make_noted(self, noted: Table) -> None:
        """Makes the table of texts: of which there were added how many, and how many there were then."""
        self._execute(
            f"CREATE TABLE {noted.sql} (content TEXT NOT NULL, appended BIGINT NOT NULL, present BIGINT NOT NULL)"
        )

    def _refuse_present_keys(self, staging: Staging, source: Table, target: Table) -> None:
        if not staging.key:
            return
        keys = ", ".join(f"s.{quote(name)}" for name in staging.key)
        present = (
            f"FROM {source.sql} s WHERE EXISTS (SELECT 1 FROM {target.sql} t WHERE {self._same_key(staging, 't', 's')})"
        )
        [(rows,)] = self._query(f"SELECT count(*) {present}")
        if rows:
            found = self._query(f"SELECT {keys} {present} ORDER BY {keys} LIMIT {EXAMPLES_MAX}")
            raise MergeConflict(
                f"{staging.relation} holds {int(str(rows)):,} of the keys already that were to be appended, such as {spelled(found)}: "
                "nothing is appended; take those rows out of the source, or use load mode `merge`",
                field="target.load_mode",
            )

    def _note_present(self, target: Table, noted: Table) -> None:
        """How often each text is in the relation now; what tells its rows apart has only what was added."""
        if self.tells_rows_apart:
            self._execute(f"UPDATE {noted.sql} SET present = appended")
            return
        self._update(noted, "n", {"present": "c.found"}, f"({self._texts(target, noted)}) c", "c.content = n.content")

    def _check_append(self, staging: Staging, row: Publication) -> None:
        """Raises CannotUndo unless every row that was appended is there as it was."""
        noted, target = Table(row.schema, row.kept), Table(row.schema, row.name)
        for table in (noted, target):
            if self._find(table) is None:
                raise CannotUndo(
                    f"`{table.name}` is gone: what was appended to {staging.relation} can't be told any more"
                )
        self._lock_for_merge(target)
        [(changed,)] = self._query(
            f"SELECT count(*) FROM {noted.sql} n LEFT JOIN ({self._texts(target, noted)}) c ON c.content = n.content "
            "WHERE coalesce(c.found, 0) < n.present"
        )
        if changed:
            raise self._changed(staging, row)

    def _take_out(self, staging: Staging, row: Publication) -> None:
        """Deletes what was appended, and nothing else."""
        noted, target = Table(row.schema, row.kept), Table(row.schema, row.name)
        with self._refusing(staging, CannotUndo, "is referred to by others and can't be taken back"):
            if self._delete_noted(staging, target, noted, self._appended_text(target, "t")) != row.rows:
                raise self._changed(staging, row)
            self._count_off(row, noted)
            if row.original == MADE and not self._query(f"SELECT 1 FROM {target.sql} LIMIT 1"):
                self._drop(target)
        self._drop_appended(staging, row)

    def _delete_noted(self, staging: Staging, target: Table, noted: Table, text: str) -> int:
        """Deletes as many rows of each noted text as were added, and returns how many."""
        del staging
        names = self._row_names(target)
        named = ", ".join(f"{name} AS pymigrate_{at}" for at, name in enumerate(names))
        own = ", ".join(f"pymigrate_{at}" for at, _ in enumerate(names))
        newest = ", ".join(f"pymigrate_{at} DESC" for at, _ in enumerate(names))
        numbered = (
            f"SELECT {own}, content, row_number() OVER (PARTITION BY content ORDER BY {newest}) AS pymigrate_number "
            f"FROM (SELECT {named}, {text} AS content FROM {target.sql} t) r WHERE content IN (SELECT content FROM {noted.sql})"
        )
        return self._execute(
            f"DELETE FROM {target.sql} WHERE ({', '.join(names)}) IN (SELECT {own} FROM ({numbered}) d "
            f"JOIN {noted.sql} n ON n.content = d.content WHERE d.pymigrate_number <= n.appended)"
        )

    def _count_off(self, row: Publication, noted: Table) -> None:
        """What was noted of later appends counted the rows that are gone now."""
        if self.tells_rows_apart:
            return
        for state, kept, fingerprint in self._query(self.statements.appends, (row.schema, row.name)):
            if state == PUBLISHED and _number(str(fingerprint)) > _number(row.fingerprint):
                later, fewer = Table(row.schema, str(kept)), {"present": "o.present - n.appended"}
                self._update(later, "o", fewer, f"{noted.sql} n", "n.content = o.content")

    def _drop_appended(self, staging: Staging, row: Publication) -> None:
        """Drops what the way back needs."""
        for table in (Table(row.schema, row.kept), self._staging_table(staging)):
            self._drop(table)

    def _texts(self, target: Table, noted: Table) -> str:
        """How often each noted text is in the relation."""
        return (
            f"SELECT content, count(*) AS found FROM (SELECT {self._appended_text(target, 't')} AS content FROM {target.sql} t) q "
            f"WHERE content IN (SELECT content FROM {noted.sql}) GROUP BY content"
        )

    def _changed(self, staging: Staging, row: Publication) -> CannotUndo:
        return CannotUndo(
            f"{staging.relation} was written to since: not all of the {row.rows:,} rows that were appended are there as they were; "
            "nothing is taken out"
        )


def _number(fingerprint: str) -> int:
    return int(fingerprint.partition(":")[2])
