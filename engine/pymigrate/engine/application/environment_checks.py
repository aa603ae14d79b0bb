"""The checks of an environment as a whole, after what it inherits has changed: of what changed, and of what refers to it."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from pymigrate.engine.application import definitions
from pymigrate.engine.application.dataset_definitions import shared_targets
from pymigrate.engine.application.declared_backends import reference_problems
from pymigrate.engine.application.filling import PLACE
from pymigrate.engine.application.inherited_kinds import INHERITED, LOOKED_AT, collection_of
from pymigrate.engine.application.kinds import PHASES, children, connections_of, departments_of
from pymigrate.engine.application.remembering import held_of
from pymigrate.engine.application.revisions import used_connections
from pymigrate.engine.application.transform_definitions import shared_quarantines
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.v1 import plan_pb2


@dataclass(slots=True)
class Changed:
    """What was written of an environment's objects, by their names within it."""

    written: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    @property
    def keys(self) -> Set[str]:
        """All of it."""
        return self.written | self.deleted

    def names(self, collection: str) -> set[str]:
        """The last segments of what changed of a collection."""
        return {last_segment(key) for key in self.keys if collection_of(key) == collection}


def object_problems(
    unit: Unit, environment: str, changed: Changed, *, is_template: bool
) -> Iterator[tuple[str, Problem]]:
    """Every problem that a change may have made, with the object's name within the environment. In a template, objects that still have
    places of parameters are left to the environments that give them values."""
    touched = {collection_of(key) for key in changed.keys}
    for collection, kind in INHERITED.items():
        if collection == "phases":
            continue
        for resource in _reached(unit, environment, collection, touched, changed):
            if not (is_template and has_places(resource)):
                key = f"{collection}/{last_segment(resource.name)}"
                yield from ((key, problem) for problem in kind.check(unit, held_of(unit, kind, resource)))
    yield from _phase_problems(unit, environment, changed, is_template=is_template)


def has_places(resource: Resource) -> bool:
    """Whether an object is still to be given values of parameters."""
    return PLACE in (resource.resolved or resource.body)


def _reached(unit: Unit, environment: str, collection: str, touched: set[str], changed: Changed) -> Iterator[Resource]:
    if LOOKED_AT.get(collection, frozenset()) & touched:
        yield from children(unit, collection, environment)
        return
    written = [f"{environment}/{key}" for key in changed.written if collection_of(key) == collection]
    yield from unit.resources.get_all(written)


def _phase_problems(
    unit: Unit, environment: str, changed: Changed, *, is_template: bool
) -> Iterator[tuple[str, Problem]]:
    """Phases together, a plan at a time: each alone would read all others anew."""
    connections, departments = changed.names("connections"), changed.names("departments")
    plans = {f"{environment}/{key.rpartition('/phases/')[0]}" for key in changed.written if "/phases/" in key}
    if connections or departments:
        plans |= set(unit.resources.names("plans", environment))
    if not plans:
        return
    known, known_departments = connections_of(unit, environment), departments_of(unit, environment)
    for plan in sorted(plans):
        found = [each for each in children(unit, "phases", plan) if not (is_template and has_places(each))]
        phases = {last_segment(each.name): held_of(unit, PHASES, each) for each in found}
        within = f"plans/{last_segment(plan)}"
        for name, phase in phases.items():
            key = f"{within}/phases/{name}"
            if key in changed.written or _refers_to(phase, connections, departments):
                for problem in definitions.phase_problems(phase, known, known_departments):
                    yield key, problem
            if key in changed.written:
                yield from ((key, problem) for problem in reference_problems(unit, environment, phase))
        for problem in _joint_problems(phases):
            yield within, problem


def _refers_to(phase: plan_pb2.Phase, connections: set[str], departments: set[str]) -> bool:
    if phase.department in departments or not departments.isdisjoint(phase.department_dependencies):
        return True
    return bool(connections) and not connections.isdisjoint(used_connections({"": phase}))


def _joint_problems(phases: Mapping[str, Any]) -> Iterator[Problem]:
    """What phases of a plan have together. One that another depends on may still be missing, as wherever phases come one by one."""
    if cycle := graph.find_cycle(definitions.phase_dependencies(phases)):
        yield graph.cycle_problem(cycle)
    yield from shared_targets(phases)
    yield from shared_quarantines(phases)
