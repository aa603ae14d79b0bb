"""An installation from `examples/kubernetes`, with its pods as processes of this machine: the overlay `dev` applied to a real API server,
and engine and operator started as their manifests say.

What differs from a cluster, since nobody routes here: addresses are of loopback, the PostgreSQL is a throwaway one, and the API server is
reached by a kubeconfig with the service account's token.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.clusters import Cluster
from tests.e2e.engines import wait_until
from tests.kube_processes import Program, free_ports
from tests.kubernetes_example import NAMESPACES, Document, copied, found, pods, rendered
from tests.pod_processes import PodFolder
from tests.servers import BY_PASSWORD, PostgresCluster

NAMESPACE = NAMESPACES["dev"]
OVERLAY = "overlays/dev"
# What Kubernetes 1.20 serves otherwise or not at all.
ABSENT = {"policy/v1"}
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
        self.programs: dict[str, Program] = {}

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
        reached = {
            "PYMIGRATE_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "PYMIGRATE_REST_LISTEN": f"127.0.0.1:{self.rest_port}",
            "PYMIGRATE_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "PYMIGRATE_ADVERTISE": f"localhost:{self.grpc_port}",
            "PYMIGRATE_KUBERNETES_KUBECONFIG": str(self.kubeconfig("pymigrate-engine")),
        }
        self.start("pymigrate-engine", reached | QUICK | dict(more or {}))

    def start_operator(self) -> None:
        """As the Deployment says."""
        reached = {
            "PYMIGRATE_ENDPOINT": f"localhost:{self.grpc_port}",
            "PYMIGRATE_OPERATOR_LISTEN": f"127.0.0.1:{self.operator_port}",
            "PYMIGRATE_OPERATOR_KUBECONFIG": str(self.kubeconfig("pymigrate-operator")),
        }
        self.start("pymigrate-operator", reached)

    def start(self, owner: str, more: Mapping[str, str]) -> None:
        """The process of a workload's pod."""
        [pod] = [each for each in pods(self.documents) if each.owner == owner]
        named = {"name": f"{owner}-0", "namespace": NAMESPACE, "uid": f"00000000-{owner}", "labels": pod.labels}
        place = self.folder / owner
        process = PodFolder(self.kubectl, {"metadata": named, "spec": pod.spec}, place).process()
        told = {name: self.reached(value) for name, value in process.environment.items()} | dict(more)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYMIGRATE_", "KUBERNETES_"))}
        self.programs[owner] = Program(process.arguments, place / "log", {**kept, **told})
        self.programs[owner].start()

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

    def kubeconfig(self, account: str) -> Path:
        """By which a service account reaches the API server."""
        token = self.cluster.account_token(NAMESPACE, account)
        return self.cluster.kubeconfig(account, token, namespace=NAMESPACE)

    def log(self, owner: str) -> str:
        """What a process said."""
        return (self.folder / owner / "log").read_text()

    def stop(self) -> None:
        """Ends what was started."""
        for program in reversed(self.programs.values()):
            program.stop()

    def _patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        import json

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


def wait_for_probe(made: Installation, owner: str, probe: str) -> None:
    """Until a probe passes, or the process has ended."""

    def is_settled() -> bool:
        made.programs[owner].check()
        return answers(made, owner, probe)

    wait_until(is_settled, 90, 0.2)
