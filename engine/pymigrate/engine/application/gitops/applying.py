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
from pymigrate.engine.application.inherited_kinds import INHERITED
from pymigrate.engine.application.kind import OUTPUT_ONLY
from pymigrate.engine.application.kinds import PHASES, PLANS, phases_of
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
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
    """Applies sets of definitions. What it remembers between two is how plans hash."""

    def __init__(self, catalog: Catalog, surroundings: Surroundings) -> None:
        self._catalog = catalog
        self._surroundings = surroundings
        self._hashes = PlanHashes()

    def stage(self, unit: Unit, read: DefinitionsRead, caller: Caller, scope: Scope) -> Applied:
        """What applying these definitions does to what the unit holds, without doing it. Problems are told, not raised."""
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
            pruned = prune(staged, declaring, scope.owner, bound_to, declared)
        self._check(staged, definitions, declaring, caller, problems)
        return self._applied(staged, definitions, pruned, problems)

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
        gone = set(deleted)
        for plan in (*declared, *deleted):
            change = definition_pb2.PlanChange(plan=plan)
            if staged.loaded.get(plan) is not None:
                change.plan_hash_before = self._hashes.held(staged.loaded, plan, before.of(plan))
            if plan not in gone:
                change.plan_hash = self._hashes.held(staged.resources, plan, after.of(plan))
                change.declared_hash = self._hashes.declared(staged.resources, plan)
            yield change


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
    is_created = staged.loaded.get(name) is None
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
    )


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
