"""Custom resource Runs with everything as processes: applied by kubectl, moved by worker hosts, through the end of operator and engine."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.clusters import Cluster
from tests.e2e.engines import EngineProcess, wait_until
from tests.e2e.operators import OperatorProcess, running_operator
from tests.e2e.test_operator import WAIT, definitions, kubectl, message, namespace, resource
from tests.kubectl import Kubectl
from tests.unit.application.gitops.applied import phase

__all__ = ["definitions", "kubectl", "namespace"]
ROWS = 5_000
GATE = {"sign_off": {"point": "before_start"}}


@pytest.fixture
def operator(engine: EngineProcess, api_server: Cluster, kubectl: Kubectl, namespace: str) -> Iterator[OperatorProcess]:
    environment = {"PYMIGRATE_OPERATOR_NAMESPACE": namespace, "PYMIGRATE_OPERATOR_LEASE": namespace}
    with running_operator(engine.home, api_server.admin_kubeconfig, environment) as process:
        yield process


@pytest.fixture
def warehouse(tmp_path: Path, kubectl: Kubectl, namespace: str) -> Path:
    """A plan that moves a table; the file that it moves it into."""
    legacy, target = tmp_path / "legacy.db", tmp_path / "warehouse.duckdb"
    connection = sqlite3.connect(legacy)
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
    connection.executemany("INSERT INTO orders VALUES (?, ?)", ((number, f"n{number}") for number in range(ROWS)))
    connection.commit()
    connection.close()
    kubectl.apply(
        resource(namespace, "Environment", namespace, {}),
        resource(namespace, "Department", "sales", {}),
        resource(namespace, "Connection", "legacy", {"sqlite": {"path": str(legacy)}}),
        resource(namespace, "Connection", "warehouse", {"duckdb": {"path": str(target)}}),
        resource(namespace, "Plan", "p", {"phases": {"orders": phase()}}),
        resource(namespace, "Plan", "gated", {"phases": {"orders": phase(gates=GATE)}}),
    )
    return target


def wait_for(kubectl: Kubectl, namespace: str, condition: str, name: str) -> None:
    kubectl("wait", "-n", namespace, f"--for=condition={condition}", WAIT, f"run/{name}")


def patch(kubectl: Kubectl, namespace: str, name: str, spec: dict[str, Any]) -> None:
    kubectl("patch", "-n", namespace, f"run/{name}", "--type=merge", "-p", json.dumps({"spec": spec}))


def test_a_run_that_is_applied_moves_every_row_and_is_ready(
    operator: OperatorProcess, kubectl: Kubectl, namespace: str, warehouse: Path
) -> None:
    kubectl.apply(resource(namespace, "Run", "first", {"plan": "p"}))
    wait_for(kubectl, namespace, "Ready", "first")
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT note) FROM orders").fetchone() == (ROWS, ROWS)
    status = kubectl.read("-n", namespace, "run/first")["status"]
    assert (status["progress"], int(status["rows"]), status["state"]) == ("100%", ROWS, "succeeded")
    columns = kubectl("get", "-n", namespace, "runs").split()
    assert {"True", "Succeeded", "succeeded", "100%"} <= set(columns)
    kubectl("delete", "-n", namespace, WAIT, "run/first")


def test_a_run_is_scaled_suspended_approved_and_adopted_by_the_next_operator(
    operator: OperatorProcess, kubectl: Kubectl, namespace: str, warehouse: Path
) -> None:
    kubectl.apply(resource(namespace, "Run", "held", {"plan": "gated"}))
    wait_for(kubectl, namespace, "Stalled", "held")
    assert "orders/sign_off" in message(kubectl, namespace, "run/held", "Stalled")
    kubectl("scale", "-n", namespace, "run/held", "--replicas=3")
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.lanes.limit}=3", WAIT, "run/held")
    patch(kubectl, namespace, "held", {"suspend": True})
    wait_for(kubectl, namespace, "Suspended", "held")
    operator.process.send_signal(signal.SIGKILL)
    operator.process.wait(30)
    plan_hash = kubectl.read("-n", namespace, "run/held")["status"]["planHash"]
    approval = {"phase": "orders", "gate": "sign_off", "planHash": plan_hash}
    patch(kubectl, namespace, "held", {"suspend": False, "gateApprovals": [approval]})
    operator.start()
    wait_for(kubectl, namespace, "Ready", "held")
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (ROWS,)


def test_a_run_that_is_deleted_while_the_engine_is_down_is_cancelled_once_it_is_back(
    operator: OperatorProcess, engine: EngineProcess, kubectl: Kubectl, namespace: str, warehouse: Path
) -> None:
    kubectl.apply(resource(namespace, "Run", "doomed", {"plan": "gated"}))
    wait_for(kubectl, namespace, "Stalled", "doomed")
    engine.kill()
    kubectl("delete", "-n", namespace, "--wait=false", "run/doomed")
    wait_until(lambda: "engine" in message(kubectl, namespace, "run/doomed", "Reconciling"))
    engine.start()
    kubectl("wait", "-n", namespace, "--for=delete", WAIT, "run/doomed")
    assert not warehouse.exists() or not _tables(warehouse)


def _tables(warehouse: Path) -> list[Any]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
