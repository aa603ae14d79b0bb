"""Appending to a folder of parts: parts are moved in beside those that are there, under names that no other staging has.

The journal lists the parts before the first one moves, so that any call can end what a crash left. There are no transactions among files:
whoever reads meanwhile may see some of the parts. Everything here is called under the store's lock.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pymigrate.engine.adapters.connectors.part_formats import ending_of, facts, format_of_part, parts_of, rows_of
from pymigrate.engine.adapters.connectors.parts_inspection import PartsInspection
from pymigrate.engine.adapters.connectors.parts_store import (
    PUBLISHING,
    PartsStore,
    Publication,
    make_folder,
    move,
    sync_folder,
)
from pymigrate.engine.domain.errors import CannotUndo, MergeConflict, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.staging import Staging, StagingId

PART = "part-"


def ending_problems(staging: Staging, files: Sequence[Path], ending: str) -> Iterator[Problem]:
    """Files of one format lie in a folder, so that one glob reads them all."""
    formats = {(ending_of(path) or ending).partition(".")[0] for path in files} - {ending.partition(".")[0]}
    for other in sorted(formats):
        yield Problem("target.relation", f"`{staging.relation}` holds {other} files, and these would be {ending}")


def column_problems(staging: Staging, files: Sequence[Path]) -> Iterator[Problem]:
    """What keeps the staging's rows from lying beside those in the files: all parts of a folder have the same columns."""
    if not files:
        return
    form = format_of_part(files[0])
    known = {column.name: column.type for column in form.columns(files[0])}
    for column in staging.columns:
        field = f"source.columns.{column.name}"
        if column.name not in known:
            yield Problem(
                field, f"`{staging.relation}` has no column `{column.name}`{nearest(column.name, list(known))}"
            )
        elif form.has_types and known[column.name] != column.type:
            yield Problem(field, f"is {column.type}, and {known[column.name]} in `{staging.relation}`")
    for name in sorted(known.keys() - {column.name for column in staging.columns}):
        yield Problem("source.columns", f"`{staging.relation}` has a column `{name}`, which the source does not have")


def refuse_present_keys(store: PartsStore, staging: Staging, committed: Sequence[Path]) -> None:
    """Raises MergeConflict for keys that the relation holds already."""
    files = parts_of(store.root / staging.relation)
    if not staging.key or not files or not committed:
        return
    key = [column for column in staging.columns if column.name in staging.key]
    with PartsInspection(store.own, committed, key, files, key) as inspection:
        rows, examples = inspection.present_keys(staging.key)
    if rows:
        raise MergeConflict(
            f"{staging.relation} holds {rows:,} of the keys already that were to be appended, such as {', '.join(examples)}: "
            "nothing is appended; take those rows out of the source",
            field="target.load_mode",
        )


def append_in(store: PartsStore, staging: Staging, committed: Sequence[Path]) -> None:
    """Journals the parts, and moves them in."""
    files = tuple(
        (_final(staging.id, path.name), *fact[1:]) for path, fact in zip(committed, facts(committed), strict=True)
    )
    is_made = not (store.root / staging.relation).is_dir()
    store.journal(
        staging.id,
        Publication(PUBLISHING, staging.relation, False, rows_of(committed), files, is_append=True, is_made=is_made),
    )


def go_in(store: PartsStore, staging: StagingId, publication: Publication) -> None:
    """Moves in what is not there yet."""
    folder = store.root / publication.relation
    make_folder(folder)
    for name, _, _ in publication.files:
        staged = store.staging(staging) / _staged(staging, name)
        if staged.exists():
            move(staged, folder / name)


def come_out(store: PartsStore, staging: StagingId, publication: Publication) -> None:
    """Moves out what was moved in, and nothing else; the folder goes where the append made it and nothing is left in it."""
    folder, discarded = store.root / publication.relation, store.discarded(staging)
    make_folder(discarded)
    for name, _, _ in publication.files:
        if (folder / name).exists():
            move(folder / name, discarded / name)
    if publication.is_made and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        sync_folder(folder.parent)


def check_unchanged(store: PartsStore, staging: Staging, publication: Publication) -> None:
    """Raises CannotUndo unless each part has the size and the time of change that it had."""
    files = appended(store, publication)
    if facts([path for path in files if path.exists()]) != publication.files:
        raise CannotUndo(
            f"{staging.relation} was written to since: not all of the {len(files)} files that were appended are there as they were; "
            "nothing is taken out"
        )


def appended(store: PartsStore, publication: Publication) -> list[Path]:
    """The parts, where they are now."""
    return [store.root / publication.relation / name for name, _, _ in publication.files]


def _final(staging: StagingId, name: str) -> str:
    return f"{PART}{staging}-{name.removeprefix(PART)}"


def _staged(staging: StagingId, name: str) -> str:
    return f"{PART}{name.removeprefix(f'{PART}{staging}-')}"
