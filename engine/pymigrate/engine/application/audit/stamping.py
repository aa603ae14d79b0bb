"""A store around the store: what is appended to the audit trail in a unit of work gets the call that asked for it, where it was the caller
who did it. So nothing of a call is handed through use cases."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from pymigrate.engine.ports.audit import AuditFilter, Found
from pymigrate.engine.ports.store import AuditEntry, Store, Unit

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Stamp:
    """The call that is being served: who makes it, from where, which method, and what tells it from others."""

    principal: str
    origin: str = ""
    method: str = ""
    request_id: str = ""
    trace_id: str = ""


class StampingStore:
    """Does everything by the store that it is given. `stamp` tells the present call; None where the engine works by itself."""

    def __init__(self, store: Store, stamp: Callable[[], Stamp | None]) -> None:
        self._store = store
        self._stamp = stamp

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """As the store does. The work may be done on another thread, so the call is looked at here."""
        stamp = self._stamp()
        if stamp is None:
            return await self._store.transact(work)
        return await self._store.transact(lambda unit: work(cast("Unit", _Stamped(unit, stamp))))

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """As the store does."""
        return await self._store.read(work)

    async def close(self) -> None:
        """As the store does."""
        await self._store.close()


class _Stamped:
    """A unit whose audit trail stamps."""

    __slots__ = ("_unit", "audit")

    def __init__(self, unit: Unit, stamp: Stamp) -> None:
        self._unit = unit
        self.audit = _StampedAudit(unit, stamp)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)


class _StampedAudit:
    __slots__ = ("_stamp", "_unit")

    def __init__(self, unit: Unit, stamp: Stamp) -> None:
        self._unit = unit
        self._stamp = stamp

    def append(self, entry: AuditEntry) -> None:
        """Stamps it."""
        self._unit.audit.append(self._stamped(entry))

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Stamps them."""
        self._unit.audit.append_all([self._stamped(entry) for entry in entries])

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """As it is stored."""
        return self._unit.audit.list(after, limit)

    def find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        """As it is stored."""
        return self._unit.audit.find(asked, after, limit)

    def about(self, subjects: Collection[str], limit: int) -> Sequence[AuditEntry]:
        """As it is stored."""
        return self._unit.audit.about(subjects, limit)

    def _stamped(self, entry: AuditEntry) -> AuditEntry:
        stamp = self._stamp
        if entry.actor != stamp.principal or entry.method:
            return entry
        return replace(
            entry, origin=stamp.origin, method=stamp.method, request_id=stamp.request_id, trace_id=stamp.trace_id
        )
