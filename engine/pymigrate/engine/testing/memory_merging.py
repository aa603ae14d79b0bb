"""Merging in the fake target: rows by key into a relation, and out of it again."""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from pymigrate.engine.domain.errors import CannotUndo, MergeConflict
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import MergePolicy, Staging
from pymigrate.engine.testing.memory import MemoryMerge, MemoryRelation, Row

EXAMPLES_MAX = 10


def settled(staging: Staging, staged: MemoryRelation) -> tuple[MemoryRelation, int]:
    """The staging with one row of each key, or none where its versions are set aside, and how many keys had several versions."""
    versions = _versions(staging, staged)
    kept: dict[Row, Row] = {}
    for key, rows in versions.items():
        if len(rows) == 1 or staging.merge is not MergePolicy.QUARANTINE:
            kept[key] = max(rows, key=lambda row: _order(staging, row))
    contested = sum(len(rows) > 1 for rows in versions.values())
    return (_with_rows(staging, staged.holding(()), kept) if len(kept) < staged.rows else staged), contested


def unsettled(staging: Staging, staged: MemoryRelation) -> list[Row]:
    """Keys of which the policy can't say one row, or that hold a NULL."""
    found = []
    for key, rows in _versions(staging, staged).items():
        newest = max(_order(staging, row) for row in rows)
        match staging.merge:
            case MergePolicy.QUARANTINE:
                is_open = False
            case MergePolicy.LATEST:
                is_open = sum(_order(staging, row) == newest for row in rows) > 1
            case _:
                is_open = len(rows) > 1
        if is_open or None in key:
            found.append(key)
    return found


def fails(staging: Staging) -> bool:
    """Whether there are conflicts that fail a merge."""
    return staging.merge in {MergePolicy.FAIL, MergePolicy.LATEST}


def failing(staging: Staging, pairs: tuple[tuple[Row, Row], ...]) -> tuple[tuple[Row, Row], ...]:
    """The conflicts that the policy does not settle."""
    match staging.merge:
        case MergePolicy.FAIL:
            return pairs
        case MergePolicy.LATEST:
            return tuple((there, comes) for there, comes in pairs if _order(staging, there) == _order(staging, comes))
    return ()


def merged(
    staging: Staging, staged: MemoryRelation, there: MemoryRelation | None, contested: int = 0
) -> tuple[MemoryRelation, MemoryMerge]:
    """The relation with the staged rows in it, and what the way back needs. `contested`: keys that the staging had several versions of."""
    before = there or MemoryRelation(staging.columns, staging.key)
    now, coming = rows_by_key(staging, before), rows_by_key(staging, staged)
    inserted = {key for key in coming if key not in now}
    differing = {key: now[key] for key in coming if key in now and now[key] != coming[key]}
    overwritten = {key: row for key, row in differing.items() if _wins(staging, coming[key], row)}
    written = {key: row for key, row in coming.items() if key in inserted or key in overwritten}
    found = MemoryMerge(staged, frozenset(inserted), overwritten, len(differing) + contested, is_made=there is None)
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


def _wins(staging: Staging, comes: Row, there: Row) -> bool:
    """Whether the row that comes takes the place of the one that is there."""
    if staging.merge is MergePolicy.LATEST:
        return _order(staging, comes) > _order(staging, there)
    return staging.merge is MergePolicy.OVERWRITE


def _order(staging: Staging, row: Row) -> tuple[bool, Any]:
    """How late a row is; one without a value is the earliest."""
    if staging.merge is not MergePolicy.LATEST:
        return (False, 0)
    value = row[[column.name for column in staging.columns].index(staging.order_column)]
    return (value is not None, 0 if value is None else value)


def _versions(staging: Staging, relation: MemoryRelation) -> dict[Row, list[Row]]:
    """The distinct rows of each key, in the order in which they came."""
    names = [column.name for column in staging.columns]
    at = [names.index(name) for name in staging.key]
    found: dict[Row, dict[Row, None]] = {}
    for row in relation.table().to_pylist():
        values = tuple(row[name] for name in names)
        found.setdefault(tuple(values[place] for place in at), {})[values] = None
    return {key: list(rows) for key, rows in found.items()}


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
