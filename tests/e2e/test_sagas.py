"""What takes place in several systems at once: publications into two databases, calls outside databases, and merges into one table."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.contract.test_calls import Switch
from tests.e2e.engines import EngineProcess, declare, ended, wait_until

pytestmark = pytest.mark.measured

PLAN = "environments/e/plans/p"
ROWS = 500


def postgres(dsn: str) -> dict[str, Any]:
    """A connection to a database."""
    parts = conninfo_to_dict(dsn)
    system = {
        "host": parts["host"],
        "port": int(str(parts["port"])),
        "database": parts["dbname"],
        "user": parts["user"],
    }
    return {"postgres": system}


def dataset(relation: str, target: str, **more: Any) -> dict[str, Any]:
    """Rows of the legacy system, put into a target's `customers`."""
    load_mode = more.pop("loadMode", "create")
    return {
        "source": {"connection": "legacy", "relation": relation},
        "target": {"connection": target, "relation": "customers", "loadMode": load_mode},
        "key": ["id"],
        **more,
    }


def definitions(targets: dict[str, Any], phases: dict[str, Any], legacy: Path) -> str:
    """A plan over one legacy file."""
    where = {"environment": "e"}
    connections = {"legacy": {"sqlite": {"path": str(legacy)}}, **targets}
    documents: list[dict[str, Any]] = [
        {"kind": "Environment", "metadata": {"name": "e"}},
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann"}},
        *(
            {"kind": "Connection", "metadata": {"name": name, **where}, "spec": spec}
            for name, spec in connections.items()
        ),
        {"kind": "Plan", "metadata": {"name": "p", **where}, "spec": {"phases": phases}},
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """Two tables of customers; ids from 400 to 499 are in both, and those from 450 on with other names."""
    path = tmp_path / "legacy.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, first in (("shop", 0), ("club", 400)):
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)")
            names = ((n, f"{table} {n}" if n >= 450 else f"name {n}") for n in range(first, first + ROWS))
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", names)
    return path


def customers(dsn: str) -> dict[int, str]:
    """What a database has of them; empty without the table."""
    with psycopg.connect(dsn) as connection:
        if connection.execute("SELECT to_regclass('customers')").fetchone() == (None,):
            return {}
        return dict(connection.execute("SELECT id, name FROM customers").fetchall())


def prepared(dsn: str) -> int:
    """Transactions that stand prepared in the whole cluster."""
    with psycopg.connect(dsn) as connection:
        return len(connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall())


def start(client: Client) -> str:
    return client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name


def state_of(client: Client, name: str, phase: str) -> int:
    run = client.runs.GetRun(run_pb2.GetRunRequest(name=name), metadata=client.metadata, timeout=60)
    return run.phases[phase].state


def approve(client: Client, name: str, phase: str) -> None:
    request = run_pb2.ApproveGateRequest(name=name, phase=phase, gate="go")
    client.runs.ApproveGate(request, metadata=client.metadata, timeout=60)


@pytest.mark.parametrize("is_occupied", [False, True])
def test_a_phase_is_published_in_both_databases_or_in_neither(
    engine: EngineProcess,
    create_postgres_database: Callable[[], str],
    legacy: Path,
    tmp_path: Path,
    is_occupied: bool,
) -> None:
    one, two = create_postgres_database(), create_postgres_database()
    phase = {
        "department": "sales",
        "gates": {"go": {}},
        "datasets": {"shop": dataset("shop", "one"), "club": dataset("club", "two")},
    }
    with engine.client() as client:
        text = definitions({"one": postgres(one), "two": postgres(two)}, {"customers": phase}, legacy)
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: state_of(client, name, "customers") == run_pb2.PHASE_STATE_VERIFYING)
        if is_occupied:  # somebody else fills the second table after everything was verified
            with psycopg.connect(two) as connection:
                connection.execute("CREATE TABLE customers (id bigint, name text)")
                connection.execute("INSERT INTO customers VALUES (1, 'mine')")
        wait_until(lambda: _is_verified(client, name))
        approve(client, name, "customers")
        run = ended(client, name)
    if is_occupied:
        assert run.state == run_pb2.RUN_STATE_FAILED
        assert run.phases["customers"].state == run_pb2.PHASE_STATE_ROLLED_BACK
        assert (customers(one), customers(two)) == ({}, {1: "mine"})
    else:
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        assert (len(customers(one)), len(customers(two))) == (ROWS, ROWS)
    assert prepared(one) == 0


def _is_verified(client: Client, name: str) -> bool:
    run = client.runs.GetRun(run_pb2.GetRunRequest(name=name), metadata=client.metadata, timeout=60)
    return all(each.verification.is_verified for each in run.phases["customers"].datasets.values())


@pytest.fixture
def switch() -> Iterator[Switch]:
    """What lies outside databases."""
    running = Switch()
    yield running
    running.close()


def test_steps_outside_databases_are_called_once_each_and_undone_with_the_phase(
    engine: EngineProcess, postgres_database: str, legacy: Path, tmp_path: Path, switch: Switch
) -> None:
    base = f"http://127.0.0.1:{switch.port}"
    steps = {
        "freeze": {"point": "before_start", "call": {"url": f"{base}/freeze"}, "undo": {"url": f"{base}/thaw"}},
        "point": {"call": {"url": f"{base}/new", "method": "PUT"}, "undo": {"url": f"{base}/old", "method": "PUT"}},
    }
    phase = {"department": "sales", "steps": steps, "datasets": {"shop": dataset("shop", "one")}}
    switch.statuses = [503, 204]  # the first call is answered with a delay, and tried again under the same key
    with engine.client() as client:
        text = definitions({"one": postgres(postgres_database)}, {"customers": phase}, legacy)
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        assert [path for _, path, _, _ in switch.seen] == ["/freeze", "/freeze", "/new"]
        assert len({headers["Idempotency-Key"] for _, _, headers, _ in switch.seen[:2]}) == 1
        client.runs.RollbackRun(run_pb2.RollbackRunRequest(name=name), metadata=client.metadata, timeout=60)
        assert ended(client, name).state == run_pb2.RUN_STATE_ROLLED_BACK
    assert [path for _, path, _, _ in switch.seen[3:]] == ["/old", "/thaw"]
    assert len(switch.done) == 4
    assert customers(postgres_database) == {}


def merging(policy: str) -> dict[str, Any]:
    """A phase for each table; the club comes second."""
    more = {"loadMode": "merge", "conflictPolicy": policy}
    return {
        "shop": {"department": "sales", "datasets": {"shop": dataset("shop", "one", **more)}},
        "club": {
            "department": "sales",
            "dependencies": ["shop"],
            "datasets": {"club": dataset("club", "one", **more)},
        },
    }


@pytest.mark.parametrize(("policy", "name_of_460"), [("keep_existing", "shop 460"), ("overwrite", "club 460")])
def test_two_departments_merge_into_one_table_and_one_is_taken_out_again(
    engine: EngineProcess, postgres_database: str, legacy: Path, tmp_path: Path, policy: str, name_of_460: str
) -> None:
    with engine.client() as client:
        text = definitions({"one": postgres(postgres_database)}, merging(policy), legacy)
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        assert run.phases["club"].datasets["club"].conflicts == 50
        found = customers(postgres_database)
        assert (len(found), found[460], found[420]) == (900, name_of_460, "name 420")
        client.runs.RollbackPhase(
            run_pb2.RollbackPhaseRequest(name=name, phase="club"), metadata=client.metadata, timeout=60
        )
        assert ended(client, name).state == run_pb2.RUN_STATE_ROLLED_BACK
    found = customers(postgres_database)
    assert (len(found), found[460]) == (ROWS, "shop 460")


def test_a_conflict_that_is_to_fail_publishes_nothing_and_keeps_the_phase_before_it(
    engine: EngineProcess, postgres_database: str, legacy: Path, tmp_path: Path
) -> None:
    with engine.client() as client:
        text = definitions({"one": postgres(postgres_database)}, merging("fail"), legacy)
        declare(client, text, tmp_path / "plan.yaml")
        run = ended(client, start(client))
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert run.failure.reason == "MERGE_CONFLICT"
    assert "50 rows" in run.failure.message
    assert run.phases["shop"].state == run_pb2.PHASE_STATE_PUBLISHED
    assert len(customers(postgres_database)) == ROWS
