"""A source or target that goes away in the middle of a copy and comes back: lanes stall, keep what they have, and go on by themselves."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import grpc
import psycopg
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.proxies import Proxy, proxied
from tests.servers import PostgresCluster

PLAN = "environments/e/plans/p"
ROWS = 60_000


@pytest.fixture
def proxy(postgres_cluster: PostgresCluster) -> Iterator[Proxy]:
    """What the worker hosts take for the database."""
    with proxied(postgres_cluster.port) as found:
        yield found


def definitions(source: dict[str, Any], target: dict[str, Any], tables: list[str]) -> str:
    """A plan of one phase a table."""
    where = {"environment": "e"}

    def dataset(table: str) -> dict[str, Any]:
        return {
            "source": {"connection": "legacy", "relation": table},
            "target": {"connection": "warehouse", "relation": table},
            "chunkBytes": 100_000,
            "key": ["id"],
        }

    phases = {table: {"department": "sales", "datasets": {table: dataset(table)}} for table in tables}
    documents = [
        {"kind": "Environment", "metadata": {"name": "e"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        {"kind": "Connection", "metadata": {"name": "legacy", **where}, "spec": source},
        {"kind": "Connection", "metadata": {"name": "warehouse", **where}, "spec": target},
        {"kind": "Plan", "metadata": {"name": "p", **where}, "spec": {"phases": phases}},
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def through(proxy: Proxy, dsn: str) -> dict[str, Any]:
    """A connection that reaches a database through the proxy."""
    database = dsn.rpartition("/")[2]
    return {"postgres": {"host": "127.0.0.1", "port": proxy.port, "database": database, "user": "postgres"}}


def lanes(client: Client, name: str) -> list[run_pb2.Lane]:
    request = run_pb2.ListLanesRequest(parent=name)
    return list(client.runs.ListLanes(request, metadata=client.metadata, timeout=60).lanes)


def start(client: Client) -> str:
    return client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name


def test_a_source_that_goes_away_stalls_its_lanes_and_they_go_on_when_it_is_back(
    engine: EngineProcess, proxy: Proxy, postgres_database: str, tmp_path: Path
) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
        connection.execute("INSERT INTO orders SELECT n, repeat('x', 50) || n FROM generate_series(1, %s) n", (ROWS,))
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        text = definitions(through(proxy, postgres_database), {"duckdb": {"path": str(warehouse)}}, ["orders"])
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: any(lane.chunks for lane in lanes(client, name)))
        proxy.cut()
        wait_until(lambda: lanes(client, name)[0].state == run_pb2.LANE_STATE_STALLED)
        (stalled,) = lanes(client, name)
        assert stalled.failure.reason == "SYSTEM_UNAVAILABLE"
        assert stalled.failure.field.endswith("source.connection")
        wait_until(lambda: lanes(client, name)[0].retries >= 3)
        proxy.mend()
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    assert stalled.chunks > 0
    engine.stop()
    with closing(duckdb.connect(str(warehouse), read_only=True)) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM orders").fetchone()
    assert found == (ROWS, ROWS, 1, ROWS)


def watch(client: Client, name: str, seconds: float) -> None:
    """Lets a run that does not end go on for so long."""
    pictures = client.runs.WatchRun(run_pb2.WatchRunRequest(name=name), metadata=client.metadata, timeout=seconds)
    with pytest.raises(grpc.RpcError, match="Deadline"):
        list(pictures)


@pytest.mark.parametrize("fault", ["cut", "held"])
def test_a_target_that_goes_away_keeps_what_it_committed_and_nothing_is_written_twice(
    engine: EngineProcess, proxy: Proxy, postgres_database: str, tmp_path: Path, fault: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "legacy.db")) as legacy, legacy:
        for table in ("orders", "items"):
            legacy.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, note TEXT)")
            legacy.executemany(f"INSERT INTO {table} VALUES (?, ?)", ((n, "x" * 50 + str(n)) for n in range(ROWS)))
    with engine.client() as client:
        source = {"sqlite": {"path": str(tmp_path / "legacy.db")}}
        text = definitions(source, through(proxy, postgres_database), ["orders", "items"])
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: all(lane.chunks for lane in lanes(client, name)))
        if fault == "cut":
            proxy.cut()
            wait_until(lambda: any(lane.state == run_pb2.LANE_STATE_STALLED for lane in lanes(client, name)))
            proxy.mend()
        else:
            # Longer than a lease: hosts that hear nothing from the target must not be followed by another writer that commits as well.
            proxy.hold()
            watch(client, name, 1.5)  # what was committed before is reported meanwhile
            before = [lane.chunks for lane in lanes(client, name)]
            watch(client, name, 6)
            assert [lane.chunks for lane in lanes(client, name)] == before
            proxy.release()
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    with psycopg.connect(postgres_database) as connection:
        for table in ("orders", "items"):
            found = connection.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}").fetchone()
            assert found == (ROWS, ROWS)
