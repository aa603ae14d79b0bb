"""The guide to Runs: what it shows is what an API server takes and an operator reads, field by field."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pymigrate.engine.entrypoints.custom_resources import custom_resource_definitions
from pymigrate.engine.entrypoints.operator import run_steering, run_verdicts
from pymigrate.v1.custom_resource_pb2 import RunSpec
from pymigrate.v1.shape import from_data, to_json_data
from tests.clusters import Cluster
from tests.kubectl import Kubectl

GUIDE = Path(__file__).parents[3] / "docs" / "kubernetes_runs.md"
SHOWN = [
    yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
]
REASON = re.compile(r'(?:Standing|Wait|Trouble)\(\s*"([A-Z][A-Za-z]+)"')
# Told in the text, or of the end of a resource alone.
ASIDE = {"Deleting", "DependencyMissing", "DependencyNotReady", "Immutable", "Succeeded", "Incomplete", "NotVerified"}
ASIDE |= {"Sealed", "NotStarted", "CheckFailed"}


def test_the_guide_shows_runs() -> None:
    assert len(SHOWN) >= 6
    assert {each["kind"] for each in SHOWN} == {"Run"}


@pytest.mark.parametrize("shown", SHOWN, ids=lambda each: "-".join(each["spec"]))
def test_an_operator_reads_every_field_that_is_shown(shown: dict[str, Any]) -> None:
    spec = RunSpec()
    from_data(shown["spec"], spec)
    unset = {key for key, value in shown["spec"].items() if value is False}
    assert to_json_data(spec).keys() == shown["spec"].keys() - unset


def test_an_api_server_takes_and_keeps_all_that_is_shown(api_server: Cluster) -> None:
    kubectl = Kubectl(api_server)
    kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(custom_resource_definitions()["Run"]))
    kubectl("wait", "--for=condition=Established", "crd/runs.pymigrate.io", "--timeout=60s")
    for shown in SHOWN:
        metadata = {**shown["metadata"], "namespace": "default"}
        given = yaml.safe_dump({**shown, "metadata": metadata})
        kept = yaml.safe_load(kubectl("create", "--dry-run=server", "-o", "yaml", "-f", "-", given=given))
        assert {key: kept["spec"].get(key) for key in shown["spec"]} == shown["spec"]


def test_every_reason_that_is_told_is_explained() -> None:
    told: set[str] = set()
    for module in (run_steering, run_verdicts):
        told.update(REASON.findall(inspect.getsource(module)))
    text = GUIDE.read_text()
    assert len(told) > 15
    assert [each for each in sorted(told - ASIDE) if f"`{each}`" not in text] == []
