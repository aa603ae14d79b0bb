"""Impact through the real terraform: figures as data, a run that is refused for them, and warnings of a plan that changes a phase."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.engines import ROOT
from tests.e2e.terraforms import HEADER, SMALL, Terraform, connections
from tests.e2e.test_terraform import terraform

__all__ = ["terraform"]
EXAMPLE = "environments/impact/plans/flights"
# The phase's sources are down or not: its downtime is 0 s, or what it takes.
FLIGHTS = """
resource "pymigrate_phase" "flights" {
  plan            = pymigrate_plan.small.name
  phase_id        = "flights"
  department      = pymigrate_department.sales.department_id
  downtime_policy = "read_only"
  datasets = {
    flights = {
      source       = { connection = pymigrate_connection.operations.connection_id, relation = "flights.csv" }
      target       = { connection = pymigrate_connection.warehouse.connection_id, relation = "flights" }
      verification = "full"
    }
  }
}
"""
OFFLINE = ('downtime_policy = "read_only"', 'downtime_policy = "offline"')
# The file is read at so few bytes a second that a minute does not do for it.
SLOWLY = ("files = {", "bytes_per_second_max = 200000\n  files = {")
ALWAYS = '{ windows = { night = { start = "00:00", end = "00:00" } } }'
SHORTLY = '{ windows = { night = { start = "00:00", end = "00:01" } } }'
DATA = """
data "pymigrate_impact" "small" {
  plan              = pymigrate_plan.small.name
  draws             = 20
  probe_seconds_max = 5
  depends_on        = [pymigrate_phase.flights]
}
output "impact" { value = data.pymigrate_impact.small }
"""


def flights(legacy: Path, warehouse: Path, *changes: tuple[str, str]) -> str:
    """A plan of one phase, changed."""
    systems = {
        "operations": f'files = {{ root = "{legacy}/operations" }}',
        "warehouse": f'duckdb = {{ path = "{warehouse}" }}',
    }
    text = SMALL + connections(systems) + FLIGHTS
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


def added(line: str) -> tuple[str, str]:
    """The change that gives the phase a line more."""
    return ('phase_id        = "flights"', f'phase_id        = "flights"\n  {line}')


def output(terraform: Terraform, name: str) -> Any:
    """An output's value."""
    return json.loads(terraform.must("output", "-json"))[name]["value"]


@pytest.fixture
def applied(terraform: Terraform, legacy: Path, tmp_path: Path) -> Terraform:
    """The phase with its sources open to readers, applied and never analyzed."""
    terraform.write(flights(legacy, tmp_path / "warehouse.duckdb"))
    terraform.apply()
    return terraform


def warned(terraform: Terraform) -> str:
    """What a plan with a change prints."""
    done = terraform.run("plan", "-detailed-exitcode")
    assert done.code == 2, done.output
    return done.output


def example(terraform: Terraform, legacy: Path, warehouse: Path, **variables: Any) -> None:
    """The example with its variables."""
    shutil.copy(ROOT / "examples/terraform/impact/main.tf", terraform.folder)
    values = {"legacy": str(legacy), "warehouse": str(warehouse)} | variables
    (terraform.folder / "terraform.tfvars").write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))


def test_the_example_tells_what_is_hit_and_runs_what_may_run(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    example(terraform, legacy, tmp_path / "warehouse.duckdb")
    terraform.apply()
    assert output(terraform, "rating") in {"low", "moderate", "high"}
    down = output(terraform, "downtime_seconds")["flights"]
    assert 0 < down["p50"] <= down["p90"] < 600
    departments = output(terraform, "departments")
    assert departments["operations"] == {"users": 300, "hit": ["dispatch (down)"]}
    assert departments["crew"] == {"users": 80, "hit": ["rosters (downstream)"]}
    assert "will perform the following actions" not in terraform.must("plan")
    with terraform.engine.client() as client:
        (run,) = client.runs.ListRuns(run_pb2.ListRunsRequest(parent=EXAMPLE), metadata=client.metadata).runs
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED


def test_the_example_refuses_a_run_that_breaks_what_was_agreed_and_warns_of_its_cost(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    example(terraform, legacy, tmp_path / "warehouse.duckdb", rto_seconds=1, cost_max=0)
    terraform.must("init")
    done = terraform.run("apply", "-auto-approve")
    assert done.code == 1
    assert "Resource precondition failed" in done.output
    assert "costs more than 0 EUR" in done.output
    with terraform.engine.client() as client:
        assert not client.runs.ListRuns(run_pb2.ListRunsRequest(parent=EXAMPLE), metadata=client.metadata).runs


def test_the_data_is_read_after_what_it_depends_on_and_tells_every_figure(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    terraform.write(flights(legacy, tmp_path / "warehouse.duckdb") + DATA)
    terraform.must("init")
    planned = terraform.must("plan")
    assert "data.pymigrate_impact.small will be read during apply" in planned
    terraform.must("apply", "-auto-approve")
    told = output(terraform, "impact")
    assert (told["draws"], told["critical_path"]) == (20, ["flights"])
    phase = told["phases"]["flights"]
    assert phase["downtime_seconds"] == {"p50": 0, "p90": 0}
    assert phase["write_downtime_seconds"]["p50"] > 0
    assert phase["datasets"]["flights"]["basis"] == "measured"
    assert told["start_time"] < told["summary"]["end_time"]["p50"]


def test_a_policy_that_takes_the_sources_down_warns_with_both_figures(
    applied: Terraform, legacy: Path, tmp_path: Path
) -> None:
    applied.write(flights(legacy, tmp_path / "warehouse.duckdb") + DATA)
    applied.must("apply", "-auto-approve")
    applied.write(flights(legacy, tmp_path / "warehouse.duckdb", OFFLINE))
    said = warned(applied)
    assert "Warning: Downtime of phase flights rises from 0 s to " in said
    assert '  downtime_policy = "offline"' in said


def test_a_phase_that_is_to_depend_on_a_new_one_is_planned_with_a_word_about_it(
    applied: Terraform, legacy: Path, tmp_path: Path
) -> None:
    changed = flights(legacy, tmp_path / "warehouse.duckdb", added('dependencies = ["first"]'))
    first = FLIGHTS[FLIGHTS.index('resource "pymigrate_phase"') :].replace('"flights"', '"first"')
    applied.write(changed + first)
    said = warned(applied)
    assert "Warning: What this change of phase flights costs can't be told" in said
    assert "yet to be created" in " ".join(said.split())


def test_a_plan_that_was_never_analyzed_is_compared_too(applied: Terraform, legacy: Path, tmp_path: Path) -> None:
    applied.write(flights(legacy, tmp_path / "warehouse.duckdb", OFFLINE))
    said = warned(applied)
    assert "Warning: Downtime of phase flights rises from 0 s to " in said
    assert "can't be told" not in said


def test_a_window_that_becomes_too_short_warns_on_the_schedule(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    terraform.write(flights(legacy, warehouse, SLOWLY, added(f"schedule = {ALWAYS}")))
    terraform.apply()
    terraform.write(flights(legacy, warehouse, SLOWLY, added(f"schedule = {SHORTLY}")))
    said = warned(terraform)
    assert "Warning: Phase flights no longer fits its window" in said
    assert f"  schedule = {SHORTLY}" in said


def test_a_window_of_the_plan_that_is_too_short_for_a_phase_warns_on_the_plan(
    terraform: Terraform, legacy: Path, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    terraform.write(flights(legacy, warehouse, SLOWLY))
    terraform.apply()
    line = ('plan_id     = "small"', f'plan_id     = "small"\n  schedule = {SHORTLY}')
    terraform.write(flights(legacy, warehouse, SLOWLY, line))
    said = warned(terraform)
    assert "Warning: Phase flights no longer fits its window" in said
    assert "with pymigrate_plan.small" in said


def test_what_does_not_change_is_not_asked_about(applied: Terraform) -> None:
    assert applied.changes() == 0
    for kind in ("-refresh-only", "-destroy"):
        assert "Warning" not in applied.must("plan", kind)
    applied.engine.stop()  # whoever asked it now would be told so
    done = applied.run("plan", "-refresh=false", "-detailed-exitcode")
    assert done.code == 0
    assert "Warning" not in done.output


def test_an_engine_that_can_not_be_asked_fails_no_plan(applied: Terraform, legacy: Path, tmp_path: Path) -> None:
    applied.engine.stop()
    applied.write(flights(legacy, tmp_path / "warehouse.duckdb", OFFLINE))
    done = applied.run("plan", "-refresh=false", "-detailed-exitcode")
    assert done.code == 2
    assert "Warning: What this change of phase flights costs can't be told" in done.output
    assert "start an engine" in done.output


def test_without_comparison_a_change_is_planned_without_a_word(
    applied: Terraform, legacy: Path, tmp_path: Path
) -> None:
    quiet = HEADER.replace('provider "pymigrate" {}', 'provider "pymigrate" { downtime_increase_share_max = -1 }')
    applied.write(quiet + flights(legacy, tmp_path / "warehouse.duckdb", OFFLINE), has_header=False)
    assert "Warning" not in warned(applied)
