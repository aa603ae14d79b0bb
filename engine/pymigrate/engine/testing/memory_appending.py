"""Appending in the fake target: rows into a relation, and exactly those out of it again. Rows of equal content are one row, so many
times."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.domain.errors import CannotUndo, FailedPrecondition, MergeConflict
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.testing.memory import MemoryAppend, MemoryRelation, Row


def appended(
    staging: Staging, staged: MemoryRelation, there: MemoryRelation | None
) -> tuple[MemoryRelation, MemoryAppend]:
    """The relation with the staged rows behind its own, and what the way back needs. Raises MergeConflict for a key that is there."""
    before = there or MemoryRelation(staging.columns, staging.key)
    if staging.key:
        held = {tuple(row[name] for name in staging.key) for row in before.table().to_pylist()}
        found = [row for row in staged.table().select(list(staging.key)).to_pylist() if tuple(row.values()) in held]
        if found:
            raise MergeConflict(
                f"{staging.relation} holds {len(found):,} of the keys already, such as {next(iter(found[0].values()))}",
                field="target.load_mode",
            )
    names = [column.name for column in before.columns]
    added = [tuple(row.get(name) for name in names) for row in staged.table().to_pylist()]
    after = _holding(before, [*_rows(before), *added])
    counts = Counter(added)
    present = Counter(row for row in _rows(after) if row in counts)
    return after, MemoryAppend(staged, counts, present, is_made=there is None)


def taken_out(staging: Staging, append: MemoryAppend, there: MemoryRelation | None) -> MemoryRelation | None:
    """The relation without what was appended; None where the append made it and nothing is left. Raises CannotUndo."""
    now = Counter(_rows(there)) if there is not None else Counter[Row]()
    if there is None or any(now[row] < times for row, times in append.present.items()):
        raise CannotUndo(
            f"{staging.relation} was written to since: not all rows that were appended are there as they were"
        )
    left = _without(_rows(there), append.added)
    return None if append.is_made and not left else _holding(there, left)


def exchanged(
    staged: MemoryRelation, surplus: Sequence[pa.RecordBatch], missing: Sequence[pa.RecordBatch]
) -> MemoryRelation:
    """The staging without some rows and with others. Raises FailedPrecondition for a row that is not there."""
    gone = Counter(tuple(row.values()) for batch in surplus for row in batch.to_pylist())
    left = _without(_rows(staged), gone)
    if len(left) != staged.rows - gone.total():
        raise FailedPrecondition("rows to take out are not there as they were read")
    return staged.holding((*_holding(staged, left).batches, *missing))


def counted_off(gone: MemoryAppend, later: MemoryAppend) -> MemoryAppend:
    """What was noted of a later append, without the rows that are gone."""
    if later.number < gone.number:
        return later
    present = {row: times - gone.added.get(row, 0) for row, times in later.present.items()}
    return replace(later, present=present)


def _without(rows: list[Row], added: Mapping[Row, int]) -> list[Row]:
    """The rows without the last ones of those that were added."""
    due, kept = Counter(added), []
    for row in reversed(rows):
        if due[row]:
            due[row] -= 1
        else:
            kept.append(row)
    return kept[::-1]


def _rows(relation: MemoryRelation) -> list[Row]:
    return [tuple(row.values()) for row in relation.table().to_pylist()]


def _holding(relation: MemoryRelation, rows: list[Row]) -> MemoryRelation:
    schema = arrow_schema(relation.columns)
    arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    return relation.holding((pa.RecordBatch.from_arrays(arrays, schema=schema),))
