"""A cluster that plays what a script says, for what no honest API does on demand; and one that keeps Leases alone."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import (
    Change,
    ChangeKind,
    Listing,
    Object,
    ObjectConflict,
    ObjectExists,
    ObjectMissing,
    Propagation,
    ResourceType,
)

PLANS = ResourceType("pymigrate.io", "v1alpha1", "plans", "Plan")
Told = tuple[float, Change | PyMigrateError]


def plan(name: str, version: int, **spec: Any) -> Object:
    return {"metadata": {"namespace": "prod", "name": name, "resourceVersion": str(version)}, "spec": spec}


def became(kind: ChangeKind, name: str, version: int, **spec: Any) -> Change:
    return Change(kind, plan(name, version, **spec))


def bookmark(version: int) -> Change:
    return Change(ChangeKind.BOOKMARK, {"metadata": {"resourceVersion": str(version)}})


@dataclass
class NoWrites:
    """The calls of the port that a script has no part for."""

    async def _refuse(self) -> NoReturn:
        raise AssertionError("nobody should call this here")

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Object:
        await self._refuse()

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        await self._refuse()

    async def replace(self, kind: ResourceType, changed: Object) -> Object:
        await self._refuse()

    async def patch(
        self, kind: ResourceType, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        await self._refuse()

    async def delete(
        self,
        kind: ResourceType,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        await self._refuse()

    async def list(self, kind: ResourceType, namespace: str = "", label_selector: str = "") -> Listing:
        await self._refuse()

    async def watch(
        self, kind: ResourceType, resource_version: str, namespace: str = "", label_selector: str = ""
    ) -> AsyncGenerator[Change]:
        for _ in range(0):
            yield bookmark(0)
        await self._refuse()


@dataclass
class ScriptedCluster(NoWrites):
    """Each listing and each watch is the next of its script. A watch tells what it has, each after so many seconds, and ends; after
    the last one nothing is ever told."""

    listings: list[Listing | PyMigrateError]
    watches: list[Sequence[Told]]
    listed_at: list[float] = field(default_factory=list)
    watched_from: list[str] = field(default_factory=list)

    async def list(self, kind: ResourceType, namespace: str = "", label_selector: str = "") -> Listing:
        self.listed_at.append(asyncio.get_running_loop().time())
        found = self.listings.pop(0)
        if isinstance(found, PyMigrateError):
            raise found
        return found

    async def watch(
        self, kind: ResourceType, resource_version: str, namespace: str = "", label_selector: str = ""
    ) -> AsyncGenerator[Change]:
        self.watched_from.append(resource_version)
        if not self.watches:
            await asyncio.Event().wait()
        for seconds, told in self.watches.pop(0):
            await asyncio.sleep(seconds)
            if isinstance(told, PyMigrateError):
                raise told
            yield told


@dataclass
class Leases(NoWrites):
    """One Lease, under optimistic concurrency. `before` and `after` are called around each write and may wait or raise."""

    lease: Object | None = None
    version: int = 0
    before: Callable[[Object], Awaitable[None]] | None = None
    after: Callable[[Object], Awaitable[None]] | None = None
    is_away: bool = False

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Object:
        await self._reach()
        if self.lease is None:
            raise ObjectMissing(f"there is no {name}")
        return self.lease

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        await self._reach()
        if self.lease is not None:
            raise ObjectExists("it is there")
        return await self._store(new)

    async def replace(self, kind: ResourceType, changed: Object) -> Object:
        if self.before is not None:
            await self.before(changed)
        await self._reach()
        if self.lease is None:
            raise ObjectMissing("it is gone")
        if changed["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ObjectConflict("it is another version")
        return await self._store(changed)

    async def _reach(self) -> None:
        await asyncio.sleep(0.01)
        if self.is_away:
            await asyncio.sleep(3_600)

    async def _store(self, new: Object) -> Object:
        self.version += 1
        self.lease = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.version)}}
        if self.after is not None:
            await self.after(self.lease)
        return self.lease
