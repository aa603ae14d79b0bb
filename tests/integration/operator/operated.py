"""An operator at work between a cluster in memory and an engine that serves."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.clusters.election import LeadershipLost
from pymigrate.engine.application.clusters.leading import LedCluster
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.operator.objects import RESOURCE_TYPES, EnvironmentRule
from pymigrate.engine.entrypoints.operator.operator import BuildRuns, Operator, OperatorOptions
from pymigrate.engine.ports.cluster import EVENTS, Object, ObjectMissing
from pymigrate.engine.testing.cluster_faults import ClusterCall
from pymigrate.engine.testing.clusters import MemoryCluster
from tests.integration.engine.served import ServedEngine
from tests.unit.application.gitops.applied import phase

SECONDS_MAX = 30.0
Found = TypeVar("Found")
Spec = Mapping[str, Any]


@dataclass
class Scene:
    """Objects are named `word namespace/name`."""

    cluster: MemoryCluster
    engine: EngineCalls
    options: OperatorOptions
    build_runs: BuildRuns | None = None
    seed: int = 1
    is_leading: bool = True
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    engine_calls: list[str] = field(default_factory=list)

    def require_leading(self) -> None:
        if not self.is_leading:
            raise LeadershipLost("another leads")

    def start(self) -> None:
        """Begins to work, as a process that starts does."""
        self.ending = asyncio.Event()
        self.operator = Operator(
            LedCluster(self.cluster, self.require_leading),
            self.engine,
            SystemClock(),
            random.Random(self.seed),
            self.options,
            self.build_runs,
        )
        self.running = asyncio.ensure_future(self.operator.run(self.ending))

    async def stop(self) -> None:
        """Ends in order."""
        self.ending.set()
        await self.running

    async def kill(self) -> None:
        """Ends at once, with whatever is under way."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def apply(self, name: str, spec: Spec | None = None, **metadata: Any) -> Object:
        """As `kubectl apply`: creates it, or changes what is declared."""
        word, namespace, object_name = _parts(name)
        kind = RESOURCE_TYPES[word]
        patch: dict[str, Any] = {"metadata": metadata} if metadata else {}
        try:
            known = await self.cluster.get(kind, namespace, object_name)
        except ObjectMissing:
            body = {
                "apiVersion": kind.api_version,
                "kind": word,
                "metadata": {"namespace": namespace, "name": object_name, **metadata},
                "spec": dict(spec or {}),
            }
            return await self.cluster.create(kind, body)
        if spec is not None:
            patch["spec"] = dict.fromkeys(known.get("spec") or {}) | dict(spec)
        return await self.cluster.patch(kind, namespace, object_name, patch)

    async def delete(self, name: str) -> None:
        """As `kubectl delete`, without waiting."""
        word, namespace, object_name = _parts(name)
        await self.cluster.delete(RESOURCE_TYPES[word], namespace, object_name)

    async def get(self, name: str) -> Object:
        word, namespace, object_name = _parts(name)
        return await self.cluster.get(RESOURCE_TYPES[word], namespace, object_name)

    async def until(self, name: str, holds: Callable[[Object], bool]) -> Object:
        """The object, as soon as something holds of it. By watching, so that nothing is missed and nobody sleeps."""
        word, namespace, object_name = _parts(name)
        kind = RESOURCE_TYPES[word]
        seen: Object | None = None
        try:
            async with asyncio.timeout(SECONDS_MAX):
                version = self.cluster.resource_version
                try:
                    seen = await self.get(name)
                    if holds(seen):
                        return seen
                except ObjectMissing:
                    pass  # it is yet to be made, which the watch tells
                async for change in self.cluster.watch(kind, version, namespace):
                    if change.object["metadata"].get("name") == object_name:
                        seen = change.object
                        if holds(seen):
                            return seen
        except TimeoutError as error:
            raise AssertionError(f"{name} never came to what was waited for: {seen}") from error
        raise AssertionError(f"the watch of {name} ended: {seen}")

    async def until_told(
        self, name: str, reason: str, type_: str = "Ready", status: str | None = None, text: str = ""
    ) -> str:
        """The message of a condition, as soon as it is told of the newest generation with this reason, and with this text in it."""

        def holds(found: Object) -> bool:
            condition = condition_of(found, type_)
            return (
                condition.get("reason") == reason
                and condition.get("observedGeneration") == found["metadata"]["generation"]
                and status in {None, condition.get("status")}
                and text in condition["message"]
            )

        found = await self.until(name, holds)
        return str(condition_of(found, type_)["message"])

    async def until_ready(self, *names: str) -> None:
        for name in names:
            await self.until_told(name, "Applied", status="True")

    async def until_gone(self, name: str) -> None:
        word, namespace, object_name = _parts(name)
        await self.eventually(
            lambda: (
                not any(
                    (each["metadata"]["namespace"], each["metadata"]["name"]) == (namespace, object_name)
                    for each in self.cluster.objects(RESOURCE_TYPES[word])
                )
            )
        )

    async def eventually(self, holds: Callable[[], bool]) -> None:
        """As soon as the loop has brought about something; each turn lets everybody act."""
        async with asyncio.timeout(SECONDS_MAX):
            while not holds():
                await SystemClock().sleep(0.002)

    async def quiet(self) -> None:
        """Until there is nothing to be done."""
        operator = self.operator
        await self.eventually(
            lambda: not (len(operator.first) + len(operator.queue) + operator.first.running + operator.queue.running)
        )

    def events(self) -> list[tuple[str, str, str, int]]:
        """Which objects were told what: name, type, reason, count."""
        return sorted(
            (each["involvedObject"]["name"], each["type"], each["reason"], each["count"])
            for each in self.cluster.objects(EVENTS)
        )

    def writes(self) -> list[ClusterCall]:
        """Those that are no Events."""
        return [each for each in self.cluster.writes if each.kind != EVENTS]

    async def in_engine(self, word: str, name: str) -> Any:
        return await self.engine.get(word, name)


def condition_of(found: Object, type_: str) -> dict[str, Any]:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})


def conditions_of(found: Object) -> dict[str, str]:
    return {each["type"]: each["status"] for each in found["status"]["conditions"]}


@asynccontextmanager
async def operated(
    served: ServedEngine,
    *,
    rule: EnvironmentRule = EnvironmentRule.NAMESPACE,
    namespace: str = "",
    build_runs: BuildRuns | None = None,
    starts: bool = True,
) -> AsyncGenerator[Scene]:
    """An operator that works until the end of the test."""
    cluster = MemoryCluster(SystemClock())
    for kind in RESOURCE_TYPES.values():
        cluster.register(kind)

    def require_leading() -> None:
        scene.require_leading()

    calls: list[str] = []
    engine = EngineCalls(EngineAccess.of(served.home, {}), require_leading, lambda method, _: calls.append(method))
    scene = Scene(cluster, engine, OperatorOptions(rule=rule, namespace=namespace), build_runs, engine_calls=calls)
    if starts:
        scene.start()
    try:
        yield scene
    finally:
        if starts:
            await scene.kill()
        await engine.close()


def world(namespace: str = "prod") -> dict[str, Spec]:
    """An environment with a department, two connections, and a plan between them, which names all of these."""
    return {
        f"Environment {namespace}/{namespace}": {"displayName": "Production"},
        f"Department {namespace}/sales": {},
        f"Connection {namespace}/legacy": {"sqlite": {"path": "/data/legacy.db"}},
        f"Connection {namespace}/warehouse": {"duckdb": {"path": "/data/warehouse.duckdb"}},
        f"Plan {namespace}/p": {"phases": {"orders": phase()}},
    }


def _parts(name: str) -> tuple[str, str, str]:
    word, _, place = name.partition(" ")
    namespace, _, object_name = place.partition("/")
    return word, namespace, object_name


Scenery = Callable[[Scene], Awaitable[None]]
