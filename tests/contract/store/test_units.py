"""A unit of work is done whole or not at all, whatever is done beside it."""

import asyncio
from collections.abc import Callable

import pytest

from pymigrate.engine.domain.delivery import Condition
from pymigrate.engine.domain.errors import EngineUnavailable, StaleWrite
from pymigrate.engine.domain.run import Lane, RunAggregate
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.estimates import KeptEstimate
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from tests.contract.store.deliveries import PROD, delivery, incident
from tests.contract.store.records import (
    NOW,
    PLAN,
    RUN,
    BoomError,
    at,
    event,
    host,
    insert_run,
    load,
    new_lane,
    new_run,
    resource,
    sample,
    saving,
)


def write_everything(unit: Unit, suffix: str, lane: Lane | None = None) -> None:
    unit.resources.insert(resource(f"r{suffix}"))
    unit.hosts.put(host(f"h{suffix}"))
    unit.requests.put("m", f"q{suffix}", b"digest", b"answer", NOW)
    unit.measures.put(PLAN, f"p{suffix}", b"measure")
    unit.estimates.insert(KeptEstimate(f"e{suffix}", PLAN, NOW, b"estimate"))
    unit.samples.add("e", {"k": [sample(f"r{suffix}")]})
    unit.audit.append(AuditEntry(NOW, "alice", "create", f"a{suffix}", 1))
    unit.deliveries.insert([delivery(f"d{suffix}")])
    unit.incidents.insert([incident(f"i{suffix}")])
    unit.conditions.put(Condition("e", "r", f"s{suffix}", NOW))
    if lane is not None:
        lane.rows = 77
        unit.runs.save(RUN, [lane, new_lane(f"extra{suffix}")])
        unit.runs.append(RUN, [event(1)])


def everything(unit: Unit) -> list[object]:
    return [
        list(unit.resources.list("connections", "", "", 99)),
        list(unit.hosts.list()),
        unit.requests.get("m", "q1"),
        dict(unit.measures.list(PLAN)),
        list(unit.estimates.list(PLAN, 99)),
        list(unit.samples.newest("e", "k", 99)),
        list(unit.audit.list(0, 99)),
        list(unit.deliveries.list(DeliveryFilter(PROD), None, 99)),
        list(unit.incidents.due(at(99), 99)),
        list(unit.conditions.all()),
        unit.runs.load(RUN),
        unit.runs.revision(RUN),
        list(unit.runs.events(RUN, 0, 99)),
    ]


async def test_an_exception_undoes_everything_that_the_unit_did(store: Store) -> None:
    lane = (await insert_run(store, new_lane())).lanes["flights.1"]
    await store.transact(lambda unit: write_everything(unit, "0"))
    before = await store.read(everything)

    def work(unit: Unit) -> None:
        write_everything(unit, "1", lane)
        unit.resources.update(resource("r0", version=2), 1)
        unit.resources.delete("r1", 1)
        unit.hosts.put(host("h0", 5))
        unit.hosts.touch("h1", at(6))
        unit.hosts.delete("h0")
        unit.requests.drop_before(at(99))
        unit.measures.put(PLAN, "p0", b"other")
        unit.estimates.settle("e0", 1, b"other")
        unit.runs.set_revision(RUN, b"other")
        unit.runs.insert(RunAggregate(new_run(f"{RUN}2", key="k2")), b"")
        raise BoomError("after all of it")

    with pytest.raises(BoomError, match="after all of it"):
        await store.transact(work)
    assert await store.read(everything) == before
    assert await store.read(lambda unit: unit.runs.get(f"{RUN}2")) is None
    assert lane.version == 1


async def test_a_unit_sees_what_it_wrote_itself(store: Store) -> None:
    lane = (await insert_run(store, new_lane())).lanes["flights.1"]

    def work(unit: Unit) -> list[object]:
        assert unit.resources.get("r1") is None
        assert unit.runs.load(RUN) is not None
        write_everything(unit, "1", lane)
        return everything(unit)

    assert await store.transact(work) == await store.read(everything)
    assert lane.rows == 77


async def test_the_result_of_the_work_is_returned(store: Store) -> None:
    assert await store.transact(lambda _: ["a"]) == ["a"]
    assert await store.read(lambda unit: unit.hosts.get("hosts/none")) is None


async def test_a_unit_that_fails_takes_only_itself_back(store: Store) -> None:
    lanes = [new_lane(f"l{number:02}") for number in range(40)]
    await insert_run(store, *lanes)

    def saving(lane: Lane) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            lane.rows = 5
            unit.runs.save(RUN, [lane])
            if lane.id.endswith("7"):
                raise BoomError(lane.id)

        return work

    outcomes = await asyncio.gather(*(store.transact(saving(lane)) for lane in lanes), return_exceptions=True)
    failed = [lane.id for lane, outcome in zip(lanes, outcomes, strict=True) if isinstance(outcome, BoomError)]
    assert failed == ["l07", "l17", "l27", "l37"]
    stored = (await load(store)).lanes
    assert [lane.id for lane in stored.values() if lane.rows == 0] == failed
    assert {lane.version for lane in lanes if lane.id not in failed} == {2}
    assert {lane.version for lane in lanes if lane.id in failed} == {1}


async def test_of_two_writers_of_the_same_version_one_wins(store: Store) -> None:
    await insert_run(store, new_lane())
    copies = [(await load(store)).lanes["flights.1"] for _ in range(5)]
    outcomes = await asyncio.gather(*(store.transact(saving(lane)) for lane in copies), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(StaleWrite) == 4
    assert (await load(store)).lanes["flights.1"].version == 2


async def test_a_read_sees_what_was_committed_before(store: Store) -> None:
    for number in range(20):
        await store.transact(lambda unit, name=str(number): unit.resources.insert(resource(name)))  # type: ignore[misc]  # bound
        assert await store.read(lambda unit, name=str(number): unit.resources.get(name)) is not None  # type: ignore[misc]  # bound


async def test_a_read_can_not_write(store: Store) -> None:
    lane = (await insert_run(store, new_lane())).lanes["flights.1"]
    for work in (lambda unit: unit.runs.save(RUN, [lane]), lambda unit: unit.hosts.delete("h")):
        with pytest.raises(RuntimeError, match="use transact"):
            await store.read(work)
    assert lane.version == 1
    await store.transact(lambda unit: unit.runs.save(RUN, [lane]))
    assert lane.version == 2


async def test_a_closed_store_refuses_and_may_be_closed_again(store: Store) -> None:
    await store.close()
    await store.close()
    for use in (store.read, store.transact):
        with pytest.raises(EngineUnavailable, match="closed"):
            await use(lambda unit: unit.hosts.list())
