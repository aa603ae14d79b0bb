"""The two renames that put a folder in a relation's place, and back: journaled before each, so that any call can end them.

Everything here is called under the store's lock.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pymigrate.engine.adapters.connectors import parts_appending as appending
from pymigrate.engine.adapters.connectors.part_formats import FORMATS, facts, parts_of, rows_of
from pymigrate.engine.adapters.connectors.parts_store import (
    PUBLISHED,
    PUBLISHING,
    ROLLED_BACK,
    ROLLING_BACK,
    SEALED,
    PartsStore,
    Publication,
    make_folder,
    move,
    sync_folder,
)
from pymigrate.engine.domain.errors import CannotUndo, TargetOccupied
from pymigrate.engine.ports.staging import Staging, StagingId


def swap_in(store: PartsStore, staging: Staging, committed: Sequence[Path], ending: str) -> None:
    """Publishes the staging with these of its parts, whose names have the ending. Anything else in its folder is a part that was never
    committed."""
    folder, kept = store.staging(staging.id), frozenset(committed)
    for path in folder.iterdir():
        if path not in kept:
            path.unlink()
    if not committed:
        FORMATS[ending].write(folder / f"part-00000000.{ending}", staging.columns, [])
    sync_folder(folder)
    files = parts_of(folder)
    is_kept = (store.root / staging.relation).is_dir()
    store.journal(staging.id, Publication(PUBLISHING, staging.relation, is_kept, rows_of(files), facts(files)))
    settle(store, staging.id)


def append_in(store: PartsStore, staging: Staging, committed: Sequence[Path], ending: str) -> None:
    """Publishes these parts beside what the relation holds."""
    del ending
    appending.append_in(store, staging, committed)
    settle(store, staging.id)


def take_back(store: PartsStore, staging: Staging) -> None:
    """Undoes the publication, or says in the journal that there will be none, and deletes what was staged."""
    publication = settle(store, staging.id)
    if publication is None:
        store.journal(staging.id, Publication(ROLLED_BACK, staging.relation))
    elif publication.state == PUBLISHED:
        store.journal(staging.id, replace(publication, state=ROLLING_BACK))
        settle(store, staging.id)
    store.forget(staging.id)


def make_final(store: PartsStore, staging: Staging) -> None:
    """Says in the journal that there is no way back, and deletes what was kept for it."""
    publication = settle(store, staging.id)
    if publication is None or publication.state not in (PUBLISHED, SEALED):
        return
    if publication.state == PUBLISHED:
        store.journal(staging.id, replace(publication, state=SEALED))
    kept = store.kept(staging.id)
    shutil.rmtree(kept, ignore_errors=not kept.exists())
    store.forget(staging.id)


def settle(store: PartsStore, staging: StagingId) -> Publication | None:
    """Ends what a crash left in the middle, and gives the journal's document as it is then."""
    publication = store.publication(staging)
    if publication is None or publication.state in (PUBLISHED, ROLLED_BACK, SEALED):
        return publication
    if publication.state == PUBLISHING:
        go_in = appending.go_in if publication.is_append else _go_in
        go_in(store, staging, publication)
        publication = replace(publication, state=PUBLISHED)
    else:
        come_out = appending.come_out if publication.is_append else _come_out
        come_out(store, staging, publication)
        publication = replace(publication, state=ROLLED_BACK)
    store.journal(staging, publication)
    return publication


def check_unchanged(store: PartsStore, staging: Staging, publication: Publication) -> None:
    """Raises CannotUndo unless the folder's parts have the names, sizes and times of change that they had."""
    if publication.is_append:
        appending.check_unchanged(store, staging, publication)
        return
    if facts(parts_of(store.root / publication.relation)) != publication.files:
        raise CannotUndo(f"{staging.relation} no longer holds the files that were published: it was written to since")
    if publication.is_kept and not store.kept(staging.id).is_dir():
        raise CannotUndo(f"what {staging.relation} replaced is no longer kept in {store.kept(staging.id)}")


def _go_in(store: PartsStore, staging: StagingId, publication: Publication) -> None:
    folder, kept = store.root / publication.relation, store.kept(staging)
    if publication.is_kept and not kept.is_dir():
        make_folder(kept.parent)
        move(folder, kept)
    if store.staging(staging).is_dir():
        if folder.is_dir() and any(folder.iterdir()):
            raise TargetOccupied(
                f"somebody made {publication.relation} while it was published: move it away", field="target.relation"
            )
        make_folder(folder.parent)
        move(store.staging(staging), folder)


def _come_out(store: PartsStore, staging: StagingId, publication: Publication) -> None:
    folder, kept, discarded = store.root / publication.relation, store.kept(staging), store.discarded(staging)
    if not discarded.is_dir() and folder.is_dir():
        make_folder(discarded.parent)
        move(folder, discarded)
    if kept.is_dir():
        move(kept, folder)
