"""Both places, one after the other, for each test of the suite."""

from collections.abc import AsyncIterator

import pytest

from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.clusters import MemoryCluster
from tests.clusters import Cluster as ApiServer
from tests.integration.cluster.places import (
    GADGETS,
    NAMESPACES,
    WIDGETS,
    Place,
    define,
    fresh_namespace,
    serve,
    withdraw,
)


@pytest.fixture(scope="module")
def defined(api_server: ApiServer) -> ApiServer:
    """The file's API server, with the types of the suite."""
    define(api_server)
    return api_server


@pytest.fixture(params=["memory", "kubernetes"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    namespace = fresh_namespace()
    if request.param == "memory":
        memory = MemoryCluster(ManualClock(), has_namespaces=True)
        memory.register(WIDGETS)
        memory.register(GADGETS, has_status=False)
        await memory.create(NAMESPACES, {"metadata": {"name": namespace}})

        def forgotten(kind: object) -> str:
            memory.forget_history()
            return "1"

        yield Place(memory, namespace, forgotten, memory.register, memory.unregister)
        return
    server: ApiServer = request.getfixturevalue("defined")
    cluster = KubernetesCluster.open(server.admin_kubeconfig)
    try:
        await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        yield Place(
            cluster, namespace, lambda _: "1", lambda kind: serve(server, kind, {}), lambda kind: withdraw(server, kind)
        )
    finally:
        await cluster.close()
