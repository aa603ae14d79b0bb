"""Transforms one after another: bound to a source's columns, then applied to its batches, with every refused row known by its place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Mask, Refusal, Transform, TransformSpec

Bind = Callable[[TransformSpec, Sequence[ColumnInfo]], Transform]


@dataclass(frozen=True, slots=True)
class Shaped:
    """What became of a batch: the rows that go on, and those that were refused, by their place in the batch that was given."""

    batch: pa.RecordBatch
    refusals: tuple[Refusal, ...]


class Pipeline:
    """Transforms bound to given columns. Close it. `lead` are steps before those of the dataset. Raises InvalidDefinition with the
    dataset's fields (`transforms[2].rename...`)."""

    def __init__(
        self,
        specs: Sequence[TransformSpec],
        given: Sequence[ColumnInfo],
        bind: Bind,
        lead: Sequence[TransformSpec] = (),
    ) -> None:
        self._steps: list[Transform] = []
        self.given = tuple(given)
        self.columns: tuple[ColumnInfo, ...] = tuple(given)
        self._origins = {column.name: column.name for column in given}
        self.hidden: frozenset[str] = frozenset()
        try:
            for at, spec in enumerate([*lead, *specs], start=-len(lead)):
                self._hide(spec)
                step = _bound(bind, spec, self.columns, at)
                self._steps.append(step)
                self._origins = {name: self._origins[old] for name, old in step.origins.items() if old in self._origins}
                self.columns = step.columns
        except BaseException:
            self.close()
            raise
        self._schema = arrow_schema(self.columns)

    @property
    def is_stateful(self) -> bool:
        """Whether what becomes of a row depends on rows before it."""
        return any(step.is_stateful for step in self._steps)

    def origin(self, name: str) -> str | None:
        """The given column whose values a column has unchanged."""
        return self._origins.get(name)

    def destination(self, given: str) -> str | None:
        """The first column that has the values of a given one unchanged."""
        return next((column.name for column in self.columns if self._origins.get(column.name) == given), None)

    def _hide(self, spec: TransformSpec) -> None:
        """Notes the given columns that nobody is to see; all of them, where it can't be said what a masked one was made of."""
        if isinstance(spec, Mask):
            given = {self._origins.get(name) for name in spec.columns}
            found = {column.name for column in self.given} if None in given else {name for name in given if name}
            self.hidden |= found

    def apply(self, batch: pa.RecordBatch) -> Shaped:
        """The batch after the last transform."""
        rows = pa.array(range(batch.num_rows), pa.int64())
        refusals: list[Refusal] = []
        for step in self._steps:
            if not batch.num_rows:
                return Shaped(_empty(self._schema), _sorted(refusals))
            outcome = step.apply(batch)
            refusals.extend(replace(refusal, row=rows[refusal.row].as_py()) for refusal in outcome.refusals)
            batch = outcome.batch
            if outcome.rows is not None:
                rows = rows.take(outcome.rows)
        return Shaped(batch, _sorted(refusals))

    def close(self) -> None:
        """Gives up what the transforms hold. May be called again."""
        for step in self._steps:
            step.close()


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _sorted(refusals: Sequence[Refusal]) -> tuple[Refusal, ...]:
    return tuple(sorted(refusals, key=lambda refusal: refusal.row))


def _bound(bind: Bind, spec: TransformSpec, columns: Sequence[ColumnInfo], at: int) -> Transform:
    try:
        return bind(spec, columns)
    except InvalidDefinition as error:
        raise InvalidDefinition(tuple(_placed(error.problems, at))) from error


def _placed(problems: Sequence[Problem], at: int) -> Iterator[Problem]:
    for problem in problems:
        yield Problem(f"transforms[{at}].{problem.field}", problem.description)
