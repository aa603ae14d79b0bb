"""Jobs that are of no use any more: those that nobody knows and that have not come in time, and those that ended long ago.

Servers that know `ttlSecondsAfterFinished` delete the latter by themselves; 1.20 does not unless it is told to.
"""

from collections.abc import Collection, Iterator
from datetime import datetime

import structlog

from pymigrate.engine.adapters.executors.kubernetes_ending import Endings
from pymigrate.engine.adapters.executors.kubernetes_jobs import (
    HOST_LABEL,
    Place,
    finish_of,
    incarnation_of,
    is_active,
    label,
)
from pymigrate.engine.adapters.executors.kubernetes_watch import JobsSeen
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import Object
from pymigrate.engine.ports.hosts import HostRecord

log = structlog.get_logger(__name__)
DELETED_AT_ONCE_MAX = 20
PODLESS_SECONDS_MAX = 20.0
FINISHED_KEPT_MAX = 3  # of each host


class Tidying:
    """`start_seconds_max` is how long a host may take until it registers, `ttl_seconds` how long a Job is kept after its end."""

    def __init__(
        self, seen: JobsSeen, endings: Endings, clock: Clock, start_seconds_max: float, ttl_seconds: float
    ) -> None:
        self._seen = seen
        self._endings = endings
        self._clock = clock
        self._start_seconds_max = start_seconds_max
        self._ttl_seconds = ttl_seconds

    async def tidy(self, records: Collection[HostRecord]) -> None:
        """Deletes a few of them. What can't be deleted now is tried again the next time."""
        known = {place.job_uid for record in records if (place := Place.parse(record.workload)) is not None}
        if self._seen.trouble() is not None:
            return
        useless = [*self._podless(), *self._orphans(known), *self._finished()]
        for job in useless[:DELETED_AT_ONCE_MAX]:
            metadata = job["metadata"]
            try:
                await self._endings.delete_job(metadata["namespace"], metadata["name"], metadata["uid"])
            except PyMigrateError as error:
                log.warning("job.not_deleted", job=metadata["name"], reason=error.reason, error=error.message)
                return

    def _podless(self) -> Iterator[Object]:
        """The controller tries again later and later, after minutes at last; for a Job that is new it tries at once."""
        for job in self._seen.jobs():
            made = job["metadata"].get("creationTimestamp")
            if is_active(job) and not self._seen.pods_of(job) and self._seconds_since(made) > PODLESS_SECONDS_MAX:
                log.info("job.podless", job=job["metadata"]["name"], host=label(job, HOST_LABEL))
                yield job

    def _orphans(self, known: Collection[str]) -> Iterator[Object]:
        for job in self._seen.jobs():
            if is_active(job) and job["metadata"]["uid"] not in known and self._is_late(job):
                log.warning("job.orphaned", job=job["metadata"]["name"], host=label(job, HOST_LABEL))
                yield job

    def _finished(self) -> Iterator[Object]:
        kept: dict[str, int] = {}
        for job in sorted(self._seen.jobs(), key=incarnation_of, reverse=True):
            finish = finish_of(job)
            if finish is None or job["metadata"].get("deletionTimestamp"):
                continue
            host = label(job, HOST_LABEL)
            kept[host] = kept.get(host, 0) + 1
            if (
                kept[host] > FINISHED_KEPT_MAX
                or self._seconds_since(finish.get("lastTransitionTime")) > self._ttl_seconds
            ):
                yield job

    def _is_late(self, job: Object) -> bool:
        return self._seconds_since(job["metadata"].get("creationTimestamp")) > self._start_seconds_max

    def _seconds_since(self, told: str | None) -> float:
        return (self._clock.now() - datetime.fromisoformat(told)).total_seconds() if told else 0.0
