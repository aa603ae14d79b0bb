"""How a staging becomes a snapshot of a table, and is taken back: each step journaled before, so that any call can go on.

To publish: the journal says what the table is; the parts move to the table's folder; the commit, which names the staging; the journal says
that it is there. Whoever finds the first without the last looks for the staging's name in the table's history: it is the truth.
Everything here is called under the store's lock.
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyiceberg.table import Table

from pymigrate.engine.adapters.connectors.iceberg_catalog import IcebergCatalog, Place, files_of, snapshots_of
from pymigrate.engine.adapters.connectors.iceberg_store import IcebergPublication, IcebergStore
from pymigrate.engine.adapters.connectors.iceberg_types import table_schema
from pymigrate.engine.adapters.connectors.part_formats import parts_of, rows_of
from pymigrate.engine.adapters.connectors.parts_store import (
    PUBLISHED,
    PUBLISHING,
    ROLLED_BACK,
    ROLLING_BACK,
    SEALED,
    make_folder,
    move,
    sync_folder,
)
from pymigrate.engine.domain.errors import CannotUndo
from pymigrate.engine.ports.staging import Staging, StagingId

_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")


def place_of(relation: str) -> Place:
    """`namespace.name`; a name alone is in the namespace `default`."""
    namespace, dot, name = relation.partition(".")
    return Place(namespace, name) if dot and namespace and name else Place("default", relation)


def relation_of(place: Place) -> str:
    """The opposite of `place_of`."""
    return place.name if place.namespace == "default" and "." not in place.name else f"{place.namespace}.{place.name}"


class IcebergPublications:
    """Publication and the way back, one staging at a time."""

    def __init__(self, store: IcebergStore, catalog: IcebergCatalog) -> None:
        self._store = store
        self._catalog = catalog

    def settle(self, staging: Staging) -> IcebergPublication | None:
        """Ends what a crash left in the middle, as far as it is certain: a publication that is not in the table stays `publishing`."""
        publication = self._store.publication(staging.id)
        if publication is None or publication.state not in {PUBLISHING, ROLLING_BACK}:
            return publication
        if publication.state == ROLLING_BACK:
            return self._come_out(staging, publication)
        table = self._catalog.find(place_of(staging.relation))
        if table is None or not (found := snapshots_of(table, staging.id)):
            return publication
        snapshots = tuple(snapshot.snapshot_id for snapshot in found)
        uuid = str(table.metadata.table_uuid)
        return self._note(staging.id, replace(publication, state=PUBLISHED, snapshots=snapshots, table=uuid))

    def put_in(self, staging: Staging, committed: Sequence[Path]) -> None:
        """Publishes what is not published yet. `committed` are its parts where they have not moved; anything else in the staging's folder
        is a part that was never committed. Raises TableMoved, and may be called again."""
        place = place_of(staging.relation)
        table = self._catalog.find(place)
        publication = IcebergPublication(
            PUBLISHING,
            staging.relation,
            is_kept=table is not None,
            rows=rows_of(committed or parts_of(self._store.root / _data(place, staging.id))),
            table="" if table is None else str(table.metadata.table_uuid),
            parent=_current(table),
            data=str(_data(place, staging.id)),
        )
        folder, data = self._store.staging(staging.id), self._store.data(publication)
        if folder.is_dir():
            kept = frozenset(committed)
            for path in folder.iterdir():
                if path not in kept:
                    path.unlink()
            sync_folder(folder)
        self._note(staging.id, publication)
        if folder.is_dir():
            make_folder(data.parent)
            move(folder, data)
        files = [_plainly_named(path) for path in parts_of(data)]
        if table is None:
            self._catalog.make(place, table_schema(staging.columns), data.parent.parent, files, staging.id)
        else:
            self._catalog.put(table, place, files, staging.id, is_replace=staging.is_replace)
        self.settle(staging)

    def check_unchanged(self, staging: Staging, publication: IcebergPublication) -> None:
        """Raises CannotUndo unless the table stands at the very snapshot that was published."""
        table = self._catalog.find(place_of(staging.relation))
        if table is None or str(table.metadata.table_uuid) != publication.table:
            raise CannotUndo(f"{staging.relation} is not the table that was published: put it in order by hand")
        if _current(table) != publication.snapshots[0]:
            raise CannotUndo(
                f"{staging.relation} no longer stands at the snapshot that was published: it was written to since"
            )
        if publication.parent is not None and table.snapshot_by_id(publication.parent) is None:
            raise CannotUndo(f"the snapshot {publication.parent} that {staging.relation} replaced is expired")

    def take_back(self, staging: Staging) -> None:
        """Undoes the publication, or says in the journal that there will be none, and deletes what was staged."""
        publication = self.settle(staging)
        if publication is None:
            self._note(staging.id, IcebergPublication(ROLLED_BACK, staging.relation))
        elif publication.state in {PUBLISHING, PUBLISHED}:
            self._come_out(staging, self._note(staging.id, replace(publication, state=ROLLING_BACK)))
        self._store.forget(staging.id)

    def make_final(self, staging: Staging) -> None:
        """Says in the journal that there is no way back, and expires the snapshot that was kept for it, with files that nothing else
        refers to."""
        publication = self.settle(staging)
        if publication is None or publication.state not in {PUBLISHED, SEALED}:
            return
        if publication.state == PUBLISHED:
            publication = self._note(staging.id, replace(publication, state=SEALED))
        place = place_of(staging.relation)
        table = self._catalog.find(place)
        if staging.is_replace and table is not None and str(table.metadata.table_uuid) == publication.table:
            kept = [*publication.snapshots[1:], *([] if publication.parent is None else [publication.parent])]
            known = [snapshot for snapshot in kept if table.snapshot_by_id(snapshot) and snapshot != _current(table)]
            files = {path for snapshot in known for path in files_of(table, snapshot)}
            self._catalog.expire(table, place, known)
            self._delete_unused(place, files)
        self._store.forget(staging.id)

    def forget(self, staging: Staging) -> None:
        """Deletes the journal's document of a publication that was undone, with what is left of a table that was made for it."""
        publication = self._store.publication(staging.id)
        if publication is None or publication.state != ROLLED_BACK:
            return
        if publication.data and not publication.is_kept and self._catalog.find(place_of(publication.relation)) is None:
            location = self._store.data(publication).parent.parent
            metadata = location / "metadata"
            shutil.rmtree(metadata, ignore_errors=not metadata.exists())
            for folder in (location / "data", location):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        self._store.unjournal(staging.id)

    def _come_out(self, staging: Staging, publication: IcebergPublication) -> IcebergPublication:
        """Ends the way back, wherever it stands."""
        place = place_of(publication.relation)
        table = self._catalog.find(place)
        is_same = table is not None and str(table.metadata.table_uuid) == publication.table
        if publication.snapshots and table is not None and is_same:
            if _current(table) == publication.snapshots[0] and not publication.is_kept:
                self._catalog.drop(table, place)
            elif _current(table) == publication.snapshots[0]:
                self._catalog.go_back(table, place, publication.parent)
            elif _current(table) != publication.parent:
                self._note(staging.id, replace(publication, state=PUBLISHED))
                raise CannotUndo(f"{staging.relation} was written to while it was rolled back: put it in order by hand")
            if publication.is_kept and (table := self._catalog.find(place)):
                self._catalog.expire(table, place, publication.snapshots)
        data = self._store.data(publication)
        if publication.data:
            shutil.rmtree(data, ignore_errors=not data.exists())
        return self._note(staging.id, replace(publication, state=ROLLED_BACK))

    def _delete_unused(self, place: Place, files: set[Path]) -> None:
        table = self._catalog.find(place)
        if table is None:
            return
        for snapshot in table.snapshots():
            files = files - files_of(table, snapshot.snapshot_id)
        for path in files:
            if path.is_relative_to(self._store.root):
                path.unlink(missing_ok=True)

    def _note(self, staging: StagingId, publication: IcebergPublication) -> IcebergPublication:
        self._store.journal(staging, publication)
        return publication


def _current(table: Table | None) -> int | None:
    snapshot = table.current_snapshot() if table else None
    return snapshot.snapshot_id if snapshot else None


def _data(place: Place, staging: StagingId) -> Path:
    """The folder of a staging's parts: `<namespace>/<table>/data/<staging>`, names as far as a path takes them as they are."""
    return Path(_folder(place.namespace)) / _folder(place.name) / "data" / staging


def _plainly_named(path: Path) -> Path:
    """The part under a name without escapes, which readers of tables may take for something else; the same part has the same name."""
    if "%" not in path.name:
        return path
    digest = hashlib.sha256(path.name.encode()).hexdigest()[:12]
    plain = path.with_name(f"{_ESCAPE.sub('_', path.stem)}-{digest}{path.suffix}")
    move(path, plain)
    return plain


def _folder(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{re.sub('[^A-Za-z0-9_-]', '_', name)[:60]}-{digest}"
