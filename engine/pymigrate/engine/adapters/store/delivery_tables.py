"""The table of deliveries. Columns have the names of the fields that they keep, and a content is spread over columns of its own; two times
are derived, so that whoever looks for work finds it in an index: `try_time` (may be tried, or loses its lease) and `overdue_time`.

Nearly every row is of a delivery that has ended, and stays for years, so the indices that are looked through for work leave those out.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Index, Text, text
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

from pymigrate.engine.adapters.store.columns import EPOCH, NAME, Instant, Numbers, Reason, choice, to_microseconds
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState, DeliveryTry, TryOutcome
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.domain.run import Failure

# Conditions of partial indices: a query uses the index where it says the same in the same words.
IS_WAITING = text("state = 'waiting'")
HAS_TRY_TIME = text("try_time IS NOT NULL")
HAS_ENDED = text("state NOT IN ('waiting', 'pending', 'sending')")
IS_OVERDUE = text("overdue_time IS NOT NULL AND NOT is_overdue_told")
IS_OF_INCIDENT = text("incident <> ''")


def _partial(where: Any, *columns: str, name: str | None = None) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


class Tries(TypeDecorator[list[DeliveryTry]]):
    """Tries as a JSON array of arrays."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[DeliveryTry] | None, dialect: Dialect) -> str | None:
        """The array."""
        if value is None:
            return None
        return orjson.dumps(
            [(to_microseconds(each.time), each.seconds, each.outcome, each.answer, each.dispatcher) for each in value]
        ).decode()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> list[DeliveryTry] | None:
        """The tries."""
        if value is None:
            return None
        return [
            DeliveryTry(EPOCH + timedelta(microseconds=time), seconds, TryOutcome(outcome), answer, dispatcher)
            for time, seconds, outcome, answer, dispatcher in orjson.loads(value)
        ]


class DeliveryRow(Table, table=True):
    """A delivery. What is long comes last, so that what is read often lies together."""

    __tablename__ = "delivery"
    __table_args__ = (
        _partial(IS_WAITING, "severity", "due_time", "name"),
        _partial(IS_WAITING, "environment", "rule", "stakeholder"),
        _partial(IS_WAITING, "thread", "create_time", "name", name="ix_delivery_waiting_thread"),
        _partial(HAS_TRY_TIME, "environment", "channel", "state", "severity", "try_time", "name"),
        _partial(HAS_TRY_TIME, "try_time"),
        _partial(text("last_try_time IS NOT NULL"), "environment", "channel", "last_try_time"),
        _partial(text("frozen_time IS NOT NULL"), "environment", "rule", "frozen_time"),
        _partial(IS_OVERDUE, "overdue_time", "name"),
        _partial(IS_OF_INCIDENT, "incident", "create_time", "name"),
        _partial(HAS_ENDED, "create_time", "name"),
        Index(None, "thread", "create_time", "name"),
        Index(None, "environment", "create_time", "name"),
        Index(None, "environment", "stakeholder", "create_time", "name"),
        Index(None, "environment", "rule", "create_time", "name"),
        Index(None, "environment", "state", "create_time", "name"),
        Index(None, "run", "create_time", "name"),
        Index(None, "environment", "due_time"),
    )

    name: str = Field(primary_key=True, sa_type=NAME)
    environment: str = Field(sa_type=NAME)
    state: DeliveryState = Field(sa_type=choice(DeliveryState))
    rule: str = Field(sa_type=NAME)
    stakeholder: str = Field(sa_type=NAME)
    address: str = Field(sa_type=NAME)
    channel: str = Field(sa_type=NAME)
    to: str = Field(sa_type=Text)
    thread: str = Field(sa_type=NAME)
    key: str = Field(unique=True, sa_type=NAME)
    severity: int = Field(sa_type=BigInteger)
    create_time: datetime = Field(sa_type=Instant)
    due_time: datetime = Field(sa_type=Instant)
    entry_count: int = Field(sa_type=BigInteger)
    duplicates: int = Field(sa_type=BigInteger)
    run: str = Field(sa_type=NAME)
    template: str = Field(sa_type=Text)
    template_role: str = Field(sa_type=Text)
    incident: str = Field(sa_type=NAME)
    escalation: int = Field(sa_type=BigInteger)
    needs_acknowledgement: bool = Field(sa_type=Boolean)
    try_count: int = Field(sa_type=BigInteger)
    lease: str = Field(sa_type=Text)
    lease_until: datetime | None = Field(sa_type=Instant)
    dispatcher: str = Field(sa_type=Text)
    next_try_time: datetime | None = Field(sa_type=Instant)
    last_try_time: datetime | None = Field(sa_type=Instant)
    frozen_time: datetime | None = Field(sa_type=Instant)
    accept_time: datetime | None = Field(sa_type=Instant)
    deliver_time: datetime | None = Field(sa_type=Instant)
    acknowledge_time: datetime | None = Field(sa_type=Instant)
    acknowledger: str = Field(sa_type=Text)
    failure: Failure | None = Field(sa_type=Reason, nullable=True)
    may_be_repeated: bool = Field(sa_type=Boolean)
    confirm_by_time: datetime | None = Field(sa_type=Instant)
    confirm_state: str = Field(sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    try_time: datetime | None = Field(sa_type=Instant)
    overdue_time: datetime | None = Field(sa_type=Instant)
    is_overdue_told: bool = Field(sa_type=Boolean)
    content_template: str = Field(sa_type=Text)
    content_template_version: int = Field(sa_type=BigInteger)
    content_digest: str = Field(sa_type=Text)
    content_subject: str = Field(sa_type=Text)
    entries: list[int] = Field(sa_type=Numbers)
    tries: list[DeliveryTry] = Field(sa_type=Tries)
    content_body: str = Field(sa_type=Text)
    content_html: str = Field(sa_type=Text)


FIELDS = tuple(each.name for each in fields(Delivery) if each.name != "content")
CONTENT_FIELDS = tuple(each.name for each in fields(Content))
LONG_FIELDS = ("body", "html")
SHORT_FIELDS = tuple(name for name in CONTENT_FIELDS if name not in LONG_FIELDS)
_values, _content_values = attrgetter(*FIELDS), attrgetter(*CONTENT_FIELDS)
_content_columns = tuple(f"content_{name}" for name in CONTENT_FIELDS)


def delivery_of(row: Sequence[Any], content_fields: Sequence[str] = CONTENT_FIELDS) -> Delivery:
    """The delivery of a row with the columns FIELDS and those of these fields of its content; without all of them it can't be saved."""
    values = dict(zip(FIELDS, row, strict=False))
    values["severity"] = Severity(values["severity"])
    if content_fields is not CONTENT_FIELDS:
        values["version"] = 0
    return Delivery(**values, content=Content(**dict(zip(content_fields, row[len(FIELDS) :], strict=True))))


def values_of(delivery: Delivery, version: int) -> dict[str, Any]:
    """The row's values, but for whether it was told to be overdue."""
    values = dict(zip(FIELDS, _values(delivery), strict=True))
    values |= zip(_content_columns, _content_values(delivery.content), strict=True)
    values["severity"] = int(delivery.severity)
    values["version"] = version
    values["try_time"] = delivery.claim_time
    values["overdue_time"] = None if delivery.is_in_time else delivery.confirm_by_time
    return values


def columns_of(content_fields: Sequence[str] = CONTENT_FIELDS) -> list[Any]:
    """The columns of a delivery with these fields of its content, as `delivery_of` takes them."""
    columns = DeliveryRow.metadata.tables[str(DeliveryRow.__tablename__)].c
    return [columns[name] for name in (*FIELDS, *(f"content_{name}" for name in content_fields))]
