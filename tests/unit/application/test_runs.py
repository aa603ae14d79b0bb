"""Runs: started once for a key, refused with every problem, retried after another look."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import CONNECTIONS
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidDefinition,
    NotFound,
    StaleWrite,
    SystemUnavailable,
)
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.testing.hosts import Outcome
from pymigrate.v1 import plan_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase

RUN = f"{PLAN}/runs/r"


async def answered(
    engine: Engine, host: PlayedHost, request: run_pb2.StartRunRequest, **outcomes: Outcome
) -> run_pb2.Run:
    """Starts a run while the host answers its inspections; `outcomes` by dataset."""
    run = asyncio.create_task(engine.runs.start(request, ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task, outcomes.get(task.inspect.dataset.dataset_id))
        await asyncio.sleep(0)
    return await run


@pytest.fixture
async def host(engine: Engine) -> PlayedHost:
    """A host, and a plan of two phases."""
    await engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
    played = PlayedHost(engine)
    await played.register()
    return played


def request(**fields: object) -> run_pb2.StartRunRequest:
    """Asks for a run."""
    return run_pb2.StartRunRequest(parent=PLAN, **{"run_id": "r", **fields})  # type: ignore[arg-type]  # the test's choice


async def test_the_same_plan_and_triggers_are_the_same_run(engine: Engine, host: PlayedHost) -> None:
    first = await answered(engine, host, request())
    second = await answered(engine, host, request(run_id="another"))
    assert second.name == first.name == RUN


async def test_other_triggers_are_another_run(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    second = await answered(engine, host, request(run_id="s", run=run_pb2.Run(triggers={"day": "2"})))
    assert second.name == f"{PLAN}/runs/s"


async def test_a_run_without_an_id_is_named_after_its_key(engine: Engine, host: PlayedHost) -> None:
    run = await answered(engine, host, request(run_id=""))
    assert run.name.rpartition("/")[2] == f"r{run.key[:12]}"


async def test_a_dry_start_checks_and_stores_nothing(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request(validate_only=True))
    with pytest.raises(NotFound):
        await engine.runs.get(RUN)


async def test_a_plan_that_changed_since_it_was_read_is_not_started(engine: Engine, host: PlayedHost) -> None:
    with pytest.raises(StaleWrite):
        await answered(engine, host, request(plan_hash="old"))


async def test_every_problem_of_every_dataset_is_told_with_its_field(engine: Engine, host: PlayedHost) -> None:
    missing = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `items`", field="source.relation")
    found = run_pb2.Inspection()
    found.problems.add(field="key", description="no column `x`")
    with pytest.raises(InvalidDefinition) as error:
        await answered(engine, host, request(), items=missing, orders=worker_pb2.TaskResult(inspect=found))
    assert {problem.field for problem in error.value.problems} == {
        "phases.a.datasets.orders.key",
        "phases.b.datasets.items.source.relation",
    }


async def test_a_system_that_does_not_answer_is_told_as_such(engine: Engine, host: PlayedHost) -> None:
    away = run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="held by another", is_temporary=True)
    with pytest.raises(SystemUnavailable, match="held by another"):
        await answered(engine, host, request(), orders=away)


async def test_a_run_can_not_start_cancelled(engine: Engine, host: PlayedHost) -> None:
    with pytest.raises(InvalidDefinition, match="desired_state"):
        await answered(engine, host, request(run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_CANCELLED)))


async def test_a_plan_without_phases_is_refused(engine: Engine) -> None:
    await engine.declare({})
    with pytest.raises(InvalidDefinition, match="no phase"):
        await engine.runs.start(request(), ME)


async def test_an_unknown_plan_is_told_with_the_nearest_name(engine: Engine, host: PlayedHost) -> None:
    with pytest.raises(NotFound, match="there are `p`"):
        await engine.runs.start(run_pb2.StartRunRequest(parent="environments/e/plans/warehouse"), ME)


async def test_a_retry_looks_at_what_is_not_published_again(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    task = await host.claim()
    assert task is not None
    await host.finish(task, run_pb2.Failure(reason="SOURCE_CHANGED", message="changed"))
    await host.work()
    retry = asyncio.create_task(engine.runs.retry(RUN, ME))
    looked = 0
    task = None
    while task is None or task.HasField("inspect"):
        if task is not None:
            looked += 1
            fresh = run_pb2.Inspection(source_state="new")
            fresh.source.rows = 10
            await host.finish(task, worker_pb2.TaskResult(inspect=fresh))
        await asyncio.sleep(0)
        task = await host.claim()
    await retry
    assert looked == 2
    assert task.copy.source_state == "new"
    await host.finish(task)
    await host.work()
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_SUCCEEDED


async def test_events_come_page_by_page(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    await host.work()
    first, token = await engine.runs.events(RUN, 0, 3)
    rest, end = await engine.runs.events(RUN, int(token), 1_000)
    assert [event.sequence for event in (*first, *rest)] == list(range(1, len(first) + len(rest) + 1))
    assert (len(first), end) == (3, "")
    assert rest[-1].type == "run.succeeded"


async def test_runs_are_listed_the_newest_first_page_by_page(engine: Engine, host: PlayedHost) -> None:
    for number in range(3):
        engine.clock.advance(1)
        await answered(engine, host, request(run_id=f"r{number}", run=run_pb2.Run(triggers={"n": str(number)})))
    first, token = await engine.runs.page(PLAN, 2, "")
    second, end = await engine.runs.page(PLAN, 2, token)
    assert [run.name[-2:] for run in (*first, *second)] == ["r2", "r1", "r0"]
    assert end == ""
    everything, _ = await engine.runs.page("environments/e/plans/-", 10, "")
    assert len(everything) == 3


async def test_rows_of_a_phase_that_was_rolled_back_are_told_there_and_are_none_of_the_run_s(
    engine: Engine, host: PlayedHost
) -> None:
    await answered(engine, host, request())
    await host.work()
    whole = await engine.runs.get(RUN)
    assert (whole.rows, whole.bytes) == (20, 200)
    await engine.runs.roll_back(RUN, "b", ME)
    await host.work()
    partly = await engine.runs.get(RUN)
    assert partly.phases["b"].state == run_pb2.PHASE_STATE_ROLLED_BACK
    assert sum(dataset.rows for dataset in partly.phases["b"].datasets.values()) == 10
    assert (partly.rows, partly.bytes) == (10, 100)
    await engine.runs.roll_back(RUN, "", ME)
    await host.work()
    undone = await engine.runs.get(RUN)
    assert undone.state == run_pb2.RUN_STATE_ROLLED_BACK
    assert (undone.rows, undone.bytes) == (0, 0)


async def test_runs_outlive_their_plan_and_are_adopted_by_the_same_plan_declared_again(
    engine: Engine, host: PlayedHost
) -> None:
    await answered(engine, host, request())
    await host.work()
    await engine.store.transact(lambda unit: engine.plans.delete(unit, PLAN, "", ME, is_forced=True))
    assert (await engine.runs.get(RUN)).state == run_pb2.RUN_STATE_SUCCEEDED

    phases = {"a": phase("orders"), "b": phase("items", needs=["a"])}
    again = plan_pb2.Plan(phases=phases, display_name="again")
    await engine.store.transact(lambda unit: engine.plans.create(unit, "environments/e", "p", again, ME, is_dry=False))
    assert (await answered(engine, host, request(run_id="other"))).name == RUN


async def test_steering_is_audited_with_who_did_it(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    entries = await engine.store.read(lambda unit: list(unit.audit.list(0, 1_000)))
    asked = [entry for entry in entries if entry.action in {"start", "paused"}]
    assert [(entry.actor, entry.action) for entry in asked] == [("me", "start"), ("me", "paused")]
    assert {entry.revision for entry in entries if entry.subject == RUN} == {asked[0].revision}
    assert asked[0].revision
    steps = [(entry.actor, entry.action, entry.detail) for entry in entries if entry.subject == RUN]
    assert ("me", "run.paused", "running → paused") in steps, "what followed is in the trail, too"


async def test_a_change_that_can_not_be_stored_is_not_in_memory_either(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())

    def interfere(unit):  # type: ignore[no-untyped-def]  # a unit of work
        stored = unit.runs.load(RUN)
        stored.run.desired = DesiredState.PAUSED
        unit.runs.save(RUN, [stored.run])

    await engine.store.transact(interfere)
    with pytest.raises(StaleWrite):
        await engine.runs.steer(RUN, DesiredState.CANCELLED, ME)
    run = await engine.runs.get(RUN)
    assert run.desired_state == run_pb2.DESIRED_STATE_PAUSED


@pytest.mark.parametrize("token", ["x", "2026-01-01|r", "|", "-1", "9" * 5_000])
async def test_tokens_that_nobody_gave_out_are_refused(engine: Engine, host: PlayedHost, token: str) -> None:
    await answered(engine, host, request())
    with pytest.raises(InvalidDefinition, match="page_token"):
        await engine.runs.page(PLAN, 2, token)
    with pytest.raises(InvalidDefinition, match="resume_token"):
        await anext(engine.runs.watch(RUN, token))


async def test_runs_of_an_environment_that_is_not_there_are_not_listed(engine: Engine, host: PlayedHost) -> None:
    assert await engine.runs.page(PLAN, 10, "") == ([], "")
    with pytest.raises(NotFound, match="there are `e`"):
        await engine.runs.page("environments/x/plans/p", 10, "")


async def test_a_check_of_a_plan_tells_what_the_systems_do_not_have(engine: Engine, host: PlayedHost) -> None:
    checking = asyncio.create_task(engine.runs.check(PLAN))
    missing = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `items`")
    wrong = run_pb2.Failure(reason="INVALID_DEFINITION", message="no column `x`", field="key")
    while not checking.done():
        if task := await host.claim():
            await host.finish(task, {"items": missing, "orders": wrong}[task.inspect.dataset.dataset_id])
        await asyncio.sleep(0)
    found = {problem.field: problem.description for problem in (await checking).problems}
    assert found == {
        "phases.a.datasets.orders.key": "no column `x`",
        "phases.b.datasets.items": "there is no `items`",
    }


async def test_a_run_that_was_cancelled_is_not_retried_and_nothing_is_looked_at(
    engine: Engine, host: PlayedHost
) -> None:
    await answered(engine, host, request())
    await engine.runs.steer(RUN, DesiredState.CANCELLED, ME)
    with pytest.raises(FailedPrecondition, match="only a failed run"):
        await engine.runs.retry(RUN, ME)
    assert engine.hosts.demand() == {}


async def test_too_many_triggers_and_illegal_names_are_refused_together(engine: Engine, host: PlayedHost) -> None:
    wanted = run_pb2.Run(triggers={str(number): "" for number in range(65)})
    with pytest.raises(InvalidDefinition) as error:
        await engine.runs.start(request(run_id="R", run=wanted), ME)
    assert [problem.field for problem in error.value.problems] == ["run_id", "run.triggers"]


async def test_a_name_that_another_run_has_is_refused(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    with pytest.raises(AlreadyExists):
        await answered(engine, host, request(run=run_pb2.Run(triggers={"day": "2"})))


async def test_a_connection_and_a_plan_in_use_by_a_run_are_not_deleted(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    with pytest.raises(FailedPrecondition, match="unfinished run"):
        await engine.store.transact(lambda unit: engine.plans.delete(unit, PLAN, "", ME, is_forced=True))
    emptied = plan_pb2.Plan(name=PLAN)
    await engine.store.transact(
        lambda unit: engine.plans.update(unit, emptied, FieldMask(paths=["phases"]), ME, is_dry=False)
    )
    name = "environments/e/connections/legacy"
    with pytest.raises(FailedPrecondition, match=f"in use by {RUN}"):
        await engine.store.transact(lambda unit: engine.catalog.delete(unit, CONNECTIONS, name, "", ME))
    await engine.runs.steer(RUN, DesiredState.CANCELLED, ME)
    await engine.store.transact(lambda unit: engine.catalog.delete(unit, CONNECTIONS, name, "", ME))


async def test_the_copy_that_is_under_way_is_timed(engine: Engine, host: PlayedHost) -> None:
    await answered(engine, host, request())
    task = await host.claim()
    assert task is not None
    engine.clock.advance(4)
    dataset = (await engine.runs.get(RUN)).phases["a"].datasets["orders"]
    assert dataset.copy_seconds == 4
    await host.finish(task)
    engine.clock.advance(4)
    assert (await engine.runs.get(RUN)).phases["a"].datasets["orders"].copy_seconds == 4


async def test_a_plan_of_an_unknown_number_of_rows_says_so(engine: Engine, host: PlayedHost) -> None:
    unknown = run_pb2.Inspection()
    unknown.source.rows = -1
    run = await answered(engine, host, request(), orders=worker_pb2.TaskResult(inspect=unknown))
    assert run.rows_expected == -1


async def test_many_runs_of_a_plan_that_are_started_at_once_look_at_its_datasets_once(
    engine: Engine, host: PlayedHost
) -> None:
    asked = [request(run_id="", run=run_pb2.Run(triggers={"uid": str(number)})) for number in range(50)]
    starting = [asyncio.create_task(engine.runs.start(each, ME)) for each in asked]
    kinds = []
    while not all(task.done() for task in starting):
        if task := await host.claim():
            kinds.append(task.WhichOneof("work"))
            await host.finish(task)
        await asyncio.sleep(0)
    runs = [await task for task in starting]
    assert len({run.name for run in runs}) == 50
    assert [dict(run.triggers)["uid"] for run in runs] == [str(number) for number in range(50)]
    assert kinds.count("inspect") == 2, "one look for each dataset"
    for run in runs:
        frozen = await engine.board.revision(run.name)
        assert set(frozen.inspections) == {"a/orders", "b/items"}


async def test_runs_that_are_started_at_once_are_each_refused_with_what_is_wrong(
    engine: Engine, host: PlayedHost
) -> None:
    refused = run_pb2.Failure(reason="INVALID_DEFINITION", message="no such table", field="source.relation")
    starting = [
        asyncio.create_task(engine.runs.start(request(run_id="", run=run_pb2.Run(triggers={"uid": uid})), ME))
        for uid in "abc"
    ]
    while not all(task.done() for task in starting):
        if task := await host.claim():
            await host.finish(task, refused if task.inspect.dataset.dataset_id == "orders" else None)
        await asyncio.sleep(0)
    for found in await asyncio.gather(*starting, return_exceptions=True):
        assert isinstance(found, InvalidDefinition)
        assert [problem.field for problem in found.problems] == ["phases.a.datasets.orders.source.relation"]
