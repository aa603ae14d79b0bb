"""Entries of the audit trail get the call that asked for them, and only where it was the caller who did it."""

from pymigrate.engine.application.audit.stamping import Stamp, StampingStore
from pymigrate.engine.ports.audit import AuditFilter
from pymigrate.engine.ports.store import AuditEntry
from pymigrate.engine.testing.store import MemoryStore
from tests.contract.store.records import NOW

STAMP = Stamp("ann", "10.1.2.3 (cli)", "PlanService/UpdatePlan", "r-1", "4bf92f3577b34da6a3ce929d0e0e4736")


def by(actor: str) -> AuditEntry:
    return AuditEntry(NOW, actor, "update", "plans/p", 1)


async def test_what_the_caller_did_tells_of_the_call_and_what_anybody_else_did_does_not() -> None:
    store = StampingStore(MemoryStore(), lambda: STAMP)
    await store.transact(lambda unit: unit.audit.append(by("ann")))
    await store.transact(lambda unit: unit.audit.append_all([by("ann"), by("engine")]))
    trail = await store.read(lambda unit: unit.audit.list(0, 9))
    told = (STAMP.origin, STAMP.method, STAMP.request_id, STAMP.trace_id)
    assert [(each.origin, each.method, each.request_id, each.trace_id) for each in trail] == [told, told, ("",) * 4]


async def test_what_the_engine_does_by_itself_has_no_call() -> None:
    store = StampingStore(MemoryStore(), lambda: None)
    await store.transact(lambda unit: unit.audit.append(by("ann")))
    (entry,) = await store.read(lambda unit: unit.audit.list(0, 9))
    assert (entry.origin, entry.method) == ("", "")


async def test_an_entry_that_names_its_call_itself_keeps_that() -> None:
    store = StampingStore(MemoryStore(), lambda: STAMP)
    own = AuditEntry(NOW, "ann", "refuse", "plans/p", 0, method="RunService/StartRun", outcome="PERMISSION_DENIED")
    await store.transact(lambda unit: unit.audit.append(own))
    (entry,) = await store.read(lambda unit: unit.audit.list(0, 9))
    assert (entry.method, entry.origin) == ("RunService/StartRun", "")


async def test_a_unit_that_stamps_reads_the_trail_as_it_is() -> None:
    store = StampingStore(MemoryStore(), lambda: STAMP)

    def look(unit: object) -> tuple[int, int, int]:
        trail = unit.audit  # type: ignore[attr-defined]  # a unit
        trail.append(by("ann"))
        found = trail.find(AuditFilter(principal="ann"), 0, 9)
        return len(trail.list(0, 9)), len(found.entries), len(trail.about(["plans/p"], 9))

    assert await store.transact(look) == (1, 1, 1)
