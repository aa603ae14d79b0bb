"""Plans with their phases: what the general catalogue does not do, because a plan holds objects of their own."""

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application import definitions
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.declared_backends import reference_problems
from pymigrate.engine.application.filling import PLACE
from pymigrate.engine.application.kinds import (
    PHASES,
    PLANS,
    children,
    connections_of,
    departments_of,
    is_template,
    phases_of,
)
from pymigrate.engine.application.revisions import hash_of, phase_hashes
from pymigrate.engine.application.trying import tried
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.precedence import Precedence
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import plan_pb2


class Plans:
    """The use cases of plans and phases over one unit of work."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def create(
        self, unit: Unit, parent: str, plan_id: str, plan: plan_pb2.Plan, caller: Caller, *, is_dry: bool
    ) -> plan_pb2.Plan:
        """Stores a plan and the phases inside it, all or nothing."""
        unit = tried(unit) if is_dry else unit
        created = self._catalog.create(unit, PLANS, parent, plan_id, plan, caller)
        self._refuse_problems(unit, created.name, dict(plan.phases))
        made = [
            self._catalog.create(unit, PHASES, created.name, name, plan.phases[name], caller, is_checked=True)
            for name in _in_order(plan)
        ]
        self._catalog.follow(unit, caller, [phase.name for phase in made])
        return created if is_dry else self.complete(unit, created)

    def get(self, unit: Unit, name: str) -> plan_pb2.Plan:
        """A plan with its phases."""
        return self.complete(unit, self._catalog.get(unit, PLANS, name))

    def update(
        self, unit: Unit, plan: plan_pb2.Plan, mask: FieldMask, caller: Caller, *, is_dry: bool
    ) -> plan_pb2.Plan:
        """Changes a plan; with `phases` in the mask its phases become exactly those given."""
        stored_unit, unit = unit, tried(unit) if is_dry else unit
        own = FieldMask(paths=[path for path in mask.paths if path != "phases"])
        has_phases = "phases" in mask.paths
        if own.paths or not has_phases:
            updated = self._catalog.update(unit, PLANS, plan, own, caller)
        else:
            updated = self._catalog.require_writable(unit, PLANS, plan.name, plan.etag, caller)
        if has_phases:
            self._refuse_problems(unit, plan.name, dict(plan.phases))
            self._catalog.follow(unit, caller, self._replace_phases(unit, plan, caller))
        return self.complete(stored_unit, updated)

    def delete(self, unit: Unit, name: str, etag: str, caller: Caller, *, is_forced: bool) -> None:
        """Removes a plan, with `is_forced` its phases too."""
        plan = self._catalog.get(unit, PLANS, name)
        PLANS.check_delete(unit, plan)
        phases = phases_of(unit, name)
        if phases and not is_forced:
            raise FailedPrecondition(
                f"{name} has phases ({len(phases)}): delete them first, or force its deletion (`pymigrate delete --force`)"
            )
        for phase in phases.values():
            self._catalog.delete(unit, PHASES, phase.name, "", caller)
        self._catalog.delete(unit, PLANS, name, etag, caller)

    def complete(self, unit: Unit, plan: plan_pb2.Plan) -> plan_pb2.Plan:
        """Adds the phases, as they were declared, and the digests of what holds to a plan."""
        stored = {last_segment(each.name): each for each in children(unit, "phases", plan.name)}
        phases = {name: PHASES.held(each) for name, each in stored.items()}
        hashes = phase_hashes(phases, connections_of(unit, environment_of(plan.name)))
        plan.plan_hash = hash_of(hashes)
        for name, each in stored.items():
            plan.phases[name].CopyFrom(PHASES.read(each) if each.resolved else phases[name])
            plan.phases[name].definition_hash = hashes[name]
        return plan

    def complete_phase(self, unit: Unit, phase: plan_pb2.Phase) -> plan_pb2.Phase:
        """Adds the digest to a phase."""
        return self.complete_phases(unit, [phase])[0]

    def complete_phases(self, unit: Unit, phases: list[plan_pb2.Phase]) -> list[plan_pb2.Phase]:
        """Adds the digests of what holds to phases of one plan."""
        if phases:
            connections = connections_of(unit, environment_of(phases[0].name))
            stored = {each.name: each for each in unit.resources.get_all([phase.name for phase in phases])}
            held = {
                phase.name: PHASES.held(stored[phase.name])
                if phase.name in stored and stored[phase.name].resolved
                else phase
                for phase in phases
            }
            hashes = phase_hashes(held, connections)
            for phase in phases:
                phase.definition_hash = hashes[phase.name]
        return phases

    def validate(self, unit: Unit, name: str) -> plan_pb2.ValidatePlanResponse:
        """Every problem of a plan as it stands, without a look at its systems."""
        plan = self.get(unit, name)
        environment = environment_of(name)
        phases = phases_of(unit, name)
        found = definitions.plan_problems(phases, connections_of(unit, environment), departments_of(unit, environment))
        answer = plan_pb2.ValidatePlanResponse(plan_hash=plan.plan_hash)
        for problem in found:
            answer.problems.add(field=problem.field, description=problem.description)
        if not answer.problems:
            for level in Precedence(definitions.phase_dependencies(phases)).levels():
                answer.levels.add(phases=level)
        return answer

    def _refuse_problems(self, unit: Unit, name: str, phases: dict[str, plan_pb2.Phase]) -> None:
        environment = environment_of(name)
        held = {
            each: self._catalog.held(unit, PHASES, environment, _named(phase, f"{name}/phases/{each}"))
            for each, phase in phases.items()
        }
        if is_template(unit, environment):
            held = {each: phase for each, phase in held.items() if PLACE not in phase.SerializeToString()}
        found = list(
            definitions.plan_problems(held, connections_of(unit, environment), departments_of(unit, environment))
        )
        found += [
            problem.at(f"phases.{each}.{problem.field}")
            for each, phase in held.items()
            for problem in reference_problems(unit, environment, phase)
        ]
        problems = tuple(problem.at(f"plan.{problem.field}") for problem in found)
        if problems:
            raise InvalidDefinition(problems)

    def _replace_phases(self, unit: Unit, plan: plan_pb2.Plan, caller: Caller) -> list[str]:
        """Gives the names of those that were written."""
        stored = phases_of(unit, plan.name)
        for name in sorted(stored.keys() - set(plan.phases)):
            self._catalog.delete(unit, PHASES, stored[name].name, "", caller)
        for name in _in_order(plan):
            wanted = plan_pb2.Phase()
            wanted.CopyFrom(plan.phases[name])
            wanted.etag = ""
            if name in stored:
                wanted.name = stored[name].name
                self._catalog.update(unit, PHASES, wanted, FieldMask(), caller, is_checked=True)
            else:
                self._catalog.create(unit, PHASES, plan.name, name, wanted, caller, is_checked=True)
        return [f"{plan.name}/phases/{name}" for name in plan.phases]


def _named(phase: plan_pb2.Phase, name: str) -> plan_pb2.Phase:
    """The phase by its name, by which its environment may say otherwise of it."""
    if phase.name == name:
        return phase
    named = plan_pb2.Phase()
    named.CopyFrom(phase)
    named.name = name
    return named


def _in_order(plan: plan_pb2.Plan) -> list[str]:
    """The phases, those first that others depend on."""
    return Precedence(definitions.phase_dependencies(plan.phases)).order
