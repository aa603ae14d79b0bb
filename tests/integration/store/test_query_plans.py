"""The ledger grows for years, so whoever asks it for anything is led by an index: the database says how it would look."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event

from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.unit import SqlUnit
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.store import Unit
from tests.contract.store.deliveries import PROD, delivery, incident, named
from tests.contract.store.records import NOW, RUN, at

PAGE = (NOW, named("a"))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """An empty store, in a transaction."""
    engine = create_engine(f"sqlite:///{tmp_path / 'store'}")
    with engine.connect() as made:
        made.exec_driver_sql("BEGIN IMMEDIATE")
        schema.upgrade(made)
        yield made
        made.rollback()
    engine.dispose()


def looks(connection: Connection, work: Callable[[Unit], object]) -> list[str]:
    """What SQLite would do for each statement of the work, a line for each step."""
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if not statement.startswith(("INSERT", "EXPLAIN")):
            asked.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    event.listen(connection, "before_cursor_execute", note)
    work(SqlUnit(connection))
    event.remove(connection, "before_cursor_execute", note)
    assert asked
    plans = (connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values) for statement, values in asked)
    return [row.detail for plan in plans for row in plan]


LOOKS: dict[str, Callable[[Unit], object]] = {
    "get_all": lambda unit: unit.deliveries.get_all([named("a"), named("b")]),
    "insert": lambda unit: unit.deliveries.insert([delivery("b")]),
    "save": lambda unit: unit.deliveries.save([delivery("a", version=1)]),
    "newest": lambda unit: unit.deliveries.newest(["t", "u"]),
    "due": lambda unit: unit.deliveries.due(NOW, 9),
    "claimable": lambda unit: unit.deliveries.claimable("smtp", PROD, NOW, 9),
    "channels with work": lambda unit: unit.deliveries.channels_with_work(NOW),
    "in sending": lambda unit: unit.deliveries.in_sending(PROD, "smtp", NOW),
    "tried since": lambda unit: unit.deliveries.tried_since(PROD, "smtp", NOW),
    "frozen since": lambda unit: unit.deliveries.frozen_since(PROD, "r", [("ann", "mail")], NOW),
    "next time": lambda unit: unit.deliveries.next_time(),
    "list": lambda unit: unit.deliveries.list(DeliveryFilter(PROD), PAGE, 9),
    "list of a stakeholder": lambda unit: unit.deliveries.list(DeliveryFilter(PROD, stakeholder="ann"), PAGE, 9),
    "list of a rule": lambda unit: unit.deliveries.list(DeliveryFilter(PROD, rule="r"), PAGE, 9),
    "list in a state": lambda unit: unit.deliveries.list(DeliveryFilter(PROD, state=DeliveryState.DEAD), PAGE, 9),
    "list of a run": lambda unit: unit.deliveries.list(DeliveryFilter(PROD, run=RUN), PAGE, 9),
    "list of all that": lambda unit: unit.deliveries.list(
        DeliveryFilter(PROD, "ann", "r", DeliveryState.DEAD, RUN), PAGE, 9
    ),
    "of an incident": lambda unit: unit.deliveries.of_incident("i"),
    "tallies": lambda unit: unit.deliveries.tallies(PROD, NOW, at(60)),
    "standing": lambda unit: unit.deliveries.standing(PROD),
    "overdue": lambda unit: unit.deliveries.overdue(NOW, 9),
    "note overdue": lambda unit: unit.deliveries.note_overdue([named("a")]),
    "purge": lambda unit: unit.deliveries.purge(at(9), 9),
    "incident": lambda unit: unit.incidents.get("i"),
    "open incidents": lambda unit: unit.incidents.open_of(["t", "u"]),
    "insert incidents": lambda unit: unit.incidents.insert([incident("j")]),
    "save incidents": lambda unit: unit.incidents.save([incident("i", version=1)]),
    "due incidents": lambda unit: unit.incidents.due(NOW, 9),
    "next incident": lambda unit: unit.incidents.next_time(),
    "purge incidents": lambda unit: unit.incidents.purge(at(9), 9),
}
SORTS_LITTLE = {"get_all", "frozen since", "channels with work", "open incidents"}


@pytest.mark.parametrize("name", LOOKS)
def test_an_index_leads_to_what_is_asked_for_and_gives_it_in_order(connection: Connection, name: str) -> None:
    unit = SqlUnit(connection)
    unit.deliveries.insert([delivery("a", state=DeliveryState.DEAD)])
    unit.incidents.insert([incident("i", next_time=None)])
    steps = looks(connection, LOOKS[name])
    tables = [step for step in steps if step.split()[1] in ("delivery", "of_thread", "incident")]
    assert tables
    for step in tables:
        assert step.startswith("SEARCH") or "COVERING INDEX" in step, steps
    if name not in SORTS_LITTLE:
        assert not [step for step in steps if "B-TREE FOR ORDER BY" in step], steps
