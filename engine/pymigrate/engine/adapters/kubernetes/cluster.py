"""The Cluster port on a real API server. Each call asks once: whoever calls decides about trying again."""

import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import orjson

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.access import Load
from pymigrate.engine.adapters.kubernetes.calls import Call, Calls, CallSeen
from pymigrate.engine.adapters.kubernetes.kubeconfig import kubeconfig_access
from pymigrate.engine.adapters.kubernetes.paths import collection_path, object_path
from pymigrate.engine.adapters.kubernetes.service_account import service_account_access
from pymigrate.engine.adapters.kubernetes.watching import Lines, change_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import (
    Change,
    ClusterUnavailable,
    Listing,
    Object,
    ObjectRefused,
    Propagation,
    ResourceType,
    WatchExpired,
)

CALL_SECONDS_MAX = 30.0
PAGE_OBJECTS = 500
PAGES_MAX = 2_000
# The server ends each watch after so long. Bookmarks are promised to nobody (1.20 sends none of a type that nothing happened to since the
# server started), so that a sound watch may be silent for all of this time, but no longer: what is silent for longer is dead.
WATCH_SECONDS = 30
SILENCE_MARGIN_SECONDS = 10.0
MERGE_PATCH = "application/merge-patch+json"


def _unseen(verb: str, resource: str, code: str, seconds: float) -> None:
    """Nobody counts the calls."""


class KubernetesCluster:
    """Opened on an event loop, closed on the same."""

    def __init__(
        self,
        load: Load,
        clock: Clock,
        on_call: CallSeen = _unseen,
        *,
        call_seconds_max: float = CALL_SECONDS_MAX,
        watch_seconds: int = WATCH_SECONDS,
        silence_margin_seconds: float = SILENCE_MARGIN_SECONDS,
        page_objects: int = PAGE_OBJECTS,
    ) -> None:
        silence_seconds_max = watch_seconds + silence_margin_seconds
        self._calls = Calls(
            load, clock, on_call, call_seconds_max=call_seconds_max, silence_seconds_max=silence_seconds_max
        )
        self._page_objects = page_objects
        self._watch_seconds = watch_seconds

    @classmethod
    def open(cls, kubeconfig: Path | None, *, clock: Clock | None = None, on_call: CallSeen = _unseen) -> Self:
        """By a kubeconfig's current context, or as the pod's service account. Nothing is contacted. Raises ClusterMisconfigured."""
        told = clock or SystemClock()
        if kubeconfig is None:
            return cls(lambda: service_account_access(told, os.environ), told, on_call)
        return cls(lambda: kubeconfig_access(kubeconfig, told), told, on_call)

    @property
    def namespace(self) -> str:
        """That of the context or of the service account."""
        return self._calls.access.namespace

    async def close(self) -> None:
        """Ends every connection, watches too."""
        await self._calls.close()

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Object:
        """As the port says."""
        return await self._object(Call("get", kind.plural, "GET", object_path(kind, namespace, name)))

    async def list(self, kind: ResourceType, namespace: str = "", label_selector: str = "") -> Listing:
        """As the port says. Where the pages outlive what the server remembers, all is read again as one page."""
        try:
            return await self._listing(kind, namespace, label_selector, self._page_objects)
        except WatchExpired:
            try:
                return await self._listing(kind, namespace, label_selector, 0)
            except WatchExpired as error:
                raise ClusterUnavailable(error.message) from error

    async def watch(
        self, kind: ResourceType, resource_version: str, namespace: str = "", label_selector: str = ""
    ) -> AsyncGenerator[Change]:
        """As the port says."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        query |= {"timeoutSeconds": str(self._watch_seconds)}
        query |= {"labelSelector": label_selector} if label_selector else {}
        target = f"{collection_path(kind, namespace)}?{urlencode(query)}"
        call = Call("watch", kind.plural, "GET", target, about="watch")
        lines = Lines(call.asked)
        async with self._calls.stream(call) as content:
            while True:
                with self._calls.translated(call):
                    piece = await content.readany()
                if not piece:
                    break
                for line in lines.feed(piece):
                    yield change_of(line, call.asked)
        lines.end()

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        """As the port says."""
        metadata = new.get("metadata") or {}
        namespace = str(metadata.get("namespace") or "")
        if metadata.get("resourceVersion") or (kind.is_namespaced and not namespace):
            # The API answers the one with a fault of its own, and the other with a method that is not allowed.
            raise ObjectRefused(f"{kind.kind}: a new object has no metadata.resourceVersion, and lies in a namespace")
        path = collection_path(kind, namespace)
        target = f"{path}?dryRun=All" if is_dry_run else path
        about = str(metadata.get("name") or metadata.get("generateName") or "")
        return await self._object(Call("create", kind.plural, "POST", target, _encoded(new), about=about))

    async def replace(self, kind: ResourceType, changed: Object) -> Object:
        """As the port says."""
        metadata = changed.get("metadata") or {}
        path = object_path(kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))
        return await self._object(Call("update", kind.plural, "PUT", path, _encoded(changed)))

    async def patch(
        self, kind: ResourceType, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """As the port says."""
        path = object_path(kind, namespace, name, subresource)
        resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
        return await self._object(Call("patch", resource, "PATCH", path, _encoded(patch), MERGE_PATCH))

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
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation.value}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        path = object_path(kind, namespace, name)
        await self._calls.document(Call("delete", kind.plural, "DELETE", path, _encoded(options)))

    async def _object(self, call: Call) -> Object:
        found = await self._calls.document(call)
        if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
            raise ClusterUnavailable(f"{call.asked}: the answer is no object")
        return found

    async def _listing(self, kind: ResourceType, namespace: str, label_selector: str, page_objects: int) -> Listing:
        path = collection_path(kind, namespace)
        query = {"limit": str(page_objects)} if page_objects else {}
        query |= {"labelSelector": label_selector} if label_selector else {}
        items: list[Object] = []
        for _ in range(PAGES_MAX):
            call = Call("list", kind.plural, "GET", f"{path}?{urlencode(query)}" if query else path)
            page = await self._object(call)
            metadata: Mapping[str, Any] = page["metadata"]
            for item in page.get("items") or ():
                # Lists of the API's own types leave out what each item is.
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
                items.append(item)
            if not metadata.get("continue"):
                return Listing(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = str(metadata["continue"])
        raise ClusterUnavailable(f"GET {path}: the listing does not end after {PAGES_MAX} pages")


def _encoded(body: Object) -> bytes:
    return orjson.dumps(body, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")
