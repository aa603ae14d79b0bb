"""Pipelines over three columns, with rows as tuples."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Refusal, TransformSpec
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.pipeline import Pipeline

COLUMNS = (
    ColumnInfo("id", ColumnType("int64")),
    ColumnInfo("name", ColumnType("string")),
    ColumnInfo("price", ColumnType("string")),
)
Row = Sequence[object]


def batch_of(rows: Sequence[Row], columns: Sequence[ColumnInfo] = COLUMNS) -> pa.RecordBatch:
    schema = arrow_schema(columns)
    arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextmanager
def opened(specs: Sequence[TransformSpec], columns: Sequence[ColumnInfo] = COLUMNS) -> Iterator[Pipeline]:
    pipeline = Pipeline(specs, columns, Binding().bind)
    try:
        yield pipeline
    finally:
        pipeline.close()


def run(pipeline: Pipeline, rows: Sequence[Row]) -> tuple[list[tuple[object, ...]], list[Refusal]]:
    shaped = pipeline.apply(batch_of(rows, pipeline.given))
    assert shaped.batch.schema == arrow_schema(pipeline.columns)
    return [tuple(row.values()) for row in shaped.batch.to_pylist()], list(shaped.refusals)


def problems_of(specs: Sequence[TransformSpec]) -> tuple[Problem, ...]:
    try:
        with opened(specs):
            return ()
    except InvalidDefinition as error:
        return error.problems
