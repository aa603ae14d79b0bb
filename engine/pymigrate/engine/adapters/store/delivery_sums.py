"""What deliveries come to, summed up where they are kept: a hundred thousand are a few rows of sums, and none is read one by one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, Text, and_, bindparam, case, func, or_, select, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from pymigrate.engine.adapters.store.columns import Instant
from pymigrate.engine.adapters.store.delivery_tables import DeliveryRow
from pymigrate.engine.domain.delivery import STILL_OPEN
from pymigrate.engine.ports.deliveries import STANDING, DeliveryStanding, DeliveryTally

MICROSECONDS = 1e6
_TABLE = DeliveryRow.metadata.tables[str(DeliveryRow.__tablename__)]
_c = _TABLE.c


class _Gathered(FunctionElement[str]):
    """The numbers of a group as a JSON array, without those that are not there."""

    name = "gathered"
    inherit_cache = True
    type = Text()


@compiles(_Gathered)
def _embedded(element: _Gathered, compiler: SQLCompiler, **options: Any) -> str:
    number = compiler.process(element.clauses, **options)
    return f"json_group_array({number}) FILTER (WHERE ({number}) IS NOT NULL)"


@compiles(_Gathered, "postgresql")
def _served(element: _Gathered, compiler: SQLCompiler, **options: Any) -> str:
    number = compiler.process(element.clauses, **options)
    return f"CAST(json_agg({number}) FILTER (WHERE ({number}) IS NOT NULL) AS TEXT)"


def _earlier(one: Any, other: Any) -> Any:
    """The earlier of two times, of which either may not be there."""
    return case((one.is_(None), other), (other.is_(None), one), (one <= other, one), else_=other)


def _times(*names: str) -> list[Any]:
    return [type_coerce(_c[name], BigInteger) for name in names]


_due, _by, _accepted, _delivered, _acknowledged = _times(
    "due_time", "confirm_by_time", "accept_time", "deliver_time", "acknowledge_time"
)
_received = _earlier(_acknowledged, _delivered)
# As `confirm_time_of` of the domain says.
_confirmed = case(
    (_c.confirm_state == "acknowledged", _acknowledged),
    (_c.confirm_state == "delivered", _received),
    else_=_earlier(_received, _accepted),
)
_GROUP = (_c.rule, _c.channel, _c.state)
_now = type_coerce(bindparam("now", type_=Instant), BigInteger)
_TALLIES = (
    select(
        *_GROUP,
        func.count(),
        func.count(_by),
        func.count(case((_confirmed <= _by, 1))),
        func.count(case((or_(_confirmed > _by, and_(_confirmed.is_(None), _by <= _now)), 1))),
        _Gathered(_confirmed - _due),
    )
    .where(
        _c.environment == bindparam("environment"),
        _c.due_time >= bindparam("since"),
        _c.due_time <= bindparam("now", type_=Instant),
    )
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)
_of_environment = _c.environment == bindparam("environment")
_OPEN = (
    select(_c.state, func.count(), func.min(_c.due_time))
    .where(_of_environment, _c.state.in_(sorted(STILL_OPEN)))
    .group_by(_c.state)
)
_FAILED = select(func.count()).select_from(_TABLE).where(_of_environment, _c.state == bindparam("state"))


def tallies(connection: Connection, environment: str, since: datetime, now: datetime) -> Sequence[DeliveryTally]:
    """What became of those that became due within a window."""
    rows = connection.execute(_TALLIES, {"environment": environment, "since": since, "now": now})
    return [
        DeliveryTally(
            rule=rule,
            channel=channel,
            state=state,
            count=count,
            agreed=agreed,
            in_time=in_time,
            late=late,
            confirm_seconds=[each / MICROSECONDS for each in orjson.loads(gathered or "[]")],
        )
        for rule, channel, state, count, agreed, in_time, late, gathered in rows
    ]


def standing(connection: Connection, environment: str) -> Sequence[DeliveryStanding]:
    """How many are to be sent still, and how many were given up: each a look into the index of states."""
    asked_for = {"environment": environment}
    found = {state: (count, due) for state, count, due in connection.execute(_OPEN, asked_for)}
    for state in STANDING:
        if state not in STILL_OPEN and (
            count := connection.execute(_FAILED, asked_for | {"state": state}).scalar_one()
        ):
            found[state] = (count, None)
    return [DeliveryStanding(state, *found[state]) for state in STANDING if state in found]
