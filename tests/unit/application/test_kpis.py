"""KPIs: of a run as it goes on, of what lies above and below it, and what is told of a name that nothing has."""

import pytest

from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.happenings import Progressed
from pymigrate.v1 import run_pb2
from tests.unit.application.engines import ENVIRONMENT, PLAN, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, start


async def two_phases(engine: Engine) -> PlayedHost:
    """A plan of two phases, the second of which needs the first, and a host."""
    await engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
    host = PlayedHost(engine)
    await host.register()
    return host


async def test_rows_that_a_host_reports_are_in_the_figures_of_everything_above_them(engine: Engine) -> None:
    host = await two_phases(engine)
    await start(engine, "r", host)
    task = await host.claim()
    assert task is not None
    await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=1, rows=5, bytes=50))
    for name in (
        f"{RUN}/lanes/a.orders",
        f"{RUN}/phases/a",
        RUN,
        f"{PLAN}/phases/a",
        PLAN,
        f"{ENVIRONMENT}/departments/sales",
        ENVIRONMENT,
    ):
        found = await engine.kpis.kpis(name)
        assert (found.name, found.rows, found.bytes) == (name, 5, 50)
    assert (await engine.kpis.kpis(f"{PLAN}/phases/b")).rows == 0
    assert (await engine.kpis.kpis(PLAN)).completion == 0.25
    assert (await engine.kpis.kpis(PLAN)).run == RUN


async def test_a_run_that_has_succeeded_is_done_to_the_whole(engine: Engine) -> None:
    host = await two_phases(engine)
    await start(engine, "r", host)
    await host.work()
    found = await engine.kpis.kpis(PLAN)
    assert found.state == run_pb2.RUN_STATE_SUCCEEDED
    assert (found.rows, found.rows_expected, found.completion) == (20, 20, 1.0)
    assert dict(found.phases) == {"published": 2}
    assert dict(found.lanes) == {"done": 2}
    assert dict(found.runs) == {"succeeded": 1}
    assert dict(found.verifications) == {"verified": 2}


async def test_whoever_follows_is_told_the_run_after_its_figures_have_changed(engine: Engine) -> None:
    host = await two_phases(engine)
    rows: list[tuple[str, int]] = []

    def look(run: str) -> None:
        found = engine.kpis.run(run)
        assert found is not None
        rows.append((run, found.tally.get("rows", 0)))

    engine.kpis.on_change(look)
    await start(engine, "r", host)
    task = await host.claim()
    assert task is not None
    await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=1, rows=5, bytes=50))
    assert rows[-1] == (RUN, 5)


async def test_the_newest_runs_are_at_hand_without_the_store(engine: Engine) -> None:
    host = await two_phases(engine)
    assert list(engine.kpis.current()) == []
    await start(engine, "r", host)
    await engine.store.close()
    (run,) = engine.kpis.current()
    assert (run.name, run.plan, run.is_active) == (RUN, PLAN, True)


async def test_an_engine_that_follows_tells_the_same(engine: Engine) -> None:
    host = await two_phases(engine)
    await start(engine, "r", host)
    await host.work()
    engine.clock.advance(100)
    names = (ENVIRONMENT, f"{ENVIRONMENT}/departments/sales", PLAN, f"{PLAN}/phases/a", RUN, f"{RUN}/phases/b")
    before = [await engine.kpis.kpis(name, includes_parts=True) for name in names]
    again = engine.again()
    await again.kpis.restore()
    assert [await again.kpis.kpis(name, includes_parts=True) for name in names] == before


async def test_parts_are_told_in_order_where_they_are_asked_for(engine: Engine) -> None:
    host = await two_phases(engine)
    await start(engine, "r", host)
    await host.work()
    assert not (await engine.kpis.kpis(PLAN)).parts
    parts = {
        name: [part.name for part in (await engine.kpis.kpis(name, includes_parts=True)).parts]
        for name in (ENVIRONMENT, f"{ENVIRONMENT}/departments/sales", PLAN, RUN, f"{RUN}/phases/a")
    }
    assert parts == {
        ENVIRONMENT: [f"{ENVIRONMENT}/departments/sales", PLAN],
        f"{ENVIRONMENT}/departments/sales": [f"{PLAN}/phases/a", f"{PLAN}/phases/b"],
        PLAN: [f"{PLAN}/phases/a", f"{PLAN}/phases/b"],
        RUN: [f"{RUN}/phases/a", f"{RUN}/phases/b"],
        f"{RUN}/phases/a": [f"{RUN}/lanes/a.orders"],
    }


async def test_what_has_not_run_yet_has_no_rows(engine: Engine) -> None:
    await two_phases(engine)
    for name in (ENVIRONMENT, f"{ENVIRONMENT}/departments/sales", PLAN, f"{PLAN}/phases/a"):
        found = await engine.kpis.kpis(name)
        assert (found.name, found.run, found.rows, found.completion) == (name, "", 0, 0.0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("environments/f", "did you mean `e`|there are `e`"),
        (f"{ENVIRONMENT}/departments/sale", "did you mean `sales`"),
        (f"{ENVIRONMENT}/plans/pp", "`p`"),
        (f"{PLAN}/phases/aa", "`a`"),
        (f"{PLAN}/runs/rr", "`r`"),
        (f"{RUN}/phases/c", "there are `a`, `b`"),
        (f"{RUN}/lanes/a.order", "did you mean `a.orders`"),
        ("plans/p", "there are no KPIs of `plans/p`"),
        ("", "there are no KPIs of ``"),
    ],
)
async def test_a_name_that_nothing_has_is_refused_with_the_nearest(engine: Engine, name: str, says: str) -> None:
    host = await two_phases(engine)
    await start(engine, "r", host)
    with pytest.raises(NotFound, match=says):
        await engine.kpis.kpis(name)


async def test_a_failure_that_was_mended_by_trying_again_is_told_with_its_reason(engine: Engine) -> None:
    host = await two_phases(engine)
    await start(engine, "r", host)
    task = await host.claim()
    assert task is not None
    await host.finish(task, run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="away", is_temporary=True))
    engine.clock.advance(60)
    await host.work()
    found = (await engine.kpis.kpis(PLAN)).errors
    assert (found.total, dict(found.by_reason), found.retries) == (1, {"SYSTEM_UNAVAILABLE": 1}, 1)
    assert found.rate == pytest.approx(1 / 3)
