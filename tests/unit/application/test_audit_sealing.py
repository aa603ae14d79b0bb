"""Seals are made of what was written since the last one, and signed; what may go by age leaves a trail that still holds."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey
from pymigrate.engine.application.audit.retention import AuditRetention
from pymigrate.engine.application.audit.sealing import INTERVAL_SECONDS, Sealing, SealMaking
from pymigrate.engine.application.audit.verifying import Verifying
from pymigrate.engine.domain.audit_chain import Head, Seal
from pymigrate.engine.domain.audit_verification import FaultKind, Verdict
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from tests.contract.store.records import NOW, PLAN, event, insert_run, new_run

KEPT_DAYS = 30
RUN, ENDED = f"{PLAN}/runs/a", f"{PLAN}/runs/b"


def new_key(number: int = 1) -> Ed25519SealingKey:
    return Ed25519SealingKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


class Engine:
    """An engine's audit trail over a store in memory."""

    def __init__(self, store: MemoryStore | None = None, key: Ed25519SealingKey | None = None) -> None:
        self.store = store or MemoryStore()
        self.clock = ManualClock(NOW)
        self.key = key or new_key()
        making = SealMaking(self.key, self.clock)
        self.sealing = Sealing(self.store, self.clock, making)
        self.retention = AuditRetention(self.store, self.clock, making, KEPT_DAYS)

    async def note(self, *subjects: str) -> None:
        """Somebody does something."""
        entries = [AuditEntry(self.clock.now(), "ann", "update", subject, 1) for subject in subjects]
        await self.store.transact(lambda unit: unit.audit.append_all(entries))

    async def seals(self) -> list[Seal]:
        """All seals."""
        return list(await self.store.read(lambda unit: unit.seals.list(0, 99)))

    async def heads(self, number: int) -> list[tuple[str, int, bool]]:
        """What a seal holds."""
        found = await self.store.read(lambda unit: unit.seals.heads(number))
        return [(head.chain, head.place, head.is_base) for head in found]

    async def verdict(self, known: Seal | None = None) -> Verdict:
        """What is found to hold."""
        return await Verifying(self.store, self.key.is_signed).verify(known)


async def test_nothing_is_sealed_where_nothing_was_written() -> None:
    engine = Engine()
    assert await engine.sealing.step() == 0
    await engine.note("a")
    assert await engine.sealing.step() == 1
    assert await engine.sealing.step() == 0
    assert [seal.number for seal in await engine.seals()] == [1]


async def test_a_seal_holds_the_heads_that_have_moved_since_the_one_before() -> None:
    engine = Engine()
    await insert_run(engine.store, run=new_run(RUN))
    await engine.store.transact(lambda unit: unit.runs.append(RUN, [event(1), event(2)]))
    await engine.note("a")
    await engine.sealing.step()
    await engine.note("b", "c")
    await engine.sealing.step()
    assert await engine.heads(1) == [(RUN, 2, False), ("writers/0", 1, False)]
    assert await engine.heads(2) == [("writers/0", 3, False)]
    verdict = await engine.verdict()
    assert (verdict.fault, verdict.event_count, verdict.seal_count, verdict.unsealed_count) == (None, 5, 2, 0)


async def test_what_is_not_sealed_yet_is_counted() -> None:
    engine = Engine()
    await engine.note("a")
    await engine.sealing.step()
    await engine.note("b", "c")
    assert (await engine.verdict()).unsealed_count == 2


async def test_the_loop_seals_every_few_seconds_and_a_clean_stop_does_once_more() -> None:
    engine = Engine()
    loop = asyncio.create_task(engine.sealing.run_loop())
    await engine.note("a")
    await engine.clock.run_for(INTERVAL_SECONDS - 0.1)
    assert await engine.seals() == []
    await engine.clock.run_for(0.2)
    assert len(await engine.seals()) == 1
    loop.cancel()
    await engine.note("b")
    await engine.sealing.close()
    assert len(await engine.seals()) == 2
    await asyncio.gather(loop, return_exceptions=True)


async def test_an_engine_with_another_key_seals_nothing_on_top_and_says_why() -> None:
    first = Engine()
    await first.note("a")
    await first.sealing.step()
    second = Engine(first.store, new_key(2))
    await second.note("b")
    with pytest.raises(FailedPrecondition, match="PYMIGRATE_AUDIT_KEY_FILE"):
        await second.sealing.step()
    assert len(await first.seals()) == 1
    both = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
    earlier = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32).public_key()
    third = Engine(first.store, Ed25519SealingKey(both, [earlier]))
    assert await third.sealing.step() == 1
    assert (await third.verdict()).fault is None
    fault = (await second.verdict()).fault
    assert fault is not None
    assert (fault.kind, fault.seal) == (FaultKind.SEAL_BROKEN, 1)


async def aged(engine: Engine) -> None:
    """A trail of two runs, one of which has ended, most of it too old to be kept; everything is sealed."""
    await insert_run(engine.store, run=new_run(RUN))
    ended = new_run(ENDED, key="k2")
    ended.state = RunState.SUCCEEDED
    await insert_run(engine.store, run=ended)
    for name in (RUN, ENDED):
        await engine.store.transact(lambda unit, name=name: unit.runs.append(name, [event(n) for n in (1, 2, 3)]))  # type: ignore[misc]  # bound
    await engine.note("a", "b", "c")
    await engine.sealing.step()
    engine.clock.advance(timedelta(days=KEPT_DAYS + 1).total_seconds())
    await engine.note("d")
    await engine.sealing.step()


async def left(engine: Engine) -> list[tuple[str, int]]:
    entries, _ = await engine.store.read(lambda unit: unit.feed.after("", 99))
    return [(entry.chain, entry.place) for entry in entries]


async def test_what_is_too_old_goes_and_the_rest_is_still_proved() -> None:
    engine = Engine()
    await aged(engine)
    known = (await engine.seals())[-1]
    assert await engine.retention.step() == 5
    assert await left(engine) == [(RUN, 1), (RUN, 2), (RUN, 3), (ENDED, 3), ("writers/0", 4)]
    assert await engine.heads(3) == [(ENDED, 2, True), ("writers/0", 3, True)]
    verdict = await engine.verdict(known)
    assert (verdict.fault, verdict.event_count, verdict.unsealed_count) == (None, 5, 0)
    assert await engine.retention.step() == 0
    await engine.note("e")
    await engine.sealing.step()
    assert (await engine.verdict()).fault is None


async def test_what_is_not_sealed_does_not_go() -> None:
    engine = Engine()
    await engine.note("a", "b", "c")
    engine.clock.advance(timedelta(days=KEPT_DAYS + 1).total_seconds())
    assert await engine.retention.step() == 0
    assert len(await left(engine)) == 3


async def test_only_what_is_sealed_goes_however_old_the_rest_is() -> None:
    engine = Engine()
    await engine.note("a", "b", "c")
    await engine.sealing.step()
    await engine.note("d", "e")
    engine.clock.advance(timedelta(days=KEPT_DAYS + 1).total_seconds())
    assert await engine.retention.step() == 3
    assert [place for _, place in await left(engine)] == [4, 5]
    verdict = await engine.verdict()
    assert (verdict.fault, verdict.unsealed_count) == (None, 2)


async def test_for_ever_is_the_default() -> None:
    engine = Engine()
    await aged(engine)
    keeping = AuditRetention(engine.store, engine.clock, SealMaking(engine.key, engine.clock), 0)
    assert await keeping.step() == 0


async def test_whoever_removes_the_beginning_of_a_chain_with_a_base_of_his_own_is_found() -> None:
    engine = Engine()
    await engine.note("a", "b", "c")
    await engine.sealing.step()

    def cut(unit: Unit) -> None:
        first = unit.seals.passed("", "", 2).entries
        base = Head(first[1].chain, first[1].place, first[1].hash, is_base=True)
        unit.seals.remove([base], [each.sequence for each in first])

    await engine.store.transact(cut)
    fault = (await engine.verdict()).fault
    assert fault is not None
    assert (fault.kind, fault.chain, fault.place) == (FaultKind.REMOVED, "writers/0", 2)


async def test_retention_takes_nothing_from_a_chain_that_does_not_hold() -> None:
    engine = Engine()
    await aged(engine)
    entries = engine.store._tables.feed.entries
    number = next(number for number, entry in entries.items() if entry.subject == "b")
    entries[number] = replace(entries[number], actor="eve")
    await engine.retention.step()
    assert [place for chain, place in await left(engine) if chain == "writers/0"] == [2, 3, 4]
    fault = (await engine.verdict()).fault
    assert fault is not None
    assert (fault.kind, fault.sequence) == (FaultKind.ALTERED, number)
