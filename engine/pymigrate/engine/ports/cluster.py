"""A cluster as Kubernetes' API shows it: objects as plain data, read, watched and written under optimistic concurrency.

Objects are what the API's JSON says, with its keys. An object that was read is never written to: what is shared is not changed.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pymigrate.engine.domain.errors import AlreadyExists, NotFound, PermanentError, StaleWrite, TemporaryError

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A type of objects. `group` is empty for the core."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects say it: `batch/v1`, or `v1` of the core."""
        return f"{self.group}/{self.version}" if self.group else self.version


JOBS = ResourceType("batch", "v1", "jobs", "Job")
PODS = ResourceType("", "v1", "pods", "Pod")
EVENTS = ResourceType("", "v1", "events", "Event")
TOKEN_REVIEWS = ResourceType("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", is_namespaced=False)
LEASES = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")


class ChangeKind(StrEnum):
    """What a watch tells."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Change:
    """An object as it became. Of a bookmark only `metadata.resourceVersion` is said."""

    kind: ChangeKind
    object: Object


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects that were asked for, and the version to watch from."""

    items: Sequence[Object]
    resource_version: str


class Propagation(StrEnum):
    """What becomes of what an object owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


class Cluster(Protocol):
    """Calls to the API, each bounded in time. All raise ObjectMissing, ObjectRefused, ClusterForbidden, ClusterBusy and ClusterUnavailable;
    those that write also ObjectConflict. `namespace` is empty for what lies in none, and where all are asked for."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Object:
        """One object."""
        ...

    async def list(self, kind: ResourceType, namespace: str = "", label_selector: str = "") -> Listing:
        """All of a type, read in pages."""
        ...

    def watch(
        self, kind: ResourceType, resource_version: str, namespace: str = "", label_selector: str = ""
    ) -> AsyncGenerator[Change]:
        """What changes after a version, until the server ends it, which it does in its time without an error. Raises WatchExpired where
        the version is too old, and ClusterUnavailable where nothing, not even a bookmark, came for longer than a sound server is silent."""
        ...

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        """Creates it, in the namespace that its metadata names. Raises ObjectExists."""
        ...

    async def replace(self, kind: ResourceType, changed: Object) -> Object:
        """Replaces what has its name; with `metadata.resourceVersion` or `metadata.uid`, only that version or that very object. Raises
        ObjectConflict. The API makes a Lease or an Event that is missing, whatever version is said, unless a uid is."""
        ...

    async def patch(
        self, kind: ResourceType, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """Merges (RFC 7386) into an object or its subresource; with `metadata.resourceVersion` in the patch, only into that version.
        Raises ObjectConflict."""
        ...

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
        """Begins to delete it; with a uid, only that very object. Raises ObjectConflict where it is another one."""
        ...


class ClusterUnavailable(TemporaryError):
    """The API does not answer, answers with a fault of its own, or answered so that it is not known whether a write was done."""

    reason = "CLUSTER_UNAVAILABLE"


class ClusterBusy(ClusterUnavailable):
    """The API asks for patience (429, or 503 with Retry-After)."""

    reason = "CLUSTER_BUSY"


class ClusterUnauthenticated(ClusterUnavailable):
    """The API does not know the credentials (401). They may be in rotation: they are read anew at the next call."""

    reason = "CLUSTER_UNAUTHENTICATED"


class ClusterMisconfigured(PermanentError):
    """What should say how a cluster is reached, a kubeconfig or a service account, does not."""

    reason = "CLUSTER_MISCONFIGURED"


class WatchExpired(TemporaryError):
    """The version to watch from is too old (410): list again."""

    reason = "WATCH_EXPIRED"


class ClusterForbidden(PermanentError):
    """The credentials may not do this (403). A quota that is used up is told so too: `is_quota`."""

    reason = "CLUSTER_FORBIDDEN"

    def __init__(self, message: str, *, is_quota: bool = False) -> None:
        super().__init__(message)
        self.is_quota = is_quota


class ObjectMissing(NotFound):
    """There is no such object (404). Where the type itself is not known, `is_type_missing`."""

    reason = "OBJECT_MISSING"

    def __init__(self, message: str, *, is_type_missing: bool = False) -> None:
        super().__init__(message)
        self.is_type_missing = is_type_missing


class ObjectExists(AlreadyExists):
    """An object of that name is there (409, AlreadyExists)."""

    reason = "OBJECT_EXISTS"


class ObjectConflict(StaleWrite):
    """The object is not as it was when it was read (409, Conflict)."""

    reason = "OBJECT_CONFLICT"


class ObjectRefused(PermanentError):
    """The API does not take the object (400, 413, 422, or an admission said no)."""

    reason = "OBJECT_REFUSED"
