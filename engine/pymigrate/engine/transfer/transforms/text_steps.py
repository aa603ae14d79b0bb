"""Transforms of text: one column becomes several, or several become one."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Merge, Outcome, Refusal, Split
from pymigrate.engine.transfer.transforms.casting import cast
from pymigrate.engine.transfer.transforms.computed import flat, rows_where, without
from pymigrate.engine.transfer.transforms.problems import column_of, doubled, raise_if_any, unknown
from pymigrate.engine.transfer.transforms.sql import SqlEngine, literal, quote

STRING = ColumnType("string")


class TextStep:
    """Adds text columns that SQL makes of others, and leaves those out unless they are kept; see the port. A row of which `spoiled`
    is true is refused."""

    is_stateful = False

    def __init__(
        self,
        given: Sequence[ColumnInfo],
        left_out: Sequence[str],
        made: dict[str, str],
        engine: SqlEngine,
        spoiled: str = "false",
        refusal: Refusal | None = None,
    ) -> None:
        kept = [column for column in given if column.name not in left_out]
        self.columns = (*kept, *(ColumnInfo(name, STRING) for name in made))
        self.origins = {column.name: column.name for column in kept}
        self._items = {f"v{at}": expression for at, expression in enumerate(made.values())}
        self._spoiled = spoiled
        self._refusal = refusal
        self._engine = engine
        self._schema = arrow_schema(self.columns)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """One pass of SQL."""
        found = self._engine.run(batch, {**self._items, "spoiled": f"coalesce({self._spoiled}, false)"})
        arrays = [batch.column(name) for name in self.origins]
        arrays += [flat(found.column(name)).cast(pa.string()) for name in self._items]
        result = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        spoiled = rows_where(found.column("spoiled"))
        if not spoiled or self._refusal is None:
            return Outcome(result)
        rows = without(batch.num_rows, spoiled)
        refusals = tuple(Refusal(row, self._refusal.column, self._refusal.reason) for row in spoiled)
        return Outcome(result.take(rows), rows, refusals)

    def close(self) -> None:
        """Gives up its DuckDB."""
        self._engine.close()


def bind_split(spec: Split, given: Sequence[ColumnInfo]) -> TextStep:
    """Raises InvalidDefinition for a column that is no text, and for names that are there already."""
    raise_if_any(unknown("split.column", [spec.column], given))
    raise_if_any(_split_problems(spec, given))
    parts = f"string_split({quote(spec.column)}, {literal(spec.separator)})"
    made = {name: f"{parts}[{at}]" for at, name in enumerate(spec.into, start=1)}
    refusal = Refusal(0, spec.column, f"has more than {len(spec.into)} parts")
    left_out = () if spec.is_kept else (spec.column,)
    return TextStep(given, left_out, made, SqlEngine(), f"len({parts}) > {len(spec.into)}", refusal)


def bind_merge(spec: Merge, given: Sequence[ColumnInfo]) -> TextStep:
    """Raises InvalidDefinition for columns that have no text, and for a name that is there already."""
    raise_if_any(unknown("merge.columns", spec.columns, given))
    texts: list[str] = []
    engine = SqlEngine()
    try:
        raise_if_any(_merge_problems(spec, given, engine, texts))
    except BaseException:
        engine.close()
        raise
    names = [quote(name) for name in spec.columns]
    nothing = " AND ".join(f"{name} IS NULL" for name in names)
    merged = f"CASE WHEN {nothing} THEN NULL ELSE concat_ws({literal(spec.separator)}, {', '.join(texts)}) END"
    return TextStep(given, () if spec.is_kept else spec.columns, {spec.into: merged}, engine)


def _split_problems(spec: Split, given: Sequence[ColumnInfo]) -> Iterator[Problem]:
    if (kind := column_of(spec.column, given).type.kind) != "string":
        yield Problem("split.column", f"`{spec.column}` is {kind}: cast it to string first")
    kept = [column for column in given if spec.is_kept or column.name != spec.column]
    yield from doubled("split.into", [*kept, *(ColumnInfo(name, STRING) for name in spec.into)])


def _merge_problems(spec: Merge, given: Sequence[ColumnInfo], engine: SqlEngine, texts: list[str]) -> Iterator[Problem]:
    for name in spec.columns:
        native = engine.type_of(quote(name), given)
        how = cast(quote(name), native, STRING)
        if how is None or native == "BLOB":
            yield Problem("merge.columns", f"`{name}` is {native}, which has no text of its own: cast it first")
        else:
            texts.append(how.value)
    kept = [column for column in given if spec.is_kept or column.name not in spec.columns]
    yield from doubled("merge.into", [*kept, ColumnInfo(spec.into, STRING)])
