"""An engine whose worker hosts are Jobs of a real API server, run by a stand-in for its nodes; and the accounts by which it does that."""

import base64
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clusters import Cluster
from tests.e2e.engines import EngineProcess, is_host, running_engine, wait_until
from tests.kube_proxy import KubeProxy
from tests.kubelets import Kubelet, kubelet

# What docs/kubernetes_jobs.md says that an engine needs, and nothing else.
RULES: list[Mapping[str, Any]] = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "delete", "get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
]
SECRET = "pymigrate-engine"
IMAGE = "pymigrate:test"
_numbers = itertools.count(1)


@dataclass(slots=True)
class JobScene:
    """All of it, in a namespace of its own."""

    server: Cluster
    namespace: str
    engine: EngineProcess
    node: Kubelet

    def restart(self) -> None:
        """The engine was ended; another one takes its place, on another port."""
        self.engine.start()
        self.tell_endpoint()

    def tell_endpoint(self) -> None:
        """Puts into the Secret where the engine is."""
        names = ("endpoint", "token")
        data = {name: base64.b64encode((self.engine.home / name).read_bytes()).decode() for name in names}
        self.server.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": self.namespace},
                "data": data,
            }
        )

    def listed(self, kind: str) -> list[Mapping[str, Any]]:
        """All objects of a kind."""
        found: list[Mapping[str, Any]] = json.loads(
            self.server.kubectl("get", kind, "-n", self.namespace, "-o", "json")
        )["items"]
        return found

    def set_quota(self, what: str, most: int) -> None:
        """A quota, with the status that a controller which tests do not run would give it."""
        spec = {"hard": {what: str(most)}}
        self.server.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "few", "namespace": self.namespace},
                "spec": spec,
            }
        )
        with self.server.api() as api:
            status = {"status": {"hard": spec["hard"], "used": {what: "0"}}}
            api.patch_namespaced_resource_quota_status("few", self.namespace, status)

    def lift_quota(self) -> None:
        """It is gone."""
        self.server.kubectl("delete", "resourcequota", "few", "-n", self.namespace)


@contextmanager
def job_scene(server: Cluster, folder: Path, *, proxy: KubeProxy | None = None, **settings: str) -> Iterator[JobScene]:
    """An engine that may do what the page says, through a proxy or without, and a node; everything that they started is gone afterwards."""
    namespace = f"jobs-{next(_numbers)}-{abs(hash(folder)) % 100_000}"
    token = server.service_account(namespace, "engine", RULES)
    kubeconfig = (proxy or server).kubeconfig(f"engine-of-{namespace}", token, namespace=namespace)
    environment = {
        "PYMIGRATE_EXECUTOR": "kubernetes",
        "PYMIGRATE_KUBERNETES_KUBECONFIG": str(kubeconfig),
        "PYMIGRATE_KUBERNETES_IMAGE": IMAGE,
        **settings,
    }
    with (
        kubelet(server, folder / "node", namespace) as node,
        running_engine(folder / "home", environment=environment) as engine,
    ):
        scene = JobScene(server, namespace, engine, node)
        scene.tell_endpoint()
        yield scene
        server.kubectl("delete", "jobs", "--all", "-n", namespace, "--wait=false")
    wait_until(lambda: not any(is_host(pid) for pid in node.pids().values()))
