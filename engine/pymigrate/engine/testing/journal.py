"""What a unit of work wrote into tables in memory, and how to take it back."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Protocol


class Versioned(Protocol):
    """Whatever counts its writes."""

    version: int


class Journal:
    """Writes into tables and remembers how to take it back."""

    def __init__(self, is_writable: bool) -> None:
        self._is_writable = is_writable
        self._undo: list[Callable[[], None]] = []

    def put(self, table: dict[Any, Any], key: object, value: object) -> None:
        """Writes a value in place of what was there. Raises ValueError for a datetime that is not aware."""
        self._require_writable()
        _require_aware(value)
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: table.pop(key))
        table[key] = value

    def drop(self, table: dict[Any, Any], key: object) -> None:
        """Takes out what is there."""
        self._require_writable()
        if key in table:
            before = table.pop(key)
            self._undo.append(lambda: table.__setitem__(key, before))

    def set_version(self, entity: Versioned, version: int) -> None:
        """Sets the version of the caller's own entity."""
        before = entity.version
        self._undo.append(lambda: setattr(entity, "version", before))
        entity.version = version

    def undo(self) -> None:
        """Takes everything back, the last first."""
        while self._undo:
            self._undo.pop()()

    def _require_writable(self) -> None:
        if not self._is_writable:
            raise RuntimeError("a unit that reads can't write: use transact")


def _require_aware(value: object) -> None:
    for name in _names(type(value)):
        moment = getattr(value, name)
        if isinstance(moment, datetime) and moment.tzinfo is None:
            raise ValueError(f"{name} must be an aware datetime")
        if isinstance(moment, list):
            for each in moment:
                _require_aware(each)


_NAMES: dict[type, tuple[str, ...]] = {}


def _names(kind: type) -> tuple[str, ...]:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()
    return _NAMES[kind]
