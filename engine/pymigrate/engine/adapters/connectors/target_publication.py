"""Publication of SQL targets, and the way back: renames and a journal row in one transaction."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pymigrate.engine.adapters.connectors.target_dialect import Conflict, Found, SqlDialect
from pymigrate.engine.adapters.connectors.target_statements import (
    KEPT_MARK,
    PUBLISHED,
    ROLLED_BACK,
    STAGING_MARK,
    Publication,
    Table,
    marked,
)
from pymigrate.engine.domain.errors import CannotUndo, FailedPrecondition, InvalidDefinition, Problem, TargetOccupied
from pymigrate.engine.ports.connector import Staging, StagingId

ATTEMPTS_MAX = 50
Result = TypeVar("Result")


class SqlPublications(SqlDialect):
    """What of a Target in SQL moves whole tables."""

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Swaps all of them in, in one transaction, and journals it; nothing for those that are published already."""

        def swap() -> None:
            waiting = [staging for staging in stagings if self._state(staging) != PUBLISHED]
            for staging in waiting:
                if self._state(staging) == ROLLED_BACK or self._find(self._staging_table(staging)) is None:
                    raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
            existing = [self._existing(staging) for staging in waiting]
            for staging, found in zip(waiting, existing, strict=True):
                self._swap_in(staging, found)

        self._again(swap)

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Undoes all of them in one transaction, and leaves a journal row that keeps late lanes and publications out.

        A published relation counts as unchanged while it is the very table that was published (`_identity`), holds as many rows, and
        has the same fingerprint over its content, where the system's version still computes the same (`_fingerprint`)."""

        def undo() -> None:
            published = [(staging, row) for staging in stagings if (row := self._publication(staging.id))]
            for staging, row in published:
                if row.state == PUBLISHED:
                    self._check_unchanged(staging, row)
            for staging in reversed(stagings):
                self._take_back(staging, self._publication(staging.id))

        if self._has_own_relations():
            self._again(undo)

    def _again(self, work: Callable[[], Result]) -> Result:
        """The work in a transaction, again after a conflict; bounded."""
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                with self._transaction():
                    return work()
            except Conflict:
                self._wait()
        with self._transaction():
            return work()

    def _staging_table(self, staging: Staging) -> Table:
        table = self._locate(staging.relation)
        return Table(table.schema, marked(table.name, STAGING_MARK, staging.id, self.name_bytes_max))

    def _count(self, table: Table) -> int:
        [(rows,)] = self._query(f"SELECT count(*) FROM {table.sql}")
        return int(str(rows))

    def _publication(self, staging: StagingId) -> Publication | None:
        rows = self._query(self.statements.find_publication, (staging,)) if self._has_own_relations() else []
        if not rows:
            return None
        state, schema, name, original, kept, identity, count, fingerprint = rows[0]
        return Publication(
            state=str(state),
            schema=str(schema),
            name=str(name),
            original=str(original),
            kept=str(kept),
            identity=str(identity),
            rows=int(str(count)),
            fingerprint=str(fingerprint),
        )

    def _state(self, staging: Staging) -> str:
        publication = self._publication(staging.id)
        return publication.state if publication else ""

    def _existing(self, staging: Staging) -> Found | None:
        """What is in the relation's place. Raises where it must not be replaced."""
        found = self._find(self._locate(staging.relation))
        if found is None:
            return None
        if found.kind != "table":
            problem = Problem(
                "target.relation", f"`{staging.relation}` is a {found.kind}: name a table, or one that is to be made"
            )
            raise InvalidDefinition((problem,))
        if not staging.is_replace and self._query(f"SELECT 1 FROM {found.table.sql} LIMIT 1"):
            raise TargetOccupied(
                f"{staging.relation} holds rows: name another relation, or let the dataset replace them",
                field="target.relation",
            )
        return found

    def _swap_in(self, staging: Staging, existing: Found | None) -> None:
        source, table = self._staging_table(staging), self._locate(staging.relation)
        self._execute(self.statements.touch, (staging.id,))
        self._before_swap(staging, source, existing)
        rows, fingerprint = self._count(source), self._fingerprint(source)
        kept = ""
        if existing is not None:
            kept = marked(existing.table.name, KEPT_MARK, staging.id, self.name_bytes_max)
            self._rename(existing.table, kept)
        self._rename(source, table.name)
        identity = self._identity(staging.id, table)
        original = existing.table.name if existing else ""
        values = (PUBLISHED, table.schema, table.name, original, kept, identity, rows, fingerprint)
        self._execute(self.statements.journal, (staging.id, *values))

    def _check_unchanged(self, staging: Staging, row: Publication) -> None:
        table = Table(row.schema, row.name)
        found = self._find(table)
        if found is None or self._identity(staging.id, found.table) != row.identity:
            raise CannotUndo(f"{staging.relation} is not the table that was published: put it in order by hand")
        if (rows := self._count(table)) != row.rows:
            raise CannotUndo(
                f"{staging.relation} has {rows} rows, and had {row.rows} when it was published: it was written to since"
            )
        now = self._fingerprint(table)
        if now.split(":")[0] == row.fingerprint.split(":")[0] and now != row.fingerprint:
            raise CannotUndo(
                f"{staging.relation} no longer holds the rows that were published: it was written to since"
            )
        if row.kept and self._find(Table(row.schema, row.kept)) is None:
            raise CannotUndo(f"what {staging.relation} replaced is no longer kept as `{row.kept}`")

    def _take_back(self, staging: Staging, row: Publication | None) -> None:
        self._execute(self.statements.touch, (staging.id,))
        if row is None:
            self._drop(self._staging_table(staging))
            table = self._locate(staging.relation)
            self._execute(
                self.statements.journal, (staging.id, ROLLED_BACK, table.schema, table.name, "", "", "", 0, "")
            )
        elif row.state == PUBLISHED:
            self._drop(Table(row.schema, row.name))
            if row.kept:
                self._rename(Table(row.schema, row.kept), row.original)
            self._execute(self.statements.journal_rollback, (ROLLED_BACK, staging.id))
        self._execute(self.statements.forget, (staging.id,))

    def _drop(self, table: Table) -> None:
        self._execute(f"DROP TABLE IF EXISTS {table.sql}")
