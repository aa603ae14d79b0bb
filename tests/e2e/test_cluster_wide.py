"""One operator for every namespace of a cluster, under just the ClusterRole of `components/cluster-wide` and the Role of its election."""

import sqlite3
from pathlib import Path

import duckdb
import pytest

from pymigrate.engine.entrypoints.custom_resources import custom_resource_definitions
from tests.clusters import Cluster
from tests.e2e.engines import EngineProcess, wait_until
from tests.e2e.operators import running_operator
from tests.e2e.test_kubernetes_example import alike, audit, proxy, server
from tests.e2e.test_operator import KINDS, WAIT, resource
from tests.kube_audit import KubeAudit, granted
from tests.kube_faults import Fault
from tests.kube_proxy import KubeProxy
from tests.kubectl import Kubectl
from tests.kubernetes_example import EXAMPLE, NAMESPACES, found, rendered
from tests.unit.application.gitops.applied import phase

__all__ = ["audit", "proxy", "server"]
HOME = NAMESPACES["prod"]
ACCOUNT = "pymigrate-operator"
TEAMS = {"sales": 30, "stock": 70}
ACCESS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
SECONDS_MAX = 90


def apply_world(kubectl: Kubectl, namespace: str, folder: Path, rows: int) -> Path:
    """A namespace with a plan that moves a table of so many rows, and a run of it; the file that it moves it into."""
    legacy, target = folder / f"{namespace}.db", folder / f"{namespace}.duckdb"
    with sqlite3.connect(legacy) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO orders VALUES (?)", ((number,) for number in range(rows)))
    connection.close()
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        resource(namespace, "Run", "first", {"plan": "p"}),
        resource(namespace, "Plan", "p", {"phases": {"orders": phase()}}),
        resource(namespace, "Connection", "legacy", {"sqlite": {"path": str(legacy)}}),
        resource(namespace, "Connection", "warehouse", {"duckdb": {"path": str(target)}}),
        resource(namespace, "Department", "sales", {}),
        resource(namespace, "Environment", namespace, {}),
    )
    return target


def use_the_rest(kubectl: Kubectl, namespace: str) -> None:
    """The same is told of an object again, which counts up its Event."""
    kubectl("patch", "department", "sales", "-n", namespace, "--type=merge", "--patch", '{"spec": {"users": 41}}')

    def counts() -> list[int]:
        events = kubectl.read("events", "-n", namespace)["items"]
        return [each["count"] for each in events if each["involvedObject"]["kind"] == "Department"]

    wait_until(lambda: 2 in counts(), SECONDS_MAX, 0.5)


@pytest.mark.timeout(300)
def test_one_operator_serves_every_namespace_under_a_cluster_role_of_which_nothing_is_spare(
    engine: EngineProcess, server: Cluster, proxy: KubeProxy, audit: KubeAudit, tmp_path: Path
) -> None:
    kubectl, made = server.kubectl, list(custom_resource_definitions().values())
    documents = [each for kind in ACCESS for each in found(rendered(EXAMPLE / "overlays/prod"), kind)]
    kubectl.apply(*made)
    kubectl("wait", "--for=condition=Established", WAIT, *(f"crd/{each['metadata']['name']}" for each in made))
    kubectl.apply(*documents)
    kubeconfig = proxy.kubeconfig(ACCOUNT, server.account_token(HOME, ACCOUNT), namespace=HOME)

    def change() -> None:
        kubectl("annotate", "connection", "legacy", "-n", "sales", "changed=meanwhile")

    # The first word is not: what is read again is what a pass has found changed.
    proxy.rule(Fault(first=change), method="PATCH", path="/sales/connections/legacy/status$", skip=1)
    with running_operator(engine.home, kubeconfig, {"PYMIGRATE_OPERATOR_LEASE_NAMESPACE": ""}):
        targets = {team: apply_world(kubectl, team, tmp_path, rows) for team, rows in TEAMS.items()}
        for team in TEAMS:
            kubectl("wait", "-n", team, "--for=condition=Ready", f"--timeout={SECONDS_MAX}s", "--all", KINDS)
        use_the_rest(kubectl, "stock")
        for team in TEAMS:
            kubectl("delete", "-n", team, "--all", "--wait=false", KINDS)
        wait_until(lambda: not any(kubectl("get", "-n", team, "-o", "name", KINDS) for team in TEAMS), SECONDS_MAX)
    for team, target in targets.items():
        with duckdb.connect(str(target), read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (TEAMS[team],)

    rules = [
        rule
        for kind, name in (("ClusterRole", ACCOUNT), ("Role", f"{ACCOUNT}-election"))
        for each in found(documents, kind, name)
        for rule in each["rules"]
    ]
    allowed, used = granted(rules), audit.used(HOME, ACCOUNT)
    assert audit.refused(HOME, ACCOUNT) == set()
    assert {each for each in used if each.verb in {"list", "watch"}} == {
        each for each in allowed if each.verb in {"list", "watch"}
    }
    assert alike(used) == alike(allowed)
