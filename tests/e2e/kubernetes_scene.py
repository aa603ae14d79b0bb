"""An installation from `examples/kubernetes`, with its pods as processes of this machine: the overlay `dev` applied to a real API server,
and engine and operator started as their manifests say.

What differs from a cluster, since nobody routes here: addresses are of loopback, the PostgreSQL is a throwaway one, and the API server is
reached by a kubeconfig with the service account's token.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.clusters import Cluster
from tests.e2e.engines import wait_until
from tests.kube_processes import free_ports
from tests.kube_proxy import KubeProxy
from tests.kubelet_pods import PodProcess
from tests.kubelets import stored
from tests.kubernetes_example import NAMESPACES, Document, copied, found, pods, rendered
from tests.servers import BY_PASSWORD, PostgresCluster

NAMESPACE = NAMESPACES["dev"]
ENGINE, OPERATOR = "pymigrate-engine", "pymigrate-operator"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
OVERLAY = "overlays/dev"
# What Kubernetes 1.20 serves otherwise or not at all.
ABSENT = {"policy/v1"}
STOP_SECONDS_MAX = 30.0
DATABASE_HOST = "pymigrate-postgresql"
QUICK = {"PYMIGRATE_LEASE_SECONDS": "3", "PYMIGRATE_HEARTBEAT_SECONDS": "0.5"}


class Installation:
    """Applied to a cluster; what is started of it is ended by its owner."""

    def __init__(self, cluster: Cluster, postgres: PostgresCluster, folder: Path) -> None:
        self.cluster, self.postgres, self.kubectl = cluster, postgres, cluster.kubectl
        self.example = copied(folder)
        self.folder = folder
        self.documents: list[Document] = [
            each for each in rendered(self.example / OVERLAY) if each["apiVersion"] not in ABSENT
        ]
        self.grpc_port, self.rest_port, self.metrics_port, self.operator_port = free_ports(4)
        self.processes: dict[str, PodProcess] = {}

    def apply(self) -> None:
        """What a person applies: definitions first, then the overlay."""
        self.kubectl("apply", "--server-side", "-k", str(self.example / "crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.kubectl.apply(*self.documents)
        # The engine's Service leads nowhere here.
        endpoint = {"stringData": {"endpoint": f"localhost:{self.grpc_port}"}}
        self._patch("secret", "pymigrate-access", endpoint)

    def start_engine(self, more: Mapping[str, str] | None = None) -> None:
        """As the StatefulSet says."""
        token = self.cluster.account_token(NAMESPACE, ENGINE)
        reached = {
            "PYMIGRATE_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "PYMIGRATE_REST_LISTEN": f"127.0.0.1:{self.rest_port}",
            "PYMIGRATE_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "PYMIGRATE_ADVERTISE": f"localhost:{self.grpc_port}",
            "PYMIGRATE_KUBERNETES_KUBECONFIG": str(self.cluster.kubeconfig(ENGINE, token, namespace=NAMESPACE)),
        }
        self.start(ENGINE, reached | QUICK | dict(more or {}))

    def start_operator(self, proxy: KubeProxy) -> None:
        """As the Deployment says; it reaches the API server through a proxy."""
        token = self.cluster.account_token(NAMESPACE, OPERATOR)
        reached = {
            "PYMIGRATE_ENDPOINT": f"localhost:{self.grpc_port}",
            "PYMIGRATE_OPERATOR_LISTEN": f"127.0.0.1:{self.operator_port}",
            "PYMIGRATE_OPERATOR_KUBECONFIG": str(proxy.kubeconfig(OPERATOR, token, namespace=NAMESPACE)),
        }
        self.start(OPERATOR, reached)

    def start(self, owner: str, more: Mapping[str, str]) -> None:
        """The process of a workload's pod."""
        [pod] = [each for each in pods(self.documents) if each.owner == owner]
        metadata = {"name": f"{owner}-0", "namespace": NAMESPACE, "uid": owner, "labels": pod.labels}
        [container] = pod.containers
        told = [
            {**each, "value": self.reached(each["value"])} if "value" in each else each for each in container["env"]
        ]
        told += [{"name": name, "value": value} for name, value in more.items()]
        # A claim of the StatefulSet's template is a volume of the pod.
        claimed = {each["name"] for each in container["volumeMounts"]} - {each["name"] for each in pod.spec["volumes"]}
        volumes = [*pod.spec["volumes"], *({"name": name, "emptyDir": {}} for name in claimed)]
        spec = {**pod.spec, "containers": [{**container, "env": told}], "volumes": volumes}
        place = self.folder / owner
        place.mkdir(exist_ok=True)
        with self.cluster.api() as api:
            made = PodProcess({"metadata": metadata, "spec": spec}, place, place, lambda *asked: stored(api, *asked))
        self.processes[owner] = made

    def reached(self, text: str) -> str:
        """With the throwaway PostgreSQL in the place of the Service."""
        return text.replace(f"{DATABASE_HOST}:5432", f"{self.postgres.host}:{self.postgres.port}")

    def quickstart(self) -> list[dict[str, Any]]:
        """Its objects, with the throwaway PostgreSQL in the place of the Service."""
        objects = [dict(each) for each in rendered(self.example / "quickstart")]
        for each in found(objects, "Connection"):
            assert each["spec"]["postgres"]["host"] == DATABASE_HOST
            each["spec"]["postgres"] |= {"host": self.postgres.host, "port": self.postgres.port}
        return objects

    def set_quota(self, what: str, most: int) -> None:
        """A quota `few`, with the status that a controller which tests do not run would give it."""
        spec = {"hard": {what: str(most)}}
        metadata = {"name": "few", "namespace": NAMESPACE}
        self.kubectl.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})
        with self.cluster.api() as api:
            status = {"status": {"hard": spec["hard"], "used": {what: "0"}}}
            api.patch_namespaced_resource_quota_status("few", NAMESPACE, status)

    def log(self, owner: str) -> str:
        """What a process said."""
        return self.processes[owner].log.read_text()

    def stop(self) -> None:
        """Ends what was started, the operator before the engine."""
        for each in reversed(self.processes.values()):
            each.end(signal.SIGTERM)
            try:
                each.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                each.end(signal.SIGKILL)
                each.process.wait(STOP_SECONDS_MAX)

    def _patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        self.kubectl("patch", kind, name, "-n", NAMESPACE, "--type=merge", "--patch", json.dumps(patch))


def prepare_databases(postgres: PostgresCluster, example: Path) -> None:
    """What the component's PostgreSQL does when it starts on an empty volume: the user and database of the store, and the script."""
    secrets = example / OVERLAY / "secrets"
    passwords = dict(line.split("=", 1) for line in (secrets / "connections.env").read_text().splitlines())
    store_password = sql.Literal((secrets / "store-password").read_text())
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE pymigrate SUPERUSER LOGIN PASSWORD {}").format(store_password))
        admin.execute("CREATE DATABASE pymigrate OWNER pymigrate")
    reached = {"PGHOST": postgres.host, "PGPORT": str(postgres.port), "POSTGRES_USER": "pymigrate"}
    done = subprocess.run(
        [example / "components/postgresql/10-quickstart.sh"],
        env={"PATH": os.environ["PATH"], **reached, **passwords},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        # From now on each is asked for its password.
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(BY_PASSWORD)))
        for role in ("pymigrate", "legacy", "warehouse"):
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(BY_PASSWORD), sql.Identifier(role)))


@contextmanager
def installed(cluster: Cluster, postgres: PostgresCluster, folder: Path) -> Iterator[Installation]:
    """Applied, its databases there; nothing is started yet."""
    with ExitStack() as ending:
        made = Installation(cluster, postgres, folder)
        ending.callback(made.stop)
        made.apply()
        prepare_databases(postgres, made.example)
        yield made


def answers(made: Installation, owner: str, probe: str) -> bool:
    """Whether a probe of a workload's manifest passes, asked as a kubelet asks it."""
    import httpx

    [pod] = [each for each in pods(made.documents) if each.owner == owner]
    [container] = pod.containers
    request = container[probe]["httpGet"]
    port = {"rest": made.rest_port, "metrics": made.operator_port}[request["port"]]
    scheme = request.get("scheme", "HTTP").lower()
    try:
        # A kubelet checks no certificate.
        return httpx.get(f"{scheme}://127.0.0.1:{port}{request['path']}", verify=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for_probes(made: Installation, owner: str) -> None:
    """Until its probes pass, one after the other. Fails where the process has ended."""

    def is_settled(probe: str) -> bool:
        assert made.processes[owner].exit_code is None, made.log(owner)[-2_000:]
        return answers(made, owner, probe)

    for each in PROBES:
        wait_until(lambda probe=each: is_settled(probe), 90, 0.2)  # type: ignore[misc]  # a lambda's default
