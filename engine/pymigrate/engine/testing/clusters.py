"""Kubernetes' API in memory: the public fake of the Cluster port, held to a real API server by a suite that runs on both.

Every controller but the garbage collector is missing, as are defaults, schemas and admission: what is written is what is read.
"""

import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import (
    TOKEN_REVIEWS,
    Change,
    ChangeKind,
    ClusterForbidden,
    ClusterUnavailable,
    Listing,
    Object,
    ObjectConflict,
    ObjectExists,
    ObjectMissing,
    ObjectRefused,
    Propagation,
    ResourceType,
)
from pymigrate.engine.testing.cluster_deleting import ClusterDeletion
from pymigrate.engine.testing.cluster_faults import ClusterCall, ClusterFaults
from pymigrate.engine.testing.cluster_history import ClusterHistory, Key, Watcher
from pymigrate.engine.testing.cluster_selectors import selector_of
from pymigrate.engine.testing.cluster_tokens import KnownTokens
from pymigrate.engine.testing.cluster_types import NAMESPACES, STATUS, ServedType, ServedTypes
from pymigrate.engine.testing.cluster_watching import bookmark_of, change_of, passing
from pymigrate.engine.testing.cluster_writing import changed_object, merged, new_object, plain

CALLS_KEPT_MAX = 100_000


class MemoryCluster:
    """`faults` makes calls fail; `calls` are those that were made, in order; `tokens` are those that it knows when one is reviewed. With
    `has_namespaces` objects are made in namespaces that are there only, as objects of their own."""

    def __init__(self, clock: Clock, *, has_namespaces: bool = False, collects_garbage: bool = True) -> None:
        self._clock = clock
        self._has_namespaces = has_namespaces
        self._collects_garbage = collects_garbage
        self._types = ServedTypes()
        self._history = ClusterHistory()
        self._deletion = ClusterDeletion(self._history, self._types)
        self._numbers = itertools.count(1)
        self._stale: dict[ResourceType, int] = {}
        self._is_silent = False
        self.faults = ClusterFaults(clock)
        self.tokens = KnownTokens()
        self.calls: deque[ClusterCall] = deque(maxlen=CALLS_KEPT_MAX)

    def register(self, kind: ResourceType, *, has_status: bool = True) -> None:
        """Serves a custom resource, as once its definition was made."""
        self._types.add(ServedType(kind, has_status=has_status, has_generation=True, is_versioned=True))

    def unregister(self, kind: ResourceType) -> None:
        """Its definition is gone, all objects with it; watches end."""
        for key in list(self._history.objects(kind)):
            self._history.remove(kind, key)
        self._types.remove(kind)
        self.end_watches(kind)

    @property
    def writes(self) -> Sequence[ClusterCall]:
        """The calls that changed something, or would have."""
        return [call for call in self.calls if call.is_write]

    @property
    def resource_version(self) -> str:
        """Of what happened last."""
        return str(self._history.version)

    def objects(self, kind: ResourceType) -> Sequence[Object]:
        """All of a type, without a call."""
        return list(self._history.objects(kind).values())

    def end_watches(self, kind: ResourceType | None = None, error: Callable[[], PyMigrateError] | None = None) -> None:
        """Ends those who watch a type, or all; with an error as a connection that breaks does."""
        for watcher in self._watchers(kind):
            watcher.error = error() if error else None
            watcher.is_ended = True
            watcher.wake()

    def cut_watches(self, kind: ResourceType | None = None) -> None:
        """Breaks their connections."""
        self.end_watches(kind, lambda: ClusterUnavailable("the connection was cut"))

    def bookmark(self, kind: ResourceType | None = None) -> None:
        """Tells those who watch the version that they know all of."""
        for watcher in self._watchers(kind):
            watcher.bookmark = self._history.version
            watcher.wake()

    def silence_watches(self) -> None:
        """Tells nothing more until `speak`."""
        self._is_silent = True

    def speak(self) -> None:
        """Tells what was held back."""
        self._is_silent = False
        for watcher in self._watchers(None):
            watcher.wake()

    def forget_history(self, kind: ResourceType | None = None) -> None:
        """What was before is not remembered, as after a compaction: who watches from there is told that it has expired."""
        self._history.forget([kind] if kind else self._types.kinds())

    def read_stale(self, kind: ResourceType, resource_version: str | None) -> None:
        """Lets `get` and `list` answer as of a version, as a replica that lags does; None ends it."""
        if resource_version is None:
            self._stale.pop(kind, None)
        else:
            self._stale[kind] = int(resource_version)

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Object:
        """As the port says."""
        call = ClusterCall("get", kind, namespace, name)
        served = await self._begin(call)
        if (found := self._seen(kind).get(_key(served, namespace, name))) is None:
            raise _missing(kind, namespace, name)
        await self.faults.happen(call, is_after=True)
        return found

    async def list(self, kind: ResourceType, namespace: str = "", label_selector: str = "") -> Listing:
        """As the port says."""
        call = ClusterCall("list", kind, namespace)
        await self._begin(call)
        passes = passing(namespace, selector_of(label_selector))
        items = [item for key, item in sorted(self._seen(kind).items()) if passes(key, item)]
        version = str(self._stale.get(kind, self._history.version))
        await self.faults.happen(call, is_after=True)
        return Listing(items, version)

    async def watch(
        self, kind: ResourceType, resource_version: str, namespace: str = "", label_selector: str = ""
    ) -> AsyncGenerator[Change]:
        """As the port says; it ends when a test ends it."""
        call = ClusterCall("watch", kind, namespace)
        await self._begin(call)
        passes = passing(namespace, selector_of(label_selector))
        position = int(resource_version or 0)
        # Who names no version is told of what there is first.
        present = [] if position else [item for key, item in self._history.objects(kind).items() if passes(key, item)]
        position = position or self._history.version
        self._history.after(kind, position)
        watcher = Watcher(kind)
        self._history.watchers.add(watcher)
        try:
            await self.faults.happen(call, is_after=True)
            for item in present:
                yield Change(ChangeKind.ADDED, item)
            while True:
                watcher.woken.clear()
                for record in () if self._is_silent else self._history.after(kind, position):
                    position = record.version
                    if (change := change_of(record, passes)) is not None:
                        yield change
                if watcher.error is not None:
                    raise watcher.error
                if watcher.is_ended:
                    return
                if watcher.bookmark and not self._is_silent:
                    yield Change(ChangeKind.BOOKMARK, bookmark_of(kind, watcher.bookmark))
                    watcher.bookmark = 0
                await watcher.woken.wait()
        finally:
            self._history.watchers.discard(watcher)

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        """As the port says."""
        metadata = new.get("metadata") or {}
        namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        call = ClusterCall("create", kind, namespace, name, body=plain(new), is_dry_run=is_dry_run)
        if kind == TOKEN_REVIEWS:  # which is an answer, and no object
            return await self._reviewed(call, new)
        served = await self._begin(call)
        made = new_object(served, new, next(self._numbers), self._moment())
        key = _key(served, namespace, made["metadata"]["name"])
        self._check_namespace(served, namespace)
        if self._history.get(kind, key) is not None:
            raise ObjectExists(f'{kind.plural} "{key[1]}" already exists: the API said 409')
        if not is_dry_run:
            made = dict(self._history.put(kind, key, made))
            self._collect()
        await self.faults.happen(call, is_after=True)
        return made

    async def replace(self, kind: ResourceType, changed: Object) -> Object:
        """As the port says."""
        metadata = changed.get("metadata") or {}
        namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        call = ClusterCall("replace", kind, namespace, name, body=plain(changed))
        served = await self._begin(call)
        if self._history.get(kind, _key(served, namespace, name)) is None:
            if metadata.get("uid"):  # which is looked at first
                raise ObjectConflict(f"{kind.plural} {name}: the API said 409: it is another object, by its uid")
            if served.is_made_by_replacing:
                return await self._make_by_replacing(call, served, changed)
        former = self._former(served, namespace, name)
        if served.is_versioned and not metadata.get("resourceVersion"):
            raise ObjectRefused(f"{kind.plural} {name}: the API said 422: metadata.resourceVersion: must be specified")
        if metadata.get("uid") not in {None, "", former["metadata"]["uid"]}:
            raise ObjectConflict(f"{kind.plural} {name}: the API said 409: it is another object, by its uid")
        return await self._write(call, served, former, changed)

    async def patch(
        self, kind: ResourceType, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """As the port says."""
        call = ClusterCall("patch", kind, namespace, name, subresource, plain(patch))
        served = await self._begin(call)
        former = self._former(served, namespace, name)
        if subresource and not (subresource == STATUS and served.has_status):
            raise ObjectMissing(f"{kind.plural} {name}/{subresource}: the API said 404")
        return await self._write(call, served, former, merged(former, patch))

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
        """As the port says."""
        call = ClusterCall("delete", kind, namespace, name)
        served = await self._begin(call)
        former = self._former(served, namespace, name)
        if uid and uid != former["metadata"]["uid"]:
            raise ObjectConflict(f"{kind.plural} {name}: the API said 409: it is another object, by its uid")
        key = _key(served, namespace, name)
        self._deletion.begin(served, key, propagation, grace_seconds, self._moment())
        self._collect()
        await self.faults.happen(call, is_after=True)

    async def _reviewed(self, call: ClusterCall, asked: Object) -> Object:
        self.calls.append(call)
        await self.faults.happen(call, is_after=False)
        found = self.tokens.reviewed(asked)
        await self.faults.happen(call, is_after=True)
        return found

    async def _begin(self, call: ClusterCall) -> ServedType:
        self.calls.append(call)
        await self.faults.happen(call, is_after=False)
        return self._types.find(call.kind)

    async def _write(self, call: ClusterCall, served: ServedType, former: Object, wanted: Object) -> Object:
        changed = changed_object(served, former, wanted, call.subresource)
        told = former
        if changed != former:
            told = self._deletion.keep(served, _key(served, call.namespace, call.name), changed)
            self._collect()
        await self.faults.happen(call, is_after=True)
        return told

    async def _make_by_replacing(self, call: ClusterCall, served: ServedType, changed: Object) -> Object:
        self._check_namespace(served, call.namespace)
        new = {**changed, "metadata": {**changed["metadata"], "resourceVersion": None}}
        key = _key(served, call.namespace, call.name)
        made = self._history.put(call.kind, key, new_object(served, new, next(self._numbers), self._moment()))
        self._collect()
        await self.faults.happen(call, is_after=True)
        return made

    def _former(self, served: ServedType, namespace: str, name: str) -> Object:
        if (found := self._history.get(served.kind, _key(served, namespace, name))) is None:
            raise _missing(served.kind, namespace, name)
        return found

    def _seen(self, kind: ResourceType) -> Mapping[Key, Object]:
        version = self._stale.get(kind)
        return self._history.objects(kind) if version is None else self._history.objects_at(kind, version)

    def _check_namespace(self, served: ServedType, namespace: str) -> None:
        if not self._has_namespaces or not served.kind.is_namespaced:
            return
        if (found := self._history.get(NAMESPACES, ("", namespace))) is None:
            raise _missing(NAMESPACES, "", namespace)
        if "deletionTimestamp" in found["metadata"]:
            raise ClusterForbidden(f"the API said 403: namespace {namespace} is being terminated")

    def _collect(self) -> None:
        if self._collects_garbage:
            self._deletion.collect(self._moment())

    def _moment(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _watchers(self, kind: ResourceType | None) -> Sequence[Watcher]:
        return [watcher for watcher in self._history.watchers if kind in {None, watcher.kind}]


def _key(served: ServedType, namespace: str, name: str) -> Key:
    if name in {"", ".", ".."} or (served.kind.is_namespaced and not namespace):
        raise ObjectRefused(f"{served.kind.kind} {namespace}/{name}: one object is named by namespace and name")
    return (namespace if served.kind.is_namespaced else "", name)


def _missing(kind: ResourceType, namespace: str, name: str) -> ObjectMissing:
    return ObjectMissing(f'{kind.plural} {namespace}/{name}: the API said 404: {kind.plural} "{name}" not found')
