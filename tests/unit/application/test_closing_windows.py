"""Windows that are about to close on work in hand: told once for each, and only while there is such work."""

from collections.abc import Mapping
from typing import Any

import pytest

from pymigrate.engine.application.conditions import TICK_SECONDS
from pymigrate.engine.application.findings import finding_of
from pymigrate.engine.domain.happenings import Lost, Steered
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.v1 import plan_pb2
from tests.unit.application.engines import Engine, PlayedHost, phase
from tests.unit.application.test_board import start
from tests.unit.application.watched import PHASE, RUN, Watched


async def started(match: Mapping[str, Any], **schedule: Any) -> Watched:
    """A run of which the lane is copied, within a window from midnight to six; it is midnight."""
    engine = Engine()
    watched = Watched(engine)
    one = phase("orders")
    one.schedule.CopyFrom(plan_pb2.Schedule(windows={"night": plan_pb2.Window(start="00:00", end="06:00")}))
    await engine.declare({"a": one, "b": phase("items", needs=["a"])})
    await watched.rule({"windowClosesSeconds": 600, **match}, **schedule)
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    assert await host.claim() is not None
    return watched


@pytest.mark.parametrize(("match", "subject"), [({}, RUN), ({"phases": ["*"]}, PHASE)])
async def test_a_window_that_is_about_to_close_while_work_goes_on_is_told_once(
    match: dict[str, Any], subject: str
) -> None:
    watched = await started(match)
    assert await watched.look(6 * 3600 - 601) == 0
    assert await watched.look(TICK_SECONDS) == 1
    assert await watched.look(TICK_SECONDS) == 0
    (entry,) = await watched.entries()
    found = finding_of(entry.detail)
    assert found is not None
    assert (entry.action, entry.subject, found.figure, found.bound) == ("window.closing", subject, "", 600.0)
    assert found.value == 596.0
    assert found.text == f"The window of {subject} closes in 9 min 56 s, and work that needs it goes on."


async def test_each_window_is_told_on_its_own_and_nothing_in_between() -> None:
    watched = await started({})
    await watched.look(6 * 3600 - 300)
    assert await watched.look(600) == 0
    assert await watched.held() == 0
    assert await watched.look(23.9 * 3600) == 1
    assert await watched.told() == ["window.closing"] * 2


async def test_a_window_that_stays_about_to_close_is_told_again_after_the_interval() -> None:
    watched = await started({}, repeatIntervalSeconds=60)
    await watched.look(6 * 3600 - 300)
    assert await watched.look(60) == 1


async def test_no_window_is_told_of_work_that_is_done_or_has_not_begun() -> None:
    watched = await started({"phases": ["b"]})
    assert await watched.look(6 * 3600 - 300) == 0
    done = await started({})
    (task,) = [task for core in done.engine.board.active() for task in core.leased()]
    await done.engine.board.apply(RUN, Steered(DesiredState.CANCELLED, "people"))
    await done.engine.board.apply(RUN, Lost(task.id))
    host = PlayedHost(done.engine)
    await host.register()
    await host.work()
    assert await done.look(6 * 3600 - 300) == 0
