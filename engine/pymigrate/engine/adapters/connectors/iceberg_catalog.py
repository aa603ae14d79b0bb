"""A catalogue of Iceberg tables through pyiceberg: what a table is now, and changes of it as one commit of its metadata.

pyiceberg makes a commit that met another again by itself, on top of the other. Every change here is of what was looked at, or fails: tries
are set to none on the table that is loaded, which never reaches the stored one.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError

from pymigrate.engine.domain.errors import SystemUnavailable

STAGING = "pymigrate.staging"
TRIES = "commit.retry.num-retries"
MAIN = "main"
SCHEME = "file://"


class TableMoved(SystemUnavailable):
    """Somebody else committed to the table in between; nothing of ours is in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A table's namespace and name."""

    namespace: str
    name: str


class IcebergCatalog:
    """Not for several threads at once."""

    def __init__(self, path: Path, warehouse: Path, name: str) -> None:
        self._path = path
        with self._translated():
            self._catalog = SqlCatalog(name, uri=f"sqlite:///{path}", warehouse=address(warehouse))

    def places(self) -> list[Place]:
        """All tables, by namespace and name."""
        with self._translated():
            found = [table for space in self._catalog.list_namespaces() for table in self._catalog.list_tables(space)]
        return sorted(
            (Place(".".join(table[:-1]), table[-1]) for table in found), key=lambda at: (at.namespace, at.name)
        )

    def find(self, place: Place) -> Table | None:
        """The table as it is now."""
        try:
            with self._translated():
                table = self._catalog.load_table((place.namespace, place.name))
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        table.metadata.properties[TRIES] = "0"
        return table

    def make(self, place: Place, schema: pa.Schema, location: Path, files: Sequence[Path], staging: str) -> None:
        """A new table with the files, in one commit. Raises TableMoved where there is one already."""
        with self._committing(place):
            self._catalog.create_namespace_if_not_exists(place.namespace)
            change = self._catalog.create_table_transaction(
                (place.namespace, place.name), schema=schema, location=address(location)
            )
            _add(change, files, staging)
            change.commit_transaction()

    def put(self, table: Table, place: Place, files: Sequence[Path], staging: str, *, is_replace: bool) -> None:
        """The files beside what the table holds, or in its place, in one commit."""
        with self._committing(place):
            change = table.transaction()
            if is_replace and has_files(table):
                change.delete(AlwaysTrue(), snapshot_properties={STAGING: staging})
            _add(change, files, staging)
            change.commit_transaction()

    def go_back(self, table: Table, place: Place, parent: int | None) -> None:
        """The table as it was at a snapshot, or before it had any."""
        with self._committing(place), table.manage_snapshots() as change:
            if parent is None:
                change.remove_branch(MAIN)
            else:
                change.rollback_to_snapshot(parent)

    def expire(self, table: Table, place: Place, snapshots: Sequence[int]) -> None:
        """Forgets snapshots that the table still knows."""
        known = {snapshot.snapshot_id for snapshot in table.snapshots()}
        if gone := [snapshot for snapshot in snapshots if snapshot in known]:
            with self._committing(place):
                table.maintenance.expire_snapshots().by_ids(gone).commit()

    def drop(self, table: Table, place: Place) -> None:
        """Takes the table out of the catalogue if it still is as it was loaded. Its files stay."""
        statement = delete(IcebergTables).where(
            IcebergTables.catalog_name == self._catalog.name,
            IcebergTables.table_namespace == place.namespace,
            IcebergTables.table_name == place.name,
            IcebergTables.metadata_location == table.metadata_location,
        )
        with self._committing(place), self._catalog.engine.begin() as connection:
            if connection.execute(statement).rowcount != 1:
                raise CommitFailedException("the table has other metadata now")

    def close(self) -> None:
        """Gives up its connections."""
        self._catalog.close()

    @contextmanager
    def _committing(self, place: Place) -> Iterator[None]:
        try:
            with self._translated():
                yield
        except (CommitFailedException, TableAlreadyExistsError, NoSuchTableError) as error:
            raise TableMoved(
                f"{place.namespace}.{place.name} was changed by somebody else meanwhile: {error}"
            ) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SQLAlchemyError, sqlite3.Error) as error:
            raise SystemUnavailable(f"the Iceberg catalogue {self._path}: {error}") from error


def address(path: Path) -> str:
    """A path as tables refer to it: as it is, since pyiceberg decodes nothing."""
    return f"{SCHEME}{path}"


def has_files(table: Table) -> bool:
    """Whether the table holds any data files."""
    return any(True for _ in table.scan().plan_files())


def files_of(table: Table, snapshot: int | None = None) -> set[Path]:
    """The data files of a snapshot, or of the current one, that lie in the file system."""
    tasks = table.scan(snapshot_id=snapshot).plan_files()
    return {Path(task.file.file_path.removeprefix(SCHEME)) for task in tasks}


def snapshots_of(table: Table, staging: str) -> list[Snapshot]:
    """The snapshots that a staging made and that the table stands on, the newest first."""
    current = table.current_snapshot()
    found = ancestors_of(current, table.metadata) if current else ()
    return [one for one in found if one.summary and one.summary.additional_properties.get(STAGING) == staging]


def _add(change: Transaction, files: Sequence[Path], staging: str) -> None:
    change.add_files([address(path) for path in files], snapshot_properties={STAGING: staging})
