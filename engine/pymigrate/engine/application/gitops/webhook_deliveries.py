"""Deliveries that came already: known in memory at once, and kept in the store as soon as it can, for the engine that comes after."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import structlog

from pymigrate.engine.application.gitops.webhook_events import delivery_of
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import git_source_pb2 as pb

log = structlog.get_logger(__name__)
METHOD = "webhooks"
DELIVERIES_MAX = 10_000


class Deliveries:
    """Those to all sources. A pass that writes keeps nobody waiting who remembers one."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, None] = OrderedDict()
        self._unkept: list[str] = []
        self._keeping: asyncio.Task[None] | None = None

    def is_known(self, delivery: str) -> bool:
        """Whether it came to this engine."""
        return delivery in self._known

    def remember(self, delivery: str) -> None:
        """It came."""
        self._known[delivery] = None
        while len(self._known) > DELIVERIES_MAX:
            self._known.popitem(last=False)
        self._unkept.append(delivery)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep(), name="deliveries of webhooks")

    async def close(self) -> None:
        """Keeps what is not kept yet."""
        if self._keeping is not None:
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        while self._unkept:
            keeping, self._unkept = self._unkept, []

            def work(unit: Unit, keeping: Sequence[str] = tuple(keeping)) -> None:
                for each in keeping:
                    if unit.requests.get(METHOD, each) is None:
                        unit.requests.put(METHOD, each, b"", b"", self._clock.now())

            try:
                await self._store.transact(work)
            except StoreUnavailable as error:  # they are known as long as this engine lives
                log.warning("webhook.deliveries_unkept", count=len(keeping), error=error.message)


def delivery_name(source: pb.GitSource, headers: Mapping[str, str], digest: bytes) -> str:
    """What a delivery to a source is kept under; empty for one that is posted nothing."""
    provider = source.webhook.provider
    return f"{source.uid} {delivery_of(provider, headers, digest)}" if provider else ""


def is_kept(unit: Unit, delivery: str) -> bool:
    """Whether it came to this engine or an earlier one, as far as that was kept."""
    return unit.requests.get(METHOD, delivery) is not None
