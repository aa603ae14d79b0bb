"""What becomes of rows that a transform or a type refuses, where there is no quarantine: the dataset fails, and says which they are."""

from collections.abc import Sequence

from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.ports.source import RefusedRow

SHOWN_MAX = 3


def refuse_rows(dataset: str, rows: Sequence[RefusedRow]) -> None:
    """Raises DataRefused that names the first rows, unless there is none."""
    if rows:
        raise DataRefused(
            f"dataset {dataset}: its transforms refuse {len(rows):,} rows of a chunk: {said(rows)}; mend the rows or the transforms, or "
            "give the dataset a quarantine with a budget",
            field="transforms",
        )


def said(rows: Sequence[RefusedRow]) -> str:
    """The first of the rows, each with its reason."""
    shown = [
        f"row {row.row}{f', column `{row.column}`' if row.column else ''}: {row.reason}" for row in rows[:SHOWN_MAX]
    ]
    more = len(rows) - len(shown)
    return "; ".join(shown) + (f"; and {more:,} more" if more else "")
