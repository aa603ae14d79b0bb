"""The main job through the real terraform: apply, nothing to change, import, Ctrl-C, errors at their attribute, destroy."""

import contextlib
import shutil
from pathlib import Path

import duckdb
import grpc
import pytest

from pymigrate.v1 import plan_pb2, run_pb2
from tests.e2e.engines import ROOT, EngineProcess, wait_until
from tests.e2e.terraforms import SMALL, Terraform, connections, interrupt
from tools.legacy_systems import FLIGHTS

PLAN = "environments/quickstart/plans/warehouse"
AIRLINES = """
resource "pymigrate_phase" "airlines" {
  plan       = pymigrate_plan.small.name
  phase_id   = "airlines"
  department = pymigrate_department.sales.department_id
  datasets = {
    airlines = {
      source       = { connection = "%(connection)s", relation = "%(relation)s" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "airlines" }
      verification = "full"
    }
  }
  depends_on = [pymigrate_connection.legacy]
}
"""
RUN = """
resource "pymigrate_run" "small" {
  plan     = pymigrate_plan.small.name
  triggers = { airlines = pymigrate_phase.airlines.definition_hash }
}
resource "pymigrate_run_gate" "small" {
  run      = pymigrate_run.small.name
  wait_for = "succeeded"
}
data "pymigrate_run_status" "small" {
  run        = pymigrate_run.small.name
  depends_on = [pymigrate_run_gate.small]
}
output "state" { value = data.pymigrate_run_status.small.state }
"""


ORCHESTRATED = """
resource "pymigrate_plan" "nightly" {
  environment             = pymigrate_environment.small.name
  plan_id                 = "nightly"
  dependencies            = [pymigrate_plan.small.plan_id]
  department_lanes_max    = { sales = 2 }
  rollback_window_seconds = 86400
  schedule = {
    time_zone = "Europe/Berlin"
    windows   = { nights = { days = ["mon", "tue", "wed", "thu"], start = "22:00", end = "05:00" } }
    blackouts = { closing = { start = "2026-12-28", end = "2027-01-04", reason = "annual accounts" } }
  }
}
resource "pymigrate_phase" "first" {
  plan       = pymigrate_plan.nightly.name
  phase_id   = "first"
  department = pymigrate_department.sales.department_id
  priority   = 3
  gates      = { figures = { point = "before_publication", description = "The controller compares the totals." } }
  steps = {
    switch = {
      point = "after_publication"
      call  = { url = "https://lb.internal/pools/crm/blue", headers = { Authorization = "env://LB_TOKEN" } }
      undo  = { url = "https://lb.internal/pools/crm/green", method = "PUT" }
    }
  }
  datasets = {
    shops = {
      source          = { connection = "legacy", relation = "airlines" }
      target          = { connection = "warehouse", relation = "shops", load_mode = "merge" }
      key             = ["carrier"]
      conflict_policy = "keep_existing"
      lanes           = 3
    }
  }
}
resource "pymigrate_phase" "second" {
  plan                    = pymigrate_plan.nightly.name
  phase_id                = "second"
  department              = pymigrate_department.sales.department_id
  dependencies            = [pymigrate_phase.first.phase_id]
  datasets = {
    more = {
      source = { connection = "legacy", relation = "airlines" }
      target = { connection = pymigrate_connection.warehouse.connection_id, relation = "more" }
    }
  }
}
"""


def small(legacy: Path, warehouse: Path, *, connection: str = "legacy", relation: str = "airlines") -> str:
    """A plan of one small dataset."""
    systems = {
        "legacy": f'sqlite = {{ path = "{legacy}/commercial.db" }}',
        "warehouse": f'duckdb = {{ path = "{warehouse}" }}',
    }
    return SMALL + connections(systems) + AIRLINES % {"connection": connection, "relation": relation}


@pytest.fixture
def terraform(require_terraform: str, tmp_path: Path, engine: EngineProcess) -> Terraform:
    """A working directory with the provider installed and an engine serving."""
    return Terraform(require_terraform, tmp_path / "terraform", engine)


@pytest.fixture
def applied(terraform: Terraform, legacy: Path, tmp_path: Path) -> Terraform:
    """The small plan with its run, applied."""
    terraform.write(small(legacy, tmp_path / "warehouse.duckdb") + RUN)
    terraform.apply()
    return terraform


def flights(warehouse: Path) -> int:
    """Rows in the warehouse's flights."""
    with contextlib.closing(duckdb.connect(str(warehouse), read_only=True)) as connection:
        rows: int = connection.execute("SELECT count(*) FROM flights").fetchall()[0][0]
    return rows


def test_the_quickstart_migrates_everything_and_a_plan_afterwards_is_empty(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    shutil.copy(ROOT / "examples/terraform/quickstart/main.tf", terraform.folder)
    (terraform.folder / "terraform.tfvars").write_text(f'legacy = "{legacy}"\nwarehouse = "{warehouse}"\n')
    terraform.apply()
    with terraform.engine.client() as client:
        run = client.runs.ListRuns(run_pb2.ListRunsRequest(parent=PLAN), metadata=client.metadata).runs[0]
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    datasets = {name: phase.datasets[name] for name, phase in run.phases.items()}
    for dataset in datasets.values():
        found = dataset.verification
        assert found.transfer_checksum == found.source_checksum == found.target_checksum != ""
    assert datasets["flights"].rows == FLIGHTS
    assert datasets["flights"].verification.dangling["plane"].rows > 0
    assert terraform.changes() == 0
    said = terraform.must("destroy", "-auto-approve")
    assert "stays" in said
    terraform.engine.stop()
    assert flights(warehouse) == FLIGHTS


def test_a_run_that_was_applied_has_its_state_and_an_empty_plan(applied: Terraform) -> None:
    assert "succeeded" in applied.must("output", "-raw", "state")
    assert applied.changes() == 0


def test_what_was_destroyed_and_is_declared_again_adopts_its_run(applied: Terraform) -> None:
    before = applied.resources()["pymigrate_run.small"]["name"]
    applied.must("destroy", "-auto-approve")
    applied.apply()
    assert applied.resources()["pymigrate_run.small"]["name"] == before


def test_an_import_of_everything_that_exists_ends_in_an_empty_plan(applied: Terraform) -> None:
    names = {
        "pymigrate_environment.small": "environments/small",
        "pymigrate_department.sales": "environments/small/departments/sales",
        "pymigrate_connection.legacy": "environments/small/connections/legacy",
        "pymigrate_connection.warehouse": "environments/small/connections/warehouse",
        "pymigrate_plan.small": "environments/small/plans/small",
        "pymigrate_phase.airlines": "environments/small/plans/small/phases/airlines",
        "pymigrate_run.small": applied.resources()["pymigrate_run.small"]["name"],
    }
    applied.must("state", "rm", *names)
    for address, name in names.items():
        applied.must("import", address, name)
    assert applied.changes() == 0


def test_an_import_of_what_does_not_exist_is_an_error(terraform: Terraform) -> None:
    terraform.write('resource "pymigrate_environment" "none" { environment_id = "none" }')
    terraform.must("init")
    done = terraform.run("import", "pymigrate_environment.none", "environments/none")
    assert done.code != 0
    assert "environments/none" in done.output


def test_an_error_of_the_engine_reaches_the_attribute_that_caused_it(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    terraform.write(small(legacy, tmp_path / "warehouse.duckdb", connection="legcy"))
    terraform.must("init")
    done = terraform.run("apply", "-auto-approve")
    assert done.code != 0
    assert "did you mean `legacy`?" in done.output
    assert 'datasets["airlines"].source.connection' in done.output or '"legcy"' in done.output


def test_a_missing_source_fails_the_apply_before_any_lane_starts(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    terraform.write(small(legacy, tmp_path / "warehouse.duckdb", relation="airline") + RUN)
    terraform.must("init")
    done = terraform.run("apply", "-auto-approve")
    assert done.code != 0
    assert "airlines" in done.output
    with terraform.engine.client() as client:
        request = run_pb2.ListRunsRequest(parent="environments/small/plans/small")
        assert not client.runs.ListRuns(request, metadata=client.metadata).runs
    terraform.write(small(legacy, tmp_path / "warehouse.duckdb") + RUN)
    terraform.must("apply", "-auto-approve")
    assert terraform.changes() == 0


def test_ctrl_c_in_the_middle_of_apply_leaves_every_accepted_object_in_the_state(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "examples/terraform/quickstart/main.tf", terraform.folder)
    (terraform.folder / "terraform.tfvars").write_text(
        f'legacy = "{legacy}"\nwarehouse = "{tmp_path / "warehouse.duckdb"}"\n'
    )
    terraform.must("init")
    process = terraform.start("apply", "-auto-approve")
    request = run_pb2.ListRunsRequest(parent=PLAN)
    with terraform.engine.client() as client:

        def is_running() -> bool:
            with contextlib.suppress(grpc.RpcError):  # the environment is not there yet
                return bool(client.runs.ListRuns(request, metadata=client.metadata).runs)
            return process.poll() is not None

        wait_until(is_running)
        interrupt(process)
        run = client.runs.ListRuns(request, metadata=client.metadata).runs[0]
    state = terraform.resources()
    assert state["pymigrate_run.warehouse"]["name"] == run.name
    assert {name for name in state if name.startswith("pymigrate_phase.")} == {
        f"pymigrate_phase.{name}" for name in ("airlines", "airports", "planes", "weather", "flights")
    }
    terraform.must("apply", "-auto-approve")
    assert terraform.changes() == 0


def test_an_environment_that_somebody_else_declares_is_not_taken_over(terraform: Terraform) -> None:
    from pymigrate.v1 import environment_pb2

    with terraform.engine.client() as client:
        client.environments.CreateEnvironment(
            environment_pb2.CreateEnvironmentRequest(
                environment_id="small", environment=environment_pb2.Environment(display_name="by hand")
            ),
            metadata=client.metadata,
        )
    terraform.write('resource "pymigrate_environment" "small" { environment_id = "small" }')
    terraform.must("init")
    done = terraform.run("apply", "-auto-approve")
    assert done.code != 0
    assert "exists already" in done.output


def test_everything_that_orchestrates_is_declared_changed_and_imported_without_a_difference(
    applied: Terraform, legacy: Path, tmp_path: Path
) -> None:
    whole = small(legacy, tmp_path / "warehouse.duckdb") + RUN + ORCHESTRATED
    applied.write(whole)
    assert applied.run("apply", "-auto-approve").code == 0
    done = applied.run("plan", "-detailed-exitcode")
    assert done.code == 0, done.output
    name = "environments/small/plans/nightly"
    with applied.engine.client() as client:
        asked = plan_pb2.GetPlanRequest(name=name)
        kept = client.plans.GetPlan(asked, metadata=client.metadata, timeout=30)
    assert (kept.schedule.time_zone, list(kept.dependencies)) == ("Europe/Berlin", ["small"])
    assert kept.phases["first"].steps["switch"].undo.method == "PUT"
    assert kept.phases["first"].datasets["shops"].conflict_policy == plan_pb2.CONFLICT_POLICY_KEEP_EXISTING
    applied.write(
        whole.replace('start = "22:00"', 'start = "21:30"').replace("lanes           = 3", "lanes           = 2")
    )
    changed = applied.run("apply", "-auto-approve")
    assert "0 added, 2 changed, 0 destroyed" in changed.output
    for address, which in (("pymigrate_plan.nightly", name), ("pymigrate_phase.first", f"{name}/phases/first")):
        assert applied.run("state", "rm", address).code == 0
        assert applied.run("import", address, which).code == 0
    done = applied.run("plan", "-detailed-exitcode")
    assert done.code == 0, done.output


def test_what_can_not_be_orchestrated_is_refused_at_its_attribute(
    applied: Terraform, legacy: Path, tmp_path: Path
) -> None:
    for before, after, said in (
        ("Europe/Berlin", "Europe/Atlantis", "time_zone"),
        ('"22:00"', '"25:00"', "start"),
        ('point = "before_publication"', 'point = "somewhen"', "point"),
        ('load_mode = "merge"', 'load_mode = "create"', "conflict_policy"),
        ("[pymigrate_plan.small.plan_id]", '["nightly"]', "nightly"),
    ):
        applied.write(small(legacy, tmp_path / "warehouse.duckdb") + RUN + ORCHESTRATED.replace(before, after))
        refused = applied.run("apply", "-auto-approve")
        assert refused.code == 1
        assert said in refused.output
