"""A mirror of a cluster's objects of one type: listed once, then kept by a watch, so that reading costs no call.

Whatever becomes of the watch (ended, cut, silent, too old), the mirror is right again soon: what was missed while away is told when the
objects are listed again. Versions are compared, so that what comes late or twice never hides what is known already.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import aclosing

import structlog

from pymigrate.engine.domain.errors import PyMigrateError, TemporaryError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import ChangeKind, Cluster, ClusterBusy, Listing, Object, ResourceType, WatchExpired

log = structlog.get_logger(__name__)
OnChange = Callable[[str, str, Object | None], None]
Key = tuple[str, str]
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 1.0
REFUSED_MAX_SECONDS = 2.0
PATIENCE_MAX_SECONDS = 30.0
DOUBLINGS_MAX = 8
WATCH_MIN_SECONDS = 1.0
STALE_LISTINGS_MAX = 5


class StaleListing(TemporaryError):
    """The API listed objects as they were before what was seen already: one of its servers lags behind."""

    reason = "STALE_LISTING"


class Mirror:
    """`on_change` is told of each object that is new, changed or gone (None): namespace, name, object; `on_back` when a trouble is over.
    Neither may wait.

    `trouble` is why nothing is heard just now; what was heard before is kept meanwhile, also where the type itself is missing: a server
    that has just begun does not know its types yet."""

    def __init__(
        self,
        cluster: Cluster,
        kind: ResourceType,
        clock: Clock,
        rng: random.Random,
        *,
        namespace: str = "",
        label_selector: str = "",
        on_change: OnChange,
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.kind = kind
        self.trouble: PyMigrateError | None = None
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._namespace = namespace
        self._label_selector = label_selector
        self._on_change = on_change
        self._on_back = on_back
        self._objects: dict[Key, Object] = {}
        self._version = ""
        self._stale_listings = 0
        self._failures = 0
        self._synced = asyncio.Event()

    @property
    def is_synced(self) -> bool:
        """Whether everything was listed once."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Until everything was listed once."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as it was last heard of."""
        return self._objects.get((namespace, name))

    def objects(self) -> Collection[Object]:
        """All of them. Not to be held across a wait: it changes."""
        return self._objects.values()

    def note(self, written: Object) -> None:
        """The answer to a write: taken if it is newer than what is known. What the watch has passed already, and the mirror does not have,
        is gone."""
        key = _key(written)
        if key not in self._objects and self._version and not _is_newer(_version(written), self._version):
            return
        self._take(key, written)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                self._take_all(await self._cluster.list(self.kind, self._namespace, self._label_selector))
                await self._follow()
            except WatchExpired as error:
                log.info("mirror.expired", kind=self.kind.kind, error=error.message)
                await self._pause(error)
            except PyMigrateError as error:
                if self.trouble is None or self.trouble.reason != error.reason:
                    log.warning("mirror.away", kind=self.kind.kind, reason=error.reason, error=error.message)
                self.trouble = error
                await self._pause(error)

    async def _follow(self) -> None:
        """Watches, again and again, for as long as the server ends each watch by itself."""
        while True:
            began = self._clock.monotonic()
            changes = self._cluster.watch(self.kind, self._version, self._namespace, self._label_selector)
            async with aclosing(changes):
                async for change in changes:
                    self._failures = 0
                    self._hear(change.kind, change.object)
            if self._clock.monotonic() - began >= WATCH_MIN_SECONDS:
                self._failures = 0
            else:
                await self._pause(None)

    def _hear(self, kind: ChangeKind, found: Object) -> None:
        version = _version(found)
        if self._version and not _is_newer(version, self._version):
            return
        self._version = version
        if kind is ChangeKind.BOOKMARK:
            return
        if kind is ChangeKind.DELETED:
            key = _key(found)
            if self._objects.pop(key, None) is not None:
                self._on_change(*key, None)
        else:
            self._take(_key(found), found)

    def _take_all(self, listing: Listing) -> None:
        is_set_back = self._is_set_back(listing)
        gone, listed = dict(self._objects), listing.resource_version
        if is_set_back:
            self._objects = {}
        for found in listing.items:
            gone.pop(_key(found), None)
            self._take(_key(found), found)
        for key, known in gone.items():
            # What is newer than the listing was written by ourselves after it.
            if is_set_back or not _is_newer(_version(known), listed):
                self._objects.pop(key, None)
                self._on_change(*key, None)
        self._version = listed
        is_back, self.trouble = self.trouble is not None, None
        self._synced.set()
        if is_back:
            log.info("mirror.back", kind=self.kind.kind, objects=len(self._objects))
            self._on_back()

    def _is_set_back(self, listing: Listing) -> bool:
        """Whether the cluster is at an earlier state than was seen, for good. Raises StaleListing while that may be a server that lags."""
        listed, seen = listing.resource_version, self._version
        if not seen or not _is_newer(seen, listed):
            self._stale_listings = 0
            return False
        if self._stale_listings < STALE_LISTINGS_MAX:
            self._stale_listings += 1
            raise StaleListing(
                f"{self.kind.plural} were listed as of version {listed}, and {seen} was seen: they are listed again"
            )
        self._stale_listings = 0
        log.warning("mirror.set_back", kind=self.kind.kind, version=listed, seen=seen)
        return True

    def _take(self, key: Key, found: Object) -> None:
        known = self._objects.get(key)
        if known is not None and not _is_newer(_version(found), _version(known)):
            return
        self._objects[key] = found
        self._on_change(*key, found)

    async def _pause(self, error: PyMigrateError | None) -> None:
        """Doubles from failure to failure; what the API asks for is the least."""
        most = BACKOFF_MAX_SECONDS if error is None or error.is_temporary else REFUSED_MAX_SECONDS
        seconds = min(most, BACKOFF_FIRST_SECONDS * 2 ** min(self._failures, DOUBLINGS_MAX)) * self._rng.uniform(
            0.5, 1.0
        )
        self._failures += 1
        await self._clock.sleep(max(seconds, _asked_seconds(error)))


def _asked_seconds(error: PyMigrateError | None) -> float:
    """Of an API that is busy. What is merely away is asked again sooner than a TemporaryError says by default."""
    return min(error.retry_after_seconds, PATIENCE_MAX_SECONDS) if isinstance(error, ClusterBusy) else 0.0


def _key(found: Object) -> Key:
    metadata = found["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _version(found: Object) -> str:
    version: str = found["metadata"].get("resourceVersion", "")
    return version


def _is_newer(version: str, known: str) -> bool:
    """Versions are numbers that grow with each write in the cluster (KEP 5504). Of others it is known only whether they are equal."""
    if version.isdecimal() and known.isdecimal():
        return int(version) > int(known)
    return version != known
