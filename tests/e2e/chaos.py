"""The operator amid chaos: between a real API server, behind a proxy that spoils requests, and an engine whose hosts are scripted.

Each test has a namespace, an engine and an onlooker of its own; the API server and the proxy are a module's.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.cluster import WATCH_SECONDS, KubernetesCluster
from pymigrate.engine.adapters.kubernetes.kubeconfig import kubeconfig_access
from pymigrate.engine.application.clusters.leading import LedCluster
from pymigrate.engine.entrypoints.custom_resources import custom_resource_definitions
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.operator.objects import ENVIRONMENT, RESOURCE_TYPES, EnvironmentRule
from pymigrate.engine.entrypoints.operator.operator import Operator, OperatorOptions
from pymigrate.engine.entrypoints.operator.runs import Runs
from pymigrate.engine.ports.cluster import ClusterUnavailable, Object, ObjectExists, ObjectMissing
from pymigrate.v1 import run_pb2
from tests.clusters import Cluster, cluster
from tests.e2e.onlooking import WATCHED, CountingEngine, Onlooker, onlooking
from tests.integration.operator.operated import condition_of
from tests.kube_faults import Request
from tests.kube_proxy import KubeProxy, kube_proxy
from tests.unit.application.gitops.applied import phase

SECONDS_MAX = 90.0
LOOK_SECONDS = 0.05
TRIES_MAX = 200
GATE = {"sign_off": {"point": "before_start"}}
PLAN = "environments/e/plans/p"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the tests of a module share."""

    server: Cluster
    proxy: KubeProxy


@contextmanager
def grounds(folder: Path, *, controllers: bool = False) -> Iterator[Grounds]:
    """An API server that knows the custom resources, and a proxy before it."""
    with cluster(folder, controllers=controllers) as server, kube_proxy(server, folder) as proxy:
        define(server)
        yield Grounds(server, proxy)


def define(server: Cluster) -> None:
    """The custom resources, once they are served."""
    made = list(custom_resource_definitions().values())
    server.kubectl.apply(*made)
    names = [f"crd/{each['metadata']['name']}" for each in made]
    server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)


@dataclass
class OperatorInside:
    """An operator in the test's process, that believes that it leads; gone at `kill`, with whatever is under way."""

    kubeconfig: Path
    home: Path
    namespace: str
    watch_seconds: int = WATCH_SECONDS
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Begins to work."""
        clock = SystemClock()
        self.cluster = KubernetesCluster(
            lambda: kubeconfig_access(self.kubeconfig, clock),
            clock,
            watch_seconds=self.watch_seconds,
            silence_margin_seconds=1.0,
        )
        self.engine = EngineCalls(
            EngineAccess.of(self.home, {}), lambda: None, lambda method, _: self.calls.append(method)
        )
        options = OperatorOptions(rule=EnvironmentRule.ANNOTATION, namespace=self.namespace)
        self.operator = Operator(
            LedCluster(self.cluster, lambda: None), self.engine, clock, random.Random(1), options, Runs
        )
        self.running = asyncio.ensure_future(self.operator.run(asyncio.Event()))

    async def kill(self) -> None:
        """Ends at once."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.engine.close()
        await self.cluster.close()


@dataclass
class ChaosScene:
    """Objects are named `Word name`. `cluster` goes past the proxy."""

    grounds: Grounds
    cluster: KubernetesCluster
    engine: CountingEngine
    namespace: str
    onlooker: Onlooker

    def kubeconfig(self, token: str = "") -> Path:
        """By which the API is reached through the proxy, as the administrator where no token is said. It is the same file each time."""
        return self.grounds.proxy.kubeconfig(f"of-{self.namespace}", token or self.grounds.server.token)

    @asynccontextmanager
    async def operated(self, *, watch_seconds: int = WATCH_SECONDS, token: str = "") -> AsyncGenerator[OperatorInside]:
        """With an operator in this process."""
        operator = OperatorInside(self.kubeconfig(token), self.engine.home, self.namespace, watch_seconds)
        operator.start()
        try:
            yield operator
        finally:
            await operator.kill()

    async def apply(self, name: str, spec: Mapping[str, Any]) -> None:
        """As a person does, who tries again while the API is away."""
        word, _, object_name = name.partition(" ")
        kind = RESOURCE_TYPES[word]
        metadata = {"namespace": self.namespace, "name": object_name, "annotations": {ENVIRONMENT: "e"}}
        body = {"apiVersion": kind.api_version, "kind": word, "metadata": metadata, "spec": dict(spec)}
        for _ in range(TRIES_MAX):
            try:
                try:
                    await self.cluster.create(kind, body)
                except ObjectExists:
                    known = (await self.get(name)).get("spec") or {}
                    patch = {"spec": dict.fromkeys(known) | dict(spec)}
                    await self.cluster.patch(kind, self.namespace, object_name, patch)
            except ClusterUnavailable:
                await SystemClock().sleep(LOOK_SECONDS)
            else:
                return
        raise AssertionError(f"{name} can't be applied")

    async def apply_world(self, **phases: Mapping[str, Any]) -> None:
        """An environment that the engine's hosts serve, and a plan of these phases; of one without a gate where none is said."""
        objects: dict[str, Mapping[str, Any]] = {
            "Environment e": {},
            "Department sales": {},
            "Connection legacy": {"sqlite": {"path": "/legacy.db"}},
            "Connection warehouse": {"duckdb": {"path": "/warehouse.duckdb"}},
            "Plan p": {"phases": dict(phases) or {"orders": phase()}},
        }
        for name, spec in objects.items():
            await self.apply(name, spec)
        for name in objects:
            await self.until_told(name, "Applied", status="True")

    async def delete(self, name: str) -> None:
        word, _, object_name = name.partition(" ")
        with suppress(ObjectMissing):
            await self.cluster.delete(RESOURCE_TYPES[word], self.namespace, object_name)

    async def get(self, name: str) -> Object:
        word, _, object_name = name.partition(" ")
        return await self.cluster.get(RESOURCE_TYPES[word], self.namespace, object_name)

    async def until(self, name: str, holds: Callable[[Object | None], bool]) -> Object | None:
        """The object, None where it is gone, as soon as something holds of it."""
        seen: Object | None = None
        try:
            async with asyncio.timeout(SECONDS_MAX):
                while True:
                    with suppress(ClusterUnavailable):
                        try:
                            seen = await self.get(name)
                        except ObjectMissing as error:
                            seen = {} if error.is_type_missing else None
                        if holds(seen):
                            return seen
                    await SystemClock().sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise AssertionError(f"{name} never came to what was waited for: {seen}") from error

    async def until_told(self, name: str, reason: str, type_: str = "Ready", status: str | None = None) -> Object:
        """The object as soon as a condition of its newest generation has this reason."""

        def holds(found: Object | None) -> bool:
            condition = condition_of(found or {}, type_)
            return (
                bool(found)
                and condition.get("reason") == reason
                and condition.get("observedGeneration") == (found or {})["metadata"]["generation"]
                and status in {None, condition.get("status")}
            )

        return await self.until(name, holds) or {}

    async def until_gone(self, name: str) -> None:
        await self.until(name, lambda found: found is None)

    async def eventually(self, holds: Callable[[], bool]) -> None:
        """As soon as something holds."""
        async with asyncio.timeout(SECONDS_MAX):
            while not holds():
                await SystemClock().sleep(LOOK_SECONDS)

    def runs(self) -> dict[str, str]:
        """The state of each run that the engine has, by its name."""
        client = self.engine.client()
        try:
            answer = client.runs.ListRuns(run_pb2.ListRunsRequest(parent=PLAN), metadata=client.metadata, timeout=30)
        finally:
            client.channel.close()
        return {run.name: run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").lower() for run in answer.runs}

    def assert_one_run_each(self, *resources: Object) -> None:
        """Each of these had one run, which succeeded, and each of its lanes was begun once."""
        names = {run_name(each) for each in resources}
        assert self.runs() == dict.fromkeys(names, "succeeded")
        assert {run for run, _ in self.engine.begun} == names
        assert set(self.engine.begun.values()) == {1}


@asynccontextmanager
async def chaos(shared: Grounds, home: Path) -> AsyncGenerator[ChaosScene]:
    """A namespace, an engine, and one who looks on; the proxy does as it should again afterwards."""
    namespace = f"chaos-{next(_numbers)}"
    shared.server.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    engine = CountingEngine(home)
    engine.start()
    direct = KubernetesCluster.open(shared.server.admin_kubeconfig)
    try:
        async with onlooking(direct, namespace) as onlooker:
            yield ChaosScene(shared, direct, engine, namespace, onlooker)
    finally:
        shared.proxy.clear()
        shared.proxy.mend()
        await _forget(direct, namespace)
        await direct.close()
        await asyncio.to_thread(engine.stop)
        engine.close()


async def _forget(cluster: KubernetesCluster, namespace: str) -> None:
    """Takes away what is left: with finalizers that nobody answers for, its types could not be deleted."""
    for kind in (RESOURCE_TYPES[word] for word in WATCHED):
        for found in (await cluster.list(kind, namespace)).items:
            name = found["metadata"]["name"]
            with suppress(ObjectMissing):
                await cluster.patch(kind, namespace, name, {"metadata": {"finalizers": None}})
                await cluster.delete(kind, namespace, name)


def run_name(found: Object) -> str:
    """What the run of a resource is called in the engine."""
    return f"{PLAN}/runs/k-{found['metadata']['uid']}"


def held() -> dict[str, Any]:
    """A phase that waits for an approval."""
    return phase(gates=GATE)


def approval(plan: Object) -> dict[str, str]:
    """That of its gate."""
    return {"phase": "orders", "gate": "sign_off", "planHash": plan["status"]["planHash"]}


async def live(scene: ChaosScene, name: str) -> Object:
    """A Run's life from its making through a pause and an approval to its success, and away."""
    await scene.apply(name, {"plan": "p"})
    await scene.until_told(name, "ApprovalRequired", "Stalled")
    await scene.apply(name, {"plan": "p", "suspend": True})
    found = await scene.until_told(name, "Suspended", "Suspended")
    await scene.apply(name, {"plan": "p", "gateApprovals": [approval(found)]})
    await scene.until_told(name, "Succeeded", status="True")
    await scene.delete(name)
    await scene.until_gone(name)
    return found


def changes_objects(request: Request) -> bool:
    """Whether it writes what is no Lease, which is renewed again and again."""
    return request.is_write and "/leases" not in request.path
