"""Which task is granted next: pools, windows, fairness between plans, systems that are away, live sources that slow down."""

import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from pymigrate.engine.domain.breaker import FAILURES_TO_OPEN
from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.happenings import Begun, Failed, Leased, RollbackAsked, Succeeded
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.domain.run import Failure, Task
from pymigrate.engine.domain.run_states import PhaseState, RunState, TaskKind
from pymigrate.engine.domain.schedule import Limits, Scheduler
from pymigrate.engine.domain.throttle import PAUSE_SECONDS
from pymigrate.engine.domain.writers import held_up
from tests.property.simulated_runs import PLAN, START, aggregate_of

WIDE: dict[str, tuple[str, ...]] = {f"p{number}": () for number in range(6)}
AWAY = Failure("SYSTEM_UNAVAILABLE", "away", "phases.p0.datasets.d0.source.connection", is_temporary=True)
ENVIRONMENT = "environments/e"
SOURCE = (ENVIRONMENT, "source")
MEGABYTE = 1_000_000


def core_of(dependencies: dict[str, tuple[str, ...]] | None = None, plan: str = "p") -> RunCore:
    """A run of a plan that has begun."""
    aggregate = aggregate_of(dependencies or dict(WIDE))
    aggregate.run.name, aggregate.run.plan = f"{ENVIRONMENT}/plans/{plan}/runs/r", f"{ENVIRONMENT}/plans/{plan}"
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    return core


def lease_all(scheduler: Scheduler, cores: list[RunCore], limits: Limits, now: datetime = START) -> list[Task]:
    """Leases everything that may be granted, in that order."""
    leased = []
    while granted := next(scheduler.grants(cores, limits, now), None):
        core, task = granted
        assert core.apply(Leased(task.id, "workerHosts/h", now + timedelta(seconds=15)), now)
        scheduler.leased(core, task)
        leased.append(task)
    return leased


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(random.Random(1))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(50), 6),
        (Limits(2), 2),
        (Limits(50, plans={PLAN: 3}), 3),
        (Limits(50, environments={ENVIRONMENT: 4}), 4),
        (Limits(50, departments={(PLAN, "sales"): 1}), 1),
        (Limits(50, departments={(PLAN, "hr"): 1}), 6),
        (Limits(50, connections={SOURCE: 5}), 5),
        (Limits(50, connections={SOURCE: 0}), 6),
        (Limits(50, connections={("environments/other", "source"): 1}), 6),
    ],
)
def test_lanes_are_granted_within_every_pool(scheduler: Scheduler, limits: Limits, expected: int) -> None:
    assert len(lease_all(scheduler, [core_of()], limits)) == expected


def test_work_that_is_no_copy_takes_no_lane(scheduler: Scheduler) -> None:
    core = core_of({"a": (), "b": ()})
    first, *_ = lease_all(scheduler, [core], Limits(1))
    core.apply(Succeeded(first.id, first.fence), START)
    assert {task.kind for task in lease_all(scheduler, [core], Limits(1))} == {TaskKind.VERIFY, TaskKind.COPY}


def test_plans_get_lanes_in_turn_whatever_their_priorities(scheduler: Scheduler) -> None:
    loud, quiet = core_of(plan="p"), core_of(plan="q")
    for phase in loud.aggregate.phases.values():
        phase.priority = 1_000
    leased = lease_all(scheduler, [loud, quiet], Limits(6))
    assert sorted(task.id.split("/")[3] for task in leased) == ["p"] * 3 + ["q"] * 3


def test_a_relation_is_replaced_by_one_run_at_a_time_from_its_first_lane_to_its_publication(
    scheduler: Scheduler,
) -> None:
    first, second = core_of({"a": (), "b": ()}, plan="p"), core_of({"a": (), "b": ()}, plan="q")
    names = [core.run.name for core in (first, second)]
    replaced = {(name, "a"): frozenset({"s/orders"}) for name in names}
    limits = Limits(50, replaced=replaced)
    leased = lease_all(scheduler, [first, second], limits)
    assert sorted((task.id.split("/")[3], task.phase) for task in leased) == [("p", "a"), ("p", "b"), ("q", "b")]
    assert held_up([first, second], replaced) == {names[1]: (names[0],)}
    copied = next(task for task in leased if (task.id.split("/")[3], task.phase) == ("p", "a"))
    first.apply(Succeeded(copied.id, copied.fence), START)
    while task := next((each for each in first.pending() if each.phase == "a"), None):
        assert not [each for core, each in scheduler.grants([first, second], limits, START) if core is second]
        assert first.apply(Leased(task.id, "workerHosts/h", START + timedelta(seconds=15)), START)
        first.apply(Succeeded(task.id, task.fence), START)
    assert first.aggregate.phases["a"].state is PhaseState.PUBLISHED
    assert held_up([first, second], replaced) == {}
    assert [task.phase for task in lease_all(scheduler, [first, second], limits) if "/q/" in task.id] == ["a"]


def test_a_run_that_fails_or_is_cancelled_keeps_no_other_from_what_it_replaces(scheduler: Scheduler) -> None:
    first, second = core_of({"a": ()}, plan="p"), core_of({"a": ()}, plan="q")
    limits = Limits(50, replaced={(core.run.name, "a"): frozenset({"s/orders"}) for core in (first, second)})
    (task,) = lease_all(scheduler, [first, second], limits)
    first.apply(Failed(task.id, task.fence, Failure("DATA_REFUSED", "no")), START)
    (undoing, copying) = lease_all(scheduler, [first, second], limits)
    assert (undoing.kind, copying.kind) == (TaskKind.ROLLBACK, TaskKind.COPY)


def test_within_a_plan_priority_is_first_and_then_the_critical_path(scheduler: Scheduler) -> None:
    aggregate = aggregate_of({"tail": (), "head": (), "next": ("head",), "urgent": ()})
    aggregate.phases["urgent"].priority = 1
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    assert [task.phase for task in lease_all(scheduler, [core], Limits(50))] == ["urgent", "head", "tail"]


def test_what_undoes_goes_before_everything_and_through_every_limit(scheduler: Scheduler) -> None:
    core = core_of({"a": (), "b": ()})
    for task in lease_all(scheduler, [core], Limits(50)):
        core.apply(Failed(task.id, task.fence, Failure("DATA_REFUSED", "no")), START)
    closed = Calendar(UTC, (WeeklyWindow(time(22), time(23)),))
    granted = lease_all(scheduler, [core], Limits(0, calendars={(PLAN, ""): closed}))
    assert [task.kind for task in granted] == [TaskKind.ROLLBACK, TaskKind.ROLLBACK]


def test_outside_its_window_a_phase_gets_nothing_and_drains_what_it_has(scheduler: Scheduler) -> None:
    core = core_of({"a": (), "b": ()})
    limits = Limits(50, calendars={(PLAN, "a"): Calendar(UTC, (WeeklyWindow(time(22), time(23)),))})
    assert [task.phase for task in lease_all(scheduler, [core], limits)] == ["b"]
    assert scheduler.next_wake([core], limits, START) == START.replace(hour=22)
    inside = START.replace(hour=22)
    (task,) = lease_all(scheduler, [core], limits, inside)
    assert scheduler.to_drain([core], limits, inside) == []
    assert scheduler.to_drain([core], limits, START.replace(hour=23)) == [task.id]


def fail_all(scheduler: Scheduler, core: RunCore, tasks: list[Task], failure: Failure) -> None:
    for task in tasks:
        assert core.apply(Failed(task.id, task.fence, failure), START)
        scheduler.failed(core, task, failure, START)


def test_a_source_that_is_away_is_tried_by_one_lane_and_comes_back_for_all(scheduler: Scheduler) -> None:
    core = core_of()
    fail_all(scheduler, core, lease_all(scheduler, [core], Limits(50))[:FAILURES_TO_OPEN], AWAY)
    assert scheduler.is_away(*SOURCE)
    assert scheduler.next_wake([core], Limits(50), START) is not None
    soon = START + timedelta(seconds=2)
    (probe,) = lease_all(scheduler, [core], Limits(50), soon)
    assert scheduler.answered(core, probe)
    assert not scheduler.is_away(*SOURCE)
    assert len(lease_all(scheduler, [core], Limits(50), soon)) == FAILURES_TO_OPEN - 1


def test_a_lane_whose_end_nobody_told_of_keeps_no_other_from_trying_a_source_that_is_away(scheduler: Scheduler) -> None:
    core = core_of()
    fail_all(scheduler, core, lease_all(scheduler, [core], Limits(50))[:FAILURES_TO_OPEN], AWAY)
    soon = START + timedelta(seconds=2)
    (probe,) = lease_all(scheduler, [core], Limits(50), soon)
    assert lease_all(scheduler, [core], Limits(50), soon) == []
    assert core.apply(Succeeded(probe.id, probe.fence), soon)
    assert len(lease_all(scheduler, [core], Limits(50), soon)) == 1


REFUSED = replace(AWAY, reason="CREDENTIALS_REFUSED")


def test_one_refused_login_is_enough_for_all_to_wait_for_the_lane_that_tries(scheduler: Scheduler) -> None:
    core = core_of()
    first, *others = lease_all(scheduler, [core], Limits(50))
    fail_all(scheduler, core, [first], REFUSED)
    assert scheduler.is_away(*SOURCE)
    assert not scheduler.answered(core, others[0])  # it has been logged in since before
    fail_all(scheduler, core, others, REFUSED)
    soon = START + timedelta(seconds=1)
    (probe,) = lease_all(scheduler, [core], Limits(50), soon)
    assert scheduler.answered(core, probe)
    assert not scheduler.is_away(*SOURCE)


def test_lanes_that_fail_together_do_not_make_the_wait_longer(scheduler: Scheduler) -> None:
    core = core_of()
    fail_all(scheduler, core, lease_all(scheduler, [core], Limits(50)), AWAY)
    assert len(lease_all(scheduler, [core], Limits(50), START + timedelta(seconds=1))) == 1


def test_a_failure_that_does_not_say_which_side_is_away_keeps_nobody_waiting(scheduler: Scheduler) -> None:
    core = core_of()
    fail_all(scheduler, core, lease_all(scheduler, [core], Limits(50)), replace(AWAY, field=""))
    assert not scheduler.is_away(*SOURCE)


def test_another_source_goes_on_while_one_is_away(scheduler: Scheduler) -> None:
    aggregate = aggregate_of(dict(WIDE))
    aggregate.datasets["p5", "d0"].source_connection = "other"
    core = RunCore(aggregate, random.Random(1))
    core.apply(Begun(), START)
    tasks = lease_all(scheduler, [core], Limits(50))
    fail_all(scheduler, core, [task for task in tasks if task.phase != "p5"], AWAY)
    (other,) = [task for task in tasks if task.phase == "p5"]
    fail_all(scheduler, core, [other], Failure("FENCE_LOST", "again"))
    soon = START + timedelta(seconds=0.5)
    assert [task.phase for task in lease_all(scheduler, [core], Limits(50), soon)] == ["p5"]


def slow_down(scheduler: Scheduler, core: RunCore, task: Task, seconds: float, since: float, times: int = 8) -> None:
    for number in range(times):
        now = START + timedelta(seconds=since + number * PAUSE_SECONDS)
        scheduler.progressed(core, task, seconds, MEGABYTE, [core], Limits(50), now)


def test_a_live_source_that_slows_down_loses_lanes_and_gets_no_others(scheduler: Scheduler) -> None:
    core = core_of()
    for phase in core.aggregate.phases.values():
        phase.is_live = True
    tasks = lease_all(scheduler, [core], Limits(50))
    slow_down(scheduler, core, tasks[0], 0.1, 0)
    assert scheduler.to_drain([core], Limits(50), START) == []
    slow_down(scheduler, core, tasks[0], 5.0, 1_000)
    borne = scheduler.lanes_borne(*SOURCE)
    assert borne is not None
    assert len(scheduler.to_drain([core], Limits(50), START)) == 6 - borne > 0
    assert lease_all(scheduler, [core], Limits(50)) == []


def test_a_source_that_serves_nobody_else_is_not_spared(scheduler: Scheduler) -> None:
    core = core_of()
    tasks = lease_all(scheduler, [core], Limits(50))
    slow_down(scheduler, core, tasks[0], 0.1, 0)
    slow_down(scheduler, core, tasks[0], 5.0, 1_000)
    assert scheduler.lanes_borne(*SOURCE) is None


def test_a_run_that_has_ended_still_gets_hosts_for_what_is_left_to_do(scheduler: Scheduler) -> None:
    core = core_of({"a": ()})
    while tasks := lease_all(scheduler, [core], Limits(50)):
        for task in tasks:
            core.apply(Succeeded(task.id, task.fence), START)
    assert core.run.state is RunState.SUCCEEDED
    core.apply(RollbackAsked("me", "a"), START)
    (task,) = lease_all(scheduler, [core], Limits(50))
    core.apply(Succeeded(task.id, task.fence), START)
    assert core.aggregate.phases["a"].state is PhaseState.ROLLED_BACK


def test_lanes_share_what_their_systems_allow_and_keep_to_the_tightest(scheduler: Scheduler) -> None:
    core, other = core_of({"a": (), "b": ()}), core_of({"c": ()}, plan="q")
    target = core.aggregate.datasets["a", "d0"].target_connection
    limits = Limits(50, rates={SOURCE: Rate(900.0), (ENVIRONMENT, target): Rate(1_200.0, 30.0)})
    assert scheduler.rates([core, other], limits) == {}
    leased = lease_all(scheduler, [core, other], limits)
    assert scheduler.rates([core, other], limits) == {task.id: Rate(300.0, 10.0) for task in leased}


def test_lanes_of_systems_without_a_limit_have_none(scheduler: Scheduler) -> None:
    core = core_of({"a": ()})
    limits = Limits(50, rates={("environments/other", "source"): Rate(900.0)})
    lease_all(scheduler, [core], limits)
    assert scheduler.rates([core], limits) == {}
