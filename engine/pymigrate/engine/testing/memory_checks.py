"""What the fake target refuses, and what it says of rows that it was asked about."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import MergePolicy, Staging
from pymigrate.engine.testing.memory import MemoryRelation

EXAMPLES_MAX = 10
OWN = "__pymigrate_"


def raise_unknown(staging: Staging, known: Sequence[str]) -> None:
    """Raises InvalidDefinition for columns that the relation to merge into does not have."""
    problems = tuple(
        Problem(f"source.columns.{column.name}", f"`{staging.relation}` has no column `{column.name}`")
        for column in staging.columns
        if column.name not in known
    )
    if problems:
        raise InvalidDefinition(problems)


def staging_problems(staging: Staging) -> Iterator[Problem]:
    """What keeps the target from holding the columns."""
    if not staging.columns:
        yield Problem("source.columns", "there would be no column")
    seen: set[str] = set()
    for column in staging.columns:
        if not column.name or "\0" in column.name or column.name.lower() in seen:
            yield Problem(f"source.columns.{column.name}", "the name is empty, holds NUL or is there twice")
        seen.add(column.name.lower())
    if staging.merge and not staging.key:
        yield Problem("key", "a merge needs a key")
    if staging.merge is MergePolicy.LATEST:
        kinds = {column.name: column.type.kind for column in staging.columns if column.name not in staging.key}
        if kinds.get(staging.order_column, "json") in ("json", "bytes", "uuid", "bool"):
            yield Problem("order_column", f"`{staging.order_column}` is no column that can be put in order")
    for name in staging.key:
        if name not in {column.name for column in staging.columns}:
            yield Problem("key", f"there is no column `{name}`")
    if OWN in staging.relation:
        yield Problem("target.relation", "is a name that PyMigrate keeps for itself")


def refuse_nulls(staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
    """Raises DataRefused for a NULL where there must be none. `row` is how many rows came before."""
    schema = arrow_schema(staging.columns)
    for batch in batches:
        if not batch.schema.equals(schema):
            raise ValueError(f"a batch for {staging.relation} is not as its staging")
        for column, values in zip(staging.columns, batch.columns, strict=True):
            if column.is_required and values.null_count:
                at = values.is_null().to_pylist().index(True)
                raise DataRefused(f"{staging.relation}, column `{column.name}`, row {row + at + 1}: NULL")
        row += batch.num_rows


def tuples_of(relation: MemoryRelation, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """The rows' values of these columns."""
    for row in relation.table().select(list(columns)).to_pylist():
        yield tuple(row[name] for name in columns)


def examples_of(values: Iterable[tuple[object, ...]]) -> tuple[str, ...]:
    """The first of the values as texts."""
    texts = [["NULL" if cell is None else str(cell) for cell in value] for value in values]
    return tuple(text[0] if len(text) == 1 else f"({', '.join(text)})" for text in texts[:EXAMPLES_MAX])
