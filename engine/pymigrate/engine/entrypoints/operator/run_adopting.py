"""How a custom resource Run finds its run in the engine: by a name that is fixed, and noted with the finalizer before it is started."""

from collections.abc import Callable
from typing import Protocol

from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.entrypoints.custom_resources import RUN, resource_type
from pymigrate.engine.entrypoints.operator.objects import (
    FINALIZER,
    EnvironmentRule,
    Key,
    annotation_of,
    finalizers_of,
    has_finalizer,
    run_id,
    uid_of,
)
from pymigrate.engine.ports.cluster import Cluster, Object
from pymigrate.v1 import run_pb2

# The name of the run in the engine, from before its start.
RUN_NAME = "pymigrate.io/run"
SEGMENTS = 6


class RunReading(Protocol):
    """The engine's runs, one at a time."""

    async def get_run(self, name: str) -> run_pb2.Run:
        """A run. Raises NotFound."""
        ...


class RunHearing(Protocol):
    """What the engine tells of its runs."""

    def newest(self, uid: str) -> run_pb2.Run | None:
        """The run of a resource as it was told last; None where it was not."""
        ...


class RunAdopting:
    """`note` is told of objects as they were written. Where namespaces are environments, a name in another one is nobody's: whoever may
    write to a resource would reach there by its annotation."""

    def __init__(
        self,
        cluster: Cluster,
        engine: RunReading,
        stream: RunHearing,
        note: Callable[[Key, Object], None],
        rule: EnvironmentRule,
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._stream = stream
        self._note = note
        self._rule = rule
        self._versions: dict[str, int] = {}

    def name(self, found: Object, environment: str) -> str:
        """Its run's resource name as it is noted; empty: it is not."""
        name = _noted(found)
        is_there = self._rule is EnvironmentRule.ANNOTATION or environment_of(name) == f"environments/{environment}"
        return name if name and is_there else ""

    async def find(self, uid: str, name: str) -> run_pb2.Run | None:
        """The run as the stream told it, unless something newer was seen of it; None where the engine has none."""
        found = self._stream.newest(uid)
        if found is None or found.name != name or _version(found) < self._versions.get(uid, 0):
            try:
                found = await self._engine.get_run(name)
            except NotFound:
                return None
        self.note(uid, found)
        return found

    def note(self, uid: str, seen: run_pb2.Run) -> None:
        """A run as it was seen: nothing older is looked at from then on."""
        self._versions[uid] = max(_version(seen), self._versions.get(uid, 0))

    def forget(self, uid: str) -> None:
        """Of a resource that is gone."""
        self._versions.pop(uid, None)

    async def hold(self, key: Key, found: Object, name: str) -> Object:
        """With the finalizer and the name, in one write. Raises ObjectConflict."""
        if has_finalizer(found) and annotation_of(found, RUN_NAME) == name:
            return found
        finalizers = list(dict.fromkeys([*finalizers_of(found), FINALIZER]))
        metadata = {
            "resourceVersion": found["metadata"]["resourceVersion"],
            "finalizers": finalizers,
            "annotations": {RUN_NAME: name},
        }
        written = await self._cluster.patch(resource_type(RUN), key.namespace, key.name, {"metadata": metadata})
        self._note(key, written)
        return written


def declared_name(found: Object, environment: str, plan: str) -> str:
    """Its run's resource name as it is declared now."""
    return f"environments/{environment}/plans/{plan}/runs/{run_id(uid_of(found))}"


def _noted(found: Object) -> str:
    """The name that was noted of this very resource: copies of a resource have its annotations too."""
    for name in (str((found.get("status") or {}).get("name", "")), annotation_of(found, RUN_NAME)):
        if name.count("/") == SEGMENTS - 1 and last_segment(name) == run_id(uid_of(found)):
            return name
    return ""


def _version(run: run_pb2.Run) -> int:
    """Grows with each change of a run's state."""
    number = run.etag.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
