"""Approvals of a run as a whole, which its environment's policy asks for: gates of the phases that nothing comes before, each for another
principal."""

from collections.abc import Iterator

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.errors import FailedPrecondition, NotFound, NotPermitted, Problem
from pymigrate.engine.domain.run import PhaseRun, RunAggregate
from pymigrate.engine.domain.run_states import Point
from pymigrate.v1 import run_pb2

GATE = "environment"
OPERATOR = "kubernetes"


def is_of_policy(gate: str) -> bool:
    """Whether the name is one of the policy's gates, or means all of them."""
    name, _, number = gate.partition("-")
    return name == GATE and (not _ or number.isdecimal())


def ask_for_approvals(aggregate: RunAggregate, revision: run_pb2.PlanRevision) -> None:
    """Adds the gates that hold a new run up until enough have approved it."""
    names = [f"{GATE}-{number}" for number in range(1, revision.policy.approvals_min + 1)]
    for phase in aggregate.phases.values():
        if not phase.dependencies:
            phase.gates = {**phase.gates, **dict.fromkeys(names, Point.BEFORE_START)}


def name_problems(revision: run_pb2.PlanRevision) -> Iterator[Problem]:
    """Gates of phases that have a name of the policy's."""
    for name, phase in sorted(revision.plan.phases.items()):
        for gate in sorted(phase.gates):
            if is_of_policy(gate) and revision.policy.approvals_min:
                yield Problem(
                    f"phases.{name}.gates.{gate}", f"`{GATE}` is what the environment's policy calls its own: rename it"
                )


def gates_to_approve(
    aggregate: RunAggregate, revision: run_pb2.PlanRevision, phase: str, caller: Caller
) -> list[tuple[str, str]]:
    """The phases, and of each the gate, that this approval opens: in every phase that asks for one, or in the one that is named. None
    where the caller has approved before. Raises NotFound where nothing asks, NotPermitted to whoever started the run and to an operator
    that did under another token, and FailedPrecondition where enough have approved already."""
    asking = [
        each
        for each in aggregate.phases.values()
        if revision.policy.approvals_min and phase in {"", each.id} and any(map(is_of_policy, each.gates))
    ]
    if not asking:
        what = f"phase `{phase}` of {aggregate.run.name}" if phase else aggregate.run.name
        raise NotFound(f"the policy of its environment asks for no approval of {what}", field="gate")
    # An operator speaks for whoever may write resources, in its start as in its approval, and its token is renewed in between.
    is_operators = caller.managed_by == aggregate.run.managed_by == OPERATOR
    if caller.principal == revision.starter or is_operators:
        who = "the operator" if is_operators else caller.principal
        raise NotPermitted(f"{who} started {aggregate.run.name}: somebody else must approve it")
    found = []
    for each in asking:
        own = [gate for gate in sorted(each.gates, key=_number) if is_of_policy(gate)]
        if caller.principal in {each.approvals.get(gate) for gate in own}:
            continue
        shut = next((gate for gate in own if gate not in each.approvals), None)
        if shut is not None:
            found.append((each.id, shut))
    if not found and not _has_approved(asking, caller):
        raise FailedPrecondition(f"{aggregate.run.name} has all the approvals that it needs")
    return found


def _has_approved(phases: list[PhaseRun], caller: Caller) -> bool:
    return any(caller.principal in phase.approvals.values() for phase in phases)


def _number(gate: str) -> tuple[int, str]:
    return len(gate), gate
