"""Kubernetes Events of custom resources: one object for each resource and reason, with a count, and no more often than is bearable.

They are told beside everything else: what fails or is too much is dropped, and counted.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.token_bucket import TokenBucket
from pymigrate.engine.entrypoints.custom_resources import resource_type
from pymigrate.engine.entrypoints.operator.objects import Key, uid_of
from pymigrate.engine.entrypoints.operator.status_writing import short
from pymigrate.engine.entrypoints.operator.verdicts import Condition, ConditionType
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import EVENTS, Cluster, Object, ObjectExists, ObjectMissing

log = structlog.get_logger(__name__)
WAITING_MAX = 1_000
OBJECTS_MAX = 10_000
BURST = 10.0
REFILL_PER_SECOND = 1 / 30
NAME_CHARACTERS_MAX = 200
MESSAGE_BYTES_MAX = 1_000
COMPONENT = "pymigrate-operator"
_ORDER = (ConditionType.STALLED, ConditionType.RECONCILING, ConditionType.SUSPENDED, ConditionType.READY)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that is worth telling of a resource."""

    key: Key
    uid: str
    reason: str
    message: str
    is_warning: bool

    @property
    def name(self) -> str:
        """That of its Event: the same for each time that it happens."""
        digest = hashlib.sha256(f"{self.uid}/{self.reason}".encode()).hexdigest()[:16]
        return f"{self.key.name[:NAME_CHARACTERS_MAX]}.{digest}"


class Happenings:
    """`tell` never waits and never fails; `run` writes until it is cancelled."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._waiting: asyncio.Queue[Happening] = asyncio.Queue(WAITING_MAX)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self.dropped = 0

    def turned(self, key: Key, found: Object, conditions: Sequence[Condition]) -> None:
        """Conditions that are another than before: the most telling of them."""
        chosen = min((each for each in conditions if each.holds and each.type in _ORDER), key=_rank, default=None)
        if chosen is not None and (chosen.type is not ConditionType.RECONCILING or chosen.reason not in _QUIET):
            is_warning = chosen.type is ConditionType.STALLED
            self.tell(Happening(key, uid_of(found), chosen.reason, chosen.message, is_warning))

    def tell(self, happening: Happening) -> None:
        """To be written, if it is not too much."""
        bucket = self._buckets.pop(happening.uid, None) or TokenBucket(BURST, REFILL_PER_SECOND)
        self._buckets[happening.uid] = bucket
        if len(self._buckets) > OBJECTS_MAX:
            self._buckets.popitem(last=False)
        if not bucket.take(self._clock.monotonic()) or self._waiting.full():
            self.dropped += 1
            return
        self._waiting.put_nowait(happening)

    async def run(self) -> None:
        """Writes one after the other."""
        while True:
            happening = await self._waiting.get()
            try:
                await self._write(happening)
            except PyMigrateError as error:
                self.dropped += 1
                log.info("event.unwritten", key=str(happening.key), reason=happening.reason, error=error.reason)

    async def _write(self, happening: Happening) -> None:
        try:
            await self._cluster.create(EVENTS, self._event(happening))
        except ObjectExists:
            await self._count(happening)

    async def _count(self, happening: Happening) -> None:
        """It happened before: how often, the answer to a write tells."""
        namespace, event = happening.key.namespace, self._event(happening)
        newest = {"lastTimestamp": event["lastTimestamp"], "message": event["message"]}
        try:
            known = await self._cluster.patch(EVENTS, namespace, happening.name, newest)
            count = int(known.get("count") or 1) + 1
            await self._cluster.patch(EVENTS, namespace, happening.name, {"count": count})
        except ObjectMissing:
            return  # it has just expired; the next one is told anew

    def _event(self, happening: Happening) -> dict[str, Any]:
        key, kind = happening.key, resource_type(happening.key.word)
        moment = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": key.namespace, "name": happening.name},
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "namespace": key.namespace,
                "name": key.name,
                "uid": happening.uid,
            },
            "reason": happening.reason,
            "message": short(happening.message, MESSAGE_BYTES_MAX),
            "type": "Warning" if happening.is_warning else "Normal",
            "count": 1,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "source": {"component": COMPONENT},
        }


_QUIET = frozenset({"Accepted", "Progressing"})


def _rank(condition: Condition) -> int:
    return _ORDER.index(condition.type)
