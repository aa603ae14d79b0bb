"""Where the suite runs: the fake, and a real API server spoken to through the adapter."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.ports.cluster import ChangeKind, Cluster, Object, ObjectMissing, ResourceType
from tests.clusters import Cluster as ApiServer

WIDGETS = ResourceType("conformance.example", "v1", "widgets", "Widget")
GADGETS = ResourceType("conformance.example", "v1", "gadgets", "Gadget")
PASSING = ResourceType("conformance.example", "v1", "passings", "Passing")
UNKNOWN = ResourceType("conformance.example", "v1", "unheard", "Unheard")
NAMESPACES = ResourceType("", "v1", "namespaces", "Namespace", is_namespaced=False)
SECONDS_MAX = 30.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """One of both, with a namespace of a test's own. `forgotten` is a version of a type that nobody remembers; `serve` and `withdraw` make
    a type known and unknown."""

    cluster: Cluster
    namespace: str
    forgotten: Callable[[ResourceType], str]
    serve: Callable[[ResourceType], None]
    withdraw: Callable[[ResourceType], None]


class Placed(Protocol):
    """Where objects are made."""

    @property
    def namespace(self) -> str: ...


def body(kind: ResourceType, place: Placed, name: str = "one", **fields: Any) -> dict[str, Any]:
    """An object to make. `labels`, `finalizers` and the like go into its metadata."""
    metadata = {key: fields.pop(key) for key in ("labels", "finalizers", "ownerReferences") if key in fields}
    placed = {"namespace": place.namespace} if kind.is_namespaced else {}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **placed, **metadata},
        **fields,
    }


def version_of(item: Object) -> str:
    return str(item["metadata"]["resourceVersion"])


def name_of(item: Object) -> str:
    return str(item["metadata"]["name"])


def fresh_namespace() -> str:
    return f"conformance-{next(_numbers)}"


async def changes(
    place: Place, kind: ResourceType, version: str, count: int, label_selector: str = ""
) -> list[tuple[ChangeKind, Object]]:
    """So many changes after a version, without bookmarks."""
    found: list[tuple[ChangeKind, Object]] = []
    async with asyncio.timeout(SECONDS_MAX):
        while len(found) < count:
            watch = place.cluster.watch(kind, version, place.namespace, label_selector)
            try:
                async for change in watch:
                    version = version_of(change.object)
                    if change.kind is not ChangeKind.BOOKMARK:
                        found.append((change.kind, change.object))
                    if len(found) == count:
                        break
            finally:
                await watch.aclose()
    return found


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what controllers do in their own time."""
    async with asyncio.timeout(SECONDS_MAX):
        while not await holds():
            await SystemClock().sleep(0.05)


async def is_gone(place: Place, kind: ResourceType, name: str) -> bool:
    try:
        await place.cluster.get(kind, place.namespace if kind.is_namespaced else "", name)
    except ObjectMissing:
        return True
    return False


def define(server: ApiServer) -> None:
    """Defines the types of the suite, once for all who run it on one server."""
    serve(server, WIDGETS, {"status": {}})
    serve(server, GADGETS, {})


def serve(server: ApiServer, kind: ResourceType, subresources: Mapping[str, Any]) -> None:
    """Defines a type, and waits until it is served."""
    server.kubectl.apply(_definition(kind, subresources))
    server.kubectl("wait", "--for=condition=Established", f"customresourcedefinition/{kind.plural}.{kind.group}")


def withdraw(server: ApiServer, kind: ResourceType) -> None:
    """Deletes its definition, and all its objects."""
    server.kubectl("delete", "customresourcedefinition", f"{kind.plural}.{kind.group}")


def _definition(kind: ResourceType, subresources: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": kind.plural, "singular": kind.kind.lower(), "kind": kind.kind, "listKind": f"{kind.kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": names,
            "versions": [{**version, "subresources": dict(subresources)}],
        },
    }
