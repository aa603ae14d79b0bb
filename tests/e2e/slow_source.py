"""A source of equal tables that is limited to so many bytes a second, each table a lane of one plan: slow enough to see lanes at work."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

ROWS = 4_000
PLAN = "environments/e/plans/p"


def definitions(legacy: Path, warehouse: Path, tables: Sequence[str], bytes_per_second: int) -> str:
    """The plan, with everything that it names."""
    datasets = ", ".join(
        f"{table}: {{source: {{connection: legacy, relation: {table}}}, target: {{connection: warehouse, relation: {table}}}}}"
        for table in tables
    )
    specs = (
        ("Environment", "name: e", "{}"),
        ("Department", "name: sales, environment: e", "{owner: Ann}"),
        (
            "Connection",
            "name: legacy, environment: e",
            f"{{sqlite: {{path: {legacy}}}, bytesPerSecondMax: {bytes_per_second}}}",
        ),
        ("Connection", "name: warehouse, environment: e", f"{{duckdb: {{path: {warehouse}}}}}"),
        ("Plan", "name: p, environment: e", f"{{phases: {{load: {{department: sales, datasets: {{{datasets}}}}}}}}}"),
    )
    return "\n---\n".join(
        f"apiVersion: pymigrate.io/v1alpha1\nkind: {kind}\nmetadata: {{{name}}}\nspec: {spec}"
        for kind, name, spec in specs
    )


def laid_out(path: Path, tables: Sequence[str]) -> Path:
    """The source's file, made with ROWS rows in each table."""
    with sqlite3.connect(path) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, note TEXT)")
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", ((n, f"note {n:040}") for n in range(ROWS)))
    connection.close()
    return path
