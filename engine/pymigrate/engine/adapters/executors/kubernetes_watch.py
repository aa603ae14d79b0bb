"""What an executor has seen of its Jobs and their pods: mirrors of both, what has gone, and what is wrong."""

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import structlog

from pymigrate.engine.adapters.executors.kubernetes_jobs import (
    HOST_LABEL,
    Place,
    finish_of,
    has_pod_ended,
    incarnation_of,
    is_active,
    label,
)
from pymigrate.engine.adapters.executors.kubernetes_troubles import PODLESS_SECONDS, job_trouble, pod_trouble
from pymigrate.engine.application.clusters.mirror import Mirror
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import EVENTS, JOBS, PODS, Cluster, ClusterUnavailable, Object

log = structlog.get_logger(__name__)
GONE_KEPT_MAX = 5_000
LOOK_SECONDS = 2.0
EVENTS_OF_JOB_MAX = 20
RECENT_SECONDS = 60.0  # for how long the end of a host is told after it


class JobsSeen:
    """Read without a call. Of Jobs without pods the events are looked up now and then, as nothing else says why."""

    def __init__(self, cluster: Cluster, namespace: str, selector: str, clock: Clock, rng: random.Random) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._clock = clock
        self._gone: dict[str, None] = {}
        self._told: dict[str, Sequence[str]] = {}
        self._jobs = Mirror(
            cluster, JOBS, clock, rng, namespace=namespace, label_selector=selector, on_change=self._on_job
        )
        self._pods = Mirror(
            cluster, PODS, clock, rng, namespace=namespace, label_selector=selector, on_change=self._on_pod
        )

    async def run(self) -> None:
        """Keeps the mirrors until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._jobs.run(), self._pods.run(), self._look_up_events()):
                group.create_task(work)

    def trouble(self) -> PyMigrateError | None:
        """Why nothing can be said of the Jobs yet; None once they were listed."""
        for mirror in (self._jobs, self._pods):
            if not mirror.is_synced:
                return mirror.trouble or ClusterUnavailable(
                    f"the {mirror.kind.plural} of {self._namespace} are not listed yet"
                )
        return None

    def note(self, job: Object) -> None:
        """A Job that was just made."""
        self._jobs.note(job)

    def jobs(self) -> Collection[Object]:
        """All Jobs."""
        return self._jobs.objects()

    def jobs_of(self, host_label: str) -> list[Object]:
        """A host's Jobs, the newest first."""
        found = [job for job in self._jobs.objects() if label(job, HOST_LABEL) == host_label]
        return sorted(found, key=incarnation_of, reverse=True)

    def pods_of(self, job: Object) -> list[Object]:
        """A Job's pods."""
        uid = job["metadata"]["uid"]
        return [
            pod
            for pod in self._pods.objects()
            if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or ())
        ]

    def has_begun(self, job: Object) -> bool:
        """Whether a pod of it runs, or has run."""
        return any((pod.get("status") or {}).get("phase", "Pending") != "Pending" for pod in self.pods_of(job))

    def is_over(self, job: Object) -> bool:
        """Whether nothing runs for it any more, nor will: its one pod may have ended a moment before the Job is said to."""
        pods = self.pods_of(job)
        return not is_active(job) or (bool(pods) and all(has_pod_ended(pod) for pod in pods))

    def has_ended(self, place: Place) -> bool:
        """Whether the pod was seen, and its processes are gone."""
        pod = self._pods.get(place.namespace, place.pod)
        return place.pod in self._gone if pod is None else has_pod_ended(pod)

    def troubles(self) -> Iterator[tuple[Object, Failure]]:
        """What is wrong with the newest Job of each host, and with those whose end was a moment ago; of each the Job or pod that tells."""
        now = self._clock.now()
        newest: dict[str, Object] = {}
        for job in self._jobs.objects():
            host = label(job, HOST_LABEL)
            if host not in newest or incarnation_of(newest[host]) < incarnation_of(job):
                newest[host] = job
        for job in sorted(self._jobs.objects(), key=lambda each: str(each["metadata"]["name"])):
            if job is newest[label(job, HOST_LABEL)] or _is_recent(job, now):
                found = job_trouble(job, self.pods_of(job), now, self._told.get(job["metadata"]["uid"], ()))
                if found is not None:
                    yield job, found
        yield from self._left_behind(now)

    def _left_behind(self, now: datetime) -> Iterator[tuple[Object, Failure]]:
        """Pods that outlive their Jobs, since no node ends them."""
        jobs = {job["metadata"]["uid"] for job in self._jobs.objects()}
        for pod in self._pods.objects():
            owners = pod["metadata"].get("ownerReferences") or ()
            if not any(owner.get("uid") in jobs for owner in owners) and (found := pod_trouble(pod, now)):
                yield pod, found

    def _on_job(self, namespace: str, name: str, job: Object | None) -> None:
        if job is not None and (finish := finish_of(job)) is not None and finish.get("type") == "Failed":
            log.warning("job.failed", job=name, reason=finish.get("reason", ""), message=finish.get("message", ""))

    def _on_pod(self, namespace: str, name: str, pod: Object | None) -> None:
        if pod is None:
            self._gone[name] = None
            if len(self._gone) > GONE_KEPT_MAX:
                self._gone.pop(next(iter(self._gone)))

    async def _look_up_events(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            podless = {job["metadata"]["uid"] for job in self._jobs.objects() if self._is_podless(job)}
            self._told = {uid: self._told[uid] for uid in podless & self._told.keys()}
            if podless:
                try:
                    await self._look_up(podless)
                except PyMigrateError as error:
                    log.warning("job.events_unknown", reason=error.reason, error=error.message)

    async def _look_up(self, uids: Collection[str]) -> None:
        found: dict[str, list[tuple[str, str]]] = {}
        for event in (await self._cluster.list(EVENTS, self._namespace)).items:
            uid = (event.get("involvedObject") or {}).get("uid", "")
            if uid in uids and event.get("type") == "Warning":
                time = str(event.get("lastTimestamp") or event.get("eventTime") or "")
                found.setdefault(uid, []).append((time, str(event.get("message", ""))))
        self._told = {uid: [text for _, text in sorted(told)[-EVENTS_OF_JOB_MAX:]] for uid, told in found.items()}

    def _is_podless(self, job: Object) -> bool:
        made = job["metadata"].get("creationTimestamp")
        age = (self._clock.now() - datetime.fromisoformat(made)).total_seconds() if made else 0.0
        return is_active(job) and age >= PODLESS_SECONDS and not self.pods_of(job)


def _is_recent(job: Object, now: datetime) -> bool:
    ended = (finish_of(job) or {}).get("lastTransitionTime")
    return ended is not None and (now - datetime.fromisoformat(ended)).total_seconds() < RECENT_SECONDS
