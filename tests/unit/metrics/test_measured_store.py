"""A store that is timed does what the store does; its failures are counted, and what the work itself refuses is none."""

import pytest

from pymigrate.engine.adapters.store.measured import MeasuredStore
from pymigrate.engine.domain.errors import NotFound, StoreUnavailable
from pymigrate.engine.ports.metric_families import STORE_DURATION, STORE_FAILURES
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.store import MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def store(metrics: MemoryMetrics, clock: ManualClock) -> MeasuredStore:
    return MeasuredStore(MemoryStore(), metrics, clock)


async def test_units_of_work_are_done_and_timed_by_kind(
    store: MeasuredStore, metrics: MemoryMetrics, clock: ManualClock
) -> None:
    def slow(unit: Unit) -> int:
        clock.advance(0.25)
        return len(unit.hosts.list())

    assert await store.read(slow) == 0
    assert await store.transact(slow) == 0
    assert await store.transact(slow) == 0
    assert metrics.observed[STORE_DURATION] == {("read",): [0.25], ("write",): [0.25, 0.25]}
    assert metrics.values[STORE_FAILURES] == {("read",): 0.0, ("write",): 0.0}
    await store.close()


@pytest.mark.parametrize(
    ("error", "failures"), [(StoreUnavailable("away"), 1.0), (OSError("full"), 1.0), (NotFound("no"), 0.0)]
)
async def test_what_the_store_fails_in_is_counted_and_raised(
    store: MeasuredStore, metrics: MemoryMetrics, error: Exception, failures: float
) -> None:
    def failing(_: Unit) -> None:
        raise error

    with pytest.raises(type(error)):
        await store.transact(failing)
    assert metrics.values[STORE_FAILURES]["write",] == failures
    assert len(metrics.observed[STORE_DURATION]["write",]) == 1
