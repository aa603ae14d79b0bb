"""What-ifs: a frozen revision changed as a variant says, into another one that can be rehearsed. Nothing is stored.

What a variant moves otherwise than the plan was not looked at: its rows are not known, nor how they would travel.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pymigrate.engine.application import definitions
from pymigrate.engine.application.dataset_definitions import DATASET_LANES_MAX
from pymigrate.engine.application.field_definitions import LANES_MAX, id_problems, range_problems
from pymigrate.engine.application.following import FOLLOWED
from pymigrate.engine.application.revisions import plan_hash, used_connections
from pymigrate.engine.application.schedules import schedule_problems
from pymigrate.engine.application.variant_inspections import inspection_of, is_measured_alike
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.v1 import connection_pb2, impact_pb2, plan_pb2, run_pb2

VARIANTS_MAX = 20
PHASES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Variant:
    """A plan that is changed: the revision that it would be, the datasets by phase and name of which no measurement of the plan as it
    stands holds, and when it would start (None: when that would)."""

    revision: run_pb2.PlanRevision
    unmeasured: frozenset[tuple[str, str]] = frozenset()
    start_time: datetime | None = None


def apply_variants(
    revision: run_pb2.PlanRevision,
    variants: Mapping[str, impact_pb2.ImpactVariant],
    connections: Mapping[str, connection_pb2.Connection],
    departments: Collection[str],
) -> dict[str, Variant]:
    """Every variant of a revision, within an environment that has these connections and departments, ordered by name. Raises
    InvalidDefinition with every problem of all of them, at fields below `variants`."""
    if not 1 <= len(variants) <= VARIANTS_MAX:
        raise InvalidDefinition((Problem("variants", f"compares 1 to {VARIANTS_MAX} variants"),))
    found: dict[str, Variant] = {}
    problems: list[Problem] = []
    for name, variant in sorted(variants.items()):
        path = f"variants.{name}"
        own = [*id_problems(path, name), *_problems(path, variant, revision.plan.phases)]
        if not own:
            changed = _changed(revision, variant, connections)
            problems_made = _plan_problems(changed.plan, variant.phases.keys(), connections, departments)
            own = [_placed(path, variant, problem) for problem in problems_made]
            start = variant.start_time.ToDatetime(UTC) if variant.HasField("start_time") else None
            found[name] = Variant(changed, _unmeasured(changed, revision), start)
        problems.extend(own)
    if problems:
        raise InvalidDefinition(tuple(problems))
    return found


# What stands against a variant ------------------------------------------------------------------------------------------------------


def _problems(path: str, variant: impact_pb2.ImpactVariant, phases: Mapping[str, plan_pb2.Phase]) -> Iterator[Problem]:
    """Problems of a variant of a plan with these phases, before it is applied."""
    yield from range_problems(f"{path}.lanes_max", variant.lanes_max, -1, LANES_MAX)
    yield from schedule_problems(f"{path}.schedule", variant.schedule)
    if variant.is_unscheduled and variant.HasField("schedule"):
        yield Problem(f"{path}.is_unscheduled", "can't be set beside `schedule`: choose one of them")
    if len(variant.phases) > PHASES_MAX:
        yield Problem(f"{path}.phases", f"has at most {PHASES_MAX:,} entries")
    for name, change in sorted(variant.phases.items()):
        at = f"{path}.phases.{name}"
        if name not in phases and not change.HasField("definition"):
            said = f"there is no phase `{name}` in this plan{nearest(name, phases)}; a new one needs a `definition`"
            yield Problem(at, said)
        elif change.is_left_out and change != impact_pb2.PhaseVariant(is_left_out=True):
            yield Problem(f"{at}.is_left_out", "a phase that is left out can't be changed too")
        else:
            yield from range_problems(f"{at}.lanes", change.lanes, 0, DATASET_LANES_MAX)
            yield from schedule_problems(f"{at}.schedule", change.schedule)
            yield from _dropped_problems(at, name, variant, phases)


def _dropped_problems(
    path: str, name: str, variant: impact_pb2.ImpactVariant, phases: Mapping[str, plan_pb2.Phase]
) -> Iterator[Problem]:
    change = variant.phases[name]
    if not change.dropped_dependencies:
        return
    all_phases = _declared(variant, phases)
    needed = definitions.phase_dependencies(all_phases)[name]
    for dropped in change.dropped_dependencies:
        if dropped not in needed:
            said = f"`{name}` does not depend on `{dropped}`{nearest(dropped, needed)}"
            yield Problem(f"{path}.dropped_dependencies", said)


def _plan_problems(
    plan: plan_pb2.Plan,
    changed: Collection[str],
    connections: Mapping[str, connection_pb2.Connection],
    departments: Collection[str],
) -> Iterator[Problem]:
    """Problems of what a variant makes of the plan: of the phases that it changes, and of all of them together."""
    if not plan.phases:
        yield Problem("phases", "leaves every phase out: there is nothing to run")
    for name in sorted(name for name in changed if name in plan.phases):
        yield from id_problems(f"phases.{name}", name)
        for problem in definitions.phase_problems(plan.phases[name], connections, departments):
            yield Problem(f"phases.{name}.{problem.field}", problem.description)
    yield from definitions.joint_problems(plan.phases)


def _placed(path: str, variant: impact_pb2.ImpactVariant, problem: Problem) -> Problem:
    """The problem at the field of the variant that makes it."""
    _, _, rest = problem.field.partition("phases.")
    name, _, field = rest.partition(".")
    if name in variant.phases and variant.phases[name].HasField("definition") and field:
        return Problem(f"{path}.phases.{name}.definition.{field}", problem.description)
    return Problem(f"{path}.{problem.field}", problem.description)


# What it changes --------------------------------------------------------------------------------------------------------------------


def _declared(variant: impact_pb2.ImpactVariant, phases: Mapping[str, plan_pb2.Phase]) -> dict[str, plan_pb2.Phase]:
    """The phases with the definitions that the variant brings, and without those that it leaves out."""
    found = dict(phases)
    for name, change in variant.phases.items():
        if change.HasField("definition"):
            found[name] = change.definition
        if change.is_left_out:
            found.pop(name, None)
    return found


def _changed(
    revision: run_pb2.PlanRevision,
    variant: impact_pb2.ImpactVariant,
    connections: Mapping[str, connection_pb2.Connection],
) -> run_pb2.PlanRevision:
    declared = _declared(variant, revision.plan.phases)
    found = run_pb2.PlanRevision()
    found.plan.CopyFrom(revision.plan)
    found.plan.ClearField("phases")
    if variant.lanes_max:
        found.plan.lanes_max = max(0, variant.lanes_max)
    if variant.HasField("schedule"):
        found.plan.schedule.CopyFrom(variant.schedule)
    if variant.is_unscheduled:
        found.plan.ClearField("schedule")
    left_out = {name for name, change in variant.phases.items() if change.is_left_out}
    for name, phase in sorted(declared.items()):
        changed = found.plan.phases[name]
        changed.CopyFrom(phase)
        if left_out.intersection(phase.dependencies):
            changed.dependencies[:] = [each for each in phase.dependencies if each not in left_out]
        if name in variant.phases:
            _change_phase(changed, variant.phases[name], declared, connections)
    known = {**connections, **revision.connections}
    for name in used_connections(found.plan.phases):
        if name in known:
            found.connections[name].CopyFrom(known[name])
    inspections = dict(revision.inspections)
    for phase_name, phase in found.plan.phases.items():
        before = revision.plan.phases[phase_name].datasets if phase_name in revision.plan.phases else {}
        for name, dataset in phase.datasets.items():
            place = f"{phase_name}/{name}"
            looked_at = inspections.get(place)
            inspection = inspection_of(dataset, before.get(name), looked_at, known.get(dataset.source.connection))
            if inspection is not None:
                found.inspections[place].CopyFrom(inspection)
    found.plan.plan_hash = plan_hash(found.plan.phases, found.connections)
    return found


def _unmeasured(changed: run_pb2.PlanRevision, revision: run_pb2.PlanRevision) -> frozenset[tuple[str, str]]:
    declared = {
        (phase, name): dataset
        for phase, each in revision.plan.phases.items()
        for name, dataset in each.datasets.items()
    }
    return frozenset(
        (phase, name)
        for phase, each in changed.plan.phases.items()
        for name, dataset in each.datasets.items()
        if not is_measured_alike(dataset, declared.get((phase, name)))
    )


def _change_phase(
    phase: plan_pb2.Phase,
    change: impact_pb2.PhaseVariant,
    phases: Mapping[str, plan_pb2.Phase],
    connections: Mapping[str, connection_pb2.Connection],
) -> None:
    if change.dropped_dependencies:
        _drop_dependencies(phase, frozenset(change.dropped_dependencies), phases)
    if change.HasField("schedule"):
        phase.schedule.CopyFrom(change.schedule)
    for dataset in phase.datasets.values():
        dataset.lanes = change.lanes or dataset.lanes
    if change.downtime_policy:
        phase.downtime_policy = change.downtime_policy
        _follow(phase, connections)


def _drop_dependencies(phase: plan_pb2.Phase, dropped: frozenset[str], phases: Mapping[str, plan_pb2.Phase]) -> None:
    """Of a department that it depends on, the phases that are not dropped stay."""
    stays = {name for name in phase.dependencies if name not in dropped}
    departments = []
    for department in phase.department_dependencies:
        of_department = {name for name, each in phases.items() if each.department == department}
        if of_department & dropped:
            stays |= of_department - dropped
        else:
            departments.append(department)
    phase.dependencies[:] = sorted(stays)
    phase.department_dependencies[:] = departments


def _follow(phase: plan_pb2.Phase, connections: Mapping[str, connection_pb2.Connection]) -> None:
    """In a phase that becomes `online` datasets follow their source by its log where nothing else is said; in any other, not at all."""
    has_log = {name for name, each in connections.items() if each.WhichOneof("system") in FOLLOWED["logical"]}
    for dataset in phase.datasets.values():
        if phase.downtime_policy != plan_pb2.DOWNTIME_POLICY_ONLINE:
            dataset.ClearField("catch_up")
        elif not dataset.HasField("catch_up") and dataset.source.connection in has_log:
            dataset.catch_up.logical.SetInParent()
