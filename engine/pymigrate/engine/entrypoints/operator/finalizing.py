"""The operator's finalizer: taken before anything is in the engine, dropped when nothing of it is there any more."""

from collections.abc import Callable, Sequence

from pymigrate.engine.entrypoints.custom_resources import resource_type
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, Key, finalizers_of, has_finalizer
from pymigrate.engine.ports.cluster import Cluster, Object


class Finalizing:
    """Writes under the version that was looked at, so that finalizers of others are never lost. `note` is told of what was written."""

    def __init__(self, cluster: Cluster, note: Callable[[Key, Object], None]) -> None:
        self._cluster = cluster
        self._note = note

    async def hold(self, key: Key, found: Object) -> Object:
        """With the finalizer. Raises ObjectConflict."""
        if has_finalizer(found):
            return found
        return await self._write(key, found, [*finalizers_of(found), FINALIZER])

    async def release(self, key: Key, found: Object) -> Object:
        """Without it: what is deleted is gone then. Raises ObjectConflict."""
        if not has_finalizer(found):
            return found
        return await self._write(key, found, [each for each in finalizers_of(found) if each != FINALIZER])

    async def _write(self, key: Key, found: Object, finalizers: Sequence[str]) -> Object:
        metadata = {"resourceVersion": found["metadata"]["resourceVersion"], "finalizers": list(finalizers)}
        written = await self._cluster.patch(resource_type(key.word), key.namespace, key.name, {"metadata": metadata})
        if finalizers or not written["metadata"].get("deletionTimestamp"):
            self._note(key, written)
        return written
