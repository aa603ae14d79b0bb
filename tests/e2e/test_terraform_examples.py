"""The examples of the provider's pages are one configuration together: it is planned, applied as far as it moves no data, and imported."""

import json

from pymigrate.provider.provider import PymigrateProvider
from tests.e2e.engines import ROOT
from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import terraform

EXAMPLES = ROOT / "examples" / "terraform"

__all__ = ["terraform"]


def examples(terraform: Terraform, *kinds: str) -> list[str]:
    """Writes all examples of some kinds; the types of which there are some."""
    chosen = [path for kind in kinds for path in sorted((EXAMPLES / kind).glob("*/*.tf"))]
    texts = [(EXAMPLES / "provider" / "provider.tf").read_text(), *(path.read_text() for path in chosen)]
    terraform.write("\n".join(texts), has_header=False)
    return [path.parent.name for path in chosen]


def test_everything_that_the_provider_has_has_an_example_that_is_planned(terraform: Terraform) -> None:
    provider = PymigrateProvider()
    shown = examples(terraform, "resources", "data-sources", "ephemeral-resources", "functions")
    held = (*provider.get_resources(), *provider.get_data_sources(), *provider.get_ephemeral_resources())
    types = (f"pymigrate_{each.get_name()}" for each in held)
    assert sorted(shown) == sorted([*types, *(each.get_name() for each in provider.get_functions())])
    terraform.must("init")
    assert " to add, 0 to change, 0 to destroy." in terraform.must("plan")


def test_every_resource_that_can_be_imported_says_how() -> None:
    told = {path.parent.name.removeprefix("pymigrate_") for path in (EXAMPLES / "resources").glob("*/import.sh")}
    assert told == {each.get_name() for each in PymigrateProvider().get_resources()} - {"run_gate"}


def test_functions_answer_as_their_pages_say(terraform: Terraform) -> None:
    examples(terraform, "functions")
    terraform.apply()
    told = json.loads(terraform.must("output", "-json"))
    assert told["order"]["value"] == ["customers", "products", "orders"]
    assert told["segments"]["value"] == {"environment": "prod", "plan": "warehouse", "phase": "customers"}


def test_a_function_says_at_its_argument_what_it_can_not_take(terraform: Terraform) -> None:
    terraform.write(
        'output "order" {\n  value = provider::pymigrate::phase_order({ a = { dependencies = ["b"] }, b = { dependencies = ["a"] } })\n}'
    )
    terraform.must("init")
    done = terraform.run("plan")
    assert done.code == 1
    assert "in a circle: a → b → a;" in " ".join(done.output.replace("│", " ").split())
