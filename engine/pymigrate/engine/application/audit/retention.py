"""What of the audit trail may go by age: of each chain its beginning, as far as that is sealed, of runs that have ended, and done with by
all consumers. The last link that goes is kept as the chain's base and sealed with it, so that the rest is still proved."""

from datetime import timedelta

import structlog

from pymigrate.engine.application.audit.sealing import SealMaking
from pymigrate.engine.domain.audit_chain import NOTHING, UNLINKED, Head, Written, link_hash
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
REMOVED_MAX = 500
UNITS_MAX = 40


class AuditRetention:
    """Takes away entries that are older than `kept_days`; 0: none ever."""

    def __init__(self, store: Store, clock: Clock, making: SealMaking, kept_days: float) -> None:
        self._store = store
        self._clock = clock
        self._making = making
        self._kept_days = kept_days
        self._position = ""

    async def step(self) -> int:
        """One sweep, which the next one goes on from where it did not come to an end; how many entries went."""
        if not self._kept_days:
            return 0
        removed = 0
        for _ in range(UNITS_MAX):
            count, position = await self._store.transact(self._remove)
            removed += count
            is_end, self._position = position == self._position, position
            if is_end:
                self._position = ""
                break
        if removed:
            log.info("audit.removed", entries=removed)
        return removed

    def _remove(self, unit: Unit) -> tuple[int, str]:
        last = unit.seals.last()
        if last is None:
            return 0, self._position
        before = self._clock.now() - timedelta(days=self._kept_days)
        found = unit.seals.removable(self._position, last.position, before, REMOVED_MAX)
        bases = {base.chain: base for base in unit.seals.bases()}
        moved: dict[str, Head] = {}
        going: list[int] = []
        for entry in found.entries:
            base = _base_behind(moved.get(entry.chain) or bases.get(entry.chain), entry)
            if base is not None:
                moved[entry.chain] = base
                going.append(entry.sequence)
        if going:
            unit.seals.remove(list(moved.values()), going)
            self._making.add(unit, last, list(moved.values()), last.position)
        return len(going), found.position


def _base_behind(base: Head | None, entry: Written) -> Head | None:
    """The base of a chain that an entry is taken from; None where it is not the next to go, or not what it was: then all of it stays, for
    whoever verifies it."""
    if entry.chain == UNLINKED:
        return None if base is None or not base.place else Head(UNLINKED, base.place - 1, base.hash, is_base=True)
    place, previous = (base.place, base.hash) if base is not None else (0, NOTHING)
    if entry.place != place + 1:
        return None
    if link_hash(previous, entry) != entry.hash:
        log.error("audit.altered", sequence=entry.sequence, chain=entry.chain, place=entry.place)
        return None
    return Head(entry.chain, entry.place, entry.hash, is_base=True)
