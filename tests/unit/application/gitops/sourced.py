"""A source with a repository in memory, on an engine whose store counts what is written, with passes that a test begins itself."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.applying import Applying
from pymigrate.engine.application.gitops.bells import Bells
from pymigrate.engine.application.gitops.definition_cache import DefinitionCache
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Outcome, Wish
from pymigrate.engine.application.gitops.passes import Passes
from pymigrate.engine.application.gitops.promoting import Promoting
from pymigrate.engine.application.gitops.reversing import Reversing
from pymigrate.engine.application.gitops.run_starting import RunStarting, StartsRuns
from pymigrate.engine.application.gitops.source_reading import SourceReading
from pymigrate.engine.application.gitops.source_secrets import SourceSecrets
from pymigrate.engine.application.gitops.sources import Sources, Wishes
from pymigrate.engine.application.gitops.suspension import is_suspended, status_of
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.entrypoints.loops.git_sources import GitSourceLoop
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import Repositories
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.repositories import MemoryHosted, MemoryRepositories, MemoryRepository
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import git_source_pb2, run_pb2

URL = "https://git.example.com/team/definitions.git"
NAME = "gitSources/warehouse"
ME = Caller("me")
Result = TypeVar("Result")

ENVIRONMENT = """apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {}
"""


def department(name: str, description: str = "") -> str:
    """A department as a file declares it."""
    said = f"{{displayName: {description}}}" if description else "{}"
    return f"apiVersion: pymigrate.io/v1alpha1\nkind: Department\nmetadata: {{name: {name}}}\nspec: {said}\n"


def plan(name: str, relation: str = "orders") -> str:
    """A plan of one phase with one dataset, with the connections and the department that it needs."""
    return f"""apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: {name}}}
spec:
  phases:
    first:
      department: sales
      datasets:
        orders:
          source: {{connection: legacy, relation: {relation}}}
          target: {{connection: warehouse, relation: {name}_orders}}
"""


SYSTEMS = """apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: legacy}
spec: {sqlite: {path: /legacy.db}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: warehouse}
spec: {duckdb: {path: /warehouse.duckdb}}
"""


async def at_once(work: Callable[[], Result], /) -> Result:
    """Does work where it is asked for: nothing of a test waits for threads."""
    return work()


class CountingStore(MemoryStore):
    """Counts units that write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.meddle: Callable[[Unit], None] | None = None

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """As the store, counted. Before the next one somebody else writes, where a test says so."""
        self.writes += 1
        if (meddle := self.meddle) is not None:
            self.meddle = None
            await super().transact(meddle)
        return await super().transact(work)


@dataclass
class PlayedRuns:
    """Starts runs by noting them: one of a plan and its triggers is the same run."""

    started: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    afterwards: Callable[[], None] | None = None

    async def start(self, request: run_pb2.StartRunRequest, caller: Caller) -> run_pb2.Run:
        """Starts one."""
        self.asked[caller.principal] += 1
        if self.failure is not None:
            raise self.failure
        key = (request.parent, request.run.triggers["git_commit"])
        self.started.setdefault(key, f"{request.parent}/runs/r{len(self.started) + 1}")
        if self.afterwards is not None:
            self.afterwards()
        return run_pb2.Run(name=self.started[key])


class SourceParts:
    """What an engine has of sources, over repositories in memory."""

    def __init__(
        self,
        store: Store,
        surroundings: Surroundings,
        catalog: Catalog,
        repositories: Repositories,
        runs: StartsRuns,
        redactor: Redactor,
        board: Board | None = None,
    ) -> None:
        clock = surroundings.clock
        board = board or Board(store, clock, random.Random(1))
        inquiries = Inquiries(surroundings.new_id, lambda: None)
        views = RunViews(board, Scheduler(random.Random(1)), clock)
        undoing = Runs(store, board, inquiries, catalog, surroundings, Topics(clock), views)
        self.places, self.metrics = MemorySecrets(redactor=redactor), MemoryMetrics()
        secrets = SourceSecrets(store, self.places.held, at_once)
        reading = SourceReading(repositories, secrets, DefinitionCache(), redactor.clean, at_once)
        applying, starting = Applying(catalog, surroundings), RunStarting(store, runs)
        self.passes = Passes(store, reading, applying, starting, clock, redactor.clean)
        self.bells: Bells[Outcome] = Bells()
        self.wishes = Wishes()
        self.reversing = Reversing(store, board, undoing, clock, self.bells.ring)
        self.passes.reverse_by(self.reversing.drafts)
        promoting = Promoting(store, catalog, reading, secrets, applying, clock, self.bells.ring)
        self.sources = Sources(store, catalog, self.passes, self.bells, self.wishes, clock, self.reversing, promoting)
        self.loop = GitSourceLoop(store, self.passes, self.bells, self.wishes, clock, random.Random(1), self.metrics)


@dataclass
class Sourced:
    """Everything of one engine that has to do with sources. `again` is the engine after it, on the same store and copies."""

    store: CountingStore = field(default_factory=CountingStore)
    clock: ManualClock = field(default_factory=ManualClock)
    hosted: MemoryHosted = field(default_factory=MemoryHosted)
    repositories: MemoryRepositories = field(default_factory=MemoryRepositories)
    runs: PlayedRuns = field(default_factory=PlayedRuns)
    numbers: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        self.repositories.hosted.setdefault(URL, self.hosted)
        self.redactor = Redactor()
        surroundings = Surroundings(self.clock, self._new_id)
        self.catalog = Catalog(surroundings, is_suspended)
        parts = self.parts = SourceParts(
            self.store, surroundings, self.catalog, self.repositories, self.runs, self.redactor
        )
        self.places, self.metrics = parts.places, parts.metrics
        self.passes, self.bells, self.wishes = parts.passes, parts.bells, parts.wishes
        self.sources, self.loop = parts.sources, parts.loop
        self.told: list[git_source_pb2.GitRevision] = []
        self.passes.follow(lambda _, revision: self.told.append(revision))

    def again(self) -> "Sourced":
        """The next engine: this one was killed."""
        return Sourced(self.store, self.clock, self.hosted, self.repositories, self.runs, self.numbers)

    def _new_id(self) -> str:
        self.numbers[0] += 1
        return f"uid{self.numbers[0]:08d}"

    async def declare(self, name: str = "warehouse", **fields: Any) -> git_source_pb2.GitSource:
        """Declares a source."""
        said = {"url": URL, "environment": "prod", **fields}
        source = json_format.ParseDict({key: value for key, value in said.items() if value}, git_source_pb2.GitSource())
        return await self.store.transact(lambda unit: self.catalog.create(unit, GIT_SOURCES, "", name, source, ME))

    async def change(self, *paths: str, name: str = NAME, **fields: Any) -> None:
        """Changes fields of a source."""
        source = json_format.ParseDict({"name": name, **fields}, git_source_pb2.GitSource())
        mask = FieldMask(paths=paths)
        await self.store.transact(lambda unit: self.catalog.update(unit, GIT_SOURCES, source, mask, ME))

    def push(self, files: Mapping[str, str | bytes | None], message: str = "Change", **more: Any) -> str:
        """Pushes a commit."""
        return self.hosted.commit(files, message, **more)

    async def passed(self, name: str = NAME, wish: Wish | None = None) -> Outcome:
        """One pass."""
        return await self.passes.run(name, wish or Wish())

    async def status(self, name: str = NAME) -> git_source_pb2.GitSourceStatus:
        """Where the source stands, as it is kept."""

        def read(unit: Unit) -> git_source_pb2.GitSourceStatus:
            return status_of(unit, self.catalog.get(unit, GIT_SOURCES, name).uid)[1]

        return await self.store.read(read)

    async def conditions(self, name: str = NAME) -> dict[str, str]:
        """The reason of each condition, after `!` where it does not hold."""
        return {
            each.type: each.reason if each.is_met else f"!{each.reason}"
            for each in (await self.status(name)).conditions
        }

    async def said(self, type_: str, name: str = NAME) -> str:
        """The message of a condition."""
        return next(each.message for each in (await self.status(name)).conditions if each.type == type_)

    async def revisions(self, name: str = NAME) -> list[git_source_pb2.GitRevision]:
        """What came of commits, the oldest first."""
        return (await self.sources.revisions(name, 0, ""))[0][::-1]

    async def names(self) -> list[str]:
        """What is stored in the environment, without its name."""
        found = await self.store.read(lambda unit: [each.name for each in unit.resources.within("environments/prod")])
        return [each.removeprefix("environments/prod/") for each in found]

    async def audited(self, *actions: str) -> list[tuple[str, str, str]]:
        """Actor, action and detail of what is told of sources."""
        found = await self.store.read(lambda unit: list(unit.audit.list(0, 1_000)))
        return [
            (each.actor, each.action, each.detail)
            for each in found
            if "gitSources/" in each.subject and (not actions or each.action.split()[0] in actions)
        ]

    def copy(self, name: str = "warehouse") -> MemoryRepository:
        """The copy of the only source."""
        del name
        return next(iter(self.repositories.copies.values()))


async def applied(**fields: Any) -> Sourced:
    """One whose first commit is applied: an environment with two departments."""
    scene = Sourced()
    scene.push({"env.yaml": ENVIRONMENT, "a.yaml": department("crm"), "b.yaml": department("sales")}, "Begin")
    await scene.declare(**fields)
    await scene.passed()
    return scene
