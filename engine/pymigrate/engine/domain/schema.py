"""What a table declares beyond its columns: key, indexes, foreign keys and comments, in words that more than one system understands.

A definition that only the system itself understands stands beside them, for a target of the same kind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class SchemaPart(StrEnum):
    """A part of a table's declarations that a target may be spared."""

    DEFAULTS = "defaults"
    IDENTITY = "identity"
    COMMENTS = "comments"
    KEY = "key"
    INDEXES = "indexes"
    FOREIGN_KEYS = "foreign_keys"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class TableIndex:
    """An index or unique constraint beside the primary key. `definition` is what follows the table's name, in the system's own words,
    where it is more than `columns` in order; empty for a plain one."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool = False
    is_constraint: bool = False
    definition: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that refer to those of `relation` in the source, and of `target_relation` in the target; empty where the plan does not
    move it there. `is_fatal`: rows that refer to nothing fail the publication rather than being reported."""

    name: str
    columns: tuple[str, ...]
    relation: str
    relation_columns: tuple[str, ...]
    on_delete: str = ""
    on_update: str = ""
    target_relation: str = ""
    is_fatal: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """`system` is the kind of system in whose words native types, defaults and definitions are. `notes` say what else the source
    declares and no target is given. `omit` is what the target is spared."""

    system: str = ""
    comment: str = ""
    key: tuple[str, ...] = ()
    key_name: str = ""
    indexes: tuple[TableIndex, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    notes: tuple[str, ...] = ()
    omit: frozenset[SchemaPart] = frozenset()

    def has(self, part: SchemaPart) -> bool:
        """Whether the target is given this part."""
        return part not in self.omit

    def through(self, destination: Callable[[str], str | None]) -> "TableSchema":
        """What is left of it when columns have other names or are gone: `destination` gives the name of a column that holds the same
        values as before, None where there is none. What only the system understands names columns in ways that nobody follows."""

        def follow(columns: Sequence[str]) -> tuple[str, ...] | None:
            found = tuple(destination(name) or "" for name in columns)
            return found if all(found) else None

        indexes, keys, notes = list[TableIndex](), list[ForeignKey](), list[str]()
        for index in self.indexes:
            columns = None if index.definition else follow(index.columns)
            if columns is None:
                notes.append(f"the index `{index.name}` is not carried: transforms change what it is made of")
            else:
                indexes.append(replace(index, columns=columns))
        for key in self.foreign_keys:
            columns = follow(key.columns)
            if columns is None:
                notes.append(f"the foreign key `{key.name}` is not carried: transforms change what it is made of")
            else:
                keys.append(replace(key, columns=columns))
        return replace(
            self,
            key=follow(self.key) or (),
            indexes=tuple(indexes),
            foreign_keys=tuple(keys),
            notes=(*self.notes, *notes),
        )


UNDECLARED = TableSchema()
