"""The source that a post is to, and whether the post came before: as the store says, or as it said last where it is slow to answer."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pymigrate.engine.application.gitops.git_source_kinds import COLLECTION, GIT_SOURCES, sources_in
from pymigrate.engine.application.gitops.webhook_deliveries import delivery_name, is_kept
from pymigrate.engine.application.gitops.webhook_posts import Post
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import git_source_pb2 as pb

LOOK_SECONDS_MAX = 0.01  # as long the store is waited for where it is known what it will say
SOURCES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Looked:
    """What the store holds of a source and of a delivery to it."""

    source: pb.GitSource | None = None
    delivery: str = ""
    is_known: bool = False


class PostedSources:
    """Remembers the sources that are posted to. `is_busy` says whether a pass of a source is under way: the store is not asked then."""

    def __init__(self, store: Store, is_busy: Callable[[str], bool]) -> None:
        self._store = store
        self._is_busy = is_busy
        self._sources: OrderedDict[str, pb.GitSource] = OrderedDict()
        self._late: dict[str, asyncio.Future[Looked]] = {}

    async def restore(self) -> None:
        """Remembers which sources are posted to."""
        for source in await self._store.read(lambda unit: list(sources_in(unit))):
            if source.webhook.secrets:
                self._remember(last_segment(source.name), source)

    def remember_new(self, source: pb.GitSource) -> bool:
        """Remembers a source as a pass knows it, unless it is remembered already: that may be newer. Whether it was new."""
        source_id = last_segment(source.name)
        if not source.webhook.secrets or source_id in self._sources:
            return False
        self._remember(source_id, source)
        return True

    async def look(self, source_id: str, post: Post) -> Looked:
        """What the store says, or where it does not answer at once what it said last; it is not known then whether the delivery came
        before to an earlier engine."""
        digest = hashlib.sha256(post.body).digest()
        remembered = self._sources.get(source_id)
        if remembered is not None and (source_id in self._late or self._is_busy(remembered.name)):
            return Looked(remembered, delivery_name(remembered, post.headers, digest))
        work = partial(_looked, source_id=source_id, headers=post.headers, digest=digest)
        reading = asyncio.ensure_future(self._store.read(work))
        if remembered is None:
            return self._noted(source_id, await reading)
        await asyncio.wait({reading}, timeout=LOOK_SECONDS_MAX)
        if reading.done():
            return self._noted(source_id, reading.result())
        self._late[source_id] = reading
        reading.add_done_callback(partial(self._come_late, source_id))
        return Looked(remembered, delivery_name(remembered, post.headers, digest))

    def _come_late(self, source_id: str, reading: "asyncio.Future[Looked]") -> None:
        if self._late.get(source_id) is reading:
            del self._late[source_id]
        if not reading.cancelled() and reading.exception() is None:
            self._noted(source_id, reading.result())

    def _noted(self, source_id: str, looked: Looked) -> Looked:
        if looked.source is None:
            self._sources.pop(source_id, None)
        else:
            self._remember(source_id, looked.source)
        return looked

    def _remember(self, source_id: str, source: pb.GitSource) -> None:
        self._sources[source_id] = source
        self._sources.move_to_end(source_id)
        while len(self._sources) > SOURCES_MAX:
            self._sources.popitem(last=False)


def _looked(unit: Unit, source_id: str, headers: Mapping[str, str], digest: bytes) -> Looked:
    resource = unit.resources.get(f"{COLLECTION}/{source_id}")
    if resource is None:
        return Looked()
    source = GIT_SOURCES.read(resource)
    delivery = delivery_name(source, headers, digest)
    return Looked(source, delivery, is_kept(unit, delivery))
