"""KPIs of a real run, from a real engine: what is told in the end is what is counted in the databases, refused rows and all; and an engine
that is started again tells the same."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import kpi_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, running_engine
from tests.e2e.test_connectors import plan

ROWS, REFUSED_EACH = 6_000, 500
PLAN = "environments/e/plans/p"
RELATIONS = ("orders", "items")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine with two relations to be moved, in one of which some prices are none."""
    with contextlib.closing(sqlite3.connect(tmp_path / "legacy.db")) as connection, connection:
        for relation in RELATIONS:
            connection.execute(f"CREATE TABLE {relation} (id INTEGER PRIMARY KEY, price TEXT, note TEXT)")
            is_bad = relation == "orders"
            rows = (
                (n, "free" if is_bad and n % REFUSED_EACH == 0 else f"{n}.50", "x" * 100) for n in range(1, ROWS + 1)
            )
            connection.executemany(f"INSERT INTO {relation} VALUES (?, ?, ?)", rows)
    with running_engine(tmp_path / "home") as found:
        with found.client() as client:
            declare(client, definitions(tmp_path), tmp_path / "plan.yaml")
        yield found


def definitions(folder: Path) -> str:
    """Both relations, with their prices cast and what can't be cast set apart."""
    datasets: dict[str, Any] = {
        relation: {
            "source": {"connection": "legacy", "relation": relation},
            "target": {"connection": "warehouse", "relation": relation},
            "key": ["id"],
            "transforms": [{"cast": {"columns": {"price": {"type": "decimal(9,2)"}}}}],
            "quarantine": {"rowsMax": 1_000},
            "chunkBytes": 65_536,
        }
        for relation in RELATIONS
    }
    legacy = {"sqlite": {"path": str(folder / "legacy.db")}}
    return plan({"legacy": legacy, "warehouse": {"duckdb": {"path": str(folder / "w.duckdb")}}}, datasets)


def kpis(client: Client, name: str) -> kpi_pb2.Kpis:
    """The KPIs of a subject and its parts."""
    asked = kpi_pb2.GetKpisRequest(name=name, includes_parts=True)
    return client.kpis.GetKpis(asked, metadata=client.metadata, timeout=60)


def counted(path: Path, relation: str) -> int:
    with duckdb.connect(str(path), read_only=True) as tool:
        found = tool.execute(f"SELECT count(*) FROM {relation}").fetchone()
    assert found is not None
    return int(found[0])


def test_what_is_told_of_a_run_is_what_is_counted_in_its_databases(engine: EngineProcess, tmp_path: Path) -> None:
    with engine.client() as client:
        asked = run_pb2.StartRunRequest(parent=PLAN)
        run = client.runs.StartRun(asked, metadata=client.metadata, timeout=120).name
        watched = client.kpis.WatchKpis(kpi_pb2.WatchKpisRequest(name=run), metadata=client.metadata, timeout=120)
        pictures = [answer.kpis for answer in watched]
        assert ended(client, run).state == run_pb2.RUN_STATE_SUCCEEDED
        names = (run, PLAN, "environments/e")
        before = {name: kpis(client, name) for name in names}
    rows = [picture.rows for picture in pictures]
    assert rows == sorted(rows), "what is committed never becomes less"
    assert [picture.state for picture in pictures][-1] == run_pb2.RUN_STATE_SUCCEEDED
    assert pictures[-1].rows == before[run].rows
    engine.stop()
    targets = [counted(tmp_path / "w.duckdb", relation) for relation in RELATIONS]
    refused = counted(tmp_path / "w.duckdb", "orders_quarantine")
    for found in before.values():
        assert found.rows == sum(targets)
        assert found.quarantined_rows == refused == ROWS // REFUSED_EACH
        assert (found.rows_expected, found.completion) == (2 * ROWS, 1.0)
        assert dict(found.verifications) == {"verified": 2}
        assert found.errors.total == 0
        assert found.downtime.used_seconds > 0
    assert before[run].throughput.average.rows_per_second > 0
    engine.start()
    with engine.client() as client:
        for name, told in before.items():
            again = kpis(client, name)
            for part in (told, again, *told.parts, *again.parts):
                for moving in ("throughput", "end_time", "remaining_seconds", "drift", "sla_risk"):
                    part.ClearField(moving)
                part.downtime.ClearField("expected_seconds")
            assert again == told
