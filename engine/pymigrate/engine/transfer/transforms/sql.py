"""A private DuckDB that computes expressions over batches: one thread, bounded memory, no files, no network, no settings to change."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import duckdb
import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.transfer.transforms.expressions import allowed_functions, objections

MEMORY_LIMIT = "256MB"
ROWS = "pymigrate_rows"
# In this order: what is locked first can't be changed after.
_SETTINGS = (
    "SET temp_directory = ''",
    "SET TimeZone = 'UTC'",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


def quote(name: str) -> str:
    """The name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


class SqlEngine:
    """Close it. Not for several threads at once."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": MEMORY_LIMIT})
        for setting in _SETTINGS:
            self._connection.execute(setting)

    def objections(self, expression: str, columns: Sequence[ColumnInfo]) -> tuple[str, ...]:
        """What stands against an expression over these columns, each as a sentence's end."""
        found = objections(self._connection, self._functions, expression, [column.name for column in columns])
        return tuple(found)

    def type_of(self, expression: str, columns: Sequence[ColumnInfo]) -> str:
        """The type of an allowed expression, in DuckDB's words. Raises ValueError that says why it has none."""
        empty = arrow_schema(columns).empty_table()
        self._connection.register(ROWS, empty)
        try:
            found = self._connection.execute(f"DESCRIBE SELECT ({expression}\n) FROM {ROWS}").fetchall()
        except duckdb.Error as error:
            raise ValueError(first_line(error)) from error
        finally:
            self._connection.unregister(ROWS)
        return str(found[0][1])

    def run(self, batch: pa.RecordBatch, items: Mapping[str, str], inner: Mapping[str, str] | None = None) -> pa.Table:
        """The expressions by name over the batch's rows, in their order; over `inner` expressions first, where there are some. Raises
        DataRefused where DuckDB fails as a whole."""
        self._connection.register(ROWS, pa.Table.from_batches([batch]))
        given = f"(SELECT {_list(inner)} FROM {ROWS})" if inner else ROWS
        try:
            return self._connection.execute(f"SELECT {_list(items)} FROM {given}").to_arrow_table()
        except duckdb.Error as error:
            raise DataRefused(f"a transform's SQL failed: {category(error)}", field="transforms") from error
        finally:
            self._connection.unregister(ROWS)

    def complaint(self, row: pa.RecordBatch, expression: str) -> str:
        """What kind of error an expression meets over a row, without the row's values."""
        self._connection.register(ROWS, pa.Table.from_batches([row]))
        try:
            self._connection.execute(f"SELECT ({expression}\n) FROM {ROWS}").fetchall()
        except duckdb.Error as error:
            return category(error)
        finally:
            self._connection.unregister(ROWS)
        return "unknown error"

    def close(self) -> None:
        """Gives up its DuckDB. May be called again."""
        self._connection.close()

    @cached_property
    def _functions(self) -> Mapping[str, bool]:
        return allowed_functions(self._connection)


def _list(items: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {quote(name)}" for name, expression in items.items())


def category(error: BaseException) -> str:
    """What kind of error DuckDB raised, such as `conversion error`. The rest of its text holds values."""
    return first_line(error).partition(":")[0].lower()


def first_line(error: BaseException) -> str:
    """What an error says, without where in the statement."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
