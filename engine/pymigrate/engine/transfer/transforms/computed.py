"""Transforms that compute: a condition that keeps rows, and columns from expressions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import CastAll, Derive, Filter, Outcome, Refusal
from pymigrate.engine.transfer.transforms.casting import Cast, cast
from pymigrate.engine.transfer.transforms.problems import column_of, doubled, raise_if_any, unknown
from pymigrate.engine.transfer.transforms.sql import SqlEngine, quote


class FilterStep:
    """See the port. A row on which the condition fails is refused; one for which it is false or NULL is left out."""

    is_stateful = False

    def __init__(self, given: Sequence[ColumnInfo], condition: str, engine: SqlEngine) -> None:
        self.columns = tuple(given)
        self.origins = {column.name: column.name for column in given}
        self._condition = condition
        self._engine = engine

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """One pass of SQL."""
        found = self._engine.run(
            batch, {"failed": "r IS NULL", "kept": "coalesce(r.v, false)"}, {"r": tried(self._condition)}
        )
        refusals = tuple(
            Refusal(row, "", f"the filter's condition fails on it: {self._engine.complaint(batch.slice(row, 1), self._condition)}")
            for row in rows_where(found.column("failed"))
        )  # fmt: skip
        rows = pa.array(rows_where(found.column("kept")), pa.int64())
        return Outcome(batch.take(rows), rows, refusals)

    def close(self) -> None:
        """Gives up its DuckDB."""
        self._engine.close()


@dataclass(frozen=True, slots=True)
class Computed:
    """A column that is computed: what of, how a value becomes one of its type, and what is said of one that does not."""

    column: ColumnInfo
    expression: str
    cast: Cast
    is_lenient: bool = False


class ComputeStep:
    """Adds computed columns, or puts them in the place of those of their name; see the port."""

    is_stateful = False

    def __init__(self, given: Sequence[ColumnInfo], computed: Sequence[Computed], engine: SqlEngine) -> None:
        by_name = {each.column.name: each.column for each in computed}
        kept = [by_name.pop(column.name, column) for column in given]
        self.columns = (*kept, *by_name.values())
        names = {each.column.name for each in computed}
        self.origins = {column.name: column.name for column in given if column.name not in names}
        self._computed = tuple(computed)
        self._engine = engine
        self._schema = arrow_schema(self.columns)
        self._inner = {f"r{at}": tried(each.expression) for at, each in enumerate(computed)}
        self._items: dict[str, str] = {}
        for at, each in enumerate(computed):
            self._items[f"v{at}"] = each.cast.value
            self._items[f"failed{at}"] = f"r{at} IS NULL"
            self._items[f"holds{at}"] = f"r{at} IS NOT NULL AND coalesce({each.cast.holds}, false)"

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """One pass of SQL; rows whose values do not hold are refused, each for the first column that does not."""
        found = self._engine.run(batch, self._items, self._inner)
        refusals: dict[int, Refusal] = {}
        values: dict[str, pa.Array] = {}
        for at, each in enumerate(self._computed):
            name, kind = each.column.name, each.column.type
            array = flat(found.column(f"v{at}"))
            holds = flat(found.column(f"holds{at}"))
            if each.is_lenient:
                array = pc.if_else(holds, array, pa.scalar(None, array.type))
            else:
                failed = set(rows_where(found.column(f"failed{at}")))
                for row in rows_where(pc.invert(holds)):
                    if row in failed:
                        said = self._engine.complaint(batch.slice(row, 1), each.expression)
                        reason = f"its expression fails: {said}"
                    else:
                        reason = f"the value is no {kind}, or not without losing a part of it"
                    refusals.setdefault(row, Refusal(row, name, reason))
            values[name] = array.cast(self._schema.field(name).type)
        arrays = [values[name] if name in values else batch.column(name) for name in self._schema.names]
        result = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        if not refusals:
            return Outcome(result)
        rows = without(batch.num_rows, list(refusals))
        return Outcome(result.take(rows), rows, tuple(refusals[row] for row in sorted(refusals)))

    def close(self) -> None:
        """Gives up its DuckDB."""
        self._engine.close()


def bind_filter(spec: Filter, given: Sequence[ColumnInfo]) -> FilterStep:
    """Raises InvalidDefinition for a condition that is none."""
    engine = SqlEngine()
    try:
        raise_if_any(_condition_problems(spec, given, engine))
    except BaseException:
        engine.close()
        raise
    return FilterStep(given, spec.condition, engine)


def bind_derive(spec: Derive, given: Sequence[ColumnInfo]) -> ComputeStep:
    """Raises InvalidDefinition for expressions and types that do not go together."""
    engine = SqlEngine()
    computed: list[Computed] = []
    try:
        raise_if_any(_derive_problems(spec, given, engine, computed))
    except BaseException:
        engine.close()
        raise
    return ComputeStep(given, computed, engine)


def bind_cast(spec: CastAll, given: Sequence[ColumnInfo]) -> ComputeStep:
    """Raises InvalidDefinition for columns that are not there, and for types between which no cast keeps values."""
    raise_if_any(unknown("cast.columns", spec.columns, given))
    engine = SqlEngine()
    computed: list[Computed] = []
    try:
        raise_if_any(_cast_problems(spec, given, engine, computed))
    except BaseException:
        engine.close()
        raise
    return ComputeStep(given, computed, engine)


def tried(expression: str) -> str:
    """The SQL of a struct with the expression's value as `v`; NULL where the expression fails."""
    return f"TRY({{'v': ({expression}\n)}})"


def rows_where(mask: pa.ChunkedArray | pa.Array) -> list[int]:
    """The rows for which a mask is true."""
    found: list[int] = pc.indices_nonzero(
        mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
    ).to_pylist()
    return found


def without(rows: int, left_out: Sequence[int]) -> pa.Int64Array:
    """The numbers of so many rows but those that are left out."""
    gone = frozenset(left_out)
    return pa.array([row for row in range(rows) if row not in gone], pa.int64())


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _condition_problems(spec: Filter, given: Sequence[ColumnInfo], engine: SqlEngine) -> Iterator[Problem]:
    native = ""
    for problem in _expression_problems("filter.condition", spec.condition, given, engine):
        yield problem
        native = "?"
    if not native and (found := engine.type_of(spec.condition, given)) != "BOOLEAN":
        yield Problem("filter.condition", f"must be true or false, and is {found}")


def _cast_problems(
    spec: CastAll, given: Sequence[ColumnInfo], engine: SqlEngine, computed: list[Computed]
) -> Iterator[Problem]:
    for name, goal in spec.columns.items():
        column = column_of(name, given)
        native = "JSON" if column.type.kind == "json" else engine.type_of(quote(name), given)
        how = cast(f"r{len(computed)}.v", native, goal.type)
        if how is None:
            said = f"no {column.type} becomes {goal.type} as it is: derive a column, and say in its expression how"
            yield Problem(f"cast.columns.{name}.type", said)
            continue
        made = ColumnInfo(name, goal.type, column.is_required and not goal.is_lenient)
        computed.append(Computed(made, quote(name), how, goal.is_lenient))


def _derive_problems(
    spec: Derive, given: Sequence[ColumnInfo], engine: SqlEngine, computed: list[Computed]
) -> Iterator[Problem]:
    for name in sorted(spec.columns):
        derived, path = spec.columns[name], f"derive.columns.{name}"
        found = tuple(_expression_problems(f"{path}.expression", derived.expression, given, engine))
        yield from found
        if found:
            continue
        native = engine.type_of(derived.expression, given)
        how = cast(f"r{len(computed)}.v", native, derived.type)
        if how is None:
            yield Problem(f"{path}.type", f"no {native} becomes {derived.type} as it is: say in the expression how")
        else:
            computed.append(Computed(ColumnInfo(name, derived.type), derived.expression, how))
    known = {column.name for column in given}
    yield from doubled(
        "derive.columns", [*given, *(ColumnInfo(n, d.type) for n, d in spec.columns.items() if n not in known)]
    )


def _expression_problems(
    path: str, expression: str, given: Sequence[ColumnInfo], engine: SqlEngine
) -> Iterator[Problem]:
    found = engine.objections(expression, given)
    for said in found:
        yield Problem(path, said)
    if not found:
        try:
            engine.type_of(expression, given)
        except ValueError as error:
            yield Problem(path, f"does not fit its columns: {error}")
