"""The examples of the provider's pages are one configuration together: it is planned, applied as far as it moves no data, and imported."""

from pymigrate.provider.provider import PymigrateProvider
from tests.e2e.engines import ROOT
from tests.e2e.terraforms import Terraform
from tests.e2e.test_terraform import terraform

EXAMPLES = ROOT / "examples" / "terraform"
FIGURES = "data-sources"

__all__ = ["terraform"]


def examples(terraform: Terraform, *kinds: str) -> list[str]:
    """Writes all examples of some kinds; the types of which there are some."""
    chosen = [path for kind in kinds for path in sorted((EXAMPLES / kind).glob("pymigrate_*/*.tf"))]
    texts = [(EXAMPLES / "provider" / "provider.tf").read_text(), *(path.read_text() for path in chosen)]
    terraform.write("\n".join(texts), has_header=False)
    return [path.parent.name for path in chosen]


def test_every_resource_and_data_source_has_an_example_that_is_planned(terraform: Terraform) -> None:
    provider = PymigrateProvider()
    shown = examples(terraform, "resources", FIGURES)
    assert sorted(shown) == sorted(
        f"pymigrate_{each.get_name()}" for each in (*provider.get_resources(), *provider.get_data_sources())
    )
    terraform.must("init")
    assert " to add, 0 to change, 0 to destroy." in terraform.must("plan")


def test_every_resource_that_can_be_imported_says_how() -> None:
    told = {path.parent.name.removeprefix("pymigrate_") for path in (EXAMPLES / "resources").glob("*/import.sh")}
    assert told == {each.get_name() for each in PymigrateProvider().get_resources()} - {"run_gate"}
