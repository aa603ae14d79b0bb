"""Data sources through the real terraform: what another configuration declares, what lies behind a connection, and figures of a run."""

import json
from pathlib import Path

import pytest

from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import RUN, applied, small, terraform

__all__ = ["applied", "terraform"]
LOOKS = """
data "pymigrate_plan" "small" {
  name       = pymigrate_plan.small.name
  depends_on = [pymigrate_run_gate.small]
}
data "pymigrate_phases" "small" {
  plan       = pymigrate_plan.small.name
  depends_on = [pymigrate_run_gate.small]
}
data "pymigrate_kpis" "small" {
  name           = pymigrate_plan.small.name
  includes_parts = true
  depends_on     = [pymigrate_run_gate.small]
}
data "pymigrate_discovered_schema" "legacy" {
  connection    = pymigrate_connection.legacy.name
  relation_glob = "air*"
}
data "pymigrate_audit" "small" {
  subject    = pymigrate_plan.small.name
  action     = "start"
  depends_on = [pymigrate_run_gate.small]
}
output "looks" {
  value = {
    started_by = data.pymigrate_audit.small.events[*].principal
    managed_by = data.pymigrate_plan.small.managed_by
    relation   = data.pymigrate_phases.small.phases["airlines"].datasets["airlines"].source.relation
    done       = data.pymigrate_kpis.small.completion
    parts      = keys(data.pymigrate_kpis.small.parts)
    columns    = data.pymigrate_discovered_schema.legacy.relations["airlines"].columns[*].name
    relations  = keys(data.pymigrate_discovered_schema.legacy.relations)
  }
}
"""


def test_what_is_declared_elsewhere_discovered_and_measured_is_told(
    applied: Terraform, legacy: Path, tmp_path: Path
) -> None:
    applied.write(small(legacy, tmp_path / "warehouse.duckdb") + RUN + LOOKS)
    applied.must("apply", "-auto-approve")
    assert json.loads(applied.must("output", "-json", "looks")) == {
        "started_by": ["local"],
        "managed_by": "terraform",
        "relation": "airlines",
        "done": 1,
        "parts": ["environments/small/plans/small/phases/airlines"],
        "columns": ["carrier", "name"],
        "relations": ["airlines"],
    }
    assert applied.changes() == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('data "pymigrate_plan" "x" { name = "environments/small/plans/smal" }', "did you mean `small`?"),
        ('data "pymigrate_kpis" "x" { name = "environments/small/plans/smal" }', "environments/small/plans/smal"),
        ('data "pymigrate_discovered_schema" "x" { connection = "legacy" }', "environments/prod/connections/crm"),
    ],
)
def test_what_is_not_there_is_an_error_at_the_data_source(
    terraform: Terraform, legacy: Path, tmp_path: Path, source: str, said: str
) -> None:
    whole = small(legacy, tmp_path / "warehouse.duckdb")
    terraform.write(whole)
    terraform.apply()
    terraform.write(whole + source)
    done = terraform.run("plan")
    assert done.code == 1
    assert said in " ".join(done.output.replace("│", " ").split())
