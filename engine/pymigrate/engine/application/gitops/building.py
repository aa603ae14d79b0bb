"""Plain data from the events of a parser, in one pass and without recursion: bounded, text keys only, no key twice; with the place of
everything where that is asked for."""

from dataclasses import dataclass, field
from typing import Any

from pymigrate.engine.application.gitops.definition import Place
from pymigrate.engine.application.gitops.limits import DEPTH_MAX, EVENTS_MAX, PROBLEMS_OF_FILE_MAX


@dataclass(slots=True)
class Node:
    """Where a value stands (its key, in a map), and the values within it."""

    place: Place
    fields: dict[str, "Node"] = field(default_factory=dict)
    items: list["Node"] = field(default_factory=list)
    spelled: dict[str, "Node"] | None = None
    """The fields in snake_case, once somebody has asked."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a file; line and column are 0 where it is the file as a whole."""

    rule: str
    line: int
    column: int
    description: str


class Unreadable(Exception):
    """Nothing after this can be read."""

    def __init__(self, line: int, column: int, description: str, rule: str = "yaml") -> None:
        super().__init__(description)
        self.trouble = Trouble(rule, line, column, description)


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a document, where it begins, its number within the file from 0, and the places of what is in it where they are kept."""

    data: Any
    line: int
    column: int
    number: int
    root: Node | None = None


class Builder:
    """Takes in values with their lines and columns from 1, gives documents and what is wrong with them."""

    def __init__(self, *, keeps_places: bool = False) -> None:
        self.documents: list[Document] = []
        self.troubles: list[Trouble] = []
        self._keeps_places = keeps_places
        self._count = 0
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        self._containers: list[Any] = []
        self._keys: list[str | None] = []
        self._nodes: list[Node] = []
        self._line = self._column = 0
        self._root: Any = None
        self._node: Node | None = None
        self._troubles_before = len(self.troubles)

    @property
    def wants_key(self) -> bool:
        """Whether the next value is the key of a map."""
        return bool(self._containers) and type(self._containers[-1]) is dict and self._keys[-1] is None

    def refuse(self, line: int, column: int, description: str, rule: str = "yaml") -> None:
        """Notes what is wrong, and lets the rest be read; the document is not used."""
        if len(self.troubles) < PROBLEMS_OF_FILE_MAX:
            self.troubles.append(Trouble(rule, line, column, description))

    def value(self, data: Any, line: int, column: int) -> None:
        """A value that holds no others, or the key of one."""
        self._count_one(line, column)
        if not self._containers:
            self._root, self._line, self._column = data, line, column
            self._keep_node(line, column)
            return
        container, key = self._containers[-1], self._keys[-1]
        if type(container) is list:
            container.append(data)
        elif key is None:
            self._keys[-1] = checked = self._checked_key(container, data, line, column)
            if self._keeps_places:
                self._nodes[-1].fields[checked] = Node(Place(line, column))
            return
        else:
            container[key] = data
            self._keys[-1] = None
            return
        self._keep_node(line, column)

    def start(self, container: dict[str, Any] | list[Any], line: int, column: int) -> None:
        """A map or list begins. Raises Unreadable below DEPTH_MAX."""
        if len(self._containers) >= DEPTH_MAX:
            raise Unreadable(line, column, f"is nested more than {DEPTH_MAX} deep")
        if self.wants_key:
            raise Unreadable(line, column, "a key must be text, not a map or list")
        key = self._keys[-1] if self._containers and type(self._containers[-1]) is dict else None
        self.value(container, line, column)
        if self._keeps_places:
            self._nodes.append(self._opened(key))
        self._containers.append(container)
        self._keys.append(None)

    def end(self) -> None:
        """The innermost map or list ends."""
        self._containers.pop()
        self._keys.pop()
        if self._keeps_places:
            self._nodes.pop()

    def end_document(self) -> None:
        """The document ends; an empty one is none."""
        is_sound = len(self.troubles) == self._troubles_before < PROBLEMS_OF_FILE_MAX
        if self._root is not None and (is_sound or self._keeps_places):
            self.documents.append(Document(self._root, self._line, self._column, self._number, self._node))
        self._number += 1
        self._begin()

    @property
    def count(self) -> int:
        """How many events have been taken in."""
        return self._count

    def _count_one(self, line: int, column: int) -> None:
        self._count += 1
        if self._count > EVENTS_MAX:
            raise Unreadable(line, column, f"has more than {EVENTS_MAX:,} keys and values: split the file", "file")

    def _checked_key(self, container: dict[str, Any], key: Any, line: int, column: int) -> str:
        if type(key) is not str:
            self.refuse(line, column, f"a key must be text: quote `{_shown(key)}`")
            return _shown(key)
        if key in container:
            self.refuse(line, column, f"`{key[:100]}` stands twice in this map: leave one of them out")
        return key

    def _keep_node(self, line: int, column: int) -> None:
        if not self._keeps_places:
            return
        node = Node(Place(line, column))
        if self._nodes:
            self._nodes[-1].items.append(node)
        else:
            self._node = node

    def _opened(self, key: str | None) -> Node:
        """The node of the container that was just taken in."""
        if not self._nodes:
            assert self._node is not None  # noqa: S101 (for the type checker: the value before made it)
            return self._node
        return self._nodes[-1].fields[key] if key is not None else self._nodes[-1].items[-1]


def _shown(key: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(key, str(key))[:100]
