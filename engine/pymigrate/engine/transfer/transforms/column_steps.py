"""Transforms that touch no value: columns get other names, are left out, or change their order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Drop, Outcome, Rename, Select
from pymigrate.engine.transfer.transforms.problems import doubled, raise_if_any, unknown


class ColumnStep:
    """The columns of `origins` (new name → given name), in its order; see the port."""

    is_stateful = False

    def __init__(self, given: Sequence[ColumnInfo], origins: Mapping[str, str]) -> None:
        by_name = {column.name: column for column in given}
        self.columns = tuple(replace(by_name[old], name=new) for new, old in origins.items())
        self.origins = dict(origins)
        self._places = [list(by_name).index(old) for old in origins.values()]
        self._schema = arrow_schema(self.columns)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Nothing is copied."""
        return Outcome(pa.RecordBatch.from_arrays([batch.column(at) for at in self._places], schema=self._schema))

    def close(self) -> None:
        """Holds nothing."""


def bind_rename(spec: Rename, given: Sequence[ColumnInfo]) -> ColumnStep:
    """Raises InvalidDefinition for columns that are not there, and for a name that two would have."""

    def problems() -> Iterator[Problem]:
        for old, new in spec.names.items():
            yield from unknown(f"rename.columns.{old}", [old], given)
            if not new:
                yield Problem(f"rename.columns.{old}", "needs a new name")
        yield from doubled(
            "rename.columns", [replace(each, name=spec.names.get(each.name, each.name)) for each in given]
        )

    raise_if_any(problems())
    return ColumnStep(given, {spec.names.get(column.name, column.name): column.name for column in given})


def bind_select(spec: Select, given: Sequence[ColumnInfo]) -> ColumnStep:
    """Raises InvalidDefinition for columns that are not there."""
    raise_if_any(unknown("select.columns", spec.columns, given))
    return ColumnStep(given, {name: name for name in spec.columns})


def bind_drop(spec: Drop, given: Sequence[ColumnInfo]) -> ColumnStep:
    """Raises InvalidDefinition for columns that are not there, and where none would be left."""
    raise_if_any(unknown("drop.columns", spec.columns, given))
    kept = {column.name: column.name for column in given if column.name not in spec.columns}
    if not kept:
        raise_if_any([Problem("drop.columns", "would leave no column")])
    return ColumnStep(given, kept)
