"""What happened in a run, in order, and the runs of a plan, the newest first."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.domain.run import Run, RunAggregate, Task
from pymigrate.engine.domain.run_keys import given_up_key
from pymigrate.engine.domain.run_states import RunState, TaskKind, TaskState
from pymigrate.engine.ports.store import Store, Unit
from tests.contract.store.records import (
    FAILURE,
    NOW,
    PLAN,
    RUN,
    appending,
    at,
    each,
    event,
    full_aggregate,
    insert_run,
    load,
    new_run,
    resource,
)


async def test_events_come_back_in_order_and_in_pages(store: Store) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1), event(2, FAILURE)]))
    await store.transact(lambda unit: unit.runs.append(RUN, [event(3)]))
    await store.transact(lambda unit: unit.runs.append(RUN, []))
    assert await store.read(lambda unit: list(unit.runs.events(RUN, 0, 9))) == [event(1), event(2, FAILURE), event(3)]
    assert await store.read(lambda unit: list(unit.runs.events(RUN, 1, 1))) == [event(2, FAILURE)]
    assert await store.read(lambda unit: list(unit.runs.events(RUN, 3, 9))) == []


@pytest.mark.parametrize("sequences", [[1], [3, 3], [4], [3, 5], [0]])
async def test_events_that_do_not_go_on_from_the_last_are_refused(store: Store, sequences: list[int]) -> None:
    await insert_run(store)
    await store.transact(lambda unit: unit.runs.append(RUN, [event(1), event(2)]))
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.runs.append(RUN, [event(sequence) for sequence in sequences]))
    assert [kept.sequence for kept in await store.read(lambda unit: unit.runs.events(RUN, 0, 9))] == [1, 2]


async def test_events_of_a_run_that_is_not_there_are_refused(store: Store) -> None:
    with pytest.raises(StaleWrite):
        await store.transact(lambda unit: unit.runs.append(RUN, [event(1)]))


async def test_each_run_has_its_own_sequence_of_events(store: Store) -> None:
    other = f"{PLAN}/runs/r2"
    await insert_run(store)
    await insert_run(store, run=new_run(other, key="k2"))
    for name in (RUN, other):
        await store.transact(appending(name, event(1)))
    assert await store.read(lambda unit: list(unit.runs.events(other, 0, 9))) == [event(1)]


async def runs_of_three_plans(store: Store) -> None:
    for number, (plan, seconds) in enumerate(
        [(PLAN, 1), (PLAN, 3), (PLAN, 3), (f"{PLAN}-old", 2), ("environments/prod2/plans/warehouse", 4)]
    ):
        await insert_run(store, run=new_run(f"{plan}/runs/r{number}", plan, f"k{number}", at(seconds)))


async def listed(store: Store, plan: str, before: tuple[datetime, str] | None = None, limit: int = 9) -> list[str]:
    found = await store.read(lambda unit: unit.runs.list(plan, before, limit))
    return [run.name.rpartition("/")[2] for run in found]


async def test_runs_of_a_plan_are_listed_the_newest_first(store: Store) -> None:
    await runs_of_three_plans(store)
    assert await listed(store, PLAN) == ["r2", "r1", "r0"]
    assert await listed(store, PLAN, limit=2) == ["r2", "r1"]


async def test_a_page_goes_on_between_runs_of_the_same_moment(store: Store) -> None:
    await runs_of_three_plans(store)
    assert await listed(store, PLAN, (at(3), f"{PLAN}/runs/r2")) == ["r1", "r0"]
    assert await listed(store, PLAN, (at(3), f"{PLAN}/runs/r1")) == ["r0"]
    assert await listed(store, PLAN, (at(1), f"{PLAN}/runs/r0")) == []


async def test_a_dash_lists_the_runs_of_all_plans_of_the_environment(store: Store) -> None:
    await runs_of_three_plans(store)
    assert await listed(store, "environments/prod/plans/-") == ["r2", "r1", "r3", "r0"]
    assert await listed(store, "environments/prod/plans/-", (at(3), f"{PLAN}/runs/r1"), 1) == ["r3"]
    assert await listed(store, "environments/none/plans/-") == []


async def newest_of(store: Store, environment: str = "environments/prod", after: str = "", limit: int = 9) -> list[str]:
    return [run.name for run in await store.read(lambda unit: unit.runs.newest(environment, after, limit))]


async def declare(store: Store, *plans: str) -> None:
    await store.transact(
        each(
            *plans, do=lambda unit, plan: unit.resources.insert(resource(plan, "plans", plan.rpartition("/plans/")[0]))
        )
    )


async def test_the_newest_run_of_each_declared_plan_is_found_in_pages(store: Store) -> None:
    await runs_of_three_plans(store)
    await declare(store, PLAN, f"{PLAN}-old", f"{PLAN}-without-runs", "environments/prod2/plans/warehouse")
    newest = [f"{PLAN}/runs/r2", f"{PLAN}-old/runs/r3"]
    assert await newest_of(store) == newest
    assert await newest_of(store, limit=1) == newest[:1]
    assert await newest_of(store, after=PLAN) == newest[1:]
    assert await newest_of(store, after=f"{PLAN}-old") == []
    assert await newest_of(store, "environments/prod2") == ["environments/prod2/plans/warehouse/runs/r4"]
    assert await newest_of(store, "environments/none") == []


def standing_of(plan: str) -> Callable[[Unit], Run | None]:
    return lambda unit: unit.runs.standing(plan)


async def test_a_run_that_gave_its_key_up_is_no_newest_one(store: Store) -> None:
    await declare(store, PLAN, f"{PLAN}-old")
    for number, plan in enumerate((PLAN, PLAN, f"{PLAN}-old")):
        name = f"{plan}/runs/r{number}"
        key = given_up_key(name) if number else "k0"
        await insert_run(store, run=new_run(name, plan, key, at(number)))
    assert await newest_of(store) == [f"{PLAN}/runs/r0"]
    for plan, expected in ((PLAN, f"{PLAN}/runs/r0"), (f"{PLAN}-old", None), (f"{PLAN}-without-runs", None)):
        standing = await store.read(standing_of(plan))
        assert (standing.name if standing else None) == expected
    assert await listed(store, PLAN) == ["r1", "r0"]


async def test_a_newest_run_comes_back_whole(store: Store) -> None:
    await declare(store, PLAN)
    aggregate = full_aggregate()
    await store.transact(lambda unit: unit.runs.insert(aggregate, b""))
    assert list(await store.read(lambda unit: unit.runs.newest("environments/prod", "", 9))) == [aggregate.run]


async def test_runs_of_a_plan_that_is_no_longer_declared_are_no_newest_ones(store: Store) -> None:
    await runs_of_three_plans(store)
    await declare(store, PLAN, f"{PLAN}-old")
    await store.transact(lambda unit: unit.resources.delete(PLAN, 1))
    assert await newest_of(store) == [f"{PLAN}-old/runs/r3"]
    assert await listed(store, PLAN) == ["r2", "r1", "r0"]


async def test_names_of_runs_are_found_by_state(store: Store) -> None:
    for number, state in enumerate([RunState.RUNNING, RunState.FAILED, RunState.PAUSED, RunState.RUNNING]):
        run = new_run(f"{PLAN}/runs/r{9 - number}", key=f"k{number}")
        run.state = state
        await insert_run(store, run=run)
    names = await store.read(lambda unit: unit.runs.names_in([RunState.PAUSED, RunState.RUNNING]))
    assert list(names) == [f"{PLAN}/runs/r{number}" for number in (6, 7, 9)]
    assert await store.read(lambda unit: list(unit.runs.names_in([]))) == []


async def test_versions_are_told_of_the_runs_that_there_are(store: Store) -> None:
    for number in range(3):
        await insert_run(store, run=new_run(f"{PLAN}/runs/r{number}", key=f"k{number}"))
    run = await store.read(lambda unit: unit.runs.get(f"{PLAN}/runs/r1"))
    assert run is not None
    await store.transact(lambda unit: unit.runs.save(run.name, [run]))
    asked = [f"{PLAN}/runs/r1", f"{PLAN}/runs/r2", f"{PLAN}/runs/none"]
    assert await store.read(lambda unit: dict(unit.runs.versions(asked))) == {
        f"{PLAN}/runs/r1": 2,
        f"{PLAN}/runs/r2": 1,
    }
    assert await store.read(lambda unit: dict(unit.runs.versions([]))) == {}


async def test_runs_with_an_open_task_are_named_whatever_their_state(store: Store) -> None:
    for number, state in enumerate([TaskState.DONE, TaskState.PENDING, TaskState.LEASED, TaskState.DROPPED]):
        run = new_run(f"{PLAN}/runs/r{number}", key=f"k{number}")
        run.state = RunState.SUCCEEDED
        task = Task(f"{run.name}/tasks/t", TaskKind.SEAL, "p", 1, ("d",), "w", "shared", state=state)
        aggregate = RunAggregate(run, tasks={task.id: task})
        await store.transact(lambda unit, aggregate=aggregate: unit.runs.insert(aggregate, b""))  # type: ignore[misc]  # bound
    names = await store.read(lambda unit: list(unit.runs.names_with_work()))
    assert names == [f"{PLAN}/runs/r1", f"{PLAN}/runs/r2"]


async def test_runs_are_named_to_be_sealed_when_their_time_has_come_the_earliest_first(store: Store) -> None:
    for number, seconds in enumerate([30, 10, None, 20, 31]):
        run = new_run(f"{PLAN}/runs/r{number}", key=f"k{number}")
        run.seal_time = None if seconds is None else NOW + timedelta(seconds=seconds)
        await insert_run(store, run=run)
    due = NOW + timedelta(seconds=30)
    assert await store.read(lambda unit: list(unit.runs.names_to_seal(due, 10))) == [
        f"{PLAN}/runs/r1",
        f"{PLAN}/runs/r3",
        f"{PLAN}/runs/r0",
    ]
    assert await store.read(lambda unit: list(unit.runs.names_to_seal(due, 1))) == [f"{PLAN}/runs/r1"]


async def test_names_of_runs_come_in_pages_below_a_plan_an_environment_or_nothing(store: Store) -> None:
    plans = ("environments/a/plans/p", "environments/a/plans/p-1", "environments/a/plans/p2", "environments/b/plans/p")
    for plan in plans:
        for number in (2, 1):
            await insert_run(store, run=new_run(f"{plan}/runs/r{number}", plan, key=f"k{number}"))
    everything = sorted(f"{plan}/runs/r{number}" for plan in plans for number in (1, 2))

    async def names(within: str, after: str = "", limit: int = 99) -> list[str]:
        return await store.read(lambda unit: list(unit.runs.names_within(within, after, limit)))

    assert await names("") == everything
    assert await names("environments/a/plans") == [name for name in everything if "/a/" in name]
    assert await names(f"{plans[0]}/runs") == [f"{plans[0]}/runs/r1", f"{plans[0]}/runs/r2"]
    assert await names("environments/c/plans") == []
    assert await names("", everything[1], 3) == everything[2:5]
    assert await names("environments/a/plans", everything[5]) == []


async def test_several_runs_are_loaded_at_once_as_each_is_alone(store: Store) -> None:
    await store.transact(lambda unit: unit.runs.insert(full_aggregate(), b""))
    other = f"{PLAN}/runs/r2"
    await insert_run(store, run=new_run(other, key="k2"))
    alone = [await load(store, name) for name in (RUN, other)]
    assert await store.read(lambda unit: list(unit.runs.load_all([other, f"{PLAN}/runs/none", RUN, RUN]))) == alone
    assert await store.read(lambda unit: list(unit.runs.load_all([]))) == []
