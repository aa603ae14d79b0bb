"""Environments in layers through the real terraform: bases first, heirs that follow by themselves, and no drift."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import ROOT
from tests.e2e.terraforms import SMALL, Terraform, connections, only_run
from tests.e2e.test_command_line import CommandLine
from tests.e2e.test_terraform import AIRLINES, terraform

__all__ = ["terraform"]
EXAMPLE = ROOT / "examples/terraform/environments/main.tf"


def sources(terraform: Terraform) -> dict[str, str]:
    """Where each stage reads."""
    found: dict[str, str] = json.loads(terraform.must("output", "-json", "sources"))
    return found


def test_heirs_follow_their_base_in_one_apply_and_nothing_drifts(terraform: Terraform) -> None:
    shutil.copy(EXAMPLE, terraform.folder / "main.tf")
    terraform.must("init")
    terraform.must("apply", "-auto-approve", "-var=data=/srv/a")
    assert sources(terraform) == {"prod": "/srv/a/prod/orders.db", "staging": "/srv/a/staging/orders.db"}
    assert terraform.run("plan", "-detailed-exitcode", "-var=data=/srv/a").code == 0

    # A parameter, and an object in which it is a part, change together: neither makes the other stale.
    text = EXAMPLE.read_text().replace("/orders.db", "/all.db")
    (terraform.folder / "main.tf").write_text(text)
    terraform.must("apply", "-auto-approve", "-var=data=/srv/b")
    assert sources(terraform) == {"prod": "/srv/b/prod/all.db", "staging": "/srv/b/staging/all.db"}
    assert terraform.run("plan", "-detailed-exitcode", "-var=data=/srv/b").code == 0

    (terraform.folder / "main.tf").write_text(text.replace("prod = 4", "prod = 40"))
    refused = terraform.run("apply", "-auto-approve", "-var=data=/srv/b")
    assert refused.code == 1
    assert "must be at most 16" in refused.output
    assert sources(terraform)["prod"] == "/srv/b/prod/all.db"

    (terraform.folder / "main.tf").write_text(text)
    terraform.must("destroy", "-auto-approve", "-var=data=/srv/b")


def test_every_field_of_a_parameter_and_an_override_comes_back_as_it_was_written(terraform: Terraform) -> None:
    terraform.write("""
resource "pymigrate_environment" "base" {
  environment_id = "base"
  is_template    = true
  parameters = {
    empty  = { default_value = "" }
    needed = { pattern = "[a-z]*", length_max = 9, allowed_values = ["a", "b"] }
    zero   = { type = "number", minimum = 0, maximum = 0, default_value = "0" }
    key    = { type = "secret" }
  }
  policy = { approvals_min = 1, approvers = ["ann"], verification_level_min = "full" }
}
resource "pymigrate_department" "sales" {
  environment   = pymigrate_environment.base.name
  department_id = "sales"
  owner         = "$${needed}$${empty}"
}
resource "pymigrate_environment" "prod" {
  environment_id = "prod"
  bases          = [pymigrate_environment.base.environment_id]
  values         = { needed = "a", key = "env://KEY" }
  overrides = {
    "departments/${pymigrate_department.sales.department_id}" = {
      fields         = { users = "7", labels = jsonencode({ team = "$${needed}" }) }
      cleared_fields = ["display_name"]
    }
  }
}
""")
    terraform.must("init")
    terraform.must("apply", "-auto-approve")
    assert terraform.changes() == 0


APPROVED = """
resource "pymigrate_run" "small" {
  plan     = pymigrate_plan.small.name
  triggers = { airlines = pymigrate_phase.airlines.definition_hash }
}
resource "pymigrate_run_gate" "arrived" {
  run             = pymigrate_run.small.name
  timeout_seconds = %d
}
"""
POLICY = """{
  environment_id = "small"
  policy         = { approvals_min = 2 }
}"""


def approved(folder: Path, timeout_seconds: int) -> str:
    """The small plan in an environment whose policy asks for two approvals, with its run."""
    systems = {
        "legacy": f'sqlite = {{ path = "{folder}/legacy.db" }}',
        "warehouse": f'duckdb = {{ path = "{folder}/warehouse.duckdb" }}',
    }
    small = SMALL.replace('{ environment_id = "small" }', POLICY)
    phase = AIRLINES % {"connection": "legacy", "relation": "airlines"}
    return small + connections(systems) + phase + APPROVED % timeout_seconds


def test_a_run_gate_waits_until_as_many_have_approved_as_the_policy_asks_for(
    terraform: Terraform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "legacy.db")) as legacy:
        legacy.executescript("CREATE TABLE airlines (carrier TEXT PRIMARY KEY); INSERT INTO airlines VALUES ('UA');")
    pymigrate = CommandLine(terraform.engine)
    terraform.write(approved(tmp_path, 1))
    terraform.must("init")
    impatient = terraform.run("apply", "-auto-approve")
    assert impatient.code == 1
    assert "did not end within 1 s" in impatient.output
    waiting = only_run(terraform)
    assert waiting.state == run_pb2.RUN_STATE_RUNNING
    assert waiting.rows == 0

    # Who started the run is no other pair of eyes: two others have to approve.
    assert "somebody else must approve it" in pymigrate("approve", waiting.name, code=1)
    tokens = [pymigrate("token", "--purpose", purpose).splitlines()[0] for purpose in ("Ann", "Bob")]
    terraform.write(approved(tmp_path, 120))
    with terraform.start("apply", "-auto-approve") as patient:
        assert patient.stdout is not None
        assert any("pymigrate_run_gate.arrived: Creating..." in line for line in patient.stdout)
        for token in tokens:
            assert only_run(terraform).state == run_pb2.RUN_STATE_RUNNING
            monkeypatch.setenv("PYMIGRATE_TOKEN", token)
            pymigrate("approve", waiting.name)
        monkeypatch.delenv("PYMIGRATE_TOKEN")
        said, _ = patient.communicate(timeout=120)
    assert patient.returncode == 0, said
    ended = only_run(terraform)
    assert (ended.name, ended.state) == (waiting.name, run_pb2.RUN_STATE_SUCCEEDED)
    approvers = {gate.approver for phase in ended.phases.values() for gate in phase.gates.values()}
    assert len(approvers) == 2
    assert "local" not in approvers
    assert terraform.resources()["pymigrate_run_gate.arrived"]["state"] == "succeeded"
    assert terraform.changes() == 0
