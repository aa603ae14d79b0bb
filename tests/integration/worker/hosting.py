"""Where the suite of executors runs: processes of this machine, Jobs in memory, and Jobs of a real API server that are processes too."""

import asyncio
import base64
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.executors.kubernetes import KubernetesExecutor
from pymigrate.engine.adapters.executors.kubernetes_jobs import JobTerms
from pymigrate.engine.adapters.executors.kubernetes_template import PodTerms, pod_template
from pymigrate.engine.adapters.executors.local import LocalExecutor
from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.ports.cluster import PODS, Cluster
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.v1 import worker_pb2
from tests.clusters import Cluster as ApiServer
from tests.integration.worker.engine import EngineDouble
from tests.kubelets import kubelet
from tests.unit.executors.played import NAMESPACE, PlayedCluster

SECONDS_MAX = 60.0
DRAIN_SECONDS = 4.0
LOOK_SECONDS = 0.02
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Hosting:
    """An executor, and the hosts that have come by it, in order."""

    executor: Executor
    come: Callable[[], list[HostRecord]]

    async def start(self, host: str, affinity: str) -> None:
        """Asks for it as often as it takes, as the engine does: what runs may not be known at first."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                await self.executor.ensure(host, affinity)
                if not self.executor.has_exited(host):
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def host(self, count: int = 1) -> HostRecord:
        """The last of so many hosts, once it has come."""
        await until(lambda: len(self.come()) >= count)
        return self.come()[count - 1]


async def until(holds: Callable[[], bool]) -> None:
    """Waits for what others do in their own time."""
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():
            await SystemClock().sleep(LOOK_SECONDS)


@asynccontextmanager
async def processes(home: Path, engine: EngineDouble) -> AsyncIterator[Hosting]:
    """Processes beside the engine."""
    executor = LocalExecutor(home, DRAIN_SECONDS)
    yield Hosting(executor, lambda: [_record(request.host) for request in engine.registered])
    await executor.close([])


@asynccontextmanager
async def jobs_in_memory() -> AsyncIterator[Hosting]:
    """Jobs of a cluster in memory, where pods come and go as the API says, and nothing runs in them."""
    come: list[HostRecord] = []
    played = PlayedCluster(SystemClock())

    async def be_node() -> None:
        while True:
            pods = played.cluster.objects(PODS)
            for pod in pods:
                owner = pod["metadata"]["ownerReferences"][0]["uid"]
                is_orphan = owner not in {job["metadata"]["uid"] for job in played.jobs()}
                if pod["metadata"].get("deletionTimestamp") or is_orphan:
                    await played.cluster.delete(PODS, NAMESPACE, pod["metadata"]["name"], grace_seconds=0)
            owners = {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods}
            come.extend([await played.begin(job) for job in played.jobs() if job["metadata"]["uid"] not in owners])
            await asyncio.sleep(LOOK_SECONDS)

    node = asyncio.create_task(be_node())
    try:
        async with played.executor() as executor:
            yield Hosting(executor, lambda: come)
    finally:
        node.cancel()
        await asyncio.gather(node, return_exceptions=True)


@asynccontextmanager
async def jobs(server: ApiServer, home: Path, engine: EngineDouble, folder: Path) -> AsyncIterator[Hosting]:
    """Jobs of a real API server and its Job controller, whose pods are processes of this machine."""
    namespace = f"executors-{next(_numbers)}"
    data = {name: base64.b64encode((home / name).read_bytes()).decode() for name in ("endpoint", "token")}
    server.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "home", "namespace": namespace}, "data": data},
    )
    pod = pod_template({}, PodTerms("pymigrate:test", "home", 1_000_000_000, int(DRAIN_SECONDS) + 1))
    terms = JobTerms("pymigrate", namespace, pod, DRAIN_SECONDS, 3_600)
    cluster = KubernetesCluster.open(server.admin_kubeconfig)
    opened: Cluster = cluster
    executor = KubernetesExecutor(opened, terms, SystemClock(), random.Random(1), 600.0)
    running = asyncio.create_task(executor.run())
    try:
        with kubelet(server, folder / "node", namespace):
            yield Hosting(executor, lambda: [_record(request.host) for request in engine.registered])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await cluster.close()
        server.kubectl("delete", "namespace", namespace, "--wait=false")


def _record(host: worker_pb2.WorkerHost) -> HostRecord:
    never = datetime.fromtimestamp(0, UTC)
    return HostRecord(host.name, host.affinity, host.pid, host.pid_start_ticks, "s", never, host.workload)
