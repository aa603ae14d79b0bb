"""What came of tries, on its way to the engine: gathered for a moment, told together, and kept while the engine is away."""

import asyncio
import random
from collections import deque

import structlog

from pymigrate.engine.domain.errors import PermanentError, PyMigrateError
from pymigrate.engine.entrypoints.dispatcher.engine import DispatchEngine
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import notification_pb2

log = structlog.get_logger(__name__)
GATHER_SECONDS = 0.05
GATHERED_MAX = 100
REPORTS_MAX = 500
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0
BACKOFF_DOUBLINGS_MAX = 5


class Reports:
    """Tells one batch after the other. How many may wait is bounded by how many messages a dispatcher holds."""

    def __init__(self, engine: DispatchEngine, clock: Clock, rng: random.Random) -> None:
        self._engine = engine
        self._clock = clock
        self._rng = rng
        self._waiting: deque[notification_pb2.DeliveryReport] = deque()
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        self._untold = 0
        self._told = asyncio.Condition()
        self._is_ending = False

    @property
    def untold(self) -> int:
        """How many the engine does not know of yet."""
        return self._untold

    def add(self, report: notification_pb2.DeliveryReport) -> None:
        """To be told within a moment."""
        self._waiting.append(report)
        self._untold += 1
        self._some.set()
        if len(self._waiting) >= GATHERED_MAX or self._is_ending:
            self._enough.set()

    async def run(self) -> None:
        """Tells until it is cancelled."""
        while True:
            await self._some.wait()
            await self._gather()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), REPORTS_MAX))]
            if not self._waiting:
                self._some.clear()
            await self._tell(batch)
            self._untold -= len(batch)
            async with self._told:
                self._told.notify_all()

    async def wait_all_told(self) -> None:
        """Until the engine knows of everything."""
        async with self._told:
            await self._told.wait_for(lambda: not self._untold)

    async def wait_some_told(self) -> None:
        """Until the engine knows of more than it does now."""
        async with self._told:
            await self._told.wait()

    def hasten(self) -> None:
        """From now on each is told at once: nothing more is to come."""
        self._is_ending = True
        self._enough.set()

    async def _gather(self) -> None:
        if len(self._waiting) >= GATHERED_MAX or self._is_ending:
            return
        self._enough.clear()
        waits = (
            asyncio.ensure_future(self._enough.wait()),
            asyncio.ensure_future(self._clock.sleep(GATHER_SECONDS)),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _tell(self, batch: list[notification_pb2.DeliveryReport]) -> None:
        """Until the engine has noted it: telling it again changes nothing."""
        attempt = 0
        while True:
            try:
                await self._engine.report(batch)
                return
            except PermanentError as error:
                # Nothing that a dispatcher makes is refused; should it be, its leases end and others try again.
                log.error("reports.refused", reports=len(batch), error=error.message)
                return
            except PyMigrateError as error:
                if not attempt:
                    log.info("engine.away", reports=self._untold, error=error.message)
            seconds = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(attempt, BACKOFF_DOUBLINGS_MAX))
            attempt += 1
            await self._clock.sleep(seconds * self._rng.uniform(0.5, 1.0))
