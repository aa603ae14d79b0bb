"""Housekeeping: what is kept for a time only is forgotten when that is over, a little in each unit of work, so that nobody waits long."""

from datetime import timedelta

from pymigrate.engine.application.audit.retention import AuditRetention
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit

FORGOTTEN_MAX = 500
UNITS_MAX = 40


class Housekeeping:
    """Forgets answers to calls, of the ledger of notifications what has ended and was made `deliveries_kept_days` ago, and of the audit
    trail what `audit` lets go."""

    def __init__(
        self,
        store: Store,
        requests: Requests,
        clock: Clock,
        deliveries_kept_days: float,
        audit: AuditRetention | None = None,
    ) -> None:
        self._audit = audit
        self._store = store
        self._requests = requests
        self._clock = clock
        self._deliveries_kept = timedelta(days=deliveries_kept_days)

    async def step(self) -> None:
        """One sweep; what it leaves the next one takes."""
        await self._store.transact(self._requests.forget_old)
        for _ in range(UNITS_MAX):
            if await self._store.transact(self._forget_deliveries) < FORGOTTEN_MAX:
                break
        if self._audit is not None:
            await self._audit.step()

    def _forget_deliveries(self, unit: Unit) -> int:
        before = self._clock.now() - self._deliveries_kept
        return max(unit.deliveries.purge(before, FORGOTTEN_MAX), unit.incidents.purge(before, FORGOTTEN_MAX))
