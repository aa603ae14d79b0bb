"""Whether KPIs tell what is there: the figures of a run that has succeeded beside what is counted in its targets.

Every benchmark that moves data through an engine ends with it; a figure that differs fails the benchmark.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import kpi_pb2, run_pb2

Count = Callable[[str], int]
CALL_SECONDS_MAX = 60


def in_postgres(dsn: str) -> Count:
    """Counts rows of a PostgreSQL database."""

    def count(relation: str) -> int:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(relation))).fetchone()
        return int(found[0]) if found else -1

    return count


def in_duckdb(path: Path) -> Count:
    """Counts rows of a DuckDB file; nobody else may have it open."""

    def count(relation: str) -> int:
        with duckdb.connect(str(path), read_only=True) as tool:
            found = tool.execute(f'SELECT count(*) FROM "{relation}"').fetchone()
        return int(found[0]) if found else -1

    return count


def in_parquet(root: Path) -> Count:
    """Counts rows of a folder's Parquet files."""

    def count(relation: str) -> int:
        files = [str(file) for file in root.rglob("*.parquet") if str(file.relative_to(root)).startswith(relation)]
        with duckdb.connect() as tool:
            found = tool.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()
        return int(found[0]) if found else -1

    return count


@dataclass(frozen=True, slots=True)
class Kept:
    """What was told of a run that had just ended: the run itself, and its KPIs."""

    run: run_pb2.Run
    kpis: kpi_pb2.Kpis


def told(client: Client, run: run_pb2.Run) -> Kept:
    """What an engine tells of a run that has ended, at once."""
    asked = kpi_pb2.GetKpisRequest(name=run.name, includes_parts=True)
    return Kept(run, client.kpis.GetKpis(asked, metadata=client.metadata, timeout=CALL_SECONDS_MAX))


def require(kept: Kept, counts: Mapping[str, Count]) -> None:
    """Raises AssertionError with every figure that is not what is counted in the databases, which `counts` reach by connection."""
    found: dict[str, int] = {}
    for name, phase in kept.run.phases.items():
        targets = [dataset.target.partition(":") for dataset in phase.datasets.values()]
        found[name] = sum(counts[connection](relation) for connection, _, relation in targets)
    phases = {part.name.rpartition("/")[2]: part for part in kept.kpis.parts}
    datasets = sum(len(phase.datasets) for phase in kept.run.phases.values())
    lanes = sum(len(dataset.lanes) for phase in kept.run.phases.values() for dataset in phase.datasets.values())
    differences = [
        f"{what}: told {told!r}, counted {counted!r}"
        for what, told, counted in (
            ("rows", kept.kpis.rows, sum(found.values())),
            *((f"rows of phase {name}", phases[name].rows, rows) for name, rows in found.items()),
            *((f"completion of phase {name}", phases[name].completion, 1.0) for name in found),
            ("bytes", kept.kpis.bytes, kept.run.bytes),
            ("completion", kept.kpis.completion, 1.0),
            ("state", kept.kpis.state, run_pb2.RUN_STATE_SUCCEEDED),
            ("phases", dict(kept.kpis.phases), {"published": len(found)}),
            ("lanes", dict(kept.kpis.lanes), {"done": lanes}),
            ("verified datasets", sum(kept.kpis.verifications.values()), datasets),
            ("datasets that failed", kept.kpis.verifications.get("failed", 0), 0),
            ("rows in quarantine", kept.kpis.quarantined_rows, 0),
        )
        if told != counted
    ]
    if differences:
        raise AssertionError(f"the KPIs of {kept.run.name} differ from its databases: {'; '.join(differences)}")
