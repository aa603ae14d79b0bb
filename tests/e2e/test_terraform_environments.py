"""Environments in layers through the real terraform: bases first, heirs that follow by themselves, and no drift."""

import json
import shutil

from tests.e2e.engines import ROOT
from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import terraform

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
