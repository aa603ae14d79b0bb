"""Bad input gets a clear error that says what, where and what to do next, and nothing is lost."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import plan_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, quickstart

pytestmark = pytest.mark.measured

PLAN = "environments/quickstart/plans/warehouse"
Edit = Callable[[plan_pb2.Phase], None]


def violations(error: grpc.RpcError) -> dict[str, str]:
    """The fields that an answer refuses, with the reasons."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # the error of a stub is a call
    bad = error_details_pb2.BadRequest()
    assert status is not None
    assert any(detail.Unpack(bad) for detail in status.details), status
    return {violation.field: violation.description for violation in bad.field_violations}


def phase(client: Client, name: str) -> plan_pb2.Phase:
    """A phase as it stands."""
    return client.plans.GetPhase(plan_pb2.GetPhaseRequest(name=f"{PLAN}/phases/{name}"), metadata=client.metadata)


def refused_update(client: Client, name: str, edit: Edit) -> dict[str, str]:
    """Changes a phase, which must be refused; the fields and reasons."""
    wanted = phase(client, name)
    edit(wanted)
    with pytest.raises(grpc.RpcError) as error:
        client.plans.UpdatePhase(plan_pb2.UpdatePhaseRequest(phase=wanted), metadata=client.metadata)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return violations(error.value)


def refused_start(client: Client) -> dict[str, str]:
    """Starts a run, which must be refused; the fields and reasons. No run exists afterwards."""
    with pytest.raises(grpc.RpcError) as error:
        client.runs.StartRun(run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120)
    found = violations(error.value)
    assert not client.runs.ListRuns(run_pb2.ListRunsRequest(parent=PLAN), metadata=client.metadata).runs
    return found


def update(client: Client, name: str, edit: Edit) -> None:
    """Changes a phase."""
    wanted = phase(client, name)
    edit(wanted)
    client.plans.UpdatePhase(plan_pb2.UpdatePhaseRequest(phase=wanted), metadata=client.metadata)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Where the warehouse will be."""
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def client(
    engine: EngineProcess, legacy: Path, warehouse: Path, tmp_path: Path
) -> "contextlib.AbstractContextManager[Client]":
    """A client of an engine that has the quickstart's plan."""
    with engine.client() as client:
        declare(client, quickstart(legacy, warehouse), tmp_path / "plan.yaml")
    return engine.client()


def test_a_cycle_is_refused_with_the_cycle_spelled_out(client: "contextlib.AbstractContextManager[Client]") -> None:
    with client as open_client:
        found = refused_update(open_client, "airlines", lambda wanted: wanted.dependencies.append("flights"))
    assert "airlines → flights → airlines" in found["phase.dependencies"]


def test_an_unknown_connection_is_refused_with_the_nearest_name(
    client: "contextlib.AbstractContextManager[Client]",
) -> None:
    def edit(wanted: plan_pb2.Phase) -> None:
        wanted.datasets["flights"].source.connection = "operation"

    with client as open_client:
        found = refused_update(open_client, "flights", edit)
    assert "did you mean `operations`?" in found["phase.datasets.flights.source.connection"]


def test_an_unknown_department_is_refused_with_the_nearest_name(
    client: "contextlib.AbstractContextManager[Client]",
) -> None:
    with client as open_client:
        found = refused_update(open_client, "flights", lambda wanted: setattr(wanted, "department", "operatons"))
    assert "did you mean `operations`?" in found["phase.department"]


def test_unknown_columns_and_keys_are_refused_together_before_a_run_exists(
    client: "contextlib.AbstractContextManager[Client]",
) -> None:
    def edit(wanted: plan_pb2.Phase) -> None:
        wanted.datasets["flights"].source.columns["tailnumber"].type = "string"

    with client as open_client:
        update(open_client, "flights", edit)
        update(open_client, "airports", lambda wanted: wanted.datasets["airports"].key.__setitem__(0, "fa"))
        found = refused_start(open_client)
    assert "did you mean `tailnum`?" in found["phases.flights.datasets.flights.source.columns.tailnumber"]
    assert "did you mean `faa`?" in found["phases.airports.datasets.airports.key"]


def test_a_missing_source_is_refused_before_any_lane_starts(
    client: "contextlib.AbstractContextManager[Client]",
) -> None:
    def edit(wanted: plan_pb2.Phase) -> None:
        wanted.datasets["flights"].source.relation = "flight.csv"

    with client as open_client:
        update(open_client, "flights", edit)
        found = refused_start(open_client)
    assert "flights.csv" in found["phases.flights.datasets.flights.source.relation"]


def test_a_target_that_holds_rows_is_refused_and_left_as_it_is(
    client: "contextlib.AbstractContextManager[Client]", warehouse: Path
) -> None:
    with contextlib.closing(duckdb.connect(str(warehouse))) as connection:
        connection.execute("CREATE TABLE airlines AS SELECT 'mine' AS name")
    with client as open_client:
        found = refused_start(open_client)
    assert "replace" in found["phases.airlines.datasets.airlines.target.load_mode"]
    with contextlib.closing(duckdb.connect(str(warehouse))) as connection:
        assert connection.execute("SELECT name FROM airlines").fetchall() == [("mine",)]
