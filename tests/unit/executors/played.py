"""A cluster in memory with an executor on it, in which a test plays the Job controller and the nodes."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymigrate.engine.adapters.executors.kubernetes import KubernetesExecutor
from pymigrate.engine.adapters.executors.kubernetes_jobs import JobTerms
from pymigrate.engine.adapters.executors.kubernetes_template import PodTerms, pod_template
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import JOBS, PODS, Object
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.testing.clock import START, ManualClock
from pymigrate.engine.testing.clusters import MemoryCluster

NAMESPACE = "prod"
START_SECONDS = 600.0
TTL_SECONDS = 3_600
GRACE_SECONDS = 30
TURNS = 100


def terms(image: str = "pymigrate:1", instance: str = "pymigrate") -> JobTerms:
    """Those of an engine with that image."""
    pod = pod_template({}, PodTerms(image, "pymigrate-engine", 1_000_000_000, GRACE_SECONDS))
    return JobTerms(instance, NAMESPACE, pod, 20.0, TTL_SECONDS)


class PlayedCluster:
    """What the cluster's own programs do, done by the test."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.cluster = MemoryCluster(clock)
        self._pods = 0

    @asynccontextmanager
    async def executor(self, given: JobTerms | None = None) -> AsyncIterator[KubernetesExecutor]:
        """An executor that has seen what there is."""
        made = KubernetesExecutor(self.cluster, given or terms(), self.clock, random.Random(1), START_SECONDS)
        running = asyncio.create_task(made.run())
        await settled()
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def jobs(self) -> list[Object]:
        """All that are there."""
        return sorted(self.cluster.objects(JOBS), key=lambda job: str(job["metadata"]["name"]))

    async def begin(self, job: Object, *, is_bound: bool = True, **status: Any) -> HostRecord:
        """The Job gets a pod, which runs on a node, and the host in it registers."""
        self._pods += 1
        metadata = job["metadata"]
        name = f"{metadata['name']}-{self._pods:05d}"
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        template = job["spec"]["template"]
        spec = template["spec"] | ({"nodeName": "node-1"} if is_bound else {})
        placed = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner], **template["metadata"]}
        await self.cluster.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": placed, "spec": spec})
        await self.tell_pod(name, phase="Running", **status)
        workload = f"jobs/{NAMESPACE}/{metadata['name']}/{metadata['uid']}/{name}"
        return HostRecord("workerHosts/h1", "shared@prod", 7, 1, "s", START, workload)

    async def tell_pod(self, name: str, **status: Any) -> None:
        """What the node says."""
        await self.cluster.patch(PODS, NAMESPACE, name, {"status": status}, subresource="status")
        await settled()

    async def end(self, record: HostRecord, **status: Any) -> None:
        """The pod ends, and its Job is said to have failed, unless the status says that it succeeded."""
        _, _, job, _, pod = record.workload.split("/")
        await self.tell_pod(pod, **({"phase": "Failed"} | status))
        kind = "Complete" if status.get("phase") == "Succeeded" else "Failed"
        await self.finish(job, kind, "BackoffLimitExceeded")

    async def finish(self, job: str, kind: str, reason: str) -> None:
        """What the Job controller says at the end."""
        condition: Mapping[str, Any] = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "lastTransitionTime": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        await self.cluster.patch(JOBS, NAMESPACE, job, {"status": {"conditions": [condition]}}, subresource="status")
        await settled()

    async def let_go(self, record: HostRecord) -> None:
        """The node has ended the pod's processes, and says so."""
        await self.cluster.delete(PODS, NAMESPACE, pod_of(record), grace_seconds=0)
        await settled()


class Played(PlayedCluster):
    """The same on a clock that the test moves."""

    clock: ManualClock

    def __init__(self) -> None:
        super().__init__(ManualClock(START))


def pod_of(record: HostRecord) -> str:
    """The name of the pod that a host runs in."""
    return record.workload.rpartition("/")[2]


async def settled() -> None:
    """Everybody has heard what happened."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
