"""What every target asks of a staging's definition and of its batches before anything is written."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.adapters.connectors.target_statements import SCHEMA, is_own
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import Checkpoint, Staging

BATCH_ROWS_MAX = 65_536
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def name_problems(staging: Staging, bytes_max: int | None) -> Iterator[Problem]:
    """What is wrong with the names of columns and key; `bytes_max` is the longest column name, None without a limit."""
    if not staging.columns:
        yield Problem("source.columns", f"`{staging.relation}` would have no column")
    seen: dict[str, str] = {}
    for column in staging.columns:
        field = f"source.columns.{column.name}"
        if not column.name or "\0" in column.name:
            yield Problem(field, "a column's name is empty or holds the character NUL")
        if bytes_max is not None and len(column.name.encode()) > bytes_max:
            yield Problem(field, f"the name is longer than the {bytes_max} bytes that the target takes")
        if (other := seen.setdefault(column.name.lower(), column.name)) is not column.name:
            yield Problem(field, f"the target can't tell it from the column `{other}`")
    names = {column.name for column in staging.columns}
    for key in staging.key:
        if key not in names:
            yield Problem("key", f"there is no column `{key}`")


def table_problems(staging: Staging, schema: str, name: str, bytes_max: int | None) -> Iterator[Problem]:
    """What is wrong with the relation's own name in a SQL system."""
    field = "target.relation"
    if not name or "\0" in name or "\0" in schema:
        yield Problem(field, "the name is empty or holds the character NUL")
    if is_own(name) or schema.lower() == SCHEMA:
        yield Problem(field, f"`{staging.relation}` is a name that PyMigrate keeps for itself")
    for part in (schema, name):
        if bytes_max is not None and len(part.encode()) > bytes_max:
            yield Problem(field, f"`{part}` is longer than the {bytes_max} bytes that the target takes")


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raises InvalidDefinition with the problems, unless there is none."""
    if found := tuple(problems):
        raise InvalidDefinition(found)


def check_step(staging: Staging, before: Checkpoint, after: Checkpoint, batches: Sequence[pa.RecordBatch]) -> None:
    """Raises ValueError where a commit contradicts itself: the staged rows are exactly those that the checkpoints count."""
    schema = arrow_schema(staging.columns)
    for batch in batches:
        if not batch.schema.equals(schema):
            raise ValueError(
                f"a batch for {staging.relation} is not as its staging: {batch.schema} instead of {schema}"
            )
    rows = sum(batch.num_rows for batch in batches)
    if after.rows - before.rows != rows or after.chunks <= before.chunks:
        raise ValueError(f"{staging.relation}: {rows} rows do not lead from {before} to {after}")


def refused(staging: Staging, column: str, row: int, why: str) -> DataRefused:
    """The error for a value; `row` counts the lane's rows from 1, in the order in which they arrive."""
    return DataRefused(f"{staging.relation}, column `{column}`, row {row}: {why}", field=f"source.columns.{column}")


def check_values(staging: Staging, batches: Sequence[pa.RecordBatch], row: int) -> None:
    """Raises DataRefused for a NULL where there may be none, and for a uuid that a uuid type would rewrite.

    `row` is how many rows of the lane came before.
    """
    for batch in batches:
        for at, column in enumerate(staging.columns):
            values = batch.column(at)
            if column.is_required and values.null_count:
                bad = pc.index(values.is_null(), True).as_py()
                raise refused(staging, column.name, row + bad + 1, "NULL in a column that is declared NOT NULL")
            if column.type.kind == "uuid":
                refuse_where(staging, column.name, row, pc.invert(pc.match_substring_regex(values, _UUID)),
                             "no uuid of 32 lower-case hexadecimal digits with dashes")  # fmt: skip
        row += batch.num_rows


def refuse_where(staging: Staging, column: str, row: int, mask: pa.BooleanArray, why: str) -> None:
    """Raises DataRefused for the first value for which `mask` is true."""
    at = pc.index(mask, True).as_py()
    if at >= 0:
        raise refused(staging, column, row + at + 1, why)
