"""Turns: rows that writers change where many write at once. Of two units that each looked before the other committed, and so may
contradict each other, the database lets one through; the other is done again."""

from sqlalchemy import Connection, bindparam, update
from sqlmodel import col

from pymigrate.engine.adapters.store.tables import TurnRow

RESOURCES = 1
DELIVERIES = 2
_TAKE = update(TurnRow).where(col(TurnRow.id) == bindparam("turn")).values(taken=TurnRow.taken + 1)


class Turn:
    """One of them, in one unit."""

    def __init__(self, connection: Connection, turn: int) -> None:
        self._connection = connection
        self._turn = turn
        self._is_taken = connection.dialect.name != "postgresql"  # elsewhere one unit follows the other

    def take(self) -> None:
        """What this unit saw is what it goes by: nobody else takes the turn before it ends."""
        if not self._is_taken:
            self._connection.execute(_TAKE, {"turn": self._turn})
            self._is_taken = True
