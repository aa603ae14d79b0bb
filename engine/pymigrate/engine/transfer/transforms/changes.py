"""Changes of a source as its dataset's target gets them: rows go through the transforms, and keys get the names that they have after them.

That is sound for transforms that look at each row by itself and leave the key's values as they are: what a row becomes is then known
from it alone, and a row that is gone is found by its key.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import RowChanges
from pymigrate.engine.transfer.transforms.pipeline import Pipeline


class Shape(Protocol):
    """What a source is asked for, and what is made of its answer. `columns` and `key` are the source's."""

    @property
    def columns(self) -> Sequence[ColumnInfo]:
        """Of the rows that changes tell."""
        ...

    @property
    def key(self) -> Sequence[str]:
        """By which changes are told."""
        ...

    def apply(self, changes: RowChanges) -> RowChanges:
        """The changes as the target gets them. Raises DataRefused."""
        ...

    def close(self) -> None:
        """Gives up what it holds."""
        ...


class AsTheyAre:
    """Nothing is made of changes."""

    def __init__(self, columns: Sequence[ColumnInfo], key: Sequence[str]) -> None:
        self.columns = columns
        self.key = key

    def apply(self, changes: RowChanges) -> RowChanges:
        """The same."""
        return changes

    def close(self) -> None:
        """Nothing is open."""


class Transformed:
    """What a pipeline makes of them. `names` are the key's before and after it."""

    def __init__(self, dataset: str, pipeline: Pipeline, names: Sequence[tuple[str, str]]) -> None:
        self._dataset = dataset
        self._pipeline = pipeline
        self._names_after = [after for _, after in names]
        self.columns: Sequence[ColumnInfo] = pipeline.given
        self.key: Sequence[str] = [before for before, _ in names]

    def apply(self, changes: RowChanges) -> RowChanges:
        """A row that is filtered out is taken out of the target, too."""
        shaped = self._pipeline.apply(changes.rows)
        for refusal in shaped.refusals:
            place = ", ".join(f"{name}={changes.rows.column(name)[refusal.row].as_py()}" for name in self.key)
            column = f", column `{refusal.column}`" if refusal.column else ""
            raise DataRefused(
                f"dataset {self._dataset}: its transforms refuse the changed row {place}{column}: {refusal.reason}; mend the row or the "
                "transforms, then retry the run",
                field="transforms",
            )
        keys = pa.RecordBatch.from_arrays(changes.keys.columns, names=self._names_after)
        return replace(changes, keys=keys, rows=shaped.batch)

    def close(self) -> None:
        """Gives up the pipeline."""
        self._pipeline.close()
