"""What a kind of declared objects is: a collection with its message, its checks, and how an object of it is read from the store."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.ports.store import Resource, Unit

M = TypeVar("M", bound=Message)
OUTPUT_ONLY = frozenset(
    {"name", "uid", "etag", "create_time", "update_time", "managed_by", "plan_hash", "definition_hash"}
)


def _stamp_nothing(before: object, message: object) -> None:
    del before, message


def _end_nothing(unit: Unit, message: Message) -> None:
    del unit, message


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """A collection: its word, its message, the fields that have a life of their own, and its checks.

    `check` yields the problems of a message within the store; `check_delete` raises FailedPrecondition while somebody needs it.
    `output_only` are fields besides those of every kind that no caller sets; `stamp` sets them, given what was stored before (None:
    nothing). `on_delete` ends what goes with an object, in the same transaction.
    """

    collection: str
    message: Callable[[], M]
    check: Callable[[Unit, M], Iterable[Problem]]
    check_delete: Callable[[Unit, M], None]
    held_elsewhere: frozenset[str] = frozenset()
    output_only: frozenset[str] = frozenset()
    stamp: Callable[[M | None, M], None] = _stamp_nothing
    on_delete: Callable[[Unit, M], None] = _end_nothing

    @property
    def noun(self) -> str:
        """The singular, as requests name the field: `department` of `departments`, `alert_rule` of `alertRules`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.collection[:-1]).lower()

    def settable(self) -> frozenset[str]:
        """The fields that a caller may set."""
        fields = frozenset(self.message().DESCRIPTOR.fields_by_name)
        return fields - OUTPUT_ONLY - self.held_elsewhere - self.output_only

    def read(self, resource: Resource) -> M:
        """The message as it was declared, which is what callers see."""
        return self._parsed(resource, resource.body)

    def held(self, resource: Resource) -> M:
        """The message as it is used: with the values of parameters in their places."""
        return self._parsed(resource, resource.resolved or resource.body)

    def _parsed(self, resource: Resource, body: bytes) -> M:
        message: Any = self.message()
        message.ParseFromString(body)
        message.name, message.uid, message.etag = resource.name, resource.uid, etag_of(resource)
        message.create_time.FromDatetime(resource.create_time)
        message.update_time.FromDatetime(resource.update_time)
        message.managed_by = resource.managed_by
        return message  # type: ignore[no-any-return]  # the message is handled by its descriptor above


def etag_of(resource: Resource) -> str:
    """Changes with every write, and is never that of another object."""
    return f"{resource.uid[:12]}-{resource.version}"
