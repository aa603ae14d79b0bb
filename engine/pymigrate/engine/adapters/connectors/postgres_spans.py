"""A range of a relation's order as SQL, and as the position that a lane keeps: the texts of the order's terms."""

import json
from collections.abc import Sequence

from psycopg import sql

from pymigrate.engine.adapters.connectors.postgres_relations import ALIAS, Order
from pymigrate.engine.domain.errors import SourceChanged
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import SourceRelation


def place_of(after: Position | None, order: Order, relation: SourceRelation) -> list[str]:
    """The texts of a position; none where there is no position. Raises SourceChanged where it is one of another order."""
    if after is None:
        return []
    place = json.loads(after)
    if place["by"] != order.names:
        raise SourceChanged(
            f"{relation.relation} was read by {', '.join(place['by'])} and has another order by now: begin it anew"
        )
    values: list[str] = place["at"]
    return values


def conditions(order: Order, span: SourceRange, relation: SourceRelation, step: str = "") -> str:
    """The range as a condition that holds its values as literals: COPY takes no parameters."""
    terms = ", ".join(term.sql for term in order.terms)
    found = [step] if step else []
    for comparison, position in ((">", span.after), ("<=", span.until)):
        if place := place_of(position, order, relation):
            values = ", ".join(
                f"{_literal(text)}::{term.native}" for text, term in zip(place, order.terms, strict=True)
            )
            found.append(f"({terms}) {comparison} ({values})")
    return f" WHERE {' AND '.join(found)}" if found else ""


def ordered(table: str, selection: Sequence[str], order: Order, conditions: str) -> str:
    """A statement that selects from a table in the order, with conditions as `conditions` gives them."""
    terms = ", ".join(term.sql for term in order.terms)
    return f"SELECT {', '.join(selection)} FROM {table} AS {ALIAS}{conditions} ORDER BY {terms}"


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def shown(order: Order, key: Sequence[object]) -> str:
    """A row's key as an error shows it."""
    return ", ".join(f"{name}={value}" for name, value in zip(order.names, key, strict=True))


def position_of(order: Order, key: Sequence[object]) -> Position:
    """The position of the row with this key."""
    return Position(json.dumps({"by": order.names, "at": list(key)}))
