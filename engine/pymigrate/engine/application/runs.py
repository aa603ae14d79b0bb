"""Starting a run, steering it, and telling where it stands."""

from collections.abc import AsyncGenerator, Iterable

from pymigrate.engine.application.authors import authors_of, refuse_author
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.field_definitions import range_problems
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.joint_looks import Begin, JointLooks
from pymigrate.engine.application.kinds import PLANS
from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.application.policies import policy_of, require_approver, require_runner
from pymigrate.engine.application.projections import DESIRED, event_message, lane_messages
from pymigrate.engine.application.required_objects import require_parent
from pymigrate.engine.application.revisions import aggregate_of, freeze, run_key
from pymigrate.engine.application.run_approvals import gates_to_approve, is_of_policy
from pymigrate.engine.application.run_starts import start_place
from pymigrate.engine.application.run_tokens import page_token_of, read_page_token
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.run_watching import RunWatching
from pymigrate.engine.application.runs_watching import RunsWatching
from pymigrate.engine.application.watching import Told, Topics
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    InvalidDefinition,
    NotFound,
    Problem,
    StaleWrite,
)
from pymigrate.engine.domain.happenings import (
    Approved,
    CoreEvent,
    Retried,
    RollbackAsked,
    Scaled,
    SealAsked,
    Steered,
)
from pymigrate.engine.domain.names import ID_RULE, environment_of, is_id
from pymigrate.engine.domain.run import Run, RunAggregate
from pymigrate.engine.domain.run_states import DesiredState, PhaseState, RunState
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.engine.ports.tracing import present_span
from pymigrate.v1 import environment_pb2, plan_pb2, run_pb2

TRIGGERS_MAX = 64
RUN_LANES_MAX = 1_000
ROLLBACK_WINDOW_SECONDS = 7 * 86_400


class Runs:
    """The use cases of runs."""

    def __init__(
        self,
        store: Store,
        board: Board,
        inquiries: Inquiries,
        catalog: Catalog,
        surroundings: Surroundings,
        topics: Topics,
        views: RunViews,
    ) -> None:
        self._store = store
        self._board = board
        self._looks = JointLooks(surroundings.clock)
        self._inspections = Inspections(inquiries, self._looks)
        self._catalog = catalog
        self._surroundings = surroundings
        self._views = views
        self._watching = RunWatching(store, board, views, topics)
        self._watching_many = RunsWatching(store, board, views, topics, surroundings.clock)

    async def start(self, request: run_pb2.StartRunRequest, caller: Caller) -> run_pb2.Run:
        """Freezes, checks and starts; adopts the run that has the same key. Raises InvalidDefinition with every problem found."""
        plan, triggers = request.parent, dict(request.run.triggers)
        _refuse_start_problems(request)
        revision, problems = await self._frozen(plan)
        require_runner(revision.policy, environment_of(plan), caller)
        revision.starter = caller.principal
        if request.plan_hash and request.plan_hash != revision.plan.plan_hash:
            raise StaleWrite(
                f"{plan} was changed since it was read: look at it again before starting it", field="plan_hash"
            )
        key = run_key(plan, revision.plan.plan_hash, triggers)
        place = await self._store.read(lambda unit: start_place(unit, revision.plan, request.run_id, key))
        if place.adopted:
            return await self.get(place.name)
        if problems:
            raise InvalidDefinition(problems)
        await self._inspections.require(revision, revision.plan.phases)
        run = Run(
            name=place.name,
            plan=plan,
            key=key,
            plan_hash=revision.plan.plan_hash,
            create_time=self._surroundings.clock.now(),
            managed_by=caller.managed_by,
            triggers=triggers,
            desired=DESIRED[request.run.desired_state],
            rollback_window_seconds=revision.plan.rollback_window_seconds or ROLLBACK_WINDOW_SECONDS,
            waiting_for=place.waiting_for,
            traceparent=str(present_span() or ""),
        )
        aggregate = aggregate_of(run, revision)
        if request.validate_only:
            return self._views.message(aggregate)
        try:
            await self._board.add(aggregate, revision.SerializeToString(), self._audit(caller, "start", run.name))
        except AlreadyExists:  # somebody started the same run meanwhile: it is the one that was asked for
            adopted = await self._store.read(lambda unit: unit.runs.by_key(plan, key))
            if adopted is None:
                raise
            return await self.get(adopted.name)
        return await self.get(run.name)

    async def get(self, name: str) -> run_pb2.Run:
        """A run as it stands. Raises NotFound."""
        return await self._views.get(name)

    async def page(self, plan: str, page_size: int, page_token: str) -> tuple[list[run_pb2.Run], str]:
        """A page of a plan's runs, the newest first."""
        size, before = page_limit(page_size), read_page_token(page_token)
        found = await self._store.read(lambda unit: list(unit.runs.list(plan, before, size + 1)))
        if not found and not page_token:
            await self._store.read(lambda unit: require_parent(unit, environment_of(plan)))
        last = found[size - 1] if len(found) > size else None
        token = page_token_of(last.create_time, last.name) if last is not None else ""
        return await self._views.several([run.name for run in found[:size]]), token

    async def steer(self, name: str, desired: DesiredState, caller: Caller) -> run_pb2.Run:
        """Pauses, resumes or cancels; what holds already changes nothing. Raises NotPermitted to who may not resume here."""
        if desired is DesiredState.RUNNING:
            await self._require_runner(name, caller)
        return await self._apply(name, Steered(desired, caller.principal), str(desired), caller)

    async def scale(self, name: str, lanes_max: int, caller: Caller) -> run_pb2.Run:
        """Limits how many lanes are at work at once, 0: no limit of its own; what holds already changes nothing. Raises InvalidDefinition,
        NotPermitted, and FailedPrecondition for a run that has ended."""
        if problems := tuple(range_problems("lanes_max", lanes_max, 0, RUN_LANES_MAX)):
            raise InvalidDefinition(problems)
        await self._require_runner(name, caller)
        return await self._apply(name, Scaled(lanes_max, caller.principal), f"scale {lanes_max}", caller)

    async def approve(self, name: str, phase: str, gate: str, caller: Caller) -> run_pb2.Run:
        """Approves a gate; approving it again changes nothing. Raises NotFound, NotPermitted, and FailedPrecondition before its time. The
        policy's own gate is one for all phases, where none is named."""
        require_approver(await self._policy(name), environment_of(name), caller)
        revision = await self._board.revision(name)
        refuse_author(revision, name, caller)
        if is_of_policy(gate) and (revision.policy.approvals_min or not phase):
            # Once more, until it counts: who approves at the same moment may have taken the same gate.
            while open_to := await self._board.view(name, lambda run: gates_to_approve(run, revision, phase, caller)):
                for each, shut in open_to:
                    await self._board.apply(
                        name,
                        Approved(each, shut, caller.principal),
                        self._audit(caller, f"approve {each}/{shut}", name),
                    )
            return await self.get(name)
        return await self._apply(name, Approved(phase, gate, caller.principal), f"approve {phase}/{gate}", caller)

    async def roll_back(self, name: str, phase: str, caller: Caller) -> run_pb2.Run:
        """Undoes a phase with what needs it, or with no phase the whole run. Raises NotFound, and FailedPrecondition for what is sealed."""
        return await self._apply(name, RollbackAsked(caller.principal, phase), f"roll back {phase}".strip(), caller)

    async def seal(self, name: str, phases: Iterable[str], caller: Caller) -> run_pb2.Run:
        """Drops the way back of phases, or with none named of all that are published."""
        return await self._apply(name, SealAsked(caller.principal, tuple(sorted(set(phases)))), "seal", caller)

    async def retry(self, name: str, caller: Caller) -> run_pb2.Run:
        """Does what failed again, after another look at its sources and targets: a person may have mended them. Raises NotPermitted."""
        await self._require_runner(name, caller)
        revision = run_pb2.PlanRevision()
        revision.CopyFrom(await self._board.revision(name))
        unpublished = await self._board.view(name, _unpublished)
        if not unpublished:
            return await self._apply(name, Retried(caller.principal), "retry", caller)
        await self._inspections.require(revision, unpublished)
        looks = {
            (phase, dataset): revision.inspections[f"{phase}/{dataset}"]
            for phase in unpublished
            for dataset in revision.plan.phases[phase].datasets
        }
        ranges = {place: tuple(look.ranges) for place, look in looks.items()}
        rows = {place: look.source.rows for place, look in looks.items()}
        retried = Retried(caller.principal, ranges, rows)
        return await self._apply(name, retried, "retry", caller, revision.SerializeToString())

    async def lanes(self, name: str) -> list[run_pb2.Lane]:
        """A run's lanes, ordered by name."""
        return await self._board.view(name, lane_messages)

    async def events(self, name: str, after: int, page_size: int) -> tuple[list[run_pb2.RunEvent], str]:
        """A page of what happened in a run, in order."""
        size = page_limit(page_size)
        await self._board.view(name, lambda aggregate: None)
        found = await self._store.read(lambda unit: list(unit.runs.events(name, after, size + 1)))
        token = str(found[size - 1].sequence) if len(found) > size else ""
        return [event_message(name, event) for event in found[:size]], token

    def watch(self, name: str, resume_token: str) -> AsyncGenerator[Told[run_pb2.WatchRunResponse], None]:
        """As RunWatching.watch."""
        return self._watching.watch(name, resume_token)

    def watch_many(self, parent: str, *, active_only: bool) -> AsyncGenerator[Told[run_pb2.WatchRunsResponse], None]:
        """As RunsWatching.watch."""
        return self._watching_many.watch(parent, active_only=active_only)

    async def _policy(self, name: str) -> environment_pb2.EnvironmentPolicy:
        return await self._store.read(lambda unit: policy_of(unit, environment_of(name)))

    async def _require_runner(self, name: str, caller: Caller) -> None:
        require_runner(await self._policy(name), environment_of(name), caller)

    async def _apply(
        self, name: str, event: CoreEvent, action: str, caller: Caller, revision: bytes | None = None
    ) -> run_pb2.Run:
        await self._board.apply(name, event, self._audit(caller, action, name), revision)
        return await self.get(name)

    async def check(self, plan: str) -> plan_pb2.ValidatePlanResponse:
        """Every problem that a look at the plan's sources and targets finds."""
        revision, _ = await self._store.read(lambda unit: self._freeze(unit, plan))
        answer = plan_pb2.ValidatePlanResponse(plan_hash=revision.plan.plan_hash)
        try:
            await self._inspections.require(revision, revision.plan.phases)
        except InvalidDefinition as error:
            for problem in error.problems:
                answer.problems.add(field=problem.field, description=problem.description)
            return answer
        for place, found in revision.inspections.items():
            answer.ddl[place].CopyFrom(found.ddl)
        return answer

    async def _frozen(self, plan: str) -> tuple[run_pb2.PlanRevision, tuple[Problem, ...]]:
        """As `_freeze`, of which the caller has a revision of its own: many runs of a plan may be started at once."""

        def freeze_at(unit: Unit, begin: Begin) -> tuple[run_pb2.PlanRevision, tuple[Problem, ...]]:
            begin()
            return self._freeze(unit, plan)

        shared, problems = await self._looks.look(
            ("frozen", plan), lambda begin: self._store.read(lambda unit: freeze_at(unit, begin))
        )
        revision = run_pb2.PlanRevision()
        revision.CopyFrom(shared)
        return revision, problems

    def _freeze(self, unit: Unit, plan: str) -> tuple[run_pb2.PlanRevision, tuple[Problem, ...]]:
        began = self._surroundings.clock.now()
        self._catalog.get(unit, PLANS, plan)
        resource = unit.resources.get(plan)
        if resource is None:
            raise NotFound(f"there is no {plan}", field="parent")
        revision, problems = freeze(unit, resource)
        if revision.policy.authors_excluded:
            revision.authors.extend(authors_of(unit, plan, revision))
        revision.freeze_time.FromDatetime(began)
        return revision, problems

    def _audit(self, caller: Caller, action: str, name: str) -> AuditEntry:
        return AuditEntry(self._surroundings.clock.now(), caller.principal, action, name, 0)


def _unpublished(aggregate: RunAggregate) -> list[str]:
    if aggregate.run.state is not RunState.FAILED:  # nothing else is retried, so there is nothing to look at
        return []
    done = {PhaseState.PUBLISHED, PhaseState.SEALED}
    return [phase.id for phase in aggregate.phases.values() if phase.state not in done]


def _refuse_start_problems(request: run_pb2.StartRunRequest) -> None:
    problems = []
    if request.run_id and not is_id(request.run_id):
        problems.append(Problem("run_id", f"`{request.run_id}` is no name: use {ID_RULE}"))
    if len(request.run.triggers) > TRIGGERS_MAX:
        problems.append(Problem("run.triggers", f"has at most {TRIGGERS_MAX} entries"))
    if DESIRED.get(request.run.desired_state) in {None, DesiredState.CANCELLED}:
        problems.append(Problem("run.desired_state", "a run starts running or paused"))
    if problems:
        raise InvalidDefinition(tuple(problems))
