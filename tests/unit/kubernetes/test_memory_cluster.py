"""What the fake of a cluster does beyond the API: faults, watches that end or are silent, reads that are old, and what it remembers."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pymigrate.engine.ports.cluster import (
    JOBS,
    LEASES,
    PODS,
    Change,
    ChangeKind,
    ClusterBusy,
    ClusterUnavailable,
    Object,
    ObjectConflict,
    ObjectExists,
    ObjectMissing,
    Propagation,
    ResourceType,
    WatchExpired,
)
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.cluster_faults import ClusterCall
from pymigrate.engine.testing.clusters import MemoryCluster
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually

RUNS = ResourceType("example.com", "v1", "runs", "Run")


def run(name: str = "one", **fields: object) -> Object:
    return {
        "apiVersion": RUNS.api_version,
        "kind": RUNS.kind,
        "metadata": {"name": name, "namespace": "prod"},
        **fields,
    }


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster(clock: ManualClock) -> MemoryCluster:
    made = MemoryCluster(clock)
    made.register(RUNS)
    return made


def busy() -> ClusterBusy:
    return ClusterBusy("busy", retry_after_seconds=7.0)


async def settled(task: "asyncio.Future[Change]") -> bool:
    for _ in range(20):
        await asyncio.sleep(0)
    return task.done()


async def test_a_fault_before_a_call_leaves_it_undone(cluster: MemoryCluster) -> None:
    cluster.faults.fail(busy, verb="create", kind=RUNS)
    with pytest.raises(ClusterBusy):
        await cluster.create(RUNS, run())
    assert not cluster.objects(RUNS)
    await cluster.create(RUNS, run())


async def test_a_fault_after_a_call_hides_that_it_was_done(cluster: MemoryCluster) -> None:
    cluster.faults.fail(lambda: ClusterUnavailable("reset"), verb="create", is_after=True)
    with pytest.raises(ClusterUnavailable):
        await cluster.create(RUNS, run())
    with pytest.raises(ObjectExists):
        await cluster.create(RUNS, run())


async def test_a_fault_meets_the_calls_that_it_names_and_no_others(cluster: MemoryCluster) -> None:
    await cluster.create(RUNS, run())
    cluster.faults.fail(busy, verb="patch", kind=RUNS, name="one", subresource="status", skip=1, times=2)
    await cluster.patch(RUNS, "prod", "one", {"spec": {}})
    await cluster.patch(RUNS, "prod", "one", {"status": {"n": 0}}, subresource="status")
    for _ in range(2):
        with pytest.raises(ClusterBusy):
            await cluster.patch(RUNS, "prod", "one", {"status": {"n": 1}}, subresource="status")
    told = await cluster.patch(RUNS, "prod", "one", {"status": {"n": 2}}, subresource="status")
    assert told["status"] == {"n": 2}


async def test_every_call_may_fail_and_none_does_once_faults_are_cleared(cluster: MemoryCluster) -> None:
    await cluster.create(RUNS, run())
    cluster.faults.fail(busy, times=100)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: cluster.get(RUNS, "prod", "one"),
        lambda: cluster.list(RUNS),
        lambda: anext(cluster.watch(RUNS, "1")),
        lambda: cluster.create(RUNS, run("two")),
        lambda: cluster.replace(RUNS, cluster.objects(RUNS)[0]),
        lambda: cluster.patch(RUNS, "prod", "one", {}),
        lambda: cluster.delete(RUNS, "prod", "one"),
    ]
    for call in calls:
        with pytest.raises(ClusterBusy):
            await call()
    cluster.faults.clear()
    for call in calls:
        await call()


async def test_a_call_takes_as_long_as_it_is_said_to(cluster: MemoryCluster, clock: ManualClock) -> None:
    cluster.faults.delay(5.0, verb="create")
    making = asyncio.ensure_future(cluster.create(RUNS, run()))
    await clock.run_for(4.9)
    assert not making.done()
    assert not cluster.objects(RUNS)
    await clock.run_for(0.2)
    assert (await making)["metadata"]["name"] == "one"


async def test_a_hook_sees_each_call_and_may_write_in_between(cluster: MemoryCluster) -> None:
    """As when somebody else is a moment earlier."""
    await cluster.create(RUNS, run(spec={"n": 0}))
    read = await cluster.get(RUNS, "prod", "one")
    seen: list[str] = []

    async def be_first(call: ClusterCall) -> None:
        seen.append(call.verb)
        if call.verb == "replace":
            await cluster.patch(RUNS, "prod", "one", {"spec": {"n": 1}})

    cluster.faults.before.append(be_first)
    with pytest.raises(ObjectConflict):
        await cluster.replace(RUNS, {**read, "spec": {"n": 2}})
    assert seen == ["replace", "patch"]
    assert cluster.objects(RUNS)[0]["spec"] == {"n": 1}


async def test_calls_are_kept_in_order_and_a_dry_run_is_no_write(cluster: MemoryCluster) -> None:
    await cluster.create(RUNS, run(), is_dry_run=True)
    await cluster.create(RUNS, run())
    await cluster.list(RUNS)
    with pytest.raises(ObjectMissing):
        await cluster.delete(RUNS, "prod", "gone")
    assert [call.verb for call in cluster.calls] == ["create", "create", "list", "delete"]
    assert [(call.verb, call.name) for call in cluster.writes] == [("create", "one"), ("delete", "gone")]
    assert cluster.writes[0].body == run()


async def test_watches_end_break_and_are_silent_as_they_are_told(cluster: MemoryCluster) -> None:
    ended, cut = cluster.watch(RUNS, cluster.resource_version), cluster.watch(LEASES, cluster.resource_version)
    ending, cutting = asyncio.ensure_future(anext(ended)), asyncio.ensure_future(anext(cut))
    assert not await settled(ending)
    assert not await settled(cutting)
    cluster.end_watches(RUNS)
    with pytest.raises(StopAsyncIteration):
        await ending
    cluster.cut_watches()
    with pytest.raises(ClusterUnavailable):
        await cutting
    silent = cluster.watch(RUNS, cluster.resource_version)
    cluster.silence_watches()
    hearing = asyncio.ensure_future(anext(silent))
    made = await cluster.create(RUNS, run())
    cluster.bookmark()
    assert not await settled(hearing)
    cluster.speak()
    assert (await hearing).object == made
    assert (await anext(silent)).kind is ChangeKind.BOOKMARK


async def test_a_bookmark_tells_the_version_that_is_known_of(cluster: MemoryCluster) -> None:
    watch = cluster.watch(RUNS, cluster.resource_version)
    telling = asyncio.ensure_future(anext(watch))
    assert not await settled(telling)
    await cluster.create(LEASES, {"metadata": {"name": "other", "namespace": "prod"}})
    cluster.bookmark(RUNS)
    change = await telling
    assert (change.kind, change.object["metadata"]["resourceVersion"]) == (
        ChangeKind.BOOKMARK,
        cluster.resource_version,
    )


async def test_what_is_forgotten_expires_a_watch_from_before_and_none_from_after(cluster: MemoryCluster) -> None:
    before = cluster.resource_version
    await cluster.create(RUNS, run())
    cluster.forget_history(RUNS)
    with pytest.raises(WatchExpired):
        await anext(cluster.watch(RUNS, before))
    watch = cluster.watch(RUNS, cluster.resource_version)
    await cluster.create(RUNS, run("two"))
    assert (await anext(watch)).object["metadata"]["name"] == "two"


async def test_reads_may_be_as_old_as_a_version_while_writes_are_not(cluster: MemoryCluster) -> None:
    await cluster.create(RUNS, run(spec={"n": 0}))
    await cluster.create(RUNS, run("goes"))
    then = cluster.resource_version
    await cluster.patch(RUNS, "prod", "one", {"spec": {"n": 1}})
    await cluster.delete(RUNS, "prod", "goes")
    await cluster.create(RUNS, run("comes"))
    cluster.read_stale(RUNS, then)
    listing = await cluster.list(RUNS)
    assert [item["metadata"]["name"] for item in listing.items] == ["goes", "one"]
    assert listing.resource_version == then
    stale = await cluster.get(RUNS, "prod", "one")
    assert stale["spec"] == {"n": 0}
    with pytest.raises(ObjectConflict):
        await cluster.replace(RUNS, stale)
    cluster.read_stale(RUNS, None)
    assert (await cluster.get(RUNS, "prod", "one"))["spec"] == {"n": 1}


async def test_what_is_read_later_is_never_changed_through_what_was_written(cluster: MemoryCluster) -> None:
    mine: dict[str, Any] = {"metadata": {"name": "one", "namespace": "prod"}, "spec": {"template": {"n": 1}}}
    await cluster.create(JOBS, mine)
    mine["spec"]["template"] = {"n": 2}
    assert cluster.objects(JOBS)[0]["spec"] == {"template": {"n": 1}}


async def test_garbage_is_left_where_nobody_collects_it() -> None:
    cluster = MemoryCluster(ManualClock(), collects_garbage=False)
    job = await cluster.create(JOBS, {"metadata": {"name": "job", "namespace": "prod"}})
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": job["metadata"]["uid"]}
    pod = {"metadata": {"name": "pod", "namespace": "prod", "ownerReferences": [owner]}}
    await cluster.create(PODS, pod)
    await cluster.delete(JOBS, "prod", "job", propagation=Propagation.BACKGROUND)
    assert [item["metadata"]["name"] for item in cluster.objects(PODS)] == ["pod"]


async def test_an_owner_of_a_type_that_is_not_served_is_nobody_s_loss(cluster: MemoryCluster) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine", "uid": "u"}
    await cluster.create(PODS, {"metadata": {"name": "pod", "namespace": "prod", "ownerReferences": [owner]}})
    assert len(cluster.objects(PODS)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_of_many_who_write_one_version_one_does_in_any_order(seed: int) -> None:
    async def main(loop: VirtualLoop) -> tuple[int, int]:
        cluster = MemoryCluster(VirtualClock(loop))
        cluster.register(RUNS)
        read = await cluster.create(RUNS, run(spec={"n": -1}))

        async def write(number: int) -> bool:
            try:
                await cluster.replace(RUNS, {**read, "spec": {"n": number}})
            except ObjectConflict:
                return False
            return True

        done = await asyncio.gather(*(write(number) for number in range(10)))
        return sum(done), cluster.objects(RUNS)[0]["metadata"]["generation"]

    assert run_virtually(main, random.Random(seed)) == (1, 2)
