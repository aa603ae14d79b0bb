"""Where a run that is to be started belongs: its name, the plans that it waits for, or the run that is the same."""

from dataclasses import dataclass

from pymigrate.engine.application.followups import has_succeeded
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import plan_pb2

RUN_ID_DIGITS = 12
NAMESAKES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class StartPlace:
    """The name of a run that is to be started, and the plans that it waits for; or that of the one which is the same."""

    name: str
    adopted: bool = False
    waiting_for: tuple[str, ...] = ()


def start_place(unit: Unit, plan: plan_pb2.Plan, run_id: str, key: str) -> StartPlace:
    """Where a run of the plan with this key belongs; `run_id` is what it is to be called, if anything."""
    same = unit.runs.by_key(plan.name, key)
    if same is not None:
        return StartPlace(same.name, adopted=True)
    return StartPlace(_run_name(unit, plan.name, run_id, key), waiting_for=_unfinished_plans(unit, plan))


def _unfinished_plans(unit: Unit, plan: plan_pb2.Plan) -> tuple[str, ...]:
    """The plans that it depends on and whose newest run has not succeeded."""
    environment = environment_of(plan.name)
    names = sorted(set(plan.dependencies))
    return tuple(name for name in names if not has_succeeded(unit, f"{environment}/plans/{name}"))


def _run_name(unit: Unit, plan: str, run_id: str, key: str) -> str:
    """A run's name: as it is asked for, or after its key. Others have that too where they had the same key and gave it up."""
    if run_id:
        return f"{plan}/runs/{run_id}"
    name = f"{plan}/runs/r{key[:RUN_ID_DIGITS]}"
    taken = (unit.runs.get(f"{name}-{number}") for number in range(2, NAMESAKES_MAX))
    found = unit.runs.get(name)
    number = 1
    while found is not None and is_given_up(found):
        number, found = number + 1, next(taken, None)
    return f"{name}-{number}" if number > 1 else name
