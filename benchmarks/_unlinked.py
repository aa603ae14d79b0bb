"""Steps of runs as they were appended before there were links: what they are compared with."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, insert, select
from sqlmodel import col

from pymigrate.engine.adapters.store.feed_tables import FeedEntryRow
from pymigrate.engine.adapters.store.run_tables import RunRow
from pymigrate.engine.adapters.store.transactions import WritingTransaction
from pymigrate.engine.domain.run import RunEvent

_INSERT = insert(FeedEntryRow).values(xid=WritingTransaction()).inline()
_LAST = select(
    col(RunRow.plan_hash),
    select(func.max(FeedEntryRow.sequence)).where(col(FeedEntryRow.run) == bindparam("of_run")).scalar_subquery(),
).where(col(RunRow.name) == bindparam("of_run"))


def append_unlinked(unit: Any, run: str, events: Sequence[RunEvent]) -> None:
    """As the store did it: looks for the run and its last step, and adds rows without a hash."""
    connection = unit.runs._connection  # noqa: SLF001 - a unit has no way to leave links out
    plan_hash, last = connection.execute(_LAST, {"of_run": run}).one()
    for place, event in enumerate(events, start=(last or 0) + 1):
        if event.sequence != place:
            raise AssertionError(f"event {event.sequence} of {run} is not the next one")
    rows = [FeedEntryRow.from_event(run, plan_hash, event, b"") for event in events]
    for row in rows:
        del row["hash"]
    connection.execute(_INSERT, rows if len(rows) > 1 else rows[0])
