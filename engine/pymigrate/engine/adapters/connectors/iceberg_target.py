"""Iceberg tables as a target: parts as a folder of Parquet has them, and a publication as one commit of a table's metadata."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyiceberg
from pyiceberg.table import Table

from pymigrate.engine.adapters.connectors.files_staging import translated
from pymigrate.engine.adapters.connectors.files_target import FilesTarget, named
from pymigrate.engine.adapters.connectors.iceberg_catalog import SCHEME, IcebergCatalog, has_files
from pymigrate.engine.adapters.connectors.iceberg_publication import IcebergPublications, place_of, relation_of
from pymigrate.engine.adapters.connectors.iceberg_store import IcebergPublication, IcebergStore
from pymigrate.engine.adapters.connectors.iceberg_types import column_type, from_stored, stored_columns, to_stored
from pymigrate.engine.adapters.connectors.part_formats import FORMATS, parts_of, read_parts, rows_of
from pymigrate.engine.adapters.connectors.parts_inspection import PartsInspection
from pymigrate.engine.adapters.connectors.parts_store import PUBLISHED, PUBLISHING, ROLLED_BACK, SEALED
from pymigrate.engine.adapters.connectors.target_inspection import check_columns, missing_relation
from pymigrate.engine.adapters.connectors.target_statements import is_own
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX, name_problems, raise_if_any
from pymigrate.engine.domain.errors import (
    CannotUndo,
    FailedPrecondition,
    InvalidDefinition,
    MergeConflict,
    Problem,
    TargetOccupied,
)
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Checkpoint, Dangling, ReferenceCheck, Staging

NAME_CHARACTERS_MAX = 200


class IcebergTarget(FilesTarget):
    """See the port. A relation is `namespace.table`, or a table of the namespace `default`."""

    _store: IcebergStore

    def __init__(self, system: SystemSpec) -> None:
        path, warehouse = Path(system.options["catalog_path"]), system.options["warehouse"]
        root = Path(warehouse.removeprefix(SCHEME))
        if not path.parent.is_dir() or path.is_dir():
            raise InvalidDefinition((Problem("catalog_path", f"`{path}` is no file in an existing folder"),))
        super().__init__(SystemSpec(system.kind, system.name, {"root": str(root)}))
        self._store = IcebergStore(root)
        with self._store.lock():
            self._catalog = IcebergCatalog(path, root, system.options.get("catalog_name") or "default")
        self._publications = IcebergPublications(self._store, self._catalog)

    def version(self) -> str:
        """What writes the tables."""
        return f"Apache Iceberg by pyiceberg {pyiceberg.__version__}"

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """The catalogue's tables."""
        found = [(relation_of(place), place) for place in self._catalog.places()]
        matching = sorted(pair for pair in found if fnmatch.fnmatchcase(pair[0], glob)) if found else []
        listed = []
        for name, place in matching[:limit]:
            if (table := self._catalog.find(place)) is not None:
                rows = table.scan().count()
                listed.append(RelationInfo(name, _columns(table), rows=rows, is_exact_rows=True))
        return listed

    def rows(self, relation: str) -> int | None:
        """By the table's manifests; None where there is no such table."""
        table = self._catalog.find(place_of(relation))
        return None if table is None else int(table.scan().count())

    def check(self, staging: Staging) -> None:
        """Raises InvalidDefinition for names that a table can't have and for a table that does not fit, with every difference, and
        TargetOccupied already here."""
        merge = Problem(
            "target.load_mode",
            "Iceberg tables are not merged into: name a database as the target, or use `replace` or `append`",
        )
        place = place_of(staging.relation)
        names = [
            Problem(
                "target.relation",
                f"`{name[:40]}` is no name for a namespace or table, or one that PyMigrate keeps for itself",
            )
            for name in (place.namespace, place.name)
            if not name or "\0" in name or len(name) > NAME_CHARACTERS_MAX or is_own(name)
        ]
        raise_if_any((*names, *name_problems(staging, None), *((merge,) if staging.merge else ())))
        if self._store.publication(staging.id) is None:
            self._check_place(staging)

    def read_staging(self, staging: Staging) -> Iterator[pa.RecordBatch]:
        """The staged rows; the published ones as the table gives them, where it has no others."""
        publication = self._store.publication(staging.id)
        if publication is not None and publication.state in {PUBLISHED, SEALED} and not staging.is_append:
            names = tuple(column.name for column in staging.columns)
            scan = self._published(staging, publication).scan(selected_fields=names)
            return from_stored(_bounded(scan.to_arrow_batch_reader()), staging.columns)
        return from_stored(read_parts(self._parts(staging), stored_columns(staging.columns)), staging.columns)

    def count_staging(self, staging: Staging) -> int:
        """By the files' footers."""
        return rows_of(self._parts(staging))

    def repair(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        surplus: Sequence[pa.RecordBatch],
        missing: Sequence[pa.RecordBatch],
    ) -> None:
        """As in a folder of Parquet, with the types that the parts have."""
        stored = replace(staging, columns=stored_columns(staging.columns))
        given = (to_stored(surplus, staging.columns), to_stored(missing, staging.columns))
        super().repair(stored, lane, fence, before, after, *given)

    def dangling(self, staging: Staging, reference: ReferenceCheck) -> Dangling:
        """Staged rows whose reference finds nothing. A relation that refers to itself is looked up in its own staging."""
        own = self._parts(staging)
        if place_of(reference.relation) == place_of(staging.relation):
            check_columns(reference, [column.name for column in staging.columns])
            inspection = PartsInspection(
                self._store.own,
                own,
                named(self._stored_columns(staging), reference.columns),
                own,
                named(self._stored_columns(staging), reference.relation_columns),
            )
        else:
            table = self._catalog.find(place_of(reference.relation))
            if table is None:
                raise missing_relation(reference)
            check_columns(reference, [column.name for column in _columns(table)])
            others = _reader(table, reference.relation_columns)
            inspection = PartsInspection(
                self._store.own, own, named(self._stored_columns(staging), reference.columns), others
            )
        with inspection:
            return inspection.dangling(reference)

    def publish(self, stagings: Sequence[Staging]) -> None:
        """One commit a table, one after the other, each journaled before. Everything that could refuse is looked at before the first.
        Raises TableMoved, a temporary error, where somebody else commits to a table at the same time."""
        with translated(), self._store.lock():
            waiting = []
            for staging in stagings:
                publication = self._publications.settle(staging)
                if publication is None or publication.state == PUBLISHING:
                    waiting.append(staging)
                    if not self._is_there(staging, publication):
                        raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
                    self._check_place(staging)
                    self._check_keys(staging)
                elif publication.state == ROLLED_BACK:
                    raise FailedPrecondition(f"there is no staging {staging.id} of {staging.relation} to publish")
            for staging in waiting:
                committed = self._committed(staging.id) if self._store.staging(staging.id).is_dir() else []
                if self._store.staging(staging.id).is_dir() and not committed:
                    part = self._store.staging(staging.id) / "part-none-00000000.parquet"
                    self._write_part(part, staging, [], self._ending)
                    committed = [part]
                self._publications.put_in(staging, committed)

    def rollback(self, stagings: Sequence[Staging]) -> None:
        """Undoes all of them; whatever was changed since is looked at before anything moves. A table counts as unchanged while it stands
        at the snapshot that was published."""
        with translated(), self._store.lock():
            for staging in stagings:
                publication = self._publications.settle(staging)
                if publication is not None and publication.state == SEALED:
                    raise CannotUndo(f"{staging.relation} is sealed: what it replaced is expired")
                if publication is not None and publication.state == PUBLISHED:
                    self._publications.check_unchanged(staging, publication)
            for staging in reversed(stagings):
                self._publications.take_back(staging)

    def forget(self, stagings: Sequence[Staging]) -> None:
        """Deletes the journal's documents of those that are rolled back, and the files of tables that they made."""
        with translated(), self._store.lock():
            for staging in stagings:
                self._publications.forget(staging)

    def seal(self, stagings: Sequence[Staging]) -> None:
        """Expires the snapshots that were replaced; the journal stays, and says so."""
        with translated(), self._store.lock():
            for staging in stagings:
                self._publications.make_final(staging)

    def close(self) -> None:
        """Gives up the catalogue."""
        self._catalog.close()

    def _write_part(self, path: Path, staging: Staging, batches: Sequence[pa.RecordBatch], ending: str) -> None:
        FORMATS[ending].write(path, stored_columns(staging.columns), to_stored(batches, staging.columns))

    def _stored_columns(self, staging: Staging) -> Sequence[ColumnInfo]:
        """As Iceberg has them."""
        return stored_columns(staging.columns)

    def _parts(self, staging: Staging) -> list[Path]:
        """The files that hold the staging's rows now."""
        publication = self._store.publication(staging.id)
        if publication is not None and publication.state == PUBLISHING:
            with self._store.lock():
                publication = self._publications.settle(staging)
        folder = self._store.staging(staging.id)
        if (publication is None or publication.state == PUBLISHING) and folder.is_dir():
            return self._committed(staging.id)
        if publication is not None and publication.state in {PUBLISHED, SEALED}:
            self._published(staging, publication)
        if publication is not None and publication.state in {PUBLISHING, PUBLISHED, SEALED}:
            return parts_of(self._store.data(publication))
        raise FailedPrecondition(f"the rows of staging {staging.id} of {staging.relation} are there no longer")

    def _published(self, staging: Staging, publication: IcebergPublication) -> Table:
        """The table, which stands at the staging's snapshot."""
        table = self._catalog.find(place_of(staging.relation))
        snapshot = table.current_snapshot() if table else None
        if table is None or snapshot is None or snapshot.snapshot_id != publication.snapshots[0]:
            raise FailedPrecondition(f"the rows of staging {staging.id} of {staging.relation} are there no longer")
        return table

    def _check_keys(self, staging: Staging) -> None:
        """Raises MergeConflict where rows that are appended have keys that the table holds."""
        table = self._catalog.find(place_of(staging.relation)) if staging.is_append and staging.key else None
        if table is None or not (parts := self._parts(staging)):
            return
        others = _reader(table, staging.key)
        with PartsInspection(
            self._store.own, parts, named(self._stored_columns(staging), staging.key), others
        ) as inspection:
            count, examples = inspection.present_keys(staging.key)
        if count:
            raise MergeConflict(
                f"{staging.relation} holds {count} of the keys already, such as {', '.join(examples)}: nothing is appended",
                field="target.load_mode",
            )

    def _is_there(self, staging: Staging, publication: IcebergPublication | None) -> bool:
        folders = [self._store.staging(staging.id), *([self._store.data(publication)] if publication else [])]
        return any(folder.is_dir() for folder in folders)

    def _check_place(self, staging: Staging) -> None:
        """Raises where the table must not be changed, or can't take the columns."""
        table = self._catalog.find(place_of(staging.relation))
        if table is None:
            return
        raise_if_any(_differences(staging, table))
        if (
            not (staging.is_replace or staging.is_append)
            and has_files(table)
            and table.scan(limit=1).to_arrow().num_rows
        ):
            raise TargetOccupied(
                f"{staging.relation} holds rows: name another relation, or let the dataset replace them",
                field="target.relation",
            )


def _columns(table: Table) -> tuple[ColumnInfo, ...]:
    return tuple(
        ColumnInfo(field.name, column_type(field.field_type), field.required, str(field.field_type))
        for field in table.schema().fields
    )


def _differences(staging: Staging, table: Table) -> Iterator[Problem]:
    """Everything that keeps a table from taking the staging's files as they are."""
    if not table.spec().is_unpartitioned():
        yield Problem("target.relation", f"`{staging.relation}` is partitioned: name another table")
    there = {column.name: column for column in _columns(table)}
    for column in stored_columns(staging.columns):
        found = there.pop(column.name, None)
        field = f"source.columns.{column.name}"
        if found is None:
            text = f"`{staging.relation}` has no column `{column.name}`{nearest(column.name, [c.name for c in _columns(table)])}"
            yield Problem(field, text)
        elif found.type != column.type:
            yield Problem(field, f"`{staging.relation}` has it as {found.native_type}, and it comes as {column.type}")
        elif found.is_required and not column.is_required:
            yield Problem(field, f"`{staging.relation}` requires it, and the source may give NULL")
    for column in there.values():
        if column.is_required:
            yield Problem(
                "target.relation", f"`{staging.relation}` requires `{column.name}`, which the source does not give"
            )


def _reader(table: Table, columns: Sequence[str]) -> Callable[[], pa.RecordBatchReader]:
    """Reads columns of a table from its beginning, whenever it is called."""
    return lambda: table.scan(selected_fields=tuple(columns)).to_arrow_batch_reader()


def _bounded(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Its batches, none larger than a target gives."""
    with reader:
        for batch in reader:
            for first in range(0, batch.num_rows, BATCH_ROWS_MAX):
                yield batch.slice(first, BATCH_ROWS_MAX)
