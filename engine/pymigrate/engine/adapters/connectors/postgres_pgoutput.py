"""What PostgreSQL's output plugin `pgoutput` says, and what many changes come to.

Values come as text, as the server spells them; a value that lies out of line (TOAST) and was not changed does not come at all.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import SourceChanged

EPOCH_SECONDS = 946_684_800  # 2000-01-01, where PostgreSQL's clock begins to count
ENTRIES_MAX = 20_000
CHARACTERS_MAX = 16_000_000
Texts = tuple[str | None, ...]


class Unsent:
    """In place of a value, or of a whole row, that did not come and is to be looked up."""


UNSENT = Unsent()
Told = str | Unsent | None
Tuple = list[Told]


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction's end: the position after it, and when it was committed."""

    end: int
    seconds: float


@dataclass(slots=True)
class Net:
    """What changes come to by key: a row, None for one that is gone, or UNSENT for one that is to be looked up."""

    entries: dict[Texts, Texts | Unsent | None] = field(default_factory=dict)
    is_emptied: bool = False
    count: int = 0
    characters: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to hand it over."""
        return len(self.entries) >= ENTRIES_MAX or self.characters >= CHARACTERS_MAX

    def put(self, key: Texts, row: Texts | Unsent | None) -> None:
        """The latest of a row."""
        self.entries[key] = row
        self.count += 1
        if isinstance(row, tuple):
            self.characters += sum(len(text) for text in row if text is not None)

    def empty(self) -> None:
        """Everything before does not matter any more."""
        self.entries.clear()
        self.is_emptied = True
        self.count += 1


class PgOutput:
    """Reads the plugin's messages about one relation, version 1 of its protocol, into what they come to."""

    def __init__(self, relation: str, own: tuple[str, str], columns: Sequence[str], key: Sequence[str], after: int):
        self._relation = relation
        self._own = own
        self._columns = tuple(columns)
        self._key = tuple(key)
        self._after = after
        self._names: dict[int, tuple[str, ...]] = {}
        self._tables: dict[int, tuple[str, str]] = {}
        self._is_known = False
        self.net = Net()

    def take(self, message: bytes) -> Commit | None:
        """Takes in a message; the commit, if it is one. Raises SourceChanged for what can't be told by key."""
        match message[:1]:
            case b"B":
                (final,) = struct.unpack_from("!q", message, 1)
                self._is_known = final < self._after
            case b"C":
                _, _, end, microseconds = struct.unpack_from("!bqqq", message, 1)
                return Commit(end, EPOCH_SECONDS + microseconds / 1e6)
            case b"R":
                self._describe(message)
            case b"I" | b"U" | b"D" if not self._is_known:
                self._change(message)
            case b"T" if not self._is_known:
                self._truncate(message)
        return None

    def hand_over(self) -> Net:
        """What has been taken in since the last time."""
        net, self.net = self.net, Net()
        return net

    def _describe(self, message: bytes) -> None:
        (identifier,) = struct.unpack_from("!I", message, 1)
        schema, at = _string(message, 5)
        table, at = _string(message, at)
        (count,) = struct.unpack_from("!h", message, at + 1)
        at += 3
        names = []
        for _ in range(count):
            name, at = _string(message, at + 1)
            names.append(name)
            at += 8
        self._names[identifier], self._tables[identifier] = tuple(names), (schema, table)

    def _change(self, message: bytes) -> None:
        (identifier,) = struct.unpack_from("!I", message, 1)
        names, old, new = self._names[identifier], None, None
        at, is_whole = 5, False
        while at < len(message):
            kind = message[at : at + 1]
            values, at = _tuple(message, at + 1)
            if kind == b"N":
                new = dict(zip(names, values, strict=True))
            else:
                old, is_whole = dict(zip(names, values, strict=True)), kind == b"O"
        if new is None:
            self.net.put(self._key_of(old or {}), None)
            return
        if old is not None:
            for name, value in new.items():
                if value is UNSENT and (is_whole or name in self._key):
                    new[name] = old[name]
        key = self._key_of(new)
        if old is not None and (former := self._key_of(old)) != key:
            self.net.put(former, None)
        values = [new.get(name, UNSENT) for name in self._columns]
        row = tuple(value for value in values if not isinstance(value, Unsent))
        self.net.put(key, row if len(row) == len(values) else UNSENT)

    def _truncate(self, message: bytes) -> None:
        (count,) = struct.unpack_from("!i", message, 1)
        for identifier in struct.unpack_from(f"!{count}I", message, 6):
            if self._tables.get(identifier) != self._own:
                raise SourceChanged(
                    f"{self._relation}: a part of it was truncated by itself, which can't be followed: retry the run",
                    field="source.relation",
                )
            self.net.empty()

    def _key_of(self, row: dict[str, Told]) -> Texts:
        key = tuple(row.get(name) for name in self._key)
        if any(not isinstance(value, str) for value in key):
            raise SourceChanged(
                f"{self._relation}: a change does not tell its row's key ({', '.join(self._key)}): the table's replica identity "
                "was changed since the run was started; put it back, then retry the run",
                field="key",
            )
        return tuple(str(value) for value in key)


def _string(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(b"\0", at)
    return message[at:end].decode(), end + 1


def _tuple(message: bytes, at: int) -> tuple[Tuple, int]:
    (count,) = struct.unpack_from("!h", message, at)
    at += 2
    values: Tuple = []
    for _ in range(count):
        kind = message[at : at + 1]
        at += 1
        if kind == b"t":
            (size,) = struct.unpack_from("!i", message, at)
            values.append(message[at + 4 : at + 4 + size].decode())
            at += 4 + size
        else:
            values.append(None if kind == b"n" else UNSENT)
    return values, at
