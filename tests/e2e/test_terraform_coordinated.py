"""Databases, their migration and an application's setting in one apply: in this order, and not otherwise."""

import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import ROOT
from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import terraform

__all__ = ["terraform"]
PLAN = "environments/cutover/plans/cutover"


@pytest.fixture
def coordinated(terraform: Terraform, tmp_path: Path) -> Terraform:
    """The example, with nothing applied yet."""
    for name in ("main.tf", "cloud.py"):
        shutil.copy(ROOT / "examples/terraform/coordinated" / name, terraform.folder)
    values = {"folder": str(tmp_path), "python": sys.executable}
    (terraform.folder / "terraform.tfvars.json").write_text(json.dumps(values))
    terraform.must("init")
    return terraform


def runs(terraform: Terraform) -> list[Any]:
    """The runs that the engine has."""
    with terraform.engine.client() as client:
        return list(client.runs.ListRuns(run_pb2.ListRunsRequest(parent=PLAN), metadata=client.metadata).runs)


def test_databases_are_made_then_migrated_and_only_then_the_application_is_switched(
    coordinated: Terraform, tmp_path: Path
) -> None:
    coordinated.must("plan", f"-out={tmp_path / 'plan'}")
    planned = json.loads(coordinated.must("show", "-json", str(tmp_path / "plan")))["resource_changes"]
    unknown = {each["address"]: each["change"]["after_unknown"] for each in planned}
    assert unknown["pymigrate_connection.crm"]["sqlite"] == {"path": True}
    assert unknown["pymigrate_connection.warehouse"]["duckdb"] == {"path": True}
    coordinated.must("apply", str(tmp_path / "plan"))
    [run] = runs(coordinated)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    setting = json.loads((tmp_path / "application.json").read_text())
    made, switched = ((tmp_path / name).stat().st_mtime for name in ("cloud/crm.db", "application.json"))
    moments = [made, seconds(run.create_time), seconds(run.end_time), switched]
    assert moments == sorted(moments)
    assert (setting["run"], setting["warehouse"]) == (run.name, str(tmp_path / "warehouse.duckdb"))
    assert coordinated.changes() == 0
    coordinated.must("destroy", "-auto-approve")
    coordinated.engine.stop()
    with contextlib.closing(duckdb.connect(setting["warehouse"], read_only=True)) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM customers").fetchall() == [(1_000,)]


def test_a_migration_that_can_not_be_made_leaves_the_application_where_it_was(
    coordinated: Terraform, tmp_path: Path
) -> None:
    done = coordinated.run("apply", "-auto-approve", "-var=relation=clients")
    assert done.code == 1
    assert "clients" in done.output
    assert (tmp_path / "cloud" / "crm.db").exists()
    assert not (tmp_path / "application.json").exists()
    coordinated.must("apply", "-auto-approve")
    assert (tmp_path / "application.json").exists()
    assert coordinated.changes() == 0


def seconds(moment: Any) -> float:
    """A timestamp of the contract as seconds of the epoch."""
    found: float = moment.seconds + moment.nanos / 1e9
    return found
