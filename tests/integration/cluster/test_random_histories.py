"""The same calls at random on the fake and on a real API server: answers, errors and what watches tell are the same."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import LEASES, Object, Propagation, ResourceType
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.clusters import MemoryCluster
from tests.clusters import Cluster as ApiServer
from tests.integration.cluster.places import GADGETS, NAMESPACES, WIDGETS, Place, body, changes, fresh_namespace

CALLS = 60
SEEDS = 25
KINDS = (WIDGETS, GADGETS, LEASES)
NAMES = ("a", "b", "c")
HELD = ("conformance.example/held", "conformance.example/too")
# What only one of both can know, or says in its own time.
OWN = frozenset({"uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink", "namespace"})


class Player:
    """Makes the calls that chance names in one place. Answers are remembered, so that later calls are about what was read."""

    def __init__(self, place: Place, rng: random.Random) -> None:
        self._place = place
        self._cluster = place.cluster
        self._rng = rng
        self._read: list[tuple[ResourceType, Object | None]] = []

    async def step(self) -> object:
        """One call, and what became of it, as both places say it."""
        kind, name = self._rng.choice(KINDS), self._rng.choice(NAMES)
        verb = self._rng.choice(["create", "create", "get", "replace", "patch", "patch", "status", "delete"])
        try:
            told = await self._call(verb, kind, name)
        except PyMigrateError as error:
            self._read.append((kind, None))
            return verb, kind.kind, name, type(error).__name__
        same = self._same_version(told)
        is_there = told is not None and "resourceVersion" in told["metadata"]  # a dry run's is not
        self._read.append((kind, told if is_there else None))
        return verb, kind.kind, name, _plain(told), same

    async def _call(self, verb: str, kind: ResourceType, name: str) -> Object | None:
        fields, namespace = self._fields(kind), self._place.namespace
        is_sure, is_patch_of_metadata = self._rng.random() < 0.5, self._rng.random() < 0.5
        last = self._last(kind)
        if verb == "create":
            return await self._cluster.create(kind, body(kind, self._place, name, **fields), is_dry_run=is_sure)
        if verb == "get":
            return await self._cluster.get(kind, namespace, name)
        if verb == "replace":
            former = last or body(kind, self._place, name)
            metadata = {**former["metadata"], **{key: fields[key] for key in ("labels", "finalizers")}}
            return await self._cluster.replace(kind, {**former, "metadata": metadata, "spec": fields["spec"]})
        if verb == "delete":
            uid = last["metadata"]["uid"] if last and is_sure else ""
            await self._cluster.delete(kind, namespace, name, uid=uid, propagation=Propagation.BACKGROUND)
            return None
        patch: dict[str, Any] = {key: fields[key] for key in ("spec", "status") if key in fields}
        if is_patch_of_metadata:
            patch["metadata"] = {key: fields[key] for key in ("labels", "finalizers")}
        if is_sure and last:
            patch.setdefault("metadata", {})["resourceVersion"] = last["metadata"]["resourceVersion"]
        return await self._cluster.patch(kind, namespace, name, patch, subresource="status" if verb == "status" else "")

    def _fields(self, kind: ResourceType) -> dict[str, Any]:
        size = self._rng.randrange(3)
        held = [each for each in HELD if self._rng.random() < 0.3]
        spec = {"leaseTransitions": size} if kind == LEASES else {"size": size, "more": {"x": size}}
        status = {} if kind == LEASES else {"status": {"ready": self._rng.random() < 0.5}}
        return {"labels": {"n": str(self._rng.randrange(2))}, "finalizers": held, "spec": spec} | status

    def _last(self, kind: ResourceType) -> Object | None:
        """One of the last answers about this type, which may be old by now."""
        back = self._rng.randrange(3)
        found = [item for of, item in self._read if of == kind and item is not None]
        return found[-1 - back] if len(found) > back else None

    def _same_version(self, told: Object | None) -> list[int]:
        """Which of the earlier answers were of this very version: what was not written is not new."""
        if told is None:
            return []
        version = told["metadata"].get("resourceVersion")
        return [
            turn
            for turn, (_, item) in enumerate(self._read)
            if version and item is not None and item["metadata"].get("resourceVersion") == version
        ]


def _plain(told: Object | None) -> object:
    if told is None:
        return None
    metadata: Mapping[str, Any] = told["metadata"]
    kept = {key: value for key, value in metadata.items() if key not in OWN and value}
    if "deletionTimestamp" in kept:
        kept["deletionTimestamp"] = "set"
    return {**told, "metadata": kept}


async def _history(place: Place, seed: int) -> tuple[list[object], list[object]]:
    versions = {kind: (await place.cluster.list(kind, place.namespace)).resource_version for kind in KINDS}
    player = Player(place, random.Random(seed))
    answers = [await player.step() for _ in range(CALLS)]
    told: list[object] = []
    for kind in KINDS:
        # The last change that is made ends what is listened to.
        await place.cluster.create(kind, body(kind, place, "end", **({"spec": {}} if kind == LEASES else {})))
        count = 1
        while not told or told[-1] != "end":
            found = await changes(place, kind, versions[kind], count)
            if found[-1][1]["metadata"]["name"] == "end":
                told += [(change, _plain(item)) for change, item in found]
                told.append("end")
            count += 1
        told[-1] = kind.kind
    return answers, told


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_both_answer_and_tell_the_same(defined: ApiServer, seed: int) -> None:
    namespace = fresh_namespace()
    memory = MemoryCluster(ManualClock(), has_namespaces=True)
    memory.register(WIDGETS)
    memory.register(GADGETS, has_status=False)
    real = KubernetesCluster.open(defined.admin_kubeconfig)
    histories = []
    for cluster in (memory, real):
        await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        place = Place(cluster, namespace, lambda _: "", lambda _: None, lambda _: None)
        histories.append(await _history(place, seed))
    await real.close()
    for faked, answered in zip(histories[0][0], histories[1][0], strict=True):
        assert faked == answered
    assert histories[0][1] == histories[1][1]
