"""Publication on MySQL, where every change of a definition commits by itself: what is about to be renamed is journaled, then all of it is
renamed in one statement, which takes place whole or not at all, and then journaled as done.

Whoever finds a step that was broken off in between sees from the tables which side of the renaming it is on, and ends it or takes it
back. Merges and appends, and the check of foreign keys, come after the renaming in one transaction; where they fail for good, all of it
is renamed back. A lock of the server's, by name, keeps others from finding one that is still under way; it ends with the connection, and
what is renamed goes over the very connection that has it.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from pymigrate.engine.adapters.connectors.mysql_repair import MysqlRepairs
from pymigrate.engine.adapters.connectors.target_declarations import Kind
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
from pymigrate.engine.domain.errors import CannotUndo, FailedPrecondition, PermanentError
from pymigrate.engine.ports.staging import Checkpoint, Staging

PUBLISHING = "publishing"
TAKING_BACK = "taking_back"
Renaming = tuple[Table, Table]


class MysqlPublications(MysqlRepairs):
    """What of a Target on MySQL publishes and undoes."""

    @abstractmethod
    def _alone(self) -> AbstractContextManager[None]:
        """Keeps everybody else from publishing into this database, over one connection. Raises SystemUnavailable where that takes too
        long."""

    @abstractmethod
    def _own(self, what: str) -> Table:
        """One of PyMigrate's own relations."""

    @abstractmethod
    def _rename_all(self, renamings: Sequence[Renaming]) -> None:
        """In one statement, in this order."""

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Swaps all of them in with one statement; merges, appends, foreign keys and the journal's end follow in one transaction. What
        fails there for good takes the swap back."""
        with self._alone():
            self._settle(stagings)
            waiting = [staging for staging in stagings if self._state(staging) not in {PUBLISHED, SEALED}]
            swaps = [staging for staging in waiting if not staging.is_addition]
            added = [staging for staging in waiting if staging.is_addition]
            fresh = [staging for staging in swaps if self._state(staging) != PUBLISHING]
            for staging in (*fresh, *added):
                if self._state(staging) == ROLLED_BACK or self._find(self._staging_table(staging)) is None:
                    raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
                self._existing(staging)
            if not waiting:
                return
            self._build_all(fresh)
            try:
                self._swap_and_add(swaps, fresh, added)
            except PermanentError as error:
                self._withdraw(swaps)
                self._withdraw_adding(added, error)
                raise
            self._end_adding(added)

    def _swap_and_add(self, swaps: Sequence[Staging], fresh: Sequence[Staging], added: Sequence[Staging]) -> None:
        for staging in added:
            self._make_room(staging)
        if fresh:
            rows = self._again(lambda: [self._announce(staging) for staging in fresh])
            self._rename_all(
                [pair for staging, row in zip(fresh, rows, strict=True) for pair in self._swap(staging, row)]
            )

        def end() -> None:
            made = self._add_all(added)
            for staging in (*swaps, *made):
                self._declare_references(staging)
            for staging in swaps:
                self._journal_state(PUBLISHED, staging)

        with self._locking() if added else nullcontext():
            self._again(end)

    def _withdraw(self, swaps: Sequence[Staging]) -> None:
        """Takes back what was swapped in, or only announced."""
        rows = [(staging, row) for staging in swaps if (row := self._publication(staging.id))]
        begun = [(staging, row) for staging, row in rows if row.state == PUBLISHING]
        done = [(staging, row) for staging, row in begun if self._find(self._staging_table(staging)) is None]
        self._swap_back(done)
        self._each(self._forget_publication, [staging for staging, _ in begun])

    def _swap_back(self, published: Sequence[tuple[Staging, Publication]]) -> None:
        back = [
            (after, before)
            for staging, row in reversed(published)
            for before, after in reversed(self._swap(staging, row))
        ]
        if back:
            self._rename_all(back)

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Takes merged and appended rows out in one transaction, swaps all others out with one statement and drops them; the journal's
        rows keep late lanes and publications out."""
        if not self._has_own_relations():
            return
        with self._alone():
            self._settle(stagings, is_undone=True)
            rows = {staging.id: self._publication(staging.id) for staging in stagings}
            published = [
                (staging, row) for staging in stagings if (row := rows[staging.id]) and row.state != ROLLED_BACK
            ]
            added = [(staging, row) for staging, row in published if row.identity in {MERGED, APPENDED}]
            swapped = [pair for pair in published if pair not in added]
            for staging, row in published:
                if row.state == SEALED:
                    raise CannotUndo(f"{staging.relation} is sealed: what it replaced is dropped")
            for staging, row in swapped:
                self._check_unchanged(staging, row)
            for staging, row in added:
                self._room_for_undoing(staging, row)

            def begin() -> None:
                for staging, row in added:
                    self._check_addition(staging, row)
                for staging, row in reversed(added):
                    self._undo_addition(staging, row)
                    self._end_taking_back(staging)
                for staging in stagings:
                    if staging not in [each for each, _ in added]:
                        self._begin_taking_back(staging, rows[staging.id])

            with self._locking() if added else nullcontext():
                self._again(begin)
            self._swap_back(swapped)
            self._each(self._end_taking_back, [staging for staging, _ in swapped])
            for staging in stagings:
                self._drop_after_undoing(staging, rows[staging.id])

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Journals it, and then drops what was kept: what a crash leaves of that is dropped the next time."""
        if not self._has_own_relations():
            return
        with self._alone():
            self._settle(stagings)
            self._again(lambda: self._end_publishing(stagings))
            self._each(self._journal_seal, stagings)
            for staging in stagings:
                row = self._publication(staging.id)
                if row is None or row.state != SEALED:
                    continue
                if row.identity in {MERGED, APPENDED}:
                    self._drop_sealed(staging)
                elif row.kept:
                    self._drop(Table(row.schema, row.kept))

    def _settle(self, stagings: Sequence[Staging], *, is_undone: bool = False) -> None:
        """Ends what was broken off: a staging that is still there was never swapped in, or is swapped out again. One that is swapped in
        counts as published where it is going to be undone; otherwise its end is still to come."""

        def settle() -> None:
            for staging in stagings:
                state, is_staged = self._state(staging), self._find(self._staging_table(staging)) is not None
                if state == PUBLISHING and is_staged:
                    self._forget_publication(staging)
                elif state == TAKING_BACK and is_staged:
                    self._end_taking_back(staging)
                elif state == TAKING_BACK or (state == PUBLISHING and is_undone):
                    self._journal_state(PUBLISHED, staging)

        if self._has_own_relations():
            self._again(settle)

    def _end_publishing(self, stagings: Sequence[Staging]) -> None:
        for staging in stagings:
            if self._state(staging) == PUBLISHING:
                self._declare_references(staging)
                self._journal_state(PUBLISHED, staging)

    def _forget_publication(self, staging: Staging) -> None:
        self._execute(f"DELETE FROM {self.statements.publication} WHERE staging = ?", (staging.id,))

    def _each(self, work: Callable[[Staging], None], stagings: Sequence[Staging]) -> None:
        """The work on all of them, in one transaction."""

        def all_of_it() -> None:
            for staging in stagings:
                work(staging)

        self._again(all_of_it)

    def _announce(self, staging: Staging) -> Publication:
        """Shuts lanes out and journals what is going to be renamed."""
        source, table = self._staging_table(staging), self._locate(staging.relation)
        existing = self._existing(staging)
        self._execute(self.statements.touch, (staging.id,))
        rows, fingerprint = self._count(source), self._fingerprint(source)
        original = existing.table.name if existing else ""
        kept = marked(original, KEPT_MARK, staging.id, self.name_bytes_max) if existing else ""
        identity = self._identity(staging.id, source)
        values = (PUBLISHING, table.schema, table.name, original, kept, identity, rows, fingerprint)
        self._execute(self.statements.journal, (staging.id, *values))
        return Publication(*values)

    def _swap(self, staging: Staging, row: Publication) -> list[Renaming]:
        """What is renamed to what: first what is there, then the staging."""
        kept = [(Table(row.schema, row.original), Table(row.schema, row.kept))] if row.kept else []
        return [*kept, (self._staging_table(staging), Table(row.schema, row.name))]

    def _begin_taking_back(self, staging: Staging, row: Publication | None) -> None:
        self._execute(self.statements.touch, (staging.id,))
        if row is not None:
            self._journal_state(TAKING_BACK if row.state == PUBLISHED else row.state, staging)
            return
        table = self._locate(staging.relation)
        values = (ROLLED_BACK, table.schema, table.name, "", "", "", 0, "")
        self._execute(self.statements.journal, (staging.id, *values))
        self._execute(self.statements.forget, (staging.id,))

    def _end_taking_back(self, staging: Staging) -> None:
        self._journal_state(ROLLED_BACK, staging)
        self._execute(self.statements.forget, (staging.id,))
        self._forget_declarations(staging, *Kind)

    def _journal_seal(self, staging: Staging) -> None:
        if self._state(staging) == PUBLISHED:
            self._journal_state(SEALED, staging)
            self._execute(self.statements.touch, (staging.id,))
            self._execute(self.statements.forget, (staging.id,))

    def _journal_state(self, state: str, staging: Staging) -> None:
        self._execute(self.statements.journal_rollback, (state, staging.id))

    def _advance(self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint) -> None:
        """The lane's row is locked from here on: whoever published meanwhile has journaled it before, and is seen only now."""
        super()._advance(staging, lane, fence, before, after)
        if self._state(staging):
            raise self._lost(staging, lane, fence, before)

    def _place(self, staging: Staging) -> Table:
        """In the middle of a renaming, the rows are where they are."""
        row = self._publication(staging.id)
        if row is not None and row.state in {PUBLISHING, TAKING_BACK}:
            table = self._staging_table(staging)
            return table if self._find(table) is not None else Table(row.schema, row.name)
        return super()._place(staging)
