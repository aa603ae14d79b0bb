"""The custom resources on a real API server: structural, of one mind with the engine's schemas, and readable by kubectl."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.application.gitops.documents import Documents
from pymigrate.engine.entrypoints.custom_resources import GROUP, RUN, SHORT_NAMES, VERSION, resource_type
from tests.definitions import shown_resources
from tests.kubectl import Kubectl, KubectlRefused, listed

API_VERSION = "pymigrate.io/v1alpha1"
HASH = "a" * 64
SHOWN: list[Any] = [
    data
    for _, name, content in shown_resources()
    for data in (document.data for document in Documents(name, content).documents)
    if data["apiVersion"] == API_VERSION
]


def resource(kind: str, spec: Any, name: str = "x") -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def as_resource(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition of a file as a custom resource: its labels are the spec's, and its environment is the namespace."""
    spec = dict(definition.get("spec") or {})
    if labels := definition["metadata"].get("labels"):
        spec["labels"] = labels
    return resource(definition["kind"], spec, str(definition["metadata"]["name"]).replace("_", "-"))


def unsaid_left_out(kept: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What was kept of what was said, without the defaults beside it."""
    said = {name: value for name, value in kept.items() if name in wanted}
    nested = {name for name, value in said.items() if isinstance(value, dict) and isinstance(wanted[name], dict)}
    return said | {name: unsaid_left_out(said[name], wanted[name]) for name in nested}


def test_each_is_established_and_structural(kubectl: Kubectl) -> None:
    found = {item["spec"]["names"]["kind"]: item for item in kubectl.read("crd")["items"]}
    assert set(found) == {*DEFINITION_KINDS, RUN}
    for item in found.values():
        conditions = {each["type"]: each for each in item["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions, conditions["NonStructuralSchema"]["message"]


def test_what_is_shown_of_files_is_taken_as_resources_and_kept_whole(kubectl: Kubectl) -> None:
    wanted = [as_resource(definition) for definition in SHOWN]
    given = listed(*wanted)
    taken = json.loads(kubectl("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-", given=given))
    assert len(wanted) > 40
    assert {each["kind"] for each in wanted} >= {"Environment", "Connection", "Plan", RUN}
    kept = [
        unsaid_left_out(item.get("spec", {}), each["spec"]) for item, each in zip(taken["items"], wanted, strict=True)
    ]
    assert kept == [each["spec"] for each in wanted]


REFUSED = {
    "an unknown word": resource("Plan", {"phases": {"a": {"downtimePolicy": "some"}}}),
    "a wrong kind of value": resource("Department", {"owner": 7}),
    "text for a truth": resource("Environment", {"isTemplate": "yes"}),
    "a fraction": resource("Environment", {"lanesMax": 1.5}),
    "no number": resource("Plan", {"rollbackWindowSeconds": "many"}),
    "two systems": resource("Connection", {"sqlite": {"path": "/a"}, "duckdb": {"path": "/b"}}),
    "no system": resource("Connection", {}),
    "a list for a map": resource("Plan", {"phases": []}),
    "a map for a list": resource("Environment", {"bases": {}}),
    "too long a text": resource("Department", {"displayName": "x" * 201}),
    "too many labels": resource("Department", {"labels": {str(at): "" for at in range(65)}}),
    "a name with a dot": resource("Department", {}, "a.b"),
    "a name that begins with a digit": resource("Department", {}, "1a"),
    "a name that is too long": resource("Department", {}, "a" * 64),
    "a run of nothing": resource("Run", {}),
    "a run without a spec": {key: value for key, value in resource("Run", {}).items() if key != "spec"},
    "a run of what no plan is called": resource("Run", {"plan": "A plan"}),
    "a hash that is none": resource("Run", {"plan": "p", "approvedPlanHash": "latest"}),
    "a gate without a hash": resource("Run", {"plan": "p", "gateApprovals": [{"phase": "a", "gate": "b"}]}),
    "a gate twice": resource("Run", {"plan": "p", "gateApprovals": [{"phase": "", "gate": "b", "planHash": HASH}] * 2}),
    "more lanes than there may be": resource("Run", {"plan": "p", "lanes": 1_001}),
    "scaling without an end": resource("Run", {"plan": "p", "scaling": {"lanesMin": 1}}),
    "scaling to nothing": resource("Run", {"plan": "p", "scaling": {"lanesMax": 0}}),
}


@pytest.mark.parametrize("wanted", REFUSED.values(), ids=REFUSED.keys())
def test_what_schemas_can_refuse_is_refused(wanted: dict[str, Any], objects: Any) -> None:
    plural = resource_type(wanted["kind"]).plural
    with pytest.raises(ApiException) as refused:
        objects.create_namespaced_custom_object(GROUP, VERSION, "default", plural, wanted, dry_run="All")
    assert refused.value.status == 422


def test_an_unknown_field_is_told_to_whoever_applies_it(kubectl: Kubectl) -> None:
    with pytest.raises(KubectlRefused, match="unknown field"):
        kubectl.apply(resource("Department", {"ownr": "Ann"}))


def test_a_run_is_written_with_what_unsaid_means(kubectl: Kubectl) -> None:
    kubectl.apply(resource("Run", {"plan": "p", "scaling": {"lanesMax": 4}}, "defaulted"))
    assert kubectl.read("run", "defaulted")["spec"] == {
        "plan": "p",
        "approvalPolicy": "automatic",
        "deletionPolicy": "cancel",
        "lanes": 0,
        "scaling": {
            "lanesMin": 1,
            "lanesMax": 4,
            "lagSecondsMax": 60,
            "latencyFactorMax": 3,
            "cooldownSeconds": 60,
        },
    }
    assert "unchanged" in kubectl.apply(resource("Run", {"plan": "p", "scaling": {"lanesMax": 4}}, "defaulted"))


def test_a_run_is_scaled_as_workloads_are(kubectl: Kubectl) -> None:
    kubectl.apply(resource("Run", {"plan": "p"}, "scaled"))
    kubectl("scale", "run.pymigrate.io/scaled", "--replicas=7")
    assert kubectl.read("run", "scaled")["spec"]["lanes"] == 7


def test_a_status_is_written_apart(kubectl: Kubectl) -> None:
    kubectl.apply(resource("Run", {"plan": "p"}, "told"))
    status = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "Waiting", "message": "For its plan."}],
        "state": "running",
        "progress": "42%",
        "lanes": {"running": 3, "summary": "3/12", "selector": "a=b"},
    }
    kubectl("patch", "run", "told", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    found = kubectl.read("run", "told")
    assert found["status"] == status
    assert found["metadata"]["generation"] == 1
    kubectl.apply(resource("Run", {"plan": "p"}, "told") | {"status": {"progress": "99%"}})
    assert kubectl.read("run", "told")["status"]["progress"] == "42%"
    scale = json.loads(kubectl("get", "--raw", f"/apis/{API_VERSION}/namespaces/default/runs/told/scale"))
    assert scale["status"] == {"replicas": 3, "selector": "a=b"}
    header, row = kubectl("get", "run", "told").splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "PHASE", "PROGRESS", "LANES", "PLAN", "AGE"]
    assert row.split()[:-1] == ["told", "False", "Waiting", "running", "42%", "3/12", "p"]
    assert "For its plan." in kubectl("get", "run", "told", "-o", "wide")


def test_all_of_them_are_listed_together_and_by_short_names(kubectl: Kubectl) -> None:
    kubectl.apply(resource("Department", {"owner": "Ann"}, "sales"), resource("Plan", {}, "warehouse"))
    listed = kubectl("get", "pymigrate", "-o", "name")
    assert {"department.pymigrate.io/sales", "plan.pymigrate.io/warehouse"} <= set(listed.split())
    assert kubectl("get", "pmdept", "-o", "name").split() == ["department.pymigrate.io/sales"]
    resources = kubectl("api-resources", "--api-group=pymigrate.io", "--no-headers").splitlines()
    assert {line.split()[0]: line.split()[1] for line in resources} == {
        resource_type(word).plural: short for word, short in SHORT_NAMES.items()
    }


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("run.spec.scaling", ["Has the operator scale the lanes with the load.", "lanesMax\t<integer> -required-"]),
        ("run.spec.deletionPolicy", ["`orphan`: It goes on."]),
        ("plan.spec.phases", ["downtimePolicy\t<string>", "`online`: They serve reads and writes meanwhile."]),
        ("department.spec.displayName", ["What people call it."]),
        ("connection.spec", ["Excludes sqlite"]),
        ("environment.status.conditions", ["observedGeneration\t<integer>"]),
    ],
)
def test_they_are_explained_in_the_words_of_the_contract(path: str, words: list[str], kubectl: Kubectl) -> None:
    told = " ".join(kubectl("explain", path).split())
    assert [word for word in words if " ".join(word.split()) not in told] == []
