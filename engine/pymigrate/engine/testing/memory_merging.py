"""Merging in the fake target: rows by key into a relation, and out of it again."""

from collections.abc import Collection, Mapping

import pyarrow as pa

from pymigrate.engine.domain.errors import CannotUndo, MergeConflict
from pymigrate.engine.ports.connector import MergePolicy, Staging, arrow_schema
from pymigrate.engine.testing.memory import MemoryMerge, MemoryRelation, Row

EXAMPLES_MAX = 10


def merged(
    staging: Staging, staged: MemoryRelation, there: MemoryRelation | None
) -> tuple[MemoryRelation, MemoryMerge]:
    """The relation with the staged rows in it, and what the way back needs."""
    before = there or MemoryRelation(staging.columns, staging.key)
    now, coming = rows_by_key(staging, before), rows_by_key(staging, staged)
    inserted = {key for key in coming if key not in now}
    differing = {key: now[key] for key in coming if key in now and now[key] != coming[key]}
    overwritten = differing if staging.merge is MergePolicy.OVERWRITE else {}
    written = {key: row for key, row in coming.items() if key in inserted or key in overwritten}
    found = MemoryMerge(staged, frozenset(inserted), overwritten, len(differing), is_made=there is None)
    return _with_rows(staging, before, written), found


def conflicts(staging: Staging, staged: MemoryRelation, there: MemoryRelation | None) -> tuple[tuple[Row, Row], ...]:
    """Both rows of each conflict."""
    if there is None:
        return ()
    now, coming = rows_by_key(staging, there), rows_by_key(staging, staged)
    return tuple((now[key], row) for key, row in coming.items() if key in now and now[key] != row)


def conflict(staging: Staging, pairs: tuple[tuple[Row, Row], ...]) -> MergeConflict:
    """What is raised where the policy is to fail."""
    return MergeConflict(
        f"{staging.relation} holds {len(pairs):,} rows with the same key and other content", field="conflict_policy"
    )


def check_merge(staging: Staging, merge: MemoryMerge, there: MemoryRelation | None) -> None:
    """Raises CannotUndo unless every merged row is as it was written."""
    now = rows_by_key(staging, there) if there is not None else {}
    coming = rows_by_key(staging, merge.staged)
    changed = [key for key in (*merge.inserted, *merge.overwritten) if now.get(key) != coming[key]]
    if changed:
        keys = ", ".join(str(key[0]) if len(key) == 1 else str(key) for key in sorted(changed, key=str)[:EXAMPLES_MAX])
        raise CannotUndo(
            f"{staging.relation} was written to since: rows with the keys {keys} no longer are what was merged"
        )


def unmerged(staging: Staging, merge: MemoryMerge, there: MemoryRelation) -> MemoryRelation | None:
    """The relation as it was; None where the merge made it and nothing is left in it."""
    left = _with_rows(staging, there, merge.overwritten, merge.inserted)
    return None if merge.is_made and not left.rows else left


def rows_by_key(staging: Staging, relation: MemoryRelation) -> dict[Row, Row]:
    """The rows by key, in the staging's columns."""
    names = [column.name for column in staging.columns]
    at = [names.index(name) for name in staging.key]
    rows = [tuple(row[name] for name in names) for row in relation.table().to_pylist()]
    return {tuple(row[place] for place in at): row for row in rows}


def _with_rows(
    staging: Staging, relation: MemoryRelation, written: Mapping[Row, Row], without: Collection[Row] = ()
) -> MemoryRelation:
    """The relation with these rows written, by key, and others taken out. Columns that the staging does not have stay as they are."""
    names = [column.name for column in staging.columns]
    rows: dict[Row, dict[str, object]] = {}
    for row in relation.table().to_pylist():
        rows[tuple(row[name] for name in staging.key)] = row
    for key, values in written.items():
        rows[key] = rows.get(key, {}) | dict(zip(names, values, strict=True))
    kept = [row for key, row in rows.items() if key not in without]
    schema = arrow_schema(relation.columns)
    arrays = [pa.array([row.get(field.name) for row in kept], field.type) for field in schema]
    return relation.holding((pa.RecordBatch.from_arrays(arrays, schema=schema),))
