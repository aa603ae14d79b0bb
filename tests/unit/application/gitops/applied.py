"""Sets of definitions applied to a store in memory, as a source or a call applies them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Any

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.applying import Applied, Applying, Scope
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import definition_pb2
from pymigrate.v1.definition_pb2 import DefinitionFile
from tests.unit.application.layered import RePatterns

OWNER = "git/warehouse"
DELETE = definition_pb2.PRUNE_POLICY_DELETE
ACTIONS = {1: "create", 2: "update", 3: "delete", 4: "keep"}
Spec = Mapping[str, Any]


@dataclass
class Scene:
    """A store, and who applies definitions to it. Objects are given as `word name` or `word environment/name` with their specs."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    suspended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        numbers = count(1)
        self.surroundings = Surroundings(self.clock, lambda: f"{next(numbers):012d}", RePatterns())
        self.catalog = Catalog(self.surroundings, lambda unit, owner: owner in self.suspended)
        self.plans = Plans(self.catalog)
        self.applying = Applying(self.catalog, self.surroundings)

    async def apply(self, objects: Mapping[str, Spec], **scope: Any) -> Applied:
        """Stages these objects, in one file each, and keeps what there is to keep unless there are problems."""
        return await self._do(objects, scope, is_kept=True)

    async def look(self, objects: Mapping[str, Spec], **scope: Any) -> Applied:
        """What applying these objects would do."""
        return await self._do(objects, scope, is_kept=False)

    async def _do(self, objects: Mapping[str, Spec], scope: dict[str, Any], *, is_kept: bool) -> Applied:
        owner = scope.pop("owner", OWNER)
        given = Scope(owner, **scope)
        read = read_definitions([file(name, spec) for name, spec in objects.items()], given.environment)

        def work(unit: Unit) -> Applied:
            applied = self.applying.stage(unit, read, Caller(owner), given)
            if is_kept and not applied.problems:
                applied.flush(unit)
            return applied

        return await self.store.transact(work)

    async def stored(self) -> dict[str, Resource]:
        """Everything that is declared, by name."""

        def work(unit: Unit) -> dict[str, Resource]:
            tops = [unit.resources.get(name) for name in unit.resources.names("environments", "")]
            found = [each for each in tops if each is not None]
            return {each.name: each for top in found for each in (top, *unit.resources.within(top.name))}

        return await self.store.read(work)

    async def get(self, name: str) -> Resource:
        """One object; the name is without `environments/`."""
        return (await self.stored())[f"environments/{name}"]

    async def audited(self) -> list[str]:
        """Who did what: `actor action subject`."""
        entries = await self.store.read(lambda unit: list(unit.audit.list(0, 10_000)))
        return [f"{each.actor} {each.action} {each.subject}" for each in entries]


def file(name: str, spec: Spec) -> DefinitionFile:
    """A file that declares one object: `Department prod/sales`."""
    word, _, place = name.partition(" ")
    environment, _, object_id = place.rpartition("/")
    metadata = {"name": object_id} | ({"environment": environment} if environment else {})
    document = {"apiVersion": "pymigrate.io/v1alpha1", "kind": word, "metadata": metadata, "spec": dict(spec)}
    path = f"{word}-{environment}-{object_id}.json"
    return DefinitionFile(path=path, content=json.dumps(document, indent=1).encode())


def world(more: Mapping[str, Spec] = MappingProxyType({}), environment: str = "prod") -> dict[str, Spec]:
    """A department, two connections, and a plan of one phase between them; with more, or other ones."""
    return {
        f"Environment {environment}": {},
        f"Department {environment}/sales": {},
        f"Connection {environment}/legacy": {"sqlite": {"path": "/data/legacy.db"}},
        f"Connection {environment}/warehouse": {"duckdb": {"path": "/data/warehouse.duckdb"}},
        f"Plan {environment}/p": {"phases": {"orders": phase()}},
        **more,
    }


def phase(*tables: str, source: str = "legacy", **spec: Any) -> dict[str, Any]:
    """A phase of the sales department, from a source into the warehouse."""
    datasets = {
        name: {
            "source": {"connection": source, "relation": name},
            "target": {"connection": "warehouse", "relation": name},
        }
        for name in tables or ("orders",)
    }
    return {"department": "sales", "datasets": datasets, **spec}


def changes(applied: Applied) -> dict[str, str]:
    """What is done with which object, without `environments/`."""
    return {each.name.removeprefix("environments/"): ACTIONS[each.action] for each in applied.changes}


def fields(applied: Applied, name: str) -> dict[str, tuple[str, str]]:
    """How an object differs: before and after by path."""
    (change,) = [each for each in applied.changes if each.name == f"environments/{name}"]
    return {each.path: (each.before, each.after) for each in change.fields}


def problems(applied: Applied) -> list[str]:
    """What keeps it from being applied: where, rule, path and description."""
    return [f"{each.file}:{each.line} {each.rule} {each.path}: {each.description}" for each in applied.problems]
