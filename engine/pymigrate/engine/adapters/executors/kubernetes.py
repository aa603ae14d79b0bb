"""Worker hosts as Jobs of a Kubernetes cluster, one pod each. They outlive the engine's process: the next one adopts them.

What runs is read from mirrors, so that asking costs no call; what ends a host asks the API itself.
"""

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from pymigrate.engine.adapters.executors.kubernetes_ending import Endings
from pymigrate.engine.adapters.executors.kubernetes_jobs import (
    AFFINITY_ANNOTATION,
    DIGEST_ANNOTATION,
    HOST_LABEL,
    INSTANCE_LABEL,
    JobTerms,
    Place,
    annotation,
    digest_of,
    incarnation_of,
    is_active,
    job_of,
    label,
    label_value,
)
from pymigrate.engine.adapters.executors.kubernetes_tidying import Tidying
from pymigrate.engine.adapters.executors.kubernetes_troubles import refusal_trouble
from pymigrate.engine.adapters.executors.kubernetes_watch import JobsSeen
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import JOBS, Cluster, Object, ObjectExists, ObjectMissing
from pymigrate.engine.ports.hosts import HostRecord

log = structlog.get_logger(__name__)
NAMES_TRIED_MAX = 10
DRAIN_MARGIN_SECONDS = 5.0
TROUBLES_OF_AFFINITY_MAX = 10


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a host's Job was not made."""

    affinity: str
    failure: Failure


class KubernetesExecutor:
    """`run` must be running for anything to be started: it keeps what is known of the cluster."""

    def __init__(
        self, cluster: Cluster, terms: JobTerms, clock: Clock, rng: random.Random, start_seconds_max: float
    ) -> None:
        self._cluster = cluster
        self._terms = terms
        self._clock = clock
        self._seen = JobsSeen(cluster, terms.namespace, terms.selector, clock, rng)
        self._endings = Endings(cluster, clock)
        self._tidying = Tidying(self._seen, self._endings, clock, start_seconds_max, terms.ttl_seconds)
        self._refusals: dict[str, _Refusal] = {}
        self._last: dict[str, int] = {}  # hosts are few: one for each that was ever wanted
        self._grace_seconds: int = terms.template["spec"]["terminationGracePeriodSeconds"]

    async def run(self) -> None:
        """Keeps the mirrors until it is cancelled."""
        await self._seen.run()

    async def ensure(self, host: str, affinity: str) -> None:
        """Makes the host's Job unless one of ours runs it, or is about to; one that was made under other terms and has not begun makes way.
        Why none could be made is told by `troubles`."""
        try:
            await self._ensure(host, affinity)
        except PyMigrateError as error:
            failure = refusal_trouble(error, host, self._terms.namespace)
            if self._refusals.get(host) != _Refusal(affinity, failure):
                log.warning("host.refused", host=host, reason=failure.reason, error=error.message)
            self._refusals[host] = _Refusal(affinity, failure)
        else:
            self._refusals.pop(host, None)

    async def kill(self, record: HostRecord) -> bool:
        """Ends that very pod and waits until it is gone, bounded. False also while the API does not answer."""
        place = Place.parse(record.workload)
        if place is None:
            return True
        try:
            is_gone = await self._endings.kill(place)
        except PyMigrateError as error:
            log.warning("host.not_killed", host=record.name, reason=error.reason, error=error.message)
            return False
        log.warning("host.killed", host=record.name, pod=place.pod, is_gone=is_gone)
        return is_gone

    async def drain(self, record: HostRecord) -> None:
        """Deletes that very Job; its pod has the time that draining may take, which its node sees to."""
        place = Place.parse(record.workload)
        if place is None:
            return
        try:
            is_asked = await self._endings.ask(place)
            if is_asked and not await self._endings.is_gone_within(place, self._grace_seconds + DRAIN_MARGIN_SECONDS):
                await self.kill(record)
        except PyMigrateError as error:
            log.warning("host.not_drained", host=record.name, reason=error.reason, error=error.message)

    def is_running(self, record: HostRecord) -> bool:
        """Whether that very pod is there. Of what was never seen here nothing is known, and its lease decides."""
        place = Place.parse(record.workload)
        return place is None or not self._seen.has_ended(place)

    def has_exited(self, host: str) -> bool:
        """Whether no Job runs the host, nor is about to."""
        return self._active(host) is None

    def troubles(self) -> Mapping[str, Sequence[Failure]]:
        """Why hosts do not come, and why the last ones went."""
        found: dict[str, list[Failure]] = {}
        for host in sorted(self._refusals):
            refusal = self._refusals[host]
            found.setdefault(refusal.affinity, []).append(refusal.failure)
        for teller, failure in self._seen.troubles():
            found.setdefault(annotation(teller, AFFINITY_ANNOTATION), []).append(failure)
        return {affinity: told[:TROUBLES_OF_AFFINITY_MAX] for affinity, told in found.items()}

    async def tidy(self, records: Collection[HostRecord], wanted: Collection[str]) -> None:
        """Deletes Jobs that nobody knows and that have not come in time, and those that ended long ago."""
        for host in self._refusals.keys() - set(wanted):
            del self._refusals[host]
        await self._tidying.tidy(records)

    async def stop(self, host: str) -> None:
        """Deletes the host's Job, if there is one; its pod drains."""
        for job in self._seen.jobs_of(label_value(host)):
            if is_active(job):
                await self._endings.delete_job(self._terms.namespace, job["metadata"]["name"], job["metadata"]["uid"])

    async def close(self, records: Collection[HostRecord]) -> None:
        """Leaves the hosts to the next engine: they look for it until their leases are long over."""
        log.info("hosts.left", hosts=len(records))
        await asyncio.sleep(0)

    async def _ensure(self, host: str, affinity: str) -> None:
        if trouble := self._seen.trouble():
            raise trouble
        digest = digest_of(self._terms, host, affinity)
        if (active := self._active(host)) is not None:
            if annotation(active, DIGEST_ANNOTATION) == digest or self._seen.has_begun(active):
                return
            metadata = active["metadata"]
            log.info("job.outdated", host=host, job=metadata["name"])
            await self._endings.delete_job(self._terms.namespace, metadata["name"], metadata["uid"])
        self._seen.note(await self._made(host, affinity, digest))

    async def _made(self, host: str, affinity: str, digest: str) -> Object:
        """A new Job, or the one that an earlier try or another engine of this instance made already."""
        # A Job that was deleted lends its name to none: its controller would go on being patient with that name.
        there = (incarnation_of(job) for job in self._seen.jobs_of(label_value(host)))
        last = max((self._last.get(host, 0), *there))
        for incarnation in range(last + 1, last + 1 + NAMES_TRIED_MAX):
            job = job_of(self._terms, host, affinity, incarnation)
            name, self._last[host] = job["metadata"]["name"], incarnation - 1
            try:
                made = await self._cluster.create(JOBS, job)
            except ObjectExists:
                found = await self._existing(name)
                if found is not None and self._is_ours(found, host, digest) and is_active(found):
                    log.info("job.adopted", host=host, job=name)
                    return found
                continue
            log.info("host.started", host=host, job=name, affinity=affinity)
            self._last[host] = incarnation
            return made
        raise FailedPrecondition(
            f"the names {job_of(self._terms, host, affinity, last + 1)['metadata']['name']} and following are taken: delete those Jobs, "
            "or give this engine another PYMIGRATE_INSTANCE"
        )

    async def _existing(self, name: str) -> Object | None:
        try:
            return await self._cluster.get(JOBS, self._terms.namespace, name)
        except ObjectMissing:
            return None

    def _is_ours(self, job: Object, host: str, digest: str) -> bool:
        marks = (label(job, INSTANCE_LABEL), label(job, HOST_LABEL), annotation(job, DIGEST_ANNOTATION))
        return marks == (self._terms.instance, label_value(host), digest)

    def _active(self, host: str) -> Object | None:
        return next((job for job in self._seen.jobs_of(label_value(host)) if not self._seen.is_over(job)), None)
