"""Ends the pods that run worker hosts, for certain: what the API tells decides, not what was heard of it before.

A pod is always ended by its node, which tells when its processes are gone. Only where the node is lost is it taken out of the API by
force: what may still run there can't commit, since the target has given its fence to another.
"""

import structlog

from pymigrate.engine.adapters.executors.kubernetes_jobs import Place, has_pod_ended
from pymigrate.engine.adapters.executors.kubernetes_troubles import is_node_lost
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import JOBS, PODS, Cluster, Object, ObjectConflict, ObjectMissing

log = structlog.get_logger(__name__)
KILL_GRACE_SECONDS = 1
KILL_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.25


class Endings:
    """Ends pods and their Jobs. All raise what the Cluster port raises."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def kill(self, place: Place) -> bool:
        """At once, and waits until the pod is gone, at most ten seconds. Where its node is lost it is gone from the API alone."""
        if not await self.ask(place, KILL_GRACE_SECONDS):
            return True
        if await self.is_gone_within(place, KILL_SECONDS_MAX):
            return True
        pod = await self._pod(place)
        if pod is None or has_pod_ended(pod):
            return True
        if not is_node_lost(pod, self._clock.now()):
            return False
        log.warning("host.forced", pod=place.pod, node=pod["spec"].get("nodeName", ""))
        await self._delete_pod(place, pod, 0)
        return True

    async def ask(self, place: Place, grace_seconds: int | None = None) -> bool:
        """Begins to end Job and pod, by default within the time that the pod is given; False: it is gone already. The Job goes first, lest
        its pod be replaced; that of a pod which ended by itself stays, as it tells why."""
        pod = await self._pod(place)
        if pod is not None and has_pod_ended(pod):
            return False
        await self.delete_job(place.namespace, place.job, place.job_uid)
        if pod is None:
            return False
        await self._delete_pod(place, pod, grace_seconds)
        return True

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Begins to delete that very Job, with its pods."""
        try:
            await self._cluster.delete(JOBS, namespace, name, uid=uid)
        except (ObjectMissing, ObjectConflict):
            return  # gone, or its name is another's
        log.info("job.deleted", job=name)

    async def is_gone_within(self, place: Place, seconds: float) -> bool:
        """Whether the pod's processes are gone for certain before so many seconds have passed."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            pod = await self._pod(place)
            if pod is None or has_pod_ended(pod):
                return True
            await self._clock.sleep(LOOK_SECONDS)
        return False

    async def _delete_pod(self, place: Place, pod: Object, grace_seconds: int | None) -> None:
        try:
            await self._cluster.delete(
                PODS, place.namespace, place.pod, uid=pod["metadata"]["uid"], grace_seconds=grace_seconds
            )
        except (ObjectMissing, ObjectConflict):
            return

    async def _pod(self, place: Place) -> Object | None:
        """That very pod, and not another's that has its name."""
        try:
            pod = await self._cluster.get(PODS, place.namespace, place.pod)
        except ObjectMissing:
            return None
        owners = pod["metadata"].get("ownerReferences") or ()
        return pod if any(owner.get("uid") == place.job_uid for owner in owners) else None
