"""Column types that carry the engine's own values, the same on every database: an instant is a count, everything nested is JSON."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import BigInteger, Enum, Integer, Text
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator

from pymigrate.engine.domain.audit_chain import failure_text
from pymigrate.engine.domain.run import Failure

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CHOICE_CHARACTERS_MAX = 32

# Names are compared code point by code point everywhere, so that pages come in the same order on every database.
NAME = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite counts only a column of exactly this type up by itself.
COUNTER = BigInteger().with_variant(Integer(), "sqlite")


def to_microseconds(value: datetime) -> int:
    """What is counted of a datetime. Raises ValueError for one that is not aware."""
    if value.tzinfo is None:
        raise ValueError("the store takes aware datetimes only")
    return (value - EPOCH) // MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The datetime, in UTC."""
    return EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """An aware datetime as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Raises ValueError for a datetime that is not aware."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """The datetime, in UTC."""
        return None if value is None else from_microseconds(value)


class Labels(TypeDecorator[dict[str, str]]):
    """A map of texts as a JSON object."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> str | None:
        """The object, its keys in order."""
        return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> dict[str, str] | None:
        """The map."""
        return None if value is None else orjson.loads(value)


class Texts(TypeDecorator[tuple[str, ...]]):
    """A tuple of texts as a JSON array."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        """The array."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> tuple[str, ...] | None:
        """The tuple."""
        return None if value is None else tuple(orjson.loads(value))


class Numbers(TypeDecorator[list[int]]):
    """A list of whole numbers as a JSON array."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[int] | None, dialect: Dialect) -> str | None:
        """The array."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> list[int] | None:
        """The list."""
        return None if value is None else orjson.loads(value)


class Reason(TypeDecorator[Failure]):
    """Why something failed, as a JSON object."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Failure | None, dialect: Dialect) -> str | None:
        """The object."""
        return None if value is None else failure_text(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Failure | None:
        """The failure."""
        return None if value is None else Failure(**orjson.loads(value))


def choice(kind: type[StrEnum]) -> Enum:
    """A text that is one of the enum's values, held by a CHECK constraint."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        length=CHOICE_CHARACTERS_MAX,
        values_callable=lambda members: [str(member) for member in members],
        name=kind.__name__.lower(),
    )
