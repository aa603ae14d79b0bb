"""Lanes that are called back: a limit is lowered below what is at work, or a system is opened with something else by now."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.recalls import Recalls
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.schedule import Limits, Scheduler
from tests.property.simulated_runs import PLAN
from tests.unit.domain.test_schedule import ENVIRONMENT, SOURCE, core_of, lease_all, scheduler

__all__ = ["scheduler"]
WIDE = Limits(50)


def at_work(scheduler: Scheduler, recalls: Recalls, core: RunCore, limits: Limits = WIDE) -> list[Task]:
    """Six lanes, granted under these limits, the most urgent first."""
    tasks = lease_all(scheduler, [core], limits)
    for task in tasks:
        recalls.leased(core, task, limits)
    assert len(tasks) == 6
    return tasks


@pytest.mark.parametrize(
    "limits",
    [
        Limits(50, environments={ENVIRONMENT: 2}),
        Limits(50, plans={PLAN: 2}),
        Limits(50, departments={(PLAN, "sales"): 2}),
        Limits(50, connections={SOURCE: 2}),
        Limits(50, environments={ENVIRONMENT: 4}, plans={PLAN: 2}, connections={SOURCE: 3}),
    ],
    ids=["environment", "plan", "department", "connection", "all"],
)
def test_a_limit_below_what_is_at_work_calls_the_least_urgent_lanes_back(scheduler: Scheduler, limits: Limits) -> None:
    core, recalls = core_of(), Recalls()
    tasks = at_work(scheduler, recalls, core)
    assert set(recalls.to_drain([core], limits)) == {task.id for task in tasks[2:]}


@pytest.mark.parametrize(
    "limits",
    [
        WIDE,
        Limits(50, plans={PLAN: 6}),
        Limits(50, plans={PLAN: 0}),
        Limits(50, connections={("environments/other", "source"): 1}),
        Limits(50, departments={(PLAN, "hr"): 1}),
    ],
)
def test_what_stays_within_its_limits_goes_on(scheduler: Scheduler, limits: Limits) -> None:
    core, recalls = core_of(), Recalls()
    at_work(scheduler, recalls, core)
    assert recalls.to_drain([core], limits) == []


def test_lanes_of_a_connection_that_is_opened_otherwise_are_called_back_once(scheduler: Scheduler) -> None:
    core, recalls = core_of(), Recalls()
    tasks = at_work(scheduler, recalls, core)
    rotated = replace(WIDE, openings={(core.run.name, "source"): b"new"})
    assert set(recalls.to_drain([core], rotated)) == {task.id for task in tasks}
    recalls.leased(core, tasks[0], rotated)  # granted anew
    assert set(recalls.to_drain([core], rotated)) == {task.id for task in tasks[1:]}


@pytest.mark.parametrize(
    "place", [("environments/e/plans/other/runs/r", "source"), ("environments/e/plans/p/runs/r", "x")]
)
def test_what_others_are_opened_with_calls_nobody_back(scheduler: Scheduler, place: tuple[str, str]) -> None:
    core, recalls = core_of(), Recalls()
    at_work(scheduler, recalls, core)
    assert recalls.to_drain([core], replace(WIDE, openings={place: b"new"})) == []


def test_a_lane_that_another_engine_granted_is_called_back_by_the_next_change(scheduler: Scheduler) -> None:
    core, recalls = core_of(), Recalls()
    (*_, task) = lease_all(scheduler, [core], WIDE)
    once, again = (replace(WIDE, openings={(core.run.name, "source"): text}) for text in (b"once", b"again"))
    assert recalls.to_drain([core], once) == []
    assert task.id in recalls.to_drain([core], again)
