"""The overlays of `examples/kubernetes` as kustomize renders them: fields that their kinds know, references to what is there, pods that may
do nothing that they need not."""

import re
from pathlib import Path

import pytest
import yaml

from pymigrate.engine.main.kubernetes_settings import KubernetesSettings
from pymigrate.engine.main.operator_settings import OperatorSettings
from pymigrate.engine.settings import Settings
from tests.kube_audit import Access, granted
from tests.kubernetes_example import (
    EXAMPLE,
    NAMESPACES,
    OVERLAYS,
    Document,
    copied,
    found,
    pods,
    rendered,
    selects,
    worker_job,
)
from tests.kubernetes_models import problems

# What a person makes before: docs/kubernetes.md says how.
MADE_BEFORE = {
    "dev": set(),
    # cert-manager makes pymigrate-tls and pymigrate-operator-tls.
    "prod": {
        *("pymigrate-access", "pymigrate-store", "pymigrate-connections", "pymigrate-tls", "pymigrate-operator-tls"),
    },
}
GROUP = "pymigrate.io"
CRDS = [path for path in sorted((EXAMPLE / "crds").glob("*.yaml")) if path.name != "kustomization.yaml"]
CLUSTER_SCOPED = {"Namespace", "ClusterRole", "ClusterRoleBinding", "ValidatingWebhookConfiguration"}


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def documents(overlay: str, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return rendered(copied(tmp_path_factory.mktemp(overlay)) / "overlays" / overlay)


def test_every_field_is_one_that_its_kind_knows(documents: list[Document]) -> None:
    assert {f"{each['kind']}/{each['metadata']['name']}": problems(each) for each in documents if problems(each)} == {}
    # Kubernetes 1.20 drops what newer ones know of a Job without a word.
    assert problems(worker_job(documents)) == []


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "ServiceMonitor", "Certificate"])
def test_a_field_that_a_kind_does_not_know_is_found(kind: str, tmp_path: Path) -> None:
    [first, *_] = found(rendered(copied(tmp_path) / "overlays/prod"), kind)
    assert problems({**first, "spec": {**first["spec"], "minimum": 1}}) != []


def test_everything_lies_in_the_namespace_of_the_overlay(overlay: str, documents: list[Document]) -> None:
    placed = {each["metadata"].get("namespace") for each in documents if each["kind"] not in CLUSTER_SCOPED}
    assert placed == {NAMESPACES[overlay]}
    for binding in (*found(documents, "RoleBinding"), *found(documents, "ClusterRoleBinding")):
        assert {each["namespace"] for each in binding["subjects"]} == {NAMESPACES[overlay]}


def test_pods_are_let_in_under_the_restricted_standard(documents: list[Document]) -> None:
    [namespace] = found(documents, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(documents):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.owner
        assert security["runAsUser"] > 0, pod.owner
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        for container in pod.containers:
            wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
            assert (container["securityContext"] | wanted) == container["securityContext"], pod.owner
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, pod.owner


def test_only_pods_that_ask_the_api_server_have_a_token_for_it(documents: list[Document]) -> None:
    with_token = {pod.owner for pod in pods(documents) if pod.spec.get("automountServiceAccountToken")}
    assert with_token == {"pymigrate-engine", "pymigrate-operator"}
    assert not any(each["automountServiceAccountToken"] for each in found(documents, "ServiceAccount"))


def test_pods_say_what_they_take_and_are_probed(documents: list[Document]) -> None:
    for pod in pods(documents):
        for container in pod.containers:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, pod.owner
            assert "memory" in container["resources"]["limits"], pod.owner
            ports = {each["name"] for each in container.get("ports", ())}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if request := container.get(probe, {}).get("httpGet"):
                    assert request["port"] in ports, pod.owner
            assert pod.owner == "pymigrate-worker" or {"livenessProbe", "readinessProbe"} <= container.keys()


def test_volumes_variables_and_accounts_refer_to_what_is_there(overlay: str, documents: list[Document]) -> None:
    secrets = {each["metadata"]["name"] for each in found(documents, "Secret")} | MADE_BEFORE[overlay]
    maps = {each["metadata"]["name"] for each in found(documents, "ConfigMap")}
    accounts = {each["metadata"]["name"] for each in found(documents, "ServiceAccount")}
    for pod in pods(documents):
        claims = {each["name"] for each in _claims(documents, pod.owner)}
        volumes = {each["name"]: each for each in pod.spec["volumes"]}
        mounted = {mount["name"] for container in pod.containers for mount in container["volumeMounts"]}
        assert mounted == volumes.keys() | claims, pod.owner
        assert {each["secret"]["secretName"] for each in volumes.values() if "secret" in each} <= secrets, pod.owner
        assert {each["configMap"]["name"] for each in volumes.values() if "configMap" in each} <= maps, pod.owner
        assert pod.spec.get("serviceAccountName", "pymigrate-worker") in accounts
        referred = re.findall(r"'secret(?:KeyRef|Ref)': {[^}]*'name': '([\w-]+)'", str(pod.spec))
        assert set(referred) <= secrets, pod.owner
    for binding in (*found(documents, "RoleBinding"), *found(documents, "ClusterRoleBinding")):
        assert found(documents, binding["roleRef"]["kind"], binding["roleRef"]["name"]), binding["metadata"]["name"]
        assert {each["name"] for each in binding["subjects"]} <= accounts


def test_services_budgets_and_monitors_select_what_is_there(documents: list[Document]) -> None:
    there = list(pods(documents))
    for service in found(documents, "Service"):
        [pod] = [each for each in there if selects({"matchLabels": service["spec"]["selector"]}, each.labels)]
        named = {port["name"] for container in pod.containers for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for budget in found(documents, "PodDisruptionBudget"):
        assert len([each for each in there if selects(budget["spec"]["selector"], each.labels)]) == 1
    for workload in (*found(documents, "Deployment"), *found(documents, "StatefulSet")):
        assert selects(workload["spec"]["selector"], workload["spec"]["template"]["metadata"]["labels"])
    for monitor in found(documents, "ServiceMonitor"):
        services = [
            each
            for each in found(documents, "Service")
            if selects(monitor["spec"]["selector"], each["metadata"]["labels"])
        ]
        [service] = services
        assert {each["port"] for each in monitor["spec"]["endpoints"]} <= {
            each["name"] for each in service["spec"]["ports"]
        }
    for scaler in found(documents, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        [workload] = found(documents, target["kind"], target["name"])
        # A number of replicas beside the scaler would be set again by every apply.
        assert "replicas" not in workload["spec"]


def test_worker_hosts_run_the_image_of_the_engine(documents: list[Document]) -> None:
    [engine] = [each for each in pods(documents) if each.owner == "pymigrate-engine"]
    [container] = engine.containers
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["PYMIGRATE_KUBERNETES_IMAGE"] == container["image"]
    assert re.search(r":\d+\.\d+\.\d+$", container["image"])


def test_the_engine_is_one(documents: list[Document]) -> None:
    [engine] = found(documents, "StatefulSet", "pymigrate-engine")
    assert engine["spec"]["replicas"] == 1


def _claims(documents: list[Document], owner: str) -> list[Document]:
    sets = found(documents, "StatefulSet", owner)
    return [each["metadata"] for each in sets[0]["spec"].get("volumeClaimTemplates", ())] if sets else []


def test_the_operator_may_do_with_every_kind_what_it_does_and_nothing_with_others(documents: list[Document]) -> None:
    [rules] = [
        each["rules"] for kind in ("Role", "ClusterRole") for each in found(documents, kind, "pymigrate-operator")
    ]
    kinds = {yaml.safe_load(path.read_text())["spec"]["names"]["plural"] for path in CRDS}
    assert granted(rules) == {
        *(Access(verb, GROUP, kind) for kind in kinds for verb in ("get", "list", "watch", "patch")),
        *(Access("patch", GROUP, f"{kind}/status") for kind in kinds),
        Access("create", "", "events"),
        Access("patch", "", "events"),
    }


def test_a_figure_of_prometheus_may_scale_a_run() -> None:
    scaler = yaml.safe_load((EXAMPLE / "autoscaling/run.yaml").read_text())
    assert problems(scaler) == []
    target = scaler["spec"]["scaleTargetRef"]
    [run] = found(rendered(EXAMPLE / "quickstart"), target["kind"], target["name"])
    assert run["apiVersion"] == target["apiVersion"]
    [metric] = [each["external"]["metric"]["name"] for each in scaler["spec"]["metrics"]]
    assert f"| `{metric}` |" in (EXAMPLE.parents[1] / "docs/metrics.md").read_text()


def test_variables_are_settings_that_there_are(documents: list[Document]) -> None:
    known = {f"PYMIGRATE_{name.upper()}" for name in Settings.model_fields}
    known |= {f"PYMIGRATE_KUBERNETES_{name.upper()}" for name in KubernetesSettings.model_fields}
    # By which clients find the engine, and what the executor tells a host of its pod.
    known |= {"PYMIGRATE_ENDPOINT", "PYMIGRATE_POD_NAMESPACE", "PYMIGRATE_POD_NAME", "PYMIGRATE_JOB_UID"}
    known |= {f"PYMIGRATE_OPERATOR_{name.upper()}" for name in OperatorSettings.model_fields}
    said = {each["name"] for pod in pods(documents) for container in pod.containers for each in container["env"]}
    assert {name for name in said if name.startswith("PYMIGRATE_")} - known == set()


def test_the_guide_names_what_there_is() -> None:
    guide = (EXAMPLE.parents[1] / "docs/kubernetes.md").read_text()
    applied = set(re.findall(r"-k ([\w/]+)", guide))
    assert applied == {"crds", "overlays/dev", "overlays/prod", "quickstart"}
    listed = re.findall(r"`((?:components|overlays)/[\w-]+)`", guide)
    there = {f"{kind}/{each.name}" for kind in ("components", "overlays") for each in (EXAMPLE / kind).iterdir()}
    assert set(listed) == there
    assert all((EXAMPLE / each / "kustomization.yaml").exists() for each in applied | there)
