"""A token that ends by itself, through the real terraform: made by one configuration of the provider, used by another, written nowhere."""

import zipfile
from pathlib import Path

import grpc
import pytest

from pymigrate.v1 import environment_pb2
from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import terraform

__all__ = ["terraform"]
PREFIX = b"pmt_"  # what every such token begins with
TOKEN = """
ephemeral "pymigrate_token" "short" {
  lifetime_seconds = %s
  purpose          = "a test"
}
provider "pymigrate" {
  alias    = "short"
  endpoint = ephemeral.pymigrate_token.short.endpoint
  token    = %s
}
resource "pymigrate_environment" "small" {
  provider       = pymigrate.short
  environment_id = "small"
}
"""
MADE = "ephemeral.pymigrate_token.short.token"


def written(folder: Path) -> bytes:
    """Everything that terraform wrote there, what is packed in plans included."""
    files = [path for path in folder.glob("*") if path.is_file() and path.suffix != ".tf"]
    found = [path.read_bytes() for path in files]
    for path in files:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                found += [packed.read(name) for name in packed.namelist()]
    return b"".join(found)


def said(output: str) -> str:
    """What was printed, without frames and line breaks."""
    return " ".join(output.replace("│", " ").split())


def test_a_token_of_one_configuration_lets_another_one_apply_and_is_in_no_plan_and_no_state(
    terraform: Terraform,
) -> None:
    terraform.write(TOKEN % (120, MADE))
    terraform.must("init")
    terraform.must("plan", "-out=saved")
    terraform.must("apply", "saved")
    assert terraform.resources()["pymigrate_environment.small"]["name"] == "environments/small"
    assert terraform.changes() == 0
    kept = written(terraform.folder)
    assert b"environments/small" in kept
    assert PREFIX not in kept


KEPT = """
resource "terraform_data" "kept" {
  input = "%(told)s"
  provisioner "local-exec" {
    command     = "echo $TOKEN > %(folder)s/kept; sleep %(seconds)s"
    environment = { TOKEN = ephemeral.pymigrate_token.short.token }
  }
}
resource "pymigrate_environment" "late" {
  provider       = pymigrate.short
  environment_id = terraform_data.kept.output
}
"""


def held(terraform: Terraform) -> str:
    """What the engine says to whoever shows the token that the apply had."""
    token = (terraform.folder.parent / "kept").read_text().strip()
    with terraform.engine.client() as client:
        try:
            request = environment_pb2.ListEnvironmentsRequest()
            client.environments.ListEnvironments(request, metadata=(("authorization", f"Bearer {token}"),), timeout=30)
        except grpc.RpcError as error:
            return error.details() or ""
    return "welcome"


def test_a_token_ends_with_the_command_that_it_was_made_for(terraform: Terraform) -> None:
    kept = KEPT % {"told": "late", "folder": terraform.folder.parent, "seconds": 0}
    terraform.write(TOKEN % (120, MADE) + kept)
    terraform.apply()
    assert "the token has ended" in held(terraform)


@pytest.mark.slow
def test_a_token_is_prolonged_for_as_long_as_its_command_runs(terraform: Terraform) -> None:
    kept = KEPT % {"told": "late", "folder": terraform.folder.parent, "seconds": 70}
    terraform.write(TOKEN % (60, MADE) + kept)
    terraform.apply()
    assert terraform.resources()["pymigrate_environment.late"]["name"] == "environments/late"
    assert "the token has ended" in held(terraform)


def test_a_token_of_another_make_is_refused_by_the_engine_and_told_nowhere(terraform: Terraform) -> None:
    terraform.write(TOKEN % (120, '"pmt_c2VjcmV0"'))
    terraform.must("init")
    done = terraform.run("apply", "-auto-approve")
    assert done.code == 1
    assert "the token is not this engine's" in said(done.output)
    assert "c2VjcmV0" not in done.output


def test_a_token_makes_no_other_one(terraform: Terraform) -> None:
    more = 'ephemeral "pymigrate_token" "second" { provider = pymigrate.short }\n'
    terraform.write(TOKEN % (120, MADE) + more)
    terraform.must("init")
    done = terraform.run("plan")
    assert done.code == 1
    assert "A token can't be made" in said(done.output)
    assert "ask with the engine's own" in said(done.output)


def test_a_lifetime_that_the_engine_does_not_give_is_refused_at_its_attribute(terraform: Terraform) -> None:
    terraform.write(TOKEN % ("1e9", MADE))
    terraform.must("init")
    done = terraform.run("plan")
    assert done.code == 1
    assert "must be 60 to 86,400 seconds" in said(done.output)
    assert "lifetime_seconds = 1e9" in done.output
