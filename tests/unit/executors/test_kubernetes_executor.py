"""Worker hosts as Jobs: one a host, whoever asks and however often; ended for certain; and in no case a Job that is somebody else's."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from pymigrate.engine.adapters.executors.kubernetes import KubernetesExecutor
from pymigrate.engine.adapters.executors.kubernetes_jobs import job_of
from pymigrate.engine.adapters.executors.kubernetes_tidying import PODLESS_SECONDS_MAX
from pymigrate.engine.adapters.executors.kubernetes_troubles import OVERDUE_SECONDS
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import (
    EVENTS,
    JOBS,
    PODS,
    ClusterForbidden,
    ClusterUnavailable,
    ObjectRefused,
)
from pymigrate.engine.ports.executor import Executor
from tests.unit.executors.played import (
    GRACE_SECONDS,
    NAMESPACE,
    START_SECONDS,
    TTL_SECONDS,
    Played,
    pod_of,
    settled,
    terms,
)

SHARED = "shared@prod"


@pytest.fixture
def played() -> Played:
    """An empty cluster."""
    return Played()


async def test_a_host_has_one_job_however_often_it_is_asked_for(played: Played) -> None:
    async with played.executor() as made:
        executor: Executor = made
        assert executor.has_exited("h1")
        await executor.ensure("h1", SHARED)
        await executor.ensure("h1", SHARED)
        [job] = played.jobs()
        assert job["metadata"]["labels"]["pymigrate.io/host"] == "h1"
        assert not executor.has_exited("h1")


async def test_an_engine_that_starts_again_adopts_what_runs(played: Played) -> None:
    async with played.executor() as before:
        await before.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        await before.close([record])
    async with played.executor() as after:
        await after.ensure("h1", SHARED)
        assert len(played.jobs()) == 1
        assert after.is_running(record)


async def test_a_job_whose_making_was_not_answered_is_adopted_at_the_next_try(played: Played) -> None:
    async with played.executor() as executor:
        played.cluster.silence_watches()
        played.cluster.faults.fail(lambda: ClusterUnavailable("cut"), verb="create", kind=JOBS, is_after=True)
        await executor.ensure("h1", SHARED)
        assert [failure.reason for failure in executor.troubles()[SHARED]] == ["CLUSTER_UNAVAILABLE"]
        assert executor.has_exited("h1")
        await executor.ensure("h1", SHARED)
        assert len(played.jobs()) == 1
        assert not executor.has_exited("h1")
        assert [failure.reason for failure in executor.troubles().get(SHARED, ())] == []


async def test_a_job_of_that_name_that_is_not_ours_is_left_alone(played: Played) -> None:
    foreign = job_of(terms(), "h1", SHARED, 1)
    foreign["metadata"] |= {"labels": {"app": "another"}, "annotations": {}}
    await played.cluster.create(JOBS, foreign)
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        names = [job["metadata"]["name"] for job in played.jobs()]
        assert names == [foreign["metadata"]["name"], job_of(terms(), "h1", SHARED, 2)["metadata"]["name"]]


async def test_engines_of_two_instances_share_a_namespace(played: Played) -> None:
    async with played.executor() as one, played.executor(terms(instance="other")) as other:
        await one.ensure("h1", SHARED)
        assert other.has_exited("h1")
        await other.ensure("h1", SHARED)
        assert len(played.jobs()) == 2


async def test_nothing_is_started_before_it_is_known_what_runs(played: Played) -> None:
    played.cluster.faults.fail(lambda: ClusterForbidden("jobs may not be listed"), verb="list", kind=JOBS, times=99)
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        assert played.jobs() == []
        [failure] = executor.troubles()[SHARED]
        assert (failure.reason, "jobs may not be listed" in failure.message) == ("CLUSTER_FORBIDDEN", True)


async def test_a_host_whose_pod_has_ended_is_gone_and_gets_another_job(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        assert executor.is_running(record)
        await played.tell_pod(pod_of(record), phase="Failed")
        assert not executor.is_running(record)
        assert executor.has_exited("h1")
        await executor.ensure("h1", SHARED)
        assert [job["metadata"]["labels"]["pymigrate.io/incarnation"] for job in played.jobs()] == ["1", "2"]


async def test_the_job_of_a_host_that_ended_by_itself_stays_to_tell_why(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        await played.end(record, reason="Evicted")
        assert await executor.kill(record)
        assert len(played.jobs()) == 1
        await executor.ensure("h1", SHARED)
        assert [failure.reason for failure in executor.troubles()[SHARED]] == ["EVICTED"]
        played.clock.advance(61)
        assert [failure.reason for failure in executor.troubles().get(SHARED, ())] == ["NO_POD"]


async def test_a_pod_that_somebody_deleted_is_gone_once_its_node_says_so(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        await played.cluster.delete(PODS, NAMESPACE, pod_of(record))
        await settled()
        assert executor.is_running(record)
        await played.let_go(record)
        assert not executor.is_running(record)


async def test_of_a_pod_that_was_never_seen_the_lease_decides(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        unseen = replace(record, workload=f"{record.workload}x")
        assert executor.is_running(unseen)
        assert await executor.kill(unseen)


async def test_what_no_job_runs_is_left_to_its_lease(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        local = replace(await played.begin(played.jobs()[0]), workload="")
        calls = len(played.cluster.writes)
        await executor.drain(local)
        assert executor.is_running(local)
        assert await executor.kill(local)
        assert len(played.cluster.writes) == calls


async def test_a_killed_host_is_gone_only_once_its_node_says_so(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        killing = asyncio.create_task(executor.kill(record))
        await settled()
        assert not killing.done()
        assert played.jobs() == []
        [pod] = played.cluster.objects(PODS)
        assert pod["metadata"]["deletionGracePeriodSeconds"] == 1
        await played.let_go(record)
        await played.clock.run_for(1)
        assert await killing


async def test_a_host_that_its_node_does_not_end_is_not_said_to_be_gone_until_the_node_is_lost(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        assert not await ended(played, lambda: executor.kill(record))
        assert len(played.cluster.objects(PODS)) == 1
        await settled()
        assert [failure.reason for failure in executor.troubles()[SHARED]] == ["NODE_LOST"]
        played.clock.advance(OVERDUE_SECONDS)
        assert await ended(played, lambda: executor.kill(record))
        assert played.cluster.objects(PODS) == []


async def test_a_pod_that_has_taken_the_name_is_not_killed(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        _, _, job, uid, pod = record.workload.split("/")
        other = replace(record, workload=f"jobs/{NAMESPACE}/{job}/{uid[::-1]}/{pod}")
        assert await executor.kill(other)
        assert len(played.jobs()) == len(played.cluster.objects(PODS)) == 1


async def test_while_the_api_is_away_nobody_is_said_to_be_gone(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        played.cluster.faults.fail(lambda: ClusterUnavailable("away"), times=50)
        assert not await executor.kill(record)
        await executor.drain(record)
        assert executor.is_running(record)


async def test_a_drained_host_has_the_time_of_its_pod(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        draining = asyncio.create_task(executor.drain(record))
        await settled()
        [pod] = played.cluster.objects(PODS)
        assert pod["metadata"]["deletionGracePeriodSeconds"] == GRACE_SECONDS
        await played.clock.run_for(GRACE_SECONDS - 1)
        assert not draining.done()
        await played.let_go(record)
        await played.clock.run_for(1)
        await draining


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (lambda: ClusterForbidden("exceeded quota: few", is_quota=True), "QUOTA_EXCEEDED"),
        (lambda: ClusterForbidden("jobs.batch is forbidden"), "CLUSTER_FORBIDDEN"),
        (lambda: ObjectRefused("denied by policy"), "ADMISSION_REFUSED"),
        (lambda: ClusterUnavailable("connection refused"), "CLUSTER_UNAVAILABLE"),
    ],
)
async def test_why_no_job_could_be_made_is_told_until_one_is(
    played: Played, error: Callable[[], PyMigrateError], reason: str
) -> None:
    async with played.executor() as executor:
        played.cluster.faults.fail(error, verb="create", kind=JOBS)
        await executor.ensure("h1", SHARED)
        [failure] = executor.troubles()[SHARED]
        assert failure.reason == reason
        assert error().message in failure.message
        await executor.ensure("h1", SHARED)
        assert executor.troubles() == {}


async def test_why_no_job_could_be_made_is_forgotten_once_nobody_waits_for_it(played: Played) -> None:
    async with played.executor() as executor:
        played.cluster.faults.fail(lambda: ObjectRefused("no"), verb="create", kind=JOBS)
        await executor.ensure("h1", SHARED)
        await executor.tidy([], {"h1"})
        assert executor.troubles()
        await executor.tidy([], set())
        assert executor.troubles() == {}


async def test_a_job_without_a_pod_tells_what_the_cluster_says_of_it(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        [job] = played.jobs()
        message = 'Error creating: pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=0, limited: pods=0'
        event = {
            "metadata": {"name": "e", "namespace": NAMESPACE},
            "involvedObject": {"uid": job["metadata"]["uid"]},
            "type": "Warning",
            "message": message,
        }
        await played.cluster.create(EVENTS, event)
        await played.clock.run_for(10)
        [failure] = executor.troubles()[SHARED]
        assert (failure.reason, "exceeded quota: few" in failure.message) == ("QUOTA_EXCEEDED", True)
        await played.begin(job)
        assert executor.troubles() == {}


async def test_a_job_that_gets_no_pod_is_made_anew_so_that_the_cluster_tries_at_once(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        await executor.ensure("h2", SHARED)
        await played.begin(played.jobs()[1])
        first = played.jobs()[0]["metadata"]["uid"]
        played.clock.advance(PODLESS_SECONDS_MAX)
        await executor.tidy([], {"h1", "h2"})
        assert played.jobs()[0]["metadata"]["uid"] == first
        played.clock.advance(1)
        await executor.tidy([], {"h1", "h2"})
        await settled()
        assert (executor.has_exited("h1"), executor.has_exited("h2")) == (True, False)
        await executor.ensure("h1", SHARED)
        assert [job["metadata"]["labels"]["pymigrate.io/incarnation"] for job in played.jobs()] == ["2", "1"]


async def test_a_job_that_waits_in_vain_makes_way_for_one_of_the_terms_of_now(played: Played) -> None:
    async with played.executor(terms("pymigrate:misspelt")) as before:
        await before.ensure("h1", SHARED)
    async with played.executor(terms("pymigrate:2")) as after:
        await after.ensure("h1", SHARED)
        [job] = played.jobs()
        assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "pymigrate:2"


async def test_a_job_that_runs_stays_though_the_terms_have_changed(played: Played) -> None:
    async with played.executor(terms("pymigrate:1")) as before:
        await before.ensure("h1", SHARED)
        await played.begin(played.jobs()[0])
    async with played.executor(terms("pymigrate:2")) as after:
        await after.ensure("h1", SHARED)
        [job] = played.jobs()
        assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "pymigrate:1"


async def test_a_job_that_nobody_knows_is_deleted_when_it_has_not_come_in_time(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        await executor.ensure("h2", SHARED)
        known = await played.begin(played.jobs()[0])
        await played.begin(played.jobs()[1], is_bound=False)
        await executor.tidy([known], set())
        played.clock.advance(START_SECONDS - 1)
        await executor.tidy([known], set())
        assert len(played.jobs()) == 2
        played.clock.advance(2)
        await executor.tidy([known], set())
        assert [job["metadata"]["name"] for job in played.jobs()] == [known.workload.split("/")[2]]


async def test_jobs_that_have_ended_go_in_time_and_only_a_few_of_a_host_are_kept(played: Played) -> None:
    async with played.executor() as executor:
        for _ in range(5):
            await executor.ensure("h1", SHARED)
            newest = max(played.jobs(), key=lambda job: int(job["metadata"]["labels"]["pymigrate.io/incarnation"]))
            await played.end(await played.begin(newest))
        await executor.tidy([], set())
        await settled()
        assert [job["metadata"]["labels"]["pymigrate.io/incarnation"] for job in played.jobs()] == ["3", "4", "5"]
        played.clock.advance(TTL_SECONDS + 1)
        await executor.tidy([], set())
        assert played.jobs() == []


async def test_the_end_of_the_engine_ends_no_host(played: Played) -> None:
    async with played.executor() as executor:
        await executor.ensure("h1", SHARED)
        record = await played.begin(played.jobs()[0])
        writes = len(played.cluster.writes)
        await executor.close([record])
        assert len(played.cluster.writes) == writes


async def ended(played: Played, kill: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    """What killing says, after all the time that it takes."""
    killing = asyncio.ensure_future(kill())
    await played.clock.run_for(20)
    assert killing.done()
    return await killing


async def test_an_executor_has_the_shape_of_the_port() -> None:
    calls = {name for name in vars(Executor) if not name.startswith("_")}
    assert all(callable(getattr(KubernetesExecutor, name)) for name in calls)
