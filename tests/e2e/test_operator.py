"""Everything as processes: custom resources by kubectl, the operator, and the engine."""

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.entrypoints.custom_resources import custom_resource_definitions
from pymigrate.v1 import environment_pb2, plan_pb2
from tests.certificates import CertificateAuthority, CertificateFiles
from tests.clusters import Cluster
from tests.e2e.engines import EngineProcess, wait_until
from tests.e2e.operators import OperatorProcess, running_operator
from tests.kubectl import Kubectl, KubectlRefused
from tests.kubernetes_example import EXAMPLE, found, rendered
from tests.unit.application.gitops.applied import phase

KINDS = "environments,departments,connections,plans,runs"
WAIT = "--timeout=60s"


@pytest.fixture(scope="module")
def definitions(api_server: Cluster) -> Iterator[None]:
    """The custom resources, for as long as these tests."""
    made = list(custom_resource_definitions().values())
    kubectl = Kubectl(api_server)
    kubectl.apply(*made)
    names = [f"crd/{each['metadata']['name']}" for each in made]
    kubectl("wait", "--for=condition=Established", WAIT, *names)
    yield
    kubectl("delete", "--wait=false", *names)


@pytest.fixture
def kubectl(api_server: Cluster, definitions: None, namespace: str) -> Kubectl:
    made = Kubectl(api_server)
    made.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"test": namespace}}}
    )
    return made


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """One for each test, whose objects are none of the others'."""
    return f"op-{abs(hash(request.node.name)) % 10**8}"


@pytest.fixture
def operator(engine: EngineProcess, api_server: Cluster, kubectl: Kubectl, namespace: str) -> Iterator[OperatorProcess]:
    environment = {"PYMIGRATE_OPERATOR_NAMESPACE": namespace, "PYMIGRATE_OPERATOR_LEASE": namespace}
    with running_operator(engine.home, api_server.admin_kubeconfig, environment) as process:
        yield process


def resource(namespace: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "pymigrate.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def world(namespace: str) -> list[dict[str, Any]]:
    """Those first that need others."""
    return [
        resource(namespace, "Plan", "p", {"phases": {"orders": phase()}}),
        resource(namespace, "Connection", "legacy", {"sqlite": {"path": "/data/legacy.db"}}),
        resource(namespace, "Connection", "warehouse", {"duckdb": {"path": "/data/warehouse.duckdb"}}),
        resource(namespace, "Department", "sales", {}),
        resource(namespace, "Environment", namespace, {"displayName": "Test"}),
    ]


def wait_ready(kubectl: Kubectl, namespace: str) -> None:
    kubectl(
        "wait", "-n", namespace, "--for=condition=Ready", WAIT, "--all", "plans,connections,departments,environments"
    )


def message(kubectl: Kubectl, namespace: str, name: str, type_: str) -> str:
    found = kubectl.read("-n", namespace, name)
    conditions = (found.get("status") or {}).get("conditions", [])
    return next((each["message"] for each in conditions if each["type"] == type_), "")


def test_what_is_applied_in_any_order_becomes_ready_and_what_is_deleted_is_gone(
    operator: OperatorProcess, engine: EngineProcess, kubectl: Kubectl, namespace: str
) -> None:
    for each in world(namespace):
        kubectl.apply(each)
    wait_ready(kubectl, namespace)
    columns = kubectl("get", "-n", namespace, "plans")
    with engine.client() as client:
        plan = client.plans.GetPlan(
            plan_pb2.GetPlanRequest(name=f"environments/{namespace}/plans/p"), metadata=client.metadata, timeout=10
        )
    assert plan.plan_hash[:8] in columns
    assert "True" in columns
    kubectl("delete", "-n", namespace, "--all", "--wait=false", "plans,connections,departments,environments")
    wait_until(lambda: not kubectl("get", "-n", namespace, "-o", "name", KINDS))
    with engine.client() as client:
        left = client.environments.ListEnvironments(
            environment_pb2.ListEnvironmentsRequest(), metadata=client.metadata, timeout=10
        )
    assert [each.name for each in left.environments] == []


def test_what_is_wrong_is_told_with_its_path_and_what_is_suspended_is_left_alone(
    operator: OperatorProcess, engine: EngineProcess, kubectl: Kubectl, namespace: str
) -> None:
    kubectl.apply(*world(namespace))
    wait_ready(kubectl, namespace)
    wrong = {"postgres": {"host": "a", "database": "b", "user": "c", "password": "in the open"}}
    kubectl.apply(resource(namespace, "Connection", "wrong", wrong))
    kubectl("wait", "-n", namespace, "--for=condition=Stalled", WAIT, "connection/wrong")
    assert "spec.postgres.password" in message(kubectl, namespace, "connection/wrong", "Stalled")
    kubectl("annotate", "-n", namespace, "department/sales", "pymigrate.io/suspend=true")
    kubectl("patch", "-n", namespace, "department/sales", "--type=merge", "-p", json.dumps({"spec": {"users": 7}}))
    kubectl("wait", "-n", namespace, "--for=condition=Suspended", WAIT, "department/sales")
    with engine.client() as client:
        request = environment_pb2.GetDepartmentRequest(name=f"environments/{namespace}/departments/sales")
        found = client.environments.GetDepartment(request, metadata=client.metadata, timeout=10)
    assert found.users == 0
    kubectl("annotate", "-n", namespace, "department/sales", "pymigrate.io/suspend-")
    kubectl("wait", "-n", namespace, "--for=condition=Ready", WAIT, "department/sales")
    events = kubectl(
        "get", "-n", namespace, "events", "-o", "custom-columns=R:.reason,O:.involvedObject.name", "--no-headers"
    )
    assert {"InvalidDefinition", "Suspended", "Applied"} <= {line.split()[0] for line in events.splitlines()}


def test_what_is_wrong_is_refused_where_it_is_applied_by_an_operator_that_is_asked_first(
    engine: EngineProcess, api_server: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    files = CertificateAuthority().issue(tmp_path / "certificate")
    environment = {"PYMIGRATE_OPERATOR_NAMESPACE": namespace, "PYMIGRATE_OPERATOR_LEASE": namespace}
    environment |= {"PYMIGRATE_OPERATOR_ADMISSION_LISTEN": "127.0.0.1:0"}
    environment |= {"PYMIGRATE_TLS_CERTIFICATE": str(files.certificate), "PYMIGRATE_TLS_KEY": str(files.key)}
    wrong = resource(namespace, "Connection", "wrong", {"sqlite": {"path": "relative.db"}})

    def is_refused() -> bool:
        try:
            kubectl("apply", "--dry-run=server", "-f", "-", given=json.dumps(wrong))
        except KubectlRefused as error:
            return "spec.sqlite.path: must be an absolute path" in str(error)
        return False

    with running_operator(engine.home, api_server.admin_kubeconfig, environment) as operator:
        kubectl.apply(*world(namespace))
        wait_ready(kubectl, namespace)
        endpoint = engine.home / "operator-admission-endpoint"
        wait_until(endpoint.exists)
        kubectl.apply(webhook_configuration(namespace, endpoint.read_text().strip(), files))
        try:
            wait_until(is_refused)
            kubectl.apply(resource(namespace, "Department", "late", {"owner": "Ann"}))
            kubectl("wait", "-n", namespace, "--for=condition=Ready", WAIT, "department/late")
            kubectl("delete", "-n", namespace, "department/late", WAIT)
        finally:
            kubectl("delete", "validatingwebhookconfiguration", namespace)
        assert operator.stop() == 0
    assert not endpoint.exists()


def webhook_configuration(namespace: str, endpoint: str, files: CertificateFiles) -> dict[str, Any]:
    """As the manifests have it, for one namespace."""
    [shown] = found(rendered(EXAMPLE / "overlays" / "prod"), "ValidatingWebhookConfiguration")
    reached = {
        "url": f"https://{endpoint}/validate",
        "caBundle": base64.b64encode(files.authorities.read_bytes()).decode(),
    }
    only = {"matchLabels": {"test": namespace}}
    webhooks = [{**each, "clientConfig": reached, "namespaceSelector": only} for each in shown["webhooks"]]
    return {**shown, "metadata": {"name": namespace}, "webhooks": webhooks}


def test_an_operator_tells_figures_and_ends_in_order_and_the_next_takes_over_at_once(
    operator: OperatorProcess, engine: EngineProcess, kubectl: Kubectl, namespace: str, api_server: Cluster
) -> None:
    kubectl.apply(*world(namespace))
    wait_ready(kubectl, namespace)
    assert operator.get("/healthz") == "ok\n"
    assert operator.get("/readyz") == "ok\n"
    page = operator.get("/metrics")
    assert "pymigrate_operator_leading 1" in page
    assert 'pymigrate_operator_conditions{kind="Plan",state="True",type="Ready"} 1.0' in page
    assert 'pymigrate_operator_cluster_calls_total{code="200",kind="plans",method="patch"}' in page
    assert operator.stop() == 0
    lease = kubectl.read("-n", "default", f"lease/{namespace}")
    assert not lease["spec"].get("holderIdentity")
    operator.start()
    kubectl.apply(resource(namespace, "Department", "more", {}))
    kubectl("wait", "-n", namespace, "--for=condition=Ready", WAIT, "department/more")


def test_a_leader_that_stood_still_ends_hard_when_it_goes_on_and_another_has_its_place(
    operator: OperatorProcess,
    engine: EngineProcess,
    kubectl: Kubectl,
    namespace: str,
    api_server: Cluster,
    tmp_path: Path,
) -> None:
    kubectl.apply(resource(namespace, "Environment", namespace, {}))
    kubectl("wait", "-n", namespace, "--for=condition=Ready", WAIT, f"environment/{namespace}")
    operator.process.send_signal(signal.SIGSTOP)
    environment = {"PYMIGRATE_OPERATOR_NAMESPACE": namespace, "PYMIGRATE_OPERATOR_LEASE": namespace}
    with running_operator(engine.home, api_server.admin_kubeconfig, environment, "second"):
        kubectl.apply(resource(namespace, "Department", "sales", {}))
        kubectl("wait", "-n", namespace, "--for=condition=Ready", WAIT, "department/sales")
        operator.process.send_signal(signal.SIGCONT)
        assert operator.process.wait(30) == 75


def test_an_api_server_that_is_killed_is_followed_again_when_it_is_back(engine: EngineProcess, tmp_path: Path) -> None:
    from tests.clusters import cluster

    with cluster(tmp_path / "cluster") as made:
        kubectl = Kubectl(made)
        kubectl.apply(*custom_resource_definitions().values())
        names = [f"crd/{each['metadata']['name']}" for each in custom_resource_definitions().values()]
        kubectl("wait", "--for=condition=Established", WAIT, *names)
        with running_operator(engine.home, made.admin_kubeconfig):
            kubectl.apply(resource("default", "Environment", "default", {}))
            kubectl("wait", "--for=condition=Ready", WAIT, "environment/default")
            for program in (made.api_server, made.etcd):
                program.kill()
            for program in (made.etcd, made.api_server):
                program.start()
            made.wait()
            wait_until(lambda: _applied(kubectl))
            kubectl("wait", "--for=condition=Ready", WAIT, "department/sales")


def _applied(kubectl: Kubectl) -> bool:
    try:
        kubectl.apply(resource("default", "Department", "sales", {}))
    except KubectlRefused:
        return False  # the server does not know the types again yet
    return True
