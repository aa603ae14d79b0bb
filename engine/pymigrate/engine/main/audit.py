"""The audit trail of one engine: who signs its seals, what is sealed and taken away by whom, and the service that
tells and proves it."""

from collections.abc import Coroutine, Iterator
from typing import Any

from pymigrate.engine.application.audit.exporting import AuditExport
from pymigrate.engine.application.audit.listing import AuditListing
from pymigrate.engine.application.audit.proving import ProvedTrail
from pymigrate.engine.application.audit.retention import AuditRetention
from pymigrate.engine.application.audit.sealing import Sealing, SealMaking
from pymigrate.engine.application.audit.verifying import Verifying
from pymigrate.engine.entrypoints.grpc.audit import AuditCalls, AuditUses
from pymigrate.engine.main.keys import sealing_key
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.sealing import SealingKey
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings


class AuditTrail:
    """Built once for each engine. Raises PermanentError for a key that can't be read."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self.key: SealingKey = sealing_key(settings.audit_key_path, is_given=settings.audit_key_file is not None)
        making = SealMaking(self.key, clock)
        self._sealing = Sealing(store, clock, making)
        self.retention = AuditRetention(store, clock, making, settings.audit_kept_days)
        self._uses = AuditUses(
            AuditListing(store, self.key.public_keys),
            AuditExport(store, clock, self.key.public_keys, settings.instance),
            ProvedTrail(Verifying(store, self.key.is_signed)),
        )

    def calls(self) -> AuditCalls:
        """AuditService."""
        return AuditCalls(self._uses)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Seals while the engine serves."""
        yield self._sealing.run_loop()

    async def close(self) -> None:
        """Seals what was written up to a clean stop."""
        await self._sealing.close()
