"""The election of the one that leads, by a Lease (coordination.k8s.io): who holds it leads for as long as it renews in time.

Nobody's time of day is believed: a candidate takes the Lease once it saw it unchanged for the whole of its duration, by its own clock that
never goes back. The holder stops earlier than that, counted from before the last renewal that was answered was sent. Clocks may so run at
different rates, by half, and no two lead at once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from pymigrate.engine.domain.errors import PermanentError, PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import LEASES, Cluster, Object, ObjectConflict, ObjectExists, ObjectMissing

log = structlog.get_logger(__name__)
# What was not answered is asked again sooner.
AGAIN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Terms:
    """In seconds: how long a Lease holds for others, how often it is renewed, how long after its last renewal the holder still leads."""

    lease_seconds: int = 15
    renew_seconds: float = 2.0
    give_up_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.renew_seconds < self.give_up_seconds < self.lease_seconds:
            raise ValueError(
                "a holder renews more often than it gives up, and gives up before others may take the Lease"
            )


class LeadershipLost(PermanentError):
    """Whoever led does so no longer; nothing more may be written in its name."""

    reason = "LEADERSHIP_LOST"


class Election:
    """A candidate, called `identity`, which no other is ever called. `lost` is told once it does not lead any more, before another can; it
    should end the process."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        rng: random.Random,
        *,
        namespace: str,
        name: str,
        identity: str,
        lost: Callable[[], None],
        terms: Terms | None = None,
    ) -> None:
        self.identity = identity
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._namespace = namespace
        self._name = name
        self._lost = lost
        self._terms = terms or Terms()
        self._held: Object | None = None
        self._until = 0.0
        self._seen: Object | None = None
        self._seen_at = 0.0

    def is_leading(self) -> bool:
        """Whether it leads right now; asked before each write."""
        return self._held is not None and self._clock.monotonic() < self._until

    async def run(self, on_led: Callable[[], Awaitable[None]]) -> None:
        """Waits for its turn, then does `on_led` and renews until that ends; then the Lease is given back. Raises LeadershipLost after
        `lost` was told, unless that ended the process."""
        while not await self._acquire():
            await self._clock.sleep(self._terms.renew_seconds * self._rng.uniform(0.8, 1.2))
        log.info("leadership.begun", identity=self.identity, lease=self._name)
        leading = asyncio.ensure_future(on_led())
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                self._held = None
                self._lost()
                renewing.result()
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            leading.result()
        finally:
            for each in (leading, renewing):
                each.cancel()
            await asyncio.gather(leading, renewing, return_exceptions=True)
            await self._give_back()

    async def _acquire(self) -> bool:
        """Tries once."""
        began = self._clock.monotonic()
        try:
            found = await self._cluster.get(LEASES, self._namespace, self._name)
        except ObjectMissing:
            found = None
        except PyMigrateError as error:
            log.warning("lease.unread", lease=self._name, error=error.message)
            return False
        if not (self._is_over() if found is None else self._is_free(found)):
            return False
        try:
            self._held = await self._write(found, is_new=True)
        except (ObjectConflict, ObjectExists):
            return False
        except PyMigrateError as error:
            log.warning("lease.untaken", lease=self._name, error=error.message)
            return False
        self._until = began + self._terms.give_up_seconds
        return True

    def _is_free(self, found: Object) -> bool:
        """Whether nobody holds it, or its holder has not renewed it for as long as it said, since it was first seen as it is."""
        now, spec = self._clock.monotonic(), found.get("spec") or {}
        if self._seen is None or _version(self._seen) != _version(found):
            self._seen, self._seen_at = found, now
        if spec.get("holderIdentity") in {None, "", self.identity}:
            return True  # its own is one that it took without an answer
        return now - self._seen_at > self._lasts(found)

    def _is_over(self) -> bool:
        """Whether nobody can lead any more by a Lease that was deleted, of which its holder hears with its next renewal alone. Who never
        saw one held begins at once."""
        if self._seen is None or not (self._seen.get("spec") or {}).get("holderIdentity"):
            return True
        return self._clock.monotonic() - self._seen_at > self._lasts(self._seen)

    def _lasts(self, held: Object) -> float:
        """For how many seconds it holds unless it is renewed."""
        said = (held.get("spec") or {}).get("leaseDurationSeconds")
        return max(float(said or 0), float(self._terms.lease_seconds))

    async def _renew(self) -> None:
        """Until it is lost. Raises LeadershipLost."""
        while True:
            renewed = self._until
            await self._bounded(self._clock.sleep(self._terms.renew_seconds * self._rng.uniform(0.8, 1.0)))
            await self._bounded(self._renew_once())
            while self._until == renewed:
                await self._bounded(self._clock.sleep(self._terms.renew_seconds * AGAIN_SHARE))
                await self._bounded(self._renew_once())

    async def _bounded(self, step: Awaitable[None]) -> None:
        """Does a step for no longer than it leads."""
        doing = asyncio.ensure_future(step)
        ending = asyncio.ensure_future(self._clock.sleep(self._until - self._clock.monotonic()))
        try:
            await asyncio.wait((doing, ending), return_when=asyncio.FIRST_COMPLETED)
            if not self.is_leading():
                raise LeadershipLost(
                    f"the Lease {self._name} was not renewed within {self._terms.give_up_seconds:g} s: {self.identity} leads"
                    " no longer"
                )
            if doing.done():
                doing.result()
        finally:
            for each in (doing, ending):
                each.cancel()
            await asyncio.gather(doing, ending, return_exceptions=True)

    async def _renew_once(self) -> None:
        began = self._clock.monotonic()
        try:
            self._held = await self._write(self._held, is_new=False)
        except (ObjectConflict, ObjectMissing):
            # Somebody else's write, or one of ours whose answer was lost: it shows by who holds it.
            self._held = await self._own(self._held)
            return
        except PyMigrateError as error:
            log.warning("lease.unrenewed", lease=self._name, reason=error.reason, error=error.message)
            return
        self._until = began + self._terms.give_up_seconds

    async def _own(self, held: Object | None) -> Object | None:
        """The Lease as it is now, to be renewed next. Raises LeadershipLost where it is another's, or gone."""
        try:
            found = await self._cluster.get(LEASES, self._namespace, self._name)
        except ObjectMissing as error:
            raise LeadershipLost(f"the Lease {self._name} was deleted: {self.identity} leads no longer") from error
        except PyMigrateError as error:
            log.warning("lease.unread", lease=self._name, error=error.message)
            return held
        holder = (found.get("spec") or {}).get("holderIdentity")
        if holder != self.identity:
            raise LeadershipLost(
                f"the Lease {self._name} is held by {holder or 'nobody'}: {self.identity} leads no longer"
            )
        return found

    async def _write(self, found: Object | None, *, is_new: bool) -> Object:
        now = _micro_time(self._clock.now())
        spec: dict[str, Any] = dict((found or {}).get("spec") or {})
        if is_new:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if found is not None else 0)
            spec["acquireTime"] = now
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._terms.lease_seconds,
            "renewTime": now,
        }
        if found is not None:
            return await self._cluster.replace(LEASES, {**found, "spec": spec})
        metadata = {"namespace": self._namespace, "name": self._name}
        new = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        return await self._cluster.create(LEASES, new)

    async def _give_back(self) -> None:
        """So that the next one need not wait. Only where it is led still: what was lost is another's."""
        held, self._held = (self._held if self.is_leading() else None), None
        if held is None:
            return
        spec = {
            **held["spec"],
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": _micro_time(self._clock.now()),
        }
        try:
            await self._cluster.replace(LEASES, {**held, "spec": spec})
            log.info("leadership.given_back", identity=self.identity, lease=self._name)
        except PyMigrateError as error:
            log.info("lease.kept", lease=self._name, error=error.message)


def _version(found: Object) -> str:
    version: str = found["metadata"].get("resourceVersion", "")
    return version


def _micro_time(moment: datetime) -> str:
    """As the API writes a MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
