"""How rows of a SQLite database are asked for in an order, from a position on; positions are the order's values as JSON."""

import json
from collections.abc import Sequence

from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.ports.ranges import Position, SourceRange

ALIAS = "source"


def select(table: str, columns: Sequence[str], order: Sequence[str], span: SourceRange) -> tuple[str, list[object]]:
    """The statement that reads the columns of a range, those of the order first, and its values."""
    values, conditions = list[object](), list[str]()
    for comparison, position in ((">", span.after), ("<=", span.until)):
        if position:
            place = place_of(position)
            conditions.append(f"({', '.join(order)}) {comparison} ({', '.join('?' * len(place))})")
            values.extend(place)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    names = ", ".join([*order, *map(term, columns)])
    return f"SELECT {names} FROM {quote(table)} AS {ALIAS}{where} ORDER BY {', '.join(order)}", values


def place_of(position: Position) -> list[object]:
    """The order's values at a position."""
    return [_from_json(value) for value in json.loads(position)]


def position_of(key: Sequence[object]) -> Position:
    """The position of a row with these values of the order."""
    return Position(json.dumps([_to_json(value) for value in key]))


def _to_json(value: object) -> object:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def _from_json(value: object) -> object:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value


def term(name: str) -> str:
    """A column by its full name: SQLite takes a quoted name alone, where there is no such column, for a text."""
    return f"{ALIAS}.{quote(name)}"
