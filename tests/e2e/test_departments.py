"""The architect's scenarios, with real processes and real files: ten departments that need one another, one that fails in part, and a
phase that is taken back while everything else stays as it is."""

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until

ENVIRONMENT = "environments/group"
PLAN = f"{ENVIRONMENT}/plans/consolidation"
ROWS = 2_000
# Which departments each one needs, and its own phases of which the second needs the first.
NEEDS: Mapping[str, Sequence[str]] = {
    "hr": (),
    "finance": (),
    "legal": (),
    "crm": (),
    "sales": ("crm", "finance"),
    "stock": ("finance",),
    "shipping": ("stock", "sales"),
    "marketing": ("crm",),
    "support": ("sales", "hr"),
    "board": ("shipping", "support", "marketing", "legal"),
}
TABLES = ("people", "orders")


def lay_out(folder: Path, broken: str = "") -> None:
    """A SQLite file for each department, with two tables; `broken` has a row in its orders that no column type holds."""
    folder.mkdir(exist_ok=True)
    for number, department in enumerate(NEEDS):
        with contextlib.closing(sqlite3.connect(folder / f"{department}.db")) as connection, connection:
            for table in TABLES:
                connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, note TEXT)")
                rows = [(row, row * number, f"{department} {row}") for row in range(ROWS)]
                connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)
            if department == broken:
                connection.execute("UPDATE orders SET amount = 'many' WHERE id = 1500")


def mend(folder: Path, department: str) -> None:
    """Somebody repairs the row."""
    with contextlib.closing(sqlite3.connect(folder / f"{department}.db")) as connection, connection:
        connection.execute("UPDATE orders SET amount = 15 WHERE id = 1500")


def definitions(folder: Path, warehouse: Path, changes: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Ten departments of two phases each: `<department>-people` first, then `<department>-orders`, which needs every phase of the
    departments that its own one needs. `changes` adds to phases."""
    documents: list[dict[str, Any]] = [{"kind": "Environment", "metadata": {"name": "group"}}]
    phases: dict[str, Any] = {}
    for department, needs in NEEDS.items():
        where = {"environment": "group"}
        documents.append({"kind": "Department", "metadata": {"name": department, **where}, "spec": {"owner": "Ann"}})
        legacy = {"sqlite": {"path": str(folder / f"{department}.db")}}
        documents.append({"kind": "Connection", "metadata": {"name": f"{department}-legacy", **where}, "spec": legacy})
        for table in TABLES:
            dataset = {
                "source": {"connection": f"{department}-legacy", "relation": table},
                "target": {"connection": "warehouse", "relation": f"{department}_{table}"},
                "chunkBytes": 65_536,
                "verification": "full",
            }
            phases[f"{department}-{table}"] = {"department": department, "datasets": {table: dataset}}
        orders = phases[f"{department}-orders"]
        orders["dependencies"], orders["departmentDependencies"] = [f"{department}-people"], list(needs)
    for phase, change in (changes or {}).items():
        phases[phase] |= change
    target = {"duckdb": {"path": str(warehouse)}}
    documents.append({"kind": "Connection", "metadata": {"name": "warehouse", "environment": "group"}, "spec": target})
    plan = {"metadata": {"name": "consolidation", "environment": "group"}, "spec": {"phases": phases}}
    documents.append({"kind": "Plan", **plan})
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def start(client: Client) -> str:
    return client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120).name


def contents(engine: EngineProcess, warehouse: Path) -> dict[str, tuple[int, int]]:
    """Rows and digest of every table of the warehouse. The engine's hosts are stopped for it, and started when they are needed."""
    engine.stop()
    with contextlib.closing(duckdb.connect(str(warehouse), read_only=True)) as connection:
        names = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'").fetchall()
        found = {
            name: connection.execute(f'SELECT count(*), bit_xor(hash(t)) FROM "{name}" t').fetchall()[0]
            for (name,) in names
        }
    engine.start()
    return found


def states(run: run_pb2.Run) -> dict[str, str]:
    """Where each phase stands."""
    return {
        name: run_pb2.PhaseState.Name(phase.state).removeprefix("PHASE_STATE_").lower()
        for name, phase in run.phases.items()
    }


def downstream_of(department: str) -> set[str]:
    """The departments that need it, directly or not, with itself."""
    found = {department}
    for other, needs in NEEDS.items():  # each is declared after what it needs
        if found & set(needs):
            found.add(other)
    return found


def test_ten_departments_arrive_in_the_order_of_what_they_need(engine: EngineProcess, tmp_path: Path) -> None:
    lay_out(tmp_path / "legacy")
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        declare(client, definitions(tmp_path / "legacy", warehouse), tmp_path / "plan.yaml")
        run = ended(client, start(client))
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    for phase in run.phases.values():
        for needed in phase.dependencies:
            assert run.phases[needed].end_time.ToDatetime() <= phase.start_time.ToDatetime()
    needed_by_board = {f"{each}-{table}" for each in ("shipping", "support", "marketing", "legal") for table in TABLES}
    assert set(run.phases["board-orders"].dependencies) == needed_by_board | {"board-people"}
    assert {rows for rows, _ in contents(engine, warehouse).values()} == {ROWS}


def test_a_department_that_fails_in_part_keeps_the_others_untouched_and_is_retried_alone(
    engine: EngineProcess, tmp_path: Path
) -> None:
    lay_out(tmp_path / "legacy", broken="sales")
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        declare(client, definitions(tmp_path / "legacy", warehouse), tmp_path / "plan.yaml")
        name = start(client)
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_FAILED
    lost = downstream_of("sales")
    expected = {}
    for department in NEEDS:
        expected[f"{department}-people"] = "published"
        expected[f"{department}-orders"] = "skipped" if department in lost else "published"
    assert states(run) == expected | {"sales-orders": "failed"}
    quarantine = run.phases["sales-orders"].datasets["orders"].quarantine
    assert quarantine.reason == "DATA_REFUSED"
    assert "1500" in quarantine.message
    assert run.failure.field.startswith("phases.sales-orders.datasets.orders")
    before = contents(engine, warehouse)
    assert set(before) == {
        f"{department}_{table}"
        for department in NEEDS
        for table in TABLES
        if table == "people" or department not in lost
    }
    mend(tmp_path / "legacy", "sales")
    with engine.client() as client:
        client.runs.RetryRun(run_pb2.RetryRunRequest(name=name), metadata=client.metadata, timeout=120)
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    after = contents(engine, warehouse)
    assert {table: after[table] for table in before} == before
    assert len(after) == 2 * len(NEEDS)


def test_a_phase_is_taken_back_with_what_needs_it_and_everything_else_stays_byte_for_byte(
    engine: EngineProcess, tmp_path: Path
) -> None:
    lay_out(tmp_path / "legacy")
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        declare(client, definitions(tmp_path / "legacy", warehouse), tmp_path / "plan.yaml")
        name = start(client)
        assert ended(client, name).state == run_pb2.RUN_STATE_SUCCEEDED
    before = contents(engine, warehouse)
    with engine.client() as client:
        request = run_pb2.RollbackPhaseRequest(name=name, phase="sales-orders")
        client.runs.RollbackPhase(request, metadata=client.metadata, timeout=60)
        run = ended(client, name)
        events = client.runs.ListRunEvents(
            run_pb2.ListRunEventsRequest(parent=name, page_size=1_000), metadata=client.metadata, timeout=60
        ).events
    assert run.state == run_pb2.RUN_STATE_ROLLED_BACK
    gone = {f"{department}-orders" for department in downstream_of("sales")}
    assert {phase for phase, state in states(run).items() if state == "rolled_back"} == gone
    after = contents(engine, warehouse)
    assert after == {table: found for table, found in before.items() if table.replace("_", "-") not in gone}
    undone = [event.subject.rpartition("/")[2] for event in events if event.type == "phase.rolled_back"]
    assert undone[0] == "board-orders"
    assert undone[-1] == "sales-orders"


def test_a_phase_behind_a_gate_publishes_only_after_somebody_approved_it(engine: EngineProcess, tmp_path: Path) -> None:
    lay_out(tmp_path / "legacy")
    changes = {"finance-orders": {"gates": {"figures": {"description": "The controller compares the totals."}}}}
    with engine.client() as client:
        text = definitions(tmp_path / "legacy", tmp_path / "warehouse.duckdb", changes)
        declare(client, text, tmp_path / "plan.yaml")
        name = start(client)

        def look() -> run_pb2.Run:
            return client.runs.GetRun(run_pb2.GetRunRequest(name=name), metadata=client.metadata, timeout=60)

        wait_until(
            lambda: states(look())["legal-orders"] == "published" and states(look())["finance-orders"] == "verifying"
        )
        engine.kill()  # what was approved or not is not in memory alone
        engine.start()
    with engine.client() as client:
        wait_until(lambda: states(look_at(client, name))["marketing-orders"] == "published")
        assert states(look_at(client, name))["finance-orders"] == "verifying"
        assert states(look_at(client, name))["stock-orders"] == "pending"
        request = run_pb2.ApproveGateRequest(name=name, phase="finance-orders", gate="figures")
        client.runs.ApproveGate(request, metadata=client.metadata, timeout=60)
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    assert run.phases["finance-orders"].gates["figures"].approver


def look_at(client: Client, name: str) -> run_pb2.Run:
    return client.runs.GetRun(run_pb2.GetRunRequest(name=name), metadata=client.metadata, timeout=60)


@pytest.mark.parametrize("phase", ["", "crm-people"])
def test_a_run_under_way_is_taken_back_whole_or_from_a_phase_on(
    engine: EngineProcess, tmp_path: Path, phase: str
) -> None:
    lay_out(tmp_path / "legacy")
    warehouse = tmp_path / "warehouse.duckdb"
    with engine.client() as client:
        held = {"hr-orders": {"gates": {"wait": {"point": "before_start"}}}}
        declare(client, definitions(tmp_path / "legacy", warehouse, held), tmp_path / "plan.yaml")
        name = start(client)
        wait_until(lambda: states(look_at(client, name))["marketing-orders"] == "published")
        if phase:
            asked = run_pb2.RollbackPhaseRequest(name=name, phase=phase)
            client.runs.RollbackPhase(asked, metadata=client.metadata, timeout=60)
            approval = run_pb2.ApproveGateRequest(name=name, phase="hr-orders", gate="wait")
            client.runs.ApproveGate(approval, metadata=client.metadata, timeout=60)
        else:
            client.runs.RollbackRun(run_pb2.RollbackRunRequest(name=name), metadata=client.metadata, timeout=60)
        run = ended(client, name)
    left = set(contents(engine, warehouse))
    if phase:
        assert run.state == run_pb2.RUN_STATE_FAILED
        assert "crm_people" not in left
        assert {"hr_people", "hr_orders", "finance_orders"} <= left
    else:
        assert run.state == run_pb2.RUN_STATE_ROLLED_BACK
        assert left == set()
