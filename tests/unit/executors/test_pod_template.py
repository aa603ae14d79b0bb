"""The pod of a worker: what a template may say, and what holds whatever it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pymigrate.engine.adapters.executors.kubernetes_template import (
    ACCESS_ANNOTATION,
    PodTerms,
    memory_limit_bytes,
    pod_template,
    read_template,
)
from pymigrate.engine.domain.errors import InvalidDefinition

TERMS = PodTerms("pymigrate:1", "pymigrate-engine", 1_000_000_000, 30)
WORKER: dict[str, Any] = {"name": "worker"}


def given(worker: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A template with a worker of its own."""
    return {"metadata": metadata or {}, "spec": {"containers": [WORKER | (worker or {})], **spec}}


def test_without_a_template_the_pod_is_safe_and_whole() -> None:
    spec = pod_template({}, TERMS)["spec"]
    [worker] = spec["containers"]
    assert (spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("Never", False)
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": True}
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert worker["image"] == "pymigrate:1"
    assert worker["resources"]["limits"] == {"memory": "1000000000"}
    assert worker["resources"]["requests"]["memory"] == "1000000000"
    assert [mount["mountPath"] for mount in worker["volumeMounts"]] == ["/var/run/pymigrate", "/tmp"]
    assert spec["volumes"][0]["secret"] == {"secretName": "pymigrate-engine"}


def test_what_the_template_says_is_kept() -> None:
    worker = {
        "image": "mine:2",
        "env": [{"name": "PGSSLMODE", "value": "require"}],
        "resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": "2"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsUser": 1000},
    }
    data = {"name": "data", "persistentVolumeClaim": {"claimName": "warehouse"}}
    made = pod_template(
        given(
            worker,
            {"labels": {"team": "data"}},
            nodeSelector={"pool": "batch"},
            volumes=[data],
            terminationGracePeriodSeconds=90,
            initContainers=[{"name": "proxy", "restartPolicy": "Always"}],
        ),
        TERMS,
    )
    spec, [made_worker] = made["spec"], made["spec"]["containers"]
    assert made["metadata"] == {"labels": {"team": "data"}}
    assert (spec["nodeSelector"], spec["terminationGracePeriodSeconds"]) == ({"pool": "batch"}, 90)
    assert spec["volumes"][0] == data
    assert made_worker["image"] == "mine:2"
    assert made_worker["env"] == worker["env"]
    assert made_worker["resources"] == {"limits": {"memory": "2Gi"}, "requests": {"cpu": "2", "memory": "2Gi"}}
    assert made_worker["securityContext"]["runAsUser"] == 1000
    assert [mount["mountPath"] for mount in made_worker["volumeMounts"]] == ["/data", "/var/run/pymigrate", "/tmp"]


@pytest.mark.parametrize(
    ("template", "field"),
    [
        ({"template": {}}, "template"),
        (given(restartPolicy="OnFailure"), "spec.restartPolicy"),
        (given(hostNetwork=True), "spec.hostNetwork"),
        (given(hostPID=True), "spec.hostPID"),
        (given(automountServiceAccountToken=True), "spec.automountServiceAccountToken"),
        (given(activeDeadlineSeconds=5), "spec.activeDeadlineSeconds"),
        (given(terminationGracePeriodSeconds=29), "spec.terminationGracePeriodSeconds"),
        (given(securityContext={"runAsNonRoot": False}), "spec.securityContext.runAsNonRoot"),
        (given(securityContext={"runAsUser": 0}), "spec.securityContext.runAsUser"),
        (given(volumes=[{"name": "pymigrate-engine"}]), "spec.volumes[0].name"),
        (given({"name": "main"}), "spec.containers[0].name"),
        (given({"args": ["--help"]}), "spec.containers[0].args"),
        (given({"env": [{"name": "TMPDIR", "value": "/x"}]}), "spec.containers[0].env[0].name"),
        (given({"env": [{"name": "PYMIGRATE_POD_NAME"}]}), "spec.containers[0].env[0].name"),
        (
            given({"volumeMounts": [{"name": "x", "mountPath": "/tmp/"}]}),
            "spec.containers[0].volumeMounts[0].mountPath",
        ),
        (given({"securityContext": {"privileged": True}}), "spec.containers[0].securityContext.privileged"),
        (
            given({"securityContext": {"allowPrivilegeEscalation": True}}),
            "spec.containers[0].securityContext.allowPrivilegeEscalation",
        ),
        (
            given({"securityContext": {"readOnlyRootFilesystem": False}}),
            "spec.containers[0].securityContext.readOnlyRootFilesystem",
        ),
        (given({"securityContext": {"runAsUser": 0}}), "spec.containers[0].securityContext.runAsUser"),
        (
            given({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}),
            "spec.containers[0].securityContext.capabilities.add",
        ),
        ({"spec": {"containers": [WORKER, {"name": "sidecar"}]}}, "spec.containers[1]"),
        (given(metadata={"labels": {"pymigrate.io/host": "x"}}), "metadata.labels.pymigrate.io/host"),
        (given(metadata={"labels": {"app.kubernetes.io/name": "x"}}), "metadata.labels.app.kubernetes.io/name"),
    ],
)
def test_a_template_that_contradicts_what_must_hold_is_refused_with_its_field(
    template: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        pod_template(template, TERMS)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_every_contradiction_is_told_at_once() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        pod_template(given({"args": ["x"]}, restartPolicy="Always", hostIPC=True), TERMS)
    assert len(caught.value.problems) == 3


def test_an_image_must_come_from_somewhere() -> None:
    without = PodTerms("", "s", 1, 1)
    with pytest.raises(InvalidDefinition, match="PYMIGRATE_KUBERNETES_IMAGE"):
        pod_template({}, without)
    assert pod_template(given({"image": "mine:2"}), without)["spec"]["containers"][0]["image"] == "mine:2"


def test_a_service_account_token_is_there_only_where_an_annotation_asks_for_it() -> None:
    asked = given(metadata={"annotations": {ACCESS_ANNOTATION: "true"}}, automountServiceAccountToken=True)
    assert pod_template(asked, TERMS)["spec"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("1Gi", 2**30), ("500Mi", 500 * 2**20), ("2G", 2 * 10**9), ("1000", 1_000), ("64Ki", 65_536)],
)
def test_the_limit_of_memory_is_what_the_host_may_hold(limit: str, expected: int) -> None:
    assert memory_limit_bytes(given({"resources": {"limits": {"memory": limit}}})) == expected


def test_a_template_without_a_limit_says_nothing_of_memory_and_a_mistyped_one_is_refused() -> None:
    assert memory_limit_bytes({}) is None
    with pytest.raises(InvalidDefinition, match="1Gi"):
        memory_limit_bytes(given({"resources": {"limits": {"memory": "much"}}}))


def test_a_template_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump(given({"image": "mine:2"})))
    assert read_template(path) == given({"image": "mine:2"})
    assert read_template(None) == {}


@pytest.mark.parametrize(("text", "said"), [("a: [", "no YAML"), ("- a", "must be a mapping")])
def test_a_file_that_holds_no_template_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    with pytest.raises(InvalidDefinition, match=said):
        read_template(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDefinition, match="can't be read"):
        read_template(tmp_path / "nowhere.yaml")
