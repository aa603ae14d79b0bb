"""How a SQL target makes its declarations: what can be declared, when, and what is then told that could not be.

Keys and indexes are built on the staging after the load, in a transaction of their own before the publication's; foreign keys come last
in that, when all of its tables are in their places. A note that is found out at a publication lies in the target, so that a publication
that is asked for again still tells it. Beside the notes lie the statements that lead back.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from enum import StrEnum

from pymigrate.engine.adapters.connectors.target_inspection import check_columns
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.adapters.connectors.target_steps import Step, TableSteps
from pymigrate.engine.domain.errors import InvalidDefinition, VerificationFailed
from pymigrate.engine.domain.schema import ForeignKey
from pymigrate.engine.ports.staging import Dangling, ReferenceCheck, Staging, StagingId


class Kind(StrEnum):
    """What a row of PyMigrate's relation of declarations says."""

    BUILT = "built"
    NOTE = "note"
    BEFORE = "before"  # a statement of the way back, before tables are dropped and renamed
    AFTER = "after"  # the same, after it
    NAME = "name"  # of what was built under another
    INBOUND = "inbound"  # declares again what other tables refer by, within one transaction


class SqlDeclarations(TableSteps):
    """What of a Target in SQL declares."""

    is_indexed_in_place = False  # whether indexes can only be made when the table has its final name

    @abstractmethod
    def _try(self, step: Step) -> str:
        """Executes a step without harm to the transaction: why it failed, or nothing. Raises VerificationFailed for rows that are not
        unique where the step is strict."""

    def schema_notes(self, staging: Staging) -> Sequence[str]:
        """In the order in which they were found."""
        return self._declarations(staging.id, Kind.NOTE)

    def _build(self, staging: Staging) -> None:
        """Builds what comes between the load and the swap, once, in the transaction that is open."""
        if staging.is_addition or self.is_indexed_in_place:
            return
        table = self._staging_table(staging)
        if self._state(staging) or self._find(table) is None or self._declarations(staging.id, Kind.BUILT):
            return
        self._declare(staging, table)
        self._remember(staging, Kind.BUILT, ["1"])

    def _declare(self, staging: Staging, table: Table) -> None:
        """Executes the steps of a table, and remembers which of them failed."""
        notes = []
        for step in list(self._steps(staging, table, self._names(staging, table))):
            if why := self._try(step):
                if step.is_required:
                    raise VerificationFailed(f"{staging.relation}: {step.what} does not hold: {why}")
                notes.append(f"{step.what} is not carried: {why}")
        self._remember(staging, Kind.NOTE, notes)

    def _declare_references(self, staging: Staging) -> None:
        """Checks and declares foreign keys when every table of the publication is in its place."""
        notes, table = list[str](), self._locate(staging.relation)
        for key in self._foreign_keys(staging):
            other = self._find(self._locate(key.target_relation))
            if other is None or other.kind != "table":
                what = "checked" if self.has_references_in_table else "declared"
                note = f"the foreign key `{key.name}` is not {what}: there is no table `{key.target_relation}` yet"
                if key.is_fatal:
                    raise VerificationFailed(f"{staging.relation}: {note}")
                notes.append(note)
            elif note := self._declare_reference(staging, table, key, other.table):
                notes.append(note)
        self._remember(staging, Kind.NOTE, notes)

    def _declare_reference(self, staging: Staging, table: Table, key: ForeignKey, other: Table) -> str:
        """A note where it could not be declared."""
        step, why = self._foreign_key_step(staging, table, key, other), self.undeclarable
        if step is not None and not (why := self._try(step)):
            self._remember(staging, Kind.BEFORE, self._way_back(table, key))
            return ""
        check = ReferenceCheck(key.columns, key.target_relation, key.relation_columns)
        try:
            check_columns(check, self._columns(other))
            dangling = self._inspection.dangling(table.sql, check, other.sql)
        except InvalidDefinition as error:
            return f"the foreign key `{key.name}` is not declared: {error.problems[0].description}"
        if dangling.rows:
            text = f"the foreign key `{key.name}` {'is not declared' if step else 'does not hold'}: {_spelled(dangling, key)}"
            if key.is_fatal:
                raise VerificationFailed(f"{staging.relation}: {text}")
            return text
        if self.has_references_in_table:
            return ""
        return f"the foreign key `{key.name}` is not declared: {why}; every row of it was found to refer to one of `{key.target_relation}`"

    def _way_back(self, table: Table, key: ForeignKey) -> Sequence[str]:
        """The statements that must come before the table is dropped."""
        del table, key
        return ()

    def _remember(self, staging: Staging, kind: Kind, contents: Iterable[str]) -> None:
        """Keeps them with the staging, in the transaction that is open; the statements make their table where it is missing."""
        found = list(contents)
        if not found:
            return
        if not self._has_declarations():
            self._execute(self.statements.create_declarations)
        [(last,)] = self._query(self.statements.last_declaration, (staging.id,))
        for number, content in enumerate(found, int(str(last)) + 1):
            self._execute(self.statements.declare, (staging.id, number, kind, content))

    def _declarations(self, staging: StagingId, kind: Kind) -> list[str]:
        if not self._has_declarations():
            return []
        return [str(content) for (content,) in self._query(self.statements.declared, (staging, kind))]

    def _forget_declarations(self, staging: Staging, *kinds: Kind) -> None:
        if self._has_declarations():
            for kind in kinds:
                self._execute(self.statements.forget_declared, (staging.id, kind))

    def _lead_back(self, stagings: Sequence[Staging], kind: Kind) -> None:
        """Executes the statements of the way back, the last first."""
        for staging in reversed(stagings):
            for statement in reversed(self._declarations(staging.id, kind)):
                self._execute(statement)

    @abstractmethod
    def _has_declarations(self) -> bool:
        """Whether the relation of declarations exists."""

    @abstractmethod
    def _staging_table(self, staging: Staging) -> Table:
        """Where the staging lies."""

    @abstractmethod
    def _state(self, staging: Staging) -> str:
        """What the journal says of the staging; empty for nothing."""


def _spelled(dangling: Dangling, key: ForeignKey) -> str:
    return (
        f"{dangling.rows:,} rows refer by ({', '.join(key.columns)}) to {dangling.values:,} values that `{key.target_relation}` "
        f"does not have, such as {', '.join(dangling.examples)}"
    )
