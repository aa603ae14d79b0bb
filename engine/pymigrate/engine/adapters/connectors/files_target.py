"""A folder of folders as a target: a relation is `<root>/<relation>/`, with one part a chunk: Parquet, CSV or JSON Lines.

What a target is asked about its relations and stagings is here, and publication: two journaled renames."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.adapters.connectors import parts_appending as appending
from pymigrate.engine.adapters.connectors.files_staging import FilesStaging, translated
from pymigrate.engine.adapters.connectors.part_formats import (
    describe,
    ending_of,
    facts,
    format_of_part,
    parts_of,
    read_parts,
    rows_of,
)
from pymigrate.engine.adapters.connectors.parts_inspection import PartsInspection
from pymigrate.engine.adapters.connectors.parts_publication import (
    append_in,
    check_unchanged,
    make_final,
    settle,
    swap_in,
    take_back,
)
from pymigrate.engine.adapters.connectors.parts_store import PUBLISHED, PUBLISHING, ROLLED_BACK, SEALED, folder_problems
from pymigrate.engine.adapters.connectors.target_inspection import check_columns, missing_relation
from pymigrate.engine.adapters.connectors.target_values import name_problems, raise_if_any
from pymigrate.engine.domain.errors import CannotUndo, FailedPrecondition, InvalidDefinition, Problem, TargetOccupied
from pymigrate.engine.domain.schema import SchemaPart
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Dangling, Delivery, ReferenceCheck, Staging, TableDdl


class FilesTarget(FilesStaging):
    """See the port. The folder is `root` of the system's options; it is made where it is missing."""

    def version(self) -> str:
        """What writes the files."""
        return f"files by pyarrow {pa.__version__}"

    def delivery(self, staging: Staging) -> Delivery:
        """A part beyond its lane's checkpoint does not exist, and a publication that was begun is ended by whoever comes next."""
        del staging
        return Delivery.EXACTLY_ONCE

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Folders below the root that hold parts."""
        names = []
        for folder, below, files in os.walk(self._root):
            below[:] = [name for name in below if not name.startswith(".")]
            if any(ending_of(Path(name)) and not name.startswith(".") for name in files):
                names.append(str(Path(folder).relative_to(self._root)))
        matching = sorted(name for name in names if name != "." and fnmatch.fnmatchcase(name, glob))
        return [describe(name, parts_of(self._root / name)) for name in matching[:limit]]

    def rows(self, relation: str) -> int | None:
        """Of all parts; None where there is no such folder."""
        folder = self._root / relation
        return rows_of(parts_of(folder)) if folder.is_dir() else None

    def check(self, staging: Staging) -> None:
        """Raises InvalidDefinition for names that can't be a folder or columns, and TargetOccupied already here."""
        merge = Problem(
            "target.load_mode",
            "files can't be merged into: name a database as the target, or use `replace` or `append`",
        )
        problems = (merge,) if staging.merge else ()
        raise_if_any((*folder_problems(staging.relation), *name_problems(staging, None), *problems))
        if self._store.publication(staging.id) is None:
            self._check_place(staging)
            if staging.is_append:
                files = parts_of(self._root / staging.relation)
                raise_if_any(appending.ending_problems(staging, files, self._ending_of(staging)))
                raise_if_any(appending.column_problems(staging, files))

    def ddl(self, staging: Staging) -> TableDdl:
        """No statements: files have types and NOT NULL alone."""
        schema, notes = staging.schema, list(staging.schema.notes)
        if staging.key and schema.has(SchemaPart.KEY):
            notes.append("the key is checked and not declared: files have none")
        for part, what, declared in (
            (SchemaPart.DEFAULTS, "defaults", [column.name for column in staging.columns if column.native_default]),
            (
                SchemaPart.IDENTITY,
                "identity columns",
                [column.name for column in staging.columns if column.is_identity],
            ),
            (SchemaPart.INDEXES, "indexes", [index.name for index in schema.indexes]),
            (SchemaPart.FOREIGN_KEYS, "foreign keys", [key.name for key in schema.foreign_keys]),
            (SchemaPart.COMMENTS, "comments", [column.name for column in staging.columns if column.comment]),
        ):
            if declared and schema.has(part):
                named = ", ".join(f"`{name}`" for name in declared)
                notes.append(f"{what} are not carried, since files have none: {named}")
        return TableDdl(notes=tuple(notes))

    def schema_notes(self, staging: Staging) -> Sequence[str]:
        """Nothing is found out at a publication."""
        del staging
        return ()

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """The staged rows, or the published ones."""
        return read_parts(self._parts(staging), staging.columns)

    def count_staging(self, staging: Staging) -> int:
        """Of all parts."""
        return rows_of(self._parts(staging))

    def duplicate_keys(self, staging: Staging) -> tuple[int, tuple[str, ...]]:
        """Key values that occur more than once or hold a NULL; (0, ()) without a key."""
        if not staging.key:
            return 0, ()
        with PartsInspection(
            self._store.own, self._parts(staging), named(self._stored_columns(staging), staging.key)
        ) as inspection:
            return inspection.duplicate_keys(staging.key)

    def dangling(self, staging: Staging, reference: ReferenceCheck) -> Dangling:
        """Staged rows whose reference finds nothing. A relation that refers to itself is looked up in its own staging."""
        if any(folder_problems(reference.relation)):
            raise missing_relation(reference)
        own, folder = self._parts(staging), self._root / reference.relation
        referring = named(self._stored_columns(staging), reference.columns)
        if reference.relation == staging.relation:
            others, columns, has_types = own, staging.columns, True
        elif folder.is_dir():
            others = parts_of(folder)
            form = format_of_part(others[0]) if others else None
            columns = form.columns(others[0]) if form else ()
            has_types = form is not None and form.has_types
        else:
            raise missing_relation(reference)
        check_columns(reference, [column.name for column in columns])
        referred = named(columns, reference.relation_columns)
        if not has_types:  # text is read as what refers to it
            pairs = zip(referred, referring, strict=True)
            referred = [ColumnInfo(column.name, other.type) for column, other in pairs]
        with PartsInspection(self._store.own, own, referring, others, referred) as inspection:
            return inspection.dangling(reference)

    def publish(self, stagings: Sequence[Staging]) -> None:
        """Swaps folders one after the other, each journaled before it moves. A crash in between is made up for by the next call, of
        this or of `rollback`; everything that could refuse is looked at before anything moves."""
        with translated(), self._store.lock():
            waiting = [staging for staging in stagings if settle(self._store, staging.id) is None]
            for staging in waiting:
                if not self._store.staging(staging.id).is_dir():
                    raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
                self._check_place(staging)
            for staging in stagings:
                publication = self._store.publication(staging.id)
                if publication is not None and publication.state == ROLLED_BACK:
                    raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
                if staging.is_append:
                    appending.refuse_present_keys(self._store, staging, self._committed(staging.id))
            for staging in waiting:
                put_in = append_in if staging.is_append else swap_in
                put_in(self._store, staging, self._committed(staging.id), self._ending_of(staging))

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Undoes all of them; whatever was changed since is looked at before anything moves.

        A published folder counts as unchanged while its parts have the names, sizes and times of change that they had."""
        if not self._store.own.is_dir():
            return
        with translated(), self._store.lock():
            for staging in stagings:
                publication = settle(self._store, staging.id)
                if publication is not None and publication.state == SEALED:
                    raise CannotUndo(f"{staging.relation} is sealed: what it replaced is deleted")
                if publication is not None and publication.state == PUBLISHED:
                    check_unchanged(self._store, staging, publication)
            for staging in reversed(stagings):
                take_back(self._store, staging)

    def forget(self, stagings: Sequence[Staging]) -> None:
        """Deletes the journal's documents of those that are rolled back."""
        if self._store.own.is_dir():
            with translated(), self._store.lock():
                for staging in stagings:
                    self._store.unjournal(staging.id)

    def conflicts(self, staging: Staging) -> int:
        """Files are not merged into, and meet none."""
        del staging
        return 0

    def prepare_publication(self, stagings: Sequence[Staging], key: str) -> bool:
        """A folder is renamed or it is not."""
        del stagings, key
        return False

    def commit_publication(self, stagings: Sequence[Staging], key: str) -> None:
        """Nothing was prepared here."""
        raise FailedPrecondition(f"{stagings[0].relation}: files have no prepared publications such as {key}")

    def abort_publication(self, key: str) -> None:
        """Nothing was prepared here."""

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Deletes the folders that were replaced; the journal stays, and says so."""
        if self._store.own.is_dir():
            with translated(), self._store.lock():
                for staging in stagings:
                    make_final(self._store, staging)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _stored_columns(self, staging: Staging) -> Sequence[ColumnInfo]:
        """The columns as they lie in the parts."""
        return staging.columns

    def _parts(self, staging: Staging) -> list[Path]:
        """The files that hold the staging's rows now."""
        publication = self._store.publication(staging.id)
        if publication is None and self._store.staging(staging.id).is_dir():
            return self._committed(staging.id)
        if publication is not None and publication.state == PUBLISHING:
            with self._store.lock():
                publication = settle(self._store, staging.id)
        if publication is not None and publication.state in (PUBLISHED, SEALED):
            files = parts_of(self._root / publication.relation)
            if publication.is_append:
                files = [path for path in appending.appended(self._store, publication) if path.exists()]
            if facts(files) == publication.files:
                return files
        raise FailedPrecondition(f"the rows of staging {staging.id} of {staging.relation} are there no longer")

    def _check_place(self, staging: Staging) -> None:
        """Raises where the relation's place must not be taken."""
        folder = self._root / staging.relation
        for path in (folder, *folder.parents):
            if path == self._root:
                break
            if path.exists() and not path.is_dir():
                raise InvalidDefinition(
                    (Problem("target.relation", f"`{path.relative_to(self._root)}` is a file, not a folder"),)
                )
        if not folder.is_dir():
            return
        if any(path.is_dir() for path in folder.iterdir()):
            raise InvalidDefinition(
                (Problem("target.relation", f"`{staging.relation}` holds other folders: name one of its own"),)
            )
        if not (staging.is_replace or staging.is_append) and rows_of(parts_of(folder)):
            raise TargetOccupied(
                f"{staging.relation} holds rows: name another relation, or let the dataset replace them or add to them",
                field="target.relation",
            )


def named(columns: Sequence[ColumnInfo], names: Sequence[str]) -> list[ColumnInfo]:
    """The columns that have these names, in the order of the names."""
    by_name = {column.name: column for column in columns}
    return [by_name[name] for name in names]
