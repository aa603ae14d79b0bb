"""A source on an engine that really runs what the source declares, with a worker host that the test plays: for
commits that go back behind runs.

What a target holds is kept by its publications, each over the one before; a rollback takes the one on top away, or fails."""

from dataclasses import dataclass, field

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Outcome, Wish
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.hosts import Outcome as Ending
from pymigrate.engine.testing.hosts import ScriptedHost, done
from pymigrate.engine.testing.repositories import MemoryHosted, MemoryRepositories
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import git_source_pb2, run_pb2, worker_pb2
from tests.unit.application.engines import Engine
from tests.unit.application.gitops.sourced import NAME, SYSTEMS, URL, SourceParts, department
from tests.unit.application.test_runs import answered

ME = Caller("me")
PLAN = "environments/prod/plans/p"


def environment(policy: str, **more: str) -> str:
    """The environment with a policy of reversals."""
    said = "".join(f", {name}: {value}" for name, value in more.items())
    return (
        "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: prod}\n"
        f"spec: {{policy: {{revertPolicy: {policy}{said}}}}}\n"
    )


def plan(relation: str, name: str = "p", *, needs: str = "", phases: tuple[str, ...] = ("a",)) -> str:
    """A plan whose phases read this relation."""
    said = "".join(
        f"""
    {phase}:
      department: sales
      datasets:
        rows:
          source: {{connection: legacy, relation: {relation}}}
          target: {{connection: warehouse, relation: {name}_{phase}}}"""
        for phase in phases
    )
    return f"""apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: {name}}}
spec:
  dependencies: [{needs}]
  phases:{said}
"""


def run_of(task: worker_pb2.Task) -> str:
    """The run that a task is of."""
    return str(task.id).split("/tasks/")[0]


@dataclass
class Targets:
    """What lies in targets: by relation the runs that published into it, the newest on top."""

    held: dict[str, list[str]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    undone: list[str] = field(default_factory=list)

    def do(self, task: worker_pb2.Task) -> Ending:
        """Publishes and undoes."""
        kind = task.WhichOneof("work") or ""
        if kind in self.failing:
            return run_pb2.Failure(reason="DATA_REFUSED", message=f"{kind} fails")
        if kind == "publish":
            for dataset in task.publish.datasets:
                self.held.setdefault(dataset.dataset.target.relation, []).append(run_of(task))
        if kind == "rollback":
            for dataset in task.rollback.datasets:
                stack = self.held.get(dataset.dataset.target.relation, [])
                if run_of(task) in stack:
                    if stack[-1] != run_of(task):
                        return run_pb2.Failure(reason="CANNOT_UNDO", message="another run has published since")
                    stack.pop()
                    self.undone.append(run_of(task).rpartition("/")[2])
        return done(task)

    def tops(self) -> dict[str, str]:
        """The last segment of the run on top of each relation."""
        return {relation: stack[-1].rpartition("/")[2] for relation, stack in sorted(self.held.items()) if stack}


@dataclass
class Reversed:
    """One engine, its source and a host. `again` is the engine after it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    hosted: MemoryHosted = field(default_factory=MemoryHosted)
    repositories: MemoryRepositories = field(default_factory=MemoryRepositories)
    targets: Targets = field(default_factory=Targets)
    pid: int = 1

    def __post_init__(self) -> None:
        self.repositories.hosted.setdefault(URL, self.hosted)
        self.engine = Engine(self.store, self.clock)
        surroundings = self.engine.surroundings
        self.parts = SourceParts(
            self.store,
            surroundings,
            self.engine.catalog,
            self.repositories,
            self.engine.runs,
            Redactor(),
            self.engine.board,
        )
        self.reversing, self.sources = self.parts.reversing, self.parts.sources
        self.rung: list[str] = []
        self.parts.bells.follow(self.rung.append)
        self.host = ScriptedHost(
            self.engine.hosts,
            "workerHosts/h",
            pid=self.pid,
            affinity="file:/warehouse.duckdb@prod",
            script=self.targets.do,
        )

    async def again(self) -> "Reversed":
        """The next engine: this one was killed."""
        found = Reversed(self.store, self.clock, self.hosted, self.repositories, self.targets, self.pid + 1)
        await found.engine.board.restore()
        await found.engine.hosts.restore()
        await found.engine.kpis.restore()
        await found.reversing.restore()
        await found.host.register()
        return found

    async def declare(self, **fields: object) -> None:
        """Declares the source, and registers the host."""
        fields = {"environment": "prod", **fields}
        source = git_source_pb2.GitSource(url=URL, **fields)  # type: ignore[arg-type]  # the test's choice
        await self.store.transact(
            lambda unit: self.engine.catalog.create(unit, GIT_SOURCES, "", "warehouse", source, ME)
        )
        await self.host.register()

    async def begin(self, policy: str = "rollback", **more: str) -> None:
        """The first commit, A, is applied, and has run as a1."""
        files = {"env.yaml": environment(policy, **more), "systems.yaml": SYSTEMS, "d.yaml": department("sales")}
        self.push({**files, "p.yaml": plan("A")}, "Begin")
        await self.declare()
        await self.passed()
        await self.ran("a1")

    def push(self, files: dict[str, str | bytes | None], message: str = "Change", **more: object) -> str:
        """Pushes a commit."""
        return self.hosted.commit(files, message, **more)  # type: ignore[arg-type]  # the test's choice

    def revert(self, sha: str) -> str:
        """Pushes what `git revert` makes of the newest commit, which this one is."""
        commit, files = self.hosted.commits[sha]
        _, before = self.hosted.commits[commit.parents[0]]
        changes: dict[str, str | bytes | None] = {path: before.get(path) for path in {*files, *before}}
        return self.push(
            {path: content for path, content in changes.items() if files.get(path) != content},
            f'Revert "{commit.subject}"\n\nThis reverts commit {sha}.\n',
        )

    async def passed(self, wish: Wish | None = None) -> Outcome:
        """One pass, a minute later."""
        self.clock.advance(60)
        return await self.parts.passes.run(NAME, wish or Wish())

    async def ran(
        self, name: str, plan_name: str = PLAN, *, is_started_only: bool = False, is_paused: bool = False
    ) -> str:
        """The resource name of a run of the plan as it is, which has ended where it is neither only started nor held."""
        self.clock.advance(1)
        desired = run_pb2.DESIRED_STATE_PAUSED if is_paused else run_pb2.DESIRED_STATE_RUNNING
        wanted = run_pb2.Run(triggers={"name": name}, desired_state=desired)
        request = run_pb2.StartRunRequest(parent=plan_name, run_id=name, run=wanted)
        run = await answered(self.engine, self.host, request)  # type: ignore[arg-type]  # a host is a host
        for approver in ("ann", "bob") if any(phase.gates for phase in run.phases.values()) else ():
            await self.engine.runs.approve(run.name, "", "environment", Caller(approver))
        if not is_started_only and not is_paused:
            await self.host.work()
        return run.name

    async def undo(self, steps_max: int = 100) -> None:
        """Lets reversals go on as far as they go."""
        for _ in range(steps_max):
            await self.reversing.step()
            if not await self.host.work():
                break
            self.clock.advance(1)
        await self.reversing.step()

    async def status(self) -> git_source_pb2.GitSourceStatus:
        """Where the source stands."""

        def read(unit: Unit) -> git_source_pb2.GitSourceStatus:
            return status_of(unit, self.engine.catalog.get(unit, GIT_SOURCES, NAME).uid)[1]

        return await self.store.read(read)

    async def reversal(self) -> git_source_pb2.Reversal:
        """What is undone now."""
        return (await self.status()).reversal

    async def condition(self, name: str = "Reversed") -> str:
        """The reason of a condition, after `!` where it does not hold."""
        found = next(each for each in (await self.status()).conditions if each.type == name)
        return found.reason if found.is_met else f"!{found.reason}"

    async def revisions(self) -> list[git_source_pb2.GitRevision]:
        """What came of commits, the oldest first."""
        return (await self.sources.revisions(NAME, 0, ""))[0][::-1]

    async def relation(self, plan_name: str = PLAN) -> str:
        """What the plan reads, as it is declared now; empty where there is none."""

        def read(unit: Unit) -> str:
            stored = unit.resources.get(f"{plan_name}/phases/a")
            if stored is None:
                return ""
            from pymigrate.engine.application.kinds import PHASES

            return PHASES.held(stored).datasets["rows"].source.relation

        return await self.store.read(read)

    async def audited(self, *subjects: str) -> list[tuple[str, str]]:
        """Actor and action, of the source and of runs."""
        found = await self.store.read(lambda unit: list(unit.audit.list(0, 10_000)))
        return [(each.actor, each.action) for each in found if each.subject in (subjects or (NAME,))]


async def begun(policy: str = "rollback", **more: str) -> Reversed:
    """One whose first commit is applied, A, with its run a1."""
    scene = Reversed()
    await scene.begin(policy, **more)
    return scene
