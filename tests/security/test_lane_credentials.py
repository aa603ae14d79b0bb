"""Attack: a host reports or ends what is another's. A lane's credential is good for its host, its task, its fence and its lease alone."""

from collections.abc import Callable

import pytest

from pymigrate.engine.application.lane_credentials import LaneCredentials
from pymigrate.engine.domain.errors import NotPermitted
from pymigrate.engine.domain.run_states import TaskState
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.hosts import lease_of
from pymigrate.v1 import run_pb2, worker_pb2
from tests.unit.application.engines import PLAN, Engine, PlayedHost
from tests.unit.application.test_hosts import copying

FAILURE = run_pb2.Failure(reason="DATA_REFUSED", message="what an attacker says")
Forged = Callable[[Engine, worker_pb2.Task], str]


def _of(host: str = "workerHosts/h", fence: int = 0, task: str = "", seconds: float = 15.0, key: str = "") -> Forged:
    def made(engine: Engine, given: worker_pb2.Task) -> str:
        credentials = LaneCredentials(key or "the engine's token", engine.clock)
        return credentials.make(host, task or given.id, fence or given.fence, seconds)

    return made


FORGED: dict[str, Forged] = {
    "none": lambda engine, task: "",
    "no base64": lambda engine, task: "~" * 56,
    "cut off": lambda engine, task: task.credential[:-8],
    "of another host": _of(host="workerHosts/other"),
    "of another task": _of(task=f"{PLAN}/runs/r/tasks/other"),
    "of a fence before": _of(fence=99),
    "that has ended": _of(seconds=-0.001),
    "of another engine": _of(key="another engine's token"),
}


@pytest.fixture
async def engine() -> Engine:
    return Engine()


async def state_of(engine: Engine, task: worker_pb2.Task) -> TaskState:
    """What the engine thinks of a task."""
    return await engine.board.view(f"{PLAN}/runs/r", lambda run: run.tasks[task.id].state)


@pytest.mark.parametrize("forged", FORGED)
async def test_without_its_credential_a_task_is_neither_reported_nor_ended_nor_kept(
    engine: Engine, forged: str
) -> None:
    host, task = await copying(engine)
    host.is_renewing = False
    false = worker_pb2.Task()
    false.CopyFrom(task)
    false.credential = FORGED[forged](engine, task)
    with pytest.raises(NotPermitted):
        await host.report(false, 1, 10)
    with pytest.raises(NotPermitted):
        await host.finish(false, FAILURE)
    assert await state_of(engine, task) is TaskState.LEASED
    beat = await host.heartbeat(false)
    assert (list(beat.lost_task_ids), dict(beat.credentials)) == ([task.id], {})
    answer = await host.register(lease_of(false))
    assert list(answer.lost_task_ids) == [task.id]


async def test_the_credential_that_came_with_a_task_is_good_for_it_until_its_lease_ends(engine: Engine) -> None:
    host, task = await copying(engine)
    host.is_renewing = False
    await host.report(task, 1, 5)
    engine.clock.advance(engine.terms.lease_seconds)
    with pytest.raises(NotPermitted):
        await host.report(task, 1, 10)


async def test_each_heartbeat_and_each_registration_brings_a_fresh_one(engine: Engine) -> None:
    host, task = await copying(engine)
    host.is_renewing = False
    for renew in (lambda: host.heartbeat(task), lambda: host.register(lease_of(task))):
        engine.clock.advance(engine.terms.lease_seconds * 0.8)
        answer = await renew()
        task.credential = answer.credentials[task.id]
        await host.report(task, 1, 5)
    await host.finish(task)
    assert await state_of(engine, task) is TaskState.DONE


async def test_a_host_that_claims_another_s_task_gets_nothing_by_it(engine: Engine) -> None:
    _, task = await copying(engine)
    other = PlayedHost(engine, "workerHosts/other", pid=2)
    other.is_renewing = False
    answer = await other.register(lease_of(task))
    assert (list(answer.lost_task_ids), dict(answer.credentials)) == ([task.id], {})
    with pytest.raises(NotPermitted):
        await other.finish(task, FAILURE)


async def test_a_question_is_answered_by_the_host_that_was_asked(engine: Engine) -> None:
    credentials = LaneCredentials("the engine's token", engine.clock)
    lease = worker_pb2.TaskLease(
        task_id="inquiries/1", fence=1, credential=credentials.make("workerHosts/h", "inquiries/1", 1, 15)
    )
    assert credentials.is_good("workerHosts/h", lease)
    assert not credentials.is_good("workerHosts/other", lease)


def test_no_credential_is_another_s_with_its_parts_cut_elsewhere() -> None:
    credentials = LaneCredentials("the engine's token", ManualClock())
    made = credentials.make("workerHosts/h1", "1/tasks/t", 2, 15)
    lease = worker_pb2.TaskLease(task_id="/tasks/t", fence=2, credential=made)
    assert not credentials.is_good("workerHosts/h11", lease)
