"""What becomes of objects that their owner declares no longer: they go, those first that need others, or they are kept, with the reason."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.gitops.declaring import Declaring
from pymigrate.engine.application.gitops.definition import Definition, Place
from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.application.gitops.definition_order import in_order
from pymigrate.engine.application.gitops.staged import Staged
from pymigrate.engine.application.inherited_runs import require_unused
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import ENVIRONMENTS, PHASES, PLANS, children
from pymigrate.engine.domain.errors import FailedPrecondition, NotOwned
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.ports.store import Resource

ROUNDS_MAX = 100
_WORDS = {each.kind.collection: each.word for each in DEFINITION_KINDS.values()}
_KINDS: Mapping[str, Kind[Any]] = {each.kind.collection: each.kind for each in DEFINITION_KINDS.values()}


@dataclass(slots=True)
class Pruned:
    """The objects that are deleted, those first that need others, and why others are kept."""

    deleted: list[Resource] = field(default_factory=list)
    kept: list[tuple[Resource, str]] = field(default_factory=list)


def word_of(resource: Resource) -> str:
    """The kind of an object, as definitions name it."""
    return _WORDS[resource.kind]


def prune(staged: Staged, declaring: Declaring, owner: str, environment: str, declared: Set[str]) -> Pruned:
    """Deletes what the owner has, in an environment alone where one is named, and `declared` does not name. Raises FailedPrecondition where
    that would be everything, since nothing is declared at all: a folder that was emptied or moved is no wish to delete."""
    found = list(_undeclared(staged, owner, environment, declared))
    if found and not declared:
        objects = "1 object" if len(found) == 1 else f"{len(found):,} objects"
        said = f"the files declare nothing, so that {objects} of {owner} would be deleted, {found[0].name} among them"
        raise FailedPrecondition(f"{said}: a folder was emptied or moved? Where that is meant, delete them by hand")
    left = _in_order(staged, found)
    pruned, reasons = Pruned(), dict[str, str]()
    for _ in range(ROUNDS_MAX):  # what needs another goes first; each round frees others, and most often one is enough
        waiting: list[Resource] = []
        for resource in left:
            try:
                _delete(staged, declaring, owner, resource)
            except FailedPrecondition as error:
                waiting.append(resource)
                reasons[resource.name] = error.message
            else:
                pruned.deleted.append(resource)
        if not waiting or len(waiting) == len(left):
            left = waiting
            break
        left = waiting
    pruned.kept = [(each, reasons[each.name]) for each in left]
    return pruned


def _undeclared(staged: Staged, owner: str, environment: str, declared: Set[str]) -> Iterator[Resource]:
    names = [name for name, _, _ in staged.resources.owned(owner) if name not in declared and "/phases/" not in name]
    for name in names:
        place = environment_of(name)
        if environment and (place != environment or name == environment):
            continue  # nor does it take away from under itself what it is bound to
        if name.startswith("environments/"):
            staged.loaded.load(place)
        resource = staged.resources.get(name)
        if resource is not None and resource.kind in _KINDS:
            yield resource


def _in_order(staged: Staged, found: list[Resource]) -> list[Resource]:
    """Those first that may need others."""
    resources = {each.name: each for each in found}
    definitions = [
        Definition(
            kind=_KINDS[each.kind],
            word=word_of(each),
            name=each.name,
            message=staged.memory.parse(_KINDS[each.kind], each),
            file="",
            line=0,
            find=_nowhere,
        )
        for each in found
    ]
    return [resources[each.name] for each in reversed(list(in_order(definitions)))]


def _nowhere(path: str) -> Place:
    del path
    return Place(0, 0)


def _delete(staged: Staged, declaring: Declaring, owner: str, resource: Resource) -> None:
    unit, kind = staged.as_unit, _KINDS[resource.kind]
    if resource.name == _source_of(owner):
        raise FailedPrecondition(f"{resource.name} is what declares all of this: delete it from elsewhere")
    if kind is PLANS:
        PLANS.check_delete(unit, PLANS.read(resource))
        _, environment, key = resource.name.split("/", 2)
        require_unused(unit, environment, key)
        phases = list(children(unit, "phases", resource.name))
        others = [each for each in phases if each.managed_by != owner]
        if others:
            raise NotOwned(others[0].name, others[0].managed_by, owner)
        for phase in phases:
            declaring.delete(PHASES, phase)
    if kind is ENVIRONMENTS:
        others = [
            each for each in staged.resources.within(resource.name) if each.managed_by not in {owner, INHERITANCE}
        ]
        if others:
            raise NotOwned(others[0].name, others[0].managed_by, owner)
    declaring.delete(kind, resource)


def _source_of(owner: str) -> str:
    """The Git source that an owner is."""
    return f"gitSources/{last_segment(owner)}" if owner.startswith("git/") else ""
