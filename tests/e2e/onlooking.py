"""One who looks on while custom resources live through chaos: by watches of its own, past whatever spoils the operator's, it holds every
version that the API ever told to what must always hold."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.clusters.mirror import Mirror
from pymigrate.engine.entrypoints.operator.objects import RESOURCE_TYPES
from pymigrate.engine.ports.cluster import Cluster, Object
from pymigrate.engine.testing.hosts import Outcome
from pymigrate.v1 import worker_pb2
from tests.integration.engine.served import ServedEngine

STATUS_BYTES_MAX = 16_384
WATCHED = ("Environment", "Department", "Connection", "Plan", "Run")
FAILED = frozenset({"failed", "rolled_back", "cancelled"})


class CountingEngine(ServedEngine):
    """Counts how often each lane was begun: by run and dataset."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.begun: Counter[tuple[str, str]] = Counter()

    def script(self, task: worker_pb2.Task) -> Outcome:
        """As the test says; each copy is noted."""
        if task.WhichOneof("work") == "copy":
            self.begun[task.copy.dataset.run, task.copy.dataset.dataset_id] += 1
        return super().script(task)


class Onlooker:
    """Collects what should never have been; `versions` is how many it has seen."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.versions = 0
        self.wrong: list[str] = []
        self._generations: dict[str, int] = {}
        self.mirrors = {
            word: Mirror(
                cluster,
                RESOURCE_TYPES[word],
                SystemClock(),
                random.Random(3),
                namespace=namespace,
                on_change=self._looker(word),
            )
            for word in WATCHED
        }

    def _looker(self, word: str) -> Any:
        def on_change(_: str, name: str, found: Object | None) -> None:
            if found is not None:
                self.versions += 1
                self.wrong.extend(f"{word} {name}: {each}" for each in self.look(found))

        return on_change

    def look(self, found: Object) -> list[str]:
        """What is wrong with a version of an object, given those that came before."""
        status: dict[str, Any] = dict(found.get("status") or {})
        uid, wrong = found["metadata"]["uid"], []
        observed = int(status.get("observedGeneration", 0))
        if observed < self._generations.get(uid, 0):
            wrong.append(f"observedGeneration went from {self._generations[uid]} back to {observed}")
        if observed > found["metadata"]["generation"]:
            wrong.append(f"observedGeneration {observed} is ahead of {found['metadata']['generation']}")
        self._generations[uid] = max(observed, self._generations.get(uid, 0))
        if (size := len(json.dumps(status).encode())) >= STATUS_BYTES_MAX:
            wrong.append(f"the status has {size} bytes")
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        wrong.extend(
            f"{each['type']} is of generation {each.get('observedGeneration')}, and the status of {observed}"
            for each in conditions.values()
            if each.get("observedGeneration") != observed
        )
        if conditions.get("Ready", {}).get("status") == "True" and _has_failed(status):
            wrong.append(f"Ready, and yet failed: {status}")
        return wrong


def _has_failed(status: dict[str, Any]) -> bool:
    phases = [each.get("state", "") for each in status.get("phases", ())]
    lanes = status.get("lanes") or {}
    return (
        bool(int(lanes.get("failed", 0)))
        or status.get("state", "") in FAILED
        or any(each in FAILED for each in phases)
        or "failure" in status
    )


@asynccontextmanager
async def onlooking(cluster: Cluster, namespace: str) -> AsyncGenerator[Onlooker]:
    """Looks on until the end, and fails the test where anything was wrong."""
    made = Onlooker(cluster, namespace)
    looking = [asyncio.ensure_future(mirror.run()) for mirror in made.mirrors.values()]
    try:
        await asyncio.gather(*(mirror.synced() for mirror in made.mirrors.values()))
        yield made
    finally:
        for each in looking:
            each.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
    assert made.wrong == []
    assert made.versions > 0
