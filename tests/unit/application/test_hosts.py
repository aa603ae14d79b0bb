"""Worker hosts: who may register, what is leased, renewed, lost and taken over."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from datetime import datetime

import pytest

from pymigrate.engine.application.hosts import REST_SECONDS_MAX, WAIT_MAX_SECONDS, Hosts
from pymigrate.engine.application.known_hosts import LeaseTerms
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotFound
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.run_states import DesiredState, TaskState
from pymigrate.engine.domain.schedule import Limits, Scheduler
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.hosts import lease_of
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.application.engines import ME, PLAN, Engine, PlayedHost, phase


async def started(
    engine: Engine, *, desired: "run_pb2.DesiredState.ValueType" = run_pb2.DESIRED_STATE_RUNNING
) -> PlayedHost:
    """A host, and a run of a plan of one phase with one dataset that it could work on."""
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    run = asyncio.create_task(
        engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=run_pb2.Run(desired_state=desired)), ME)
    )
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    await run
    return host


async def copying(engine: Engine) -> tuple[PlayedHost, worker_pb2.Task]:
    """A host that copies the run's only lane."""
    host = await started(engine)
    task = await host.claim()
    assert task is not None
    assert task.WhichOneof("work") == "copy"
    return host, task


async def test_a_run_is_copied_verified_and_published(engine: Engine) -> None:
    host = await started(engine)
    assert await host.work() == ["copy", "verify", "publish"]
    run = await engine.runs.get(f"{PLAN}/runs/r")
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    assert run.phases["a"].datasets["orders"].verification.is_verified
    assert run.rows == 10


async def test_a_copy_is_told_everything_that_it_needs(engine: Engine) -> None:
    _, task = await copying(engine)
    work = task.copy.dataset
    assert (work.phase, work.dataset_id, work.source.sqlite.path) == ("a", "orders", "/legacy.db")
    assert task.copy.lane == f"{PLAN}/runs/r/lanes/a.orders"
    assert work.staging_id.isalnum()
    assert len(work.staging_id) <= 40


async def test_a_host_of_another_affinity_is_given_nothing(engine: Engine) -> None:
    await started(engine)
    other = PlayedHost(engine, "workerHosts/other", affinity="shared@e")
    await other.register()
    assert await other.claim() is None


async def test_a_claim_waits_until_there_is_work(engine: Engine) -> None:
    host = await started(engine, desired=run_pb2.DESIRED_STATE_PAUSED)
    claim = asyncio.create_task(host.claim(wait_seconds=20))
    await asyncio.sleep(0)
    await engine.runs.steer(f"{PLAN}/runs/r", DesiredState.RUNNING, ME)
    task = await claim
    assert task is not None


async def test_a_claim_of_a_host_whose_name_was_taken_meanwhile_gets_nothing(engine: Engine) -> None:
    host = await started(engine, desired=run_pb2.DESIRED_STATE_PAUSED)
    claim = asyncio.create_task(host.claim(wait_seconds=20))
    await asyncio.sleep(0)
    engine.clock.advance(engine.hosts.terms.lease_seconds + 1)
    late = PlayedHost(engine, pid=2)
    await late.register()
    await engine.runs.steer(f"{PLAN}/runs/r", DesiredState.RUNNING, ME)
    with pytest.raises(FailedPrecondition):
        await claim
    assert await late.claim() is not None


async def test_a_second_process_of_a_name_is_refused_while_the_first_is_there(engine: Engine) -> None:
    await PlayedHost(engine).register()
    with pytest.raises(FailedPrecondition, match="another process"):
        await PlayedHost(engine, pid=2).register()


async def test_a_process_that_registers_again_keeps_what_it_has_and_loses_what_it_does_not_tell(engine: Engine) -> None:
    host, task = await copying(engine)
    assert not (await host.register(lease_of(task))).lost_task_ids
    await host.report(task, 1, 5)
    await host.register()
    with pytest.raises(FailedPrecondition):
        await host.report(task, 2, 10)
    again = await host.claim()
    assert again is not None
    assert (again.id, again.fence) == (task.id, task.fence + 1)


async def test_an_old_session_is_refused(engine: Engine) -> None:
    host, task = await copying(engine)
    old = host.session
    await host.register(lease_of(task))
    host.session = old
    with pytest.raises(FailedPrecondition):
        await host.heartbeat(task)


async def test_a_host_that_nobody_knows_is_told_to_register(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await PlayedHost(engine).heartbeat()


async def test_heartbeats_keep_a_lease(engine: Engine) -> None:
    host, task = await copying(engine)
    for _ in range(5):
        engine.clock.advance(10)
        assert not (await host.heartbeat(task)).lost_task_ids
        await engine.hosts.expire()
    await host.report(task, 1, 10)


async def test_a_request_that_is_refused_makes_no_lease_older(engine: Engine) -> None:
    host, task = await copying(engine)
    for _ in range(3):
        engine.clock.advance(10)
        await host.heartbeat(task)
    with pytest.raises(NotFound):
        await engine.runs.approve(f"{PLAN}/runs/r", "a", "nobody asked", ME)  # the run is read from the store again
    await engine.hosts.expire()
    await host.report(task, 1, 10)


async def test_a_lease_that_no_heartbeat_names_is_taken_back(engine: Engine) -> None:
    host, task = await copying(engine)
    engine.clock.advance(engine.hosts.terms.lease_seconds + 1)
    await host.heartbeat()
    await engine.hosts.expire()
    again = await host.claim()
    assert again is not None
    assert again.fence == task.fence + 1
    assert list((await host.heartbeat(task)).lost_task_ids) == [task.id]


async def test_a_silent_host_is_overdue_and_what_it_had_is_given_to_another(engine: Engine) -> None:
    _, task = await copying(engine)
    assert not engine.hosts.overdue()
    engine.clock.advance(engine.hosts.terms.lease_seconds + 1)
    (record,) = engine.hosts.overdue()
    await engine.hosts.forget(record.name)
    other = PlayedHost(engine, "workerHosts/other")
    await other.register()
    again = await other.claim()
    assert again is not None
    assert (again.id, again.fence) == (task.id, task.fence + 1)


async def test_an_engine_that_takes_over_knows_the_hosts_and_lets_them_go_on(engine: Engine) -> None:
    host, task = await copying(engine)
    next_engine = engine.again()
    await next_engine.board.restore()
    await next_engine.hosts.restore()
    host.hosts = next_engine.hosts
    with pytest.raises(NotFound):
        await host.report(task, 1, 5)
    assert not (await host.register(lease_of(task))).lost_task_ids
    await host.finish(task)
    assert await host.work() == ["verify", "publish"]


async def test_an_engine_that_takes_over_gives_the_work_of_an_unknown_host_to_another(engine: Engine) -> None:
    _, task = await copying(engine)
    await engine.store.transact(lambda unit: unit.hosts.delete("workerHosts/h"))
    next_engine = engine.again()
    await next_engine.board.restore()
    await next_engine.hosts.restore()
    other = PlayedHost(next_engine, "workerHosts/other")
    await other.register()
    again = await other.claim()
    assert again is not None
    assert again.fence == task.fence + 1


async def test_a_paused_run_asks_its_hosts_to_drain_and_goes_on_from_there(engine: Engine) -> None:
    host, task = await copying(engine)
    await engine.runs.steer(f"{PLAN}/runs/r", DesiredState.PAUSED, ME)
    assert list((await host.heartbeat(task)).drain_task_ids) == [task.id]
    await host.finish(task, worker_pb2.LaneProgress(chunks=3, rows=30, bytes=300))
    (lane,) = await engine.runs.lanes(f"{PLAN}/runs/r")
    assert (lane.chunks, lane.rows) == (3, 30)
    assert await host.claim() is None
    await engine.runs.steer(f"{PLAN}/runs/r", DesiredState.RUNNING, ME)
    assert await host.claim() is not None


async def test_an_outcome_that_is_told_twice_counts_once(engine: Engine) -> None:
    host, task = await copying(engine)
    await host.finish(task)
    await host.finish(task)
    core = next(iter(engine.board.active()))
    assert core.aggregate.tasks[task.id].state is TaskState.DONE


async def test_a_failure_reaches_the_run_with_its_field(engine: Engine) -> None:
    host, task = await copying(engine)
    failure = run_pb2.Failure(reason="DATA_REFUSED", message="row 7", field="source.columns.x")
    await host.finish(task, failure)
    await host.work()
    run = await engine.runs.get(f"{PLAN}/runs/r")
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert run.failure.field == "phases.a.datasets.orders.source.columns.x"
    assert run.failure.message == "row 7"


async def test_a_host_is_given_no_more_tasks_than_it_may_run(engine: Engine) -> None:
    await engine.declare({"a": phase(*[f"d{number}" for number in range(20)])})
    host = PlayedHost(engine)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    while not run.done():
        if task := await host.claim():
            await host.finish(task)
        await asyncio.sleep(0)
    tasks = [await host.claim() for _ in range(20)]
    assert sum(task is not None for task in tasks) == engine.hosts.terms.tasks_max


async def test_demand_counts_what_waits_by_affinity(engine: Engine) -> None:
    await started(engine)
    assert engine.hosts.demand() == {"file:/warehouse.duckdb@e": 1}


async def test_a_host_of_the_same_process_number_but_another_start_is_another_process(engine: Engine) -> None:
    await PlayedHost(engine).register()
    other = PlayedHost(engine)
    other.message.pid_start_ticks = 2
    with pytest.raises(FailedPrecondition, match="another process"):
        await other.register()


async def test_a_host_of_the_same_process_number_and_start_in_another_pod_is_another_process(engine: Engine) -> None:
    host = PlayedHost(engine)
    host.message.workload = "jobs/prod/shared-1/u/a"
    await host.register()
    await host.register()
    other = PlayedHost(engine)
    other.message.workload = "jobs/prod/shared-1/u/b"
    with pytest.raises(FailedPrecondition, match="another process"):
        await other.register()
    assert [known.record.workload for known in engine.hosts.hosts()] == ["jobs/prod/shared-1/u/a"]


async def test_a_host_that_registers_again_keeps_the_questions_that_it_tells(engine: Engine) -> None:
    host = PlayedHost(engine)
    await host.register()
    question = worker_pb2.Task(test=worker_pb2.TestWork())
    answer = asyncio.create_task(engine.inquiries.ask(question, host.message.affinity, 60))
    await asyncio.sleep(0)
    task = await host.claim()
    assert task is not None
    assert not (await host.register(lease_of(task))).lost_task_ids
    await host.finish(task)
    assert (await answer).test.version == "Scripted 1"


async def test_a_question_of_a_host_that_is_gone_is_given_to_another(engine: Engine) -> None:
    host, other = PlayedHost(engine), PlayedHost(engine, "workerHosts/other", pid=2)
    await host.register()
    await other.register()
    question = worker_pb2.Task(test=worker_pb2.TestWork())
    answer = asyncio.create_task(engine.inquiries.ask(question, host.message.affinity, 60))
    await asyncio.sleep(0)
    task = await host.claim()
    assert task is not None
    assert list((await host.heartbeat(task)).lost_task_ids) == []
    await engine.hosts.forget(host.message.name)
    assert await other.work() == ["test"]
    assert (await answer).test.version == "Scripted 1"


async def test_a_drained_question_is_answered_by_the_next_claim(engine: Engine) -> None:
    host = PlayedHost(engine)
    await host.register()
    question = worker_pb2.Task(test=worker_pb2.TestWork())
    answer = asyncio.create_task(engine.inquiries.ask(question, host.message.affinity, 60))
    await asyncio.sleep(0)
    task = await host.claim()
    assert task is not None
    await host.finish(task, worker_pb2.LaneProgress())
    assert await host.work() == ["test"]
    await answer


async def test_it_is_known_when_a_host_called_last(engine: Engine) -> None:
    host = PlayedHost(engine)
    await host.register()
    engine.clock.advance(3)
    await host.heartbeat()
    (known,) = engine.hosts.hosts()
    assert known.record.heartbeat_time == engine.clock.now()
    (stored,) = await engine.store.read(lambda unit: unit.hosts.list())
    assert stored == known.record


async def test_a_full_host_that_waits_is_given_more_as_soon_as_it_has_room() -> None:
    engine = Engine(terms=LeaseTerms(tasks_max=1))
    await engine.declare({"a": phase("orders", "items")})
    host = PlayedHost(engine)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN), ME))
    while not run.done():
        await host.work()
        await asyncio.sleep(0)
    for _ in range(2):
        task = await host.claim()
        assert task is not None
        await host.finish(task)
    verification = await host.claim()
    assert verification is not None
    waiting = asyncio.create_task(host.claim(wait_seconds=30))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    await host.finish(verification)
    following = await waiting
    assert following is not None
    assert following.WhichOneof("work") == "verify"


async def test_a_claim_waits_no_longer_than_until_a_task_that_is_held_back_is_due(engine: Engine) -> None:
    host, task = await copying(engine)
    await host.finish(task, run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="away", is_temporary=True))
    assert await host.claim() is None
    due = await engine.hosts._seconds_to_retry(engine.clock.now())
    assert 0 < due <= 1
    engine.clock.advance(due)
    assert await host.claim() is not None


async def test_what_is_held_for_a_person_wakes_nobody_again_and_again(engine: Engine) -> None:
    host, task = await copying(engine)
    await host.finish(task, run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="away", is_temporary=True))
    await engine.runs.steer(f"{PLAN}/runs/r", DesiredState.PAUSED, ME)
    engine.clock.advance(3600)
    assert await host.claim() is None
    assert await engine.hosts._seconds_to_retry(engine.clock.now()) == WAIT_MAX_SECONDS


async def test_reports_of_what_is_not_known_are_refused_and_outcomes_dropped(engine: Engine) -> None:
    host = PlayedHost(engine)
    await host.register()
    gone = worker_pb2.Task(id=f"{PLAN}/runs/gone/tasks/a.orders.copy.1", fence=1)
    with pytest.raises(FailedPrecondition, match="no longer has"):
        await host.report(gone, 1, 1)
    await host.finish(gone)
    assert list((await host.heartbeat(gone)).lost_task_ids) == [gone.id]


class SlowScheduler(Scheduler):
    """One whose looks through the runs take a tenth of a second."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(random.Random(1))
        self._clock = clock
        self.looks = 0

    def grants(
        self, cores: Iterable[RunCore], limits: Limits, now: datetime, affinity: str | None = None
    ) -> Iterator[tuple[RunCore, Task]]:
        self.looks += 1
        self._clock.advance(0.1)
        yield from super().grants(cores, limits, now, affinity)


async def settled() -> None:
    """Everybody acts."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_look_in_vain_is_followed_by_a_rest_which_a_question_ends_and_no_other_work(engine: Engine) -> None:
    scheduler = SlowScheduler(engine.clock)
    parts = engine.store, engine.board, engine.inquiries, engine.limits, engine.surroundings, engine.terms, scheduler
    hosts = engine.hosts = Hosts(*parts, engine.credentials)
    host = PlayedHost(engine)
    await host.register()
    claim = asyncio.create_task(host.claim(wait_seconds=20))
    await settled()
    for _ in range(10):
        hosts.tell_work()
        await settled()
    assert scheduler.looks == 1
    engine.clock.advance(REST_SECONDS_MAX)
    hosts.tell_work()
    await settled()
    assert scheduler.looks == 2
    question = worker_pb2.Task(test=worker_pb2.TestWork())
    asking = asyncio.create_task(engine.inquiries.ask(question, "file:/warehouse.duckdb@e", 60))
    taken = await claim
    assert taken is not None
    assert (taken.id, scheduler.looks) == (question.id, 2)
    asking.cancel()


async def test_a_claim_ends_with_its_time(engine: Engine) -> None:
    host = PlayedHost(engine)
    await host.register()
    claim = asyncio.create_task(host.claim(wait_seconds=5))
    await asyncio.sleep(0)
    engine.clock.advance(6)
    engine.hosts.tell_work()
    assert await claim is None


async def test_a_hosts_work_is_offered_until_it_is_leased_and_forgotten_hosts_may_be_forgotten_again(
    engine: Engine,
) -> None:
    host, _ = await copying(engine)
    assert engine.hosts.demand() == {}
    await engine.hosts.forget(host.message.name)
    await engine.hosts.forget(host.message.name)
    assert engine.hosts.demand() == {"file:/warehouse.duckdb@e": 1}
    assert engine.hosts.hosts() == []


async def test_a_host_without_a_name_of_its_kind_or_an_affinity_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidDefinition) as error:
        await PlayedHost(engine, "hosts/h", affinity="").register()
    assert [problem.field for problem in error.value.problems] == ["host.name", "host.affinity"]
    assert engine.hosts.hosts() == []
