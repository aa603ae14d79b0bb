"""What an API in memory holds, every version of it that it still remembers, and who waits for the next."""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import Object, ResourceType, WatchExpired

Key = tuple[str, str]
RECORDS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one object; without `before` it was made, without `after` it is gone."""

    version: int
    key: Key
    before: Object | None
    after: Object | None


@dataclass(eq=False, slots=True)
class Watcher:
    """Somebody who watches a type. `error` ends it, as the server's own end does without one."""

    kind: ResourceType
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_ended: bool = False
    error: PyMigrateError | None = None
    bookmark: int = 0

    def wake(self) -> None:
        """Lets it look."""
        self.woken.set()


class ClusterHistory:
    """Objects by type and key under one count of versions."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[ResourceType, dict[Key, Object]] = defaultdict(dict)
        self._records: dict[ResourceType, list[Record]] = defaultdict(list)
        self._forgotten: dict[ResourceType, int] = defaultdict(int)
        self.watchers: set[Watcher] = set()

    def get(self, kind: ResourceType, key: Key) -> Object | None:
        """As it is now."""
        return self._objects[kind].get(key)

    def objects(self, kind: ResourceType) -> Mapping[Key, Object]:
        """All of a type, as they are now."""
        return self._objects[kind]

    def objects_at(self, kind: ResourceType, version: int) -> Mapping[Key, Object]:
        """All of a type as they were at a version. Raises WatchExpired where that is forgotten."""
        found = dict(self._objects[kind])
        for record in reversed(list(self.after(kind, version))):
            if record.before is None:
                found.pop(record.key, None)
            else:
                found[record.key] = record.before
        return found

    def put(self, kind: ResourceType, key: Key, after: Object) -> Object:
        """The next version of an object, which it says itself."""
        self.version += 1
        told = {**after, "metadata": {**after["metadata"], "resourceVersion": str(self.version)}}
        self._record(kind, Record(self.version, key, self._objects[kind].get(key), told))
        self._objects[kind][key] = told
        return told

    def remove(self, kind: ResourceType, key: Key) -> None:
        """It is gone, which is a version too."""
        before = self._objects[kind].pop(key)
        self.version += 1
        self._record(kind, Record(self.version, key, before, None))

    def after(self, kind: ResourceType, version: int) -> Iterator[Record]:
        """What changed since a version. Raises WatchExpired where not all of that is remembered."""
        if version < self._forgotten[kind]:
            raise WatchExpired(f"{kind.plural}: the API said 410: too old resource version: {version} ({self.version})")
        records = self._records[kind]
        start = bisect_right(records, version, key=lambda record: record.version)
        return iter(records[start:])

    def forget(self, kinds: list[ResourceType]) -> None:
        """Remembers nothing before now, as after a compaction."""
        for kind in kinds:
            self._records[kind].clear()
            self._forgotten[kind] = self.version

    def _record(self, kind: ResourceType, record: Record) -> None:
        records = self._records[kind]
        records.append(record)
        if len(records) > RECORDS_MAX:
            half = RECORDS_MAX // 2
            self._forgotten[kind] = records[half - 1].version
            del records[:half]
        for watcher in self.watchers:
            if watcher.kind == kind:
                watcher.wake()
