"""What files declare, as everything after their reading sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymigrate.engine.application.kind import Kind
from pymigrate.v1 import definition_pb2


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file: line and column from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Definition:
    """A document: its kind and the word for it (`AlertRule`), the object's resource name, and the message, whose `name` is that; a plan's
    message holds its phases. `find` tells where a path of fields within the message (`phases.orders.department`) stands, or the nearest
    above it that there is; it reads the file again, so that it costs nothing unless it is asked."""

    kind: Kind[Any]
    word: str
    name: str
    message: Any
    file: str
    line: int
    find: Callable[[str], Place]


@dataclass(frozen=True, slots=True)
class DefinitionsRead:
    """Everything that files declare, in the order of the files; every problem in them; how many documents are of other environments."""

    definitions: Sequence[Definition]
    problems: Sequence[definition_pb2.DefinitionProblem] = ()
    skipped_count: int = 0
    names: frozenset[str] = field(default_factory=frozenset)
