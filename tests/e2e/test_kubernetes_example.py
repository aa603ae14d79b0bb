"""`examples/kubernetes` as docs/kubernetes.md says, in an empty cluster: from nothing to a migration that is done, and away again;
under just the Roles of the example, of which nothing is spare."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.clusters import Cluster, cluster
from tests.e2e.engines import wait_until
from tests.e2e.kubernetes_scene import ENGINE, NAMESPACE, OPERATOR, Installation, installed, wait_for_probes
from tests.kube_audit import Access, KubeAudit, granted
from tests.kube_faults import Fault
from tests.kube_proxy import KubeProxy, kube_proxy
from tests.kubectl import listed
from tests.kubelets import Kubelet, kubelet
from tests.kubernetes_example import found
from tests.servers import running_cluster

pytestmark = pytest.mark.measured

GROUP = "pymigrate.io"
ROWS = {"customers": 1_000, "orders": 20_000}
RUN = "warehouse-1"
SECONDS_MAX = 120


@pytest.fixture
def audit(tmp_path: Path) -> KubeAudit:
    return KubeAudit(tmp_path)


@pytest.fixture
def server(tmp_path: Path, audit: KubeAudit) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    with cluster(tmp_path / "cluster", controllers=True, audit=audit) as made:
        yield made


@pytest.fixture
def node(server: Cluster, tmp_path: Path) -> Iterator[Kubelet]:
    with kubelet(server, tmp_path / "node", NAMESPACE) as made:
        yield made


@pytest.fixture
def proxy(server: Cluster, tmp_path: Path) -> Iterator[KubeProxy]:
    with kube_proxy(server, tmp_path) as made:
        yield made


@pytest.fixture
def installation(server: Cluster, proxy: KubeProxy, node: Kubelet, tmp_path: Path) -> Iterator[Installation]:
    del proxy, node  # they end after what they serve
    with running_cluster("machine") as postgres, installed(server, postgres, tmp_path) as made:
        yield made


@pytest.mark.timeout(600)
def test_from_nothing_to_a_migration_that_is_done_and_away_again(
    installation: Installation, audit: KubeAudit, node: Kubelet, proxy: KubeProxy
) -> None:
    kubectl = installation.kubectl
    uid = kubectl.read("statefulset", ENGINE, "-n", NAMESPACE)["metadata"]["uid"]
    installation.start_engine({"PYMIGRATE_KUBERNETES_OWNER": f"apps/v1/StatefulSet/{ENGINE}/{uid}"})
    wait_for_probes(installation, ENGINE)
    installation.start_operator(proxy)
    wait_for_probes(installation, OPERATOR)

    disturb(installation, proxy)
    kubectl("apply", "-n", NAMESPACE, "-f", "-", given=listed(*installation.quickstart()))
    wait_until(lambda: Access("list", "", "events") in audit.used(NAMESPACE, ENGINE), SECONDS_MAX, 0.5)
    wait_until(lambda: condition(installation, "Ready")["reason"] == "QuotaExceeded", SECONDS_MAX, 0.5)
    assert condition(installation, "Reconciling")["status"] == "True"
    kubectl("delete", "resourcequota", "few", "-n", NAMESPACE)
    wait_until(lambda: condition(installation, "Ready")["status"] == "True", SECONDS_MAX, 0.5)
    kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", f"run/{RUN}", "--timeout=5s")

    assert rows(installation, "warehouse") == rows(installation, "legacy")
    assert {name: len(found) for name, found in rows(installation, "warehouse").items()} == ROWS
    head, line = kubectl("get", "run", RUN, "-n", NAMESPACE).splitlines()
    assert head.split() == ["NAME", "READY", "REASON", "PHASE", "PROGRESS", "LANES", "PLAN", "AGE"]
    assert line.split()[:-1] == [RUN, "True", "Succeeded", "succeeded", "100%", "0/2", "warehouse"]
    told = {each["reason"] for each in kubectl.read("events", "-n", NAMESPACE)["items"] if is_of_run(each)}
    assert {"QuotaExceeded", "Running", "Succeeded"} <= told
    use_the_rest(installation, node)

    kubectl("delete", "-n", NAMESPACE, "-f", "-", "--timeout=50s", given=listed(*installation.quickstart()))
    assert kubectl("get", GROUP.partition(".")[0], "-n", NAMESPACE, "--ignore-not-found") == ""
    assert {name: len(found) for name, found in rows(installation, "warehouse").items()} == ROWS
    installation.stop()
    assert kubectl.read("jobs", "-n", NAMESPACE)["items"] != [], "hosts outlive the engine's pod"
    kubectl("delete", "statefulset", ENGINE, "-n", NAMESPACE)
    wait_until(lambda: not owned_jobs(installation, uid), SECONDS_MAX, 0.5)
    wait_until(lambda: node.pids() == {}, SECONDS_MAX, 0.5)
    kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=50s", given=listed(*installation.documents))

    for account in (ENGINE, OPERATOR):
        assert audit.refused(NAMESPACE, account) == set()
    assert audit.used(NAMESPACE, ENGINE) == rules_of(installation, ENGINE)
    watched = {each for each in audit.used(NAMESPACE, OPERATOR) if each.verb in {"list", "watch"}}
    allowed = rules_of(installation, OPERATOR, f"{OPERATOR}-election")
    assert watched == {each for each in allowed if each.verb in {"list", "watch"}}
    assert alike(audit.used(NAMESPACE, OPERATOR)) == alike(allowed)


def disturb(installation: Installation, proxy: KubeProxy) -> None:
    """A quota that lets no pod in, a Job that has the first host's name, and an object that is changed between being read and written."""
    installation.set_quota("pods", 0)
    name = "pymigrate-shared-pymigrate-1-b504beab-1"
    pod = {"restartPolicy": "Never", "containers": [{"name": "other", "image": "other"}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NAMESPACE}}
    installation.kubectl.apply({**job, "spec": {"parallelism": 0, "template": {"spec": pod}}})

    def change() -> None:
        installation.kubectl("annotate", "connection", "legacy", "-n", NAMESPACE, "changed=meanwhile")

    # The first word is not: what is read again is what a pass has found changed.
    proxy.rule(Fault(first=change), method="PATCH", path="/connections/legacy/status$", skip=1)


def use_the_rest(installation: Installation, node: Kubelet) -> None:
    """What happens now and then: a host hangs, and the same is told of an object again."""
    kubectl = installation.kubectl
    name, pid = next(iter(node.pids().items()))
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: name not in node.pids(), SECONDS_MAX, 0.5)
    kubectl("patch", "department", "sales", "-n", NAMESPACE, "--type=merge", "--patch", '{"spec": {"users": 41}}')

    def counts() -> list[int]:
        events = kubectl.read("events", "-n", NAMESPACE)["items"]
        return [each["count"] for each in events if each["involvedObject"]["kind"] == "Department"]

    wait_until(lambda: 2 in counts(), SECONDS_MAX, 0.5)


def condition(installation: Installation, kind: str) -> Mapping[str, Any]:
    """Of the Run; one that says nothing where it is not there yet."""
    conditions = installation.kubectl.read("run", RUN, "-n", NAMESPACE).get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {"status": "Unknown", "reason": ""})


def is_of_run(event: Mapping[str, Any]) -> bool:
    """Whether an Event tells of the Run."""
    return bool(event["involvedObject"]["kind"] == "Run")


def owned_jobs(installation: Installation, uid: str) -> list[str]:
    """The Jobs of an owner."""
    jobs = installation.kubectl.read("jobs", "-n", NAMESPACE)["items"]
    owners = {each["metadata"]["name"]: each["metadata"].get("ownerReferences", ()) for each in jobs}
    return [name for name, owned in owners.items() if any(each["uid"] == uid for each in owned)]


def rows(installation: Installation, database: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a database of the quickstart."""
    with psycopg.connect(installation.postgres.dsn(database)) as connection:
        return {name: connection.execute(f"SELECT * FROM public.{name} ORDER BY id").fetchall() for name in ROWS}


def rules_of(installation: Installation, *roles: str) -> set[Access]:
    """What Roles of the example grant."""
    rules: Sequence[Mapping[str, Any]] = [
        rule for name in roles for role in found(installation.documents, "Role", name) for rule in role["rules"]
    ]
    return granted(rules)


def alike(accesses: set[Access]) -> set[Access]:
    """With one kind of custom resources standing for all: the operator does with each what it does with any."""
    kinds = {each: each.resource.partition("/") for each in accesses if each.group == GROUP}
    return (accesses - kinds.keys()) | {
        Access(each.verb, GROUP, f"*{mark}{sub}") for each, (_, mark, sub) in kinds.items()
    }
