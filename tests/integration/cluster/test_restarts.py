"""The adapter while etcd and the API server are killed and come back with their data."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.adapters.kubernetes.kubeconfig import kubeconfig_access
from pymigrate.engine.ports.cluster import LEASES, Change, ClusterUnavailable, WatchExpired
from tests.clusters import Cluster as ApiServer
from tests.clusters import cluster as started
from tests.integration.cluster.places import version_of
from tests.kube_proxy import kube_proxy

SECONDS_MAX = 60.0
NAMESPACE = "default"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with started(tmp_path_factory.mktemp("restarts")) as made:
        yield made


def opened(server: ApiServer, call_seconds_max: float = 10.0) -> KubernetesCluster:
    clock = SystemClock()
    return KubernetesCluster(
        lambda: kubeconfig_access(server.admin_kubeconfig, clock), clock, call_seconds_max=call_seconds_max
    )


def lease(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"holderIdentity": "one"}}


async def test_after_a_crash_of_the_api_server_the_same_client_goes_on_where_it_was(server: ApiServer) -> None:
    cluster = opened(server)
    made = await cluster.create(LEASES, lease("before"))
    watch = cluster.watch(LEASES, version_of(made), NAMESPACE)
    waiting = asyncio.ensure_future(anext(watch))
    changed = await cluster.patch(LEASES, NAMESPACE, "before", {"metadata": {"labels": {"a": "b"}}})
    assert (await waiting).object == changed
    waiting = asyncio.ensure_future(anext(watch))
    server.api_server.kill()
    with pytest.raises(ClusterUnavailable):
        await waiting
    with pytest.raises(ClusterUnavailable):
        await cluster.get(LEASES, NAMESPACE, "before")
    server.api_server.start()
    await asyncio.to_thread(server.wait)
    assert await cluster.get(LEASES, NAMESPACE, "before") == changed
    after = await cluster.create(LEASES, lease("after"))
    try:
        async with asyncio.timeout(SECONDS_MAX):
            told: Change | None = await anext(cluster.watch(LEASES, version_of(changed), NAMESPACE))
    except WatchExpired:
        told = None  # the server remembers less than it did
    assert told is None or told.object == after
    await cluster.close()


async def test_while_etcd_is_away_calls_end_in_their_time_and_after_it_has_come_back_they_are_done(
    server: ApiServer,
) -> None:
    cluster = opened(server, call_seconds_max=2.0)
    await cluster.create(LEASES, lease("kept"))
    server.etcd.kill()
    with pytest.raises(ClusterUnavailable):
        await cluster.patch(LEASES, NAMESPACE, "kept", {"metadata": {"labels": {"a": "b"}}})
    server.etcd.start()
    await asyncio.to_thread(server.wait)
    changed = await cluster.patch(LEASES, NAMESPACE, "kept", {"metadata": {"labels": {"a": "c"}}})
    assert changed["metadata"]["labels"] == {"a": "c"}
    await cluster.close()


async def test_a_server_that_is_paused_is_silent_and_goes_on(server: ApiServer) -> None:
    cluster = opened(server, call_seconds_max=2.0)
    server.api_server.pause()
    with pytest.raises(ClusterUnavailable, match="silent for too long"):
        await cluster.list(LEASES)
    server.api_server.go_on()
    await asyncio.to_thread(server.wait)
    assert (await cluster.list(LEASES)).resource_version
    await cluster.close()


async def test_behind_a_proxy_too_idle_connections_go_with_the_server(server: ApiServer, tmp_path: Path) -> None:
    with kube_proxy(server, tmp_path) as proxy:
        clock, path = SystemClock(), proxy.kubeconfig("behind", server.token)
        cluster = KubernetesCluster(lambda: kubeconfig_access(path, clock), clock)
        await asyncio.gather(*(cluster.list(LEASES) for _ in range(20)))
        server.api_server.kill()
        with pytest.raises(ClusterUnavailable):
            await cluster.list(LEASES)
        server.api_server.start()
        await asyncio.to_thread(server.wait)
        await asyncio.gather(*(cluster.list(LEASES) for _ in range(20)))
        await cluster.close()
