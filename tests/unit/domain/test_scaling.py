"""A run's own limit of lanes: what it grants, what it calls back, and when it can't be set any more."""

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.happenings import Drained, Scaled, Steered
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.recalls import Recalls
from pymigrate.engine.domain.run_states import DesiredState, TaskKind
from pymigrate.engine.domain.schedule import Limits, Scheduler
from tests.unit.domain.begun_runs import LATER, core_of, fail, finish, publish
from tests.unit.domain.test_schedule import core_of as wide_core_of
from tests.unit.domain.test_schedule import lease_all, scheduler

__all__ = ["scheduler"]
WIDE = Limits(50)


def scaled(core: RunCore, lanes_max: int) -> bool:
    """Sets the limit."""
    return core.apply(Scaled(lanes_max, "me"), LATER)


def test_no_more_lanes_are_granted_than_the_run_may_have(scheduler: Scheduler) -> None:
    core = wide_core_of()
    scaled(core, 2)
    assert len(lease_all(scheduler, [core], WIDE)) == 2


def test_the_tightest_limit_holds(scheduler: Scheduler) -> None:
    core = wide_core_of()
    scaled(core, 4)
    assert len(lease_all(scheduler, [core], Limits(3))) == 3


def test_one_run_s_limit_is_none_of_another(scheduler: Scheduler) -> None:
    one, other = wide_core_of(plan="p"), wide_core_of(plan="q")
    scaled(one, 2)
    granted = lease_all(scheduler, [one, other], WIDE)
    assert sum(task.id.startswith(f"{one.run.name}/") for task in granted) == 2
    assert len(granted) == 8


def test_a_lower_limit_calls_the_least_urgent_lanes_back_and_a_higher_one_grants_more(scheduler: Scheduler) -> None:
    core, recalls = wide_core_of(), Recalls()
    tasks = lease_all(scheduler, [core], WIDE)
    for task in tasks:
        recalls.leased(core, task, WIDE)
    scaled(core, 2)
    assert recalls.to_drain([core], WIDE) == [task.id for task in tasks[2:]]
    for task in tasks[2:]:
        core.apply(Drained(task.id, task.fence), LATER)
    assert recalls.to_drain([core], WIDE) == []
    assert lease_all(scheduler, [core], WIDE) == []
    scaled(core, 3)
    assert len(lease_all(scheduler, [core], WIDE)) == 1
    scaled(core, 0)
    assert len(lease_all(scheduler, [core], WIDE)) == 3


def test_the_same_limit_again_changes_nothing_and_is_not_told() -> None:
    core = core_of(a=())
    core.take()
    assert scaled(core, 3)
    _, events = core.take()
    assert [(event.type, event.from_state, event.to_state, event.actor) for event in events] == [
        ("run.scaled", "0", "3", "me")
    ]
    assert not scaled(core, 3)
    assert core.take() == ([], [])


def test_a_paused_run_is_scaled() -> None:
    core = core_of(a=())
    core.apply(Steered(DesiredState.PAUSED, "me"), LATER)
    assert scaled(core, 1)


def test_a_run_that_has_ended_or_is_ended_is_not_scaled() -> None:
    succeeded, failed, cancelled = (core_of(a=(), b=("a",)) for _ in range(3))
    for name in ("a", "b"):
        publish(succeeded, name)
    fail(failed, "a")
    finish(failed, "a", TaskKind.ROLLBACK)
    cancelled.apply(Steered(DesiredState.CANCELLED, "me"), LATER)
    for core, standing in ((succeeded, "succeeded"), (failed, "failed"), (cancelled, "cancelled")):
        core.take()
        with pytest.raises(FailedPrecondition, match=f"is {standing}: lanes are limited while a run is under way"):
            scaled(core, 1)
        assert core.take() == ([], [])
        assert core.run.lanes_max == 0
