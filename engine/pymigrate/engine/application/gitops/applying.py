"""Applies everything that files declare as one change: written into a stage through the catalogue, checked as a whole, told as what
differs, and kept in one go, or not at all."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.definitions import phase_dependencies
from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.gitops.changes_told import field_changes, whole
from pymigrate.engine.application.gitops.declaring import Declaring
from pymigrate.engine.application.gitops.definition import Definition, DefinitionsRead
from pymigrate.engine.application.gitops.definition_order import in_order
from pymigrate.engine.application.gitops.plan_hashes import PlanHashes, connection_bodies
from pymigrate.engine.application.gitops.problems_told import ProblemsTold
from pymigrate.engine.application.gitops.pruning import Pruned, prune, word_of
from pymigrate.engine.application.gitops.staged import Staged
from pymigrate.engine.application.gitops.unchanged import Unchanged
from pymigrate.engine.application.inherited_kinds import INHERITED
from pymigrate.engine.application.inherited_runs import require_unused
from pymigrate.engine.application.kind import OUTPUT_ONLY
from pymigrate.engine.application.kinds import PHASES, PLANS, children, phases_of
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import AlreadyExists, FailedPrecondition, InvalidDefinition, Problem
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.ports.store import Resource, ResourcesRead, Unit
from pymigrate.v1 import definition_pb2

CREATE = definition_pb2.CHANGE_ACTION_CREATE
UPDATE = definition_pb2.CHANGE_ACTION_UPDATE
DELETE = definition_pb2.CHANGE_ACTION_DELETE
KEEP = definition_pb2.CHANGE_ACTION_KEEP


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose definitions they are: the side that manages what they declare, the environment that they are bound to, if any, by its last
    segment, what becomes of what is declared no longer, and the sides whose objects are taken over."""

    owner: str
    environment: str = ""
    prune_policy: int = definition_pb2.PRUNE_POLICY_UNSPECIFIED
    taken_over_sides: frozenset[str] = frozenset()


@dataclass(slots=True)
class Applied:
    """What differs, those first that others need; every plan that is declared or deleted, with its hashes before and after; and what
    keeps it from being applied."""

    changes: list[definition_pb2.DefinitionChange] = field(default_factory=list)
    plans: list[definition_pb2.PlanChange] = field(default_factory=list)
    unchanged_count: int = 0
    problems: list[definition_pb2.DefinitionProblem] = field(default_factory=list)
    staged: Staged | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep: no write would be made."""
        return self.staged is None or self.staged.is_empty

    def flush(self, unit: Unit) -> None:
        """Keeps everything. Raises InvalidDefinition where there are problems, StaleWrite where the store was changed since."""
        if self.problems:
            raise InvalidDefinition(tuple(Problem(_where(each), each.description) for each in self.problems))
        if self.staged is not None:
            self.staged.flush(unit)


class Applying:
    """Applies sets of definitions. What it remembers between two changes no answer, only how soon there is one."""

    def __init__(self, catalog: Catalog, surroundings: Surroundings) -> None:
        self._catalog = catalog
        self._surroundings = surroundings
        self._hashes = PlanHashes()
        self._unchanged = Unchanged()

    def stage(self, unit: Unit, read: DefinitionsRead, caller: Caller, scope: Scope) -> Applied:
        """What applying these definitions does to what the unit holds, without doing it. Problems are told, not raised."""
        if not read.problems and (known := self._unchanged.find(unit, scope, scope.owner, read.definitions)):
            return Applied(plans=list(known.plans), unchanged_count=len(read.definitions))
        definitions = list(in_order(read.definitions))
        bound_to = f"environments/{scope.environment}" if scope.environment else ""
        staged = Staged(unit, _environments(definitions, bound_to))
        problems = ProblemsTold(definitions, read.problems)
        caller = replace(caller, managed_by=scope.owner)
        declaring = Declaring(self._catalog, staged, caller, scope.taken_over_sides, problems)
        for definition in definitions:
            declaring.declare(definition)
        pruned = Pruned()
        if scope.prune_policy == definition_pb2.PRUNE_POLICY_DELETE and not problems.all:
            declared = {each.name for each in definitions} | read.names
            try:
                pruned = prune(staged, declaring, scope.owner, bound_to, declared)
            except FailedPrecondition as error:
                problems.of_all(error.message)
        self._check(staged, definitions, declaring, caller, problems)
        applied = self._applied(staged, definitions, pruned, problems)
        if not (applied.changes or applied.problems) and _is_all_own(staged, scope.owner, applied.plans):
            self._unchanged.keep(unit, scope, scope.owner, read.definitions, applied.plans)
        return applied

    def _check(
        self,
        staged: Staged,
        definitions: Sequence[Definition],
        declaring: Declaring,
        caller: Caller,
        problems: ProblemsTold,
    ) -> None:
        """Everything that was written, as the whole that it is now."""
        unit, written = staged.as_unit, staged.resources.written
        for each in definitions:
            if problems.has(each.name):
                continue
            resource = written.get(each.name)
            if resource is not None and each.kind.collection not in INHERITED:
                for problem in each.kind.check(unit, each.kind.held(resource)):
                    problems.invalid(each, problem)
            if resource is not None and each.kind.collection in INHERITED and _is_created(staged, each.name):
                try:
                    self._catalog.refuse_hidden(unit, each.name)
                except AlreadyExists as error:
                    problems.refused(each, error.message)
            if each.kind is PLANS and any(f"{each.name}/phases/{name}" in written for name in each.message.phases):
                dependencies = phase_dependencies(phases_of(unit, each.name))
                for problem in graph.dangling(dependencies):
                    problems.invalid(each, problem)
        problems.found(self._catalog.follow_all(unit, caller, declaring.changed, declaring.environments))

    def _applied(
        self, staged: Staged, definitions: Sequence[Definition], pruned: Pruned, problems: ProblemsTold
    ) -> Applied:
        applied = Applied(problems=problems.all, staged=staged)
        for each in definitions:
            change = _change(staged, each)
            if change is not None:
                applied.changes.append(change)
            elif not problems.has(each.name):
                applied.unchanged_count += 1
        for resource in pruned.deleted:
            applied.changes.append(_undeclared(resource, DELETE))
        for resource, reason in pruned.kept:
            applied.changes.append(_undeclared(resource, KEEP, reason))
        declared = [each.name for each in definitions if each.kind is PLANS and not problems.has(each.name)]
        deleted = [each.name for each in pruned.deleted if each.kind == PLANS.collection]
        applied.plans += self._plan_changes(staged, declared, deleted)
        return applied

    def _plan_changes(
        self, staged: Staged, declared: Sequence[str], deleted: Sequence[str]
    ) -> Iterator[definition_pb2.PlanChange]:
        before, after = _Connections(staged.loaded), _Connections(staged.resources)
        for plan in declared:
            hashes = self._hashes.of(staged.resources, plan, after.of(plan))
            was = hashes.held
            if staged.resources.writes("phases", plan) or staged.resources.writes("connections", environment_of(plan)):
                was = self._hash_before(staged, plan, before)
            elif staged.resources.originals.get(plan, plan) is None:
                was = ""
            yield definition_pb2.PlanChange(
                plan=plan, plan_hash_before=was, plan_hash=hashes.held, declared_hash=hashes.declared
            )
        for plan in deleted:
            yield definition_pb2.PlanChange(plan=plan, plan_hash_before=self._hash_before(staged, plan, before))

    def _hash_before(self, staged: Staged, plan: str, connections: "_Connections") -> str:
        if staged.loaded.get(plan) is None:
            return ""
        return self._hashes.of(staged.loaded, plan, connections.of(plan)).held


def _is_all_own(staged: Staged, owner: str, plans: Collection[definition_pb2.PlanChange]) -> bool:
    """Whether no phase of these plans is another side's, or inherited."""
    phases = (phase for each in plans for phase in children(staged.as_unit, "phases", each.plan))
    return staged.is_empty and all(phase.managed_by == owner for phase in phases)


class _Connections:
    """The connections of environments, each read once."""

    def __init__(self, resources: ResourcesRead) -> None:
        self._resources = resources
        self._known: dict[str, Mapping[str, bytes]] = {}

    def of(self, plan: str) -> Mapping[str, bytes]:
        """Those of a plan's environment."""
        environment = environment_of(plan)
        if environment not in self._known:
            self._known[environment] = connection_bodies(self._resources, environment)
        return self._known[environment]


def _environments(definitions: Collection[Definition], environment: str) -> list[str]:
    """The environments of what is declared."""
    found = {environment_of(each.name) for each in definitions if each.name.startswith("environments/")}
    return sorted(found | ({environment} if environment else set()))


def _change(staged: Staged, definition: Definition) -> definition_pb2.DefinitionChange | None:
    """How an object differs from what its file says; None where it does not."""
    name, written = definition.name, staged.resources.written
    if name not in written and not (definition.kind is PLANS and staged.resources.writes("phases", name)):
        return None
    is_created = _is_created(staged, name)
    fields = [] if is_created else list(_fields(staged, definition))
    if is_created and written.get(name) is None:
        return None  # it could not be written, which is told
    if not is_created and not fields:
        return None
    return definition_pb2.DefinitionChange(
        name=name,
        kind=definition.word,
        action=CREATE if is_created else UPDATE,
        fields=fields,
        file=definition.file,
        line=definition.line,
        reason="" if is_created else "; ".join(_left_behind(staged, definition)),
    )


def _is_created(staged: Staged, name: str) -> bool:
    """Whether the environment did not declare an object before."""
    stored = staged.loaded.get(name)
    written = staged.resources.written.get(name)
    is_own = written is not None and written.managed_by != INHERITANCE
    return stored is None or (stored.managed_by == INHERITANCE and is_own)


def _left_behind(staged: Staged, definition: Definition) -> Iterator[str]:
    """What phases that a plan has no longer have left in targets: a run keeps what it froze, and is the way back."""
    for name in sorted(staged.resources.touched("phases", definition.name)):
        if staged.resources.get(name) is None:
            _, environment, key = name.split("/", 2)
            try:
                require_unused(staged.as_unit, environment, key)
            except FailedPrecondition as error:
                yield error.message


def _fields(staged: Staged, definition: Definition) -> Iterator[definition_pb2.FieldChange]:
    """What of an object was written, with a plan's phases."""
    kind, name = definition.kind, definition.name
    yield from _of_object(staged, kind, name, ())
    if kind is not PLANS:
        return
    touched = staged.resources.touched("phases", name)
    for phase in sorted(touched):
        before, after = staged.resources.originals[phase], staged.resources.get(phase)
        path = ("phases", last_segment(phase))
        if before is not None and after is not None:
            yield from _of_object(staged, PHASES, phase, path)
        else:
            yield whole(path, *(_declared(each) for each in (before, after)))


def _of_object(staged: Staged, kind: Any, name: str, path: tuple[str, ...]) -> Iterator[definition_pb2.FieldChange]:
    before, after = staged.resources.originals.get(name), staged.resources.written.get(name)
    if before is None or after is None or after.managed_by == INHERITANCE:
        return
    if before.managed_by != after.managed_by:
        place = ".".join((*path, "managed_by"))
        yield definition_pb2.FieldChange(path=place, before=f'"{before.managed_by}"', after=f'"{after.managed_by}"')
    if before.body != after.body:
        skipped = OUTPUT_ONLY | kind.output_only | kind.held_elsewhere
        yield from field_changes(kind.read(before), kind.read(after), skipped, path)


def _declared(resource: Resource | None) -> Any:
    """A phase as a file would declare it."""
    if resource is None or resource.managed_by == INHERITANCE:
        return None
    phase = PHASES.message()
    phase.ParseFromString(resource.body)
    phase.name = ""
    return phase


def _undeclared(
    resource: Resource, action: "definition_pb2.ChangeAction.ValueType", reason: str = ""
) -> definition_pb2.DefinitionChange:
    return definition_pb2.DefinitionChange(
        name=resource.name,
        kind=word_of(resource),
        action=action,
        reason=reason,
    )


def _where(problem: definition_pb2.DefinitionProblem) -> str:
    """Where a problem is, as far as it is known: `file:line: path`."""
    place = f"{problem.file}:{problem.line}" if problem.file and problem.line else problem.file
    return ": ".join(part for part in (place, problem.path or problem.name) if part) or "definitions"
