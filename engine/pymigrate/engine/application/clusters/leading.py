"""A cluster as whoever leads may write it: each write asks first whether it still leads."""

from collections.abc import AsyncGenerator, Callable

from pymigrate.engine.ports.cluster import Change, Cluster, Listing, Object, Propagation, ResourceType


class LedCluster:
    """The Cluster port over another one. `require_leading` raises where nothing may be written any more."""

    def __init__(self, cluster: Cluster, require_leading: Callable[[], None]) -> None:
        self._cluster = cluster
        self._require_leading = require_leading

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Object:
        """As the port says."""
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: ResourceType, namespace: str = "", label_selector: str = "") -> Listing:
        """As the port says."""
        return await self._cluster.list(kind, namespace, label_selector)

    def watch(
        self, kind: ResourceType, resource_version: str, namespace: str = "", label_selector: str = ""
    ) -> AsyncGenerator[Change]:
        """As the port says."""
        return self._cluster.watch(kind, resource_version, namespace, label_selector)

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        """As the port says, while it leads."""
        self._require_leading()
        return await self._cluster.create(kind, new, is_dry_run=is_dry_run)

    async def replace(self, kind: ResourceType, changed: Object) -> Object:
        """As the port says, while it leads."""
        self._require_leading()
        return await self._cluster.replace(kind, changed)

    async def patch(
        self, kind: ResourceType, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """As the port says, while it leads."""
        self._require_leading()
        return await self._cluster.patch(kind, namespace, name, patch, subresource=subresource)

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
        """As the port says, while it leads."""
        self._require_leading()
        await self._cluster.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds, propagation=propagation)
