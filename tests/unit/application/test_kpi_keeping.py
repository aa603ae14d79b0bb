"""Figures of runs that have ended: kept once, never trusted where the run went on, and told as such until everything is read."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pymigrate.engine.application.kept_figures import kept_figures, kept_run
from pymigrate.engine.domain.errors import NotFound, StoreUnavailable
from pymigrate.engine.domain.happenings import Retried
from pymigrate.engine.domain.kpi_kept import PhaseSummary
from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import kpi_pb2, run_pb2
from tests.contract.store.records import full_aggregate
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, start

DEPARTMENT = f"{ENVIRONMENT}/departments/sales"
SUMS = (ENVIRONMENT, DEPARTMENT, PLAN, f"{PLAN}/phases/a", RUN, f"{RUN}/phases/a")
FAILURE = run_pb2.Failure(reason="DATA_REFUSED", message="row 7")


class ForgetfulUnit:
    """A unit that has nothing of runs but what is said of them first: whoever counts them anew fails."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.runs = _Newest(unit)

    def __getattr__(self, name: str) -> object:
        return getattr(self._unit, name)


class _Newest:
    def __init__(self, unit: Unit) -> None:
        self.newest = unit.runs.newest
        self.get = unit.runs.get


class ForgetfulStore(MemoryStore):
    """A store that gives nobody the parts of a run, nor what happened in it, while it is forgetful."""

    is_forgetful = False

    async def read(self, work):  # type: ignore[no-untyped-def]  # as the store's
        return await super().read(lambda unit: work(ForgetfulUnit(unit) if self.is_forgetful else unit))


async def ended(engine: Engine, *failures: run_pb2.Failure) -> PlayedHost:
    """A run of two phases that has ended, with a lane that failed so often, long enough ago that nothing arrives any more."""
    await engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    for failure in failures:
        task = await host.claim()
        assert task is not None
        await host.finish(task, failure)
    await host.work()
    engine.clock.advance(100)
    return host


async def told(engine: Engine, *names: str) -> list[kpi_pb2.Kpis]:
    return [await engine.kpis.kpis(name) for name in names]


async def kept_of(engine: Engine) -> list[KeptFigures]:
    return await engine.store.read(lambda unit: list(unit.figures.of_plans([PLAN])))


async def put(engine: Engine, change: Callable[[KeptFigures], KeptFigures]) -> None:
    (kept,) = await kept_of(engine)
    await engine.store.transact(lambda unit: unit.figures.put(change(kept)))


async def test_figures_are_kept_once_when_a_run_has_ended(engine: Engine) -> None:
    await ended(engine)
    assert await engine.keeping.step() == [RUN]
    (kept,) = await kept_of(engine)
    assert (kept.plan, kept.run) == (PLAN, RUN)
    assert await engine.keeping.step() == []
    await engine.board.view(RUN, lambda aggregate: None)
    assert await engine.again().keeping.step() == []


async def test_nothing_is_kept_of_a_run_under_way(engine: Engine) -> None:
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    assert await engine.keeping.step() == []
    assert await kept_of(engine) == []


async def test_an_engine_that_follows_tells_the_same_of_what_was_kept_without_reading_the_run() -> None:
    store = ForgetfulStore()
    engine = Engine(store)
    await ended(engine)
    await engine.keeping.step()
    before = await told(engine, *SUMS)
    again = engine.again()
    store.is_forgetful = True
    await again.kpis.restore()
    assert again.kpis.behind() == set()
    assert await told(again, *SUMS) == before


async def test_lanes_of_a_kept_run_are_read_when_they_are_asked_for(engine: Engine) -> None:
    await ended(engine)
    await engine.keeping.step()
    lane = f"{RUN}/lanes/a.orders"
    parts = await engine.kpis.kpis(f"{PLAN}/phases/a", includes_parts=True)
    again = engine.again()
    await again.kpis.restore()
    assert await told(again, lane) == await told(engine, lane)
    assert await again.kpis.kpis(f"{PLAN}/phases/a", includes_parts=True) == parts
    assert await told(again, *SUMS) == await told(engine, *SUMS)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: replace(kept, version=kept.version - 1),
        lambda kept: replace(kept, run=f"{PLAN}/runs/older"),
        lambda kept: replace(kept, format=kept.format + 1),
        lambda kept: replace(kept, body=b"["),
        lambda kept: replace(kept, body=b"[[1]]"),
    ],
)
async def test_figures_of_another_version_run_or_format_are_not_trusted(
    engine: Engine, change: Callable[[KeptFigures], KeptFigures]
) -> None:
    await ended(engine)
    await engine.keeping.step()
    await put(engine, change)
    again = engine.again()
    await again.kpis.restore()
    assert again.kpis.behind() == {RUN}
    assert await told(again, *SUMS) == await told(engine, *SUMS)
    assert again.kpis.behind() == set()


async def test_a_kept_run_that_goes_on_is_counted_anew_and_kept_again(engine: Engine) -> None:
    host = await ended(engine, FAILURE)
    await engine.keeping.step()
    (first,) = await kept_of(engine)
    again = engine.again()
    await again.kpis.restore()
    await again.board.apply(RUN, Retried("me"))
    assert again.kpis.behind() == {RUN}
    follower = PlayedHost(again, host.message.name, pid=2)
    await follower.register()
    await follower.work()
    again.clock.advance(100)
    (found,) = await told(again, RUN)
    assert (found.state, found.rows, found.errors.total) == (run_pb2.RUN_STATE_SUCCEEDED, 20, 1)
    assert await again.keeping.step() == [RUN]
    (second,) = await kept_of(again)
    assert second.version > first.version
    last = again.again()
    await last.kpis.restore()
    assert (await told(last, *SUMS)) == (await told(again, *SUMS))


async def test_sums_hold_what_was_kept_until_a_run_that_goes_on_is_known_whole(engine: Engine) -> None:
    await ended(engine, FAILURE)
    await engine.keeping.step()
    again = engine.again()
    await again.kpis.restore()
    await again.board.apply(RUN, Retried("me"))
    (newest,) = again.kpis.current()
    assert not newest.has_lanes
    assert (await told(again, ENVIRONMENT))[0].runs == {"running": 1}
    (newest,) = again.kpis.current()
    assert newest.has_lanes


async def test_the_picture_says_what_is_still_to_be_read(engine: Engine) -> None:
    await ended(engine)
    again = engine.again()
    await again.kpis.restore()
    picture = await again.dashboards.dashboard("")
    assert [picture.is_partial, picture.environments[0].is_partial, picture.plans[0].kpis.is_partial] == [True] * 3
    await again.kpis.whole(RUN)
    picture = await again.dashboards.dashboard("")
    assert [picture.is_partial, picture.environments[0].is_partial, picture.plans[0].kpis.is_partial] == [False] * 3
    assert picture.plans[0].kpis.rows == 20


async def test_what_the_store_does_not_keep_now_is_kept_later() -> None:
    class Failing(MemoryStore):
        is_failing = False

        async def transact(self, work):  # type: ignore[no-untyped-def]  # as the store's
            if self.is_failing:
                raise StoreUnavailable("the store does not answer")
            return await super().transact(work)

    store = Failing()
    engine = Engine(store)
    await ended(engine)
    store.is_failing = True
    with pytest.raises(StoreUnavailable):
        await engine.keeping.step()
    store.is_failing = False
    assert await engine.keeping.step() == [RUN]


async def delete_plan(engine: Engine) -> None:
    await engine.store.transact(lambda unit: engine.plans.delete(unit, PLAN, "", ME, is_forced=True))


async def test_runs_of_a_plan_that_is_deleted_count_no_longer(engine: Engine) -> None:
    await ended(engine)
    assert (await told(engine, ENVIRONMENT))[0].rows == 20
    await delete_plan(engine)
    await engine.keeping.step()
    assert list(engine.kpis.current()) == []
    found = (await told(engine, ENVIRONMENT))[0]
    assert (found.rows, dict(found.runs)) == (0, {})
    assert (await told(engine, RUN))[0].rows == 20
    assert list(engine.kpis.current()) == []
    with pytest.raises(NotFound):
        await engine.kpis.kpis(PLAN)


async def test_the_picture_leaves_out_what_a_deleted_plan_ran_at_once(engine: Engine) -> None:
    await ended(engine)
    await engine.dashboards.dashboard("")
    await delete_plan(engine)
    assert (await engine.dashboards.dashboard("")).environments[0].rows == 0


async def test_an_engine_that_follows_counts_no_run_of_a_deleted_plan(engine: Engine) -> None:
    await ended(engine)
    await delete_plan(engine)
    again = engine.again()
    await again.kpis.restore()
    await again.board.view(RUN, lambda aggregate: None)
    assert list(again.kpis.current()) == []


async def test_a_plan_that_is_declared_again_has_its_newest_run_back(engine: Engine) -> None:
    await ended(engine)
    await engine.keeping.step()
    stored = await engine.store.read(lambda unit: unit.resources.get(PLAN))
    assert stored is not None
    await delete_plan(engine)
    await engine.keeping.step()
    await engine.store.transact(lambda unit: unit.resources.insert(stored))
    await engine.keeping.step()
    assert engine.kpis.behind() == {RUN}
    assert (await told(engine, ENVIRONMENT))[0].rows == 20


def test_a_phase_comes_back_with_every_field() -> None:
    aggregate = full_aggregate()
    (record,) = aggregate.phases.values()
    summary = PhaseSummary(record, {"rows": 3}, ((1.5, 2.25),), record.start_time, record.end_time)
    found = kept_run(kept_figures(aggregate.run, [summary]), aggregate.run)
    assert found is not None
    (kept,) = found.phases.values()
    assert kept.record == record
    assert kept.copying_times()[:2] == (record.start_time, record.end_time)
    with pytest.raises(ValueError, match="were not kept"):
        kept.lanes()
