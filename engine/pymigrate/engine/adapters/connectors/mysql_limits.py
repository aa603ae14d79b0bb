"""What MySQL's tables can't hold, and what its names can't be."""

from collections.abc import Iterator

from pymigrate.engine.adapters.connectors.mysql_catalog import NAME_LAST
from pymigrate.engine.adapters.connectors.target_statements import Table
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.ports.staging import Staging

COLUMNS_MAX = 1_017
KEY_COLUMNS_MAX = 16
SCALE_MAX = 30  # MariaDB takes 38
_SYSTEM_SCHEMAS = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
_UNFIT = "MySQL's names have no space at their end, and no characters beyond U+FFFF"


def limit_problems(staging: Staging, table: Table, *, is_mariadb: bool) -> Iterator[Problem]:
    """What of the staging can't be had in a table of this name."""
    if table.schema.lower() in _SYSTEM_SCHEMAS:
        yield Problem("target.relation", f"`{staging.relation}` is in a database of MySQL's own")
    if table.name != fitting(table.name):
        yield Problem("target.relation", _UNFIT)
    if len(staging.columns) > COLUMNS_MAX:
        yield Problem("source.columns", f"MySQL's tables have at most {COLUMNS_MAX:,} columns")
    for column in staging.columns:
        field = f"source.columns.{column.name}"
        if column.name != fitting(column.name):
            yield Problem(field, _UNFIT)
        if column.type.kind == "decimal" and column.type.scale > SCALE_MAX and not is_mariadb:
            yield Problem(field, f"MySQL's decimals have at most {SCALE_MAX} digits after the point")
        if column.name in staging.key and column.type.kind == "json":
            yield Problem("key", f"`{column.name}` is json, which MySQL has in no key")
    if len(staging.key) > KEY_COLUMNS_MAX:
        yield Problem("key", f"MySQL's keys have at most {KEY_COLUMNS_MAX} columns")


def fitting(name: str) -> str:
    """The name, or one like it that MySQL can have."""
    return "".join(character if ord(character) <= NAME_LAST else "_" for character in name).rstrip(" ")
