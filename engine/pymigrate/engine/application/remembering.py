"""What a unit of work in memory remembers of what it read: a collection is parsed once, until it is written."""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from pymigrate.engine.application.kind import Kind
from pymigrate.engine.ports.store import Resource, Unit

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Memory:
    """What is remembered. It must not be changed by who is given it. `writes` tells how often a collection (kind, parent) was written,
    `deletions` how many of these writes deleted something."""

    def __init__(self, writes: Callable[[str, str], int], deletions: Callable[[str, str], int]) -> None:
        self._writes = writes
        self._deletions = deletions
        self._made: dict[tuple[str, str, str], tuple[int, Any]] = {}
        self._parsed: dict[int, tuple[Resource, Any]] = {}

    def recall(self, what: str, kind: str, parent: str, make: Callable[[], Any], *, outlasts_deletions: bool) -> Any:
        """What was made before, unless anything of the collection was written since, or, of what outlasts deletions, written otherwise."""
        writes = self._writes(kind, parent) - (self._deletions(kind, parent) if outlasts_deletions else 0)
        known = self._made.get((what, kind, parent))
        if known is None or known[0] != writes:
            self._made[what, kind, parent] = known = writes, make()
        return known[1]

    def parse(self, kind: Kind[Any], resource: Resource) -> Any:
        """The object as it is used."""
        known = self._parsed.get(id(resource))
        if known is None or known[0] is not resource:
            self._parsed[id(resource)] = known = resource, kind.held(resource)
        return known[1]


class Remembering:
    """A unit that has a memory."""

    memory: Memory


def remembered(
    unit: Unit, what: str, kind: str, parent: str, make: Callable[[], T], *, outlasts_deletions: bool = False
) -> T:
    """What is made of a collection; made once for as long as it is as it was, or only fewer for what outlasts deletions, where the unit
    remembers."""
    if isinstance(unit, Remembering):
        found: T = unit.memory.recall(what, kind, parent, make, outlasts_deletions=outlasts_deletions)
        return found
    return make()


def held_of(unit: Unit, kind: Kind[M], resource: Resource) -> M:
    """`Kind.held`, once for each object where the unit remembers."""
    if isinstance(unit, Remembering):
        found: M = unit.memory.parse(kind, resource)
        return found
    return kind.held(resource)
