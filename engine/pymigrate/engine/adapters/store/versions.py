"""The versions of the caller's entities, which a unit counts up as it writes, and gives back when its transaction is undone."""

from typing import Protocol


class Versioned(Protocol):
    """Whatever counts its writes."""

    version: int


class Versions:
    """What was counted in one unit."""

    def __init__(self) -> None:
        self._before: list[tuple[Versioned, int]] = []

    def set(self, entity: Versioned, version: int) -> None:
        """The entity was written, and has this version now."""
        self._before.append((entity, entity.version))
        entity.version = version

    def forget(self) -> None:
        """Gives the entities the versions back that they had before."""
        while self._before:
            entity, version = self._before.pop()
            entity.version = version
