"""Publication of SQL targets, and the way back: renames and a journal row in one transaction."""

from collections.abc import Callable, Sequence
from functools import partial

from pymigrate.engine.adapters.connectors.target_appending import SqlAppending
from pymigrate.engine.adapters.connectors.target_declarations import Kind
from pymigrate.engine.adapters.connectors.target_dialect import ATTEMPTS_MAX, Conflict, Found, Result
from pymigrate.engine.adapters.connectors.target_statements import (
    APPENDED,
    KEPT_MARK,
    MERGED,
    PUBLISHED,
    ROLLED_BACK,
    SEALED,
    Publication,
    Table,
    marked,
)
from pymigrate.engine.domain.errors import (
    CannotUndo,
    FailedPrecondition,
    InvalidDefinition,
    MergeConflict,
    Problem,
    TargetOccupied,
)
from pymigrate.engine.ports.staging import MergePolicy, Staging, StagingId


class SqlPublications(SqlAppending):
    """What of a Target in SQL publishes and undoes."""

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Builds what rows in place make possible, then swaps all of them in, in one transaction, and journals it; nothing for those
        that are published already."""
        self._build_all(stagings)
        try:
            self._again(lambda: self._put_in(stagings))
        except MergeConflict:
            self._again(lambda: self._record_all_conflicts(stagings))
            raise

    def _build_all(self, stagings: Sequence[Staging]) -> None:
        """Each in a transaction of its own, so that a crash costs one of them, and nobody waits for it."""
        for staging in stagings:
            self._again(partial(self._build, staging))

    def _put_in(self, stagings: Sequence[Staging]) -> None:
        """In the transaction that is open."""
        waiting = [staging for staging in stagings if self._state(staging) not in {PUBLISHED, SEALED}]
        for staging in waiting:
            if self._state(staging) == ROLLED_BACK or self._find(self._staging_table(staging)) is None:
                raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
        existing = {staging.id: self._existing(staging) for staging in waiting if not staging.is_addition}
        swaps = [(staging, existing.get(staging.id)) for staging in waiting]
        self._before_swaps([(staging, found) for staging, found in swaps if found is not None])
        made: list[Staging] = []
        for staging in waiting:
            if not staging.is_addition:
                self._swap_in(staging, existing[staging.id])
            elif self._add(staging, self._existing(staging)):
                continue
            made.append(staging)
        for staging in made:
            self._declare_references(staging)

    def _add(self, staging: Staging, existing: Found | None) -> bool:
        """Whether the relation was there before."""
        add = self._append if staging.is_append else self._merge_in
        add(staging, existing)
        return existing is not None

    def _record_all_conflicts(self, stagings: Sequence[Staging]) -> None:
        for staging in stagings:
            if staging.merge in {MergePolicy.FAIL, MergePolicy.LATEST} and not self._state(staging):
                self._record_conflicts(staging)

    def conflicts(self, staging: Staging) -> int:
        """Conflicts of a published merge; 0 for everything else."""
        row = self._publication(staging.id)
        return int(row.fingerprint.partition(":")[2]) if row is not None and row.identity == MERGED else 0

    def prepare_publication(self, stagings: Sequence[Staging], key: str) -> bool:
        """Most systems have no two-phase commit."""
        del stagings, key
        return False

    def commit_publication(self, stagings: Sequence[Staging], key: str) -> None:
        """Nothing was prepared here: only what is published already is as it should be."""
        self._require_published(stagings, key)

    def abort_publication(self, key: str) -> None:
        """Nothing was prepared here."""

    def _require_published(self, stagings: Sequence[Staging], key: str) -> None:
        for staging in stagings:
            if self._state(staging) not in {PUBLISHED, SEALED}:
                raise FailedPrecondition(f"{staging.relation}: there is no publication prepared as {key}")

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Drops what is kept of all of them, in one transaction; the journal's row stays, and says so."""

        def drop_kept() -> None:
            for staging in stagings:
                row = self._publication(staging.id)
                if row is None or row.state != PUBLISHED:
                    continue
                if row.identity == MERGED:
                    self._seal_merge(staging, row)
                elif row.identity == APPENDED:
                    self._drop_appended(staging, row)
                elif row.kept:
                    self._drop(Table(row.schema, row.kept))
                self._forget_declarations(staging, Kind.BEFORE, Kind.AFTER)
                self._execute(self.statements.journal_rollback, (SEALED, staging.id))
                self._execute(self.statements.touch, (staging.id,))
                self._execute(self.statements.forget, (staging.id,))

        if self._has_own_relations():
            self._again(drop_kept)

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Undoes all of them in one transaction, and leaves a journal row that keeps late lanes and publications out.

        A published relation counts as unchanged while it is the very table that was published (`_identity`), holds as many rows, and
        has the same fingerprint over its content, where the system's version still computes the same (`_fingerprint`)."""

        def undo() -> None:
            published = [(staging, row) for staging in stagings if (row := self._publication(staging.id))]
            for staging, row in published:
                if row.state == SEALED:
                    raise CannotUndo(f"{staging.relation} is sealed: what it replaced is dropped")
                if row.state == PUBLISHED and row.identity == MERGED:
                    self._check_merge(staging, row)
                elif row.state == PUBLISHED and row.identity == APPENDED:
                    self._check_append(staging, row)
                elif row.state == PUBLISHED:
                    self._check_unchanged(staging, row)
            self._lead_back([staging for staging, row in published if row.state == PUBLISHED], Kind.BEFORE)
            for staging in reversed(stagings):
                self._take_back(staging, self._publication(staging.id))
            self._lead_back([staging for staging, row in published if row.state == PUBLISHED], Kind.AFTER)
            for staging in stagings:
                self._forget_declarations(staging, *Kind)

        if self._has_own_relations():
            self._again(undo)

    def forget(self, stagings: Sequence[Staging]) -> None:
        """Removes the journal's rows of those that are rolled back, in one transaction."""

        def remove() -> None:
            for staging in stagings:
                self._execute(self.statements.unjournal, (staging.id,))

        if self._has_own_relations():
            self._again(remove)

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
        if not (staging.is_addition or staging.is_replace) and self._query(f"SELECT 1 FROM {found.table.sql} LIMIT 1"):
            raise TargetOccupied(
                f"{staging.relation} holds rows: name another relation, or let the dataset replace them or add to them",
                field="target.relation",
            )
        return found

    def _swap_in(self, staging: Staging, existing: Found | None) -> None:
        source, table = self._staging_table(staging), self._locate(staging.relation)
        self._execute(self.statements.touch, (staging.id,))
        rows, fingerprint = self._count(source), self._fingerprint(source)
        kept = ""
        if existing is not None:
            kept = marked(existing.table.name, KEPT_MARK, staging.id, self.name_bytes_max)
            self._rename(existing.table, kept)
        self._rename(source, table.name)
        if self.is_indexed_in_place:
            self._declare(staging, table)
        self._after_swap(staging, table, Table(table.schema, kept) if kept else None)
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
            if row.identity == MERGED:
                self._unmerge(staging, row)
            elif row.identity == APPENDED:
                self._take_out(staging, row)
            else:
                self._drop(Table(row.schema, row.name))
                if row.kept:
                    self._rename(Table(row.schema, row.kept), row.original)
            self._execute(self.statements.journal_rollback, (ROLLED_BACK, staging.id))
        self._execute(self.statements.forget, (staging.id,))
