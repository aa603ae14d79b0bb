"""The kinds of declared objects, with the checks that need the store: what must exist, and who still needs what."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from google.protobuf.message import Message

from pymigrate.engine.application import definitions
from pymigrate.engine.application.abandoning import abandon_deliveries
from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.engine.application.dataset_definitions import shared_targets
from pymigrate.engine.application.declared_backends import reference_problems
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.pages import PAGE_MAX
from pymigrate.engine.application.remembering import held_of, remembered
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import FailedPrecondition, Problem
from pymigrate.engine.domain.names import environment_of, last_segment, nearest, parent_of
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.v1 import connection_pb2, environment_pb2, notification_pb2, plan_pb2, run_pb2

M = TypeVar("M", bound=Message)
UNFINISHED = (RunState.PENDING, RunState.RUNNING, RunState.PAUSED, RunState.ROLLING_BACK)


def children(unit: Unit, collection: str, parent: str) -> Iterator[Resource]:
    """Every object of a collection below a parent, page by page."""
    after, is_more = "", True
    while is_more:
        page = unit.resources.list(collection, parent, after, PAGE_MAX)
        yield from page
        is_more = len(page) == PAGE_MAX
        after = page[-1].name if page else ""


def connections_of(unit: Unit, environment: str) -> dict[str, connection_pb2.Connection]:
    """The environment's connections by their last segment."""
    return dict(remembered(unit, "held", "connections", environment, lambda: _held(unit, CONNECTIONS, environment)))


def departments_of(unit: Unit, environment: str) -> set[str]:
    """The environment's departments by their last segment."""
    found = remembered(
        unit, "names", "departments", environment, lambda: unit.resources.names("departments", environment)
    )
    return set(map(last_segment, found))


def phases_of(unit: Unit, plan: str) -> dict[str, plan_pb2.Phase]:
    """The plan's phases by their last segment."""
    return dict(remembered(unit, "held", "phases", plan, lambda: _held(unit, PHASES, plan)))


def plans_of(unit: Unit, environment: str) -> dict[str, plan_pb2.Plan]:
    """The environment's plans, without their phases, by their last segment."""
    return dict(remembered(unit, "held", "plans", environment, lambda: _held(unit, PLANS, environment)))


def _held(unit: Unit, kind: Kind[M], parent: str) -> dict[str, M]:
    """Everything of a kind below a parent, by its last segment."""
    found = children(unit, kind.collection, parent)
    return {last_segment(each.name): held_of(unit, kind, each) for each in found}


def is_template(unit: Unit, environment: str) -> bool:
    """Whether an environment is there to be inherited from alone."""
    stored = unit.resources.get(environment)
    return stored is not None and held_of(unit, ENVIRONMENTS, stored).is_template


def _check_environment(unit: Unit, environment: environment_pb2.Environment) -> Iterator[Problem]:
    del unit
    return definitions.environment_problems(environment)


def _check_department(unit: Unit, department: environment_pb2.Department) -> Iterator[Problem]:
    yield from definitions.department_problems(department)
    known = connections_of(unit, environment_of(department.name))
    for name, system in sorted(department.systems.items()):
        if system.connection and system.connection not in known:
            yield Problem(
                f"systems.{name}.connection",
                f"there is no connection `{system.connection}` in this environment{nearest(system.connection, known)}",
                is_missing=True,
            )
    others = departments_of(unit, environment_of(department.name)) - {last_segment(department.name)}
    for name in department.dependencies:
        if name not in others:
            yield Problem(
                "dependencies",
                f"there is no other department `{name}` in this environment{nearest(name, others)}",
                is_missing=True,
            )


def _check_connection(unit: Unit, connection: connection_pb2.Connection) -> Iterator[Problem]:
    yield from connection_problems(connection)
    yield from reference_problems(unit, environment_of(connection.name), connection)


def _check_phase(unit: Unit, phase: plan_pb2.Phase) -> Iterator[Problem]:
    environment, plan, name = environment_of(phase.name), parent_of(phase.name), last_segment(phase.name)
    yield from definitions.phase_problems(phase, connections_of(unit, environment), departments_of(unit, environment))
    yield from reference_problems(unit, environment, phase)
    phases = phases_of(unit, plan)
    phases[name] = phase
    if cycle := graph.find_cycle(definitions.phase_dependencies(phases), through=name):
        yield Problem("dependencies", graph.cycle_problem(cycle).description)
    for problem in shared_targets(phases):
        if problem.field.startswith(f"phases.{name}."):
            yield problem.at(problem.field.removeprefix(f"phases.{name}."))


def _check_plan(unit: Unit, plan: plan_pb2.Plan) -> Iterator[Problem]:
    yield from definitions.plan_own_problems(plan)
    environment = environment_of(plan.name)
    departments = departments_of(unit, environment)
    for name in sorted(plan.department_lanes_max):
        if name not in departments:
            yield Problem(
                f"department_lanes_max.{name}",
                f"there is no department `{name}` in this environment{nearest(name, departments)}",
                is_missing=True,
            )
    if not plan.dependencies:
        return
    plans = plans_of(unit, environment)
    own = last_segment(plan.name)
    is_stored = own in plans and plans[own].dependencies == plan.dependencies
    plans[own] = plan
    for name in plan.dependencies:
        if name not in plans:
            others = plans.keys() - {own}
            said = f"there is no plan `{name}` in this environment{nearest(name, others)}"
            yield Problem("dependencies", said, is_missing=True)
    if is_stored and not remembered(unit, "circle", "plans", environment, lambda: _circle(plans, "")):
        return
    if cycle := _circle(plans, own):
        yield Problem(
            "dependencies",
            f"plans depend on one another in a circle: {graph.spell(cycle)}; drop one of these dependencies",
        )


def _circle(plans: Mapping[str, plan_pb2.Plan], through: str) -> tuple[str, ...]:
    return graph.find_cycle({name: tuple(each.dependencies) for name, each in plans.items()}, through=through)


def _free(unit: Unit, message: object) -> None:
    del unit, message


def _free_department(unit: Unit, department: environment_pb2.Department) -> None:
    name, environment = last_segment(department.name), environment_of(department.name)
    for plan in children(unit, "plans", environment):
        for phase_name, phase in phases_of(unit, plan.name).items():
            if phase.department == name:
                raise FailedPrecondition(
                    f"{department.name} is needed by {plan.name}/phases/{phase_name}: change that first"
                )
    for found in children(unit, "stakeholders", environment):
        if name in notification_pb2.Stakeholder.FromString(found.resolved or found.body).departments:
            raise FailedPrecondition(f"{department.name} is needed by {found.name}: change that first")


def _free_connection(unit: Unit, connection: connection_pb2.Connection) -> None:
    name, environment = last_segment(connection.name), environment_of(connection.name)
    for plan in children(unit, "plans", environment):
        for phase_name, phase in phases_of(unit, plan.name).items():
            if any(name in (d.source.connection, d.target.connection) for d in phase.datasets.values()):
                raise FailedPrecondition(
                    f"{connection.name} is needed by {plan.name}/phases/{phase_name}: change that first"
                )
    for run in unit.runs.names_in(UNFINISHED):
        revision = run_pb2.PlanRevision.FromString(unit.runs.revision(run) or b"")
        if environment_of(run) == environment and name in revision.connections:
            raise FailedPrecondition(f"{connection.name} is in use by {run}: wait for its end, or cancel it")


def _free_plan(unit: Unit, plan: plan_pb2.Plan) -> None:
    if plan.deletion_protection:
        raise FailedPrecondition(f"{plan.name} is protected from deletion: set deletion_protection to false first")
    for run in unit.runs.names_in(UNFINISHED):
        if run.startswith(f"{plan.name}/"):
            raise FailedPrecondition(f"{plan.name} has an unfinished run: wait for the end of {run}, or cancel it")
    environment = environment_of(plan.name)
    needing = remembered(
        unit, "needing", "plans", environment, lambda: _needing(unit, environment), outlasts_deletions=True
    )
    for other in needing.get(last_segment(plan.name), ()):
        if unit.resources.get(other) is not None:  # it may have been deleted since
            raise FailedPrecondition(f"{plan.name} is needed by {other}: change that first")


def _needing(unit: Unit, environment: str) -> dict[str, list[str]]:
    """The full names of the plans that depend on a plan, by its last segment."""
    found: dict[str, list[str]] = {}
    for plan in plans_of(unit, environment).values():
        for name in plan.dependencies:
            found.setdefault(name, []).append(plan.name)
    return found


def _free_environment(unit: Unit, environment: environment_pb2.Environment) -> None:
    for other in children(unit, "environments", ""):
        if last_segment(environment.name) in ENVIRONMENTS.read(other).bases:
            raise FailedPrecondition(f"{environment.name} is a base of {other.name}: change that first")


def _end_environment(unit: Unit, environment: environment_pb2.Environment) -> None:
    abandon_deliveries(unit, environment.name)


ENVIRONMENTS = Kind(
    "environments", environment_pb2.Environment, _check_environment, _free_environment, on_delete=_end_environment
)
DEPARTMENTS = Kind("departments", environment_pb2.Department, _check_department, _free_department)
CONNECTIONS = Kind("connections", connection_pb2.Connection, _check_connection, _free_connection)
PLANS = Kind("plans", plan_pb2.Plan, _check_plan, _free_plan, held_elsewhere=frozenset({"phases"}))
PHASES = Kind("phases", plan_pb2.Phase, _check_phase, _free)
