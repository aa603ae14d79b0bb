"""What may be declared of environments, departments, phases and plans: each check finds every problem of a message, with the path of the
field that causes it. Connections, datasets and what they hold have modules of their own beside this."""

import re
from collections.abc import Collection, Iterator, Mapping

from pymigrate.engine.application.controls import control_problems
from pymigrate.engine.application.dataset_definitions import dataset_problems, shared_targets
from pymigrate.engine.application.field_definitions import (
    DISPLAY_NAME_MAX,
    LANES_MAX,
    id_problems,
    length_problems,
    range_problems,
    text_problems,
)
from pymigrate.engine.application.following import catch_up_problems
from pymigrate.engine.application.literal_secrets import without_literals
from pymigrate.engine.application.policies import policy_problems
from pymigrate.engine.application.schedules import schedule_problems
from pymigrate.engine.application.system_definitions import system_problems
from pymigrate.engine.application.transform_definitions import shared_quarantines
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.precedence import unordered
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2

DATASETS_MAX = 10_000
PRIORITY_MAX = 1_000


def environment_problems(environment: environment_pb2.Environment) -> Iterator[Problem]:
    """Problems of an environment."""
    yield from text_problems(environment)
    yield from range_problems("lanes_max", environment.lanes_max, 0, LANES_MAX)
    yield from policy_problems(environment.policy)


def department_problems(department: environment_pb2.Department) -> Iterator[Problem]:
    """Problems of a department, as far as it tells them by itself."""
    yield from text_problems(department)
    yield from length_problems("owner", department.owner, DISPLAY_NAME_MAX)
    if department.users < 0:
        yield Problem("users", "can't be negative")
    if department.HasField("downtime_cost_per_hour"):
        cost = department.downtime_cost_per_hour
        if not re.fullmatch(r"[A-Z]{3}", cost.currency_code):
            yield Problem(
                "downtime_cost_per_hour.currency_code", "must be an ISO 4217 code of three capitals, such as EUR"
            )
        if not 0 <= cost.amount < 1e15:
            yield Problem("downtime_cost_per_hour.amount", "must be a number from 0 to below 10^15")
    if not 0 <= department.read_only_cost_share <= 1:
        yield Problem("read_only_cost_share", "must be a number from 0 to 1; 0 means 1")
    yield from system_problems(department.systems)


def phase_problems(
    phase: plan_pb2.Phase, connections: Mapping[str, connection_pb2.Connection], departments: Collection[str]
) -> Iterator[Problem]:
    """Problems of a phase within an environment that has these connections and departments."""
    yield from text_problems(phase)
    yield from range_problems("priority", phase.priority, -PRIORITY_MAX, PRIORITY_MAX)
    if not phase.department:
        yield Problem("department", "is required: name the department whose data the phase moves")
    elif phase.department not in departments:
        yield Problem(
            "department",
            f"there is no department `{phase.department}` in this environment{nearest(phase.department, departments)}",
            is_missing=True,
        )
    if not 1 <= len(phase.datasets) <= DATASETS_MAX:
        yield Problem("datasets", f"a phase has 1 to {DATASETS_MAX:,} datasets")
    if len(set(phase.dependencies)) < len(phase.dependencies):
        yield Problem("dependencies", "names a phase twice")
    for name in phase.department_dependencies:
        if name == phase.department:
            yield Problem("department_dependencies", f"`{name}` is the phase's own department")
        elif name not in departments:
            yield Problem(
                "department_dependencies",
                f"there is no department `{name}` in this environment{nearest(name, departments)}",
                is_missing=True,
            )
    yield from schedule_problems("schedule", phase.schedule)
    yield from control_problems(phase)
    for name, dataset in sorted(phase.datasets.items()):
        path = f"datasets.{name}"
        yield from id_problems(path, name)
        yield from dataset_problems(path, dataset, connections)
        yield from catch_up_problems(path, phase, dataset, connections)
    yield from shared_targets({"": phase})
    yield from shared_quarantines({"": phase})


def plan_own_problems(plan: plan_pb2.Plan) -> Iterator[Problem]:
    """Problems of a plan without its phases."""
    yield from text_problems(plan)
    yield from range_problems("lanes_max", plan.lanes_max, 0, LANES_MAX)
    for name, lanes in sorted(plan.department_lanes_max.items()):
        yield from range_problems(f"department_lanes_max.{name}", lanes, 0, LANES_MAX)
    if plan.rollback_window_seconds < -1:
        yield Problem("rollback_window_seconds", "must be a number of seconds, 0 for 7 days, or -1 for never")
    if len(set(plan.dependencies)) < len(plan.dependencies):
        yield Problem("dependencies", "names a plan twice")
    yield from schedule_problems("schedule", plan.schedule)


def phase_dependencies(phases: Mapping[str, plan_pb2.Phase]) -> dict[str, tuple[str, ...]]:
    """What each phase needs: the phases that it names, and every phase of the departments that it names, ordered by name."""
    of_department: dict[str, list[str]] = {}
    for name, phase in phases.items():
        of_department.setdefault(phase.department, []).append(name)
    return {
        name: tuple(
            sorted(
                {
                    *phase.dependencies,
                    *(other for each in phase.department_dependencies for other in of_department.get(each, ())),
                }
            )
        )
        for name, phase in phases.items()
    }


def plan_problems(
    phases: Mapping[str, plan_pb2.Phase],
    connections: Mapping[str, connection_pb2.Connection],
    departments: Collection[str],
) -> Iterator[Problem]:
    """Problems of a whole plan: of each phase, of the graph, and of targets that two phases would write."""
    for name, phase in sorted(phases.items()):
        yield from id_problems(f"phases.{name}", name)
        for problem in without_literals(phase, phase_problems(phase, connections, departments)):
            yield problem.at(f"phases.{name}.{problem.field}")
    yield from joint_problems(phases)


def joint_problems(phases: Mapping[str, plan_pb2.Phase]) -> Iterator[Problem]:
    """Problems that phases have together: of the graph, and of targets and quarantines that two of them would write."""
    dangling = graph.dangling({name: tuple(phase.dependencies) for name, phase in phases.items()})
    yield from dangling
    dependencies = phase_dependencies(phases)
    if dangling:
        if cycle := graph.find_cycle(dependencies):
            yield graph.cycle_problem(cycle)
    else:
        yield from unordered(dependencies)
    yield from shared_targets(phases)
    yield from shared_quarantines(phases)
