"""The statements by which a SQL target declares what a table has beside its rows, in their order, and what can not be declared.

Columns with NOT NULL and defaults come with the staging's own statement; key, indexes, comments, identity and foreign keys are steps."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default
from pymigrate.engine.adapters.connectors.target_compatibility import key_differences, replaced_differences
from pymigrate.engine.adapters.connectors.target_dialect import Found, SqlDialect
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.staging import Staging, TableDdl

NAMES_MAX = 1_000
_ANY = Table("", "any")
Naming = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Step:
    """A statement, and what it is for. One that is not required may fail on its own, which is then a note; where it is strict, rows that
    are not unique are none."""

    sql: str
    what: str
    is_required: bool = False
    is_strict: bool = False


class TableSteps(SqlDialect):
    """What of a Target in SQL says what it declares."""

    has_references_in_table = False  # whether foreign keys are a part of the table's own statement
    undeclarable = "the system adds no foreign key to a table"

    @abstractmethod
    def _column_type(self, staging: Staging, column: ColumnInfo) -> str:
        """The native type of a staged column."""

    @abstractmethod
    def _default(self, staging: Staging, column: ColumnInfo) -> str:
        """What follows DEFAULT when the table is made; empty where the system has no way to say it."""

    @abstractmethod
    def _key_step(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        """Declares the key."""

    @abstractmethod
    def _late_steps(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        """What else comes after the load and before the indexes."""

    @abstractmethod
    def _index_step(self, staging: Staging, table: Table, index: TableIndex, name: str) -> Step | None:
        """Makes an index; None where the system can't."""

    @abstractmethod
    def _comment_steps(self, staging: Staging, table: Table) -> Iterator[Step]:
        """Comments of table and columns."""

    @abstractmethod
    def _foreign_key_step(self, staging: Staging, table: Table, key: ForeignKey, target: Table) -> Step | None:
        """Declares a foreign key of a table that is in its place; None where the system can't."""

    @abstractmethod
    def _taken_names(self, schema: str) -> set[str]:
        """Names of indexes and the like that a new one can't have, folded where the system folds them."""

    @abstractmethod
    def _described(self, table: Table) -> tuple[ColumnInfo, ...]:
        """A table's columns, with their defaults."""

    @abstractmethod
    def _unique_columns(self, table: Table) -> list[frozenset[str]]:
        """Sets of columns that a key or an index of the table holds unique."""

    def ddl(self, staging: Staging) -> TableDdl:
        """By the relation's final name."""
        return self._look(lambda: self._ddl(staging))

    def _ddl(self, staging: Staging) -> TableDdl:
        table = self._locate(staging.relation)
        existing = self._find(table)
        if staging.is_addition and existing is not None:
            return TableDdl(notes=tuple(self._merge_notes(staging, existing)))
        taken = self._taken_names(table.schema) - self._names_of(existing)
        comments = self._comment_steps(staging, table) if staging.schema.has(SchemaPart.COMMENTS) else ()
        steps = [
            *comments,
            *self._steps(staging, table, lambda wanted: self._free(wanted, taken)),
            *self._reference_steps(staging, table),
        ]
        statements = (
            *self._schema_statements(table),
            self._create_statement(staging, table),
            *(step.sql for step in steps),
        )
        notes = [*staging.schema.notes, *self._omissions(staging), *self._renamed(staging)]
        if existing is not None and existing.kind == "table":
            notes += replaced_differences(staging, self._described(existing.table), self._types(staging))
            notes += key_differences(staging, self._unique_columns(existing.table))
            notes += self._replaced_notes(existing)
        return TableDdl(tuple(f"{statement};" for statement in statements), tuple(dict.fromkeys(notes)))

    def _merge_notes(self, staging: Staging, existing: Found) -> Iterator[str]:
        """What differs between the rows to merge and the table, without harm."""
        del staging, existing
        return iter(())

    def _names_of(self, existing: Found | None) -> set[str]:
        """Names that become free when the table is replaced."""
        del existing
        return set()

    def _replaced_notes(self, existing: Found) -> Iterator[str]:
        """What stays with the table that is replaced."""
        del existing
        return iter(())

    def _schema_statements(self, table: Table) -> Iterator[str]:
        """Makes the table's schema, where it is missing."""
        del table
        return iter(())

    def _create_statement(self, staging: Staging, table: Table) -> str:
        parts = [self._column_definition(staging, column) for column in staging.columns]
        return f"CREATE TABLE {table.sql} ({', '.join([*parts, *self._table_parts(staging)])})"

    def _table_parts(self, staging: Staging) -> Iterator[str]:
        """What stands behind the columns when the table is made."""
        del staging
        return iter(())

    def _column_definition(self, staging: Staging, column: ColumnInfo) -> str:
        # A transform may have given the column another type.
        is_of_type = not column.default or bool(standard_default(column.default, column.type))
        is_wanted = is_of_type and staging.schema.has(SchemaPart.DEFAULTS)
        default = self._default(staging, column) if is_wanted else ""
        ending = f"{f' DEFAULT {default}' if default else ''}{' NOT NULL' if column.is_required else ''}"
        return f"{quote(column.name)} {self._column_type(staging, column)}{ending}"

    def _types(self, staging: Staging) -> dict[str, str]:
        return {column.name: self._column_type(staging, column) for column in staging.columns}

    def _steps(self, staging: Staging, table: Table, name: Naming) -> Iterator[Step]:
        """Everything between the load and the foreign keys. `name` makes of a name that is wanted one that can be had."""
        if staging.key and staging.schema.has(SchemaPart.KEY):
            yield from self._key_step(staging, table, name)
        yield from self._late_steps(staging, table, name)
        for index in self._indexes(staging):
            if self._index_step(staging, table, index, index.name) is not None:
                step = self._index_step(staging, table, index, name(index.name))
                if step is not None:
                    yield step

    def _key_name(self, staging: Staging) -> str:
        """The source's name for it, where it is the source's key."""
        schema = staging.schema
        is_own = bool(schema.key_name) and schema.key == staging.key
        return schema.key_name if is_own else f"{self._locate(staging.relation).name}_pkey"

    def _names(self, staging: Staging, table: Table) -> Naming:
        """The names that indexes are built under."""
        del staging
        taken = self._taken_names(table.schema)
        return lambda wanted: self._free(wanted, taken)

    def _indexes(self, staging: Staging) -> Iterator[TableIndex]:
        """The source's indexes that the target's columns allow, and its primary key where the dataset names another."""
        schema, names = staging.schema, {column.name for column in staging.columns}
        if not schema.has(SchemaPart.INDEXES):
            return
        if schema.key and set(schema.key) != set(staging.key) and set(schema.key) <= names:
            yield TableIndex(
                schema.key_name or f"{self._locate(staging.relation).name}_key", schema.key, is_unique=True
            )
        yield from (index for index in schema.indexes if set(index.columns) <= names)

    def _reference_steps(self, staging: Staging, table: Table) -> Iterator[Step]:
        for key in self._foreign_keys(staging):
            step = self._foreign_key_step(staging, table, key, self._locate(key.target_relation))
            if step is not None:
                yield step

    def _foreign_keys(self, staging: Staging) -> Iterator[ForeignKey]:
        names = {column.name for column in staging.columns}
        if staging.schema.has(SchemaPart.FOREIGN_KEYS):
            yield from (key for key in staging.schema.foreign_keys if key.target_relation and set(key.columns) <= names)

    def _omissions(self, staging: Staging) -> Iterator[str]:
        """What the source declares and this system is not given."""
        schema, names = staging.schema, {column.name for column in staging.columns}
        for column in staging.columns:
            is_wanted = column.native_default and schema.has(SchemaPart.DEFAULTS)
            if is_wanted and not self._default(staging, column) and not self._is_native(staging):
                yield f"the default {column.native_default} of column `{column.name}` is not carried: it may mean another thing here"
            if column.is_identity and schema.has(SchemaPart.IDENTITY) and not self._numbers(staging, column):
                yield f"the identity of column `{column.name}` is not carried: rows must give a value for it"
        for index in schema.indexes if schema.has(SchemaPart.INDEXES) else ():
            if not set(index.columns) <= names:
                yield f"the index `{index.name}` is not carried: the target has not all of its columns"
            elif self._index_step(staging, _ANY, index, index.name) is None:
                what = "unique index" if index.is_unique else "index"
                yield f"the {what} `{index.name}` is not carried: it is {index.definition or 'not one that can be made'} in the source"
        for key in schema.foreign_keys if schema.has(SchemaPart.FOREIGN_KEYS) else ():
            if not key.target_relation:
                yield (
                    f"the foreign key `{key.name}` is not carried: the plan does not move `{key.relation}` from the same source "
                    "into the same target"
                )
            elif not set(key.columns) <= names:
                yield f"the foreign key `{key.name}` is not carried: the target has not all of its columns"
            elif not self.has_references_in_table and self._foreign_key_step(staging, _ANY, key, _ANY) is None:
                yield f"the foreign key `{key.name}` is checked at the publication and not declared: {self.undeclarable}"

    def _numbers(self, staging: Staging, column: ColumnInfo) -> bool:
        """Whether the column can be one that the system numbers."""
        del staging, column
        return False

    def _is_native(self, staging: Staging) -> bool:
        """Whether the source's own words are this system's, too."""
        del staging
        return False

    def _allowed(self, name: str) -> str:
        """The name, or another that is like it where the system can't have it: too long, or kept for the system itself."""
        name = self._unreserved(name)
        return name if self.name_bytes_max is None else _cut(name, self.name_bytes_max)

    def _unreserved(self, name: str) -> str:
        """The name, or another where the system keeps it for itself."""
        return name

    def _renamed(self, staging: Staging) -> Iterator[str]:
        """What has another name than in the source."""
        wanted: list[str] = []

        def note(name: str) -> str:
            wanted.append(name)
            return self._allowed(name)

        for _ in self._steps(staging, self._locate(staging.relation), note):
            pass
        for name in dict.fromkeys(wanted):
            if (other := self._allowed(name)) != name:
                yield f"the index `{name}` is called `{other}`: the target can't have an index of that name"

    def _free(self, name: str, taken: set[str]) -> str:
        """The name, or the first with a number behind it that is free; taken from here on."""
        name = self._allowed(name)
        for number in range(1, NAMES_MAX):
            ending = "" if number == 1 else f"_{number}"
            cut = name if self.name_bytes_max is None else _cut(name, self.name_bytes_max - len(ending))
            found = f"{cut}{ending}"
            folded = found.lower() if self.folds_case else found
            if folded not in taken:
                taken.add(folded)
                return found
        raise ValueError(f"{NAMES_MAX} names like {name} are taken")


def _cut(name: str, bytes_max: int) -> str:
    return name.encode()[:bytes_max].decode(errors="ignore")
