"""Columns that grow with every insert and update, whatever the system: what is asked of one, how far back a round reads again, and what
has gone backwards.

Values are compared as texts of one form: digits, or ISO 8601 to the second. A bound that is too low costs time; one that is too high
would cost rows, so that parts of a second, and of a day where there are days alone, are dropped.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pymigrate.engine.domain.errors import Problem, SourceChanged
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import GrowingColumn
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation

FIELD = "catch_up.column.name"
SECONDS_DEFAULT = 600
UNITS_DEFAULT = 100_000
EMPTY = Position("")
EVENTS = {"i": "INSERT", "u": "UPDATE", "d": "DELETE"}  # that a trigger each keeps out, by the end of its name
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:([ T])(\d\d:\d\d:\d\d).*)?", re.DOTALL)
_DAY = "%Y-%m-%d"


class KeepsNothing:
    """The part of a Capture that is about a log, for one that has none: the rows keep their changes themselves."""

    def present(self) -> Position:
        """A column has no place of its own in a log: each round reads how far it is."""
        return EMPTY

    def confirm(self, name: str, position: Position) -> None:
        """Nothing is kept."""

    def stop(self, name: str) -> None:
        """Nothing is kept."""


def column_problems(
    relation: SourceRelation,
    column: GrowingColumn,
    known: Mapping[str, ColumnInfo],
    key: Sequence[str],
    grows: Callable[[ColumnInfo], bool],
) -> Iterator[Problem]:
    """Everything of the column and the key that keeps changes from being found. `grows` says whether values of a column have an order
    that a change can go on with."""
    found = known.get(column.name)
    if found is None:
        yield Problem(FIELD, f"`{relation.relation}` has no column `{column.name}`{nearest(column.name, known)}")
    elif not grows(found):
        yield Problem(FIELD, f"`{found.name}` is {found.native_type}: name a time, a date or a number")
    elif not found.is_required:
        yield Problem(FIELD, f"`{found.name}` may be NULL, and such rows would not be seen: declare it NOT NULL")
    if not key:
        yield Problem("key", f"`{relation.relation}` has no key: changed rows are found by it")


def number_bound(value: str, overlap: int) -> str:
    """From where on numbers are read again."""
    return format(Decimal(value) - (overlap or UNITS_DEFAULT), "f")


def moment_bound(value: str, overlap: int) -> str | None:
    """From where on times or days are read again, in the form of the value; None: from the first one. Raises ValueError for what is no
    moment in ISO 8601."""
    parts = _MOMENT.fullmatch(value)
    if parts is None:
        raise ValueError(f"`{value}` is no moment")
    day, separator, time = parts.groups()
    seconds = timedelta(seconds=overlap or SECONDS_DEFAULT)
    try:
        if separator is None:
            return (datetime.strptime(day, _DAY) - seconds).strftime(_DAY)  # noqa: DTZ007 (compared with what has no zone)
        form = f"{_DAY}{separator}%H:%M:%S"
        return (datetime.strptime(f"{day}{separator}{time}", form) - seconds).strftime(form)  # noqa: DTZ007 (the same)
    except OverflowError:
        return None


def went_backwards(relation: SourceRelation, column: GrowingColumn, before: str, now: str) -> SourceChanged:
    """The error for a column whose highest value is lower than it was, by more than the overlap."""
    found = f"`{now}` now" if now else "gone with every row"
    return SourceChanged(
        f"{relation.relation}: the highest value of `{column.name}` was `{before}` and is {found}: rows that held more were deleted or set "
        "back, which such a column can't tell, and what was written since could be missed; nothing is published. Retry the run when "
        "that is over, or raise `overlap`",
        field=FIELD,
    )


def gone(relation: SourceRelation, missing: str) -> SourceChanged:
    """The error for a column that is no longer there."""
    return SourceChanged(
        f"{relation.relation}: column `{missing}` is gone since the run was started: retry the run",
        field=f"source.columns.{missing}",
    )


def kept_out(relation: SourceRelation, characters_max: int = 1_000) -> str:
    """What somebody who writes is told."""
    said = " is being moved, or has moved: PyMigrate keeps writes out until the run is rolled back"
    return f"{relation.relation[: characters_max - len(said)]}{said}"
