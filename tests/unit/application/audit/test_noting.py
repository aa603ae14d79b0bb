"""What has no effect is noted too: refusals within limits, and every read of what is sensitive."""

import pytest

from pymigrate.engine.application.audit.noting import (
    CALLERS_KEPT_MAX,
    NOBODY,
    SENSITIVE_READS,
    NotedCall,
    Noting,
)
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import audit_pb2

ANN = NotedCall(
    "service/ann", "RunService/StartRun", "environments/prod/plans/p", "10.1.2.3 (terraform)", "request-7", "trace-7"
)
DENIED = "PERMISSION_DENIED"


class Noted:
    """What a test notes, and what the trail has of it."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), ManualClock()
        self.noting = Noting(self.store, self.clock)

    async def entries(self) -> list[FeedEntry]:
        def work(unit: Unit) -> list[FeedEntry]:
            return list(unit.feed.after("", 10_000)[0])

        return await self.store.read(work)


@pytest.fixture
def noted() -> Noted:
    """Nothing is noted yet."""
    return Noted()


async def test_a_refusal_is_noted_with_who_from_where_what_and_how_it_ended(noted: Noted) -> None:
    await noted.noting.refused(ANN, DENIED)
    (entry,) = await noted.entries()
    assert (entry.type, entry.actor, entry.subject) == ("deny", "service/ann", "environments/prod/plans/p")
    assert (entry.origin, entry.method, entry.outcome) == ("10.1.2.3 (terraform)", "RunService/StartRun", DENIED)
    assert (entry.request_id, entry.trace_id) == ("request-7", "trace-7")


async def test_whoever_shows_nothing_that_holds_is_nobody(noted: Noted) -> None:
    await noted.noting.refused(NotedCall("", "RunService/GetRun", origin="10.9.9.9 (api)"), "UNAUTHENTICATED")
    (entry,) = await noted.entries()
    assert (entry.actor, entry.origin, entry.outcome) == (NOBODY, "10.9.9.9 (api)", "UNAUTHENTICATED")


async def test_a_sensitive_read_is_noted_as_one_that_went_well(noted: Noted) -> None:
    await noted.noting.read(ANN)
    (entry,) = await noted.entries()
    assert (entry.type, entry.outcome) == ("read", "OK")


async def test_a_flood_of_refusals_is_counted_instead_of_stored(noted: Noted) -> None:
    for _ in range(500):
        await noted.noting.refused(ANN, DENIED)
    assert len(await noted.entries()) == 10
    noted.clock.advance(1.0)
    await noted.noting.refused(ANN, DENIED)
    assert (await noted.entries())[-1].detail == "490 refusals before it were not noted"
    await noted.noting.refused(ANN, DENIED)
    assert (await noted.entries())[-1].detail == ""


async def test_one_who_is_refused_again_and_again_hides_nobody_else(noted: Noted) -> None:
    for _ in range(50):
        await noted.noting.refused(ANN, DENIED)
    await noted.noting.refused(NotedCall("service/ben", "PlanService/DeletePlan"), DENIED)
    assert (await noted.entries())[-1].actor == "service/ben"


async def test_many_addresses_together_fill_no_store_either(noted: Noted) -> None:
    for number in range(2 * CALLERS_KEPT_MAX):
        await noted.noting.refused(NotedCall("", "RunService/GetRun", origin=f"10.0.0.{number}"), "UNAUTHENTICATED")
    assert len(await noted.entries()) == 100
    noted.clock.advance(1.0)
    await noted.noting.refused(ANN, DENIED)
    assert (await noted.entries())[-1].detail == "1,900 of other callers were not noted"


async def test_nothing_that_is_left_out_is_forgotten_with_its_caller(noted: Noted) -> None:
    for _ in range(15):
        await noted.noting.refused(ANN, DENIED)
    for number in range(CALLERS_KEPT_MAX):
        noted.clock.advance(1.0)
        await noted.noting.refused(NotedCall(f"service/s{number}", "RunService/GetRun"), DENIED)
    details = [entry.detail for entry in await noted.entries() if entry.detail]
    noted.clock.advance(1.0)
    await noted.noting.refused(ANN, DENIED)
    details.append((await noted.entries())[-1].detail)
    assert [detail for detail in details if detail] == ["5 of other callers were not noted"]


async def test_a_refusal_stays_one_where_the_store_is_away_and_a_read_does_not_happen(noted: Noted) -> None:
    await noted.store.close()
    await noted.noting.refused(ANN, DENIED)
    with pytest.raises(EngineUnavailable):
        await noted.noting.read(ANN)


async def test_a_name_without_end_is_cut(noted: Noted) -> None:
    await noted.noting.refused(NotedCall("service/ann", "PlanService/GetPlan", "x" * 100_000), DENIED)
    assert len((await noted.entries())[0].subject) == 500


def test_every_sensitive_read_is_a_method_of_the_contract() -> None:
    services = [
        service
        for module in (audit_pb2, *(module for module, _ in ADDERS.values()))
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    methods = {f"{service.name}/{method.name}" for service in services for method in service.methods}
    assert methods >= SENSITIVE_READS
