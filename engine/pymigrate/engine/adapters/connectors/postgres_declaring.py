"""PostgreSQL's part in declaring what a table has beside its rows, in what it takes over from the table it replaces, and in the way back.

Indexes and sequences are built under names of PyMigrate's and get those that are wanted at the swap, where the replaced table gives up
its own. A kept table has no foreign key, in or out: otherwise it would go on to forbid changes of what is live.
"""

from collections.abc import Sequence
from zlib import crc32

import psycopg
from psycopg import errors

from pymigrate.engine.adapters.connectors.postgres_connection import first_line, translated
from pymigrate.engine.adapters.connectors.postgres_steps import PostgresSteps
from pymigrate.engine.adapters.connectors.target_declarations import Kind
from pymigrate.engine.adapters.connectors.target_dialect import Found
from pymigrate.engine.adapters.connectors.target_statements import KEPT_MARK, STAGING_MARK, Table, marked, quote
from pymigrate.engine.adapters.connectors.target_steps import Naming, Step
from pymigrate.engine.domain.errors import CannotUndo, InvalidDefinition, Problem, VerificationFailed
from pymigrate.engine.domain.schema import ForeignKey, SchemaPart
from pymigrate.engine.ports.staging import Staging

NOT_VALID = " NOT VALID"
FOREIGN_KEY = " FOREIGN KEY ("


class PostgresDeclaring(PostgresSteps):
    """What of a Target on PostgreSQL declares."""

    def _try(self, step: Step) -> str:
        try:
            with self._connection.transaction():
                self._connection.execute(step.sql.encode())
        except (errors.UniqueViolation, errors.NotNullViolation) as error:
            if step.is_strict:
                raise VerificationFailed(
                    f"{step.what} is unique in the source, and not here: {_detailed(error)}"
                ) from error
            return _detailed(error)
        except (errors.SerializationFailure, errors.DeadlockDetected, psycopg.OperationalError):
            with translated():
                raise
        except psycopg.Error as error:
            return first_line(error)
        return ""

    def _names(self, staging: Staging, table: Table) -> Naming:
        """PyMigrate's own, until the swap; the wanted ones where the table has its name already."""
        if table == self._locate(staging.relation):
            return super()._names(staging, table)
        own, told = _own_naming(staging), self._told_apart()
        return lambda wanted: own(told(wanted))

    def _told_apart(self) -> Naming:
        """Names that the system can have, each wanted one its own: some may be alike up to where they are cut."""
        taken, found = set[str](), dict[str, str]()

        def name(wanted: str) -> str:
            if wanted not in found:
                found[wanted] = self._free(wanted, taken)
            return found[wanted]

        return name

    def _has_declarations(self) -> bool:
        return self._find(Table("pymigrate", "declaration")) is not None

    def _way_back(self, table: Table, key: ForeignKey) -> Sequence[str]:
        return (f"ALTER TABLE IF EXISTS {table.sql} DROP CONSTRAINT IF EXISTS {quote(key.name)}",)

    def _before_swaps(self, swaps: Sequence[tuple[Staging, Found]]) -> None:
        """The locks first, since what depends on the tables may change until then."""
        for staging, existing in swaps:
            self._execute(f"LOCK TABLE {existing.table.sql} IN ACCESS EXCLUSIVE MODE")
            if dependents := self._catalog.dependents(existing.table):
                raise InvalidDefinition((depended_on(staging, dependents),))
        for staging, existing in swaps:
            for key in self._replaced.foreign_keys(self._catalog.identifier(existing.table)):
                self._execute(key.drop)
                self._remember(staging, Kind.AFTER, [key.add])
        for staging, existing in swaps:
            for key in self._replaced.referring(self._catalog.identifier(existing.table)):
                self._execute(key.drop)
                self._remember(staging, Kind.AFTER, [key.add])
                self._remember(staging, Kind.INBOUND, [key.add])
                self._remember(staging, Kind.BEFORE, [key.drop])

    def _declare_references(self, staging: Staging) -> None:
        """Those of other tables, too, which meant the table that was replaced."""
        super()._declare_references(staging)
        notes = []
        for statement in self._declarations(staging.id, Kind.INBOUND):
            if why := self._try(Step(statement, "")):
                if unchecked := self._try(Step(f"{statement}{NOT_VALID}", "")):
                    raise VerificationFailed(
                        f"{staging.relation}: what refers to it can't any more: {unchecked}: {statement}"
                    )
                notes.append(
                    f"what refers to the replaced table no longer holds, and is declared{NOT_VALID}: {why}: {statement}"
                )
        self._forget_declarations(staging, Kind.INBOUND)
        self._remember(staging, Kind.NOTE, notes)

    def _after_swap(self, staging: Staging, table: Table, kept: Table | None) -> None:
        """Names, then owner and grants."""
        wanted = self._declarations(staging.id, Kind.NAME)
        if kept is not None:
            for what, name in self._replaced.objects(self._catalog.identifier(kept)):
                if name in wanted:
                    aside = marked(name, f"{KEPT_MARK}{crc32(name.encode()):08x}_", staging.id, self.name_bytes_max)
                    self._execute(_renaming(what, table.schema, name, aside))
                    self._remember(staging, Kind.AFTER, [_renaming(what, table.schema, aside, name)])
        own, taken = _own_naming(staging), self._taken_names(table.schema)
        built = {name: what for what, name in self._replaced.objects(self._catalog.identifier(table))}
        for name in wanted:
            if (temporary := own(name)) in built:
                self._execute(_renaming(built[temporary], table.schema, temporary, self._free(name, taken)))
        if kept is not None and staging.schema.has(SchemaPart.REPLACED):
            self._take_over(staging, table, kept)

    def _wanted_names(self, staging: Staging, table: Table) -> list[str]:
        """Of the indexes and sequences to build."""
        wanted, told = list[str](), self._told_apart()

        def note(name: str) -> str:
            wanted.append(told(name))
            return name

        for _ in self._steps(staging, table, note):
            pass
        return list(dict.fromkeys(wanted))

    def _declare(self, staging: Staging, table: Table) -> None:
        """With the names that are wanted, for the swap."""
        if table == self._staging_table(staging):
            self._remember(staging, Kind.NAME, self._wanted_names(staging, table))
        super()._declare(staging, table)

    def _take_over(self, staging: Staging, table: Table, kept: Table) -> None:
        """Owner and grants of the replaced table; what could not be taken over is noted."""
        identifier = self._catalog.identifier(kept)
        failed = [
            f"{step.what} of the table that is replaced is not carried: {why}"
            for step in self._replaced.rights(identifier, self._catalog.identifier(table), table)
            if (why := self._try(step))
        ]
        self._remember(staging, Kind.NOTE, [*self._replaced.notes(identifier), *failed])

    def _lead_back(self, stagings: Sequence[Staging], kind: Kind) -> None:
        try:
            for staging in reversed(stagings):
                for statement in reversed(self._declarations(staging.id, kind)):
                    # What refers may dangle by now, and goes on to be kept from getting worse.
                    if FOREIGN_KEY in statement and self._try(Step(statement, "")):
                        self._execute(f"{statement}{NOT_VALID}")
                    elif FOREIGN_KEY not in statement:
                        self._execute(statement)
        except (psycopg.IntegrityError, psycopg.ProgrammingError, errors.ObjectNotInPrerequisiteState) as error:
            raise CannotUndo(f"what was there before can't be declared again: {_detailed(error)}") from error


def depended_on(staging: Staging, dependents: Sequence[str]) -> Problem:
    """What keeps a table from being replaced."""
    return Problem(
        "target.relation",
        f"{', '.join(dependents)} would go on to mean the old rows of `{staging.relation}`: drop that first, and make it anew after",
    )


def _own_naming(staging: Staging) -> Naming:
    def name(wanted: str) -> str:
        return marked(wanted, f"{STAGING_MARK}{crc32(wanted.encode()):08x}_", staging.id, 63)

    return name


def _renaming(what: str, schema: str, name: str, new: str) -> str:
    return f"ALTER {what} {Table(schema, name).sql} RENAME TO {quote(new)}"


def _detailed(error: psycopg.Error) -> str:
    detail = error.diag.message_detail
    return f"{first_line(error)}{f' ({detail.splitlines()[0]})' if detail else ''}"
