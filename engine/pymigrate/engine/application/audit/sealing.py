"""Seals the audit trail every few seconds in which something was written, and at a clean stop: a signed root over the heads that have
moved."""

import structlog

from pymigrate.engine.domain.audit_chain import Head, Seal, heads_in_order, merkle_root, seal_hash, seal_message
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.sealing import SealingKey
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
INTERVAL_SECONDS = 10.0
# Entries below one seal, and seals in one step: the first ones of a store that was written to for long take several.
ENTRIES_MAX = 10_000
SEALS_MAX = 100


class SealMaking:
    """Makes the next seal within a unit of work; of several engines that do so at once the store lets one through."""

    def __init__(self, key: SealingKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def add(self, unit: Unit, last: Seal | None, heads: list[Head], position: str) -> Seal:
        """Adds a seal over heads and bases. Raises FailedPrecondition where the last one is signed by a key that this engine does not know:
        two engines must not seal one trail with keys of their own."""
        if last is not None and not self._is_known(last):
            raise FailedPrecondition(
                f"seal {last.number} of the audit trail is signed by another key than this engine's: give all engines of a store the same"
                " PYMIGRATE_AUDIT_KEY_FILE, and put the public keys of before behind the private one"
            )
        number, now, root = (last.number if last else 0) + 1, self._clock.now(), merkle_root(heads)
        previous = seal_hash(last) if last else b""
        signature = self._key.sign(seal_message(number, now, len(heads), root, previous))
        seal = Seal(number, now, len(heads), root, previous, signature, self._key.key_id, position)
        unit.seals.add(seal, heads_in_order(heads))
        return seal

    def _is_known(self, last: Seal) -> bool:
        message = seal_message(last.number, last.time, last.head_count, last.root, last.previous)
        return self._key.is_signed(last.key_id, message, last.signature)


class Sealing:
    """The loop."""

    def __init__(self, store: Store, clock: Clock, making: SealMaking) -> None:
        self._store = store
        self._clock = clock
        self._making = making

    async def run_loop(self) -> None:
        """Seals until it is cancelled. What fails is logged, and done later."""
        while True:
            await self._clock.sleep(INTERVAL_SECONDS)
            try:
                await self.step()
            except PyMigrateError as error:
                log.error("audit.not_sealed", error=error.message)

    async def close(self) -> None:
        """Seals once more, at a clean stop. What can't be sealed now is sealed by the next engine."""
        try:
            await self.step()
        except PyMigrateError as error:
            log.error("audit.not_sealed", error=error.message)

    async def step(self) -> int:
        """Seals what is not sealed yet, as far as no older transaction is under way; how many seals that took."""
        for made in range(SEALS_MAX):
            if not await self._store.transact(self._seal):
                return made
        return SEALS_MAX

    def _seal(self, unit: Unit) -> bool:
        """Whether there was something to seal."""
        last = unit.seals.last()
        moved = unit.seals.moved(last.position if last else "", ENTRIES_MAX)
        heads = list(moved.heads)
        if last is None:
            heads += unit.seals.bases()
        if not moved.count and not heads:
            return False
        self._making.add(unit, last, heads, moved.position)
        return True
