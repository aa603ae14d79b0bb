"""Environments in layers on a store in memory: a base that is a template, and what inherits from it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.inherited_kinds import INHERITED
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, secret_backend_pb2
from pymigrate.v1.shape import from_data

ME = Caller("me")


class RePatterns:
    """Patterns by the standard library, for tests alone."""

    def matches(self, pattern: str, text: str) -> bool:
        """Raises ValueError."""
        try:
            return re.fullmatch(pattern, text) is not None
        except re.error as error:
            raise ValueError(str(error)) from error


@dataclass
class Layered:
    """Environments, declared as a file of definitions would."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        numbers = count(1)
        self.surroundings = Surroundings(self.clock, lambda: f"{next(numbers):08d}-id", RePatterns())
        self.catalog = Catalog(self.surroundings)
        self.plans = Plans(self.catalog)

    async def environment(self, name: str, **spec: Any) -> Any:
        """Declares an environment, or declares it anew."""
        message = environment_pb2.Environment()
        from_data(spec, message)
        return await self._declare(ENVIRONMENTS, "", name, message)

    async def connection(self, environment: str, name: str, **spec: Any) -> Any:
        """Likewise a connection."""
        message = connection_pb2.Connection()
        from_data(spec, message)
        return await self._declare(CONNECTIONS, f"environments/{environment}", name, message)

    async def backend(self, environment: str, name: str, **spec: Any) -> Any:
        """Likewise a secret backend."""
        message = secret_backend_pb2.SecretBackend()
        from_data(spec, message)
        return await self._declare(SECRET_BACKENDS, f"environments/{environment}", name, message)

    async def department(self, environment: str, name: str, **spec: Any) -> Any:
        """Likewise a department."""
        message = environment_pb2.Department()
        from_data(spec, message)
        return await self._declare(DEPARTMENTS, f"environments/{environment}", name, message)

    async def plan(self, environment: str, name: str, **spec: Any) -> plan_pb2.Plan:
        """Likewise a plan with its phases."""
        message = plan_pb2.Plan()
        from_data(spec, message)
        parent = f"environments/{environment}"

        def work(unit: Unit) -> plan_pb2.Plan:
            if unit.resources.get(f"{parent}/plans/{name}") is None:
                return self.plans.create(unit, parent, name, message, ME, is_dry=False)
            message.name = f"{parent}/plans/{name}"
            return self.plans.update(unit, message, FieldMask(paths=["phases", "description"]), ME, is_dry=False)

        return await self.store.transact(work)

    async def held(self, name: str) -> Any:
        """An object as it holds; None where there is none. The name is without `environments/`."""

        def work(unit: Unit) -> Any:
            found = unit.resources.get(f"environments/{name}")
            return None if found is None else INHERITED[found.kind].held(found)

        return await self.store.read(work)

    async def names(self, environment: str) -> list[str]:
        """Everything that an environment has."""
        found = await self.store.read(lambda unit: list(unit.resources.within(f"environments/{environment}")))
        return [each.name.split("/", 2)[2] for each in found]

    async def versions(self, environment: str) -> dict[str, tuple[str, int]]:
        """Uid and version of everything that an environment has."""
        found = await self.store.read(lambda unit: list(unit.resources.within(f"environments/{environment}")))
        return {each.name.split("/", 2)[2]: (each.uid, each.version) for each in found}

    async def states(self, environment: str, collection: str) -> list[tuple[str, str, int]]:
        """What tells whether objects are as they were."""
        return await self.store.read(
            lambda unit: list(unit.resources.states(collection, f"environments/{environment}"))
        )

    async def delete(self, name: str) -> None:
        """Deletes an object; the name is without `environments/`."""
        whole = f"environments/{name}"
        kind: Any = INHERITED[name.split("/")[-2]] if "/" in name else ENVIRONMENTS
        await self.store.transact(lambda unit: self.catalog.delete(unit, kind, whole, "", ME))

    async def in_unit(self, work: Callable[[Unit], Any]) -> Any:
        """Does work in a transaction."""
        return await self.store.transact(work)

    async def _declare(self, kind: Any, parent: str, name: str, message: Any) -> Any:
        whole = f"{parent}/{kind.collection}/{name}" if parent else f"{kind.collection}/{name}"

        def work(unit: Unit) -> Any:
            if unit.resources.get(whole) is None:
                return self.catalog.create(unit, kind, parent, name, message, ME)
            message.name = whole
            return self.catalog.update(unit, kind, message, FieldMask(), ME)

        return await self.store.transact(work)


def told(error: InvalidDefinition) -> dict[str, str]:
    """The problems of a refusal by their paths, those of the environment that was written by its fields."""
    return {problem.field.removeprefix("environment."): problem.description for problem in error.problems}


def phase(source: str = "legacy", *datasets: str, **spec: Any) -> dict[str, Any]:
    """A phase of the sales department, from a source into the warehouse."""
    tables = {
        name: {
            "source": {"connection": source, "relation": name},
            "target": {"connection": "warehouse", "relation": name},
        }
        for name in datasets or ("orders",)
    }
    return {"department": "sales", "datasets": tables, **spec}


async def with_base(**spec: Any) -> Layered:
    """A template with a department, two connections and a plan of one phase; what inherits from it gives a host."""
    layered = Layered()
    parameters = {"host": {"pattern": "[a-z.-]+"}, "port": {"type": "integer", "defaultValue": "5432"}}
    await layered.environment("base", isTemplate=True, parameters=parameters, **spec)
    await layered.department("base", "sales")
    await layered.connection(
        "base", "legacy", postgres={"host": "${host}", "database": "erp", "user": "reader"}, lanesMax=4
    )
    await layered.connection("base", "warehouse", duckdb={"path": "/data/${host}/warehouse.duckdb"})
    await layered.plan("base", "p", phases={"orders": phase()})
    return layered
