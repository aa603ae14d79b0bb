"""A store whose units of work are timed, and whose failures are counted: the store's own, not what the work itself refuses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pymigrate.engine.domain.errors import PyMigrateError, StoreUnavailable
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import STORE_DURATION, STORE_FAILURES
from pymigrate.engine.ports.metrics import Labels, Metrics
from pymigrate.engine.ports.store import Store, Unit

Result = TypeVar("Result")
READ: Labels = ("read",)
WRITE: Labels = ("write",)


class MeasuredStore:
    """Does everything by the store that it is given."""

    def __init__(self, store: Store, metrics: Metrics, clock: Clock) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        for kind in (READ, WRITE):
            metrics.add(STORE_FAILURES, kind, 0)

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """As the store does."""
        return await self._timed(self._store.transact, work, WRITE)

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """As the store does."""
        return await self._timed(self._store.read, work, READ)

    async def close(self) -> None:
        """As the store does."""
        await self._store.close()

    async def _timed(
        self, do: Callable[[Callable[[Unit], Result]], Awaitable[Result]], work: Callable[[Unit], Result], kind: Labels
    ) -> Result:
        began = self._clock.monotonic()
        try:
            return await do(work)
        except Exception as error:
            if isinstance(error, StoreUnavailable) or not isinstance(error, PyMigrateError):
                self._metrics.add(STORE_FAILURES, kind)
            raise
        finally:
            self._metrics.observe(STORE_DURATION, kind, self._clock.monotonic() - began)
